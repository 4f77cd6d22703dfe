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
// tree does not continue.
type gate struct {
	policy *policy.Policy
	names  []string     // of every witness
	doubt  string       // why all must answer, or ""
	opens  func() error // called when enough have; an error leaves it closed

	mu     sync.Mutex // guards what follows
	have   map[string]bool
	armed  bool // the log has started, so that it may open
	busy   bool // opens is running
	open   bool
	broken error // why it will never open
}

func newGate(pol *policy.Policy, names []string, doubt string, opens func() error) *gate {
	return &gate{policy: pol, names: names, doubt: doubt, opens: opens, have: make(map[string]bool)}
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

// arm lets the gate open from now on; with override at once, whatever the
// witnesses say.
func (g *gate) arm(override bool) {
	g.mu.Lock()
	g.armed = true
	for _, name := range g.names {
		g.have[name] = g.have[name] || override
	}
	g.mu.Unlock()
	g.check()
}

// missing returns who has not answered and is waited for. The caller holds mu.
func (g *gate) missing() []string {
	var have, missing []string
	for _, name := range g.names {
		if g.have[name] {
			have = append(have, name)
		} else {
			missing = append(missing, name)
		}
	}
	if g.doubt == "" && g.policy.Satisfied(have) {
		return nil
	}
	return missing
}

// breaks closes the gate for good.
func (g *gate) breaks(why error) {
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
