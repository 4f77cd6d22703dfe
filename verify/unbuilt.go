package verify

import (
	"bytes"
	"cmp"
	"slices"
	"strings"

	"github.com/firn-log/firn/internal/nix"
)

// judgeUnbuilt judges a path that nobody here has seen: each fingerprint that a claim of the
// case has, and of these verdicts it returns the best with its fingerprint, which is nil if
// there is no claim. If several satisfy the rule, nothing says which one will come, and the
// path is contradicted (spec/policy.md#before-there-is-a-fingerprint).
func judgeUnbuilt(c Case) (Judgement, *Fingerprint) {
	type candidate struct {
		Judgement
		about Fingerprint
	}
	var all []candidate
	tried := make(map[Fingerprint]bool)
	for _, cl := range c.Claims {
		if tried[cl.About] {
			continue
		}
		tried[cl.About] = true
		one := c
		one.About = cl.About
		all = append(all, candidate{Judge(one), cl.About})
	}
	if len(all) == 0 {
		return Judge(c), nil
	}
	slices.SortFunc(all, func(a, b candidate) int {
		return cmp.Or(cmp.Compare(b.Verdict, a.Verdict), cmp.Compare(b.Found, a.Found), cmp.Compare(len(b.Supports), len(a.Supports)), a.about.compare(b.about))
	})
	best := all[0]
	if len(all) > 1 && all[1].Verdict == Trusted {
		best.Verdict, best.Action = Contradicted, c.Rule.Else
		best.Reason += "; " + twoAnswers
	}
	return best.Judgement, &best.about
}

const twoAnswers = "another fingerprint satisfies the rule too, so nothing says which one will come"

func (f Fingerprint) compare(g Fingerprint) int {
	return cmp.Or(f.Path.Compare(g.Path), bytes.Compare(f.NarHash[:], g.NarHash[:]), cmp.Compare(f.NarSize, g.NarSize), bytes.Compare(f.References[:], g.References[:]))
}

// settle finds the verdict about a subject by its case.
func (s *Subject) settle(c Case) Judgement {
	switch {
	case s.Absent != "":
		j := Judge(c)
		j.Verdict, j.Action, j.Missing, j.Supports, j.Dissent = Inconclusive, c.Rule.Else, []string{s.Absent}, nil, nil
		j.Reason = s.Absent
		return j
	case s.Unbuilt:
		j, about := judgeUnbuilt(c)
		if s.found = about; about != nil {
			info := *s.Info
			info.NarHash, info.NarSize = about.NarHash, about.NarSize
			s.Info = &info
		}
		return j
	}
	j := Judge(c)
	if s.Differs != "" {
		j.Verdict, j.Action = Contradicted, Refuse
		j.Reason = "content differs from what the database says: " + s.Differs
	}
	return j
}

// expected says of the paths that are not there yet what they are expected to be.
func (r *Report) expected(b *strings.Builder) {
	for i := range r.Paths {
		if p := &r.Paths[i]; p.Subject.Unbuilt {
			b.WriteString(p.expectedWords(p.Subject.Info.Path.Base()) + "\n")
		}
	}
}

// expectedWords says which fingerprint the verdict is about.
func (p *PathReport) expectedWords(name string) string {
	switch {
	case p.Subject.found == nil:
		return name + " is not in the store, and no log has a claim about it that counts."
	case p.Verdict == Trusted:
		return name + " is not in the store; what is trusted is " + p.Subject.hashWords() + "."
	}
	return name + " is not in the store; most is said for " + p.Subject.hashWords() + "."
}

func (s *Subject) hashWords() string {
	return "the NAR hash " + s.Info.NarHash.String() + ", " + plural(int(s.Info.NarSize), "byte")
}

// Expected returns the fingerprint that the verdict about a path is about which is not in
// the store; ok is false if there is none.
func (s Subject) Expected() (f Fingerprint, ok bool) {
	if s.found == nil {
		return Fingerprint{}, false
	}
	return *s.found, true
}

// Unbuilt returns the subject for a path that is not in any store here. It is judged by what the logs say
// about it.
func Unbuilt(p nix.StorePath) Subject {
	return Subject{Info: &nix.PathInfo{Path: p}, Unbuilt: true}
}
