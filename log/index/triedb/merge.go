package triedb

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
)

// errStopped ends a merge when the DB is closed.
var errStopped = errors.New("stopped")

// worthMerging returns the first of the runs at the end that should become one,
// −1 if there are none: a run stays larger than all newer ones together, so that
// n items are in at most log2 n runs and each is moved about as often. The newest runs
// come last.
func worthMerging(runs []*run) int {
	first, records, signers := -1, 0, 0
	for i := len(runs) - 1; i >= 0; i-- {
		r := runs[i]
		newer := records
		records += r.n
		signers += len(r.signers) / signerSize
		if records > maxRecords || signers > maxSigners {
			break
		}
		if i < len(runs)-1 && r.n <= newer {
			first = i
		}
	}
	return first
}

// A cursor is a place in one of the runs that are merged.
type cursor struct {
	r        *run
	at       int
	key      uint64   // first bytes of the key hash at at
	renumber []uint32 // signers
}

func (c *cursor) load() { c.key = binary.BigEndian.Uint64(c.r.records[c.at*recordSize:]) }

// before reports whether c's record comes before that of d, an older run.
func (c *cursor) before(d *cursor) bool {
	if c.key != d.key {
		return c.key < d.key
	}
	return bytes.Compare(c.r.key(c.at)[8:], d.r.key(d.at)[8:]) < 0
}

// mergedHeader is the header of the run of all adjacent runs, and mergeSigners
// what the numbers of their signers become.
func mergedHeader(origin [32]byte, runs []*run) (header, [][]uint32) {
	h := header{origin: origin, from: runs[0].from, to: runs[len(runs)-1].to}
	renumber := make([][]uint32, len(runs))
	for i, r := range runs {
		h.records += r.n
		renumber[i] = make([]uint32, len(r.signers)/signerSize)
	}
	mergeSigners(runs, func([]byte) { h.signers++ }, func(r, old int) { renumber[r][old] = uint32(h.signers) })
	return h, renumber
}

// mergeSigners calls is for each signer of each run, and then next for the id
// that they are of, in order.
func mergeSigners(runs []*run, next func(id []byte), is func(run, old int)) {
	at := make([]int, len(runs))
	id := func(i int) []byte {
		if off := at[i] * signerSize; off < len(runs[i].signers) {
			return runs[i].signers[off : off+signerSize]
		}
		return nil
	}
	for {
		var least []byte
		for i := range runs {
			if s := id(i); s != nil && (least == nil || bytes.Compare(s, least) < 0) {
				least = s
			}
		}
		if least == nil {
			return
		}
		for i := range runs {
			if s := id(i); s != nil && bytes.Equal(s, least) {
				is(i, at[i])
				at[i]++
			}
		}
		next(least)
	}
}

// merge writes the run of all adjacent runs, oldest first. It returns errStopped soon after stop
// is closed.
func merge(w io.Writer, origin [32]byte, runs []*run, stop <-chan struct{}) error {
	h, renumber := mergedHeader(origin, runs)
	rw := newRunWriter(w, h)
	mergeSigners(runs, rw.signer, func(int, int) {})
	var live []*cursor
	for i, r := range runs {
		if r.n > 0 {
			c := &cursor{r: r, renumber: renumber[i]}
			c.load()
			live = append(live, c)
		}
	}
	for len(live) > 0 {
		if rw.n%(64<<10) == 0 && (stopped(stop) || rw.err != nil) {
			return errors.Join(rw.err, errStopped)
		}
		least := 0
		for i := 1; i < len(live); i++ {
			if live[i].before(live[least]) {
				least = i
			}
		}
		c := live[least]
		word := c.r.word(c.at)
		rw.record(c.r.key(c.at), word&^(maxSigners-1)|uint64(c.renumber[word&(maxSigners-1)]))
		if c.at++; c.at < c.r.n {
			c.load()
		} else {
			live = append(live[:least], live[least+1:]...)
		}
	}
	return rw.end()
}

// mergeInMemory merges runs that are few and small.
func mergeInMemory(origin [32]byte, runs []*run) *run {
	h, _ := mergedHeader(origin, runs)
	m := &memory{data: make([]byte, 0, h.size())}
	if err := merge(m, origin, runs, nil); err != nil {
		panic("triedb: merging in memory: " + err.Error()) // writing to memory does not fail
	}
	r, err := parseRun(m.data, origin)
	if err != nil {
		panic("triedb: a run that was just merged: " + err.Error()) // a mistake in this package
	}
	return r
}

func stopped(stop <-chan struct{}) bool {
	select {
	case <-stop:
		return true
	default:
		return false
	}
}
