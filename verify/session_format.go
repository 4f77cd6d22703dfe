package verify

import (
	"bytes"
	"crypto/sha256"

	"github.com/firn-log/firn/internal/nix"
	"github.com/firn-log/firn/log/statement"
)

// answer is what one log holds about one subject, as far as it was asked.
type answer struct {
	signers signersHash
	basis   basisID
	claims  map[string]remembered[record] // by index key
}

// basisID names what answers rest on: a checkpoint and what vouched for its index.
type basisID [8]byte

// signersHash names the signers that were asked for.
type signersHash [8]byte

func basisOf(m *memory) basisID {
	h := sha256.New()
	e := encoder{}
	e.bytes(m.note)
	e.uint(m.size)
	for _, v := range m.vouched {
		e.bytes(v)
	}
	h.Write(e.b)
	return basisID(h.Sum(nil)[:8])
}

func signersID(signers []statement.KeyID) signersHash {
	h := sha256.New()
	for _, k := range signers {
		h.Write(k[:])
	}
	return signersHash(h.Sum(nil)[:8])
}

// answersVersion is the first byte of encoded answers. They are derived: another version is
// asked for again.
const answersVersion = 1

// encodeAnswers writes what is known of one subject, log by log: which log, which signers, the
// basis, and for each of its index keys how far the list is known and the claims in it. A
// checksum ends it.
func (s *Session) encodeAnswers(of []answer, keys []string) []byte {
	e := encoder{b: []byte{answersVersion}}
	for i, a := range of {
		l := s.logs[i]
		if a.claims == nil || a.signers != signersID(l.mem.signers) {
			e.uint(0)
			continue
		}
		e.uint(1)
		id := l.id()
		e.b = append(append(append(e.b, id[:]...), a.signers[:]...), a.basis[:]...)
		for _, key := range keys {
			got, ok := a.claims[key]
			if !ok {
				e.uint(0)
				continue
			}
			e.uint(1)
			e.upTo(got.upTo, got.head)
			e.uint(uint64(len(got.entries)))
			for _, rec := range got.entries {
				e.record(key, rec, l.mem.signers)
			}
		}
	}
	return append(e.b, checksum(e.b)[:8]...)
}

// decodeAnswers reads what encodeAnswers wrote. What does not belong to the logs and signers of
// now is left out, and so is everything if a byte is wrong.
func (s *Session) decodeAnswers(data []byte, keys []string) []answer {
	none := make([]answer, len(s.logs))
	if len(data) < 9 || data[0] != answersVersion || !bytes.Equal(data[len(data)-8:], checksum(data[:len(data)-8])[:8]) {
		return none
	}
	d := &decoder{b: data[1 : len(data)-8]}
	out := make([]answer, len(s.logs))
	for i, l := range s.logs {
		if d.uint() == 0 {
			continue
		}
		id, a := l.id(), answer{claims: make(map[string]remembered[record])}
		of := d.take(8)
		copy(a.signers[:], d.take(8))
		copy(a.basis[:], d.take(8))
		if d.err != nil || !bytes.Equal(of, id[:]) || a.signers != signersID(l.mem.signers) {
			return none // of another policy, or of other keys
		}
		for _, key := range keys {
			if d.uint() == 0 {
				continue
			}
			a.claims[key] = d.claims(key, l.mem.signers)
		}
		out[i] = a
	}
	if d.err != nil || len(d.b) > 0 || !bytes.Equal(s.encodeAnswers(out, keys), data) {
		return none
	}
	return out
}

func (d *decoder) claims(key string, signers []statement.KeyID) (r remembered[record]) {
	var path nix.StorePath
	if len(key) > 4 && key[:4] == "out:" {
		path = d.path(key[4:])
	}
	r.upTo, r.head = d.upTo()
	for n := d.count(100); n > 0 && d.err == nil; n-- {
		r.entries = append(r.entries, d.record(path, signers))
	}
	return r
}

// id names a log in encoded answers.
func (l *sessionLog) id() [8]byte {
	sum := sha256.Sum256([]byte(l.ref.Policy.Logs[0].Key.String()))
	return [8]byte(sum[:8])
}
