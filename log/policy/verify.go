package policy

import (
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/firn-log/firn/internal/ed25519x"
)

// ErrUnknownLog is matched when no log of the policy signed a note under its
// own origin.
var ErrUnknownLog = errors.New("not signed by a log of the policy")

// A SignatureError says that a signature under the name and id of a key of the
// policy is wrong; the whole note is refused then.
type SignatureError struct {
	Name string
	ID   uint32
}

func (e *SignatureError) Error() string {
	return fmt.Sprintf("the signature of %s (key id %08x) does not verify", e.Name, e.ID)
}

// A QuorumError says that too few witnesses cosigned.
type QuorumError struct {
	Origin string
	Size   uint64
	Quorum string   // its name in the policy
	Have   []string // witnesses that cosigned, by policy name
	// Ignored are witnesses whose keys do not count, see [Policy.Ignoring].
	Ignored []string
}

func (e *QuorumError) Error() string {
	have := "nobody"
	if len(e.Have) > 0 {
		have = strings.Join(e.Have, ", ")
	}
	s := fmt.Sprintf("checkpoint of %s at size %d: cosigned by %s, which does not satisfy the quorum %q", e.Origin, e.Size, have, e.Quorum)
	if len(e.Ignored) > 0 {
		s += fmt.Sprintf("; not counted, because evidence is held against it: %s", strings.Join(e.Ignored, ", "))
	}
	return s
}

// A Cosignature is a verified statement of a witness of the policy.
type Cosignature struct {
	Witness string // its name in the policy
	Time    time.Time
}

// Verified is a checkpoint that satisfied a policy.
type Verified struct {
	Head
	LogKeys      []Key // the keys of the policy that signed for this origin
	Cosignatures []Cosignature
	// Time is the newest T such that the cosignatures at or after T satisfy
	// the quorum, and Age is how long ago that was. They say how fresh the
	// checkpoint is known to be. Dated is false, and both are zero, if the
	// policy asks for no witness: then nothing vouches for any time.
	Time  time.Time
	Age   time.Duration
	Dated bool
}

// Verify holds a checkpoint against the policy: a log of the policy must have
// signed it under its own origin, every signature under the name and id of a
// key of the policy must verify, and the cosignatures must satisfy the quorum.
// Signatures of unknown keys are ignored, and so are those of ML-DSA keys.
// Errors match ErrMalformed or ErrUnknownLog or are a *SignatureError or a
// *QuorumError. now is only used for Verified.Age.
func (p *Policy) Verify(note []byte, now time.Time) (*Verified, error) {
	v, seen, err := p.verifyLog(note)
	if err != nil {
		return nil, err
	}
	set := make(map[string]bool)
	for _, c := range v.Cosignatures {
		set[c.Witness] = true
	}
	if !p.satisfied(set) {
		e := &QuorumError{Origin: v.Origin, Size: v.Size, Quorum: p.Quorum, Ignored: p.Ignored()}
		for _, c := range v.Cosignatures {
			e.Have = append(e.Have, c.Witness)
		}
		return nil, e
	}
	if p.Quorum != None {
		v.Dated = true
		v.Time = p.quorumTime(seen)
		v.Age = now.Sub(v.Time)
	}
	return v, nil
}

// VerifyLog is Verify without the quorum: it says only that a log of the policy
// signed the note and that no known signature is wrong. It is for evidence and
// for cosigners; it is never enough to believe a checkpoint.
func (p *Policy) VerifyLog(note []byte) (*Verified, error) {
	v, _, err := p.verifyLog(note)
	return v, err
}

// verifyLog also returns the newest verified timestamp of each witness.
func (p *Policy) verifyLog(note []byte) (*Verified, map[string]int64, error) {
	n, err := ParseNote(note)
	if err != nil {
		return nil, nil, err
	}
	head, err := ParseCheckpoint(n.Text)
	if err != nil {
		return nil, nil, err
	}
	v := &Verified{Head: head}
	seen := make(map[string]int64)
	for _, s := range n.Signatures {
		name := keyName{s.Name, s.ID}
		if l := p.logs[name]; l != nil && l.Key.Type == TypeEd25519 {
			if !ed25519x.Verify(l.Key.Public, []byte(n.Text), s.Sig) {
				return nil, nil, &SignatureError{s.Name, s.ID}
			}
			if l.Key.Name == head.Origin {
				v.LogKeys = append(v.LogKeys, l.Key)
			}
		}
		if w := p.witnesses[name]; w != nil && w.Key.Type == TypeCosignature {
			t, ok := verifyCosignature(w.Key, n.Text, s.Sig)
			if !ok {
				return nil, nil, &SignatureError{s.Name, s.ID}
			}
			if old, ok := seen[w.Name]; !ok || t > old {
				seen[w.Name] = t
			}
		}
	}
	if len(v.LogKeys) == 0 {
		return nil, nil, fmt.Errorf("checkpoint of %q: %w", head.Origin, ErrUnknownLog)
	}
	for _, w := range p.Witnesses {
		if t, ok := seen[w.Name]; ok {
			v.Cosignatures = append(v.Cosignatures, Cosignature{w.Name, time.Unix(t, 0)})
		}
	}
	return v, seen, nil
}

// Verify reports whether sig is a signature of the text of a note by k, of the
// kind that its type makes: a note signature, or an Ed25519 cosignature with its
// time. No other type verifies.
func (k Key) Verify(text string, sig []byte) bool {
	switch k.Type {
	case TypeEd25519:
		return ed25519x.Verify(k.Public, []byte(text), sig)
	case TypeCosignature:
		_, ok := verifyCosignature(k, text, sig)
		return ok
	}
	return false
}

// maxTime bounds the time of a cosignature: the year 9999, after which times have
// neither an RFC 3339 nor a JSON form.
const maxTime = 253402300799

// verifyCosignature checks a timestamped_signature of type Ed25519
// (c2sp.org/tlog-cosignature) and returns its time in unix seconds.
func verifyCosignature(k Key, text string, sig []byte) (int64, bool) {
	if len(sig) != 8+64 {
		return 0, false
	}
	t := binary.BigEndian.Uint64(sig)
	if t > maxTime {
		return 0, false
	}
	return int64(t), ed25519x.Verify(k.Public, CosignatureMessage(text, t), sig[8:])
}

// VerifyCosignature checks a timestamped_signature (the Sig of a signature line)
// by a witness's Ed25519 key under the text of a checkpoint, and returns its time.
// ok is false for keys of other types.
func (k Key) VerifyCosignature(text string, sig []byte) (at time.Time, ok bool) {
	if k.Type != TypeCosignature {
		return time.Time{}, false
	}
	t, ok := verifyCosignature(k, text, sig)
	return time.Unix(t, 0), ok
}

// mldsaSignatureSize is the size of an ML-DSA-44 signature in bytes.
const mldsaSignatureSize = 2420

// MaxCarried is how many ML-DSA lines a note is given at most by those who pass it on.
const MaxCarried = 16

// Carried returns the time in a signature (the Sig of a signature line) by an ML-DSA
// key. Nobody verifies it here: it says only that the line has the form of one, and may be
// passed on to those who can. ok is false for keys of other types.
func (k Key) Carried(sig []byte) (at time.Time, ok bool) {
	if k.Type != TypeMLDSA || len(sig) != 8+mldsaSignatureSize {
		return time.Time{}, false
	}
	t := binary.BigEndian.Uint64(sig)
	return time.Unix(int64(min(t, maxTime)), 0), t <= maxTime
}

// AppendCarried appends ML-DSA lines to a signed note, as many as fit: it stays
// within [MaxNote], and they are at most [MaxCarried].
func AppendCarried(note []byte, lines []Signature) []byte {
	for i, l := range lines {
		text := l.String()
		if i == MaxCarried || len(note)+len(text) > MaxNote {
			break
		}
		note = append(note, text...)
	}
	return note
}

// CosignatureMessage returns the bytes that an Ed25519 cosigner signs for the
// text of a checkpoint at a time in unix seconds.
func CosignatureMessage(text string, t uint64) []byte {
	return []byte("cosignature/v1\ntime " + strconv.FormatUint(t, 10) + "\n" + text)
}

// quorumTime returns the newest T such that the witnesses with a time at or
// after T satisfy the quorum; all of them together do.
func (p *Policy) quorumTime(seen map[string]int64) time.Time {
	times := make([]int64, 0, len(seen))
	for _, t := range seen {
		times = append(times, t)
	}
	slices.Sort(times)
	slices.Reverse(times)
	for _, limit := range times {
		set := make(map[string]bool)
		for name, t := range seen {
			if t >= limit {
				set[name] = true
			}
		}
		if p.satisfied(set) {
			return time.Unix(limit, 0)
		}
	}
	return time.Time{}
}
