package server

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/firn-log/firn/log/index"
	"github.com/firn-log/firn/log/lookup"
	"github.com/firn-log/firn/log/statement"
)

const (
	lookupsAtOnce = 8               // more wait for their turn; bounds memory
	firstRevision = 3 * time.Second // how long a lookup waits for the first one
)

// postLookup answers POST /v1/lookup.
func (s *Server) postLookup(w http.ResponseWriter, r *http.Request) error {
	q, signers, err := readLookup(w, r)
	if err != nil {
		return err
	}
	release, err := s.lookTurn(r, 1+len(q.Keys)/100)
	if err != nil {
		return err
	}
	defer release()
	at, err := s.answering(r.Context())
	if err != nil {
		return err
	}
	answer, err := s.lookup(r.Context(), q, signers, at)
	if err != nil {
		return err
	}
	readable(w)
	writeAnswer(w, answer)
	return nil
}

func writeAnswer(w http.ResponseWriter, a *lookup.Answer) {
	b := a.Marshal()
	w.Header().Set("Content-Type", lookup.ContentType)
	w.Header().Set("Content-Length", strconv.Itoa(len(b)))
	w.Header().Set("Cache-Control", "no-store")
	w.Write(b)
}

// lookTurn waits for a turn to answer a question of some cost.
func (s *Server) lookTurn(r *http.Request, cost int) (release func(), err error) {
	if err := s.limits.take(r, cost); err != nil {
		return nil, err
	}
	share, err := s.shares.looking.take(r.Context(), r, 1)
	if err != nil {
		return nil, err
	}
	select {
	case s.looking <- struct{}{}:
		return func() { <-s.looking; share() }, nil
	case <-r.Context().Done():
		share()
		return nil, r.Context().Err()
	}
}

// answering returns what lookups are answered with now. A log that has just been
// made or started states its first revision soon, so it is waited for a little.
func (s *Server) answering(ctx context.Context) (*answering, error) {
	if s.publisher.latest().head.Size == 0 {
		return nil, &httpError{http.StatusServiceUnavailable, "no-checkpoint", "the log has not published a checkpoint yet", 1}
	}
	ctx, cancel := context.WithTimeout(ctx, firstRevision)
	defer cancel()
	for {
		at, changed := s.mapper.answer()
		if at != nil {
			cp := s.publisher.latest()
			if cp.head.Size <= at.checkpoint.head.Size {
				return at, nil
			}
			return at.under(ctx, s.tree, cp) // the map has not come so far yet
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return nil, &httpError{http.StatusServiceUnavailable, "no-revision", "no published checkpoint holds a revision of the index yet", 1}
		}
	}
}

func badLookup(format string, args ...any) error {
	return &httpError{http.StatusBadRequest, "bad-lookup", fmt.Sprintf(format, args...), 0}
}

func readLookup(w http.ResponseWriter, r *http.Request) (*lookup.Request, map[statement.KeyID]bool, error) {
	dec := json.NewDecoder(http.MaxBytesReader(w, r.Body, lookup.MaxRequest))
	dec.DisallowUnknownFields()
	q := new(lookup.Request)
	if err := dec.Decode(q); err != nil {
		return nil, nil, badLookup("the body is not a lookup: %s", strings.TrimPrefix(err.Error(), "json: "))
	}
	if _, err := dec.Token(); err != io.EOF {
		return nil, nil, badLookup("something follows the lookup in the body")
	}
	if len(q.Keys) == 0 || len(q.Keys) > lookup.MaxKeys {
		return nil, nil, badLookup("a lookup has 1 to %d keys", lookup.MaxKeys)
	}
	for _, k := range q.Keys {
		if len(k.Key) > lookup.MaxKeyBytes {
			return nil, nil, badLookup("a key is at most %d bytes", lookup.MaxKeyBytes)
		}
		if k.To != 0 && k.To <= k.From {
			return nil, nil, badLookup("the items from %d to %d of a list are none", k.From, k.To)
		}
	}
	signers, err := readSigners(q.Signers)
	return q, signers, err
}

// readSigners returns whose leaves are sent; nil sends all.
func readSigners(hex *[]string) (map[statement.KeyID]bool, error) {
	if hex == nil {
		return nil, nil
	}
	signers := make(map[statement.KeyID]bool)
	for _, h := range *hex {
		id, err := statement.ParseKeyID(h)
		if err != nil {
			return nil, badLookup("signers: %v", err)
		}
		signers[id] = true
	}
	return signers, nil
}

// lookup answers q. signers are those whose leaves are sent; nil sends all.
func (s *Server) lookup(ctx context.Context, q *lookup.Request, signers map[statement.KeyID]bool, at *answering) (*lookup.Answer, error) {
	g := &gathering{s: s, at: at, signers: signers, items: s.room.entries, bytes: s.room.bytes, leaves: make(map[uint64][]byte)}
	khs := make([]index.Hash, 0, len(q.Keys))
	for _, asked := range q.Keys {
		kh := index.KeyHash(asked.Key)
		fits, err := g.list(ctx, kh, asked)
		if err != nil {
			return nil, err
		}
		if !fits {
			break
		}
		khs = append(khs, kh)
	}
	return g.answer(ctx, khs, q.Tail)
}

// gathering is an answer on its way, and the room that is left in it.
type gathering struct {
	s       *Server
	at      *answering
	signers map[statement.KeyID]bool
	items   int
	bytes   int
	lists   []lookup.List
	leaves  map[uint64][]byte
}

// list adds the list of a key, and reports whether it fits. The first list of an
// answer is made to fit: it loses items at its beginning.
func (g *gathering) list(ctx context.Context, kh index.Hash, asked lookup.Asked) (bool, error) {
	head, ok, err := g.at.view.Head(kh)
	switch {
	case err != nil:
		return false, err
	case !ok && asked.From == 0 && asked.To == 0:
		g.lists = append(g.lists, lookup.List{})
		return true, nil
	case !ok || asked.From > head.Count || asked.To > head.Count:
		return false, badLookup("the list of %q has %d items, fewer than asked for", asked.Key, head.Count)
	}
	from, to := asked.From, asked.To
	if to == 0 {
		to = head.Count
	}
	first := len(g.lists) == 0
	if n := uint64(max(g.items, 0)); to-from > n {
		if !first {
			return false, nil
		}
		from = to - n
	}
	before, items, _, err := g.at.view.List(kh, from, int(to-from))
	if err != nil {
		return false, err
	}
	begin, err := g.bodies(ctx, items)
	if err != nil {
		return false, err
	}
	if begin > 0 && !first {
		return false, nil
	}
	for _, it := range items[:begin] {
		before.Append(it)
	}
	g.items -= len(items) - begin
	g.lists = append(g.lists, lookup.List{Present: true, List: index.List{Prefix: before, Items: items[begin:]}})
	return true, nil
}

// bodies adds the leaves of items of signers that were asked for, the last items first,
// and returns from which item on they fit.
func (g *gathering) bodies(ctx context.Context, items []index.Item) (begin int, err error) {
	for i := len(items) - 1; i >= 0; i-- {
		it := items[i]
		if g.leaves[it.Index] != nil || g.signers != nil && !g.signers[it.Signer] {
			continue
		}
		if g.bytes <= 0 {
			return i + 1, nil
		}
		leaf, err := g.s.tree.Entry(ctx, g.at.checkpoint.head.Size, it.Index)
		if err != nil {
			return 0, err
		}
		g.leaves[it.Index] = leaf
		g.bytes -= len(leaf) + inclusionRoom
	}
	return 0, nil
}

// inclusionRoom is what the proof of a body usually takes in an answer, in bytes.
const inclusionRoom = 512

// answer puts together what was gathered about the first keys.
func (g *gathering) answer(ctx context.Context, khs []index.Hash, tail bool) (*lookup.Answer, error) {
	at, size := g.at, g.at.checkpoint.head.Size
	a := &lookup.Answer{
		Note: at.checkpoint.note, Vouch: at.vouch, Lists: g.lists,
		Revision: lookup.Body{Index: at.revision.index, Leaf: at.revision.leaf, Inclusion: at.inclusion},
	}
	if at.vouched.head.Size > 0 && string(at.vouched.note) != string(at.checkpoint.note) {
		a.Vouched = at.vouched.note
	}
	var err error
	if a.Trie, err = at.view.Prove(khs); err != nil {
		return nil, err
	}
	for i, leaf := range g.leaves {
		proof, err := g.s.tree.Inclusion(ctx, size, i)
		if err != nil {
			return nil, err
		}
		a.Bodies = append(a.Bodies, lookup.Body{Index: i, Leaf: leaf, Inclusion: proof})
	}
	slices.SortFunc(a.Bodies, func(a, b lookup.Body) int { return int(int64(a.Index) - int64(b.Index)) })
	if tail {
		a.Tail, err = g.s.tailOf(ctx, at)
	}
	return a, err
}

// tailOf returns the entries between a revision and its checkpoint, nil if they are
// too many for an answer.
func (s *Server) tailOf(ctx context.Context, at *answering) (*lookup.Tail, error) {
	size := at.checkpoint.head.Size
	if size-at.revision.size > lookup.MaxTail {
		return nil, nil
	}
	t, total := new(lookup.Tail), 0
	for leaf, err := range s.tree.Entries(ctx, at.revision.size, size) {
		if err != nil {
			return nil, err
		}
		if total += len(leaf); total > lookup.MaxTailSize {
			return nil, nil
		}
		t.Leaves = append(t.Leaves, leaf)
	}
	var err error
	t.Peaks, err = s.tree.Peaks(ctx, at.revision.size, size)
	return t, err
}
