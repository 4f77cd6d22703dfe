package verify

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
)

// withVetoes is a random case whose rule has vetoes, also of operators that it does not ask.
func withVetoes(r *rand.Rand) (Case, []*Operator) {
	c, spare := randomCase(r)
	ops := append(c.Rule.Need.Voters(), &Operator{Name: "outside"})
	for range r.IntN(3) {
		c.Claims = append(c.Claims, randomClaim(r, "outside"))
	}
	for i := range c.Claims {
		if c.Output && r.IntN(5) == 0 {
			c.Claims[i] = randomRealised(r, c.Claims[i].Operator)
		}
	}
	if r.IntN(5) == 0 {
		c.Open["outside"] = "missing"
	}
	c.Rule.Vetoes = randomVetoes(r, ops)
	c.Rule.Else = Action(1 + r.IntN(4))
	return c, spare
}

func randomRealised(r *rand.Rand, by string) Claim {
	c := randomClaim(r, by)
	c.Class, c.About = Realised, Fingerprint{Path: mustPath([]string{
		theFingerprint.Path.String(), "/nix/store/22222222222222222222222222222222-f", "/nix/store/33333333333333333333333333333333-f",
	}[r.IntN(3)])}
	return c
}

// Nobody who is not asked, and nobody who is asked and says nothing, makes a path trusted: no set of
// statements by fewer operators than the rule asks for does, in any number and order, with any keys.
func TestFewerOperatorsThanTheRuleAsksForNeverMakeAPathTrusted(t *testing.T) {
	r := rand.New(rand.NewPCG(11, 12))
	tight := 0
	for range 4000 {
		c, _ := randomCase(r)
		need := SmallestSets(c.Rule.Need, 0).Size
		voters := c.Rule.Need.Voters()
		r.Shuffle(len(voters), func(i, k int) { voters[i], voters[k] = voters[k], voters[i] })
		c.Open, c.Claims, c.Output = nil, nil, false
		n := r.IntN(need)
		if n == need-1 {
			tight++
		}
		liars := append(slices.Clone(voters[:n]), &Operator{Name: "stranger"})
		for range 1 + r.IntN(60) {
			cl := randomClaim(r, liars[r.IntN(len(liars))].Name)
			cl.About = theFingerprint
			cl.Key[0] = byte(r.Uint32())
			c.Claims = append(c.Claims, cl)
		}
		if j := Judge(c); j.Verdict == Trusted || j.Action != c.Rule.Else {
			t.Fatalf("%d of %d operators made it %v, %v: %+v", n, need, j.Verdict, j.Action, j)
		}
	}
	if tight < 500 {
		t.Errorf("only %d cases had one operator too few", tight)
	}
}

// And the smallest set that lint names is enough: it is no bound that is too low.
func TestTheSmallestSetsAreEnough(t *testing.T) {
	r := rand.New(rand.NewPCG(13, 14))
	for range 2000 {
		c, _ := randomCase(r)
		sets := SmallestSets(c.Rule.Need, 4)
		for _, set := range sets.Examples {
			c.Open, c.Claims, c.Output = nil, nil, false
			for _, name := range set {
				for _, class := range []Class{Built, Signed} {
					cl := Claim{Operator: name, Class: class, About: theFingerprint}
					cl.ID[0] = byte(class)
					c.Claims = append(c.Claims, cl)
				}
			}
			if j := Judge(c); j.Verdict != Trusted || len(set) != sets.Size {
				t.Fatalf("%v of %s is not enough: %+v", set, c.Rule.Need.words(), j)
			}
		}
	}
}

// What other operators claim never takes trust away, unless there is a veto.
func TestOthersTakeNoTrustAwayWithoutAVeto(t *testing.T) {
	r := rand.New(rand.NewPCG(15, 16))
	trusted, vetoed := 0, 0
	for range 6000 {
		c, _ := withVetoes(r)
		vetoes := c.Rule.Vetoes
		c.Rule.Vetoes = nil
		if Judge(c).Verdict != Trusted {
			continue
		}
		trusted++
		j := Judge(c)
		more := c
		more.Claims = slices.Clone(c.Claims)
		for _, o := range append(c.Rule.Need.Voters(), &Operator{Name: "outside"}) {
			if !slices.Contains(j.Supports, o.Name) {
				more.Claims = append(more.Claims, randomClaim(r, o.Name), randomClaim(r, o.Name))
			}
		}
		if after := Judge(more); after.Verdict != Trusted || after.Action != Serve {
			t.Fatalf("others made a trusted path %v: %+v", after.Verdict, after)
		}
		more.Rule = &Rule{Need: c.Rule.Need, Else: c.Rule.Else, Vetoes: vetoes}
		if after := Judge(more); after.Verdict != Trusted {
			vetoed++
		}
	}
	if trusted < 500 || vetoed < 50 {
		t.Errorf("only %d cases were trusted, and %d of them vetoed", trusted, vetoed)
	}
}

func TestNoCompletionChangesAVerdictWithVetoes(t *testing.T) {
	r := rand.New(rand.NewPCG(17, 18))
	seen := make(map[Verdict]int)
	for range 20000 {
		c, _ := withVetoes(r)
		before := Judge(c)
		if before.Verdict == Inconclusive {
			continue
		}
		seen[before.Verdict]++
		done := Case{Rule: c.Rule, About: c.About, Output: c.Output}
		for _, cl := range c.Claims {
			if _, open := c.Open[cl.Operator]; !open || r.IntN(2) == 0 {
				done.Claims = append(done.Claims, cl)
			}
		}
		for name := range c.Open {
			for range r.IntN(3) {
				done.Claims = append(done.Claims, randomClaim(r, name))
			}
			if c.Output && r.IntN(3) == 0 {
				done.Claims = append(done.Claims, randomRealised(r, name))
			}
		}
		after := Judge(done)
		if after.Verdict != before.Verdict {
			t.Fatalf("%v became %v when what was missing came\n%+v\n%+v", before.Verdict, after.Verdict, before, after)
		}
		if before.Veto != nil && before.Action.Taken() && !after.Action.Taken() {
			t.Fatalf("%v took in what %v keeps out when what was missing came\n%+v\n%+v", before.Action, after.Action, before, after)
		}
	}
	if len(seen) != 3 || seen[Trusted] < 500 {
		t.Errorf("too few cases: %v", seen)
	}
}

// A path that is not trusted is never served, and a veto is never milder than it says.
func TestWhatFollowsFromAVerdict(t *testing.T) {
	r := rand.New(rand.NewPCG(19, 20))
	for range 10000 {
		c, _ := withVetoes(r)
		j := Judge(c)
		switch {
		case (j.Action == Serve) != (j.Verdict == Trusted):
			t.Fatalf("%v and %v", j.Verdict, j.Action)
		case j.Veto != nil && (j.Verdict != Contradicted || j.Action < j.Veto.Action):
			t.Fatalf("vetoed, and yet %v and %v", j.Verdict, j.Action)
		case j.Veto == nil && j.Verdict != Trusted && j.Action != c.Rule.Else:
			t.Fatalf("%v, and not what the rule says: %v", j.Verdict, j.Action)
		}
	}
}

// More of them never make a distinct group less satisfied, and sameness never helps.
func TestDistinct(t *testing.T) {
	pol := parsed(t, "log main file main.policy url https://log.example\noperator a id "+idA+" org=x\noperator b id "+idB+" org=x\noperator c id "+idC+" org=y\n"+
		"operator d id dddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddd\ngroup g 2 a b c d distinct org 2\nrule default need g\n")
	for _, c := range []struct {
		names, reason string
		verdict       Verdict
	}{
		{"ab", "2 of 4 needed, 2 found, of 1 value of org where 2 must differ", Untrusted},
		{"ac", "2 of 4 needed, 2 found", Trusted},
		{"ad", "2 of 4 needed, 2 found, of 1 value of org where 2 must differ", Untrusted},
		{"c", "2 of 4 needed, 1 found, of 1 value of org where 2 must differ", Untrusted},
		{"abd", "2 of 4 needed, 3 found, of 1 value of org where 2 must differ", Untrusted},
		{"abcd", "2 of 4 needed, 4 found", Trusted},
	} {
		cs := Case{Rule: pol.Default(), About: theFingerprint}
		for i, name := range c.names {
			cs.Claims = append(cs.Claims, vectorClaim{By: string(name), Says: "f"}.claim(t, i))
		}
		if j := Judge(cs); j.Verdict != c.verdict || j.Reason != c.reason {
			t.Errorf("%s: %v (%s), want %v (%s)", c.names, j.Verdict, j.Reason, c.verdict, c.reason)
		}
	}
	if sets := SmallestSets(pol.Default().Need, 9); fmt.Sprint(sets.Examples) != "[[a c] [b c]]" || sets.Count != "2" {
		t.Errorf("%+v", sets)
	}
}

func TestNeedNothingTrustsNothing(t *testing.T) {
	pol := parsed(t, "log main file main.policy url https://log.example\noperator a id "+idA+"\ngroup g 1 a\nrule x fod need nothing else allow\nrule default need g\n")
	c := Case{Rule: pol.Rules[0], About: theFingerprint, Claims: []Claim{vectorClaim{By: "a", Says: "f"}.claim(t, 0)}}
	if j := Judge(c); j.Verdict != Untrusted || j.Action != Allow || j.Reason != "the rule asks nobody" {
		t.Errorf("%+v", j)
	}
}
