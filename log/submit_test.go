package log_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"testing"
	"time"

	"github.com/firn-log/firn/log"
	"github.com/firn-log/firn/log/logtest"
	"github.com/firn-log/firn/log/policy"
)

// editJSON returns an Edit that changes the answer of one path as an object.
func editJSON(t *testing.T, path string, change func(answer map[string]any)) func(string, int, []byte) (int, []byte) {
	return func(p string, status int, body []byte) (int, []byte) {
		if p != path {
			return status, body
		}
		d := json.NewDecoder(bytes.NewReader(body))
		d.UseNumber()
		var answer map[string]any
		if err := d.Decode(&answer); err != nil {
			t.Errorf("%s: %v", path, err)
		}
		change(answer)
		b, err := json.Marshal(answer)
		if err != nil {
			t.Error(err)
		}
		return status, b
	}
}

func result(answer map[string]any, i int) map[string]any {
	return answer["results"].([]any)[i].(map[string]any)
}

func TestSubmitVerifiesWhatTheLogSays(t *testing.T) {
	l := logtest.New(t, logtest.Witnesses(3, 2))
	grow(l, 0, 300, "leaf")
	a := logtest.Signer(t, "a")
	one, two := logtest.Leaf(t, a, logtest.Closure("1")), logtest.Leaf(t, a, logtest.Closure("2"))
	c := l.Client("")
	res, err := c.Submit(t.Context(), [][]byte{one, []byte("junk"), two, one}, time.Second)
	if err != nil {
		t.Fatal(err)
	}
	for i, want := range []struct {
		status log.Status
		index  uint64
	}{{log.Accepted, 300}, {log.Rejected, 0}, {log.Accepted, 301}, {log.Duplicate, 300}} {
		r := res.Results[i]
		if r.Status != want.status || r.Index != want.index {
			t.Errorf("leaf %d: %+v", i, r)
		}
		if r.Status == log.Rejected {
			if r.Code == "" || r.Message == "" || r.Proof != nil {
				t.Errorf("leaf %d: %+v", i, r)
			}
			continue
		}
		if _, err := r.Proof.Verify(l.Policy(), r.Leaf, time.Now()); err != nil || r.ID != statementID(t, r.Leaf) {
			t.Errorf("leaf %d: %v", i, err)
		}
	}
	if res.Checkpoint.Size != 302 {
		t.Errorf("checkpoint of size %d", res.Checkpoint.Size)
	}
}

func TestSubmitWithoutCheckpointHasNoProofs(t *testing.T) {
	l := logtest.New(t)
	l.Lie(func(lies *logtest.Lies) { lies.Late = true })
	leaf := logtest.Leaf(t, logtest.Signer(t, "a"), logtest.Closure("1"))
	res, err := l.Client("").Submit(t.Context(), [][]byte{leaf}, 0)
	if err != nil || res.Checkpoint != nil || res.Results[0].Status != log.Accepted || res.Results[0].Proof != nil {
		t.Errorf("%+v, %v", res, err)
	}
}

func TestSubmitKeepsWhatHoldsWhenSomethingDoesNot(t *testing.T) {
	l := logtest.New(t)
	a := logtest.Signer(t, "a")
	leaves := [][]byte{logtest.Leaf(t, a, logtest.Closure("1")), logtest.Leaf(t, a, logtest.Closure("2")), logtest.Leaf(t, a, logtest.Closure("3"))}
	l.Lie(func(lies *logtest.Lies) {
		lies.Edit = editJSON(t, "v1/statements", func(answer map[string]any) {
			result(answer, 1)["inclusion"] = result(answer, 0)["inclusion"]
		})
	})
	res, err := l.Client("").Submit(t.Context(), leaves, 0)
	var bad *log.ProofError
	if !errors.As(err, &bad) || bad.Index != 1 {
		t.Fatalf("error %v, want a ProofError about entry 1", err)
	}
	for i, want := range []bool{true, false, true} {
		if got := res.Results[i].Proof != nil; got != want || res.Results[i].Status != log.Accepted {
			t.Errorf("leaf %d: %+v", i, res.Results[i])
		}
	}
	// The same if the checkpoint does not satisfy the policy.
	strict := logtest.New(t, logtest.Witnesses(1, 1))
	c, err := log.NewClient(l.URL(), strict.Policy(), log.Options{})
	if err != nil {
		t.Fatal(err)
	}
	l.Lie(func(lies *logtest.Lies) { lies.Edit = nil })
	res, err = c.Submit(t.Context(), leaves, 0)
	var q *policy.QuorumError
	if !errors.As(err, &q) || res == nil || res.Results[0].Status != log.Duplicate || res.Results[0].Proof != nil {
		t.Errorf("%+v, %v", res, err)
	}
}

func TestLyingAnswersToASubmissionAreRefused(t *testing.T) {
	a := logtest.Signer(t, "a")
	leaves := [][]byte{logtest.Leaf(t, a, logtest.Closure("1")), logtest.Leaf(t, a, logtest.Closure("2"))}
	for what, change := range map[string]func(answer map[string]any){
		"unknown schema":   func(a map[string]any) { a["schema"] = 2 },
		"no schema":        func(a map[string]any) { delete(a, "schema") },
		"too few results":  func(a map[string]any) { a["results"] = a["results"].([]any)[:1] },
		"no results":       func(a map[string]any) { delete(a, "results") },
		"unknown status":   func(a map[string]any) { result(a, 0)["status"] = "fine" },
		"no index":         func(a map[string]any) { delete(result(a, 0), "index") },
		"negative index":   func(a map[string]any) { result(a, 0)["index"] = -1 },
		"index as text":    func(a map[string]any) { result(a, 0)["index"] = "0" },
		"id of another":    func(a map[string]any) { result(a, 0)["id"] = result(a, 1)["id"] },
		"no id":            func(a map[string]any) { delete(result(a, 0), "id") },
		"index of another": func(a map[string]any) { result(a, 0)["index"] = 1 },
		"duplicate, other's leaf": func(a map[string]any) {
			result(a, 0)["index"] = 1
			result(a, 0)["status"] = "duplicate"
			result(a, 0)["inclusion"] = result(a, 1)["inclusion"]
		},
		"64 hashes":          func(a map[string]any) { result(a, 0)["inclusion"] = make([][]byte, 64) },
		"short hash":         func(a map[string]any) { result(a, 0)["inclusion"] = [][]byte{{1}} },
		"not base64":         func(a map[string]any) { result(a, 0)["inclusion"] = []string{"?"} },
		"list for an object": func(a map[string]any) { a["results"] = []any{[]any{}, []any{}} },
	} {
		l := logtest.New(t)
		l.Lie(func(lies *logtest.Lies) { lies.Edit = editJSON(t, "v1/statements", change) })
		res, err := l.Client("").Submit(t.Context(), leaves, 0)
		var bad *log.ProofError
		if !errors.As(err, &bad) || res != nil && res.Results[0].Proof != nil {
			t.Errorf("%s: %+v, %v, want a ProofError", what, res, err)
		}
	}
	for what, body := range map[string]string{"not JSON": "hello", "empty": "", "two values": `{"schema":1,"results":[{"status":"rejected"},{"status":"rejected"}]}{}`} {
		l := logtest.New(t)
		l.Lie(func(lies *logtest.Lies) { lies.Edit = answerWith("v1/statements", body) })
		var bad *log.ProofError
		if _, err := l.Client("").Submit(t.Context(), leaves, 0); !errors.As(err, &bad) {
			t.Errorf("%s: %v, want a ProofError", what, err)
		}
	}
}

func TestSubmissionIsBounded(t *testing.T) {
	l := logtest.New(t)
	l.Lie(func(lies *logtest.Lies) {
		lies.Edit = func(string, int, []byte) (int, []byte) { return http.StatusTeapot, nil }
	})
	c := l.Client("")
	many := make([][]byte, log.MaxSubmitLeaves+1)
	var large [][]byte
	for range 200 {
		large = append(large, make([]byte, 60<<10))
	}
	for what, leaves := range map[string][][]byte{"many": many, "large": large, "65,536 bytes": {make([]byte, 65536)}} {
		_, err := c.Submit(t.Context(), leaves, 0)
		var r *log.RequestError
		if err == nil || errors.As(err, &r) {
			t.Errorf("%s: %v: the request was made", what, err)
		}
	}
	// A folder of files takes nothing.
	if _, err := fileClient(t, l, log.Options{}).Submit(t.Context(), [][]byte{{1}}, 0); err == nil {
		t.Error("a folder accepts a submission")
	}
}

func TestSubmissionToAForkIsRefused(t *testing.T) {
	a, b := twoHistories(t, 10)
	dir := t.TempDir()
	grow(a, 10, 20, "leaf")
	grow(b, 10, 30, "fork")
	checkpoint(t, a.Client(dir))
	leaf := logtest.Leaf(t, logtest.Signer(t, "a"), logtest.Closure("1"))
	res, err := b.Client(dir).Submit(t.Context(), [][]byte{leaf}, 0)
	var fork *log.ForkError
	if !errors.As(err, &fork) || res == nil || res.Results[0].Proof != nil {
		t.Errorf("%+v, %v, want a ForkError", res, err)
	}
}

func FuzzSubmitAnswer(f *testing.F) {
	l := logtest.New(f)
	leaf := logtest.Leaf(f, logtest.Signer(f, "a"), logtest.Closure("1"))
	answers := make(chan []byte, 1)
	l.Lie(func(lies *logtest.Lies) {
		lies.Edit = func(path string, status int, b []byte) (int, []byte) {
			if path == "v1/statements" {
				select {
				case answers <- b:
				default:
				}
			}
			return status, b
		}
	})
	if _, err := l.Client("").Submit(f.Context(), [][]byte{leaf}, 0); err != nil {
		f.Fatal(err)
	}
	f.Add(<-answers)
	f.Add(fmt.Appendf(nil, `{"schema":1,"results":[{"status":"rejected","error":"x"}]}`))
	c := l.Client("")
	f.Fuzz(func(t *testing.T, b []byte) {
		l.Lie(func(lies *logtest.Lies) { lies.Edit = answerWith("v1/statements", string(b)) })
		res, err := c.Submit(t.Context(), [][]byte{leaf}, 0)
		if err != nil || res == nil || res.Results[0].Proof == nil {
			return
		}
		if _, err := res.Results[0].Proof.Verify(l.Policy(), leaf, time.Now()); err != nil {
			t.Errorf("%s: %v", b, err)
		}
	})
}

// What a log says about a leaf ends in a terminal, so it cannot move the cursor.
func TestWordsOfTheLogAreWordsOnly(t *testing.T) {
	const evil, want = "\x1b[2Jno,\r\nbecause \u202eyllaer é", "?[2Jno,??because ?yllaer é"
	l := logtest.New(t)
	l.Lie(func(lies *logtest.Lies) {
		lies.Edit = editJSON(t, "v1/statements", func(answer map[string]any) {
			r := result(answer, 0)
			r["error"], r["message"] = evil, evil
		})
	})
	c := l.Client("")
	res, err := c.Submit(t.Context(), [][]byte{[]byte("junk")}, 0)
	if err != nil || res.Results[0].Code != want || res.Results[0].Message != want {
		t.Errorf("%+v, %v; want %q", res, err, want)
	}
	l.Lie(func(lies *logtest.Lies) {
		lies.Edit = func(string, int, []byte) (int, []byte) {
			b, err := json.Marshal(map[string]any{"error": evil, "message": evil})
			if err != nil {
				t.Error(err)
			}
			return http.StatusServiceUnavailable, b
		}
	})
	_, err = c.Submit(t.Context(), [][]byte{[]byte("junk")}, 0)
	var refused *log.RequestError
	if !errors.As(err, &refused) || refused.Code != want || refused.Message != want {
		t.Errorf("%+v, want %q", err, want)
	}
}
