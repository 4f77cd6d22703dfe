// Package blobs keeps the blobs of a log: bytes that statements name by their SHA-256.
// Lists of paths are kept for ever; build logs, derivation texts and reports may be
// deleted, and are when they become old or too many. It implements the folder of
// spec/log.md#blobs.
//
// A blob waits in a folder of its own, durably, until the statement that names it is in
// the log. Only then it has a place under which it is found, so whatever is killed,
// nothing is served that no statement names.
package blobs

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/firn-log/firn/internal/durable"
	"github.com/firn-log/firn/internal/nix"
)

// Names in the folder.
const (
	listsName   = "lists"   // kept, and mirrored
	restName    = "rest"    // deletable
	deletedName = "deleted" // an empty file for each blob that the operator has deleted
	waitingName = "waiting" // a folder for each put on its way
)

// ListsName is the part of the folder that is a part of the static tree too.
const ListsName = listsName

// Reasons why a blob is not there. ErrDeleted is for good.
var (
	ErrNotFound = errors.New("no such blob")
	ErrDeleted  = errors.New("the blob was deleted by the operator of the log")
)

// spare is how many bytes of the disk are left to the log itself.
const spare = 256 << 20

// A Dir is the folder with the blobs of a log. One process has it open; others may call
// [List] and [Delete]. Its methods may be called concurrently.
type Dir struct {
	root string
	// Free returns how many bytes can be written below a folder; tests replace it.
	Free func(dir string) (uint64, error)

	mu       sync.Mutex // guards what follows
	active   map[string]bool
	usage    Usage
	reserved uint64 // bytes that are on their way
}

// Usage is how much there is.
type Usage struct {
	Lists, Rest          uint64 // blobs
	ListBytes, RestBytes uint64
}

// Open opens the folder at root, which is made if it is missing.
func Open(root string) (*Dir, error) {
	for _, name := range []string{listsName, restName, deletedName, waitingName} {
		if err := durable.MkdirAll(filepath.Join(root, name), 0o755); err != nil {
			return nil, fmt.Errorf("opening the folder of blobs: %w", err)
		}
	}
	d := &Dir{root: root, Free: freeBytes, active: make(map[string]bool)}
	return d, d.count()
}

// count measures the folder anew: somebody else may have deleted from it.
func (d *Dir) count() error {
	all, err := List(d.root)
	if err != nil {
		return err
	}
	var u Usage
	for _, i := range all {
		if i.List {
			u.Lists, u.ListBytes = u.Lists+1, u.ListBytes+uint64(i.Size)
		} else {
			u.Rest, u.RestBytes = u.Rest+1, u.RestBytes+uint64(i.Size)
		}
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.usage = u
	return nil
}

// Usage returns how much there is.
func (d *Dir) Usage() Usage {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.usage
}

func freeBytes(dir string) (uint64, error) {
	var st unix.Statfs_t
	if err := unix.Statfs(dir, &st); err != nil {
		return 0, err
	}
	return st.Bavail * uint64(st.Bsize), nil
}

// Reserve makes room for size bytes that are about to be added, until release is called.
// It returns an error if the disk has no room for them beside what others have reserved
// and the log itself needs.
func (d *Dir) Reserve(size int64) (release func(), err error) {
	free, err := d.Free(d.root)
	if err != nil {
		return nil, fmt.Errorf("measuring the disk: %w", err)
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if need := uint64(size) + d.reserved; free < need || free-need < spare {
		return nil, fmt.Errorf("%d bytes of blobs do not fit: %d bytes are free, others that are on their way need %d, and %d are left to the log itself", size, free, d.reserved, spare)
	}
	d.reserved += uint64(size)
	return func() {
		d.mu.Lock()
		defer d.mu.Unlock()
		d.reserved -= uint64(size)
	}, nil
}

// Open opens a blob for reading, and tells whether it is kept for ever. Errors match
// ErrNotFound or ErrDeleted, or are the disk's.
func (d *Dir) Open(hash nix.Hash) (f *os.File, list bool, err error) { return open(d.root, hash) }

func open(root string, hash nix.Hash) (f *os.File, list bool, err error) {
	name := hash.Hex()
	if f, err = os.Open(filepath.Join(root, listsName, name)); !errors.Is(err, fs.ErrNotExist) {
		return f, true, err
	}
	if deleted, err := isDeleted(root, hash); deleted || err != nil {
		return nil, false, errors.Join(err, ErrDeleted)
	}
	f, err = os.Open(filepath.Join(root, restName, name))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, false, ErrNotFound
	}
	return f, false, err
}

// ReadList returns a list that is held, or an error that matches ErrNotFound.
func (d *Dir) ReadList(hash nix.Hash) ([]byte, error) {
	b, err := os.ReadFile(filepath.Join(d.root, listsName, hash.Hex()))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, ErrNotFound
	}
	return b, err
}

// Deleted reports whether the operator has deleted a blob, so that it is not taken again.
func (d *Dir) Deleted(hash nix.Hash) (bool, error) { return isDeleted(d.root, hash) }

func isDeleted(root string, hash nix.Hash) (bool, error) {
	_, err := os.Lstat(filepath.Join(root, deletedName, hash.Hex()))
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	return err == nil, err
}

// Holds reports whether a blob is held: as a list if list is set, in any way otherwise.
func (d *Dir) Holds(hash nix.Hash, list bool) bool {
	for _, name := range []string{listsName, restName} {
		if _, err := os.Lstat(filepath.Join(d.root, name, hash.Hex())); err == nil {
			return true
		}
		if list {
			return false
		}
	}
	return false
}

// Info is one blob.
type Info struct {
	Hash  nix.Hash
	Size  int64
	Taken time.Time // when it came
	List  bool      // it is kept for ever
}

// List returns the blobs in the folder at root, the oldest first.
func List(root string) ([]Info, error) {
	var all []Info
	for _, name := range []string{listsName, restName} {
		entries, err := os.ReadDir(filepath.Join(root, name))
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("reading the folder of blobs: %w", err)
		}
		for _, e := range entries {
			hash, bad := nix.ParseHex(e.Name())
			st, err := e.Info()
			if bad != nil || err != nil || !st.Mode().IsRegular() {
				continue // not ours, or just deleted
			}
			all = append(all, Info{hash, st.Size(), st.ModTime(), name == listsName})
		}
	}
	slices.SortStableFunc(all, func(a, b Info) int { return a.Taken.Compare(b.Taken) })
	return all, nil
}

// A KeptError says that a list was to be deleted.
type KeptError struct{ Hash nix.Hash }

func (e *KeptError) Error() string {
	return fmt.Sprintf("%s is a list of paths, which is kept: signatures of caches cannot be checked without it", e.Hash.Hex())
}

// Delete deletes a blob from the folder at root for good: it is not taken again. The log
// may be running. Lists are kept (*KeptError); ErrNotFound matches what is not held.
func Delete(root string, hash nix.Hash) error {
	f, list, err := open(root, hash)
	if errors.Is(err, ErrDeleted) {
		return remove(root, hash) // if it was interrupted
	}
	if err != nil {
		return err
	}
	_ = f.Close()
	if list {
		return &KeptError{hash}
	}
	err = durable.MkdirAll(filepath.Join(root, deletedName), 0o755)
	if err == nil {
		err = durable.WriteFile(filepath.Join(root, deletedName, hash.Hex()), nil, 0o644)
	}
	if err != nil {
		return fmt.Errorf("deleting a blob: %w", err)
	}
	return remove(root, hash)
}

// remove removes the bytes of a deletable blob.
func remove(root string, hash nix.Hash) error {
	err := os.Remove(filepath.Join(root, restName, hash.Hex()))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("deleting a blob: %w", err)
	}
	return durable.SyncDir(filepath.Join(root, restName))
}

// Prune removes deletable blobs that came before a time, and then the oldest ones
// until at most max bytes are left, and returns how many it removed. They may come again.
func (d *Dir) Prune(before time.Time, max uint64) (n int, err error) {
	all, err := List(d.root)
	if err != nil {
		return 0, err
	}
	var total uint64
	for _, i := range all {
		if !i.List {
			total += uint64(i.Size)
		}
	}
	for _, i := range all {
		if i.List {
			continue
		}
		deleted, err := d.Deleted(i.Hash)
		if err != nil {
			return n, err
		}
		if !deleted && total <= max && !i.Taken.Before(before) {
			continue
		}
		if err := remove(d.root, i.Hash); err != nil {
			return n, err
		}
		total -= uint64(i.Size)
		n++
	}
	return n, d.count()
}
