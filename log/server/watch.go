package server

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/netip"
	"sync"
	"time"

	"github.com/firn-log/firn/log/index"
	"github.com/firn-log/firn/log/lookup"
)

// Bounds of watching (spec/log.md#watching).
const (
	maxWatchers      = 512
	watchersOfOne    = 16 // of one address
	maxWatchedKeys   = 64
	watchComment     = 15 * time.Second // between signs of life
	watchWriteWithin = 30 * time.Second
)

// watches bounds the connections that watch keys, and ends them.
type watches struct {
	slots  chan struct{}
	shares *shares
	ended  chan struct{} // closed by stop
	stop   func()
}

func newWatches(who func(r *http.Request) (netip.Prefix, bool)) watches {
	ended := make(chan struct{})
	return watches{
		slots: make(chan struct{}, maxWatchers), shares: newShares(watchersOfOne, who),
		ended: ended, stop: sync.OnceFunc(func() { close(ended) }),
	}
}

func (w *watches) len() int { return len(w.slots) }

// take takes a place.
func (w *watches) take(r *http.Request) (release func(), err error) {
	busy := &httpError{http.StatusServiceUnavailable, "busy", "as many connections watch keys as may; try again later, or look up", 60}
	back, err := w.shares.take(ended, r, 1)
	if err != nil {
		return nil, busy
	}
	select {
	case w.slots <- struct{}{}:
		return func() { <-w.slots; back() }, nil
	default:
		back()
		return nil, busy
	}
}

// watched is the data of an event.
type watched struct {
	Schema   int               `json:"schema"`
	Size     uint64            `json:"size"`
	Revision uint64            `json:"revision"`
	Keys     map[string]uint64 `json:"keys"`
}

// getWatch answers GET /v1/watch with a stream of server-sent events. It proves
// nothing: whoever hears of something looks it up.
func (s *Server) getWatch(w http.ResponseWriter, r *http.Request) error {
	keys := r.URL.Query()["key"]
	if len(keys) == 0 || len(keys) > maxWatchedKeys {
		return badLookup("watch 1 to %d keys", maxWatchedKeys)
	}
	for _, k := range keys {
		if len(k) > lookup.MaxKeyBytes {
			return badLookup("a key is at most %d bytes", lookup.MaxKeyBytes)
		}
	}
	if err := s.limits.take(r, 1+len(keys)); err != nil {
		return err
	}
	release, err := s.watches.take(r)
	if err != nil {
		return err
	}
	defer release()
	if _, err := s.answering(r.Context()); err != nil {
		return err
	}
	readable(w)
	w.Header().Set("Content-Type", "text/event-stream")
	w.Header().Set("Cache-Control", "no-store")
	w.Header().Set("X-Accel-Buffering", "no")
	st := &stream{w: w, rc: http.NewResponseController(w)}
	_ = st.rc.SetReadDeadline(time.Time{}) // that of the server is for requests that end
	hashes := make(map[string]index.Hash, len(keys))
	for _, k := range keys {
		hashes[k] = index.KeyHash(k)
	}
	s.stream(r, st, hashes)
	return nil
}

// stream is a connection that events are written to.
type stream struct {
	w  http.ResponseWriter
	rc *http.ResponseController
}

// send writes one event or comment.
func (st *stream) send(text string) bool {
	_ = st.rc.SetWriteDeadline(time.Now().Add(watchWriteWithin)) // instead of the server's
	if _, err := st.w.Write([]byte(text)); err != nil {
		return false
	}
	return st.rc.Flush() == nil
}

// stream sends events until the reader is gone, the log stops, or its index breaks.
func (s *Server) stream(r *http.Request, st *stream, keys map[string]index.Hash) {
	alive := time.NewTicker(watchComment)
	defer alive.Stop()
	var last watched
	for {
		at, changed, _ := s.mapper.answer()
		if at == nil {
			return
		}
		if at.revision.size != last.Revision {
			next, err := watch(at, keys)
			if err != nil {
				return // the log is stopping
			}
			if grew(&last, next) {
				data, _ := json.Marshal(next) // never fails
				if !st.send(fmt.Sprintf("event: entries\ndata: %s\n\n", data)) {
					return
				}
			}
			last = *next
		}
		select {
		case <-changed:
		case <-alive.C:
			if !st.send(":\n\n") {
				return
			}
		case <-s.watches.ended:
			return
		case <-r.Context().Done():
			return
		}
	}
}

// watch counts what is under keys, which are given with their hashes. All watchers do at every revision.
func watch(at *answering, keys map[string]index.Hash) (*watched, error) {
	next := &watched{Schema: 1, Size: at.checkpoint.head.Size, Revision: at.revision.size, Keys: make(map[string]uint64, len(keys))}
	for k, kh := range keys {
		var err error
		if next.Keys[k], err = at.view.Count(kh); err != nil {
			return nil, err
		}
	}
	return next, nil
}

// grew reports whether next is the first, or a list is longer than in last.
func grew(last, next *watched) bool {
	for k, n := range next.Keys {
		if n > last.Keys[k] {
			return true
		}
	}
	return last.Schema == 0
}
