package index

import (
	"crypto/sha256"
	"encoding/binary"
	"math/bits"

	"golang.org/x/mod/sumdb/tlog"

	"github.com/firn-log/firn/log/statement"
)

// Hash is a SHA-256 hash, 32 bytes.
type Hash = tlog.Hash

// The first byte of everything that is hashed for the map: no hash of one kind
// is a hash of another, nor of a log's leaves (0x00) and nodes (0x01)
// (spec/index.md#hashes).
const (
	domainKey byte = 0x10 + iota
	domainItem
	domainListNode
	domainLeaf
	domainBranch
	domainEmpty
)

// EmptyRoot is the root of the map without keys.
var EmptyRoot = Hash(sha256.Sum256([]byte{domainEmpty}))

// KeyHash returns the hash of the text of a key, by which the map is ordered
// (spec/index.md#hashes). Bit 0 is the most significant bit of its first byte.
func KeyHash(key string) Hash { return keyHash(key) }

func keyHash[T string | []byte](key T) Hash {
	var room [256]byte // of most keys
	return sha256.Sum256(append(append(room[:0], domainKey), key...))
}

// Bit returns bit i of a hash, 0 or 1; i is from 0 to 255.
func Bit(h Hash, i int) int { return int(h[i/8]>>(7-i%8)) & 1 }

// CommonBits returns how many first bits of two hashes are the same, 0 to 256.
func CommonBits(a, b Hash) int {
	for i := range a {
		if x := a[i] ^ b[i]; x != 0 {
			return 8*i + bits.LeadingZeros8(x)
		}
	}
	return 8 * len(a)
}

// An Item is one entry in the list of a key: its index in the log and the id of
// the key that signed it.
type Item struct {
	Index  uint64
	Signer statement.KeyID
}

// A Head commits to a list: how many items it has, and the root over them. The
// list of a key is never empty; the zero Head is that of no list.
type Head struct {
	Count uint64
	Root  Hash
}

// ItemHash returns the hash of an item in a list.
func ItemHash(it Item) Hash {
	var b [1 + 8 + 32]byte
	b[0] = domainItem
	binary.BigEndian.PutUint64(b[1:], it.Index)
	copy(b[9:], it.Signer[:])
	return sha256.Sum256(b[:])
}

// ListNodeHash returns the hash of a node of a list, over its left and right part.
func ListNodeHash(l, r Hash) Hash {
	var b [1 + 32 + 32]byte
	b[0] = domainListNode
	copy(b[1:], l[:])
	copy(b[33:], r[:])
	return sha256.Sum256(b[:])
}

// LeafHash returns the hash of the trie's leaf for a key: the hash of the key
// and the head of its list.
func LeafHash(kh Hash, h Head) Hash {
	var b [1 + 32 + 8 + 32]byte
	b[0] = domainLeaf
	copy(b[1:], kh[:])
	binary.BigEndian.PutUint64(b[33:], h.Count)
	copy(b[41:], h.Root[:])
	return sha256.Sum256(b[:])
}

// BranchHash returns the hash of a branch that decides by bit depth: l is the
// node for 0, r that for 1.
func BranchHash(depth uint8, l, r Hash) Hash {
	var b [1 + 1 + 32 + 32]byte
	b[0], b[1] = domainBranch, depth
	copy(b[2:], l[:])
	copy(b[34:], r[:])
	return sha256.Sum256(b[:])
}

// ListHead returns the head of a whole list.
func ListHead(items []Item) Head {
	var f Frontier
	for _, it := range items {
		f.Append(it)
	}
	return f.Root()
}
