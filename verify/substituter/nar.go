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

// passOn unpacks the file of a NAR and sends what comes out, so that Nix has nothing to unpack. What
// is held back until all of it was found right is the end: so what is wrong never arrives whole. It
// reports whether an answer was begun.
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
	nar, err := unpack(file, d.info)
	if err != nil {
		return false, err
	}
	defer nar.Close()
	narHeader(w, d.info)
	return copyChecked(w, nar, d.info.NarSize)
}

// narHeader says what is sent: its size is known before it is unpacked.
func narHeader(w http.ResponseWriter, info *nix.NarInfo) {
	w.Header().Set("Content-Type", "application/x-nix-nar")
	w.Header().Set("Content-Length", strconv.FormatUint(info.NarSize, 10))
}

// heldBack is how much of the end of a NAR, in bytes, whoever asked gets only if all of it was right.
// What is wrong and no longer is refused with a sentence.
const heldBack = 64 << 10

// copyChecked copies size bytes of a NAR, which ends with io.EOF only if it was right: all but its end
// before that is known. It fails otherwise, with the end not written, and reports whether anything was.
func copyChecked(w io.Writer, nar io.Reader, size uint64) (begun bool, err error) {
	b := make([]byte, min(size, heldBack))
	for early := size - uint64(len(b)); early > 0; {
		n, err := io.ReadFull(nar, b[:min(early, heldBack)])
		if err != nil {
			return begun, whole(err)
		}
		begun = true
		if _, err := w.Write(b[:n]); err != nil {
			return begun, err
		}
		early -= uint64(n)
	}
	if _, err := io.ReadFull(nar, b); err != nil {
		return begun, whole(err)
	}
	var more [1]byte
	if n, err := io.ReadFull(nar, more[:]); n > 0 || err != io.EOF {
		return begun, whole(err)
	}
	_, err = w.Write(b)
	return true, err
}

// whole is the error of a NAR that did not have the size that it was found right with, which no reader
// lets happen.
func whole(err error) error {
	if err == nil || err == io.EOF || err == io.ErrUnexpectedEOF {
		return &contentError{fmt.Errorf("%w: its size is another", bincache.ErrNar)}
	}
	return err
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

// unpacked is the NAR of a file. It ends with io.EOF only if NAR and file are those that the narinfo
// names; if they are not, and not because the file could not be had, the error is a contentError.
type unpacked struct {
	nar  io.ReadCloser
	file *original
}

// unpack returns what is in a file. Closing it closes the file, and so does an error.
func unpack(file io.ReadCloser, info *nix.NarInfo) (*unpacked, error) {
	u := &unpacked{file: newOriginal(file, info)}
	var err error
	if u.nar, err = bincache.Unpack(u.file, info); err != nil {
		return nil, u.blames(err)
	}
	return u, nil
}

func (u *unpacked) Read(b []byte) (int, error) {
	n, err := u.nar.Read(b)
	if err == io.EOF {
		err = u.file.end()
	}
	return n, u.blames(err)
}

func (u *unpacked) Close() error { return u.nar.Close() }

// blames says whose fault an error is: that of the file, unless reading it failed.
func (u *unpacked) blames(err error) error {
	switch {
	case err == nil || err == io.EOF:
		return err
	case u.file.err != nil && u.file.err != io.EOF:
		return fmt.Errorf("reading the file: %w", u.file.err)
	}
	return &contentError{err}
}

// original is the file of an upstream, which is hashed while it is read.
type original struct {
	io.ReadCloser
	info *nix.NarInfo
	hash hash.Hash // nil if the narinfo names no SHA-256 of the file
	want nix.Hash
	size uint64
	err  error // of reading: the first stays, for a decoder may pass over one that comes with bytes
}

func newOriginal(file io.ReadCloser, info *nix.NarInfo) *original {
	o := &original{ReadCloser: file, info: info}
	if h, err := nix.ParseHash(info.FileHash); err == nil {
		o.hash, o.want = sha256.New(), h
	}
	return o
}

func (o *original) Read(b []byte) (int, error) {
	if o.err != nil {
		return 0, o.err
	}
	n, err := o.ReadCloser.Read(b)
	o.size += uint64(n)
	if o.hash != nil {
		o.hash.Write(b[:n])
	}
	o.err = err
	return n, err
}

// end reads what follows what was unpacked, and returns io.EOF if the file was right.
func (o *original) end() error {
	switch _, err := io.Copy(io.Discard, o); {
	case err != nil:
		return err
	case o.hash != nil && nix.Hash(o.hash.Sum(nil)) != o.want:
		return fmt.Errorf("%w: its hash is another", errChanged)
	case o.info.FileSize > 0 && o.size != o.info.FileSize:
		return fmt.Errorf("%w: it has %d of %d bytes", errChanged, o.size, o.info.FileSize)
	}
	return io.EOF
}
