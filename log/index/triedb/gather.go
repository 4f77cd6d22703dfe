package triedb

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"slices"
	"sync"

	"github.com/firn-log/firn/log/index"
)

// A prefix is the first depth bits of key hashes; the others are zero.
type prefix struct {
	bits  index.Hash
	depth int
}

// newPrefix takes the first depth bits of h.
func newPrefix(h index.Hash, depth int) prefix {
	for i := range h {
		switch {
		case 8*i >= depth:
			h[i] = 0
		case 8*i+8 > depth:
			h[i] &= 0xff << (8*i + 8 - depth)
		}
	}
	return prefix{h, depth}
}

func (p prefix) child(bit int) prefix {
	if bit == 1 {
		p.bits[p.depth/8] |= 0x80 >> (p.depth % 8)
	}
	p.depth++
	return p
}

func (p *prefix) has(kh *index.Hash) bool {
	if p.depth <= 64 {
		x := binary.BigEndian.Uint64(p.bits[:]) ^ binary.BigEndian.Uint64(kh[:])
		return x>>(64-p.depth) == 0
	}
	return index.CommonBits(p.bits, *kh) >= p.depth
}

// A segment is where one run holds items of one key hash: the records lo to hi−1, at
// least one. It has no pointers, because there are very many.
type segment struct {
	key    uint64 // first bytes of the key hash
	run    uint32 // place in the set: the oldest is 0
	lo, hi uint32
}

// A list is where the items of a key hash are, oldest first.
type list struct {
	set      *runSet
	segments []segment
}

func (l list) count() (n uint64) {
	for _, s := range l.segments {
		n += uint64(s.hi - s.lo)
	}
	return n
}

// items calls f with the items at the positions from to to−1.
func (l list) items(from, to uint64, f func(index.Item)) {
	at := uint64(0)
	for _, s := range l.segments {
		n, r := uint64(s.hi-s.lo), l.set.runs[s.run]
		for i := max(from, at); i < min(to, at+n); i++ {
			f(r.item(int(s.lo) + int(i-at)))
		}
		at += n
	}
}

// A reader reads one state from a set of runs: the items with an index below
// size. It is for one goroutine, and what it returns is valid until the next call or done.
type reader struct {
	set      *runSet
	size     uint64
	hot      *hotKeys
	segments []segment
	leaves   []leaf
}

var readers = sync.Pool{New: func() any { return new(reader) }}

// newReader returns a reader, with the memory of one that is done if possible.
func newReader(set *runSet, size uint64, hot *hotKeys) *reader {
	rd := readers.Get().(*reader)
	rd.set, rd.size, rd.hot = set, size, hot
	return rd
}

func (rd *reader) done() {
	rd.set, rd.hot = nil, nil
	readers.Put(rd)
}

// A leaf of the trie.
type leaf struct {
	kh   index.Hash
	head index.Head
	hash index.Hash
}

// list returns where the items of one key hash are.
func (rd *reader) list(kh index.Hash) list {
	rd.segments = rd.segments[:0]
	for place, r := range rd.set.runs {
		if r.n == 0 || r.from >= rd.size {
			continue
		}
		i := r.seek(&kh)
		if i == r.n || *r.key(i) != kh {
			continue
		}
		if hi := r.below(i, r.end(i), rd.size); hi > i {
			rd.segments = append(rd.segments, newSegment(r, place, i, hi))
		}
	}
	return list{rd.set, rd.segments}
}

func newSegment(r *run, place, lo, hi int) segment {
	return segment{binary.BigEndian.Uint64(r.key(lo)[:]), uint32(place), uint32(lo), uint32(hi)}
}

func (rd *reader) key(s segment) *index.Hash { return rd.set.runs[s.run].key(int(s.lo)) }

func (rd *reader) head(kh *index.Hash, l list) index.Head {
	n := l.count()
	if n == 1 {
		s := l.segments[0]
		return index.Head{Count: 1, Root: index.ItemHash(rd.set.runs[s.run].item(int(s.lo)))}
	}
	return rd.hot.frontier(kh, l, n).Root()
}

// gather returns the leaves of the trie with this prefix, in order; the first
// limit of them if there are more.
func (rd *reader) gather(p prefix, limit int) []leaf {
	rd.segments, rd.leaves = rd.segments[:0], rd.leaves[:0]
	for place, r := range rd.set.runs {
		if r.n == 0 || r.from >= rd.size {
			continue
		}
		keys := 0
		for i := r.seek(&p.bits); i < r.n && keys < limit; {
			if !p.has(r.key(i)) {
				break
			}
			end := r.end(i)
			if hi := r.below(i, end, rd.size); hi > i {
				rd.segments = append(rd.segments, newSegment(r, place, i, hi))
				keys++
			}
			i = end
		}
	}
	slices.SortFunc(rd.segments, rd.compare)
	for s := rd.segments; len(s) > 0 && len(rd.leaves) < limit; {
		kh, n := rd.key(s[0]), 1
		for n < len(s) && s[n].key == s[0].key && *rd.key(s[n]) == *kh {
			n++
		}
		h := rd.head(kh, list{rd.set, s[:n]})
		rd.leaves = append(rd.leaves, leaf{*kh, h, index.LeafHash(*kh, h)})
		s = s[n:]
	}
	return rd.leaves
}

// compare orders segments by key hash, then by age.
func (rd *reader) compare(a, b segment) int {
	if a.key != b.key {
		return cmp.Compare(a.key, b.key)
	}
	if c := bytes.Compare(rd.key(a)[8:], rd.key(b)[8:]); c != 0 {
		return c
	}
	return cmp.Compare(a.run, b.run)
}

// fork says at which bit the first leaves differ from the others, and how many they
// are. There are at least two, in order.
func fork(leaves []leaf) (depth, n int) {
	depth = index.CommonBits(leaves[0].kh, leaves[len(leaves)-1].kh)
	n, _ = slices.BinarySearchFunc(leaves, 1, func(l leaf, one int) int { return index.Bit(l.kh, depth) - one })
	return depth, n
}

// trieHash is the hash of the trie of these leaves, at least one, in order.
func trieHash(leaves []leaf) index.Hash {
	if len(leaves) == 1 {
		return leaves[0].hash
	}
	depth, n := fork(leaves)
	return index.BranchHash(uint8(depth), trieHash(leaves[:n]), trieHash(leaves[n:]))
}
