package audit

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/firn-log/firn/log/index"
	"github.com/firn-log/firn/log/logtest"
	"github.com/firn-log/firn/log/statement"
)

// randomLog adds a few random entries to a log, with honest revisions of sizes that
// were published, some of them late.
type randomLog struct {
	t     testing.TB
	rng   *rand.Rand
	log   *logtest.Log
	sizes []uint64 // published, not yet stated
	maps  index.Memory
	roots map[uint64]index.Hash
	n     int
}

func (r *randomLog) add(leaf []byte) {
	r.maps.Add(r.log.Add(leaf), leaf)
}

// step publishes a checkpoint and returns it.
func (r *randomLog) step() []byte {
	for range r.rng.IntN(20) {
		r.n++
		s := logtest.Signer(r.t, fmt.Sprint("signer ", r.rng.IntN(4)))
		switch r.rng.IntN(10) {
		case 0:
			r.add(fmt.Appendf(nil, "no statement %d", r.n))
		default:
			r.add(logtest.Leaf(r.t, s, logtest.Closure(fmt.Sprint(r.rng.IntN(200)))))
		}
	}
	if size := r.log.Size(); size > 0 && r.rng.IntN(3) == 0 { // the log states indexes of a later map version, too, which this auditor does not know
		r.add(r.log.State(&statement.Revision{Origin: r.log.Origin(), Size: size, Root: index.Hash{byte(r.n)}, MapVersion: index.MapVersion + 1}))
		r.add(r.log.State(&statement.IndexReset{Origin: r.log.Origin(), Size: size, MapVersion: index.MapVersion + 1}))
	}
	if len(r.sizes) > 0 && r.rng.IntN(2) == 0 {
		i := r.rng.IntN(len(r.sizes))
		size := r.sizes[i]
		r.sizes = r.sizes[i+1:]
		r.add(r.log.State(&statement.Revision{Origin: r.log.Origin(), Size: size, Root: r.roots[size], MapVersion: index.MapVersion}))
	}
	note := r.log.Publish()
	if size := r.log.Size(); size > 0 && r.roots[size] == (index.Hash{}) {
		r.roots[size] = r.maps.Root()
		r.sizes = append(r.sizes, size)
	}
	return note
}

// Also by an auditor that is not upgraded when the log goes over to a later map version.
func TestHonestLogsAreNeverRefusedOrConvicted(t *testing.T) {
	for seed := range uint64(12) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			l := logtest.New(t)
			r := &randomLog{t: t, rng: rand.New(rand.NewPCG(seed, 1)), log: l, roots: make(map[uint64]index.Hash)}
			a := startAudit(t, l, nil)
			for range 25 {
				note := r.step()
				if r.rng.IntN(3) > 0 { // else it is behind
					a.want(note, 200)
				}
				if r.rng.IntN(8) == 0 {
					a.restart()
				}
			}
			a.want(r.step(), 200)
			if a.counts.wrong > 0 || len(a.held()) > 0 {
				t.Errorf("an honest log: %d wrong revisions, evidence %v", a.counts.wrong, a.held())
			}
		})
	}
}

// editMap makes a log sign a map with one random edit.
func editMap(rng *rand.Rand, size uint64) func(*logtest.Lies) {
	victim := rng.Uint64N(size)
	return func(l *logtest.Lies) {
		done := false
		one := func(it index.Item) bool {
			hit := it.Index >= victim && !done
			done = done || hit
			return hit
		}
		switch rng.IntN(5) {
		case 0: // an item is left out
			l.Index = func(_ string, it index.Item) (index.Item, bool) { return it, !one(it) }
		case 1: // with all that follow
			l.Index = func(_ string, it index.Item) (index.Item, bool) { return it, it.Index < victim }
		case 2: // under another signer
			l.Index = func(_ string, it index.Item) (index.Item, bool) {
				if one(it) {
					it.Signer[rng.IntN(32)] ^= 1
				}
				return it, true
			}
		case 3: // one too many
			var other index.Item
			other.Index = victim
			l.Extra = map[string][]index.Item{fmt.Sprint("out:", rng.Uint64()): {other}, logtest.ClosureKey(fmt.Sprint(rng.IntN(200))): {other}}
		default: // two sides of a branch
			l.Trie = func(n *index.Node) *index.Node { return swap(rng, n) }
		}
	}
}

// swap exchanges the sides of a random branch.
func swap(rng *rand.Rand, n *index.Node) *index.Node {
	d, l, r, ok := n.AsBranch()
	switch {
	case !ok:
		return n
	case rng.IntN(3) == 0:
		return index.Branch(d, r, l)
	case rng.IntN(2) == 0:
		if m := swap(rng, l); m.Hash() != l.Hash() {
			return index.Branch(d, m, r)
		}
	}
	if m := swap(rng, r); m.Hash() != r.Hash() {
		return index.Branch(d, l, m)
	}
	return index.Branch(d, r, l)
}

func TestEditedMapsAreAlwaysRefusedAndConvicted(t *testing.T) {
	for seed := range uint64(24) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			l := logtest.New(t)
			rng := rand.New(rand.NewPCG(seed, 2))
			r := &randomLog{t: t, rng: rng, log: l, roots: make(map[uint64]index.Hash)}
			a := startAudit(t, l, nil)
			note := r.step()
			for range 2 + rng.IntN(20) {
				note = r.step()
			}
			a.want(note, 200)
			a.want(fill(t, l, "x", 1), 200)
			l.Lie(editMap(rng, l.Size()))
			a.want(revise(l), 403)
			a.convicted()
			a.want(fill(t, l, "y", 1), 403)
			if rng.IntN(4) == 0 {
				a.restart()
				a.want(fill(t, l, "z", 1), 403)
			}
		})
	}
}
