package federation

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"maps"
	"time"

	"golang.org/x/mod/sumdb/tlog"

	"github.com/firn-log/firn/log"
	"github.com/firn-log/firn/log/policy"
)

// maxAhead is how far ahead of this clock a cosignature may be before its time
// is doubted.
const maxAhead = time.Minute

// A signed is a checkpoint with the signatures of known keys that verify: one of
// each log key, one of each witness. Nothing in it changes once it is made.
type signed struct {
	text string
	head policy.Head
	log  []policy.Signature // in the order of the policy's keys
	// cosigned is by the name of the witness in the policy.
	cosigned map[string]policy.Signature
	// carried are lines of ML-DSA keys of the policy, by the name of the witness. Nobody
	// has verified them, and they count for nothing. One without a signature but a time
	// stands for two that contradict each other.
	carried map[string]policy.Signature
	note    []byte // all of it
}

// readSigned verifies a note by a policy, and drops every line that is not by a
// key of it: an unknown line could be anything. Lines of ML-DSA keys of the policy
// are carried as far as merge says (spec/federation.md#lines-of-ml-dsa-keys).
func readSigned(pol *policy.Policy, note []byte, now time.Time) (*signed, *policy.Verified, error) {
	v, err := pol.VerifyLog(note)
	if err != nil {
		return nil, nil, err
	}
	n, err := policy.ParseNote(note)
	if err != nil {
		return nil, nil, err
	}
	s := &signed{text: n.Text, head: v.Head, cosigned: make(map[string]policy.Signature), carried: make(map[string]policy.Signature)}
	for _, k := range v.LogKeys {
		for _, line := range n.Signatures {
			if !has(s.log, k) && line.Name == k.Name && line.ID == k.ID {
				s.log = append(s.log, line)
			}
		}
	}
	for _, w := range pol.Witnesses {
		for _, line := range n.Signatures {
			switch {
			case line.Name != w.Key.Name || line.ID != w.Key.ID:
			case w.Key.Type == policy.TypeCosignature:
				s.cosigned[w.Name] = better(s.cosigned[w.Name], line, now)
			case mayCarry(w.Key, line, now):
				s.carry(w.Name, line)
			}
		}
	}
	s.note = s.marshal(pol)
	return s, v, nil
}

func has(lines []policy.Signature, k policy.Key) bool {
	for _, l := range lines {
		if l.Name == k.Name && l.ID == k.ID {
			return true
		}
	}
	return false
}

// cosignedAt returns the time of a verified cosignature line.
func cosignedAt(s policy.Signature) time.Time {
	return time.Unix(int64(binary.BigEndian.Uint64(s.Sig)), 0)
}

// better returns the line to keep of two by one witness under one text: the newer
// one. A time that is ahead of this clock says that one of the two clocks is
// wrong; it loses to one that is not, so that a witness whose clock was a year
// off once does not look fresh for a year.
func better(a, b policy.Signature, now time.Time) policy.Signature {
	if a.Sig == nil {
		return b
	}
	ta, tb := cosignedAt(a), cosignedAt(b)
	limit := now.Add(maxAhead)
	switch aheadA, aheadB := ta.After(limit), tb.After(limit); {
	case aheadA != aheadB:
		if aheadA {
			return b
		}
		return a
	case tb.After(ta) != aheadA: // both good: the newer; both ahead: the older
		return b
	}
	return a
}

// mayCarry reports whether a line can be one of an ML-DSA key, and is not from the
// future.
func mayCarry(k policy.Key, line policy.Signature, now time.Time) bool {
	at, ok := k.Carried(line.Sig)
	return ok && !at.After(now.Add(maxAhead))
}

// carry keeps the newer of two ML-DSA lines of one key; of two of one time, which one is
// right cannot be known, neither.
func (s *signed) carry(name string, line policy.Signature) {
	old, held := s.carried[name]
	switch {
	case !held || cosignedAt(line).After(cosignedAt(old)):
		s.carried[name] = line
	case cosignedAt(line).Equal(cosignedAt(old)) && !bytes.Equal(line.Sig, old.Sig):
		s.carried[name] = policy.Signature{Name: line.Name, ID: line.ID, Sig: line.Sig[:8]}
	}
}

// merge returns s with the signatures of b under the same text added, and
// whether that changed anything. Nobody can verify an ML-DSA line here, so that one
// that is held is only replaced together with a line that verifies: nobody who can
// sign nothing moves anything.
func (s *signed) merge(pol *policy.Policy, b *signed, now time.Time) (*signed, bool) {
	m := &signed{text: s.text, head: s.head, cosigned: maps.Clone(s.cosigned), carried: maps.Clone(s.carried)}
	for _, l := range pol.Logs {
		for _, line := range append(s.log[:len(s.log):len(s.log)], b.log...) {
			if !has(m.log, l.Key) && line.Name == l.Key.Name && line.ID == l.Key.ID {
				m.log = append(m.log, line)
			}
		}
	}
	news := len(m.log) > len(s.log)
	for name, line := range b.cosigned {
		m.cosigned[name] = better(m.cosigned[name], line, now)
		news = news || !bytes.Equal(m.cosigned[name].Sig, s.cosigned[name].Sig)
	}
	for name, line := range b.carried {
		if _, held := s.carried[name]; news || !held {
			m.carry(name, line)
		}
	}
	m.note = m.marshal(pol)
	if bytes.Equal(m.note, s.note) {
		return s, false
	}
	return m, true
}

func (s *signed) marshal(pol *policy.Policy) []byte {
	n := policy.Note{Text: s.text, Signatures: append([]policy.Signature(nil), s.log...)}
	var carried []policy.Signature
	for _, w := range pol.Witnesses {
		if line, ok := s.cosigned[w.Name]; ok {
			n.Signatures = append(n.Signatures, line)
		}
		if line, ok := s.carried[w.Name]; ok && len(line.Sig) > 8 {
			carried = append(carried, line)
		}
	}
	return policy.AppendCarried(n.Marshal(), carried)
}

// witnesses returns who cosigned, by the names of the policy.
func (s *signed) witnesses() []string {
	names := make([]string, 0, len(s.cosigned))
	for name := range s.cosigned {
		names = append(names, name)
	}
	return names
}

// checkpoint returns s for reading tiles by it.
func (s *signed) checkpoint() *log.Checkpoint {
	return &log.Checkpoint{Origin: s.head.Origin, Size: s.head.Size, Root: tlog.Hash(s.head.Root), Note: s.note}
}

func (s *signed) String() string { return fmt.Sprintf("%s at size %d", s.head.Origin, s.head.Size) }
