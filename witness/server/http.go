package server

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/netip"
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/firn-log/firn/log/evidence"
	"github.com/firn-log/firn/witness"
)

// Handler returns the HTTP interface (spec/witness.md#http).
func (s *Server) Handler() http.Handler {
	mux := http.NewServeMux()
	c := s.o.Config
	mux.HandleFunc("POST "+c.SubmissionPrefix+"/add-checkpoint", s.addCheckpoint)
	mux.HandleFunc("GET "+c.MonitoringPrefix+"/{hash}/checkpoint", s.monitoring)
	mux.HandleFunc("POST /evidence", s.postEvidence)
	mux.HandleFunc("GET /{$}", s.statusPage)
	mux.HandleFunc("GET /v1/witness", s.statusJSON)
	mux.HandleFunc("GET /logs.v0", s.logList)
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "ok\n") })
	mux.HandleFunc("GET /readyz", s.ready)
	mux.Handle("GET /metrics", promhttp.HandlerFor(s.metrics.registry, promhttp.HandlerOpts{}))
	if s.o.Extra.Wrap != nil {
		return s.o.Extra.Wrap(mux)
	}
	return mux
}

// refuse answers with a status and one sentence.
func refuse(w http.ResponseWriter, status int, sentence string, retryAfter time.Duration) {
	h := w.Header()
	h.Set("Content-Type", "text/plain; charset=utf-8")
	h.Set("Cache-Control", "no-store")
	if retryAfter > 0 {
		h.Set("Retry-After", strconv.Itoa(int((retryAfter+time.Second-1)/time.Second)))
	}
	w.WriteHeader(status)
	_, _ = io.WriteString(w, sentence+"\n")
}

// readBody reads a body of at most limit bytes within the memory for bodies. If
// it cannot, it has answered and returns false.
func (s *Server) readBody(w http.ResponseWriter, r *http.Request, limit int64) (body []byte, release func(), ok bool) {
	n := r.ContentLength
	if n < 0 {
		n = limit
	}
	if n > limit {
		w.Header().Set("Connection", "close")
		refuse(w, http.StatusRequestEntityTooLarge, "a request has at most "+strconv.FormatInt(limit, 10)+" bytes", 0)
		return nil, nil, false
	}
	if !s.bodies.TryAcquire(n) {
		refuse(w, http.StatusServiceUnavailable, "too many requests at once; send it again in a moment", time.Second)
		return nil, nil, false
	}
	release = func() { s.bodies.Release(n) }
	var err error
	if r.ContentLength >= 0 {
		body = make([]byte, n)
		_, err = io.ReadFull(r.Body, body)
	} else {
		body, err = io.ReadAll(http.MaxBytesReader(w, r.Body, limit))
	}
	if err != nil {
		release()
		var long *http.MaxBytesError
		if errors.As(err, &long) {
			refuse(w, http.StatusRequestEntityTooLarge, "a request has at most "+strconv.FormatInt(limit, 10)+" bytes", 0)
		} else {
			refuse(w, http.StatusBadRequest, "the body of the request was cut off", 0)
		}
		return nil, nil, false
	}
	return body, release, true
}

// addCheckpoint is POST add-checkpoint (W1 to W9).
func (s *Server) addCheckpoint(w http.ResponseWriter, r *http.Request) {
	began := time.Now()
	body, release, ok := s.readBody(w, r, witness.MaxBody)
	if !ok {
		s.metrics.refused("body")
		return
	}
	defer release()
	status, response, err := s.witness.AddCheckpoint(r.Context(), body)
	s.metrics.duration.Observe(time.Since(began).Seconds())
	if err == nil {
		s.metrics.cosigned.Inc()
		s.metrics.last.Store(s.o.Now().Unix())
		h := w.Header()
		h.Set("Content-Type", "text/plain; charset=utf-8")
		h.Set("Cache-Control", "no-store")
		_, _ = w.Write(response)
		return
	}
	var refusal *witness.Refusal
	errors.As(err, &refusal)
	s.metrics.refused(refusal.Rule)
	level := slog.LevelDebug
	if status >= 500 || refusal.Rule == "W6" || refusal.Rule == "W5" {
		level = slog.LevelWarn
	}
	s.log.Log(context.WithoutCancel(r.Context()), level, "refused a checkpoint",
		"status", status, "rule", refusal.Rule, "origin", refusal.Origin, "from", r.RemoteAddr, "reason", err)
	if status == http.StatusConflict {
		w.Header().Set("Content-Type", "text/x.tlog.size")
		w.Header().Set("Cache-Control", "no-store")
		w.WriteHeader(status)
		_, _ = w.Write(response)
		return
	}
	refuse(w, status, string(response[:len(response)-1]), refusal.RetryAfter)
}

// monitoring is GET <origin hash>/checkpoint (W10).
func (s *Server) monitoring(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Access-Control-Allow-Origin", "*")
	note := s.witness.Monitoring(r.PathValue("hash"))
	if note == nil {
		refuse(w, http.StatusNotFound, "this witness has cosigned no checkpoint of such a log", 0)
		return
	}
	h := w.Header()
	h.Set("Content-Type", "text/plain; charset=utf-8")
	h.Set("Cache-Control", "public, max-age=1")
	h.Set("Content-Length", strconv.Itoa(len(note)))
	_, _ = w.Write(note)
}

// postEvidence is POST /evidence, for this machine only.
func (s *Server) postEvidence(w http.ResponseWriter, r *http.Request) {
	if !fromThisMachine(r) {
		refuse(w, http.StatusForbidden, "evidence is taken from this machine only; send it to a peer", 0)
		return
	}
	body, release, ok := s.readBody(w, r, evidence.MaxSize)
	if !ok {
		return
	}
	defer release()
	origin, err := s.witness.Evidence(r.Context(), body)
	switch {
	case errors.Is(err, witness.ErrNotEvidence):
		refuse(w, http.StatusUnprocessableEntity, err.Error(), 0)
	case errors.Is(err, witness.ErrNotOurs):
		refuse(w, http.StatusNotFound, err.Error(), 0)
	case err != nil:
		s.log.Error("keeping evidence failed", "error", err)
		refuse(w, http.StatusServiceUnavailable, "the evidence could not be kept", 10*time.Second)
	default:
		refuse(w, http.StatusOK, "refused from now on: "+origin, 0)
	}
}

// fromThisMachine reports whether a request comes from a program on this
// machine and was not forwarded by one.
func fromThisMachine(r *http.Request) bool {
	addr, err := netip.ParseAddrPort(r.RemoteAddr)
	if err != nil || !addr.Addr().Unmap().IsLoopback() {
		return false
	}
	for _, h := range []string{"Forwarded", "X-Forwarded-For", "X-Real-Ip", "Via"} {
		if r.Header.Get(h) != "" {
			return false
		}
	}
	return true
}

// ready says whether checkpoints are cosigned.
func (s *Server) ready(w http.ResponseWriter, _ *http.Request) {
	if err := s.witness.Doubt(); err != nil {
		refuse(w, http.StatusServiceUnavailable, err.Error(), retryPeers)
		return
	}
	if s.o.Extra.Ready != nil {
		if err := s.o.Extra.Ready(); err != nil {
			refuse(w, http.StatusServiceUnavailable, err.Error(), retryPeers)
			return
		}
	}
	_, _ = io.WriteString(w, "ok\n")
}

// logList is the logs of this witness in the form logs/v0.
func (s *Server) logList(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.Header().Set("Access-Control-Allow-Origin", "*")
	_, _ = w.Write(witness.FormatLogList(s.witness.Logs()))
}

// statusJSON is the status page for programs.
func (s *Server) statusJSON(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Access-Control-Allow-Origin", "*")
	_ = json.NewEncoder(w).Encode(s.status())
}
