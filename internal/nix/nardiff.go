package nix

import (
	"context"
	"crypto/sha256"
	"errors"
	"hash/maphash"
	"io"
	"strings"
)

// DiffKind says in what a file differs between two NARs. The words are those of the
// statement kind `diff` (spec/statement.md#diff).
type DiffKind string

// The ways in which a file differs.
const (
	DiffContent    DiffKind = "content"    // regular files with other contents
	DiffExecutable DiffKind = "executable" // the same contents, and only one may be run
	DiffTarget     DiffKind = "target"     // symlinks to other targets
	DiffType       DiffKind = "type"       // a file, a symlink or a directory, and another of them
	DiffOnlyA      DiffKind = "only-a"     // not in B
	DiffOnlyB      DiffKind = "only-b"     // not in A
)

// A FileDiff is one file that differs.
type FileDiff struct {
	Name string // path in the NAR, parts joined by "/"; "" is the root itself
	What DiffKind
}

// A NarDiff is how two NARs differ, file by file.
type NarDiff struct {
	A, B         Hash   // NAR hashes
	SizeA, SizeB uint64 // NAR sizes in bytes
	// Files are the files that differ, in the order of a NAR, the first
	// DiffOptions.MaxFiles of them. A directory that only one has stands for all
	// that is in it.
	Files []FileDiff
	Total uint64 // files that differ
}

// DiffOptions bound a comparison.
type DiffOptions struct {
	MaxFiles int                // files that are named; 0 is 256
	Progress func(bytes uint64) // of both sides, hashed since the last call; from either side's goroutine; may be nil
}

const defaultDiffFiles = 256

// DiffNars compares two NARs as they stream past, in memory that does not depend on their
// size. Both are read to their end, so that their hashes are known, whatever differs. An error is that of one of
// the readers, or wraps ErrNar.
//
// Contents are compared by a keyed 64-bit hash whose key nobody knows beforehand; the NAR hashes decide whether
// two NARs are the same.
func DiffNars(a, b io.Reader, o DiffOptions) (*NarDiff, error) {
	return diff(context.Background(), o, func(_ context.Context, w *listing) error { return w.read(a) }, func(_ context.Context, w *listing) error { return w.read(b) })
}

// DiffTrees compares the NARs of two paths: files, symlinks or directory trees.
func DiffTrees(ctx context.Context, a, b string, o DiffOptions) (*NarDiff, error) {
	dumped := func(path string) func(context.Context, *listing) error {
		return func(ctx context.Context, w *listing) error {
			r, pw := io.Pipe()
			go func() {
				_, err := dump(ctx, pw, path, nil)
				pw.CloseWithError(err)
			}()
			err := w.read(r)
			r.CloseWithError(err)
			return err
		}
	}
	return diff(ctx, o, dumped(a), dumped(b))
}

// listed is one file of a NAR without its contents.
type listed struct {
	NarHeader
	content uint64 // keyed hash
}

// listing reads a NAR and says what is in it.
type listing struct {
	ctx      context.Context
	seed     maphash.Seed
	progress func(uint64)
	out      chan []listed // batches, in the order of the NAR; closed at its end
	batch    []listed

	// Set before out is closed.
	hash Hash
	size uint64
	err  error
}

const listBatch = 128

// run lists a NAR with read, and closes w.out.
func (w *listing) run(read func(context.Context, *listing) error) {
	defer close(w.out)
	if w.err = read(w.ctx, w); w.err == nil {
		w.err = w.send()
	}
}

func (w *listing) send() error {
	if len(w.batch) == 0 {
		return nil
	}
	select {
	case w.out <- w.batch:
		w.batch = make([]listed, 0, listBatch)
		return nil
	case <-w.ctx.Done():
		return w.ctx.Err()
	}
}

// read lists the NAR that r delivers.
func (w *listing) read(r io.Reader) error {
	h := sha256.New()
	counted := &countingReader{r: io.TeeReader(r, h), w: w}
	n := NewNarReader(counted)
	buf := make([]byte, narBufSize)
	for {
		head, err := n.Next()
		if errors.Is(err, io.EOF) {
			h.Sum(w.hash[:0])
			return nil
		}
		if err != nil {
			return err
		}
		e := listed{NarHeader: *head}
		if head.Type == Regular {
			var content maphash.Hash
			content.SetSeed(w.seed)
			if _, err := io.CopyBuffer(onlyWriter{&content}, onlyReader{n}, buf); err != nil {
				return err
			}
			e.content = content.Sum64()
		}
		if w.batch = append(w.batch, e); len(w.batch) == listBatch {
			if err := w.send(); err != nil {
				return err
			}
		}
	}
}

type (
	onlyWriter struct{ io.Writer } // hides ReaderFrom, so that the buffer is used
	onlyReader struct{ io.Reader }
)

// countingReader counts what is read, and ends with the listing's context.
type countingReader struct {
	r io.Reader
	w *listing
}

func (c *countingReader) Read(p []byte) (int, error) {
	if err := c.w.ctx.Err(); err != nil {
		return 0, err
	}
	n, err := c.r.Read(p)
	c.w.size += uint64(n)
	if c.w.progress != nil && n > 0 {
		c.w.progress(uint64(n))
	}
	return n, err
}

// diff merges the listings of two NARs.
func diff(ctx context.Context, o DiffOptions, readA, readB func(context.Context, *listing) error) (*NarDiff, error) {
	if o.MaxFiles == 0 {
		o.MaxFiles = defaultDiffFiles
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	seed := maphash.MakeSeed()
	start := func(read func(context.Context, *listing) error) *side {
		w := &listing{ctx: ctx, seed: seed, progress: o.Progress, out: make(chan []listed, 8)}
		go w.run(read)
		return &side{w: w}
	}
	a, b := start(readA), start(readB)
	d := &NarDiff{}
	for {
		x, y := a.peek(), b.peek()
		if x == nil && y == nil {
			break
		}
		if a.w.failed(x) || b.w.failed(y) {
			break // what one lacks, it may lack only because it cannot be read
		}
		order := 0
		switch {
		case x == nil:
			order = 1
		case y == nil:
			order = -1
		default:
			order = compareNarPaths(x.Path, y.Path)
		}
		d.step(o.MaxFiles, order, a, b)
	}
	for _, s := range []*side{a, b} {
		if s.drained() && s.w.err != nil {
			return nil, s.w.err
		}
	}
	d.A, d.SizeA, d.B, d.SizeB = a.w.hash, a.w.size, b.w.hash, b.w.size
	return d, nil
}

// failed reports whether the side ended, with next nil, because of an error.
func (w *listing) failed(next *listed) bool { return next == nil && w.err != nil }

// step takes the next file off one side, or off both.
func (d *NarDiff) step(most, order int, a, b *side) {
	add := func(name string, what DiffKind) {
		d.Total++
		if len(d.Files) < most {
			d.Files = append(d.Files, FileDiff{name, what})
		}
	}
	switch {
	case order < 0:
		add(a.next().Path, DiffOnlyA)
		a.skipTree()
	case order > 0:
		add(b.next().Path, DiffOnlyB)
		b.skipTree()
	default:
		x, y := a.next(), b.next()
		switch {
		case x.Type != y.Type:
			add(x.Path, DiffType)
			a.skipTree()
			b.skipTree()
		case x.Size != y.Size || x.content != y.content:
			add(x.Path, DiffContent)
		case x.Executable != y.Executable:
			add(x.Path, DiffExecutable)
		case x.Target != y.Target:
			add(x.Path, DiffTarget)
		}
	}
}

// side is one listing as it is merged.
type side struct {
	w     *listing
	batch []listed
	last  listed // what next returned
	ended bool
}

// peek returns the next file, or nil at the end.
func (s *side) peek() *listed {
	for len(s.batch) == 0 {
		if s.ended {
			return nil
		}
		batch, ok := <-s.w.out
		s.batch, s.ended = batch, !ok
	}
	return &s.batch[0]
}

// drained reports whether the listing has come to its end, and its results may be read.
func (s *side) drained() bool { return s.ended }

func (s *side) next() *listed {
	s.last = s.batch[0]
	s.batch = s.batch[1:]
	return &s.last
}

// skipTree goes over what is in the directory that next returned last.
func (s *side) skipTree() {
	if s.last.Type != Directory {
		return
	}
	for e := s.peek(); e != nil && inTree(s.last.Path, e.Path); e = s.peek() {
		s.batch = s.batch[1:]
	}
}

func inTree(dir, path string) bool {
	return dir == "" || strings.HasPrefix(path, dir) && len(path) > len(dir) && path[len(dir)] == '/'
}

// compareNarPaths orders paths as a NAR does: directory by directory.
func compareNarPaths(a, b string) int {
	n := min(len(a), len(b))
	for i := range n {
		if a[i] == b[i] {
			continue
		}
		x, y := a[i], b[i]
		if x == '/' {
			x = 0 // what is in a directory comes right after it; no name has this byte
		}
		if y == '/' {
			y = 0
		}
		if x < y {
			return -1
		}
		return 1
	}
	return len(a) - len(b)
}
