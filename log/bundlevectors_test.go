package log_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/firn-log/firn/internal/testreq"
	"github.com/firn-log/firn/log"
	"github.com/firn-log/firn/log/index"
	"github.com/firn-log/firn/log/logtest"
	"github.com/firn-log/firn/log/lookup"
	"github.com/firn-log/firn/log/policy"
)

var updateBundles = flag.Bool("update-bundles", false, "write spec/vectors/bundle")

var bundleVectors = filepath.Join(testreq.Root(), "spec", "vectors", "bundle")

func eachBundleVector(t testing.TB, f func(name string, b []byte)) {
	t.Helper()
	paths, err := filepath.Glob(filepath.Join(bundleVectors, "*.bundle"))
	if err != nil || len(paths) < 5 {
		t.Fatalf("%d vectors, %v", len(paths), err)
	}
	for _, p := range paths {
		b, err := os.ReadFile(p)
		if err != nil {
			t.Fatal(err)
		}
		f(filepath.Base(p), b)
	}
}

// bundleRefusal sorts an error into the classes of spec/bundle.md#vectors.
func bundleRefusal(err error) string {
	var proof *log.ProofError
	var not *log.NotInBundleError
	var fork *log.ForkError
	var quorum *policy.QuorumError
	switch {
	case err == nil:
		return "accept"
	case errors.Is(err, lookup.ErrMalformed):
		return "malformed"
	case errors.As(err, &not):
		return "missing"
	case errors.As(err, &fork):
		return "fork"
	case errors.As(err, &quorum):
		return "quorum"
	case errors.As(err, &proof):
		return "proof"
	}
	return err.Error()
}

// bundleAsked is keys.json of the vectors: what is asked, and the indexes that lie there.
type bundleAsked map[string][]uint64

func TestBundleVectors(t *testing.T) {
	if *updateBundles {
		writeBundleVectors(t)
	}
	text, err := os.ReadFile(filepath.Join(bundleVectors, "log.policy"))
	if err != nil {
		t.Fatal(err)
	}
	pol, err := policy.Parse(text)
	if err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(filepath.Join(bundleVectors, "keys.json"))
	if err != nil {
		t.Fatal(err)
	}
	var asked bundleAsked
	if err := json.Unmarshal(b, &asked); err != nil {
		t.Fatal(err)
	}
	var q log.Query
	for k := range asked {
		q.Keys = append(q.Keys, k)
	}
	eachBundleVector(t, func(name string, b []byte) {
		bundle, err := log.ParseBundle(b)
		var answers *log.Answers
		if err == nil {
			if !bytes.Equal(bundle.Marshal(), b) {
				t.Errorf("%s: encodes to other bytes", name)
			}
			now := func() time.Time { return time.Unix(1_800_000_010, 0) }
			c, err2 := log.NewBundleClient(bundle, pol, log.Options{Now: now})
			if err2 != nil {
				t.Fatal(err2)
			}
			answers, err = c.Lookup(t.Context(), q)
		}
		if got := bundleRefusal(err); !strings.HasPrefix(strings.TrimPrefix(name, "reject-"), got+"-") {
			t.Errorf("%s: %s: %v", name, got, err)
		}
		for k, want := range asked {
			if err != nil {
				break
			}
			var got []uint64
			for _, f := range answers.Of(k) {
				got = append(got, f.Index)
			}
			if len(got) != len(want) || len(got) > 0 && got[len(got)-1] != want[len(want)-1] {
				t.Errorf("%s: %s has %v, want %v", name, k, got, want)
			}
		}
	})
}

func writeBundleVectors(t *testing.T) {
	l, a, _ := library(t)
	l.SetTime(time.Unix(1_800_000_000, 0))
	l.Publish()
	x, none, key := logtest.ClosureKey("x"), logtest.ClosureKey("nothing"), index.Key(a)
	asked := bundleAsked{x: {0, 4}, none: nil, key: {0, 1, 2}}
	write := func(name string, b []byte) {
		if err := os.WriteFile(filepath.Join(bundleVectors, name), b, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.MkdirAll(bundleVectors, 0o755); err != nil {
		t.Fatal(err)
	}
	js, err := json.MarshalIndent(asked, "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	write("keys.json", append(js, '\n'))
	write("log.policy", []byte(l.PolicyText()))
	one := record(t, l, x, none, key)
	write("accept-one-answer.bundle", one)
	l.Lie(func(lies *logtest.Lies) { lies.Cut = 2 })
	write("accept-lists-in-parts.bundle", record(t, l, x, none, key))
	l.Lie(func(lies *logtest.Lies) { lies.Cut = 0 })
	other := logtest.New(t, logtest.Origin("other.example/0123abcd"))
	other.Publish()
	grown := func() *log.Bundle { // in parts between which the log grew
		var b log.Bundle
		c := l.Client("")
		for _, k := range []string{x, none, key} {
			if _, err := c.Record(t.Context(), &b, []string{k}); err != nil {
				t.Fatal(err)
			}
			l.Add([]byte("the log grows"))
			l.Publish()
		}
		return &b
	}
	b := grown()
	write("accept-growing.bundle", b.Marshal())
	two := *b
	if _, err := other.Client("").Record(t.Context(), &two, []string{x}); err != nil {
		t.Fatal(err)
	}
	write("accept-two-logs.bundle", two.Marshal())
	b.Parts[1].Follows[0][0] ^= 1
	write("reject-proof-consistency.bundle", b.Marshal())
	b.Parts[1].Follows[0][0] ^= 1
	write("reject-proof-first-follows.bundle", (&log.Bundle{Parts: b.Parts[1:]}).Marshal())
	write("reject-missing-key.bundle", (&log.Bundle{Parts: b.Parts[:2]}).Marshal())
	write("reject-missing-everything.bundle", new(log.Bundle).Marshal())
	var lying log.Bundle
	if _, err := l.Client("").Record(t.Context(), &lying, []string{x, none, key}); err != nil {
		t.Fatal(err)
	}
	answer, err := lookup.Parse(lying.Parts[0].Answer)
	if err != nil {
		t.Fatal(err)
	}
	answer.Lists[0] = lookup.List{}
	lying.Parts[0].Answer = answer.Marshal()
	write("reject-proof-omitted.bundle", lying.Marshal())
	fork := logtest.New(t, logtest.Witnesses(3, 2))
	fork.SetTime(time.Unix(1_800_000_000, 0))
	for range 5 {
		fork.Add([]byte("another history"))
	}
	fork.Publish()
	forked, err := log.ParseBundle(one)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := fork.Client("").Record(t.Context(), forked, []string{logtest.ClosureKey("y")}); err != nil {
		t.Fatal(err)
	}
	write("reject-fork-same-size.bundle", forked.Marshal())
	alone := logtest.New(t) // the same log without its witnesses
	for _, leaf := range [][]byte{[]byte("a"), []byte("b")} {
		alone.Add(leaf)
	}
	alone.Publish()
	write("reject-quorum-no-witness.bundle", record(t, alone, x, none, key))
	write("reject-malformed-cut-off.bundle", one[:len(one)-1])
	write("reject-malformed-more-follows.bundle", append(bytes.Clone(one), 0))
	write("reject-malformed-long-number.bundle", []byte("firn-bundle@v1\n\x80\x00"))
	write("reject-malformed-version.bundle", bytes.Replace(one, []byte("@v1"), []byte("@v2"), 1))
	parsed, err := log.ParseBundle(one)
	if err != nil {
		t.Fatal(err)
	}
	parsed.Parts = append(parsed.Parts, parsed.Parts[0])
	write("reject-malformed-key-twice.bundle", parsed.Marshal())
}
