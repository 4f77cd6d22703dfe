package server

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net/http"

	"github.com/firn-log/firn/log/statement"
)

// Bounds of one request with blobs (spec/log.md#blobs).
const (
	blobsType   = "application/vnd.firn.blobs"
	maxBlobs    = 8
	maxPutBytes = 2 + statement.MaxLargeLeaf + maxBlobs*(4+statement.MaxBlob)
)

// frames reads the body of POST /v1/blobs, of which nothing is held in memory but the
// leaf: uint16 length ‖ leaf ‖ (uint32 length ‖ blob)*, both big-endian. Errors are
// httpErrors.
type frames struct {
	r     *bufio.Reader
	left  int64 // bytes of the body that are not read yet, as it was declared
	blobs int
}

func newFrames(r io.Reader, declared int64) *frames {
	return &frames{r: bufio.NewReaderSize(r, 64<<10), left: declared}
}

func badFraming(format string, args ...any) error {
	return &httpError{http.StatusBadRequest, "bad-framing", "the body is not a leaf after its length in two bytes and blobs after their lengths in four: " + fmt.Sprintf(format, args...), 0}
}

var errCutOff = &httpError{http.StatusBadRequest, "cut-off", "the body ended early", 0}

// take reads n bytes that are to be there.
func (f *frames) take(what string, n int64) ([]byte, error) {
	if n > f.left {
		return nil, badFraming("%s has %d bytes where %d are left", what, n, f.left)
	}
	b := make([]byte, n)
	if _, err := io.ReadFull(f, b); err != nil {
		return nil, errCutOff
	}
	return b, nil
}

// Read reads from the blob that next has announced.
func (f *frames) Read(b []byte) (int, error) {
	n, err := f.r.Read(b)
	f.left -= int64(n)
	if errors.Is(err, io.EOF) {
		err = io.ErrUnexpectedEOF // nobody asks for more than was declared
	}
	return n, err
}

// leaf reads the leaf.
func (f *frames) leaf() ([]byte, error) {
	head, err := f.take("the length of the leaf", 2)
	if err != nil {
		return nil, err
	}
	n := binary.BigEndian.Uint16(head)
	if n == 0 {
		return nil, &httpError{http.StatusBadRequest, "no-leaves", "the body holds no leaf", 0}
	}
	return f.take("the leaf", int64(n))
}

// next returns the length of the blob that follows, of which the caller reads all; io.EOF if
// the body is at its end.
func (f *frames) next() (int64, error) {
	if f.left == 0 {
		return 0, io.EOF
	}
	if f.blobs++; f.blobs > maxBlobs {
		return 0, &httpError{http.StatusRequestEntityTooLarge, "too-many-blobs", fmt.Sprintf("at most %d blobs come with a statement", maxBlobs), 0}
	}
	head, err := f.take("the length of a blob", 4)
	if err != nil {
		return 0, err
	}
	n := int64(binary.BigEndian.Uint32(head))
	switch {
	case n > statement.MaxBlob:
		return 0, &httpError{http.StatusRequestEntityTooLarge, "blob-too-large", fmt.Sprintf("a blob of %d bytes; at most %d are taken", n, statement.MaxBlob), 0}
	case n == 0:
		return 0, badFraming("a blob is empty")
	case n > f.left:
		return 0, badFraming("a blob has %d bytes where %d are left", n, f.left)
	}
	return n, nil
}
