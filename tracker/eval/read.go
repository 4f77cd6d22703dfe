package eval

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"hash"
	"io"
	"iter"
)

// A Reader reads one evaluation file (spec/tracker.md#evaluation-files). It is
// strict: a file has exactly one form, and everything is bounded. It is for one
// goroutine.
type Reader struct {
	header Header
	in     *bufio.Reader
	sum    hash.Hash
	line   int
	bytes  int64
	count  int
	last   string
	end    func() error // checks what follows the text
	err    error        // that ended it; io.EOF at the end
}

// NewReader reads the header of the gzip file r. Errors name the line.
func NewReader(r io.Reader) (*Reader, error) {
	packed := bufio.NewReader(r)
	z, err := gzip.NewReader(packed)
	if err != nil {
		return nil, fmt.Errorf("it is no gzip file: %w", err)
	}
	z.Multistream(false)
	return newReader(z, func() error {
		if _, err := packed.ReadByte(); err != io.EOF {
			return errors.New("something follows the gzip data")
		}
		return nil
	})
}

// newReader reads the uncompressed file r.
func newReader(r io.Reader, end func() error) (*Reader, error) {
	e := &Reader{in: bufio.NewReaderSize(r, 64<<10), sum: sha256.New(), end: end}
	line, err := e.next()
	if err == io.EOF {
		err = errors.New("the file is empty")
	}
	if err == nil {
		err = strictly(line, &e.header)
	}
	if err == nil {
		err = e.header.Check()
	}
	if err != nil {
		return nil, fmt.Errorf("line 1: %w", err)
	}
	return e, nil
}

// next returns the next line without its end, valid until the next call.
func (e *Reader) next() ([]byte, error) {
	e.line++
	line, err := e.in.ReadSlice('\n')
	if errors.Is(err, bufio.ErrBufferFull) {
		long := bytes.Clone(line)
		for errors.Is(err, bufio.ErrBufferFull) && len(long) <= MaxLine {
			line, err = e.in.ReadSlice('\n')
			long = append(long, line...)
		}
		line = long
	}
	e.bytes += int64(len(line))
	switch {
	case err == io.EOF && len(line) == 0:
		return nil, io.EOF
	case err == io.EOF:
		return nil, errors.New("the last line is cut off")
	case len(line) > MaxLine+1 || errors.Is(err, bufio.ErrBufferFull):
		return nil, fmt.Errorf("longer than %d bytes", MaxLine)
	case err != nil:
		return nil, err
	case e.bytes > MaxFile:
		return nil, fmt.Errorf("the file is larger than %d bytes", MaxFile)
	}
	e.sum.Write(line)
	return line[:len(line)-1], nil
}

// strictly decodes line, which must be what encoding v gives.
func strictly(line []byte, v any) error {
	if err := json.Unmarshal(line, v); err != nil {
		return fmt.Errorf("not JSON of the form that is wanted: %w", err)
	}
	again, err := encode(v)
	if err != nil {
		return err
	}
	if !bytes.Equal(again, line) {
		at := 0
		for at < len(again) && at < len(line) && again[at] == line[at] {
			at++
		}
		return fmt.Errorf("not in the one form that files have, from byte %d on (an unknown or empty member, another order, space)", at+1)
	}
	return nil
}

// encode returns v as one line without its end.
func encode(v any) ([]byte, error) {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		return nil, err
	}
	return b.Bytes()[:b.Len()-1], nil
}

// Header returns the first line.
func (e *Reader) Header() Header { return e.header }

// Attributes yields the further lines, once; an error is the last that it yields.
// After the last line [Reader.Digest] is known.
func (e *Reader) Attributes() iter.Seq2[Attribute, error] {
	return func(yield func(Attribute, error) bool) {
		for e.err == nil {
			a, err := e.attribute()
			if e.err = err; err == io.EOF {
				return
			}
			if err != nil {
				e.err = fmt.Errorf("line %d: %w", e.line, err)
			}
			if !yield(a, e.err) {
				return
			}
		}
	}
}

func (e *Reader) attribute() (a Attribute, err error) {
	line, err := e.next()
	if err == io.EOF {
		if err := e.end(); err != nil {
			return a, err
		}
		return a, io.EOF
	}
	if err != nil {
		return a, err
	}
	if e.count++; e.count > MaxAttributes {
		return a, fmt.Errorf("more than %d attributes", MaxAttributes)
	}
	if err := strictly(line, &a); err != nil {
		return Attribute{}, err
	}
	if err := a.Check(&e.header); err != nil {
		return Attribute{}, err
	}
	if a.Attr <= e.last {
		return Attribute{}, fmt.Errorf("%s is not sorted behind %s", a.Attr, e.last)
	}
	e.last = a.Attr
	return a, nil
}

// Digest reads what is left and returns the SHA-256 of the uncompressed file in
// hexadecimal, which names it in the Base of the next.
func (e *Reader) Digest() (string, error) {
	for _, err := range e.Attributes() {
		if err != nil {
			return "", err
		}
	}
	if e.err != io.EOF {
		return "", e.err
	}
	return hex.EncodeToString(e.sum.Sum(nil)), nil
}
