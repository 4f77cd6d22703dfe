package policy

import (
	"fmt"
	"math/bits"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
)

// quorumOf parses a policy of n witnesses, w0 to wn-1, and the lines of groups.
func quorumOf(t testing.TB, n int, lines string) *Policy {
	t.Helper()
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, "witness w%d %s\n", i, newSigner(t, fmt.Sprintf("witness.example/w%d", i), TypeCosignature, fmt.Sprint("lint ", i)).Key)
	}
	return mustParse(t, b.String()+lines)
}

// bruteForce asks every pair of sets.
func bruteForce(p *Policy) (ok bool, overlap, needed, spare int) {
	n := len(p.Witnesses)
	var good []uint
	for set := range uint(1) << n {
		names := make(map[string]bool)
		for i, w := range p.Witnesses {
			if set>>i&1 == 1 && p.counts(w) {
				names[w.Name] = true
			}
		}
		if p.satisfied(names) {
			good = append(good, set)
		}
	}
	if len(good) == 0 {
		return false, 0, 0, 0
	}
	overlap, needed, cut := n, n, n
	for _, a := range good {
		needed = min(needed, bits.OnesCount(a))
		for _, b := range good {
			overlap = min(overlap, bits.OnesCount(a&b))
		}
	}
	for down := range uint(1) << n {
		if !slices.Contains(good, (uint(1)<<n-1)&^down) {
			cut = min(cut, bits.OnesCount(down))
		}
	}
	return true, overlap, needed, cut - 1
}

// randomQuorum makes nested groups out of n witnesses.
func randomQuorum(r *rand.Rand, n int) string {
	var b strings.Builder
	var free []string
	for i := range n {
		free = append(free, fmt.Sprintf("w%d", i))
	}
	for g := 0; len(free) > 1; g++ {
		r.Shuffle(len(free), func(i, j int) { free[i], free[j] = free[j], free[i] })
		m := 1 + r.IntN(len(free))
		fmt.Fprintf(&b, "group g%d %d %s\n", g, 1+r.IntN(m), strings.Join(free[:m], " "))
		free = append(free[m:], fmt.Sprintf("g%d", g))
		if r.IntN(4) == 0 {
			break // the others are outside
		}
	}
	return b.String() + "quorum " + free[len(free)-1] + "\n"
}

func TestLintIsWhatBruteForceFinds(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for range 1500 {
		n := 1 + r.IntN(7)
		p := quorumOf(t, n, randomQuorum(r, n))
		if r.IntN(3) == 0 { // somebody is convicted
			p = p.Ignoring(p.Witnesses[r.IntN(n)].Key)
		}
		l := p.Lint()
		ok, overlap, needed, spare := bruteForce(p)
		if l.Satisfiable != ok || l.Overlap != overlap || l.Needed != needed || l.Spare != spare || ok && l.Tolerated != overlap-1 {
			t.Fatalf("%+v, want %v, overlap %d, needed %d, spare %d, for\n%s", l, ok, overlap, needed, spare, p)
		}
	}
}

func TestLintOfKnownQuorums(t *testing.T) {
	members := func(from, to int) string {
		var s []string
		for i := from; i < to; i++ {
			s = append(s, fmt.Sprintf("w%d", i))
		}
		return strings.Join(s, " ")
	}
	for name, c := range map[string]struct {
		n                        int
		lines                    string
		tolerated, needed, spare int
		warning                  string
	}{
		"one witness":       {1, "quorum w0\n", 0, 1, 0, "one dishonest witness is enough"},
		"none":              {2, "quorum none\n", -1, 0, 0, "asks for no witness"},
		"2 of 3":            {3, "group g 2 w0 w1 w2\nquorum g\n", 0, 2, 1, "one dishonest witness is enough"},
		"3 of 4":            {4, "group g 3 w0 w1 w2 w3\nquorum g\n", 1, 3, 1, ""},
		"2 of 4":            {4, "group g 2 w0 w1 w2 w3\nquorum g\n", -1, 2, 2, "although every witness is honest"},
		"all of 5":          {5, "group g all w0 w1 w2 w3 w4\nquorum g\n", 4, 5, 0, "without whom no quorum is left"},
		"22 of 32":          {32, "group g 22 " + members(0, 32) + "\nquorum g\n", 11, 22, 10, ""},
		"4 × 6 of 8, 3 of":  {32, "group a 6 " + members(0, 8) + "\ngroup b 6 " + members(8, 16) + "\ngroup c 6 " + members(16, 24) + "\ngroup d 6 " + members(24, 32) + "\ngroup g 3 a b c d\nquorum g\n", 7, 18, 5, ""},
		"chain of 32":       {32, chain(32), 31, 32, 0, "without whom no quorum is left"},
		"a group of groups": {6, "group a 2 w0 w1 w2\ngroup b 2 w3 w4 w5\ngroup g all a b\nquorum g\n", 1, 4, 1, ""},
		"outside":           {4, "group g 2 w0 w1 w2\nquorum g\n", 0, 2, 1, "w3 is not part of the quorum"},
	} {
		l := quorumOf(t, c.n, c.lines).Lint()
		if !l.Satisfiable || l.Tolerated != c.tolerated || l.Needed != c.needed || l.Spare != c.spare {
			t.Errorf("%s: %+v", name, l)
		}
		if all := strings.Join(l.Warnings, "; "); !strings.Contains(all, c.warning) || c.warning == "" && all != "" {
			t.Errorf("%s: warnings %q, want %q", name, all, c.warning)
		}
	}
}

// chain is groups within groups, each of all of one more witness.
func chain(n int) string {
	lines, last := "", "w0"
	for i := 1; i < n; i++ {
		lines += fmt.Sprintf("group g%d all %s w%d\n", i, last, i)
		last = fmt.Sprintf("g%d", i)
	}
	return lines + "quorum " + last + "\n"
}

func TestLintDoesNotCountMLDSA(t *testing.T) {
	k, err := NewKey("pq.example", TypeMLDSA, make([]byte, 1312))
	if err != nil {
		t.Fatal(err)
	}
	l := quorumOf(t, 2, fmt.Sprintf("witness pq %s\ngroup g all w0 w1 pq\nquorum g\n", k)).Lint()
	if l.Satisfiable || !slices.Equal(l.Uncounted, []string{"pq"}) {
		t.Errorf("%+v", l)
	}
	l = quorumOf(t, 2, fmt.Sprintf("witness pq %s\ngroup g 2 w0 w1 pq\nquorum g\n", k)).Lint()
	if !l.Satisfiable || l.Tolerated != 1 || l.Spare != 0 {
		t.Errorf("%+v", l)
	}
}

func TestIgnoredWitnessesNeitherCountNorRefuse(t *testing.T) {
	w := newWorld(t)
	good := w.good() // by w1 and w2
	p := w.pol.Ignoring(w.w[0].Key)
	_, err := p.Verify(good, testNow)
	if e, ok := err.(*QuorumError); !ok || !slices.Equal(e.Have, []string{"w2"}) || !slices.Equal(e.Ignored, []string{"w1"}) {
		t.Fatalf("error %v, want a QuorumError without w1", err)
	}
	if !strings.Contains(err.Error(), "evidence is held against it: w1") {
		t.Errorf("%v does not say that w1 does not count", err)
	}
	all := w.note(w.log.sign(w.text), w.w[0].cosign(w.text, 1), w.w[1].cosign(w.text, 2), w.w[2].cosign(w.text, 3))
	v, err := p.Verify(all, testNow)
	if err != nil || len(v.Cosignatures) != 2 || v.Time.Unix() != 2 {
		t.Errorf("%+v, %v, want the two others", v, err)
	}
	// Its signatures are not even verified.
	wrong := w.note(w.log.sign(w.text), w.w[0].cosign("x", 1), w.w[1].cosign(w.text, 2), w.w[2].cosign(w.text, 3))
	if _, err := p.Verify(wrong, testNow); err != nil {
		t.Error(err)
	}
	if _, err := w.pol.Verify(wrong, testNow); err == nil {
		t.Error("the policy itself has changed")
	}
	if _, err := w.pol.Verify(good, testNow); err != nil {
		t.Errorf("the policy itself has changed: %v", err)
	}
	if p.String() != w.pol.String() {
		t.Error("ignoring a witness changes the text of the policy")
	}
	// A key under another name is the same key; a log's is not a witness's.
	renamed, err := NewKey("another.example/name", TypeCosignature, w.w[0].Public)
	if err != nil {
		t.Fatal(err)
	}
	if got := w.pol.Ignoring(renamed).Ignored(); !slices.Equal(got, []string{"w1"}) {
		t.Errorf("ignored %q", got)
	}
	asLog, err := NewKey("witness.example/w1", TypeEd25519, w.w[0].Public)
	if err != nil {
		t.Fatal(err)
	}
	if got := w.pol.Ignoring(asLog, w.log.Key).Ignored(); len(got) != 0 {
		t.Errorf("ignored %q", got)
	}
}

func BenchmarkLint32(b *testing.B) {
	p := quorumOf(b, 32, randomQuorum(rand.New(rand.NewPCG(3, 4)), 32))
	for b.Loop() {
		p.Lint()
	}
}

func TestSatisfiedDoesNotCountIgnoredWitnesses(t *testing.T) {
	w := newWorld(t)
	two := []string{"w1", "w2"}
	if !w.pol.Satisfied(two) {
		t.Fatal("two of three are no quorum")
	}
	p := w.pol.Ignoring(w.w[0].Key)
	if p.Satisfied(two) || !p.Satisfied([]string{"w1", "w2", "w3"}) || p.Satisfied(nil) {
		t.Error("an ignored witness counts, or the others do not")
	}
	if !w.pol.Satisfied(two) {
		t.Error("the policy itself has changed")
	}
}
