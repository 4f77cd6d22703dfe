package triedb

import (
	"bytes"
	"encoding/binary"
	"slices"

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

// A segment is where one run holds items of one key hash: the records lo to hi−1, at least one.
type segment struct {
	kh     *index.Hash // in the run
	r      *run
	age    int // of the run: the oldest is 0
	lo, hi int
}

// A list is where the items of a key hash are, oldest first.
type list []segment

func (l list) count() (n uint64) {
	for _, s := range l {
		n += uint64(s.hi - s.lo)
	}
	return n
}

// items calls f with the items at the positions from to to−1.
func (l list) items(from, to uint64, f func(index.Item)) {
	at := uint64(0)
	for _, s := range l {
		n := uint64(s.hi - s.lo)
		for i := max(from, at); i < min(to, at+n); i++ {
			f(s.r.item(s.lo + int(i-at)))
		}
		at += n
	}
}

// A reader reads one state from a set of runs: the items with an index below
// size. It is for one goroutine, and what it returns is valid until the next call.
type reader struct {
	set      *runSet
	size     uint64
	hot      *hotKeys
	segments []segment
	leaves   []leaf
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
	for age, r := range rd.set.runs {
		if r.n == 0 || r.from >= rd.size {
			continue
		}
		i := r.seek(&kh)
		if i == r.n || *r.key(i) != kh {
			continue
		}
		if hi := r.below(i, r.end(i), rd.size); hi > i {
			rd.segments = append(rd.segments, segment{r.key(i), r, age, i, hi})
		}
	}
	return rd.segments
}

func (rd *reader) head(kh *index.Hash, l list) index.Head {
	n := l.count()
	if n == 1 {
		return index.Head{Count: 1, Root: index.ItemHash(l[0].r.item(l[0].lo))}
	}
	return rd.hot.frontier(kh, l, n).Root()
}

// gather returns the leaves of the trie with this prefix, in order; the first
// limit of them if there are more.
func (rd *reader) gather(p prefix, limit int) []leaf {
	rd.segments, rd.leaves = rd.segments[:0], rd.leaves[:0]
	for age, r := range rd.set.runs {
		if r.n == 0 || r.from >= rd.size {
			continue
		}
		keys := 0
		for i := r.seek(&p.bits); i < r.n && keys < limit; {
			kh := r.key(i)
			if !p.has(kh) {
				break
			}
			end := r.end(i)
			if hi := r.below(i, end, rd.size); hi > i {
				rd.segments = append(rd.segments, segment{kh, r, age, i, hi})
				keys++
			}
			i = end
		}
	}
	slices.SortFunc(rd.segments, func(a, b segment) int {
		if c := bytes.Compare(a.kh[:], b.kh[:]); c != 0 {
			return c
		}
		return a.age - b.age
	})
	for s := rd.segments; len(s) > 0 && len(rd.leaves) < limit; {
		n := 1
		for n < len(s) && *s[n].kh == *s[0].kh {
			n++
		}
		h := rd.head(s[0].kh, s[:n])
		rd.leaves = append(rd.leaves, leaf{*s[0].kh, h, index.LeafHash(*s[0].kh, h)})
		s = s[n:]
	}
	return rd.leaves
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
