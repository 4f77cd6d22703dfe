package logtest

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/mod/sumdb/tlog"

	"github.com/firn-log/firn/log"
	"github.com/firn-log/firn/log/index"
	"github.com/firn-log/firn/log/lookup"
	"github.com/firn-log/firn/log/statement"
)

// Lies is how a log misbehaves. The zero value is an honest log.
type Lies struct {
	// Down answers every request with 503.
	Down bool
	// NoTiles answers 404 for tiles and bundles.
	NoTiles bool
	// Checkpoint is shown everywhere instead of the true one.
	Checkpoint []byte
	// WrongInclusion spoils every inclusion proof.
	WrongInclusion bool
	// Omit leaves these keys' lists out of answers, without a word of it in the
	// signed index.
	Omit map[string]bool
	// Hide leaves these keys out of the index that the log signs from now on.
	Hide map[string]bool
	// Index says what stands for an item of a key in the index that the log signs from
	// now on; false leaves it out. Nil changes nothing.
	Index func(key string, it index.Item) (index.Item, bool)
	// Extra adds items to the lists of keys in the index that the log signs from now on,
	// after those of the entry with their index.
	Extra map[string][]index.Item
	// Trie changes the trie of the index that the log signs from now on.
	Trie func(*index.Node) *index.Node
	// Old answers lookups with the revision of this size, which the log has stated
	// before; 0 with the newest.
	Old uint64
	// NoRevision states no revision of what is new.
	NoRevision bool
	// NoTail leaves the tail out of answers.
	NoTail bool
	// NoAuditors leaves the cosignatures of auditors out from now on.
	NoAuditors bool
	// Absent are auditors, a1 and so on, that do not cosign from now on.
	Absent map[string]bool
	// Cut is how many entries an answer to a lookup has at most; 0 is any number.
	// That is no lie, but an honest log with small answers.
	Cut int
	// Answer changes an answer to a lookup before it is sent.
	Answer func(*lookup.Answer)
	// Late accepts submissions without a checkpoint: 202.
	Late bool
	// Edit sees every answer of the API, and every file, and may change it.
	// path has no leading slash and no query.
	Edit func(path string, status int, body []byte) (int, []byte)
}

// Handler serves the static tree and the API: GET checkpoint, tile/…,
// v1/proof, v1/log, v1/index/…, and POST v1/statements, v1/lookup. A submission is published at
// once.
func (l *Log) Handler() http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		l.mu.Lock()
		defer l.mu.Unlock()
		path := strings.TrimPrefix(r.URL.Path, "/")
		status, body := l.answer(path, r)
		if l.lies.Edit != nil {
			status, body = l.lies.Edit(path, status, body)
		}
		if strings.Contains(r.Header.Get("Accept-Encoding"), "gzip") && len(body) > 1000 {
			w.Header().Set("Content-Encoding", "gzip")
			var b bytes.Buffer
			z := gzip.NewWriter(&b)
			z.Write(body)
			z.Close()
			body = b.Bytes()
		}
		w.WriteHeader(status)
		w.Write(body)
	})
}

func (l *Log) answer(path string, r *http.Request) (int, []byte) {
	if l.lies.Down {
		return refuse(http.StatusServiceUnavailable, "unavailable", "The log is down.")
	}
	switch {
	case path == "checkpoint":
		return http.StatusOK, l.shown()
	case strings.HasPrefix(path, "tile/") && !l.lies.NoTiles:
		b, err := os.ReadFile(filepath.Join(l.dir, filepath.FromSlash(filepath.Clean(path))))
		if err != nil {
			return refuse(http.StatusNotFound, "not-found", "There is no such tile.")
		}
		return http.StatusOK, b
	case path == "v1/statements" && r.Method == http.MethodPost:
		return l.submit(r)
	case path == "v1/proof":
		return l.prove(r)
	case path == "v1/lookup" && r.Method == http.MethodPost:
		return l.lookup(r)
	case strings.HasPrefix(path, "v1/index/"):
		return l.showIndex(path, r.URL.Query())
	case path == "v1/log":
		return reply(http.StatusOK, map[string]any{"schema": 1, "origin": l.origin, "vkey": l.VKey(), "mode": "open", "size": l.size, "version": "logtest"})
	}
	return refuse(http.StatusNotFound, "not-found", "There is nothing here.")
}

func (l *Log) shown() []byte {
	if l.lies.Checkpoint != nil {
		return l.lies.Checkpoint
	}
	return l.note
}

func (l *Log) inclusion(i uint64) []tlog.Hash {
	p, err := tlog.ProveRecord(int64(l.size), int64(i), l.reader())
	if err != nil {
		l.t.Errorf("logtest: %v", err)
	}
	if l.lies.WrongInclusion {
		if len(p) == 0 {
			return []tlog.Hash{{}}
		}
		p[0][0] ^= 1
	}
	return p
}

// raw is how hashes look in JSON.
func raw(hashes []tlog.Hash) [][]byte {
	out := make([][]byte, len(hashes))
	for i := range hashes {
		out[i] = hashes[i][:]
	}
	return out
}

func (l *Log) submit(r *http.Request) (int, []byte) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return refuse(http.StatusBadRequest, "bad-request", "The body could not be read.")
	}
	leaves, err := log.ParseLeaves(body)
	if err != nil || len(leaves) > log.MaxSubmitLeaves {
		return refuse(http.StatusBadRequest, "bad-request", "The body does not hold up to 1000 leaves.")
	}
	results := make([]map[string]any, len(leaves))
	for i, leaf := range leaves {
		s, err := statement.Parse(leaf)
		if err != nil {
			results[i] = map[string]any{"status": "rejected", "error": statement.CodeOf(err), "message": err.Error()}
			continue
		}
		n, have := l.ids[s.ID()]
		status := "duplicate"
		if !have {
			status, n = "accepted", l.add(leaf)
		}
		results[i] = map[string]any{"status": status, "id": s.ID().String(), "index": n}
	}
	if l.lies.Late {
		return reply(http.StatusAccepted, map[string]any{"schema": 1, "results": results})
	}
	l.publish()
	for _, r := range results {
		if n, ok := r["index"].(uint64); ok {
			r["inclusion"] = raw(l.inclusion(n))
		}
	}
	return reply(http.StatusOK, map[string]any{"schema": 1, "results": results, "checkpoint": string(l.shown())})
}

func (l *Log) prove(r *http.Request) (int, []byte) {
	id, err := statement.ParseID(r.URL.Query().Get("id"))
	if err != nil {
		return refuse(http.StatusBadRequest, "bad-request", "The id is not 64 hexadecimal digits.")
	}
	n, ok := l.ids[id]
	switch {
	case !ok:
		return refuse(http.StatusNotFound, "not-found", "There is no such statement.")
	case n >= l.size:
		return reply(http.StatusAccepted, map[string]any{"schema": 1, "index": n})
	}
	p := log.Proof{Index: n, Hashes: l.inclusion(n), Note: l.shown()}
	return http.StatusOK, p.Marshal()
}

func reply(status int, v any) (int, []byte) {
	b, err := json.Marshal(v)
	if err != nil {
		panic(err) // maps of plain values only
	}
	return status, b
}

func refuse(status int, code, message string) (int, []byte) {
	return reply(status, map[string]any{"schema": 1, "error": code, "message": message})
}
