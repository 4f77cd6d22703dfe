package substituter

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"hash"
	"io"
	"net/http"
	"strconv"

	"github.com/firn-log/firn/internal/bincache"
	"github.com/firn-log/firn/internal/nix"
)

// errChanged says that an upstream sends another file than its narinfo named.
var errChanged = errors.New("the file is not the one that its narinfo names")

// passOn sends the file of a NAR unchanged, and unpacks and hashes it on the way. What is held
// back until all of it was found right is the end: so what is wrong never arrives whole. It reports
// whether an answer was begun.
func (s *Substituter) passOn(w http.ResponseWriter, r *http.Request, d *decision) (begun bool, err error) {
	u := s.rules.Load().upstream(d.upstream)
	if u == nil {
		return false, errors.New("the upstream is not in the policy any more")
	}
	c, err := u.ask(r.Context())
	if err != nil {
		return false, err
	}
	select {
	case s.nars <- struct{}{}:
		defer func() { <-s.nars }()
	case <-r.Context().Done():
		return false, r.Context().Err()
	}
	file, err := c.OpenFile(r.Context(), d.info)
	if err != nil {
		return false, err
	}
	defer file.Close()
	w.Header().Set("Content-Type", "application/x-nix-nar")
	if d.info.FileSize > 0 {
		w.Header().Set("Content-Length", strconv.FormatUint(d.info.FileSize, 10))
	}
	return copyChecked(w, file, d.info)
}

// copyChecked copies a file whose NAR, size and hash are those in info: all but its end before
// that is known. It fails otherwise, with the end not written, and reports whether anything was.
func copyChecked(w io.Writer, file io.Reader, info *nix.NarInfo) (begun bool, err error) {
	c := newChecker(info)
	defer c.abandon()
	size := chunk
	if info.FileSize > 0 && info.FileSize < chunk {
		size = int(info.FileSize) + 1
	}
	b, last := make([]byte, size), make([]byte, 0, heldBack)
	for {
		n, err := file.Read(b)
		if n > 0 {
			// It is unpacked here while whoever asked unpacks it too.
			if err := c.write(b[:n]); err != nil {
				return begun, &contentError{err}
			}
			sent, err := sendBut(w, &last, b[:n])
			begun = begun || sent
			if err != nil {
				return begun, err
			}
		}
		switch {
		case err == io.EOF:
			if err := c.end(); err != nil {
				return begun, &contentError{err}
			}
			_, err := w.Write(last)
			return true, err
		case err != nil:
			return begun, err
		}
	}
}

const (
	chunk = 64 << 10 // of a file, that is read at once
	// heldBack is the end of a file that whoever asked gets only if all of it was right. The more it is,
	// the longer they wait for us with nothing to unpack.
	heldBack = 8 << 10
)

// sendBut writes last and b but for their end, which is then last, and reports whether it wrote
// anything.
func sendBut(w io.Writer, last *[]byte, b []byte) (bool, error) {
	n := len(*last) + len(b) - heldBack // what goes
	if n <= 0 {
		*last = append(*last, b...)
		return false, nil
	}
	if old := min(n, len(*last)); old > 0 {
		if _, err := w.Write((*last)[:old]); err != nil {
			return true, err
		}
		*last, n = append((*last)[:0], (*last)[old:]...), n-old
	}
	if n > 0 {
		if _, err := w.Write(b[:n]); err != nil {
			return true, err
		}
	}
	*last = append(*last, b[n:]...)
	return true, nil
}

// contentError says that the content of a file is wrong, not that it could not be had.
type contentError struct{ err error }

func (e *contentError) Error() string { return e.err.Error() }
func (e *contentError) Unwrap() error { return e.err }

// isWrong reports whether an error blames the upstream for what it has.
func isWrong(err error) bool {
	var content *contentError
	return errors.As(err, &content) || errors.Is(err, bincache.ErrNar) || errors.Is(err, bincache.ErrMissing)
}

// checker unpacks what it is given, in a goroutine of its own, and hashes both forms.
type checker struct {
	info *nix.NarInfo
	file hash.Hash // nil if the narinfo names no SHA-256 of the file
	want nix.Hash
	size uint64
	pipe *pipe
	done chan error
}

func newChecker(info *nix.NarInfo) *checker {
	p := newPipe()
	c := &checker{info: info, pipe: p, done: make(chan error, 1)}
	if h, err := nix.ParseHash(info.FileHash); err == nil {
		c.file, c.want = sha256.New(), h
	}
	go func() {
		n, err := bincache.Unpack(io.NopCloser(p), info)
		if err == nil {
			_, err = io.Copy(io.Discard, n)
			n.Close()
		}
		if err == nil {
			_, err = io.Copy(io.Discard, p) // what follows the end of a stream
		}
		p.stop(err)
		c.done <- err
	}()
	return c
}

func (c *checker) write(b []byte) error {
	c.size += uint64(len(b))
	if c.file != nil {
		c.file.Write(b)
	}
	_, err := c.pipe.Write(b)
	return err
}

// end says whether the file was right.
func (c *checker) end() error {
	c.pipe.end(io.EOF)
	if err := <-c.done; err != nil {
		return err
	}
	if c.file != nil && nix.Hash(c.file.Sum(nil)) != c.want {
		return fmt.Errorf("%w: its hash is another", errChanged)
	}
	if c.info.FileSize > 0 && c.size != c.info.FileSize {
		return fmt.Errorf("%w: it has %d of %d bytes", errChanged, c.size, c.info.FileSize)
	}
	return nil
}

var errAbandoned = errors.New("abandoned")

// abandon ends the goroutine of a check that was not finished.
func (c *checker) abandon() { c.pipe.end(errAbandoned) }
