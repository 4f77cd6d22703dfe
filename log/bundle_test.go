package log_test

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/firn-log/firn/log"
	"github.com/firn-log/firn/log/index"
	"github.com/firn-log/firn/log/logtest"
	"github.com/firn-log/firn/log/lookup"
	"github.com/firn-log/firn/log/policy"
	"github.com/firn-log/firn/log/statement"
)

// offline returns a client of the bundle's bytes.
func offline(t testing.TB, l *logtest.Log, b []byte, mem *log.Memory) (*log.Client, error) {
	t.Helper()
	parsed, err := log.ParseBundle(b)
	if err != nil {
		return nil, err
	}
	return log.NewBundleClient(parsed, l.Policy(), log.Options{Memory: mem})
}

func record(t testing.TB, l *logtest.Log, keys ...string) []byte {
	t.Helper()
	var b log.Bundle
	if _, err := l.Client("").Record(t.Context(), &b, keys); err != nil {
		t.Fatal(err)
	}
	return b.Marshal()
}

// summary is what an answer says.
type summary struct {
	Size, Read uint64
	Incomplete string
	Keys       []string
	Heads      map[string]log.Known
	Lists      map[string]string
	Leaves     map[uint64]string
	Vouched    []string
}

func summarise(a *log.Answers) summary {
	s := summary{
		Size: a.Checkpoint.Size, Read: a.Read, Incomplete: a.Incomplete, Keys: slices.Sorted(slices.Values(a.Keys)),
		Heads: a.Heads, Lists: make(map[string]string), Leaves: make(map[uint64]string),
	}
	for _, k := range a.Keys {
		s.Lists[k] = indexes(a.Of(k))
		for _, f := range a.Of(k) {
			s.Lists[k] += " " + f.Signer.String()
			if f.Leaf != nil {
				s.Leaves[f.Index] = string(f.Leaf.Bytes)
			}
		}
	}
	for _, v := range a.Vouched {
		n, _ := policy.ParseNote(v)
		s.Vouched = append(s.Vouched, n.Text)
	}
	slices.Sort(s.Vouched)
	s.Vouched = slices.Compact(s.Vouched)
	return s
}

// busy is a log of random closures, signed by three people.
func busy(t testing.TB, r *rand.Rand) (l *logtest.Log, keys []string, signers []statement.KeyID) {
	l = logtest.New(t, logtest.Witnesses(2, 2), logtest.Auditors(1, 1))
	for i := range 3 {
		id := logtest.Signer(t, fmt.Sprint(i)).PublicKey().ID()
		signers, keys = append(signers, id), append(keys, index.Key(id))
	}
	for i := range 12 {
		keys = append(keys, logtest.ClosureKey(fmt.Sprint(i)))
	}
	for range 10 + r.IntN(60) {
		who := logtest.Signer(t, fmt.Sprint(r.IntN(3)))
		l.Add(logtest.Leaf(t, who, logtest.Closure(fmt.Sprint(r.IntN(9)))))
		if r.IntN(8) == 0 {
			l.Publish()
			l.Revise()
		}
	}
	l.Publish()
	return l, keys, signers
}

func pick[T any](r *rand.Rand, from []T) []T {
	out := slices.Clone(from)
	r.Shuffle(len(out), func(i, j int) { out[i], out[j] = out[j], out[i] })
	return out[:r.IntN(len(out)+1)]
}

// A client of a bundle answers as the log does, whatever is asked of what it holds,
// however many answers it took to record it.
func TestBundleAnswersAsTheLogDoes(t *testing.T) {
	for seed := range uint64(8) {
		r := rand.New(rand.NewPCG(seed, 1))
		l, keys, signers := busy(t, r)
		l.Lie(func(lies *logtest.Lies) { lies.Cut = r.IntN(30) })
		online := l.Client("")
		online.Shrink(1 + r.IntN(20))
		var b log.Bundle
		for rest := pick(r, keys); len(rest) > 0; {
			n := 1 + r.IntN(len(rest))
			if _, err := online.Record(t.Context(), &b, rest[:n]); err != nil {
				t.Fatalf("seed %d: %v", seed, err)
			}
			rest = rest[n:]
		}
		held := make(map[string]bool)
		var answered []string
		for _, p := range b.Parts {
			for _, a := range p.Asked {
				if !held[a.Key] {
					held[a.Key] = true
					answered = append(answered, a.Key)
				}
			}
		}
		bundle, err := offline(t, l, b.Marshal(), nil)
		if err != nil {
			t.Fatalf("seed %d: %v", seed, err)
		}
		for range 10 {
			q := log.Query{Keys: pick(r, answered), Tail: uint64(r.IntN(2))}
			if len(q.Keys) == 0 {
				continue
			}
			if r.IntN(3) > 0 {
				q.Signers = pick(r, signers)
			}
			want, err := online.Lookup(t.Context(), q)
			if err != nil {
				t.Fatalf("seed %d: %v", seed, err)
			}
			got, err := bundle.Lookup(t.Context(), q)
			if err != nil {
				t.Fatalf("seed %d, %v: %v", seed, q, err)
			}
			if d := cmp.Diff(summarise(want), summarise(got)); d != "" {
				t.Errorf("seed %d, %v: (-log +bundle)\n%s", seed, q, d)
			}
			q.Known = make(map[string]log.Known)
			for _, k := range pick(r, q.Keys) {
				q.Known[k] = want.Heads[k]
			}
			want, err = online.Lookup(t.Context(), q)
			if err != nil {
				t.Fatal(err)
			}
			if got, err = bundle.Lookup(t.Context(), q); err != nil {
				t.Fatalf("seed %d, %v: %v", seed, q, err)
			}
			if d := cmp.Diff(summarise(want), summarise(got)); d != "" {
				t.Errorf("seed %d, %v: (-log +bundle)\n%s", seed, q, d)
			}
		}
		for _, k := range keys {
			if bundle.Holds(k) != held[k] {
				t.Errorf("seed %d: %s: held is %v", seed, k, bundle.Holds(k))
			}
		}
	}
}

// A bundle may be made while the log grows: its parts are about trees of several sizes.
func TestBundleOfAGrowingLogIsAboutOneHistory(t *testing.T) {
	l, a, b := library(t)
	online := l.Client("")
	var out log.Bundle
	for _, k := range []string{logtest.ClosureKey("x"), logtest.ClosureKey("y"), index.Key(a), index.Key(b)} {
		if _, err := online.Record(t.Context(), &out, []string{k}); err != nil {
			t.Fatal(err)
		}
		l.Add(logtest.Leaf(t, logtest.Signer(t, "a"), logtest.Closure(fmt.Sprint("grown-", l.Size()))))
		l.Publish()
	}
	c, err := offline(t, l, out.Marshal(), nil)
	if err != nil {
		t.Fatal(err)
	}
	answers, err := c.Lookup(t.Context(), log.Query{Keys: []string{index.Key(a), logtest.ClosureKey("x"), index.Key(b)}})
	if err != nil || answers.Checkpoint.Size != 6 || indexes(answers.Of(index.Key(a))) != "0+ 1+ 2+" || indexes(answers.Of(index.Key(b))) != "4+" {
		t.Errorf("%+v, %v", answers, err)
	}
	for i, p := range out.Parts { // what is not proven to belong together is not mixed
		if i == 0 {
			continue
		}
		p.Follows[0][0] ^= 1
		c, err := log.NewBundleClient(&out, l.Policy(), log.Options{})
		if err != nil {
			t.Fatal(err)
		}
		var bad *log.ProofError
		if _, err := c.Checkpoint(t.Context()); !errors.As(err, &bad) {
			t.Errorf("part %d: %v", i, err)
		}
		if _, err := c.Lookup(t.Context(), log.Query{Keys: []string{logtest.ClosureKey("x")}}); !errors.As(err, &bad) {
			t.Errorf("part %d: %v", i, err)
		}
		p.Follows[0][0] ^= 1
	}
	out.Parts = out.Parts[1:]
	c, err = log.NewBundleClient(&out, l.Policy(), log.Options{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.Checkpoint(t.Context()); err == nil {
		t.Error("the first part follows one that is not there")
	}
}

// Whatever is changed in a bundle, it gives the same answer or none.
func TestNoChangedByteOfABundleChangesAnAnswer(t *testing.T) {
	l, a, _ := library(t)
	keys := []string{logtest.ClosureKey("x"), logtest.ClosureKey("nothing"), index.Key(a)}
	var out log.Bundle
	c := l.Client("")
	for _, k := range keys {
		if _, err := c.Record(t.Context(), &out, []string{k}); err != nil {
			t.Fatal(err)
		}
		l.Add([]byte("the log grows"))
		l.Publish()
	}
	good := out.Marshal()
	ask := func(b []byte) (summary, error) {
		c, err := offline(t, l, b, nil)
		if err != nil {
			return summary{}, err
		}
		answers, err := c.Lookup(t.Context(), log.Query{Keys: keys})
		if err != nil {
			return summary{}, err
		}
		return summarise(answers), nil
	}
	want, err := ask(good)
	if err != nil {
		t.Fatal(err)
	}
	refused, tried := 0, 0
	for i := 0; i < len(good); i += 5 { // every byte takes long
		tried++
		b := bytes.Clone(good)
		b[i] ^= 1 << (i % 8)
		got, err := ask(b)
		if err != nil {
			refused++
		} else if d := cmp.Diff(want, got); d != "" {
			t.Errorf("byte %d: %s", i, d)
		}
	}
	if refused < tried*9/10 {
		t.Errorf("%d of %d refused", refused, tried)
	}
}

func TestBundleSaysWhatItDoesNotHold(t *testing.T) {
	l, a, b := library(t)
	var out log.Bundle
	if _, err := l.Client("").RecordPeople(t.Context(), &out, []string{index.Key(a)}); err != nil {
		t.Fatal(err)
	}
	c, err := offline(t, l, out.Marshal(), nil)
	if err != nil {
		t.Fatal(err)
	}
	cp, err := c.Checkpoint(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	entry := func(i uint64) error { _, err := c.Entry(t.Context(), cp, i); return err }
	ask := func(q log.Query) error { _, err := c.Lookup(t.Context(), q); return err }
	for what, err := range map[string]error{
		"another key":      ask(log.Query{Keys: []string{index.Key(b)}}),
		"bodies of claims": ask(log.Query{Keys: []string{index.Key(a)}}),
		"another entry":    entry(1),
		"a submission":     func() error { _, err := c.Submit(t.Context(), nil, 0); return err }(),
	} {
		var not *log.NotInBundleError
		if !errors.As(err, &not) || !errors.Is(err, log.ErrUnreachable) || not.Origin != l.Origin() {
			t.Errorf("%s: %v", what, err)
		}
	}
	// The list is there, and the first entry of the key itself.
	if err := ask(log.Query{Keys: []string{index.Key(a)}, Signers: []statement.KeyID{b}}); err != nil {
		t.Error(err)
	}
	if err := entry(0); err != nil {
		t.Error(err)
	}
	if err := entry(5); err != nil { // the revision, and the tail
		t.Error(err)
	}
	other := logtest.New(t, logtest.Origin("other.example/0123abcd"))
	c, err = log.NewBundleClient(&out, other.Policy(), log.Options{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.Checkpoint(t.Context()); !errors.Is(err, log.ErrUnreachable) {
		t.Error(err)
	}
}

// What this machine remembers and holds counts for a bundle too.
func TestBundleIsHeldAgainstWhatIsRemembered(t *testing.T) {
	l, _, _ := library(t)
	key := logtest.ClosureKey("x")
	b := record(t, l, key)
	dir := t.TempDir()
	if _, err := l.Client(dir).Checkpoint(t.Context()); err != nil {
		t.Fatal(err)
	}
	mem := log.NewMemory(dir)
	c, err := offline(t, l, b, mem)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.Lookup(t.Context(), log.Query{Keys: []string{key}}); err != nil {
		t.Fatal(err)
	}

	fork := logtest.New(t, logtest.Witnesses(3, 2))
	for i := range 5 {
		fork.Add(fmt.Appendf(nil, "another history %d", i))
	}
	fork.Publish()
	c, err = offline(t, l, record(t, fork, key), mem)
	if err != nil {
		t.Fatal(err)
	}
	var caught *log.ForkError
	if _, err := c.Lookup(t.Context(), log.Query{Keys: []string{key}}); !errors.As(err, &caught) || caught.Path == "" {
		t.Fatalf("%v, want a fork with evidence", err)
	}
	if c, err = offline(t, l, b, mem); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Checkpoint(t.Context()); !errors.As(err, &caught) {
		t.Errorf("evidence is held, and: %v", err)
	}
	// Two histories in one bundle convict too.
	one, err := log.ParseBundle(b)
	if err != nil {
		t.Fatal(err)
	}
	two, err := log.ParseBundle(record(t, fork, logtest.ClosureKey("y")))
	if err != nil {
		t.Fatal(err)
	}
	one.Parts = append(one.Parts, two.Parts...)
	if c, err = offline(t, l, one.Marshal(), log.NewMemory(t.TempDir())); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Checkpoint(t.Context()); !errors.As(err, &caught) || caught.Path == "" {
		t.Errorf("%v, want a fork with evidence", err)
	}
	// Nothing was remembered on the word of a bundle.
	fresh := t.TempDir()
	if c, err = offline(t, l, b, log.NewMemory(fresh)); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Checkpoint(t.Context()); err != nil {
		t.Fatal(err)
	}
	if files, _ := os.ReadDir(fresh); len(files) > 0 {
		t.Errorf("%v", files)
	}
}

func TestBundleOfAnIndexFarBehindIsRefused(t *testing.T) {
	l, _, _ := library(t)
	l.Lie(func(lies *logtest.Lies) { lies.NoTail = true })
	var b log.Bundle
	if _, err := l.Client("").Record(t.Context(), &b, []string{logtest.ClosureKey("x")}); err == nil || len(b.Parts) > 0 {
		t.Errorf("%d parts, %v", len(b.Parts), err)
	}
}

func TestMalformedBundlesAreRefused(t *testing.T) {
	l, a, _ := library(t)
	good := record(t, l, logtest.ClosureKey("x"), index.Key(a))
	for n := range good {
		if _, err := log.ParseBundle(good[:n]); !errors.Is(err, lookup.ErrMalformed) {
			t.Fatalf("the first %d bytes: %v", n, err)
		}
	}
	for name, change := range map[string]func(*log.Bundle){
		"a key twice":                func(b *log.Bundle) { b.Parts = append(b.Parts, b.Parts[0]) },
		"fewer keys than lists":      func(b *log.Bundle) { b.Parts[0].Asked = b.Parts[0].Asked[:1] },
		"no origin":                  func(b *log.Bundle) { b.Parts[0].Origin = "" },
		"an origin of several lines": func(b *log.Bundle) { b.Parts[0].Origin = "log.example/1\nx" },
		"a key longer than any":      func(b *log.Bundle) { b.Parts[0].Asked[0].Key = string(make([]byte, lookup.MaxKeyBytes+1)) },
		"a proof longer than any":    func(b *log.Bundle) { b.Parts[0].Follows = make([]index.Hash, 64) },
		"an answer that is none":     func(b *log.Bundle) { b.Parts[0].Answer = b.Parts[0].Answer[1:] },
	} {
		b, err := log.ParseBundle(good)
		if err != nil {
			t.Fatal(err)
		}
		change(b)
		if _, err := log.ParseBundle(b.Marshal()); !errors.Is(err, lookup.ErrMalformed) {
			t.Errorf("%s: %v", name, err)
		}
	}
	for name, b := range map[string][]byte{
		"something follows": append(bytes.Clone(good), 0),
		"another version":   bytes.Replace(good, []byte("@v1"), []byte("@v2"), 1),
		"a long form":       []byte("firn-bundle@v1\n\x80\x00"),
		"too many parts":    []byte("firn-bundle@v1\n\x81\x80\x04"),
	} {
		if _, err := log.ParseBundle(b); !errors.Is(err, lookup.ErrMalformed) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func FuzzParseBundle(f *testing.F) {
	eachBundleVector(f, func(_ string, b []byte) { f.Add(b) })
	f.Fuzz(func(t *testing.T, b []byte) {
		parsed, err := log.ParseBundle(b)
		if err != nil {
			if !errors.Is(err, lookup.ErrMalformed) {
				t.Fatal(err)
			}
			return
		}
		if !bytes.Equal(parsed.Marshal(), b) {
			t.Fatal("it encodes to other bytes")
		}
	})
}
