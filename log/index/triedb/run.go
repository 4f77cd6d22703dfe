package triedb

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"math/bits"
	"sort"

	"github.com/firn-log/firn/log/index"
	"github.com/firn-log/firn/log/statement"
)

// A run holds the items of the leaves from to to−1, sorted by key hash and then
// by index. In memory and in a file it is the same bytes; all numbers are big-endian:
//
//	header   16 bytes runMagic, 32 SHA-256 of the origin, 8 from, 8 to,
//	         8 number of records, 4 number of signers, 4 bits of the directory
//	signers  32 bytes each: key ids, strictly increasing
//	records  40 bytes each: 32 key hash, 5 index, 3 number of the signer
//	cells    4 bytes each, 2^bits + 1 of them: cell c is the number of records
//	         whose first bits are below c
//	sum      4 bytes: CRC-32C of everything before
type run struct {
	seq      uint64 // number of the file, 0 in memory
	from, to uint64
	n        int // records
	bits     int // of the directory
	sum      uint32
	data     []byte
	signers  []byte
	records  []byte
	cells    []byte

	refs int  // sets that hold it; guarded by DB.mu
	busy bool // being rewritten; guarded by DB.mu
}

const (
	runMagic   = "firn-triedb-run1"
	headerSize = 16 + 32 + 8 + 8 + 8 + 4 + 4
	recordSize = 32 + 8
	signerSize = 32
	cellSize   = 4
	sumSize    = 4

	maxIndex     = 1<<40 - 1
	maxSigners   = 1 << 24
	maxRecords   = 1<<32 - 1
	maxBits      = 28
	recordsACell = 16 // at most, on average, in a directory of fewer than maxBits bits
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// A header is what is known of a run before its records.
type header struct {
	origin           [32]byte
	from, to         uint64
	records, signers int
}

func originHash(origin string) [32]byte { return sha256.Sum256([]byte(origin)) }

// dirBits is the number of bits of the directory of n records.
func dirBits(n int) int { return min(bits.Len(uint(n/recordsACell)), maxBits) }

func (h header) size() int {
	return headerSize + h.signers*signerSize + h.records*recordSize + (1<<dirBits(h.records)+1)*cellSize + sumSize
}

func (h header) append(b []byte) []byte {
	b = append(b, runMagic...)
	b = append(b, h.origin[:]...)
	b = binary.BigEndian.AppendUint64(b, h.from)
	b = binary.BigEndian.AppendUint64(b, h.to)
	b = binary.BigEndian.AppendUint64(b, uint64(h.records))
	b = binary.BigEndian.AppendUint32(b, uint32(h.signers))
	return binary.BigEndian.AppendUint32(b, uint32(dirBits(h.records)))
}

// parseRun reads the header of a run and cuts data into its parts. It looks at
// nothing else: see check.
func parseRun(data []byte, origin [32]byte) (*run, error) {
	if len(data) < headerSize+sumSize || string(data[:16]) != runMagic {
		return nil, fmt.Errorf("no run of an index, or cut off in the header")
	}
	if [32]byte(data[16:48]) != origin {
		return nil, fmt.Errorf("a run of the index of another log")
	}
	u64 := func(at int) uint64 { return binary.BigEndian.Uint64(data[at:]) }
	from, to, records := u64(48), u64(56), u64(64)
	signers, dir := binary.BigEndian.Uint32(data[72:]), binary.BigEndian.Uint32(data[76:])
	if from > to || to > maxIndex+1 || records > maxRecords || signers > maxSigners {
		return nil, fmt.Errorf("a run with an impossible header")
	}
	h := header{origin: origin, from: from, to: to, records: int(records), signers: int(signers)}
	if int(dir) != dirBits(h.records) || h.size() != len(data) {
		return nil, fmt.Errorf("a run of %d bytes, its header says %d", len(data), h.size())
	}
	r := &run{from: from, to: to, n: h.records, bits: int(dir), data: data}
	rest := data[headerSize:]
	cut := func(n int) (part []byte) {
		part, rest = rest[:n:n], rest[n:]
		return part
	}
	r.signers = cut(h.signers * signerSize)
	r.records = cut(h.records * recordSize)
	r.cells = cut((1<<r.bits + 1) * cellSize)
	r.sum = binary.BigEndian.Uint32(rest)
	return r, nil
}

// intact reports an error if the bytes are not those that the sum is of.
func (r *run) intact() error {
	if crc32.Checksum(r.data[:len(r.data)-sumSize], castagnoli) != r.sum {
		return fmt.Errorf("the checksum of a run does not match")
	}
	return nil
}

// check reads all of a run and reports an error if it is not what a writer
// writes.
func (r *run) check() error {
	if err := r.intact(); err != nil {
		return err
	}
	signers := len(r.signers) / signerSize
	for i := 1; i < signers; i++ {
		if bytes.Compare(r.signers[(i-1)*signerSize:i*signerSize], r.signers[i*signerSize:(i+1)*signerSize]) >= 0 {
			return fmt.Errorf("the signers of a run are not in order")
		}
	}
	next := 0 // the first cell that has not been compared
	for i := range r.n {
		if i > 0 && bytes.Compare(r.records[(i-1)*recordSize:i*recordSize-3], r.records[i*recordSize:(i+1)*recordSize-3]) >= 0 {
			return fmt.Errorf("record %d of a run is not in order", i)
		}
		if at := r.index(i); at < r.from || at >= r.to || int(r.word(i)&(maxSigners-1)) >= signers {
			return fmt.Errorf("record %d of a run has an impossible index or signer", i)
		}
		for c := cellOf(r.key(i), r.bits); next <= c; next++ {
			if r.cell(next) != i {
				return fmt.Errorf("cell %d of a run's directory is wrong", next)
			}
		}
	}
	for ; next <= 1<<r.bits; next++ {
		if r.cell(next) != r.n {
			return fmt.Errorf("cell %d of a run's directory is wrong", next)
		}
	}
	return nil
}

func (r *run) key(i int) *index.Hash { return (*index.Hash)(r.records[i*recordSize:]) }

// word is the index, 40 bits, and the number of the signer, 24 bits.
func (r *run) word(i int) uint64 { return binary.BigEndian.Uint64(r.records[i*recordSize+32:]) }

func (r *run) index(i int) uint64 { return r.word(i) >> 24 }

func (r *run) cell(c int) int { return int(binary.BigEndian.Uint32(r.cells[c*cellSize:])) }

func (r *run) item(i int) index.Item {
	w := r.word(i)
	at := int(w&(maxSigners-1)) * signerSize
	return index.Item{Index: w >> 24, Signer: statement.KeyID(r.signers[at : at+signerSize])}
}

// cellOf is the cell of a directory of n bits that a key hash belongs in.
func cellOf(kh *index.Hash, n int) int {
	return int(uint64(binary.BigEndian.Uint32(kh[:])) >> (32 - n))
}

// seek returns the first record whose key hash is not below kh.
func (r *run) seek(kh *index.Hash) int {
	c := cellOf(kh, r.bits)
	lo, hi := r.cell(c), r.cell(c+1)
	for lo < hi {
		mid := int(uint(lo+hi) >> 1)
		if bytes.Compare(r.key(mid)[:], kh[:]) < 0 {
			lo = mid + 1
		} else {
			hi = mid
		}
	}
	return lo
}

// end returns the first record after i with another key hash. Nearly all are
// the next one, some are a million records away.
func (r *run) end(i int) int {
	kh, step := r.key(i), 1
	for i+step < r.n && *r.key(i + step) == *kh {
		step *= 2
	}
	lo, hi := i+step/2, min(i+step, r.n)
	return lo + sort.Search(hi-lo, func(d int) bool { return *r.key(lo + d) != *kh })
}

// below returns the first of the records lo to hi−1, of one key hash, whose index
// is not below size; hi if there is none.
func (r *run) below(lo, hi int, size uint64) int {
	if r.to <= size {
		return hi
	}
	return lo + sort.Search(hi-lo, func(d int) bool { return r.index(lo+d) >= size })
}
