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
	last, next := make([]byte, 0, size), make([]byte, size)
	for {
		n, err := fill(file, next)
		if err != nil && err != io.EOF {
			return begun, err
		}
		if n > 0 {
			if err := c.write(next[:n]); err != nil {
				return begun, &contentError{err}
			}
			if len(last) > 0 {
				begun = true
				if _, err := w.Write(last); err != nil {
					return begun, err
				}
			}
			last, next = next[:n], last[:size]
		}
		if err != nil { // the end
			if err := c.end(); err != nil {
				return begun, &contentError{err}
			}
			_, err := w.Write(last)
			return true, err
		}
	}
}

const chunk = 64 << 10

// fill reads until b is full. Only a reader that came to its end gives io.EOF.
func fill(r io.Reader, b []byte) (n int, err error) {
	for n < len(b) && err == nil {
		var got int
		got, err = r.Read(b[n:])
		n += got
	}
	return n, err
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
	pipe *io.PipeWriter
	done chan error
}

func newChecker(info *nix.NarInfo) *checker {
	r, w := io.Pipe()
	c := &checker{info: info, pipe: w, done: make(chan error, 1)}
	if h, err := nix.ParseHash(info.FileHash); err == nil {
		c.file, c.want = sha256.New(), h
	}
	go func() {
		n, err := bincache.Unpack(io.NopCloser(r), info)
		if err == nil {
			_, err = io.Copy(io.Discard, n)
			n.Close()
		}
		if err == nil {
			_, err = io.Copy(io.Discard, r) // what follows the end of a stream
		}
		r.CloseWithError(err)
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
	c.pipe.Close()
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

// abandon ends the goroutine of a check that was not finished.
func (c *checker) abandon() { c.pipe.CloseWithError(errors.New("abandoned")) }
