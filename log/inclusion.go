package log

import (
	"runtime"
	"slices"
	"sync"
	"sync/atomic"

	"golang.org/x/mod/sumdb/tlog"
)

// inclusions verifies proofs that entries are in one tree, for instance those of neighbours: from
// where a proof goes the way of the one before, it is only compared with it. Not for
// concurrent use.
type inclusions struct {
	cp    *Checkpoint
	proof []tlog.Hash // the last one that was verified
	// way has the nodes that lead to the root: way[n] is the one with n hashes of proof
	// left.
	way [maxProof + 2]waypoint
}

// waypoint is a node on the way from an entry to the root.
type waypoint struct {
	index, last uint64 // among the nodes of its level, of which last is the last one
	hash        tlog.Hash
}

// check is checkInclusion.
func (v *inclusions) check(index uint64, leaf tlog.Hash, proof []tlog.Hash) error {
	if index < v.cp.Size && v.leads(waypoint{index, v.cp.Size - 1, leaf}, proof) {
		v.proof = proof
		return nil
	}
	v.proof = nil
	return notIncluded(v.cp, index)
}

// leads reports whether a proof leads from an entry to the root (RFC 9162 §2.1.3.2).
func (v *inclusions) leads(n waypoint, proof []tlog.Hash) bool {
	if len(proof) >= len(v.way) {
		return false // no tree is so deep
	}
	for i, h := range proof {
		left := len(proof) - i
		if known := len(v.proof) - left; known >= 0 && v.way[left] == n && slices.Equal(proof[i:], v.proof[known:]) {
			return true
		}
		if n.last == 0 {
			return false
		}
		v.way[left] = n
		if n.index&1 == 1 || n.index == n.last {
			n.hash = tlog.NodeHash(h, n.hash)
			for ; n.index&1 == 0 && n.index != 0; n.index, n.last = n.index>>1, n.last>>1 {
			}
		} else {
			n.hash = tlog.NodeHash(n.hash, h)
		}
		n.index, n.last = n.index>>1, n.last>>1
	}
	return n.last == 0 && n.hash == v.cp.Root
}

// spread calls f about pieces of 0 … n−1, on all processors.
func spread(n int, f func(from, to int)) {
	const piece = 64
	var next atomic.Int64
	var wg sync.WaitGroup
	for range min(runtime.GOMAXPROCS(0), (n+piece-1)/piece) {
		wg.Go(func() {
			for to := int(next.Add(piece)); to-piece < n; to = int(next.Add(piece)) {
				f(to-piece, min(to, n))
			}
		})
	}
	wg.Wait()
}
