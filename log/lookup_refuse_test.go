package log_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/firn-log/firn/log"
	"github.com/firn-log/firn/log/logtest"
	"github.com/firn-log/firn/log/statement"
)

func entries(answer map[string]any, i int) []any {
	return answer["answers"].([]any)[i].(map[string]any)["entries"].([]any)
}

func leaves(answer map[string]any) map[string]any { return answer["leaves"].(map[string]any) }

func TestLyingAnswersToALookupAreRefused(t *testing.T) {
	l, a, _ := library(t)
	x, y, z := logtest.ClosureKey("x"), logtest.ClosureKey("y"), logtest.ClosureKey("z")
	entry := func(n int, signer statement.KeyID) map[string]any {
		return map[string]any{"index": n, "key_id": signer.String()}
	}
	for what, c := range map[string]struct {
		change func(answer map[string]any)
		want   string // what the error says
		key    string // that it names
		index  uint64
	}{
		"body of another entry": {func(m map[string]any) { leaves(m)["1"] = leaves(m)["0"] }, "does not verify", y, 1},
		"altered body":          {func(m map[string]any) { leaves(m)["0"].(map[string]any)["leaf"] = "AAAA" }, "does not verify", x, 0},
		"hashes of another": {func(m map[string]any) {
			leaves(m)["0"].(map[string]any)["inclusion"] = leaves(m)["1"].(map[string]any)["inclusion"]
		}, "does not verify", x, 0},
		"short hash":           {func(m map[string]any) { leaves(m)["0"].(map[string]any)["inclusion"] = []string{"AAAA"} }, "malformed", x, 0},
		"no hashes":            {func(m map[string]any) { delete(leaves(m)["0"].(map[string]any), "inclusion") }, "does not verify", x, 0},
		"missing body":         {func(m map[string]any) { delete(leaves(m), "4") }, "body is missing", x, 4},
		"body not asked for":   {func(m map[string]any) { m["answers"].([]any)[1].(map[string]any)["entries"] = []any{} }, "without being listed", "", 1},
		"body under other key": {func(m map[string]any) { m["answers"].([]any)[1].(map[string]any)["entries"] = entries(m, 2) }, "does not belong", y, 2},
		"wrong signer":         {func(m map[string]any) { entries(m, 0)[1].(map[string]any)["key_id"] = a.String() }, "is signed by", x, 4},
		"signer not hex":       {func(m map[string]any) { entries(m, 0)[1].(map[string]any)["key_id"] = "b" }, "not a key id", x, 4},
		"upper-case signer": {func(m map[string]any) {
			e := entries(m, 0)[1].(map[string]any)
			e["key_id"] = strings.ToUpper(e["key_id"].(string))
		}, "not a key id", x, 4},
		"twice": {func(m map[string]any) {
			m["answers"].([]any)[1].(map[string]any)["entries"] = append(entries(m, 1), entries(m, 1)...)
		}, "not in the order", y, 1},
		"out of order": {func(m map[string]any) { e := entries(m, 0); e[0], e[1] = e[1], e[0] }, "not in the order", x, 0},
		"at the size": {func(m map[string]any) {
			m["answers"].([]any)[1].(map[string]any)["entries"] = append(entries(m, 1), entry(5, a))
		}, "not below the size", y, 5},
		"before after": {func(m map[string]any) {
			m["answers"].([]any)[0].(map[string]any)["entries"] = append([]any{entry(0, a)}, entries(m, 0)...)
		}, "only entries from 1", x, 0},
		"no index":             {func(m map[string]any) { delete(entries(m, 0)[0].(map[string]any), "index") }, "no index", x, 0},
		"answers swapped":      {func(m map[string]any) { s := m["answers"].([]any); s[0], s[1] = s[1], s[0] }, "in its place", x, 0},
		"an answer missing":    {func(m map[string]any) { m["answers"] = m["answers"].([]any)[:2] }, "2 answers for 3 keys", "", 0},
		"an answer too many":   {func(m map[string]any) { s := m["answers"].([]any); m["answers"] = append(s, s[2]) }, "4 answers for 3 keys", "", 0},
		"other size":           {func(m map[string]any) { m["size"] = 4 }, "at size 4", "", 0},
		"unknown schema":       {func(m map[string]any) { m["schema"] = 2 }, "schema 2", "", 0},
		"index not decimal":    {func(m map[string]any) { leaves(m)["01"] = leaves(m)["1"] }, "not an index", "", 0},
		"body beyond the tree": {func(m map[string]any) { leaves(m)["9"] = leaves(m)["1"] }, "without being listed", "", 9},
	} {
		t.Run(what, func(t *testing.T) {
			after, keys := uint64(0), []string{x, y, z}
			if what == "before after" {
				after, keys = 1, []string{x}
			}
			l.Lie(func(lies *logtest.Lies) { lies.Edit = editJSON(t, "v1/lookup", c.change) })
			answers, err := l.Client("").Lookup(t.Context(), keys, nil, after)
			var bad *log.ProofError
			if answers != nil || !errors.As(err, &bad) {
				t.Fatalf("%+v, %v, want a ProofError", answers, err)
			}
			if !strings.Contains(err.Error(), c.want) || bad.Key != c.key || bad.Index != c.index || bad.Origin != l.Origin() {
				t.Errorf("%v (key %q, index %d), want %q about %q, %d", err, bad.Key, bad.Index, c.want, c.key, c.index)
			}
		})
	}
}

// Who asks for some signers counts on getting no others.
func TestBodyOfASignerThatWasNotAskedForIsRefused(t *testing.T) {
	l, a, b := library(t)
	x := logtest.ClosureKey("x") // of both
	all := ask(t, l, []string{x}, nil)
	l.Lie(func(lies *logtest.Lies) {
		lies.Edit = func(path string, status int, body []byte) (int, []byte) {
			if path == "v1/lookup" {
				return status, all
			}
			return status, body
		}
	})
	for _, signers := range [][]statement.KeyID{{a}, {b}, {}} {
		var bad *log.ProofError
		if _, err := l.Client("").Lookup(t.Context(), []string{x}, signers, 0); !errors.As(err, &bad) || !strings.Contains(err.Error(), "nobody asked for its body") || bad.Key != x {
			t.Errorf("%d signers: %v", len(signers), err)
		}
	}
	if _, err := l.Client("").Lookup(t.Context(), []string{x}, []statement.KeyID{a, b}, 0); err != nil {
		t.Error(err)
	}
}

// ask returns the plain answer of a log.
func ask(t *testing.T, l *logtest.Log, keys, signers []string) []byte {
	t.Helper()
	q, err := json.Marshal(map[string]any{"keys": keys, "signers": signers})
	if err != nil {
		t.Fatal(err)
	}
	resp, err := http.Post(l.URL()+"/v1/lookup", "application/json", bytes.NewReader(q))
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != http.StatusOK {
		t.Fatalf("status %d, %v: %s", resp.StatusCode, err, body)
	}
	return body
}

// A leaf that is in the tree and is no statement cannot be listed.
func TestListedLeafThatIsNoStatementIsRefused(t *testing.T) {
	l, a, _ := library(t)
	x := logtest.ClosureKey("x")
	c := l.Client("")
	p, err := c.ProveInclusion(t.Context(), checkpoint(t, c), 3)
	if err != nil {
		t.Fatal(err)
	}
	l.Lie(func(lies *logtest.Lies) {
		lies.Edit = editJSON(t, "v1/lookup", func(m map[string]any) {
			var raw [][]byte
			for _, h := range p.Hashes {
				raw = append(raw, h[:])
			}
			leaves(m)["3"] = map[string]any{"leaf": []byte("not a statement"), "inclusion": raw}
			m["answers"].([]any)[0].(map[string]any)["entries"] = []any{entries(m, 0)[0], map[string]any{"index": 3, "key_id": a.String()}, entries(m, 0)[1]}
		})
	})
	_, err = c.Lookup(t.Context(), []string{x}, nil, 0)
	var bad *log.ProofError
	if !errors.As(err, &bad) || bad.Index != 3 || statement.CodeOf(err) == "" {
		t.Errorf("%v", err)
	}
}

// Leaving something out cannot be noticed without the index proofs of a later
// map; the client says what the log says. This pins the limit.
func TestOmissionIsNotNoticedYet(t *testing.T) {
	l, _, _ := library(t)
	x := logtest.ClosureKey("x")
	l.Lie(func(lies *logtest.Lies) { lies.Omit = map[string]bool{x: true} })
	answers, err := l.Client("").Lookup(t.Context(), []string{x}, nil, 0)
	if err != nil || len(answers.Of(x)) != 0 {
		t.Errorf("%v, %v", answers, err)
	}
}

func TestLookupWithAForkedOrStaleCheckpointIsRefused(t *testing.T) {
	l, _, _ := library(t)
	x := logtest.ClosureKey("x")
	dir := t.TempDir()
	early := l.Publish()
	checkpoint(t, l.Client(dir))
	other := logtest.New(t, logtest.Witnesses(3, 2))
	for i := range 5 {
		other.Add([]byte{byte(i)})
	}
	other.Publish()
	var fork *log.ForkError
	if _, err := other.Client(dir).Lookup(t.Context(), []string{x}, nil, 0); !errors.As(err, &fork) {
		t.Errorf("%v, want a ForkError", err)
	}
	dir = t.TempDir()
	grow(l, 0, 300, "more")
	checkpoint(t, l.Client(dir))
	l.Lie(func(lies *logtest.Lies) { lies.Checkpoint = early })
	if _, err := l.Client(dir).Lookup(t.Context(), []string{x}, nil, 0); !errors.Is(err, log.ErrStale) {
		t.Errorf("%v, want ErrStale", err)
	}
}
