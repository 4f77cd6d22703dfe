// Package witnesstest has a witness for tests: it keeps to c2sp.org/tlog-witness,
// remembers in memory what it cosigned, and can be told to misbehave. It takes no
// testing.T, so that programs that measure can use it too.
package witnesstest

import (
	"bytes"
	"cmp"
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"time"

	"golang.org/x/mod/sumdb/tlog"

	"github.com/firn-log/firn/log/policy"
)

// Faults are how a Witness misbehaves. The zero value is an honest one.
type Faults struct {
	Down       bool                     // no connection
	Status     int                      // answers every submission with this
	Body       string                   // instead of the answer, with status Status or 200
	Type       string                   // content type of Body
	Claim      uint64                   // answers 409 with this size
	WrongKey   bool                     // signs with another key under its name
	OtherText  bool                     // signs another checkpoint than it was shown
	ClockOff   time.Duration            // its clock is off by this
	Blind      bool                     // has no monitoring interface
	NotStored  bool                     // cosigns and forgets at once
	Hang       <-chan struct{}          // answers only when this is closed
	Monitoring func(note []byte) []byte // changes what the monitoring interface shows; nil note is nothing
	Before     func(r *http.Request)    // sees every request first
}

// A Witness is a witness of the logs that it was told of.
type Witness struct {
	name string
	key  policy.Key
	priv ed25519.PrivateKey

	mu       sync.Mutex // guards what follows; held while a submission is judged
	logs     map[string]policy.Key
	held     map[string]*held
	faults   Faults
	requests int
	seen     [][]byte // every checkpoint that a log of its signed
}

// held is what it cosigned last for an origin.
type held struct {
	head policy.Head
	note []byte
}

// New returns a witness whose key follows from its name.
func New(name string) *Witness {
	seed := sha256.Sum256([]byte("witness " + name))
	priv := ed25519.NewKeyFromSeed(seed[:])
	key, err := policy.NewKey(name, policy.TypeCosignature, priv.Public().(ed25519.PublicKey))
	if err != nil {
		panic(err) // the name is a test's
	}
	return &Witness{name: name, key: key, priv: priv, logs: make(map[string]policy.Key), held: make(map[string]*held)}
}

// VKey returns the verifier key.
func (w *Witness) VKey() string { return w.key.String() }

// Key returns the verifier key.
func (w *Witness) Key() policy.Key { return w.key }

// Know makes w a witness of the log with this verifier key.
func (w *Witness) Know(logVKey string) {
	k, err := policy.ParseKey(logVKey)
	if err != nil {
		panic(err)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.logs[k.Name] = k
}

// SetFaults changes how w misbehaves.
func (w *Witness) SetFaults(f Faults) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.faults = f
}

// Requests returns how many submissions came.
func (w *Witness) Requests() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.requests
}

// Size returns the size that w cosigned last for origin, 0 if none.
func (w *Witness) Size(origin string) uint64 {
	w.mu.Lock()
	defer w.mu.Unlock()
	if h := w.held[origin]; h != nil {
		return h.head.Size
	}
	return 0
}

// Seen returns every note that a known log had signed, in the order of their coming.
func (w *Witness) Seen() [][]byte {
	w.mu.Lock()
	defer w.mu.Unlock()
	return append([][]byte(nil), w.seen...)
}

// RoundTrip makes w a transport that reaches only itself, without a network: for
// tests in a synctest bubble.
func (w *Witness) RoundTrip(r *http.Request) (*http.Response, error) {
	w.mu.Lock()
	down := w.faults.Down
	w.mu.Unlock()
	if down {
		return nil, errors.New("connection refused")
	}
	answered := make(chan *http.Response, 1)
	go func() {
		rec := httptest.NewRecorder()
		w.ServeHTTP(rec, r)
		answered <- rec.Result()
	}()
	select {
	case resp := <-answered:
		return resp, nil
	case <-r.Context().Done():
		return nil, r.Context().Err()
	}
}

// ServeHTTP answers POST …/add-checkpoint and GET …/<hex>/checkpoint.
func (w *Witness) ServeHTTP(rw http.ResponseWriter, r *http.Request) {
	w.mu.Lock()
	f := w.faults
	w.mu.Unlock()
	if f.Before != nil {
		f.Before(r)
	}
	body, err := io.ReadAll(io.LimitReader(r.Body, policy.MaxNote)) // first, so that a hanging answer notices who left
	if err != nil {
		return
	}
	if f.Hang != nil {
		select {
		case <-f.Hang:
		case <-r.Context().Done():
			return
		}
	}
	switch {
	case f.Down:
		panic(http.ErrAbortHandler)
	case r.Method == http.MethodPost && strings.HasSuffix(r.URL.Path, "/add-checkpoint"):
		w.submission(rw, f, body)
	case r.Method == http.MethodGet && strings.HasSuffix(r.URL.Path, "/checkpoint") && !f.Blind:
		w.monitoring(rw, r, f)
	default:
		http.NotFound(rw, r)
	}
}

func (w *Witness) submission(rw http.ResponseWriter, f Faults, body []byte) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.requests++
	switch {
	case f.Claim > 0:
		conflict(rw, f.Claim)
	case f.Body != "" || f.Status != 0:
		if f.Type != "" {
			rw.Header().Set("Content-Type", f.Type)
		}
		rw.WriteHeader(cmp.Or(f.Status, http.StatusOK))
		io.WriteString(rw, f.Body)
	default:
		status, answer := w.judge(f, body)
		if status == http.StatusConflict {
			rw.Header().Set("Content-Type", "text/x.tlog.size")
		}
		rw.WriteHeader(status)
		io.WriteString(rw, answer)
	}
}

func conflict(rw http.ResponseWriter, size uint64) {
	rw.Header().Set("Content-Type", "text/x.tlog.size")
	rw.WriteHeader(http.StatusConflict)
	fmt.Fprintf(rw, "%d\n", size)
}

// judge does what the document says. The caller holds mu.
func (w *Witness) judge(f Faults, body []byte) (int, string) {
	top, note, ok := bytes.Cut(body, []byte("\n\n"))
	if !ok {
		return http.StatusBadRequest, "no empty line\n"
	}
	old, proof, err := parseTop(string(top))
	if err != nil {
		return http.StatusBadRequest, err.Error() + "\n"
	}
	n, err := policy.ParseNote(note)
	if err != nil {
		return http.StatusBadRequest, err.Error() + "\n"
	}
	head, err := policy.ParseCheckpoint(n.Text)
	if err != nil {
		return http.StatusBadRequest, err.Error() + "\n"
	}
	key, ok := w.logs[head.Origin]
	if !ok {
		return http.StatusNotFound, "unknown log\n"
	}
	if !signedBy(n, key) {
		return http.StatusForbidden, "not signed by that log\n"
	}
	w.seen = append(w.seen, bytes.Clone(note))
	var last policy.Head
	if h := w.held[head.Origin]; h != nil {
		last = h.head
	}
	switch {
	case old > head.Size:
		return http.StatusBadRequest, "old is larger\n"
	case old != last.Size:
		return http.StatusConflict, fmt.Sprintf("%d\n", last.Size)
	case old == 0 && len(proof) > 0, old == head.Size && (len(proof) > 0 || head.Root != last.Root && old > 0):
		return http.StatusUnprocessableEntity, "no such proof\n"
	case old > 0 && old < head.Size && tlog.CheckTree(proof, int64(head.Size), head.Root, int64(old), last.Root) != nil:
		return http.StatusUnprocessableEntity, "the proof does not verify\n"
	}
	line := w.cosign(f, n.Text)
	if !f.NotStored {
		keep := &policy.Note{Text: n.Text}
		for _, s := range n.Signatures {
			if s.Name == key.Name && s.ID == key.ID {
				keep.Signatures = append(keep.Signatures, s)
			}
		}
		keep.Signatures = append(keep.Signatures, line)
		w.held[head.Origin] = &held{head, keep.Marshal()}
	}
	return http.StatusOK, line.String()
}

func parseTop(top string) (old uint64, proof []tlog.Hash, err error) {
	lines := strings.Split(top, "\n")
	number, ok := strings.CutPrefix(lines[0], "old ")
	if !ok || len(lines) > 64 {
		return 0, nil, errors.New("malformed")
	}
	if old, err = policy.ParseDecimal(number); err != nil {
		return 0, nil, err
	}
	for _, l := range lines[1:] {
		b, err := policy.DecodeBase64(l)
		if err != nil || len(b) != tlog.HashSize {
			return 0, nil, errors.New("a proof line is no hash")
		}
		proof = append(proof, tlog.Hash(b))
	}
	return old, proof, nil
}

func signedBy(n *policy.Note, key policy.Key) bool {
	for _, s := range n.Signatures {
		if s.Name == key.Name && s.ID == key.ID && ed25519.Verify(key.Public, []byte(n.Text), s.Sig) {
			return true
		}
	}
	return false
}

func (w *Witness) cosign(f Faults, text string) policy.Signature {
	if f.OtherText {
		text = strings.Replace(text, "\n", "/other\n", 1)
	}
	priv := w.priv
	if f.WrongKey {
		priv = New(w.name + "/wrong").priv
	}
	at := uint64(time.Now().Add(f.ClockOff).Unix())
	sig := binary.BigEndian.AppendUint64(nil, at)
	return policy.Signature{Name: w.key.Name, ID: w.key.ID, Sig: append(sig, ed25519.Sign(priv, policy.CosignatureMessage(text, at))...)}
}

func (w *Witness) monitoring(rw http.ResponseWriter, r *http.Request, f Faults) {
	w.mu.Lock()
	defer w.mu.Unlock()
	var note []byte
	for origin, h := range w.held {
		sum := sha256.Sum256([]byte(origin))
		if strings.HasSuffix(r.URL.Path, "/"+hex.EncodeToString(sum[:])+"/checkpoint") {
			note = h.note
		}
	}
	if f.Monitoring != nil {
		note = f.Monitoring(note)
	}
	if note == nil {
		http.NotFound(rw, r)
		return
	}
	rw.Write(note)
}
