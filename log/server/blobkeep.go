package server

import (
	"context"
	"errors"
	"net/http"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/firn-log/firn/internal/nix"
	"github.com/firn-log/firn/log/server/blobs"
	"github.com/firn-log/firn/log/statement"
)

// How often the folder of blobs is looked after, and how long what nobody works on may
// wait for its statement.
const (
	settleEvery = time.Minute
	pruneEvery  = time.Hour
	waitAtMost  = 10 * time.Minute
)

// blobKeeper is the folder of blobs and who works on it.
type blobKeeper struct {
	dir     *blobs.Dir    // nil until the log is open
	uploads chan struct{} // a token for each request that sends blobs
	listing chan struct{} // a token for each list in memory
	full    chan struct{} // holds a token if there are more than may be kept

	cancel context.CancelFunc
	done   sync.WaitGroup
}

func newBlobKeeper() blobKeeper {
	return blobKeeper{
		uploads: make(chan struct{}, uploadsAtOnce),
		listing: make(chan struct{}, 2), // each takes up to four times the 16 MiB of a list
		full:    make(chan struct{}, 1),
	}
}

// openBlobs opens the folder, decides about what an earlier run has left, and begins to
// look after it. The index has read all of the tree.
func (s *Server) openBlobs(ctx context.Context) (err error) {
	if s.blobs.dir, err = blobs.Open(s.path(blobsName)); err != nil {
		return err
	}
	kept, dropped, err := s.blobs.dir.Settle(time.Now().Add(time.Hour), nil, s.fate)
	if err != nil {
		return err
	}
	if kept+dropped > 0 {
		s.log.Info("settled blobs of an interrupted run", "statement in the log", kept, "removed", dropped)
	}
	ctx, s.blobs.cancel = context.WithCancel(context.WithoutCancel(ctx))
	s.blobs.done.Go(func() { s.lookAfterBlobs(ctx) })
	return nil
}

// stop ends looking after the folder.
func (k *blobKeeper) stop() {
	if k.cancel != nil {
		k.cancel()
		k.done.Wait()
	}
}

func (s *Server) lookAfterBlobs(ctx context.Context) {
	settle, prune := time.NewTicker(settleEvery), time.NewTicker(pruneEvery)
	defer settle.Stop()
	defer prune.Stop()
	s.pruneBlobs()
	for {
		select {
		case <-ctx.Done():
			return
		case <-settle.C:
			if _, _, err := s.blobs.dir.Settle(time.Now().Add(-waitAtMost), nil, s.fate); err != nil {
				s.log.Error("deciding about blobs", "error", err)
			}
		case <-prune.C:
			s.pruneBlobs()
		case <-s.blobs.full:
			s.pruneBlobs()
		}
	}
}

// pruneBlobs removes what is too old or too much.
func (s *Server) pruneBlobs() {
	c := &s.config.Blobs
	most := c.MaxBytes
	if s.blobs.dir.Usage().RestBytes > most {
		most -= most / 16 // so that this is not needed for each
	}
	n, err := s.blobs.dir.Prune(c.oldest(s.now()), most)
	if err != nil {
		s.log.Error("removing old blobs", "error", err)
	}
	if n > 0 {
		s.log.Info("removed old blobs", "blobs", n)
	}
}

// fate says whether a statement is in the log.
func (s *Server) fate(id statement.ID) (blobs.Fate, error) {
	s.seq.mu.Lock()
	_, inflight := s.seq.inflight[id]
	s.seq.mu.Unlock()
	if inflight {
		return blobs.Undecided, nil
	}
	_, ok, err := s.db.IndexOf(context.Background(), id)
	if err != nil || !ok {
		return blobs.NotLogged, err
	}
	return blobs.Logged, nil
}

// keepBlobs gives blobs their places. The statement is in the log, so a failure is not
// the sender's: it is tried again.
func (s *Server) keepBlobs(put *blobs.Put) {
	if err := put.Keep(); err != nil {
		s.log.Error("placing blobs of a statement in the log; it is tried again", "error", err)
	}
	if s.blobs.dir.Usage().RestBytes > s.config.Blobs.MaxBytes {
		select {
		case s.blobs.full <- struct{}{}:
		default:
		}
	}
}

// getBlob answers GET /v1/blob/<sha256>. Blobs come from anybody, so they are served as
// bytes that no browser shows or runs.
func (s *Server) getBlob(w http.ResponseWriter, r *http.Request) error {
	hash, err := nix.ParseHex(r.PathValue("hash"))
	if err != nil {
		return &httpError{http.StatusNotFound, "no-such-blob", "the name of a blob is its SHA-256 in 64 lower-case hexadecimal digits", 0}
	}
	f, list, err := s.blobs.dir.Open(hash)
	switch {
	case errors.Is(err, blobs.ErrDeleted):
		return &httpError{http.StatusGone, "deleted", "the operator of this log has deleted this blob", 0}
	case errors.Is(err, blobs.ErrNotFound):
		return &httpError{http.StatusNotFound, "no-such-blob", "this log does not hold this blob, or not any more", 0}
	case err != nil:
		return err
	}
	defer f.Close()
	readable(w)
	inert(w.Header(), hash, list)
	http.ServeContent(w, r, "", time.Time{}, f)
	return nil
}

// inert sets the headers of a blob.
func inert(h http.Header, hash nix.Hash, list bool) {
	h.Set("Content-Type", "application/octet-stream")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Content-Security-Policy", "default-src 'none'; sandbox")
	h.Set("Content-Disposition", `attachment; filename="`+hash.Hex()+`"`)
	h.Set("ETag", `"`+hash.Hex()+`"`)
	h.Set("Cache-Control", "public, max-age=3600, immutable") // it may be deleted
	if list {
		h.Set("Cache-Control", "public, max-age=31536000, immutable")
	}
}

// ListBlobs returns the blobs of the log in dir, the oldest first. The log may be running.
func ListBlobs(dir string) ([]blobs.Info, error) {
	if _, err := LoadConfig(dir); err != nil {
		return nil, err
	}
	return blobs.List((&Server{dir: dir}).path(blobsName))
}

// DeleteBlob deletes a blob of the log in dir for good. The log may be running. Errors are
// those of [blobs.Delete].
func DeleteBlob(dir string, hash nix.Hash) error {
	if _, err := LoadConfig(dir); err != nil {
		return err
	}
	return blobs.Delete((&Server{dir: dir}).path(blobsName), hash)
}

// blobMetrics collects how many blobs there are.
type blobMetrics struct{ s *Server }

var (
	blobsDesc     = prometheus.NewDesc("firn_log_blobs", "Blobs held, lists of paths and others.", []string{"class"}, nil)
	blobBytesDesc = prometheus.NewDesc("firn_log_blob_bytes", "Bytes of the blobs held.", []string{"class"}, nil)
)

func (m blobMetrics) Describe(ch chan<- *prometheus.Desc) {
	ch <- blobsDesc
	ch <- blobBytesDesc
}

func (m blobMetrics) Collect(ch chan<- prometheus.Metric) {
	if m.s.blobs.dir == nil {
		return
	}
	u := m.s.blobs.dir.Usage()
	for _, x := range []struct {
		class    string
		n, bytes uint64
	}{{"list", u.Lists, u.ListBytes}, {"other", u.Rest, u.RestBytes}} {
		ch <- prometheus.MustNewConstMetric(blobsDesc, prometheus.GaugeValue, float64(x.n), x.class)
		ch <- prometheus.MustNewConstMetric(blobBytesDesc, prometheus.GaugeValue, float64(x.bytes), x.class)
	}
}
