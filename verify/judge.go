package verify

import (
	"crypto/sha256"
	"fmt"
	"slices"
	"strings"

	"github.com/firn-log/firn/internal/nix"
	"github.com/firn-log/firn/log/statement"
)

// Verdict is the answer about one path (spec/policy.md#how-a-verdict-is-found).
type Verdict uint8

// The verdicts, worst first.
const (
	Contradicted Verdict = iota + 1
	Untrusted
	Inconclusive
	Trusted
)

func (v Verdict) String() string {
	switch v {
	case Contradicted:
		return "contradicted"
	case Untrusted:
		return "untrusted"
	case Inconclusive:
		return "inconclusive"
	case Trusted:
		return "trusted"
	}
	return fmt.Sprintf("Verdict(%d)", v)
}

// Fingerprint is everything that a verdict is about. It is comparable: two
// claims agree if and only if their fingerprints are equal.
type Fingerprint struct {
	Path       nix.StorePath
	NarHash    nix.Hash
	NarSize    uint64   // bytes
	References [32]byte // digest, see ReferencesDigest
}

// ReferencesDigest is the SHA-256 of the sorted base names, each followed by a
// line feed (spec/statement.md#references).
func ReferencesDigest(bases []string) [32]byte {
	if !slices.IsSorted(bases) {
		bases = slices.Clone(bases)
		slices.Sort(bases)
	}
	h := sha256.New()
	for _, b := range bases {
		h.Write([]byte(b))
		h.Write([]byte{'\n'})
	}
	return [32]byte(h.Sum(nil))
}

// Class says what kind of claim it is.
type Class uint8

// A Built claim says "I built it"; a Signed claim is a cache's signature and
// counts only in groups that say `signed`. An Addressed claim, a statement of the
// kind path, says what content a content-addressed path has; it counts as a Built one
// but for outputs of derivations ([Case.Output]). A Realised claim says which path a
// derivation gave and not what is in it: only the Path of its About is set.
const (
	Built Class = iota + 1
	Signed
	Addressed
	Realised
)

// String returns "built", "signed", "addressed" or "realised".
func (c Class) String() string {
	switch c {
	case Built:
		return "built"
	case Signed:
		return "signed"
	case Addressed:
		return "addressed"
	case Realised:
		return "realised"
	}
	return fmt.Sprintf("Class(%d)", c)
}

// Place is where a log holds a statement.
type Place struct {
	Log   string // name of the log in the policy
	Index uint64
}

// Claim is one live claim of one operator of the policy: its signature and
// inclusion are checked, its key speaks for the operator, and nothing revoked
// or retracted it where it is counted.
type Claim struct {
	Operator       string // name in the policy
	Class          Class
	About          Fingerprint
	Implementation string // which Nix built it; only for content-addressed outputs
	Key            statement.KeyID
	ID             statement.ID
	Places         []Place // live places only, at least one
}

// Case is what one verdict rests on.
type Case struct {
	Rule   *Rule
	About  Fingerprint
	Claims []Claim // in any order; those of operators that the rule and its vetoes do not name are ignored
	// Output is set if About is judged as the content-addressed output of a
	// derivation: an Addressed claim says nothing about derivations, so it supports nothing.
	Output bool
	// Open names the operators of whom something is missing that could change
	// what they say, and what it is.
	Open map[string]string
}

// Dissent is an operator that claims something else.
type Dissent struct {
	Operator string
	// What it claims, for people: "another hash", "other references", "another
	// size", "another path", or "itself" for an operator that contradicts itself.
	What   string
	Claims []Claim // those that differ
	firm   bool    // dissent whatever operators say of whom something is missing
	// across says that it is another path, and that nobody is known to have got f by the
	// same implementation: it is shown, and contradicts nothing.
	across bool
}

// Words is "d claims another hash".
func (d Dissent) Words() string {
	if d.What == itself {
		return d.Operator + " contradicts itself"
	}
	return d.Operator + " claims " + d.What
}

const itself = "itself"

// Judgement is the verdict about one path and why.
type Judgement struct {
	Verdict  Verdict
	Supports []string  // operators, in the order of the group
	Dissent  []Dissent // in the order of the group; then those of vetoes
	Waiting  []string  // operators of whom something is missing, in the order of the group; then those of vetoes
	Veto     *Veto     // that fired, or nil
	Missing  []string  // what that is, if it could change the verdict, or make a veto stricter; each thing once
	Needed   int       // members of the group
	Of       int
	Found    int // members that are satisfied for certain or by what is known
	Reason   string
	Action   Action // Serve if it is trusted, otherwise what the rule or a veto says

	alike string   // what keeps a distinct group from being satisfied
	apart []string // supporters whose claims are not of the class that their group counts
}

// Judge decides one case. It is a pure function: the order of the claims does
// not matter, and it needs no clock and no network
// (spec/policy.md#how-a-verdict-is-found).
func Judge(c Case) Judgement {
	need := c.Rule.Need
	stances := stancesOf(c, need.Voters())
	var j Judgement
	if need != nil {
		j.Needed, j.Of = need.K, len(need.Members)
	}
	for _, o := range need.Voters() {
		s := stances[o.Name]
		if s.supports {
			j.Supports = append(j.Supports, o.Name)
		}
		if s.dissent != nil {
			j.Dissent = append(j.Dissent, *s.dissent)
		}
		if _, open := c.Open[o.Name]; open {
			j.Waiting = append(j.Waiting, o.Name)
		}
	}
	v := vetoingOf(c)
	j.decide(c, stances, v)
	j.addVetoes(v)
	if j.Verdict == Inconclusive || j.Veto != nil && v.action > j.Veto.Action {
		for _, name := range j.Waiting {
			if why := c.Open[name]; !slices.Contains(j.Missing, why) {
				j.Missing = append(j.Missing, why)
			}
		}
	}
	j.Reason = reason(j)
	return j
}

// decide finds the verdict, and the action that follows. j has what the operators of the
// rule say.
func (j *Judgement) decide(c Case, stances map[string]stance, v vetoing) {
	need := c.Rule.Need
	known := func(o *Operator, signed bool) bool { return stances[o.Name].counts(signed) }
	certain := func(o *Operator, signed bool) bool {
		_, open := c.Open[o.Name]
		return !open && known(o, signed)
	}
	possible := func(o *Operator, signed bool) bool {
		_, open := c.Open[o.Name]
		return open || known(o, signed)
	}
	firm := func(d Dissent) bool {
		_, open := c.Open[d.Operator]
		return !open && !d.across && (d.firm || len(j.Waiting) == 0)
	}
	var values int
	if j.Found, values = need.tally(known); need != nil && need.Distinct != "" && values < need.Values {
		j.alike = fmt.Sprintf("of %s of %s where %d must differ", plural(values, "value"), need.Distinct, need.Values)
	}
	j.apart = need.apart(stances)
	satisfied := need.holds(certain)
	switch {
	case v.fired != nil:
		j.Verdict = Contradicted
	case satisfied && !v.may:
		j.Verdict = Trusted
	case satisfied || need.holds(possible):
		j.Verdict = Inconclusive
	case slices.ContainsFunc(j.Dissent, firm):
		j.Verdict = Contradicted
	case len(j.Waiting) > 0 || v.may:
		j.Verdict = Inconclusive // untrusted or contradicted, it is not known which
	default:
		j.Verdict = Untrusted
	}
	switch {
	case j.Verdict == Trusted:
		j.Action = Serve
	case v.fired != nil && satisfied:
		j.Action = v.action
	case v.fired != nil:
		j.Action = max(v.action, c.Rule.Else)
	default:
		j.Action = c.Rule.Else
	}
}

// addVetoes adds what the operators of vetoes say after those of the rule.
func (j *Judgement) addVetoes(v vetoing) {
	j.Veto = v.fired
	for _, d := range v.dissent {
		if !slices.ContainsFunc(j.Dissent, func(e Dissent) bool { return e.Operator == d.Operator }) {
			j.Dissent = append(j.Dissent, d)
		}
	}
	for _, name := range v.waiting {
		if !slices.Contains(j.Waiting, name) {
			j.Waiting = append(j.Waiting, name)
		}
	}
}

// counts reports whether the operator's support counts in a group of that sort.
func (s stance) counts(signed bool) bool {
	if signed {
		return s.supports && s.classes[Signed]
	}
	return s.supports && (s.classes[Built] || s.classes[Addressed])
}

// apart says of each supporter that does not count in its group why: a path may be
// supported by enough and satisfy nothing.
func (g *Group) apart(stances map[string]stance) []string {
	if g == nil {
		return nil
	}
	var words []string
	for _, m := range g.Members {
		if m.Group != nil {
			words = addOnce(words, m.Group.apart(stances)...)
			continue
		}
		if s := stances[m.Operator.Name]; !s.supports || s.counts(g.Signed) {
			continue
		}
		not := " has not built it"
		if g.Signed {
			not = " has not signed it"
		}
		words = addOnce(words, m.Operator.Name+not)
	}
	return words
}

func reason(j Judgement) string {
	parts := []string{j.count()}
	if j.Veto != nil {
		parts = append(parts, "vetoed by "+j.Veto.words())
	}
	for _, d := range j.Dissent {
		if j.Verdict != Trusted {
			parts = append(parts, d.Words())
		}
	}
	return strings.Join(append(parts, j.Missing...), "; ")
}

func (j *Judgement) count() string {
	if j.Of == 0 {
		return "the rule asks nobody"
	}
	words := fmt.Sprintf("%d of %d needed, %d found", j.Needed, j.Of, j.Found)
	if j.alike != "" {
		words += ", " + j.alike
	}
	if j.Verdict != Trusted {
		for _, a := range j.apart {
			words += ", " + a
		}
	}
	return words
}
