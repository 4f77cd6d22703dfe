package store

import (
	"bytes"
	"compress/gzip"
	"encoding/base64"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/firn-log/firn/log/statement"
	"github.com/firn-log/firn/tracker/eval"
	"github.com/firn-log/firn/verify"
)

// vector is a file of spec/vectors/tracker: a small world and what it comes to.
type vector struct {
	Comment     string
	Random      []string
	Policy      []string
	LogPolicies map[string]string `json:"log_policies"`
	Logs        []struct {
		Origin  string
		Entries [][]byte
	}
	Lists       []string
	Evaluations [][]string
	Expect      struct {
		Outputs   map[string]vectorOutput
		Channels  map[string]vectorChannel
		Operators map[string]map[string]int64
	}
}

type vectorOutput struct {
	State             string
	Agreeing, Against int
	Since             int64
	Counts, Others    []string
}

type vectorChannel struct {
	Attributes map[string]string
	Queue      []string
}

var vectorStates = map[State]string{0: "", Agree: "agree", Missing: "missing", Differ: "differ", Copying: "copying"}

// The vectors were computed by a program that was written from spec/ alone.
func TestVectors(t *testing.T) {
	files, err := filepath.Glob("../../spec/vectors/tracker/*.json")
	if err != nil || len(files) == 0 {
		t.Fatal("no vectors", err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".json"), func(t *testing.T) {
			text, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			var v vector
			d := json.NewDecoder(bytes.NewReader(text))
			d.DisallowUnknownFields()
			if err := d.Decode(&v); err != nil {
				t.Fatal(err)
			}
			db := v.replay(t)
			v.checkOutputs(t, db)
			v.checkChannels(t, db)
			v.checkOperators(t, db)
		})
	}
}

func (v *vector) replay(t *testing.T) *DB {
	o := Options{Random: v.Random}
	if v.Policy != nil {
		p, err := verify.ParsePolicy("firn.policy", []byte(strings.Join(v.Policy, "\n")+"\n"), func(file string) ([]byte, error) { return []byte(v.LogPolicies[file]), nil })
		if err != nil {
			t.Fatal(err)
		}
		o.Policy, o.PolicyName = p, "firn.policy"
	}
	db := openSQLite(t, o)
	for _, l := range v.Logs {
		var es []Entry
		for i, leaf := range l.Entries {
			e := Entry{Index: uint64(i), Leaf: leaf}
			e.Statement, _ = statement.Parse(leaf) // nil if it is none
			e.List = v.list(t, e.Statement)
			es = append(es, e)
		}
		add(t, db, l.Origin, es)
	}
	for _, lines := range v.Evaluations {
		evaluate(t, db, readEvaluation(t, strings.Join(lines, "\n")+"\n"))
	}
	return db
}

// list returns the list that a closure names by its digest, if it is among those of the vector.
func (v *vector) list(t *testing.T, s *statement.Statement) []byte {
	if s == nil {
		return nil
	}
	c, ok := s.Body.(*statement.Closure)
	if !ok || c.Paths != nil {
		return nil
	}
	for _, text := range v.Lists {
		list, err := base64.StdEncoding.DecodeString(text)
		if err != nil {
			t.Fatal(err)
		}
		if digest(string(list)) == c.Digest {
			return list
		}
	}
	return nil
}

func readEvaluation(t *testing.T, text string) (e evaluation) {
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	if _, err := z.Write([]byte(text)); err != nil {
		t.Fatal(err)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	r, err := eval.NewReader(&b)
	if err != nil {
		t.Fatal(err)
	}
	e.h = r.Header()
	for a, err := range r.Attributes() {
		if err != nil {
			t.Fatal(err)
		}
		e.attrs = append(e.attrs, a)
	}
	return e
}

func (v *vector) checkOutputs(t *testing.T, db *DB) {
	for name, want := range v.Expect.Outputs {
		o, _, err := db.Output(t.Context(), name)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		got := vectorOutput{State: vectorStates[o.State], Agreeing: o.Agreeing, Against: o.Against}
		if !o.Since.IsZero() {
			got.Since = o.Since.Unix()
		}
		for _, c := range o.Claims {
			if id := c.Statement[:16]; c.Counts {
				got.Counts = append(got.Counts, id)
			} else {
				got.Others = append(got.Others, id)
			}
		}
		slices.Sort(got.Counts)
		slices.Sort(got.Others)
		if got.State != want.State || got.Agreeing != want.Agreeing || got.Against != want.Against || got.Since != want.Since || !slices.Equal(got.Counts, want.Counts) || !slices.Equal(got.Others, want.Others) {
			t.Errorf("%s is\n%+v, want\n%+v", name, got, want)
		}
	}
}

func (v *vector) checkChannels(t *testing.T, db *DB) {
	for name, want := range v.Expect.Channels {
		l, err := db.Attributes(t.Context(), Filter{Channel: name}, Page{Limit: 100})
		if err != nil {
			t.Fatal(err)
		}
		for _, r := range l.Rows {
			if s, there := want.Attributes[r.Attr]; !there || s != vectorStates[r.State] {
				t.Errorf("%s in %s has state %q, want %q (%t)", r.Attr, name, vectorStates[r.State], s, there)
			}
		}
		if len(l.Rows) != len(want.Attributes) {
			t.Errorf("%s has %d attributes, want %d", name, len(l.Rows), len(want.Attributes))
		}
		q, err := db.Queue(t.Context(), name, Page{Limit: 100})
		if err != nil {
			t.Fatal(err)
		}
		var queue []string
		for _, r := range q.Rows {
			queue = append(queue, r.Attr)
		}
		if !slices.Equal(queue, want.Queue) {
			t.Errorf("the queue of %s is %q, want %q", name, queue, want.Queue)
		}
	}
}

func (v *vector) checkOperators(t *testing.T, db *DB) {
	for id, want := range v.Expect.Operators {
		o, err := db.Operator(t.Context(), id)
		if errors.Is(err, ErrNotFound) {
			t.Errorf("operator %s is not known", id)
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		if o.Agreed != want["agreed"] || o.Differed != want["differed"] || o.Alone != want["alone"] || o.Copied != want["copied"] {
			t.Errorf("operator %s: agreed %d, differed %d, alone %d, copied %d; want %v", o.Name, o.Agreed, o.Differed, o.Alone, o.Copied, want)
		}
	}
}
