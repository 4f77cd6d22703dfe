package server

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"time"

	"golang.org/x/mod/sumdb/tlog"

	"github.com/firn-log/firn/log/server/store"
)

// minInterval is the shortest interval between checkpoints that Tessera allows.
const minInterval = 100 * time.Millisecond

// Bounds of one submission (spec/log.md#submitting).
const (
	maxLeaves    = 1000
	maxBody      = 8 << 20
	defaultWait  = 5 * time.Second
	maxWait      = 60 * time.Second
	leavesType   = "application/vnd.firn.leaves"
	durableLimit = 30 * time.Second // how long a request waits for the disk
)

// The statuses of a leaf.
const (
	statusAccepted  = "accepted"
	statusDuplicate = "duplicate"
	statusRejected  = "rejected"
)

// leafResult is what became of one leaf. Fields may be added; none changes its
// meaning while "schema" is 1.
type leafResult struct {
	Status    string   `json:"status"`
	ID        string   `json:"id,omitempty"`    // of every leaf that could be parsed
	Index     *uint64  `json:"index,omitempty"` // accepted and duplicate
	Inclusion []string `json:"inclusion,omitempty"`
	Error     string   `json:"error,omitempty"` // code, rejected
	Message   string   `json:"message,omitempty"`
}

type submitAnswer struct {
	Schema     int          `json:"schema"`
	Results    []leafResult `json:"results"`
	Checkpoint string       `json:"checkpoint,omitempty"`
}

// postStatements answers POST /v1/statements.
func (s *Server) postStatements(w http.ResponseWriter, r *http.Request) error {
	wait, err := waitOf(r, defaultWait)
	if err != nil {
		return err
	}
	release, err := s.work(r, r.ContentLength)
	if err != nil {
		return err
	}
	defer release()
	if err := s.seq.reason(); err != nil {
		return &closedError{err}
	}
	leaves, err := readLeaves(w, r)
	if err != nil {
		return err
	}
	if err := s.limits.take(r, len(leaves)); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(r.Context(), durableLimit)
	defer cancel()
	answer, covered, err := s.submit(ctx, submissionsOf(leaves))
	if err != nil {
		return err
	}
	return s.answerSubmission(w, r, answer, covered, wait)
}

// maxBodies bounds the bodies of all submissions at once, in bytes.
const maxBodies = 256 << 20

// shareOfOne is which part of all places one address may hold: a fourth.
const shareOfOne = 4

// work takes a place among the submissions worked on, and room for size bytes of the
// body; a negative size is not known.
func (s *Server) work(r *http.Request, size int64) (release func(), err error) {
	busy := &httpError{http.StatusServiceUnavailable, "busy", "the log is working on as many submissions as it can; try again in a moment", 1}
	if size < 0 || size > maxBody {
		size = maxBody
	}
	var taken []func()
	release = func() {
		for _, f := range taken {
			f()
		}
	}
	for share, n := range map[*shares]int64{s.shares.working: 1, s.shares.bodies: size} {
		back, err := share.take(ended, r, n)
		if err != nil {
			release()
			busy.message = "the log is working on as many submissions of this address as it can; try again in a moment"
			return nil, busy
		}
		taken = append(taken, back)
	}
	if !s.bodies.TryAcquire(size) {
		release()
		return nil, busy
	}
	taken = append(taken, func() { s.bodies.Release(size) })
	select {
	case s.working <- struct{}{}:
		taken = append(taken, func() { <-s.working })
		return release, nil
	default:
		release()
		return nil, busy
	}
}

// readLeaves reads and splits the body.
func readLeaves(w http.ResponseWriter, r *http.Request) ([][]byte, error) {
	if t, _, err := mime.ParseMediaType(r.Header.Get("Content-Type")); err != nil || t != leavesType {
		return nil, &httpError{http.StatusUnsupportedMediaType, "wrong-content-type", "the content type must be " + leavesType, 0}
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
	var tooLarge *http.MaxBytesError
	if errors.As(err, &tooLarge) {
		return nil, &httpError{http.StatusRequestEntityTooLarge, "request-too-large", fmt.Sprintf("a submission is at most %d bytes", maxBody), 0}
	}
	if err != nil {
		return nil, &httpError{http.StatusBadRequest, "cut-off", "the body ended early", 0}
	}
	leaves, err := store.ParseFrames(body, maxLeaves+1)
	switch {
	case len(leaves) > maxLeaves || err != nil && len(body) > 0 && countFrames(body) > maxLeaves:
		return nil, &httpError{http.StatusRequestEntityTooLarge, "too-many-leaves", fmt.Sprintf("a submission is at most %d leaves", maxLeaves), 0}
	case err != nil:
		return nil, &httpError{http.StatusBadRequest, "bad-framing", "the body is not a sequence of leaves, each after its length in two bytes: " + err.Error(), 0}
	case len(leaves) == 0:
		return nil, &httpError{http.StatusBadRequest, "no-leaves", "the body holds no leaf", 0}
	}
	return leaves, nil
}

// countFrames counts whole frames, one more than maxLeaves at most.
func countFrames(b []byte) (n int) {
	for len(b) >= 2 && n <= maxLeaves {
		size := 2 + int(b[0])<<8 + int(b[1])
		if size > len(b) {
			break
		}
		b = b[size:]
		n++
	}
	return n
}

// submit admits leaves and waits until those admitted are durable. covered is
// the tree size that covers all of them, 0 if none was admitted. An error is
// about the whole request: the log could not write, and whoever sent it sends
// it again.
func (s *Server) submit(ctx context.Context, subs []submission) (answer *submitAnswer, covered uint64, err error) {
	s.admit(ctx, subs)
	answer = &submitAnswer{Schema: 1, Results: make([]leafResult, len(subs))}
	for i := range subs {
		sub, r := &subs[i], &answer.Results[i]
		if sub.err == nil && sub.e != nil {
			sub.index, sub.err = sub.e.wait(ctx)
		}
		if sub.s != nil {
			r.ID = sub.s.ID().String()
		}
		code := codeOf(sub.err)
		switch {
		case sub.err == nil:
			r.Status, r.Index = statusAccepted, &sub.index
			if sub.repeated {
				r.Status = statusDuplicate
			}
			covered = max(covered, sub.index+1)
		case code == "":
			err = errors.Join(err, firstOnly(err, sub.err))
		default:
			r.Status, r.Error, r.Message = statusRejected, code, sub.err.Error()
		}
		s.metrics.leaf(r.Status, code)
	}
	return answer, covered, err
}

// firstOnly drops e if there is an error already.
func firstOnly(err, e error) error {
	if err != nil {
		return nil
	}
	return e
}

// answerSubmission adds a checkpoint and proofs if one covers the leaves
// within wait.
func (s *Server) answerSubmission(w http.ResponseWriter, r *http.Request, answer *submitAnswer, covered uint64, wait time.Duration) error {
	status := http.StatusOK
	if covered > 0 {
		ctx, cancel := context.WithTimeout(r.Context(), wait)
		defer cancel()
		cp, err := s.publisher.wait(ctx, covered)
		if err != nil {
			status = http.StatusAccepted
		} else if err := s.prove(r.Context(), answer, cp); err != nil {
			return err
		}
	}
	writeJSON(w, status, answer)
	return nil
}

func (s *Server) prove(ctx context.Context, answer *submitAnswer, cp published) error {
	answer.Checkpoint = string(cp.note)
	for i := range answer.Results {
		r := &answer.Results[i]
		if r.Index == nil {
			continue
		}
		proof, err := s.tree.Inclusion(ctx, cp.head.Size, *r.Index)
		if err != nil {
			return err
		}
		r.Inclusion = encodeHashes(proof)
	}
	return nil
}

func encodeHashes(hashes []tlog.Hash) []string {
	out := make([]string, len(hashes))
	for i, h := range hashes {
		out[i] = base64.StdEncoding.EncodeToString(h[:])
	}
	return out
}

// waitOf returns the wait parameter.
func waitOf(r *http.Request, otherwise time.Duration) (time.Duration, error) {
	v := r.URL.Query().Get("wait")
	if v == "" {
		return otherwise, nil
	}
	d, err := time.ParseDuration(v)
	if err != nil || d < 0 || d > maxWait {
		return 0, &httpError{http.StatusBadRequest, "bad-wait", fmt.Sprintf("wait must be a duration between 0s and %v, for instance 5s", maxWait), 0}
	}
	return d, nil
}

func writeJSON(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(v) // a reader that went away is nobody's error
}
