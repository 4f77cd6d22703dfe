package substituter

import (
	"encoding/binary"
	"errors"
	"fmt"
	"time"

	"github.com/firn-log/firn/internal/nix"
	"github.com/firn-log/firn/verify"
)

// policyID names the policy under which a decision was made.
type policyID [16]byte

// A decision is what becomes of one path, and what that rests on.
type decision struct {
	info     *nix.NarInfo // what was judged, and where the upstream has its NAR
	upstream string       // URL
	verdict  verify.Verdict
	action   verify.Action
	reason   string // one sentence, without the path
	rule     string
	policy   policyID
	at       time.Time
	answers  []byte // for verify.Session
	mapped   string // the realisation that it is about; "" for a path
	signed   string // which key of ours, and its signature of what is served; "" if there is none
}

// path is that of the decision.
func (d *decision) path() nix.StorePath { return d.info.Path }

// says is the sentence that a person sees in the output of Nix.
func (d *decision) says() string {
	if d.action.Taken() {
		return ""
	}
	verb := "is refused"
	if d.action == verify.Rebuild {
		verb = "is to be built here"
	}
	what := d.path().Base()
	if d.mapped != "" {
		what += ", as what " + d.mapped + " gave,"
	}
	return fmt.Sprintf("firn: %s %s: %s, %s (rule %s; firn policy explain says more)", what, verb, d.verdict, d.reason, d.rule)
}

// decisionVersion is the first byte of an encoded decision. Decisions are derived: those of
// another version are made again.
const decisionVersion = 2

// encode returns the bytes of d: the version, verdict, action, policy and time (nanoseconds since
// 1970), then the length of each and the bytes of upstream, rule, reason,
// answers, signature and narinfo.
func (d *decision) encode() []byte {
	b := []byte{decisionVersion, byte(d.verdict), byte(d.action)}
	b = append(b, d.policy[:]...)
	b = binary.BigEndian.AppendUint64(b, uint64(d.at.UnixNano()))
	for _, part := range []string{d.upstream, d.rule, d.reason, string(d.answers), d.signed, string(d.info.Marshal())} {
		b = binary.AppendUvarint(b, uint64(len(part)))
		b = append(b, part...)
	}
	return b
}

var errDecision = errors.New("not a decision of this version")

// decodeDecision reads what encode wrote, about a path in dir.
func decodeDecision(dir nix.StoreDir, b []byte) (*decision, error) {
	const fixed = 3 + len(policyID{}) + 8
	if len(b) < fixed || b[0] != decisionVersion {
		return nil, errDecision
	}
	d := &decision{verdict: verify.Verdict(b[1]), action: verify.Action(b[2])}
	if d.verdict < verify.Contradicted || d.verdict > verify.Trusted || d.action > verify.Refuse {
		return nil, errDecision
	}
	copy(d.policy[:], b[3:])
	d.at = time.Unix(0, int64(binary.BigEndian.Uint64(b[fixed-8:])))
	b = b[fixed:]
	var parts [6][]byte
	for i := range parts {
		n, used := binary.Uvarint(b)
		if used <= 0 || n > uint64(len(b)-used) || used > 1 && b[used-1] == 0 {
			return nil, errDecision
		}
		parts[i], b = b[used:used+int(n)], b[used+int(n):]
	}
	if len(b) > 0 {
		return nil, errDecision
	}
	d.upstream, d.rule, d.reason = string(parts[0]), string(parts[1]), string(parts[2])
	if len(parts[3]) > 0 {
		d.answers = append([]byte{}, parts[3]...)
	}
	d.signed = string(parts[4])
	var err error
	if d.info, err = nix.ParseNarInfo(dir, parts[5]); err != nil {
		return nil, err
	}
	return d, nil
}

// hashPart is the hash part of a store path, decoded: what decisions are found by.
type hashPart [20]byte

func parseHashPart(s string) (h hashPart, ok bool) {
	b, err := nix.DecodeBase32(s)
	if err != nil || len(b) != len(h) {
		return h, false
	}
	return hashPart(b), true
}

func (h hashPart) String() string { return nix.EncodeBase32(h[:]) }
