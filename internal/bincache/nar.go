package bincache

import (
	"bufio"
	"compress/bzip2"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"hash"
	"io"
	"sync"
	"time"

	"github.com/klauspost/compress/zstd"
	filtered "github.com/mikelolasagasti/xz"

	"github.com/firn-log/firn/internal/nix"
	"github.com/firn-log/firn/internal/xz"
)

// Bounds of the memory of a decoder, in bytes: what xz -9 and zstd --ultra ask for.
const (
	maxDictionary = 64 << 20
	maxWindow     = 128 << 20
)

// ErrNar is matched when the content of a NAR is not what its narinfo says.
var ErrNar = errors.New("the NAR is not what its narinfo says")

var errSlow = fmt.Errorf("the cache sends it slower than %d KiB a second", slowestNar>>10)

// OpenNar returns the NAR of info without its compression: xz, zstd, bzip2 or
// none. It ends with io.EOF only if it had the size and hash that info names,
// and with an error that matches ErrNar otherwise; so nothing read from it may be
// believed before its end. No more than info.NarSize bytes are returned, however
// much the file would unpack to. The caller closes it; reading is not for several
// goroutines.
func (c *Client) OpenNar(ctx context.Context, info *nix.NarInfo) (io.ReadCloser, error) {
	file, err := c.OpenFile(ctx, info)
	if err != nil {
		return nil, err
	}
	return Unpack(file, info)
}

// OpenFile returns the file with the NAR of info as the cache has it: compressed, and nothing of it
// checked but that it is not longer than it can be, which is an error that matches ErrNar. The
// caller closes it.
func (c *Client) OpenFile(ctx context.Context, info *nix.NarInfo) (io.ReadCloser, error) {
	file, err := c.src.open(ctx, info.URL)
	if err != nil {
		return nil, fmt.Errorf("the NAR of %s: %w", info.Path.Base(), err)
	}
	// Compressing makes nothing much longer; padding without end is not read.
	limit := info.NarSize + info.NarSize/8 + 1<<20
	if info.FileSize > 0 && info.FileSize < limit {
		limit = info.FileSize
	}
	return &bounded{r: file, left: limit}, nil
}

// Unpack is OpenNar for a file that is read already. Closing what it returns closes file.
func Unpack(file io.ReadCloser, info *nix.NarInfo) (io.ReadCloser, error) {
	n := &narReader{info: info, file: file, hash: sha256.New()}
	var err error
	switch info.Compression {
	case "none":
		n.r = file
	case "xz":
		n.r, n.done, err = unpackXz(file)
	case "zstd":
		n.r, n.done, err = unpackZstd(file)
	case "bzip2":
		n.r = bzip2.NewReader(file)
	default:
		err = fmt.Errorf("its compression %q is not xz, zstd, bzip2 or none", Clip(info.Compression))
	}
	if err != nil {
		file.Close()
		return nil, fmt.Errorf("the NAR of %s: %w", info.Path.Base(), err)
	}
	return n, nil
}

// Decoders are used again: their memory is up to a thousand times that of a small NAR.
var (
	xzReaders    = sync.Pool{New: func() any { return &xzReader{bufio.NewReaderSize(nil, 64<<10), xz.NewReader(maxDictionary)} }}
	zstdDecoders = sync.Pool{New: func() any {
		d, err := zstd.NewReader(nil, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxWindow(maxWindow))
		if err != nil {
			return err
		}
		return d
	}}
)

// maxKept bounds the memory of an xz decoder that is kept, in bytes.
const maxKept = 32 << 20

type xzReader struct {
	file *bufio.Reader
	r    *xz.Reader
}

// unpackXz returns what unpacks a file: a decoder of our own, or one that is slower if it has the
// filters for programs. done may be nil.
func unpackXz(file io.Reader) (r io.Reader, done func(), err error) {
	d := xzReaders.Get().(*xzReader)
	d.file.Reset(file)
	head, err := d.file.Peek(xz.PeekLen)
	if err != nil && err != io.EOF {
		return nil, nil, err
	}
	if !xz.Plain(head) {
		r, err := filtered.NewReader(d.file, maxDictionary)
		return r, nil, err
	}
	d.r.Reset(d.file)
	return d.r, func() {
		d.file.Reset(nil)
		if d.r.Reset(nil); d.r.Window() <= maxKept {
			xzReaders.Put(d)
		}
	}, nil
}

func unpackZstd(file io.Reader) (io.Reader, func(), error) {
	d, ok := zstdDecoders.Get().(*zstd.Decoder)
	if !ok {
		return nil, nil, errors.New("there is no decoder of zstd")
	}
	if err := d.Reset(file); err != nil {
		return nil, nil, err
	}
	return d, func() {
		if d.Reset(nil) == nil {
			zstdDecoders.Put(d)
		}
	}, nil
}

// bounded is an io.LimitReader that fails where that one would end, and where what it reads comes
// slower than slowestNar.
type bounded struct {
	r      io.ReadCloser
	left   uint64
	got    uint64
	waited time.Duration // for r only: whoever reads may take their time
}

func (b *bounded) Close() error { return b.r.Close() }

func (b *bounded) Read(p []byte) (int, error) {
	if b.left == 0 {
		var one [1]byte
		if n, err := b.r.Read(one[:]); n == 0 {
			return 0, err
		}
		return 0, fmt.Errorf("%w: its file is longer than it can be", ErrNar)
	}
	if uint64(len(p)) > b.left {
		p = p[:b.left]
	}
	start := time.Now()
	n, err := b.r.Read(p)
	b.waited += time.Since(start)
	b.left -= uint64(n)
	b.got += uint64(n)
	if err == nil && b.waited > narPatience && uint64((b.waited-narPatience)/time.Second) > b.got/slowestNar {
		err = errSlow
	}
	return n, err
}

type narReader struct {
	info *nix.NarInfo
	file io.Closer
	r    io.Reader
	done func() // may be nil
	hash hash.Hash
	size uint64
	err  error // of the end
}

func (n *narReader) Read(p []byte) (int, error) {
	if n.err != nil {
		return 0, n.err
	}
	got, err := n.unpack(p)
	if over := n.size + uint64(got); over > n.info.NarSize {
		got = int(n.info.NarSize - n.size)
		err = fmt.Errorf("%w: it has more than %d bytes", ErrNar, n.info.NarSize)
	}
	n.hash.Write(p[:got])
	n.size += uint64(got)
	switch {
	case err == io.EOF && n.size != n.info.NarSize:
		err = fmt.Errorf("%w: it has %d of %d bytes", ErrNar, n.size, n.info.NarSize)
	case err == io.EOF:
		if h := nix.Hash(n.hash.Sum(nil)); h != n.info.NarHash {
			err = fmt.Errorf("%w: its hash is %v, not %v", ErrNar, h, n.info.NarHash)
		}
	case err != nil && !errors.Is(err, ErrNar):
		err = fmt.Errorf("unpacking the NAR of %s: %w", n.info.Path.Base(), err)
	}
	n.err = err
	return got, err
}

// unpack reads from the decoder. Where that fails on the bytes of a stranger, they are wrong, and
// it is not used again.
func (n *narReader) unpack(p []byte) (got int, err error) {
	defer func() {
		if why := recover(); why != nil {
			n.done = nil
			got, err = 0, fmt.Errorf("%w: it does not unpack (%v)", ErrNar, why)
		}
	}()
	return n.r.Read(p)
}

// Close may be called while the NAR was not read to its end.
func (n *narReader) Close() error {
	if n.done != nil {
		n.done()
		n.done = nil
	}
	if n.err == nil {
		n.err = errClosed
	}
	return n.file.Close()
}

var errClosed = errors.New("the NAR was closed")

// A file of a cache comes at least at slowestNar bytes a second, after
// narPatience.
const (
	slowestNar  = 32 << 10
	narPatience = 10 * time.Minute
)

// CheckNar reads a whole NAR. Its size must be one that somebody signed: it bounds what
// is read.
func (c *Client) CheckNar(ctx context.Context, info *nix.NarInfo) error {
	r, err := c.OpenNar(ctx, info)
	if err != nil {
		return err
	}
	defer r.Close()
	_, err = io.Copy(io.Discard, r)
	return err
}
