package server

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/firn-log/firn/log/index"
	"github.com/firn-log/firn/log/index/triedb"
	"github.com/firn-log/firn/log/lookup"
	"github.com/firn-log/firn/log/statement"
)

const (
	lookupsAtOnce = 8               // more wait for their turn; bounds memory
	firstRevision = 3 * time.Second // how long a lookup waits for the first one
	prefixCost    = 10              // of a lookup of a prefix, as leaves
)

// postLookup answers POST /v1/lookup (spec/log.md#looking-up).
func (s *Server) postLookup(w http.ResponseWriter, r *http.Request) error {
	q, err := readLookup(w, r)
	if err != nil {
		return err
	}
	cost := 1 + len(q.keys)/100
	if q.byPrefix {
		cost = prefixCost
	}
	release, err := s.lookTurn(r, cost)
	if err != nil {
		return err
	}
	defer release()
	at, err := s.answering(r.Context())
	if err != nil {
		return err
	}
	g := s.gather(q, at)
	gather := g.keys
	if q.byPrefix {
		gather = g.prefix
	}
	khs, err := gather(r.Context())
	if err != nil {
		return err
	}
	answer, err := g.answer(r.Context(), khs)
	if err != nil {
		return err
	}
	readable(w)
	writeBytes(w, lookup.ContentType, answer.Marshal())
	return nil
}

func writeBytes(w http.ResponseWriter, contentType string, b []byte) {
	w.Header().Set("Content-Type", contentType)
	w.Header().Set("Content-Length", strconv.Itoa(len(b)))
	w.Header().Set("Cache-Control", "no-store")
	_, _ = w.Write(b) // a reader that went away is nobody's error
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
	ctx, cancel := context.WithTimeout(ctx, firstRevision)
	defer cancel()
	for {
		at, changed, broken := s.mapper.answer()
		cp := s.publisher.latest()
		switch {
		case broken != nil:
			return nil, broken
		case cp.head.Size == 0:
			return nil, &httpError{http.StatusServiceUnavailable, "no-checkpoint", "the log has not published a checkpoint yet", 1}
		case at != nil && cp.head.Size <= at.checkpoint.head.Size:
			return at, nil
		case at != nil:
			return at.under(ctx, s.tree, cp) // the map has not come so far yet
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return nil, &httpError{http.StatusServiceUnavailable, "no-revision", "no published checkpoint holds a revision of the index that the log can answer with yet", 5}
		}
	}
}

func badLookup(format string, args ...any) error {
	return &httpError{http.StatusBadRequest, "bad-lookup", fmt.Sprintf(format, args...), 0}
}

// question is a lookup.Request that was read.
type question struct {
	keys     []lookup.Asked
	byPrefix bool
	bits     int
	prefix   index.Hash
	signers  map[statement.KeyID]bool // whose leaves are sent; nil: all
	tail     bool
}

func readLookup(w http.ResponseWriter, r *http.Request) (*question, error) {
	dec := json.NewDecoder(http.MaxBytesReader(w, r.Body, lookup.MaxRequest))
	dec.DisallowUnknownFields()
	var body lookup.Request
	if err := dec.Decode(&body); err != nil {
		return nil, badLookup("the body is not a lookup: %s", strings.TrimPrefix(err.Error(), "json: "))
	}
	if _, err := dec.Token(); err != io.EOF {
		return nil, badLookup("something follows the lookup in the body")
	}
	q := &question{keys: body.Keys, tail: body.Tail}
	var err error
	if q.signers, err = readSigners(body.Signers); err != nil {
		return nil, err
	}
	if body.Prefix != nil {
		if len(q.keys) > 0 {
			return nil, badLookup("a lookup has keys or a prefix, not both")
		}
		q.byPrefix, q.bits = true, body.Prefix.Bits
		q.prefix, err = readPrefix(body.Prefix.Prefix, q.bits)
		return q, err
	}
	return q, checkAsked(q.keys)
}

func checkAsked(keys []lookup.Asked) error {
	if len(keys) == 0 || len(keys) > lookup.MaxKeys {
		return badLookup("a lookup has 1 to %d keys", lookup.MaxKeys)
	}
	for _, k := range keys {
		if len(k.Key) > lookup.MaxKeyBytes {
			return badLookup("a key is at most %d bytes", lookup.MaxKeyBytes)
		}
		if k.To != 0 && k.To <= k.From {
			return badLookup("the items from %d to %d of a list are none", k.From, k.To)
		}
	}
	return nil
}

// readSigners returns whose leaves are sent; nil sends all.
func readSigners(names *[]string) (map[statement.KeyID]bool, error) {
	if names == nil {
		return nil, nil
	}
	signers := make(map[statement.KeyID]bool)
	for _, name := range *names {
		id, err := statement.ParseKeyID(name)
		if err != nil {
			return nil, badLookup("signers: %v", err)
		}
		signers[id] = true
	}
	return signers, nil
}

// readHash reads a hash in the one form that it has.
func readHash(what, text string) (index.Hash, error) {
	b, err := hex.DecodeString(text)
	if err != nil || len(b) != len(index.Hash{}) || hex.EncodeToString(b) != text {
		return index.Hash{}, badLookup("%s: want 64 lower-case hexadecimal digits", what)
	}
	return index.Hash(b), nil
}

func readPrefix(text string, bits int) (index.Hash, error) {
	h, err := readHash("prefix", text)
	if err != nil {
		return h, err
	}
	if err := index.CheckPrefix(bits, h); err != nil {
		return h, badLookup("%v", err)
	}
	return h, nil
}

// prefix gathers the lists of all key hashes that begin with a prefix, the newest
// items of each if there are too many.
func (g *gathering) prefix(ctx context.Context) ([]index.Hash, error) {
	q := g.q
	heads, err := g.at.view.Prefix(q.bits, q.prefix, index.MaxPrefixKeys)
	if errors.Is(err, triedb.ErrTooMany) {
		return nil, &httpError{
			http.StatusBadRequest, "prefix-too-short",
			fmt.Sprintf("more than %d keys begin with these %d bits; ask for at least %d", index.MaxPrefixKeys, q.bits, index.MinPrefixBits(g.at.revision.size)), 0,
		}
	}
	if err != nil {
		return nil, err
	}
	if len(heads) == 0 {
		return []index.Hash{q.prefix}, nil // what is found instead
	}
	each := uint64(max(1, g.items/len(heads)))
	khs := make([]index.Hash, len(heads))
	for i, h := range heads {
		khs[i] = h.Key
		if _, err := g.section(ctx, h.Key, h.Head.Count-min(each, h.Head.Count), h.Head.Count, true); err != nil {
			return nil, err
		}
	}
	return khs, nil
}
