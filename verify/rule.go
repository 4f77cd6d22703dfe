package verify

import (
	"fmt"
	"slices"
	"time"

	"github.com/firn-log/firn/internal/nix"
)

// DefaultDecisionTTL is how old a decision may be when a policy does not say
// `decision-ttl` (spec/policy.md#decisions-and-upstreams).
const DefaultDecisionTTL = 10 * time.Minute

// Action is what becomes of a path (spec/policy.md#what-follows). They are in the
// order of their strictness.
type Action uint8

// The actions. Serve is for trusted paths only; the others are what a rule or a veto
// says of paths that are not.
const (
	Serve   Action = iota
	Allow          // taken as if it were trusted, counted and listed
	Warn           // taken, with a warning
	Rebuild        // not taken: built here
	Refuse         // not taken, and nothing in its place
)

var actions = [...]string{"serve", "allow", "warn", "rebuild", "refuse"}

func (a Action) String() string {
	if int(a) < len(actions) {
		return actions[a]
	}
	return fmt.Sprintf("Action(%d)", uint8(a))
}

// Taken reports whether the path enters the machine.
func (a Action) Taken() bool { return a <= Warn }

// Facts are what a rule may look at (spec/policy.md#rules). What is not known leaves
// open which rule is the one; see [Policy.RuleFor].
type Facts struct {
	Path        nix.StorePath
	System      string // for which the derivation builds, such as x86_64-linux
	SystemKnown bool
	FOD         bool // its content follows from its path
	FODKnown    bool
	Roots       []string // those of Policy.Roots in whose closure it is
	RootsKnown  bool     // Roots are all of them
	// Path, or also its name, is what somebody claims that an output is, and no fact.
	PathUnknown, NameUnknown bool
}

// Condition is one condition of a rule.
type Condition struct {
	What  string // "name", "system", "fod", "path" or "closure"
	Value string // a glob, a system, "", a store path, a store path or a link to one
}

func (c Condition) String() string {
	if c.Value == "" {
		return c.What
	}
	return c.What + " " + c.Value
}

// Rule is a `rule` line.
type Rule struct {
	Name       string
	Conditions []Condition // none for `default`
	Need       *Group      // nil: `need nothing`
	Else       Action      // for paths that are not trusted
	Vetoes     []*Veto     // those of the policy
	Several    bool        // it stands for several: which of them is the one is not known
}

// Veto is a `veto` line: if as many of Group claim something else as it needs, a path
// is contradicted, whoever supports it.
type Veto struct {
	Group  *Group // its Name is "" if the line itself names the members
	Action Action // Refuse or Warn
}

// Upstream is an `upstream` line: a cache from which paths may come.
type Upstream struct {
	URL    string
	Keys   []nix.PublicKey // in the order of the file
	Public bool            // what it has may be told to logs
}

// RuleFor returns the rule for a path: the first whose conditions hold. If it depends
// on what is not known which one that is, it returns a rule that stands for all that
// it may be: it needs all that they need, and its Else is the strictest. The
// result is never nil, and it is not to be changed.
func (p *Policy) RuleFor(f Facts) *Rule {
	may := p.rulesFor(f)
	if len(may) == 1 {
		return may[0]
	}
	return strictest(may)
}

// rulesFor returns the rules of which one is that of f, in the order of the file.
func (p *Policy) rulesFor(f Facts) []*Rule {
	var may []*Rule
	for _, r := range p.Rules {
		switch r.holds(f) {
		case yes:
			return append(may, r)
		case unknown:
			may = append(may, r)
		}
	}
	return may // the last rule has no conditions
}

func strictest(may []*Rule) *Rule {
	out := &Rule{Vetoes: may[0].Vetoes, Several: true}
	need := &Group{}
	for i, r := range may {
		if i > 0 {
			out.Name += " or "
		}
		out.Name += r.Name
		out.Else = max(out.Else, r.Else)
		if r.Need == nil {
			continue
		}
		if !slices.ContainsFunc(need.Members, func(m Member) bool { return m.Group == r.Need }) {
			need.Members = append(need.Members, Member{Group: r.Need})
			need.Name = join(need.Name, r.Need.Name, " and ")
		}
	}
	need.K = len(need.Members)
	switch {
	case need.K == 0: // they need nothing
	case need.K == 1:
		out.Need = need.Members[0].Group
	default:
		out.Need = need
	}
	return out
}

func join(a, b, with string) string {
	if a == "" {
		return b
	}
	return a + with + b
}

// Roots are what `closure` conditions name, each once.
func (p *Policy) Roots() []string {
	var roots []string
	for _, r := range p.Rules {
		for _, c := range r.Conditions {
			if c.What == "closure" && !slices.Contains(roots, c.Value) {
				roots = append(roots, c.Value)
			}
		}
	}
	return roots
}

// NeedsSystem reports whether a rule looks at the system of a path, so that it is worth
// finding out.
func (p *Policy) NeedsSystem() bool { return p.looksAt("system") }

// NeedsFOD is NeedsSystem for whether the content of a path is fixed.
func (p *Policy) NeedsFOD() bool { return p.looksAt("fod") }

func (p *Policy) looksAt(what string) bool {
	return slices.ContainsFunc(p.Rules, func(r *Rule) bool {
		return slices.ContainsFunc(r.Conditions, func(c Condition) bool { return c.What == what })
	})
}

// Default is the last rule, which is for everything that no other is for.
func (p *Policy) Default() *Rule { return p.Rules[len(p.Rules)-1] }

// truth is yes, no, or not known.
type truth uint8

const (
	no truth = iota
	unknown
	yes
)

func truthOf(holds, known bool) truth {
	switch {
	case !known:
		return unknown
	case holds:
		return yes
	}
	return no
}

// holds reports whether all conditions hold; those with one word are alternatives.
func (r *Rule) holds(f Facts) truth {
	var words [len(conditionWords)]truth
	var asked [len(conditionWords)]bool
	for _, c := range r.Conditions {
		i := slices.Index(conditionWords[:], c.What)
		words[i], asked[i] = max(words[i], c.holds(f)), true
	}
	all := yes
	for i := range words {
		if asked[i] {
			all = min(all, words[i])
		}
	}
	return all
}

var conditionWords = [...]string{"name", "system", "fod", "path", "closure"}

func (c Condition) holds(f Facts) truth {
	switch c.What {
	case "name":
		return truthOf(matchGlob(c.Value, f.Path.Name()), !f.NameUnknown)
	case "system":
		return truthOf(f.System == c.Value, f.SystemKnown)
	case "fod":
		return truthOf(f.FOD, f.FODKnown)
	case "path":
		return truthOf(f.Path.String() == c.Value, !f.PathUnknown)
	default:
		in := slices.Contains(f.Roots, c.Value)
		return truthOf(in, in || f.RootsKnown)
	}
}
