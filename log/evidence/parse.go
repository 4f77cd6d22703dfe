package evidence

import (
	"bytes"
	"fmt"
	"strings"

	"golang.org/x/mod/sumdb/tlog"

	"github.com/firn-log/firn/log/policy"
)

const (
	header = "firn-evidence@v1"
	// maxProof bounds the hashes of one proof: no tree is deeper.
	maxProof = 63
)

// Marshal returns the text of the evidence (spec/evidence.md#form).
func (e *Evidence) Marshal() []byte {
	var b bytes.Buffer
	fmt.Fprintf(&b, "%s\nkind %s\nkey %s\n", header, e.Kind, e.Key)
	if e.Index != nil {
		e.Index.marshal(&b)
		return b.Bytes()
	}
	if len(e.Proof) > 0 {
		fmt.Fprintf(&b, "root %s\n", b64(e.Root[:]))
		for _, h := range e.Proof {
			fmt.Fprintf(&b, "proof %s\n", b64(h[:]))
		}
	}
	b.WriteByte('\n')
	b.Write(e.Small)
	b.WriteByte('\n')
	b.Write(e.Large)
	return b.Bytes()
}

// Parse reads evidence of at most [MaxSize] bytes. It verifies nothing; what it
// accepts, [Evidence.Marshal] gives back byte by byte. Errors match ErrMalformed,
// or ErrNotEvidence if the checkpoints would convict nobody even if they were
// signed.
func Parse(b []byte) (*Evidence, error) {
	if len(b) > MaxSize {
		return nil, fmt.Errorf("%w: longer than %d bytes", ErrMalformed, MaxSize)
	}
	// The text of a checkpoint has no empty line, so each has two parts.
	parts := strings.SplitAfter(string(b), "\n\n")
	e := &Evidence{}
	lines, err := e.parseHead(strings.Split(strings.TrimRight(parts[0], "\n"), "\n"))
	if err != nil {
		return nil, err
	}
	if e.Kind == KindIndex {
		if e.Index, err = parseIndex(e.Key, lines, parts[1:]); err != nil {
			return nil, err
		}
		if !bytes.Equal(e.Marshal(), b) {
			return nil, fmt.Errorf("%w: it is not written in the one form that it has", ErrMalformed)
		}
		return e, nil
	}
	if len(parts) != 5 {
		return nil, fmt.Errorf("%w: it does not hold two checkpoints", ErrMalformed)
	}
	e.Small, e.Large = []byte(strings.TrimSuffix(parts[1]+parts[2], "\n")), []byte(parts[3]+parts[4])
	if err := e.parseProof(lines); err != nil {
		return nil, err
	}
	small, err := parseNote(e.Small, e.Key)
	if err != nil {
		return nil, err
	}
	large, err := parseNote(e.Large, e.Key)
	if err != nil {
		return nil, err
	}
	if err := e.checkShape(small.head, large.head); err != nil {
		return nil, err
	}
	return e, nil
}

// parseHead reads kind and key, and returns the lines that follow.
func (e *Evidence) parseHead(lines []string) (rest []string, err error) {
	if lines[0] != header {
		return nil, fmt.Errorf("%w: it does not begin with %s", ErrMalformed, header)
	}
	if len(lines) < 3 {
		return nil, fmt.Errorf("%w: no kind, or no key", ErrMalformed)
	}
	kind, ok := strings.CutPrefix(lines[1], "kind ")
	e.Kind = Kind(kind)
	switch {
	case !ok:
		return nil, fmt.Errorf("%w: its second line is not a kind", ErrMalformed)
	case e.Kind != KindLog && e.Kind != KindWitness && e.Kind != KindIndex:
		return nil, fmt.Errorf("%w: %q is not a kind", ErrMalformed, kind)
	}
	vkey, ok := strings.CutPrefix(lines[2], "key ")
	if !ok {
		return nil, fmt.Errorf("%w: its third line is not a key", ErrMalformed)
	}
	if e.Key, err = policy.ParseKey(vkey); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrMalformed, err)
	}
	if want := e.Kind.keyType(); e.Key.Type != want {
		return nil, fmt.Errorf("%w: the key is of type 0x%02x, that of evidence of the kind %s is of type 0x%02x", ErrMalformed, e.Key.Type, e.Kind, want)
	}
	return lines[3:], nil
}

// keyType is the type of the keys that evidence of a kind convicts.
func (k Kind) keyType() byte {
	if k == KindWitness {
		return policy.TypeCosignature
	}
	return policy.TypeEd25519
}

// parseProof reads the lines with the other root and the proof.
func (e *Evidence) parseProof(lines []string) error {
	if len(lines) == 0 {
		return nil
	}
	if len(lines) < 2 || len(lines) > maxProof+1 {
		return fmt.Errorf("%w: a root comes with 1 to %d hashes of a proof", ErrMalformed, maxProof)
	}
	var err error
	if e.Root, err = parseHash(lines[0], "root "); err != nil {
		return err
	}
	for _, l := range lines[1:] {
		h, err := parseHash(l, "proof ")
		if err != nil {
			return err
		}
		e.Proof = append(e.Proof, h)
	}
	return nil
}

func parseHash(line, word string) (h tlog.Hash, err error) {
	b64, ok := strings.CutPrefix(line, word)
	b, err := policy.DecodeBase64(b64)
	if !ok || err != nil || len(b) != tlog.HashSize {
		return h, fmt.Errorf("%w: %q is not %sand the base64 of a hash", ErrMalformed, line, word)
	}
	return tlog.Hash(b), nil
}

// signed is a checkpoint with one signature.
type signed struct {
	text string
	head policy.Head
	sig  []byte
}

// parseNote reads a note that has the signature of k and no other.
func parseNote(b []byte, k policy.Key) (signed, error) {
	n, err := policy.ParseNote(b)
	if err != nil {
		return signed{}, fmt.Errorf("%w: %w", ErrMalformed, err)
	}
	head, err := policy.ParseCheckpoint(n.Text)
	if err != nil {
		return signed{}, fmt.Errorf("%w: %w", ErrMalformed, err)
	}
	if len(n.Signatures) != 1 || n.Signatures[0].Name != k.Name || n.Signatures[0].ID != k.ID {
		return signed{}, fmt.Errorf("%w: a checkpoint does not have the one signature of %s", ErrMalformed, k.Name)
	}
	return signed{n.Text, head, n.Signatures[0].Sig}, nil
}

// checkShape refuses what is evidence in no case (spec/evidence.md#never-evidence),
// and all but one way to write down what two signatures prove.
func (e *Evidence) checkShape(small, large policy.Head) error {
	switch {
	case small.Origin != large.Origin:
		return fmt.Errorf("%w: the two checkpoints have different origins", ErrNotEvidence)
	case e.Kind == KindLog && e.Key.Name != small.Origin:
		return fmt.Errorf("%w: the key is named %q and not like the origin, %q", ErrNotEvidence, e.Key.Name, small.Origin)
	case small.Size == 0 || large.Size == 0:
		return fmt.Errorf("%w: every tree begins with the empty one, so size 0 proves nothing", ErrNotEvidence)
	case small.Size > large.Size:
		return fmt.Errorf("%w: the larger checkpoint is not the second one", ErrMalformed)
	case small.Size < large.Size && len(e.Proof) == 0:
		return fmt.Errorf("%w: two sizes and no proof: every log grows", ErrNotEvidence)
	case small.Size < large.Size && e.Root == small.Root:
		return fmt.Errorf("%w: the larger tree begins with the smaller one", ErrNotEvidence)
	case small.Size < large.Size:
		return nil
	case len(e.Proof) > 0:
		return fmt.Errorf("%w: one size and a proof", ErrMalformed)
	}
	switch bytes.Compare(small.Root[:], large.Root[:]) {
	case 0:
		return fmt.Errorf("%w: the two checkpoints are of one tree", ErrNotEvidence)
	case 1:
		return fmt.Errorf("%w: of one size, the checkpoint with the smaller root comes first", ErrMalformed)
	}
	return nil
}
