package server

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"

	"github.com/firn-log/firn/log/index"
	"github.com/firn-log/firn/log/statement"
)

const mapVersion = index.MapVersion

// Bounds of one lookup (spec/log.md#looking-up).
const (
	maxKeys       = 10_000
	maxKeyBytes   = 512
	maxLookupBody = 8 << 20
	maxEntries    = 100_000  // in one answer
	maxLeafBytes  = 16 << 20 // in one answer, before base64; it takes some six times that in memory
	lookupsAtOnce = 8        // more wait for their turn; bounds memory
)

type lookupRequest struct {
	Keys    []string  `json:"keys"`
	Signers *[]string `json:"signers"` // null: leaves of every signer
	After   uint64    `json:"after"`
}

type lookupAnswer struct {
	Schema     int                    `json:"schema"`
	Size       uint64                 `json:"size"`
	Checkpoint string                 `json:"checkpoint"`
	Answers    []keyAnswer            `json:"answers"`
	Leaves     map[string]*leafAnswer `json:"leaves"`
}

type keyAnswer struct {
	Key     string        `json:"key"`
	Entries []entryAnswer `json:"entries"`
	// More says that the answer would have become too long: ask again for this
	// key with after = the last index + 1 (or the same after if there is none).
	More bool `json:"more,omitempty"`
}

type entryAnswer struct {
	Index uint64 `json:"index"`
	KeyID string `json:"key_id"`
}

type leafAnswer struct {
	Leaf      string   `json:"leaf"`
	Inclusion []string `json:"inclusion"`
}

// postLookup answers POST /v1/lookup.
func (s *Server) postLookup(w http.ResponseWriter, r *http.Request) error {
	q, signers, err := readLookup(w, r)
	if err != nil {
		return err
	}
	if err := s.limits.take(r, 1+len(q.Keys)/100); err != nil {
		return err
	}
	release, err := s.shares.looking.take(r.Context(), r, 1)
	if err != nil {
		return err
	}
	defer release()
	select {
	case s.looking <- struct{}{}:
		defer func() { <-s.looking }()
	case <-r.Context().Done():
		return r.Context().Err()
	}
	cp := s.publisher.latest()
	if cp.head.Size == 0 {
		return &httpError{http.StatusServiceUnavailable, "no-checkpoint", "the log has not published a checkpoint yet", 1}
	}
	answer, err := s.lookup(r.Context(), q, signers, cp)
	if err != nil {
		return err
	}
	readable(w)
	w.Header().Set("Vary", "Accept-Encoding")
	if !strings.Contains(r.Header.Get("Accept-Encoding"), "gzip") {
		writeJSON(w, http.StatusOK, answer)
		return nil
	}
	return writeGzipJSON(w, answer)
}

// writeGzipJSON compresses fast: hashes and signatures do not compress, and
// what remains is mostly repeated names.
func writeGzipJSON(w http.ResponseWriter, v any) error {
	var b bytes.Buffer
	z, err := gzip.NewWriterLevel(&b, gzip.BestSpeed)
	if err != nil {
		return err
	}
	if err := json.NewEncoder(z).Encode(v); err != nil {
		return err
	}
	if err := z.Close(); err != nil {
		return err
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Content-Encoding", "gzip")
	w.Header().Set("Content-Length", strconv.Itoa(b.Len()))
	w.Header().Set("Cache-Control", "no-store")
	_, err = w.Write(b.Bytes())
	return err
}

func readLookup(w http.ResponseWriter, r *http.Request) (*lookupRequest, map[statement.KeyID]bool, error) {
	dec := json.NewDecoder(http.MaxBytesReader(w, r.Body, maxLookupBody))
	dec.DisallowUnknownFields()
	q := new(lookupRequest)
	if err := dec.Decode(q); err != nil {
		return nil, nil, &httpError{http.StatusBadRequest, "bad-lookup", "the body is not a lookup: " + strings.TrimPrefix(err.Error(), "json: "), 0}
	}
	if _, err := dec.Token(); err != io.EOF {
		return nil, nil, &httpError{http.StatusBadRequest, "bad-lookup", "something follows the lookup in the body", 0}
	}
	if len(q.Keys) == 0 || len(q.Keys) > maxKeys {
		return nil, nil, &httpError{http.StatusBadRequest, "bad-lookup", fmt.Sprintf("a lookup has 1 to %d keys", maxKeys), 0}
	}
	for _, k := range q.Keys {
		if len(k) > maxKeyBytes {
			return nil, nil, &httpError{http.StatusBadRequest, "bad-lookup", fmt.Sprintf("a key is at most %d bytes", maxKeyBytes), 0}
		}
	}
	if q.Signers == nil {
		return q, nil, nil
	}
	signers := make(map[statement.KeyID]bool)
	for _, hex := range *q.Signers {
		id, err := statement.ParseKeyID(hex)
		if err != nil {
			return nil, nil, &httpError{http.StatusBadRequest, "bad-lookup", "signers: " + err.Error(), 0}
		}
		signers[id] = true
	}
	return q, signers, nil
}

// lookup answers q as of a checkpoint. signers are those whose leaves are
// sent; nil sends all.
func (s *Server) lookup(ctx context.Context, q *lookupRequest, signers map[statement.KeyID]bool, cp published) (*lookupAnswer, error) {
	a := &lookupAnswer{
		Schema: 1, Size: cp.head.Size, Checkpoint: string(cp.note),
		Answers: make([]keyAnswer, len(q.Keys)), Leaves: make(map[string]*leafAnswer),
	}
	left, bytesLeft := s.room.entries, s.room.bytes
	for i, key := range q.Keys {
		ka := &a.Answers[i]
		ka.Key, ka.Entries = key, []entryAnswer{}
		if left <= 0 || bytesLeft <= 0 {
			ka.More = true
			continue
		}
		entries, more, err := s.db.List(ctx, key, q.After, cp.head.Size, left)
		if err != nil {
			return nil, err
		}
		ka.More = more
		for _, e := range entries {
			if bytesLeft <= 0 {
				ka.More = true
				break
			}
			if signers == nil || signers[e.Signer] {
				n, err := s.addLeaf(ctx, a, e.Index, cp.head.Size)
				if err != nil {
					return nil, err
				}
				bytesLeft -= n
			}
			left--
			ka.Entries = append(ka.Entries, entryAnswer{e.Index, e.Signer.String()})
		}
	}
	return a, nil
}

// addLeaf adds an entry's leaf and proof once, and returns how many bytes that
// were.
func (s *Server) addLeaf(ctx context.Context, a *lookupAnswer, i, size uint64) (int, error) {
	name := strconv.FormatUint(i, 10)
	if a.Leaves[name] != nil {
		return 0, nil
	}
	leaf, err := s.tree.Entry(ctx, size, i)
	if err != nil {
		return 0, err
	}
	proof, err := s.tree.Inclusion(ctx, size, i)
	if err != nil {
		return 0, err
	}
	a.Leaves[name] = &leafAnswer{Leaf: base64.StdEncoding.EncodeToString(leaf), Inclusion: encodeHashes(proof)}
	return len(leaf) + 32*len(proof), nil
}
