package verify

import (
	"testing"

	"github.com/firn-log/firn/internal/nix"
	"github.com/firn-log/firn/log/statement"
)

// realised says which path an implementation got for the output of b.
func realised(b *statement.Build, implementation string) *statement.Realisation {
	return &statement.Realisation{
		StoreDir: b.StoreDir, Modulo: &b.Modulo, Output: "out", Path: b.Outputs[0].Path,
		Builder: statement.Builder{Implementation: implementation, Version: "1"},
	}
}

// output is the output of b as a store has it.
func output(b *statement.Build, keys ...string) Subject {
	return Subject{Info: infoOf(b), Realisations: keys}
}

func TestARealisationSupportsNothing(t *testing.T) {
	w := newWorld(t)
	ps := w.people("a b")
	mine, key := caBuild(t, "ca", "mine", "nix")
	w.put(0, w.sign(ps["a"].build, realised(mine, "nix"), nil))
	pol := w.policy(ps, "group g 1 a b")
	for range 2 { // asked, and remembered
		p := w.expect(pol, output(mine, key), Untrusted, "1 of 2 needed, 0 found")
		if len(p.Claims) != 1 || p.Claims[0].Class != Realised || len(p.Dissent) != 0 {
			t.Errorf("%+v %+v", p.Claims, p.Dissent)
		}
	}
	w.put(0, w.sign(ps["b"].build, mine, nil))
	w.expect(pol, output(mine, key), Trusted, "1 found")
}

// Not under the path: it says nothing of what is in it.
func TestARealisationCountsUnderWhatItIsAboutOnly(t *testing.T) {
	w := newWorld(t)
	ps := w.people("a")
	mine, _ := caBuild(t, "ca", "mine", "nix")
	w.put(0, w.sign(ps["a"].build, realised(mine, "nix"), nil))
	p := w.expect(w.policy(ps, "group g 1 a"), output(mine), Untrusted, "0 found")
	if len(p.Claims) != 0 {
		t.Errorf("%+v", p.Claims)
	}
}

func TestARealisationOfAnotherPathIsDissentByTheSameImplementationOnly(t *testing.T) {
	for implementation, want := range map[string]Verdict{"nix": Contradicted, "lix": Untrusted, statement.UnknownImplementation: Untrusted} {
		w := newWorld(t)
		ps := w.people("a b")
		mine, key := caBuild(t, "ca", "mine", "nix")
		other, _ := caBuild(t, "ca", "other", "nix")
		w.put(0, w.sign(ps["a"].build, mine, nil))
		w.put(0, w.sign(ps["b"].build, realised(other, implementation), nil))
		p := w.expect(w.policy(ps, "group g all a b"), output(mine, key), want, "2 of 2 needed, 1 found")
		if (len(p.Dissent) == 1) != (want == Contradicted) {
			t.Errorf("%s: %+v", implementation, p.Dissent)
		}
	}
}

// That the path of f was realised by an implementation makes another path by it dissent.
func TestARealisationOfThisPathIsWhatOtherPathsAreComparedWith(t *testing.T) {
	for implementation, want := range map[string]Verdict{"nix": Contradicted, "lix": Untrusted} {
		w := newWorld(t)
		ps := w.people("a b")
		mine, key := caBuild(t, "ca", "mine", "nix")
		other, _ := caBuild(t, "ca", "other", implementation)
		w.put(0, w.sign(ps["a"].build, realised(mine, "nix"), nil))
		w.put(0, w.sign(ps["b"].build, other, nil))
		w.expect(w.policy(ps, "group g all a b"), output(mine, key), want, "0 found")
	}
}

// Whoever does not know which Nix it was says so, and is compared with nothing.
func TestARealisationByAnUnknownImplementationCountsForNothing(t *testing.T) {
	w := newWorld(t)
	ps := w.people("a b")
	mine, key := caBuild(t, "ca", "mine", "nix")
	other, _ := caBuild(t, "ca", "other", "nix")
	w.put(0, w.sign(ps["a"].build, realised(mine, statement.UnknownImplementation), nil))
	w.put(0, w.sign(ps["a"].build, realised(other, statement.UnknownImplementation), nil))
	w.put(0, w.sign(ps["b"].build, realised(other, statement.UnknownImplementation), nil))
	p := w.expect(w.policy(ps, "group g all a b"), output(mine, key), Untrusted, "0 found")
	if len(p.Claims)+len(p.Dissent) != 0 {
		t.Errorf("%+v %+v", p.Claims, p.Dissent)
	}
}

// Which Nix made what is in this store nobody said: it may be another one.
func TestADifferenceAcrossImplementationsIsNoContradiction(t *testing.T) {
	for _, implementation := range []string{"nix", "lix"} {
		w := newWorld(t)
		ps := w.people("a b")
		mine, key := caBuild(t, "ca", "mine", "nix")
		other, _ := caBuild(t, "ca", "other", implementation)
		w.put(0, w.sign(ps["a"].build, other, nil))
		w.put(0, w.sign(ps["b"].build, realised(other, implementation), nil))
		p := w.expect(w.policy(ps, "group g all a b"), output(mine, key), Untrusted, "a claims another path; b claims another path")
		if len(p.Dissent) != 2 {
			t.Errorf("%+v", p.Dissent)
		}
		// Two implementations that got two paths do not contradict themselves either.
		third, _ := caBuild(t, "ca", "third", "tvix")
		w.put(0, w.sign(ps["a"].build, realised(third, "tvix"), nil))
		w.expect(w.policy(ps, "group g all a b"), output(mine, key), Untrusted, "a claims another path; b claims another path")
		// Somebody got this one by that implementation: then it is one.
		same, _ := caBuild(t, "ca", "mine", implementation)
		w.put(0, w.sign(ps["b"].build, same, nil))
		w.expect(w.policy(ps, "group g all a b"), output(mine, key), Contradicted, "a claims another path; b contradicts itself")
	}
}

// Derivations that Nix resolved are compared by their path, too.
func TestRealisationsAreComparedByTheirResolvedDerivation(t *testing.T) {
	w := newWorld(t)
	ps := w.people("a b")
	mine, key := caBuild(t, "ca", "mine", "nix")
	other, _ := caBuild(t, "ca", "other", "nix")
	by := realised(other, "nix")
	by.Modulo, by.Drv = nil, &mine.DrvPath
	w.put(0, w.sign(ps["a"].build, mine, nil))
	w.put(0, w.sign(ps["b"].build, by, nil))
	pol := w.policy(ps, "group g all a b")
	w.expect(pol, output(mine, key), Untrusted, "1 found")
	w.expect(pol, output(mine, key, "real:"+mine.DrvPath.String()+"!out"), Contradicted, "b claims another path")
	elsewhere, err := nix.DefaultStoreDir.FromBase("11111111111111111111111111111111-ca.drv")
	if err != nil {
		t.Fatal(err)
	}
	w.expect(pol, output(mine, key, "real:"+elsewhere.String()+"!out"), Untrusted, "1 found")
}
