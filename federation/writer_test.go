package federation_test

import (
	"compress/gzip"
	"io"
	"sync"
)

// safeWriter lets goroutines log into one buffer.
type safeWriter struct {
	mu sync.Mutex
	w  io.Writer
}

func (s *safeWriter) Write(b []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.w.Write(b)
}

// writeGzip writes n zeros, compressed.
func writeGzip(w io.Writer, n int64) {
	z := gzip.NewWriter(w)
	io.Copy(z, io.LimitReader(zeros{}, n))
	z.Close()
}
