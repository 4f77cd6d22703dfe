package policy

import (
	"fmt"
	"slices"
)

// A Lint is what can be computed about a policy's quorum
// (spec/proofs.md#quorums). Witnesses that can never count, ML-DSA ones and
// ignored ones, are as good as absent.
type Lint struct {
	// Satisfiable is false if no set of witnesses satisfies the quorum; then
	// the numbers below are 0.
	Satisfiable bool
	// Overlap is the least number of witnesses that two sets which satisfy the
	// quorum have in common: so many must cosign two histories before a log can
	// show them to two people who trust this policy.
	Overlap int
	// Tolerated is Overlap − 1: however many witnesses up to this number are
	// dishonest, there is no split view. It is −1 if two quorums may have no
	// witness in common, and with the quorum none.
	Tolerated int
	// Needed is the size of the smallest set that satisfies the quorum.
	Needed int
	// Spare is how many witnesses may be down, whichever they are, before no
	// checkpoint satisfies the quorum any more.
	Spare int
	// Members are the witnesses that can count towards the quorum, Uncounted
	// those of the quorum that cannot, and Outside those that are not part of
	// it; all by policy name, in the order of the file.
	Members, Uncounted, Outside []string
	// Warnings are sentences for the author of the policy.
	Warnings []string
}

// part is what is known about a witness or a group by itself.
type part struct {
	ok      bool // it can be satisfied
	overlap int  // least |Q1 ∩ Q2| over pairs of sets that satisfy it
	needed  int  // least |Q|
	cut     int  // least number of witnesses that must be down so that nothing satisfies it
}

// Lint computes how many dishonest and how many missing witnesses the quorum
// tolerates. It is exact, and takes no longer than sorting the members: no
// witness and no group is a member of two groups, so a quorum is a tree.
//
// Two sets that satisfy k of n members share as little as they can where each
// takes k members, of which max(0, 2k−n) must be the same; in all others one of
// the two sets needs no witness at all. So the least overlap of a group is the sum
// of the 2k−n least overlaps among its members, and 1 for a witness.
func (p *Policy) Lint() Lint {
	parts := make(map[string]part, len(p.Witnesses)+len(p.Groups))
	for _, w := range p.Witnesses {
		if p.counts(w) {
			parts[w.Name] = part{true, 1, 1, 1}
		}
	}
	for _, g := range p.Groups {
		parts[g.Name] = g.lint(parts)
	}
	var l Lint
	inside := p.inside()
	for _, w := range p.Witnesses {
		switch {
		case !inside[w.Name]:
			l.Outside = append(l.Outside, w.Name)
		case p.counts(w):
			l.Members = append(l.Members, w.Name)
		default:
			l.Uncounted = append(l.Uncounted, w.Name)
		}
	}
	switch top := parts[p.Quorum]; {
	case p.Quorum == None:
		l.Satisfiable, l.Tolerated = true, -1
	case top.ok:
		l.Satisfiable, l.Overlap, l.Tolerated = true, top.overlap, top.overlap-1
		l.Needed, l.Spare = top.needed, top.cut-1
	}
	l.warn(p)
	return l
}

// counts reports whether a witness can count towards a quorum.
func (p *Policy) counts(w Witness) bool {
	return w.Key.Type == TypeCosignature && !slices.Contains(p.ignored, w.Name)
}

func (g *Group) lint(parts map[string]part) part {
	var overlaps, needs, cuts []int
	for _, m := range g.Members {
		if q := parts[m]; q.ok {
			overlaps, needs, cuts = append(overlaps, q.overlap), append(needs, q.needed), append(cuts, q.cut)
		}
	}
	n := len(needs)
	if n < g.K {
		return part{}
	}
	return part{true, leastSum(overlaps, max(0, 2*g.K-n)), leastSum(needs, g.K), leastSum(cuts, n-g.K+1)}
}

// leastSum is the sum of the k least numbers.
func leastSum(numbers []int, k int) int {
	slices.Sort(numbers)
	sum := 0
	for _, n := range numbers[:k] {
		sum += n
	}
	return sum
}

// inside returns the witnesses and groups that the quorum is made of.
func (p *Policy) inside() map[string]bool {
	in := map[string]bool{p.Quorum: true}
	for _, g := range slices.Backward(p.Groups) {
		if in[g.Name] {
			for _, m := range g.Members {
				in[m] = true
			}
		}
	}
	return in
}

func (l *Lint) warn(p *Policy) {
	add := func(format string, args ...any) { l.Warnings = append(l.Warnings, fmt.Sprintf(format, args...)) }
	switch {
	case p.Quorum == None:
		add("the policy asks for no witness: the log alone can show everybody another history")
	case !l.Satisfiable:
		add("no set of witnesses satisfies the quorum, so no checkpoint is ever believed")
	case l.Overlap == 0:
		add("two quorums may have no witness in common: the log can show two histories although every witness is honest")
	case l.Overlap == 1:
		add("one dishonest witness is enough for the log to show two histories")
	}
	if p.Quorum != None && l.Satisfiable && l.Spare == 0 {
		add("there is a witness without whom no quorum is left: if it is down, no checkpoint is believed")
	}
	for _, name := range l.Uncounted {
		if slices.Contains(p.ignored, name) {
			add("evidence is held against the witness %s; it never counts", name)
		} else {
			add("the witness %s has an ML-DSA key, which this version never counts", name)
		}
	}
	for _, name := range l.Outside {
		add("the witness %s is not part of the quorum", name)
	}
}
