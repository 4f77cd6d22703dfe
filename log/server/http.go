package server

import (
	"encoding/json"
	"errors"
	"net/http"
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/firn-log/firn/log/index/triedb"
)

// Bounds of a connection.
const (
	readHeaderTimeout = 10 * time.Second
	readTimeout       = 60 * time.Second
	writeTimeout      = maxWait + durableLimit + 60*time.Second
	idleTimeout       = 2 * time.Minute
	maxHeaderBytes    = 16 << 10
)

// httpError is a failure of a whole request.
type httpError struct {
	status     int
	code       string
	message    string // one sentence
	retryAfter int    // seconds; 0 says nothing
}

func (e *httpError) Error() string { return e.message }

// handler answers a request or returns why it could not; one switch, in
// failed, maps that to a status.
type handler func(w http.ResponseWriter, r *http.Request) error

// Handler returns the HTTP interface (spec/log.md#http).
func (s *Server) Handler() http.Handler {
	mux := http.NewServeMux()
	for _, route := range []struct {
		pattern string
		h       handler
	}{
		{"GET /checkpoint", s.getCheckpoint},
		{"GET /tile/{path...}", s.getTile},
		{"POST /v1/statements", s.postStatements},
		{"POST /v1/blobs", s.postBlobs},
		{"GET /v1/blob/{hash}", s.getBlob},
		{"GET /v1/proof", s.getProof},
		{"POST /v1/lookup", s.postLookup},
		{"OPTIONS /v1/lookup", s.preflight},
		{"GET /v1/index/{size}/trie", s.getTrie},
		{"GET /v1/index/{size}/list", s.getList},
		{"GET /v1/watch", s.getWatch},
		{"GET /v1/log", s.getLog},
		{"GET /healthz", s.getHealth},
		{"GET /readyz", s.getReady},
	} {
		mux.Handle(route.pattern, s.handle(route.pattern, route.h))
	}
	mux.Handle("GET /metrics", promhttp.HandlerFor(s.metrics.registry, promhttp.HandlerOpts{}))
	return mux
}

// handle counts, times and turns errors into answers.
func (s *Server) handle(route string, h handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		began := time.Now()
		rec := &statusRecorder{ResponseWriter: w, status: http.StatusOK}
		if err := h(rec, r); err != nil {
			s.failed(rec, r, err)
		}
		s.metrics.requests.WithLabelValues(route, strconv.Itoa(rec.status)).Inc()
		s.metrics.duration.WithLabelValues(route).Observe(time.Since(began).Seconds())
	})
}

type statusRecorder struct {
	http.ResponseWriter
	status int
}

func (r *statusRecorder) WriteHeader(status int) {
	r.status = status
	r.ResponseWriter.WriteHeader(status)
}

// Unwrap lets http.ResponseController and MaxBytesReader reach the connection.
func (r *statusRecorder) Unwrap() http.ResponseWriter { return r.ResponseWriter }

// failed answers with an error. Nothing was written to w before.
func (s *Server) failed(w http.ResponseWriter, r *http.Request, err error) {
	var he *httpError
	var disk *storageError
	var copied *RollbackError
	var doubt *doubtError
	var convicted *convictedError
	var frozen *frozenError
	var broken *brokenError
	switch {
	case errors.As(err, &he):
	case errors.As(err, &broken):
		he = &httpError{http.StatusServiceUnavailable, "index-broken", broken.Error(), 60}
	case errors.Is(err, errStopping), errors.Is(err, triedb.ErrClosed):
		he = &httpError{http.StatusServiceUnavailable, "stopping", "the log is stopping; send it again in a moment", 5}
	case errors.Is(err, errUnknown):
		he = &httpError{http.StatusServiceUnavailable, "unknown", errUnknown.Error(), 5}
	case errors.As(err, &disk):
		he = &httpError{http.StatusServiceUnavailable, "storage", disk.Error(), 10}
	case errors.As(err, &frozen):
		he = &httpError{http.StatusGone, "frozen", frozen.Error(), 0}
	case errors.As(err, &copied), errors.As(err, &doubt), errors.As(err, &convicted):
		he = &httpError{http.StatusServiceUnavailable, "not-ready", s.notReady(err), 60}
	case r.Context().Err() != nil:
		he = &httpError{499, "gone", "the client went away", 0}
	default:
		s.log.Error("answering a request failed", "path", r.URL.Path, "error", err)
		he = &httpError{http.StatusInternalServerError, "internal", "the log could not answer; its operator can see why", 0}
	}
	if he.retryAfter > 0 {
		w.Header().Set("Retry-After", strconv.Itoa(he.retryAfter))
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(he.status)
	_ = json.NewEncoder(w).Encode(map[string]any{"schema": 1, "error": he.code, "message": he.message})
}

// readable lets web pages of any origin read an answer.
func readable(w http.ResponseWriter) { w.Header().Set("Access-Control-Allow-Origin", "*") }

// preflight lets web pages post lookups, which change nothing.
func (s *Server) preflight(w http.ResponseWriter, _ *http.Request) error {
	readable(w)
	w.Header().Set("Access-Control-Allow-Methods", "POST")
	w.Header().Set("Access-Control-Allow-Headers", "Content-Type")
	w.Header().Set("Access-Control-Max-Age", "86400")
	w.WriteHeader(http.StatusNoContent)
	return nil
}

func (s *Server) getHealth(w http.ResponseWriter, _ *http.Request) error {
	_, err := w.Write([]byte("ok\n"))
	return err
}

// getReady says whether statements are taken and checkpoints published, and which
// witness is missing.
func (s *Server) getReady(w http.ResponseWriter, _ *http.Request) error {
	err := s.seq.reason()
	var frozen *frozenError
	if errors.As(err, &frozen) {
		err = nil // it is what it is to be once its last checkpoint is public
	}
	if err == nil {
		err = s.publisher.health()
	}
	if err == nil {
		err = s.waitingFor()
	}
	switch cp := s.publisher.latest(); {
	case err == nil && cp.head.Size == 0:
		err = errors.New("no checkpoint is public yet")
	case err == nil && frozen != nil && (!frozen.done || cp.head.Size <= frozen.index):
		err = errors.New("the log is frozen, and its last checkpoint is not public yet")
	case err == nil && !cp.cosigned:
		err = errors.New("the public checkpoint is from before there were witnesses, and a newer one has not been cosigned yet")
	}
	if err != nil {
		return &httpError{http.StatusServiceUnavailable, "not-ready", s.notReady(err), 5}
	}
	text := "ok\n"
	if frozen != nil {
		text += frozen.Error() + "\n"
	}
	if err := s.mapper.health(); err != nil {
		text += "index: " + err.Error() + "\n"
	}
	if failing := s.failing(); len(failing) > 0 {
		text += "witnesses missing: " + describe(failing) + "\n"
	}
	_, err = w.Write([]byte(text))
	return err
}
