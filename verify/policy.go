package verify

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/firn-log/firn/log/policy"
	"github.com/firn-log/firn/log/statement"
)

// Policy is a parsed firn.policy (spec/policy.md#firnpolicy). It is never
// changed after parsing and may be used concurrently.
type Policy struct {
	Logs            []*LogRef   // in the order of the file, at least one required
	Operators       []*Operator // in the order of the file
	Groups          []*Group    // in the order of the file
	Vetoes          []*Veto     // in the order of the file
	Rules           []*Rule     // in the order of the file; the last is `default`
	Upstreams       []*Upstream // in the order of the file
	DecisionTTL     time.Duration
	CompletenessOff bool // answered lookups count as complete
}

// LogRef is a `log` line: one log, the policy that its checkpoints must
// satisfy, and how much a verdict depends on it.
type LogRef struct {
	Name     string
	File     string         // the C2SP tlog-policy file as written
	URL      string         // where to ask; http, https or file
	Mirrors  []string       // where else its tree is; the same
	Policy   *policy.Policy // with exactly one log
	Origin   string
	Required bool
	MaxAge   time.Duration // 0: any age is fresh enough

	IndexFile string // the file with the index policy as written; "" without one
	// IndexPolicy names the auditors who must vouch for the log's index: the log
	// of Policy and a quorum. Nil takes the log's own word for its index.
	IndexPolicy *policy.Policy
	Tail        uint64 // how many of the newest entries, not yet in the index, may stay unread
}

// Operator is an `operator` line: a name of this policy for somebody who has
// one vote. Exactly one of ID and Keys is set.
type Operator struct {
	Name       string
	ID         *statement.ID     // `id`: the operator's first statement
	Keys       []statement.KeyID // `key`: build or cache keys, sorted
	Attributes []Attribute       // in the order of the file
}

// Attribute is what a policy says about an operator, for `distinct` groups.
type Attribute struct{ Name, Value string }

// Attribute returns the value of an attribute, "" if the policy gives none.
func (o *Operator) Attribute(name string) string {
	for _, a := range o.Attributes {
		if a.Name == name {
			return a.Value
		}
	}
	return ""
}

// Group is a `group` line. It is satisfied by K of its members.
type Group struct {
	Name    string
	K       int
	Members []Member
	Signed  bool // operators in it count by cache signatures, not by builds
	// Distinct is an attribute of which the operators that count must have at least
	// Values different ones; "" asks for none. Such a group has no groups in it.
	Distinct string
	Values   int
}

// Member is an operator or a group defined earlier; exactly one is set.
type Member struct {
	Operator *Operator
	Group    *Group
}

// Name returns the name by which the policy knows the member.
func (m Member) Name() string {
	if m.Operator != nil {
		return m.Operator.Name
	}
	return m.Group.Name
}

// Voters returns every operator in g and in the groups below it, in the order
// of the file, each once. A nil group has none.
func (g *Group) Voters() []*Operator {
	if g == nil {
		return nil
	}
	var all []*Operator
	for _, m := range g.Members {
		if m.Operator != nil {
			all = addOnce(all, m.Operator)
		} else {
			all = addOnce(all, m.Group.Voters()...)
		}
	}
	return all
}

func addOnce[T comparable](all []T, more ...T) []T {
	for _, o := range more {
		if !slices.Contains(all, o) {
			all = append(all, o)
		}
	}
	return all
}

// Operator returns the operator of that name, or nil.
func (p *Policy) Operator(name string) *Operator {
	for _, o := range p.Operators {
		if o.Name == name {
			return o
		}
	}
	return nil
}

// PolicyError is one thing that is wrong with a policy file. Line and Column
// count from 1; the column counts bytes.
type PolicyError struct {
	File         string
	Line, Column int
	Message      string
}

func (e *PolicyError) Error() string {
	return fmt.Sprintf("%s:%d:%d: %s", e.File, e.Line, e.Column, e.Message)
}

// PolicyErrors is everything that is wrong with a policy file, in the order of
// the file.
type PolicyErrors []*PolicyError

func (e PolicyErrors) Error() string {
	lines := make([]string, len(e))
	for i, err := range e {
		lines[i] = err.Error()
	}
	return strings.Join(lines, "\n")
}

// ErrNoPolicy says that there is no policy file where one was looked for.
var ErrNoPolicy = errors.New("no policy")

// LoadPolicy reads the policy at path and the log and index policies that it names;
// those are looked for beside it unless their names are absolute. Its errors
// are ErrNoPolicy, a file error, or PolicyErrors.
func LoadPolicy(path string) (*Policy, error) {
	data, err := os.ReadFile(path)
	if errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("%w: %s does not exist", ErrNoPolicy, path)
	}
	if err != nil {
		return nil, fmt.Errorf("reading policy: %w", err)
	}
	dir := filepath.Dir(path)
	return ParsePolicy(path, data, func(file string) ([]byte, error) {
		if !filepath.IsAbs(file) {
			file = filepath.Join(dir, file)
		}
		return os.ReadFile(file)
	})
}
