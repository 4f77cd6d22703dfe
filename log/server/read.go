package server

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/firn-log/firn/log/index"
	"github.com/firn-log/firn/log/server/store"
	"github.com/firn-log/firn/log/statement"
)

// getCheckpoint answers GET /checkpoint (c2sp.org/tlog-tiles).
func (s *Server) getCheckpoint(w http.ResponseWriter, r *http.Request) error {
	cp := s.publisher.latest()
	if cp.head.Size == 0 {
		return &httpError{http.StatusNotFound, "no-checkpoint", "the log has not published a checkpoint yet", 1}
	}
	readable(w)
	sum := sha256.Sum256(cp.note)
	w.Header().Set("ETag", `"`+hex.EncodeToString(sum[:8])+`"`)
	w.Header().Set("Cache-Control", "public, max-age=1")
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	if r.Header.Get("If-None-Match") == w.Header().Get("ETag") {
		w.WriteHeader(http.StatusNotModified)
		return nil
	}
	_, err := w.Write(cp.note)
	return err
}

// getTile answers GET /tile/<level>/<index>[.p/<width>] and
// /tile/entries/<index>[.p/<width>]. It serves nothing beyond the newest signed
// checkpoint: what lies there on disk may still change. Auditors read what is signed
// and not public yet, before they cosign it.
func (s *Server) getTile(w http.ResponseWriter, r *http.Request) error {
	notFound := &httpError{http.StatusNotFound, "no-such-tile", "there is no such tile at or below the newest checkpoint", 0}
	t, ok := parseTile(r.PathValue("path"))
	if !ok || store.TileWidth(t.level, t.index, s.publisher.fixed()) < t.width {
		return notFound
	}
	readable(w)
	etag := `"` + s.tileTag + "/" + r.PathValue("path") + `"` // immutable: one name, one content
	w.Header().Set("ETag", etag)
	w.Header().Set("Cache-Control", "public, max-age=31536000, immutable")
	w.Header().Set("Content-Type", "application/octet-stream")
	if r.Header.Get("If-None-Match") == etag {
		w.WriteHeader(http.StatusNotModified)
		return nil
	}
	b, err := s.readTile(r.Context(), t)
	if err != nil {
		for _, h := range []string{"ETag", "Cache-Control"} {
			w.Header().Del(h)
		}
		if errors.Is(err, store.ErrNotFound) {
			return notFound
		}
		return err
	}
	_, err = w.Write(b)
	return err
}

func (s *Server) readTile(ctx context.Context, t tileName) ([]byte, error) {
	if t.entries {
		return s.tree.Bundle(ctx, t.index, t.width)
	}
	return s.store.Tile(ctx, t.level, t.index, t.width)
}

type tileName struct {
	entries      bool
	level, index uint64
	width        int
}

// parseTile parses "<level>/<index>[.p/<width>]", strictly.
func parseTile(p string) (t tileName, ok bool) {
	if !goodTile.MatchString(p) {
		return t, false
	}
	level, rest, _ := strings.Cut(p, "/")
	t.width = store.Width
	if level == "entries" {
		t.entries = true
	} else {
		t.level, _ = strconv.ParseUint(level, 10, 8)
	}
	if i, w, partial := strings.Cut(rest, ".p/"); partial {
		rest = i
		t.width, _ = strconv.Atoi(w)
	}
	for i, part := range strings.Split(rest, "/") {
		n, err := strconv.ParseUint(strings.TrimPrefix(part, "x"), 10, 16)
		if err != nil || i == 0 && part == "x000" || t.index > (1<<63)/1000 {
			return t, false
		}
		t.index = t.index*1000 + n
	}
	return t, true
}

// getProof answers GET /v1/proof?id=<statement id>[&wait=5s] with a
// c2sp.org/tlog-proof.
func (s *Server) getProof(w http.ResponseWriter, r *http.Request) error {
	id, err := statement.ParseID(r.URL.Query().Get("id"))
	if err != nil {
		return &httpError{http.StatusBadRequest, "bad-id", err.Error(), 0}
	}
	wait, err := waitOf(r, 0)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(r.Context(), wait)
	defer cancel()
	index, ok, err := s.find(ctx, r.Context(), id)
	if err != nil {
		return err
	}
	if !ok {
		return &httpError{http.StatusNotFound, "no-such-statement", "no statement with this id is in the log", 0}
	}
	readable(w)
	cp, err := s.publisher.wait(ctx, index+1)
	if err != nil {
		w.Header().Set("Retry-After", "1")
		writeJSON(w, http.StatusAccepted, map[string]any{"schema": 1, "index": index})
		return nil
	}
	proof, err := s.tree.Inclusion(r.Context(), cp.head.Size, index)
	if err != nil {
		return err
	}
	var b strings.Builder
	fmt.Fprintf(&b, "c2sp.org/tlog-proof@v1\nindex %d\n", index)
	for _, h := range encodeHashes(proof) {
		b.WriteString(h + "\n")
	}
	b.WriteString("\n")
	b.Write(cp.note)
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.Header().Set("Cache-Control", "no-store")
	_, err = w.Write([]byte(b.String()))
	return err
}

// find returns the index of a statement; one that is in flight is awaited
// while wait lasts.
func (s *Server) find(wait, ctx context.Context, id statement.ID) (uint64, bool, error) {
	s.seq.mu.Lock()
	e := s.seq.inflight[id]
	s.seq.mu.Unlock()
	if e != nil {
		if i, err := e.wait(wait); err == nil {
			return i, true, nil
		}
	}
	return s.db.IndexOf(ctx, id)
}

// getLog answers GET /v1/log.
func (s *Server) getLog(w http.ResponseWriter, _ *http.Request) error {
	rules := s.registry.Rules()
	readable(w)
	answer := map[string]any{
		"schema": 1, "origin": s.config.Origin, "vkey": s.key.vkey, "mode": rules.Mode,
		"vouch_threshold": rules.VouchThreshold,
		"budgets": map[string]uint64{
			"unvouched_statements_per_day": rules.Budgets.UnvouchedStatements,
			"unvouched_bytes_per_day":      rules.Budgets.UnvouchedBytes,
			"key_statements_per_day":       rules.Budgets.KeyStatements,
			"key_bytes_per_day":            rules.Budgets.KeyBytes,
			"claims_per_subject":           rules.Budgets.ClaimsPerSubject,
		},
		"size": s.publisher.latest().head.Size, "map_version": index.MapVersion, "version": version(),
		"checkpoint_interval": s.config.interval().Round(time.Millisecond).String(),
		"blobs":               s.config.Blobs.json(),
	}
	if f := s.frozenJSON(); f != nil {
		answer["frozen"] = f
	}
	writeJSON(w, http.StatusOK, answer)
	return nil
}
