package witness

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"strconv"
	"strings"

	"golang.org/x/mod/sumdb/tlog"

	"github.com/firn-log/firn/log/policy"
)

const (
	// MaxBody bounds the body of a request in bytes.
	MaxBody = 128 << 10
	// MaxProof bounds the lines of a consistency proof.
	MaxProof = 63
)

// A Request is an add-checkpoint request (spec/witness.md#add-checkpoint).
type Request struct {
	Old   uint64
	Proof []tlog.Hash // at most MaxProof
	Note  *policy.Note
	Head  policy.Head // of the note's text
	// WrongEmpty reports that Head has size 0 and another root than the empty
	// tree: well formed, and never to be signed.
	WrongEmpty bool
}

// ParseRequest reads the body of an add-checkpoint request. Errors match
// policy.ErrMalformed. It verifies nothing; what it accepts, [Request.Marshal]
// gives back byte by byte.
func ParseRequest(body []byte) (*Request, error) {
	if len(body) > MaxBody {
		return nil, fmt.Errorf("%w request: longer than %d bytes", policy.ErrMalformed, MaxBody)
	}
	top, note, ok := bytes.Cut(body, []byte("\n\n"))
	if !ok {
		return nil, fmt.Errorf("%w request: no empty line before the checkpoint", policy.ErrMalformed)
	}
	lines := strings.Split(string(top), "\n")
	old, ok := strings.CutPrefix(lines[0], "old ")
	if !ok {
		return nil, fmt.Errorf("%w request: it does not begin with an old size", policy.ErrMalformed)
	}
	r := new(Request)
	var err error
	if r.Old, err = policy.ParseDecimal(old); err != nil {
		return nil, fmt.Errorf("%w request: %.40q is not a size in shortest decimal form", policy.ErrMalformed, old)
	}
	if r.Proof, err = parseProof(lines[1:]); err != nil {
		return nil, err
	}
	if r.Note, err = policy.ParseNote(note); err != nil {
		return nil, err
	}
	r.Head, r.WrongEmpty, err = parseHead(r.Note.Text)
	return r, err
}

func parseProof(lines []string) ([]tlog.Hash, error) {
	if len(lines) > MaxProof {
		return nil, fmt.Errorf("%w request: more than %d lines of proof", policy.ErrMalformed, MaxProof)
	}
	hashes := make([]tlog.Hash, len(lines))
	for i, l := range lines {
		b, err := policy.DecodeBase64(l)
		if err != nil || len(b) != tlog.HashSize {
			return nil, fmt.Errorf("%w request: line %d is not the base64 of a hash", policy.ErrMalformed, i+2)
		}
		copy(hashes[i][:], b)
	}
	return hashes, nil
}

// parseHead is policy.ParseCheckpoint that tells a wrong root at size 0, which
// has an answer of its own (W5), from a text that is no checkpoint.
func parseHead(text string) (head policy.Head, wrongEmpty bool, err error) {
	lines := strings.SplitN(text, "\n", 4)
	if len(lines) == 4 && lines[1] == "0" {
		root, err := policy.DecodeBase64(lines[2])
		empty := sha256.Sum256(nil)
		if err == nil && len(root) == len(empty) && !bytes.Equal(root, empty[:]) {
			lines[2] = base64.StdEncoding.EncodeToString(empty[:])
			head, err = policy.ParseCheckpoint(strings.Join(lines, "\n"))
			copy(head.Root[:], root)
			return head, true, err
		}
	}
	head, err = policy.ParseCheckpoint(text)
	return head, false, err
}

// Marshal returns the body of the request.
func (r *Request) Marshal() []byte {
	var b bytes.Buffer
	b.WriteString("old " + strconv.FormatUint(r.Old, 10) + "\n")
	for _, h := range r.Proof {
		b.WriteString(base64.StdEncoding.EncodeToString(h[:]) + "\n")
	}
	b.WriteByte('\n')
	b.Write(r.Note.Marshal())
	return b.Bytes()
}
