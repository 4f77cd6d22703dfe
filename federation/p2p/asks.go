package p2p

import (
	"sync"

	"github.com/libp2p/go-libp2p/core/peer"
)

// asks are the peers to exchange with, each at most once at a time, so that one
// that is slow on purpose takes the place of nobody else. They may be used
// concurrently.
type asks struct {
	next chan peer.ID // those that wait and are not busy; has room for all peers

	mu      sync.Mutex
	waiting map[peer.ID]bool
	busy    map[peer.ID]bool
}

func newAsks() *asks {
	return &asks{next: make(chan peer.ID, 2*MaxPeers), waiting: make(map[peer.ID]bool), busy: make(map[peer.ID]bool)}
}

// add has a peer asked, once more if it is being asked at this moment.
func (a *asks) add(id peer.ID) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.waiting[id] {
		return
	}
	a.waiting[id] = true
	a.push(id)
}

// push hands over a peer that waits. The caller holds mu.
func (a *asks) push(id peer.ID) {
	if a.busy[id] {
		return
	}
	select {
	case a.next <- id:
	default:
		delete(a.waiting, id) // the next round will do
	}
}

// begin reports whether a peer may be asked now. Then end must follow.
func (a *asks) begin(id peer.ID) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.busy[id] {
		return false
	}
	delete(a.waiting, id)
	a.busy[id] = true
	return true
}

func (a *asks) end(id peer.ID) {
	a.mu.Lock()
	defer a.mu.Unlock()
	delete(a.busy, id)
	if a.waiting[id] {
		a.push(id)
	}
}
