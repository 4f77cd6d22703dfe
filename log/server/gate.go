package server

import (
	"fmt"
	"strings"
	"sync"

	"github.com/firn-log/firn/log/policy"
)

// gate keeps the log key from signing anything new until enough witnesses have
// answered since start: those that make up the quorum, or all of them if this may
// be an older copy (spec/log.md#start-up).
//
// A witness has answered when it cosigned a checkpoint that this log had signed
// before: it would not if it had cosigned a larger one. Only where there is none
// yet to show it does it count that its monitoring interface has nothing that this
// tree does not continue. A cosignature with another time than now may be an old one
// that somebody sends again: it does not count.
type gate struct {
	doubt string       // why all must answer, or ""
	opens func() error // called when enough have; an error leaves it closed

	mu     sync.Mutex // guards what follows
	policy *policy.Policy
	names  []string // of every witness that is asked
	have   map[string]bool
	why    map[string]string // why what a witness answered does not count
	armed  bool              // the log has started, so that it may open
	forced bool              // whatever the witnesses say
	busy   bool              // opens is running
	open   bool
	broken error // why it will never open
}

func newGate(pol *policy.Policy, names []string, doubt string, opens func() error) *gate {
	return &gate{policy: pol, names: names, doubt: doubt, opens: opens, have: make(map[string]bool), why: make(map[string]string)}
}

// answered notes that a witness has answered.
func (g *gate) answered(witness string) {
	if g == nil {
		return
	}
	g.mu.Lock()
	g.have[witness] = true
	g.mu.Unlock()
	g.check()
}

// doubtful notes why what a witness answered does not count.
func (g *gate) doubtful(witness, why string) {
	if g == nil {
		return
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	g.why[witness] = why
}

// check opens the gate if enough have answered.
func (g *gate) check() {
	g.mu.Lock()
	now := g.armed && !g.busy && !g.open && g.broken == nil && len(g.missing()) == 0
	g.busy = g.busy || now
	g.mu.Unlock()
	if !now {
		return
	}
	err := g.opens()
	g.mu.Lock()
	defer g.mu.Unlock()
	g.busy, g.open = false, err == nil
}

// ignore goes on under a policy that ignores more witnesses; names are those that are
// still asked. It reports whether it has closed because they cannot make up the quorum.
func (g *gate) ignore(pol *policy.Policy, names []string) (closed bool) {
	if g == nil {
		return false
	}
	g.mu.Lock()
	g.policy, g.names = pol, names
	if g.open && !g.forced && !pol.Satisfied(names) {
		g.open, closed = false, true
	}
	g.mu.Unlock()
	g.check()
	return closed
}

// arm lets the gate open from now on; with override at once, whatever the
// witnesses say.
func (g *gate) arm(override bool) {
	g.mu.Lock()
	g.armed, g.forced = true, override
	g.mu.Unlock()
	g.check()
}

// missing returns who has not answered and is waited for. The caller holds mu.
func (g *gate) missing() []string {
	if g.forced {
		return nil
	}
	var have, missing []string
	for _, name := range g.names {
		if g.have[name] {
			have = append(have, name)
		} else if why := g.why[name]; why != "" {
			missing = append(missing, fmt.Sprintf("%s (%s)", name, why))
		} else {
			missing = append(missing, name)
		}
	}
	if g.policy.Satisfied(have) {
		if g.doubt == "" {
			return nil
		}
		return missing
	}
	for _, name := range g.policy.Ignored() {
		missing = append(missing, name+" (evidence is held against it)")
	}
	return missing
}

// breaks closes the gate for good.
func (g *gate) breaks(why error) {
	if g == nil {
		return
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.broken == nil {
		g.broken = why
	}
}

// reason says why nothing new is signed, or nil.
func (g *gate) reason() error {
	g.mu.Lock()
	defer g.mu.Unlock()
	switch {
	case g.broken != nil:
		return g.broken
	case g.open:
		return nil
	case g.doubt != "":
		return fmt.Errorf("%s, so this may be an older copy: nothing is signed and nothing taken until all witnesses have answered; missing are %s", g.doubt, strings.Join(g.missing(), ", "))
	}
	return fmt.Errorf("nothing new is signed until witnesses that make up the quorum have answered since start; missing are %s", strings.Join(g.missing(), ", "))
}
