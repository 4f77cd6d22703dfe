package blobs

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/firn-log/firn/internal/durable"
	"github.com/firn-log/firn/internal/nix"
	"github.com/firn-log/firn/log/statement"
)

// A Put is blobs that wait for the statement that names them. It is used by one
// goroutine, and ends with Keep, Drop or Leave.
type Put struct {
	d     *Dir
	dir   string
	files []*File
}

// A File is one blob of a Put.
type File struct {
	Hash nix.Hash
	Size int64
	List bool // it is to be kept for ever

	path string
}

// Begin makes a folder for blobs of a statement.
func (d *Dir) Begin(id statement.ID) (*Put, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	dir, err := os.MkdirTemp(filepath.Join(d.root, waitingName), id.String()+".*")
	if err != nil {
		return nil, err
	}
	d.active[filepath.Base(dir)] = true
	return &Put{d: d, dir: dir}, nil
}

// Add takes the next size bytes of r as a blob, and hashes them on their way to the disk.
// Nothing is durable yet. An error of r is returned as a *ReadError.
func (p *Put) Add(r io.Reader, size int64) (*File, error) {
	f := &File{Size: size, path: filepath.Join(p.dir, strconv.Itoa(len(p.files)))}
	p.files = append(p.files, f)
	file, err := os.OpenFile(f.path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o644)
	if err != nil {
		return nil, err
	}
	h := sha256.New()
	from := &source{r: r}
	_, err = io.CopyN(io.MultiWriter(file, h), from, size)
	if err = errors.Join(err, file.Close()); from.err != nil {
		return nil, &ReadError{from.err}
	}
	f.Hash = nix.Hash(h.Sum(nil))
	return f, err
}

// ReadError says that a blob could not be read from whoever sends it.
type ReadError struct{ Err error }

func (e *ReadError) Error() string { return "reading a blob: " + e.Err.Error() }
func (e *ReadError) Unwrap() error { return e.Err }

// source remembers why reading ended too early.
type source struct {
	r   io.Reader
	err error
}

func (s *source) Read(b []byte) (int, error) {
	n, err := s.r.Read(b)
	if err != nil {
		s.err = err
	}
	return n, err
}

// Find returns the blob of a hash, nil if it is not among these.
func (p *Put) Find(hash nix.Hash) *File {
	for _, f := range p.files {
		if f.Hash == hash {
			return f
		}
	}
	return nil
}

// Files returns the blobs, in the order in which they were added.
func (p *Put) Files() []*File { return p.files }

// Read returns the bytes of a blob.
func (f *File) Read() ([]byte, error) { return os.ReadFile(f.path) }

// Sync makes the blobs durable, under names that say what they are: if the statement is
// added and this process is killed, the next one finds them.
func (p *Put) Sync() error {
	for _, f := range p.files {
		if err := syncFile(f.path); err != nil {
			return err
		}
		name := f.Hash.Hex() + "." + restName
		if f.List {
			name = f.Hash.Hex() + "." + listsName
		}
		to := filepath.Join(p.dir, name)
		if err := os.Rename(f.path, to); err != nil {
			return err
		}
		f.path = to
	}
	if err := durable.SyncDir(p.dir); err != nil {
		return err
	}
	return durable.SyncDir(filepath.Dir(p.dir))
}

func syncFile(path string) error {
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}

// Keep gives the blobs, which Sync has made durable, their places: the statement is in
// the log. If it fails [Dir.Settle] does it later.
func (p *Put) Keep() error {
	defer p.Leave()
	return p.d.keep(p.dir)
}

// Drop removes the blobs: the statement is not in the log.
func (p *Put) Drop() {
	defer p.Leave()
	_ = os.RemoveAll(p.dir) // what stays is removed by Settle
}

// Leave ends the put without a decision, which is left to [Dir.Settle].
func (p *Put) Leave() {
	p.d.mu.Lock()
	defer p.d.mu.Unlock()
	delete(p.d.active, filepath.Base(p.dir))
}

// keep moves the blobs of a waiting folder to their places.
func (d *Dir) keep(dir string) error {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	touched := make(map[string]bool)
	for _, e := range entries {
		hex, place, _ := strings.Cut(e.Name(), ".")
		hash, err := nix.ParseHex(hex)
		if err != nil || place != listsName && place != restName {
			continue // it was cut off
		}
		if err := d.place(hash, filepath.Join(dir, e.Name()), place); err != nil {
			return err
		}
		touched[place] = true
	}
	for place := range touched {
		if err := durable.SyncDir(filepath.Join(d.root, place)); err != nil {
			return err
		}
	}
	return os.RemoveAll(dir)
}

// place moves one durable blob to its place, unless it is there already or was deleted.
func (d *Dir) place(hash nix.Hash, from, place string) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	list := place == listsName
	if d.Holds(hash, list) {
		return nil
	}
	if deleted, err := isDeleted(d.root, hash); err != nil || deleted && !list {
		return err
	}
	st, err := os.Lstat(from)
	if err != nil {
		return err
	}
	if err := os.Rename(from, filepath.Join(d.root, place, hash.Hex())); err != nil {
		return err
	}
	if list {
		d.usage.Lists, d.usage.ListBytes = d.usage.Lists+1, d.usage.ListBytes+uint64(st.Size())
	} else {
		d.usage.Rest, d.usage.RestBytes = d.usage.Rest+1, d.usage.RestBytes+uint64(st.Size())
	}
	return nil
}

// Fate is what became of a statement.
type Fate int

// The fates of a statement.
const (
	NotLogged Fate = iota // it is not in the log, and not on its way
	Logged
	Undecided
)

// Settle decides about blobs that nobody works on: those whose statement is in the log get
// their places, and others are removed if their folder is older than a time. only, if not
// nil, names the statement to decide about.
func (d *Dir) Settle(before time.Time, only *statement.ID, fate func(statement.ID) (Fate, error)) (kept, dropped int, err error) {
	waiting := filepath.Join(d.root, waitingName)
	entries, err := os.ReadDir(waiting)
	if err != nil {
		return 0, 0, err
	}
	for _, e := range entries {
		name, _, _ := strings.Cut(e.Name(), ".")
		id, bad := statement.ParseID(name)
		if only != nil && (bad != nil || id != *only) || d.isActive(e.Name()) {
			continue
		}
		f := NotLogged
		if bad == nil {
			if f, err = fate(id); err != nil {
				return kept, dropped, err
			}
		}
		switch {
		case f == Logged:
			kept++
			err = d.keep(filepath.Join(waiting, e.Name()))
		case f == NotLogged && isBefore(e, before):
			dropped++
			err = os.RemoveAll(filepath.Join(waiting, e.Name()))
		}
		if err != nil {
			return kept, dropped, err
		}
	}
	return kept, dropped, nil
}

func isBefore(e fs.DirEntry, t time.Time) bool {
	st, err := e.Info()
	return err == nil && st.ModTime().Before(t)
}

func (d *Dir) isActive(name string) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.active[name]
}

// KeepList keeps a list that belongs to an entry of the log and came from a mirror.
func KeepList(root string, blob []byte) error {
	if _, err := statement.ParsePathsBlob(nix.DefaultStoreDir, blob); err != nil {
		return fmt.Errorf("the blob is not a list of paths: %w", err)
	}
	hash := nix.Hash(sha256.Sum256(blob))
	dir := filepath.Join(root, listsName)
	if err := durable.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	return durable.WriteFile(filepath.Join(dir, hash.Hex()), blob, 0o644)
}
