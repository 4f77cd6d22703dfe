package policy

import (
	"bytes"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"
)

// MaxNote bounds a signed note in bytes: room for far more than the 16
// signatures of nearly 5 kB each that every reader must accept.
const MaxNote = 128 << 10

// ErrMalformed is matched by the error for bytes that are not a signed note or
// whose text is not a checkpoint.
var ErrMalformed = errors.New("malformed")

// A Note is a signed note (c2sp.org/signed-note). Its text means nothing until
// a signature of a trusted key was verified.
type Note struct {
	Text       string // ends in a newline
	Signatures []Signature
}

// A Signature is one signature line of a note.
type Signature struct {
	Name string
	ID   uint32
	Sig  []byte // without the key id
}

const sigPrefix = "— "

// ParseNote reads a signed note of at most [MaxNote] bytes. It verifies nothing.
// What it accepts, [Note.Marshal] gives back byte by byte.
func ParseNote(b []byte) (*Note, error) {
	if len(b) > MaxNote {
		return nil, fmt.Errorf("%w note: longer than %d bytes", ErrMalformed, MaxNote)
	}
	if !utf8.Valid(b) {
		return nil, fmt.Errorf("%w note: not UTF-8", ErrMalformed)
	}
	if i := bytes.IndexFunc(b, func(r rune) bool { return r < 0x20 && r != '\n' }); i >= 0 {
		return nil, fmt.Errorf("%w note: control character at byte %d", ErrMalformed, i)
	}
	split := bytes.LastIndex(b, []byte("\n\n"))
	if split < 0 {
		return nil, fmt.Errorf("%w note: no empty line before the signatures", ErrMalformed)
	}
	n := &Note{Text: string(b[:split+1])}
	lines := string(b[split+2:])
	if !strings.HasSuffix(lines, "\n") {
		return nil, fmt.Errorf("%w note: no signature, or it does not end in a newline", ErrMalformed)
	}
	for line := range strings.Lines(lines) {
		s, err := parseSignature(strings.TrimSuffix(line, "\n"))
		if err != nil {
			return nil, err
		}
		n.Signatures = append(n.Signatures, s)
	}
	return n, nil
}

func parseSignature(line string) (Signature, error) {
	rest, ok := strings.CutPrefix(line, sigPrefix)
	if !ok {
		return Signature{}, fmt.Errorf("%w note: a signature line does not begin with a dash and a space", ErrMalformed)
	}
	name, b64, _ := strings.Cut(rest, " ")
	if err := checkName(name); err != nil {
		return Signature{}, fmt.Errorf("%w note: %w", ErrMalformed, err)
	}
	raw, err := DecodeBase64(b64)
	if err != nil || len(raw) < 5 {
		return Signature{}, fmt.Errorf("%w note: the signature of %s is not the base64 of a key id and a signature", ErrMalformed, name)
	}
	return Signature{Name: name, ID: binary.BigEndian.Uint32(raw), Sig: raw[4:]}, nil
}

// Marshal returns the bytes of the note.
func (n *Note) Marshal() []byte {
	b := append([]byte(n.Text), '\n')
	for _, s := range n.Signatures {
		b = append(b, s.String()...)
	}
	return b
}

// String returns the signature line with its newline.
func (s Signature) String() string {
	raw := binary.BigEndian.AppendUint32(nil, s.ID)
	return sigPrefix + s.Name + " " + base64.StdEncoding.EncodeToString(append(raw, s.Sig...)) + "\n"
}
