// Package xz unpacks the .xz format with the filter that binary caches use, LZMA2 alone, about as
// fast as liblzma does, and with buffers that are used again. It is for data whose hash is known:
// what comes out of it is no more than what somebody packed.
package xz

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"hash"
	"hash/crc32"
	"hash/crc64"
	"io"
)

// Errors of a Reader, besides those of its input, io.ErrUnexpectedEOF among them.
var (
	ErrFormat      = errors.New("xz: not of this format, or damaged")
	ErrUnsupported = errors.New("xz: it has a filter or a check that is not supported")
	ErrMemory      = errors.New("xz: its dictionary is larger than is allowed")
)

const (
	streamHeader = 12
	maxHeader    = 1024 // of a block
	lzma2ID      = 0x21
)

var (
	headMagic = []byte{0xFD, '7', 'z', 'X', 'Z', 0}
	footMagic = []byte("YZ")
	crcTable  = crc64.MakeTable(crc64.ECMA)
)

// PeekLen is how many bytes Plain wants to see.
const PeekLen = streamHeader + maxHeader

// Plain reports whether a file that begins with b can be read by a Reader: its first block has no
// filter but LZMA2. What is damaged is plain, so that its error is that of a Reader.
func Plain(b []byte) bool {
	if len(b) < streamHeader+2 {
		return true
	}
	size := (int(b[streamHeader]) + 1) * 4
	if b[streamHeader] == 0 || len(b) < streamHeader+size {
		return true
	}
	_, err := parseBlock(b[streamHeader : streamHeader+size])
	return !errors.Is(err, ErrUnsupported)
}

// A Reader unpacks one file after another. It is not for several goroutines.
type Reader struct {
	d       lzma
	src     *bufio.Reader
	maxDict int

	read    int    // where in the window Read goes on
	inBlock bool   // what comes next is a chunk
	fresh   chunks // of the block
	check   byte   // kind of the checks of this stream
	sum     hash.Hash
	packed  uint64    // bytes of this block, without its header
	header  int       // bytes of that
	size    uint64    // of this block, unpacked
	blocks  uint64    // in this stream
	seen    hash.Hash // sizes of those
	block   block
	started bool
	err     error
}

// chunks is what the next chunk must bring.
type chunks struct{ needDict, needProps, needState bool }

// NewReader returns a reader of files with a dictionary of at most so many bytes. Reset must come
// first.
func NewReader(maxDict int) *Reader {
	return &Reader{maxDict: maxDict, seen: sha256.New()}
}

// Reset makes it read another file. Its memory stays; nil frees it of the old one.
func (r *Reader) Reset(file *bufio.Reader) {
	r.src = file
	r.d.pos, r.read, r.inBlock, r.started, r.err = 0, 0, false, false, nil
}

// Window is how much memory it holds.
func (r *Reader) Window() int { return len(r.d.window) }

// Read returns io.EOF after the last stream of the file, if all of its checks were right.
func (r *Reader) Read(p []byte) (int, error) {
	for r.read == r.d.pos {
		if r.err != nil {
			return 0, r.err
		}
		if r.err = r.next(); r.err == io.EOF && r.started {
			r.err = io.ErrUnexpectedEOF
		}
		if r.err == errEnd {
			r.err = io.EOF
		}
	}
	n := copy(p, r.d.window[r.read:r.d.pos])
	r.read += n
	return n, nil
}

// errEnd is the end of the file where it may be.
var errEnd = errors.New("end")

// next reads one part: a header, a chunk, or an index with what follows it.
func (r *Reader) next() error {
	switch {
	case !r.started:
		r.started = true
		return r.streamHeader()
	case r.inBlock:
		return r.chunk()
	}
	size, err := r.src.ReadByte()
	if err != nil {
		return err
	}
	if size == 0 {
		return r.index()
	}
	return r.blockHeader(size)
}

func (r *Reader) streamHeader() error {
	var b [streamHeader]byte
	if _, err := io.ReadFull(r.src, b[:]); err != nil {
		return err
	}
	if !bytes.Equal(b[:6], headMagic) || b[6] != 0 || b[7] > 15 || crc32.ChecksumIEEE(b[6:8]) != binary.LittleEndian.Uint32(b[8:]) {
		return ErrFormat
	}
	r.check, r.blocks = b[7], 0
	r.seen.Reset()
	switch r.check {
	case 0:
		r.sum = nil
	case 1:
		r.sum = crc32.NewIEEE()
	case 4:
		r.sum = crc64.New(crcTable)
	case 10:
		r.sum = sha256.New()
	default:
		return fmt.Errorf("%w: check %d", ErrUnsupported, r.check)
	}
	return nil
}

// block is what the header of a block says.
type block struct {
	packed, size       uint64
	hasPacked, hasSize bool
	dict               uint64
}

// parseBlock reads a whole header.
func parseBlock(b []byte) (h block, err error) {
	end := len(b) - 4
	if crc32.ChecksumIEEE(b[:end]) != binary.LittleEndian.Uint32(b[end:]) || b[1]&0x3C != 0 {
		return h, ErrFormat
	}
	flags, rest := b[1], b[2:end]
	if h.hasPacked = flags&0x40 != 0; h.hasPacked {
		if h.packed, rest, err = number(rest); err != nil {
			return h, err
		}
	}
	if h.hasSize = flags&0x80 != 0; h.hasSize {
		if h.size, rest, err = number(rest); err != nil {
			return h, err
		}
	}
	id, rest, err := number(rest)
	switch {
	case err != nil:
		return h, err
	case flags&3 != 0 || id != lzma2ID:
		return h, fmt.Errorf("%w: filter %#x", ErrUnsupported, id)
	case len(rest) < 2 || rest[0] != 1 || rest[1] > 40:
		return h, ErrFormat
	}
	if bits := rest[1]; bits == 40 {
		h.dict = 1<<32 - 1
	} else {
		h.dict = uint64(2+bits&1) << (bits/2 + 11)
	}
	for _, pad := range rest[2:] {
		if pad != 0 {
			return h, ErrFormat
		}
	}
	return h, nil
}

// number reads a variable-length integer, in its only form.
func number(b []byte) (uint64, []byte, error) {
	n, used := binary.Uvarint(b)
	if used <= 0 || used > 9 || used > 1 && b[used-1] == 0 {
		return 0, nil, ErrFormat
	}
	return n, b[used:], nil
}

func (r *Reader) blockHeader(size byte) (err error) {
	b := make([]byte, (int(size)+1)*4)
	b[0] = size
	if _, err := io.ReadFull(r.src, b[1:]); err != nil {
		return err
	}
	if r.block, err = parseBlock(b); err != nil {
		return err
	}
	if r.block.dict > uint64(r.maxDict) {
		return ErrMemory
	}
	r.d.dict = int(r.block.dict)
	r.inBlock, r.header, r.packed, r.size = true, len(b), 0, 0
	r.fresh = chunks{needDict: true, needProps: true, needState: true}
	if r.sum != nil {
		r.sum.Reset()
	}
	return nil
}

// chunk unpacks the next chunk of LZMA2, or ends the block.
func (r *Reader) chunk() error {
	control, err := r.src.ReadByte()
	if err != nil {
		return err
	}
	r.packed++
	switch {
	case control == 0:
		return r.blockEnd()
	case control >= 0xE0 || control == 1:
		r.fresh.needDict = false
		r.d.pos, r.read = 0, 0
		if control == 1 {
			r.fresh.needProps, r.fresh.needState = true, true
		}
	case r.fresh.needDict:
		return ErrFormat
	}
	if control < 0x80 {
		if control > 2 {
			return ErrFormat
		}
		return r.stored()
	}
	return r.lzmaChunk(control)
}

// stored is a chunk that is not packed.
func (r *Reader) stored() error {
	var b [2]byte
	if err := r.take(b[:]); err != nil {
		return err
	}
	n := int(binary.BigEndian.Uint16(b[:])) + 1
	r.room(n)
	at := r.d.pos
	if err := r.take(r.d.window[at : at+n]); err != nil {
		return err
	}
	r.d.pos += n
	return r.unpacked(at)
}

func (r *Reader) lzmaChunk(control byte) error {
	var b [5]byte
	if err := r.take(b[:4]); err != nil {
		return err
	}
	n := (int(control&0x1F)<<16 | int(b[0])<<8 | int(b[1])) + 1
	size := (int(b[2])<<8 | int(b[3])) + 1
	if control >= 0xC0 {
		if err := r.take(b[4:]); err != nil {
			return err
		}
		if !r.d.properties(b[4]) {
			return ErrFormat
		}
		r.fresh.needProps = false
	}
	if control >= 0xA0 && !r.fresh.needProps {
		r.fresh.needState = false
		r.d.reset()
	}
	if r.fresh.needProps || r.fresh.needState {
		return ErrFormat
	}
	if err := r.take(r.d.in[:size]); err != nil {
		return err
	}
	r.room(n)
	at := r.d.pos
	if !r.d.chunk(size, n) {
		r.d.pos = at
		return ErrFormat
	}
	return r.unpacked(at)
}

// take reads bytes of the block.
func (r *Reader) take(b []byte) error {
	n, err := io.ReadFull(r.src, b)
	r.packed += uint64(n)
	return err
}

// unpacked takes note of what was unpacked from at on.
func (r *Reader) unpacked(at int) error {
	b := r.d.window[at:r.d.pos]
	r.size += uint64(len(b))
	if r.sum != nil {
		r.sum.Write(b)
	}
	if r.block.hasSize && r.size > r.block.size || r.block.hasPacked && r.packed > r.block.packed {
		return ErrFormat
	}
	return nil
}

// blockEnd reads what follows the last chunk of a block: padding and its check.
func (r *Reader) blockEnd() error {
	r.inBlock = false
	unpadded := uint64(r.header) + r.packed
	if r.block.hasSize && r.size != r.block.size || r.block.hasPacked && r.packed != r.block.packed {
		return ErrFormat
	}
	if err := r.zeros(int(-r.packed & 3)); err != nil {
		return err
	}
	if r.sum != nil {
		want := make([]byte, r.sum.Size())
		if _, err := io.ReadFull(r.src, want); err != nil {
			return err
		}
		got := r.sum.Sum(nil)
		if r.check != 10 { // integers are little-endian
			for i, j := 0, len(got)-1; i < j; i, j = i+1, j-1 {
				got[i], got[j] = got[j], got[i]
			}
		}
		if !bytes.Equal(got, want) {
			return ErrFormat
		}
		unpadded += uint64(len(want))
	}
	r.blocks++
	r.note(unpadded, r.size)
	return nil
}

// note adds the sizes of a block to those seen.
func (r *Reader) note(unpadded, size uint64) {
	var b [16]byte
	binary.BigEndian.PutUint64(b[:], unpadded)
	binary.BigEndian.PutUint64(b[8:], size)
	r.seen.Write(b[:])
}

// zeros reads so many bytes of padding.
func (r *Reader) zeros(n int) error {
	for range n {
		switch b, err := r.src.ReadByte(); {
		case err != nil:
			return err
		case b != 0:
			return ErrFormat
		}
	}
	return nil
}

// index reads the index, of which the first byte was read, the footer, and what is between this
// stream and the next, or the end of the file.
func (r *Reader) index() error {
	in := &indexReader{src: r.src, sum: crc32.NewIEEE(), n: 1}
	in.sum.Write([]byte{0})
	count := in.number()
	want := r.seen.Sum(nil)
	r.seen.Reset()
	if count != r.blocks {
		in.fail(ErrFormat)
	}
	for i := uint64(0); i < count && in.err == nil; i++ {
		unpadded := in.number()
		r.note(unpadded, in.number())
	}
	for in.n%4 != 0 && in.err == nil {
		if in.byte() != 0 {
			in.fail(ErrFormat)
		}
	}
	size, sum := in.n+4, in.sum.Sum32()
	var foot [4 + streamHeader]byte
	if in.err == nil {
		_, in.err = io.ReadFull(r.src, foot[:])
	}
	le := binary.LittleEndian
	switch {
	case in.err != nil:
		return in.err
	case !bytes.Equal(want, r.seen.Sum(nil)), le.Uint32(foot[:]) != sum, crc32.ChecksumIEEE(foot[8:14]) != le.Uint32(foot[4:]),
		uint64(le.Uint32(foot[8:])) != size/4-1, foot[12] != 0, foot[13] != r.check, !bytes.Equal(foot[14:], footMagic):
		return ErrFormat
	}
	return r.between()
}

// between reads the padding behind a stream: the file ends, or another stream begins.
func (r *Reader) between() error {
	for n := 0; ; n++ {
		b, err := r.src.ReadByte()
		switch {
		case err == io.EOF && n%4 == 0:
			return errEnd
		case err == io.EOF:
			return ErrFormat
		case err != nil:
			return err
		case b != 0 && n%4 != 0:
			return ErrFormat
		case b != 0:
			r.started = false
			return r.src.UnreadByte()
		}
	}
}

// indexReader reads numbers of an index and keeps its first error.
type indexReader struct {
	src *bufio.Reader
	sum hash.Hash32
	n   uint64 // bytes read
	err error
}

func (in *indexReader) fail(err error) {
	if in.err == nil {
		in.err = err
	}
}

func (in *indexReader) byte() byte {
	b, err := in.src.ReadByte()
	if err != nil {
		in.fail(err)
		return 0
	}
	in.n++
	in.sum.Write([]byte{b})
	return b
}

func (in *indexReader) number() uint64 {
	var b []byte
	for len(b) < 9 && in.err == nil {
		b = append(b, in.byte())
		if b[len(b)-1] < 0x80 {
			break
		}
	}
	n, _, err := number(b)
	if err != nil {
		in.fail(err)
	}
	return n
}
