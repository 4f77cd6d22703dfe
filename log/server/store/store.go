// Package store keeps the Merkle tree of a firn log.
//
// [Store] is all that the log asks of the thing that holds the tree; the
// POSIX driver ([OpenPOSIX]) keeps it as C2SP tlog-tiles in a folder, through
// Tessera. [Tree] reads hashes, proofs and entries of any Store.
//
// This package is the only importer of Tessera. The measured traps of Tessera
// v1.0.4 that it closes are named where it does so. The document is
// spec/log.md#storage.
package store

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
)

// Width is the number of hashes in a full tile, and of entries in a full
// bundle (c2sp.org/tlog-tiles).
const Width = 256

// MaxBatch is the largest number of leaves in one Append.
const MaxBatch = 1024

// MaxEntry is the largest entry in bytes that the framing of tlog-tiles can hold.
const MaxEntry = 1<<16 - 1

// ErrNotFound says that a tile or bundle is not there.
var ErrNotFound = errors.New("not in the tree")

// A Store holds one append-only tree. There is one appender at a time;
// everything else may be called concurrently with it and with each other.
type Store interface {
	// Append adds 1 to MaxBatch leaves of 1 to MaxEntry bytes at the end of the
	// tree, in order, and returns the index of the first. When it returns nil
	// they are durable: neither a killed process nor a power cut takes them
	// back. When it returns an error nothing is known: none, some or all of
	// them may be in the tree, in order. The caller then asks Size and reads
	// what is new. A cancelled ctx does not interrupt leaves on their way.
	Append(ctx context.Context, leaves [][]byte) (first uint64, err error)

	// Size returns the number of entries in the tree. It never shrinks while
	// the store is open, except where the disk itself lost what it had synced.
	Size(ctx context.Context) (uint64, error)

	// Tile returns hashes [0, width) of tile index at a level 0 to 63, each 32
	// bytes; width is 1 to Width. The tile must have at least width hashes at
	// some size that Size has returned. ErrNotFound if it is not there.
	Tile(ctx context.Context, level, index uint64, width int) ([]byte, error)

	// Bundle returns the first width entries of bundle index, framed as in
	// tlog-tiles. It may return more entries than asked for.
	Bundle(ctx context.Context, index uint64, width int) ([]byte, error)

	// Close stops signing and appending. Leaves on their way are still added
	// unless ctx ends first.
	Close(ctx context.Context) error
}

// AppendFrame appends entry to b in the framing of tlog-tiles: its length in
// two bytes, big-endian, then its bytes.
func AppendFrame(b, entry []byte) []byte {
	b = binary.BigEndian.AppendUint16(b, uint16(len(entry)))
	return append(b, entry...)
}

// ParseFrames splits framed entries. The results point into b. It returns an
// error if b does not end with an entry, or if there are more than limit.
func ParseFrames(b []byte, limit int) ([][]byte, error) {
	var entries [][]byte
	for n := 0; len(b) > 0; n++ {
		if n == limit {
			return nil, fmt.Errorf("more than %d entries", limit)
		}
		if len(b) < 2 {
			return nil, fmt.Errorf("entry %d: cut off within its length", n)
		}
		size := int(binary.BigEndian.Uint16(b))
		if len(b)-2 < size {
			return nil, fmt.Errorf("entry %d: %d bytes announced, %d are left", n, size, len(b)-2)
		}
		entries = append(entries, b[2:2+size:2+size])
		b = b[2+size:]
	}
	return entries, nil
}
