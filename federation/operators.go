package federation

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"sync"
	"time"

	"github.com/firn-log/firn/log"
	"github.com/firn-log/firn/log/statement"
)

// Bounds of what operators say.
const (
	// MaxOperators bounds how many operators are followed.
	MaxOperators = 64
	// maxSaid bounds the statements of one operator that are kept.
	maxSaid = 4096
	// DefaultOperatorsInterval is between two rounds of asking the logs.
	DefaultOperatorsInterval = 5 * time.Minute
)

// An OperatorPeer is a peer of the gossip that operators say they run
// (spec/gossip.md#peers).
type OperatorPeer struct {
	ID    string   // peer id
	Addrs []string // multiaddrs without the peer id, the preferred one first; with none it only dials
}

// OperatorsOptions are what Operators are made from.
type OperatorsOptions struct {
	Hub *Hub
	IDs []statement.ID // whose statements are followed, in the order of their weight
	// Path is the file that keeps what they said, "" keeps it in memory.
	Path string
	// Interval is between two rounds, give or take a quarter; 0 is 5 min.
	Interval time.Duration
	// Max bounds the peers of all operators together.
	Max int
	// Changed is called with all peers at the start of Run and whenever they are
	// others, one call at a time.
	Changed func([]OperatorPeer)
}

// Operators follow the `peer` statements of operators. Each round the logs of the hub are asked for
// what an operator said. An answer counts if its checkpoint has its quorum and is of the
// history that the hub compares; a statement counts by its own signature and chain. What was once
// read stays, so that a log that is down, or leaves something out, takes nobody away and
// brings nobody back. They may be used concurrently.
type Operators struct {
	o     OperatorsOptions
	round sync.Mutex // held while Refresh works

	mu     sync.Mutex // guards what follows
	chains map[statement.ID]*chain
	unkept bool // there is something new that is not in the file
	peers  []OperatorPeer
	asked  map[string]*OperatorLog // by origin
}

// An OperatorLog is how a log did when it was last asked.
type OperatorLog struct {
	Origin string
	Asked  time.Time
	Error  string // "" if the answer counts
}

// An OperatorStatus is what is known of one operator.
type OperatorStatus struct {
	ID     statement.ID
	Name   string // its own word; "" if it is in no log that was read
	Forked bool   // its chain of statements has forked: what comes later does not count
	Peers  []OperatorPeer
	Left   int // peers that it names beyond what is followed of one operator
}

// NewOperators reads what was kept before. What is damaged, or does not verify, is left
// out: logs give it again.
func NewOperators(o OperatorsOptions) (*Operators, error) {
	if len(o.IDs) > MaxOperators {
		return nil, fmt.Errorf("%d operators are too many; at most %d are followed", len(o.IDs), MaxOperators)
	}
	if o.Interval == 0 {
		o.Interval = DefaultOperatorsInterval
	}
	if o.Changed == nil {
		o.Changed = func([]OperatorPeer) {}
	}
	p := &Operators{o: o, chains: make(map[statement.ID]*chain), asked: make(map[string]*OperatorLog)}
	kept, err := p.load()
	if err != nil {
		return nil, err
	}
	p.take(kept)
	return p, nil
}

// Run asks until ctx ends.
func (p *Operators) Run(ctx context.Context) {
	p.o.Changed(p.Peers())
	for ctx.Err() == nil {
		p.Refresh(ctx)
		if sleep(ctx, jitter(p.o.Interval)) != nil {
			return
		}
	}
}

// Refresh asks every log once. How each did is in Logs; none that fails changes anything.
func (p *Operators) Refresh(ctx context.Context) {
	p.round.Lock()
	defer p.round.Unlock()
	hub := p.o.Hub
	read := make([][]said, len(hub.origins))
	var wg sync.WaitGroup
	for i, o := range hub.origins {
		wg.Go(func() {
			asking, cancel := context.WithTimeout(ctx, askTimeout)
			defer cancel()
			var err error
			if read[i], err = p.read(asking, o); ctx.Err() == nil {
				p.settle(o, err)
			}
		})
	}
	wg.Wait()
	if ctx.Err() != nil {
		return
	}
	changed := p.take(slices.Concat(read...))
	if err := p.save(); err != nil {
		hub.o.Logger.Error("what operators said cannot be kept; it is tried again", "error", err)
	}
	if changed {
		all := p.Peers()
		hub.o.Logger.Info("operators name other peers", "peers", len(all))
		p.o.Changed(all)
	}
}

// read asks one log for the statements of all operators, of each no more than enough to be too many. They
// count, each by itself, although the error says that there may be more.
func (p *Operators) read(ctx context.Context, o *origin) ([]said, error) {
	c, err := p.o.Hub.client(o)
	if err != nil {
		return nil, err
	}
	var keys []string
	for _, id := range p.o.IDs {
		keys = append(keys, "operator:"+id.String())
	}
	answers, err := c.Lookup(ctx, log.Query{Keys: keys})
	if err != nil {
		return nil, err
	}
	if err := p.o.Hub.believe(ctx, o, answers.Checkpoint); err != nil {
		return nil, err
	}
	var all []said
	for _, key := range answers.Keys {
		found := answers.Of(key)
		for _, f := range found[:min(len(found), maxSaid+1)] {
			if f.Leaf == nil {
				continue
			}
			leaf := bytes.Clone(f.Leaf.Bytes) // that is a part of the answer, which must go
			if s, err := statement.Parse(leaf); err == nil {
				all = append(all, said{s, s.ID(), leaf, o.Origin, f.Index})
			}
		}
	}
	if answers.Incomplete != "" {
		return all, errors.New(answers.Incomplete)
	}
	return all, nil
}

// settle keeps how a log did, and says so when that changes.
func (p *Operators) settle(o *origin, err error) {
	logger, outcome := p.o.Hub.o.Logger, "read"
	switch {
	case errors.Is(err, errNoURL):
		outcome = "no-url"
	case err != nil:
		outcome = "failed"
	}
	p.o.Hub.o.Metrics.operatorReads.WithLabelValues(o.Origin, outcome).Inc()
	p.mu.Lock()
	before := p.asked[o.Origin]
	now := &OperatorLog{Origin: o.Origin, Asked: p.o.Hub.o.Now()}
	if err != nil {
		now.Error = err.Error()
	}
	p.asked[o.Origin] = now
	p.mu.Unlock()
	switch {
	case err != nil && (before == nil || before.Error != now.Error):
		logger.Warn("a log does not say what operators said; what is known stays", "origin", o.Origin, "error", err)
	case err == nil && before != nil && before.Error != "":
		logger.Info("a log says again what operators said", "origin", o.Origin)
	}
}

// take links what was read with what is known, and reports whether the peers are others.
func (p *Operators) take(read []said) (changed bool) {
	rank := make(map[string]int)
	for i, o := range p.o.Hub.origins {
		rank[o.Origin] = i
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, id := range p.o.IDs {
		old := p.chains[id]
		next := newChain(id, append(old.all(), read...), rank)
		switch {
		case next == nil:
			continue
		case len(next.nodes) > maxSaid:
			p.o.Hub.o.Logger.Warn("an operator has said too much; what it says more does not count", "operator", id.String(), "statements", len(next.nodes))
			continue
		}
		// A revocation that another log has may also take statements away.
		p.unkept = p.unkept || !old.same(next)
		p.chains[id] = next
	}
	before := p.peers
	p.peers = p.union()
	return !reflect.DeepEqual(before, p.peers)
}

// all returns the statements of a chain, none of nil.
func (c *chain) all() []said {
	if c == nil {
		return nil
	}
	var all []said
	for _, n := range c.nodes {
		all = append(all, n.said)
	}
	return all
}

// same reports whether two chains hold the same statements.
func (c *chain) same(o *chain) bool {
	if c == nil || len(c.nodes) != len(o.nodes) {
		return c == o
	}
	for id := range c.nodes {
		if o.nodes[id] == nil {
			return false
		}
	}
	return true
}

// union returns the peers of all operators. What several say of one peer is taken
// together: none can take away what another says. The caller holds mu.
func (p *Operators) union() []OperatorPeer {
	var all []OperatorPeer
	at := make(map[string]int)
	left := 0
	for _, id := range p.o.IDs {
		var own []OperatorPeer
		if c := p.chains[id]; c != nil {
			own = peersOf(c)
		}
		p.o.Hub.o.Metrics.operatorPeers.WithLabelValues(id.String()).Set(float64(len(own)))
		for _, x := range own {
			i, have := at[x.ID]
			switch {
			case have:
				for _, a := range x.Addrs {
					if !slices.Contains(all[i].Addrs, a) && len(all[i].Addrs) < maxAddrs {
						all[i].Addrs = append(all[i].Addrs, a)
					}
				}
			case len(all) == p.o.Max:
				left++
			default:
				at[x.ID] = len(all)
				all = append(all, x)
			}
		}
	}
	if left > 0 {
		p.o.Hub.o.Logger.Warn("operators name more peers than there is room for", "left out", left, "room", p.o.Max)
	}
	return all
}

// maxAddrs bounds the addresses of one peer.
const maxAddrs = 16

func peersOf(c *chain) []OperatorPeer {
	named, _ := c.peers()
	var all []OperatorPeer
	for _, b := range named {
		all = append(all, OperatorPeer{ID: b.PeerID, Addrs: slices.Clone(b.Addrs)})
	}
	return all
}

// Peers returns the peers that are followed, those of the first operator first.
func (p *Operators) Peers() []OperatorPeer {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Clone(p.peers)
}

// Logs returns how the logs did, in their order.
func (p *Operators) Logs() []OperatorLog {
	p.mu.Lock()
	defer p.mu.Unlock()
	var all []OperatorLog
	for _, o := range p.o.Hub.origins {
		if l := p.asked[o.Origin]; l != nil {
			all = append(all, *l)
		}
	}
	return all
}

// Status returns what is known of each operator.
func (p *Operators) Status() []OperatorStatus {
	p.mu.Lock()
	defer p.mu.Unlock()
	var all []OperatorStatus
	for _, id := range p.o.IDs {
		st := OperatorStatus{ID: id}
		if c := p.chains[id]; c != nil {
			st.Name, st.Forked, st.Peers = c.name(), c.forked(), peersOf(c)
			_, st.Left = c.peers()
		}
		all = append(all, st)
	}
	return all
}
