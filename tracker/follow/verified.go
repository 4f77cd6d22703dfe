package follow

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"os"
	"syscall"

	"golang.org/x/mod/sumdb/tlog"
)

// groupSize is how many entries a group has: as many as a bundle.
const groupSize = 256

// A group is what is kept about groupSize entries: that entries with exactly these
// leaf hashes were looked at, and of which of them the signatures verify. It does not
// matter in which log they are.
type group struct {
	leaves [sha256.Size]byte   // SHA-256 of the leaf hashes, one after the other
	good   [groupSize / 8]byte // a bit for each entry, from the lowest up
}

// Sizes of the file in bytes. A record ends in a sum of its number and what is
// before it, so that one that was half written, or written elsewhere, is none.
const (
	sumSize    = 8
	recordSize = sha256.Size + groupSize/8 + sumSize
	headerSize = 24 + sha256.Size
	// maxGroups bounds the file: 75 MB, for 268 million entries. Later ones are
	// verified each time.
	maxGroups = 1 << 20
)

const verifiedMagic = "firn verified leaves v1\n"

func (g *group) verifies(i int) bool { return g.good[i/8]>>(i%8)&1 == 1 }

func (g *group) set(i int) { g.good[i/8] |= 1 << (i % 8) }

// digest is the SHA-256 of the leaf hashes of a group.
func digest(hashes []tlog.Hash) [sha256.Size]byte {
	h := sha256.New()
	for i := range hashes {
		h.Write(hashes[i][:])
	}
	return [sha256.Size]byte(h.Sum(nil))
}

// marshal returns the record of the n-th group.
func (g *group) marshal(n uint64) []byte {
	b := make([]byte, 0, recordSize)
	b = append(append(b, g.leaves[:]...), g.good[:]...)
	return append(b, recordSum(n, b)...)
}

func recordSum(n uint64, b []byte) []byte {
	sum := sha256.Sum256(fmt.Appendf(nil, "%s%d\n%s", verifiedMagic, n, b))
	return sum[:sumSize]
}

// parseGroup reads what marshal wrote for the n-th group, and nothing else.
func parseGroup(n uint64, b []byte) (*group, bool) {
	if len(b) != recordSize || !bytes.Equal(recordSum(n, b[:recordSize-sumSize]), b[recordSize-sumSize:]) {
		return nil, false
	}
	g := &group{leaves: [sha256.Size]byte(b[:sha256.Size])}
	copy(g.good[:], b[sha256.Size:])
	return g, true
}

// verifiedFile holds the groups of one log (spec/tracker.md#verified-leaves).
// It is a cache: what is not there, or damaged, is verified again, so nothing is
// synced. It may be used by one goroutine at a time, and its file by one process.
//
// Nil holds nothing.
type verifiedFile struct{ f *os.File }

// openVerified opens the file of an origin and makes it if it is missing. One that
// is of another origin, or of another version, is emptied; a link, or what is no file, is an error.
func openVerified(path, origin string) (*verifiedFile, error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|syscall.O_NOFOLLOW|syscall.O_NONBLOCK, 0o644)
	if err != nil {
		return nil, err
	}
	if st, err := f.Stat(); err != nil || !st.Mode().IsRegular() {
		return nil, errors.Join(fmt.Errorf("%s is not a file", path), err, f.Close())
	}
	of := sha256.Sum256([]byte(origin))
	want := append([]byte(verifiedMagic), of[:]...)
	have := make([]byte, headerSize)
	_, err = f.ReadAt(have, 0)
	if err == nil && bytes.Equal(have, want) {
		return &verifiedFile{f}, nil
	}
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, errors.Join(err, f.Close())
	}
	if err := f.Truncate(0); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	if _, err := f.WriteAt(want, 0); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return &verifiedFile{f}, nil
}

// load returns the n-th group if it is about entries with these leaf hashes.
func (v *verifiedFile) load(n uint64, leaves [sha256.Size]byte) (*group, bool) {
	if v == nil || n >= maxGroups {
		return nil, false
	}
	b := make([]byte, recordSize)
	if _, err := v.f.ReadAt(b, headerSize+int64(n)*recordSize); err != nil {
		return nil, false
	}
	g, ok := parseGroup(n, b)
	if !ok || g.leaves != leaves {
		return nil, false
	}
	return g, true
}

// save keeps the n-th group in place of what is there. A disk that is full costs
// only time later.
func (v *verifiedFile) save(n uint64, g *group) error {
	if v == nil || n >= maxGroups {
		return nil
	}
	_, err := v.f.WriteAt(g.marshal(n), headerSize+int64(n)*recordSize)
	return err
}

func (v *verifiedFile) Close() error {
	if v == nil {
		return nil
	}
	return v.f.Close()
}
