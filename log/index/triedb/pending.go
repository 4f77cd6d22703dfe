package triedb

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"fmt"
	"slices"

	"github.com/firn-log/firn/log/index"
	"github.com/firn-log/firn/log/statement"
)

// pending are the items that are in no run yet.
type pending struct {
	from    uint64 // first leaf
	records []record
	numbers map[statement.KeyID]uint64 // of the signers, in the order of their coming
	signers []statement.KeyID
}

// A record is an item as it stands in a run.
type record struct {
	kh   index.Hash
	word uint64
}

func (p *pending) add(leaf uint64, row Row) error {
	if leaf > maxIndex {
		return fmt.Errorf("adding leaf %d to the index: it holds at most %d", leaf, uint64(maxIndex))
	}
	if len(row.Keys)+len(row.Hashes) == 0 {
		return nil
	}
	number, known := p.numbers[row.Signer]
	if !known {
		if p.numbers == nil {
			p.numbers = make(map[statement.KeyID]uint64)
		}
		number = uint64(len(p.signers))
		p.numbers[row.Signer] = number
		p.signers = append(p.signers, row.Signer)
	}
	for _, k := range row.Keys {
		p.records = append(p.records, record{index.KeyHash(k), leaf<<24 | number})
	}
	for _, kh := range row.Hashes {
		p.records = append(p.records, record{kh, leaf<<24 | number})
	}
	return nil
}

func (a record) compare(b record) int {
	x, y := binary.BigEndian.Uint64(a.kh[:]), binary.BigEndian.Uint64(b.kh[:])
	if x != y {
		return cmp.Compare(x, y)
	}
	if c := bytes.Compare(a.kh[8:], b.kh[8:]); c != 0 {
		return c
	}
	return cmp.Compare(a.word, b.word)
}

// run makes a run of the leaves below to and forgets them.
func (p *pending) run(origin [32]byte, to uint64) *run {
	order := make([]int, len(p.signers))
	for i := range order {
		order[i] = i
	}
	slices.SortFunc(order, func(a, b int) int { return bytes.Compare(p.signers[a][:], p.signers[b][:]) })
	renumber := make([]uint64, len(order))
	for sorted, came := range order {
		renumber[came] = uint64(sorted)
	}
	slices.SortFunc(p.records, record.compare)
	p.records = slices.Compact(p.records) // a row may name a key twice

	w := newMemoryWriter(header{origin: origin, from: p.from, to: to, records: len(p.records), signers: len(order)})
	for _, came := range order {
		w.signer(p.signers[came][:])
	}
	for i := range p.records {
		rec := &p.records[i]
		w.record(&rec.kh, rec.word&^(maxSigners-1)|renumber[rec.word&(maxSigners-1)])
	}
	r := w.memoryRun()
	*p = pending{from: to, records: p.records[:0]}
	return r
}
