package server

import (
	"context"
	"fmt"
	"net/http"
	"strconv"

	"github.com/firn-log/firn/log/index"
	"github.com/firn-log/firn/log/index/triedb"
)

const (
	indexType   = "application/vnd.firn.index"
	newestCost  = 10  // of a question about the newest revision, as leaves
	olderCost   = 100 // about an older one
	maxLevels   = 12  // of a trie in one answer
	maxSections = 10_000
)

// getTrie answers GET /v1/index/{size}/trie (spec/log.md#index).
func (s *Server) getTrie(w http.ResponseWriter, r *http.Request) error {
	depth, err := numberOf(r, "depth", 0, 256)
	if err != nil {
		return err
	}
	levels, err := numberOf(r, "levels", 1, maxLevels)
	if err != nil {
		return err
	}
	prefix, err := readPrefix(r.URL.Query().Get("prefix"), int(depth))
	if err != nil {
		return err
	}
	return s.withView(w, r, func(v *triedb.View) ([]byte, error) {
		n, err := v.Subtree(int(depth), prefix, int(levels))
		if err != nil {
			return nil, err
		}
		return n.AppendBinary(nil)
	})
}

// getList answers GET /v1/index/{size}/list (spec/log.md#index).
func (s *Server) getList(w http.ResponseWriter, r *http.Request) error {
	kh, err := readHash("key", r.URL.Query().Get("key"))
	if err != nil {
		return err
	}
	from, err := numberOf(r, "from", 0, 1<<63-1)
	if err != nil {
		return err
	}
	to, err := numberOf(r, "to", 0, 1<<63-1)
	if err != nil {
		return err
	}
	return s.withView(w, r, func(v *triedb.View) ([]byte, error) {
		head, ok, err := v.Head(kh)
		switch {
		case err != nil:
			return nil, err
		case !ok:
			return nil, &httpError{http.StatusNotFound, "no-such-key", "no key with this hash is in the index at this size", 0}
		case from > head.Count || to > head.Count || to > 0 && from > to:
			return nil, badLookup("the list has %d items, fewer than asked for", head.Count)
		case to == 0:
			to = head.Count
		}
		if to-from > maxSections {
			from = to - maxSections
		}
		before, items, _, err := v.List(kh, from, int(to-from))
		if err != nil {
			return nil, err
		}
		return index.List{Prefix: before, Items: items}.AppendBinary(nil)
	})
}

// numberOf reads a number of the query, low if it is missing.
func numberOf(r *http.Request, name string, low, high uint64) (uint64, error) {
	text := r.URL.Query().Get(name)
	if text == "" {
		return low, nil
	}
	n, err := strconv.ParseUint(text, 10, 64)
	if err != nil || n < low || n > high {
		return 0, badLookup("%s: want a number from %d to %d", name, low, high)
	}
	return n, nil
}

// withView answers with what f makes of the index at the size in the path.
func (s *Server) withView(w http.ResponseWriter, r *http.Request, f func(*triedb.View) ([]byte, error)) error {
	size, err := strconv.ParseUint(r.PathValue("size"), 10, 63)
	if err != nil || strconv.FormatUint(size, 10) != r.PathValue("size") {
		return noSuchRevision(r.PathValue("size"))
	}
	release, err := s.lookTurn(r, s.viewCost(size))
	if err != nil {
		return err
	}
	defer release()
	at, err := s.answering(r.Context())
	if err != nil {
		return err
	}
	v, err := s.viewAt(r.Context(), at, size)
	if err != nil {
		return err
	}
	b, err := f(v)
	if err != nil {
		return err
	}
	readable(w)
	writeBytes(w, indexType, b)
	return nil
}

// viewCost is the cost of a question about the index at a size. It waits for nothing: a log that
// cannot answer yet is not asked for nothing either.
func (s *Server) viewCost(size uint64) int {
	if at, _, _ := s.mapper.answer(); at != nil && at.revision.size != size {
		return olderCost
	}
	return newestCost
}

func noSuchRevision(size string) error {
	return &httpError{http.StatusNotFound, "no-such-revision", fmt.Sprintf("the published log holds no revision of size %.20s that stands", size), 0}
}

// viewAt returns the index as a revision in the published log commits to it. Older
// ones take long, so one is computed at a time.
func (s *Server) viewAt(ctx context.Context, at *answering, size uint64) (*triedb.View, error) {
	if size == at.revision.size {
		return at.view, nil
	}
	i, ok, err := s.db.Revision(ctx, size)
	if err != nil {
		return nil, err
	}
	if !ok || i >= at.checkpoint.head.Size || s.resets.withdraw(i, size) {
		return nil, noSuchRevision(strconv.FormatUint(size, 10))
	}
	busy := &httpError{http.StatusServiceUnavailable, "busy", "another older revision of the index is being computed; try again in a moment", 5}
	if size > s.mapper.db.Size() {
		return nil, busy
	}
	select {
	case s.older <- struct{}{}:
		defer func() { <-s.older }()
	default:
		return nil, busy
	}
	return s.mapper.db.View(ctx, size)
}
