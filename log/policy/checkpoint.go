package policy

import (
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"strconv"
	"strings"
)

// MaxSize bounds the size of a tree: no log has so many entries, and arithmetic
// on larger ones overflows in more than one library, golang.org/x/mod among them.
const MaxSize = 1 << 60

// A Head is what the text of a checkpoint says (c2sp.org/tlog-checkpoint).
type Head struct {
	Origin     string
	Size       uint64 // at most MaxSize
	Root       [32]byte
	Extensions []string // never written by firn, tolerated when read
}

// ParseCheckpoint reads the text of a checkpoint, without signatures. It says
// nothing about who signed it; use [Policy.Verify] for that. What it accepts,
// [Head.Text] gives back byte by byte.
func ParseCheckpoint(text string) (Head, error) {
	body, ok := strings.CutSuffix(text, "\n")
	if !ok {
		return Head{}, fmt.Errorf("%w checkpoint: it does not end in a newline", ErrMalformed)
	}
	lines := strings.Split(body, "\n")
	if len(lines) < 3 {
		return Head{}, fmt.Errorf("%w checkpoint: %d lines, at least 3 are needed", ErrMalformed, len(lines))
	}
	for i, l := range lines {
		if l == "" {
			return Head{}, fmt.Errorf("%w checkpoint: line %d is empty", ErrMalformed, i+1)
		}
	}
	size, err := ParseDecimal(lines[1])
	if err != nil || size > MaxSize {
		return Head{}, fmt.Errorf("%w checkpoint: %q is not a tree size", ErrMalformed, lines[1])
	}
	h := Head{Origin: lines[0], Size: size}
	root, err := DecodeBase64(lines[2])
	if err != nil || len(root) != len(h.Root) {
		return Head{}, fmt.Errorf("%w checkpoint: the third line is not the base64 of 32 bytes", ErrMalformed)
	}
	copy(h.Root[:], root)
	if h.Size == 0 && h.Root != sha256.Sum256(nil) {
		return Head{}, fmt.Errorf("%w checkpoint: size 0 with the root of a tree that is not empty", ErrMalformed)
	}
	if len(lines) > 3 {
		h.Extensions = lines[3:]
	}
	return h, nil
}

// Text returns the text of the checkpoint.
func (h Head) Text() string {
	lines := append([]string{
		h.Origin, strconv.FormatUint(h.Size, 10), base64.StdEncoding.EncodeToString(h.Root[:]),
	}, h.Extensions...)
	return strings.Join(lines, "\n") + "\n"
}

// DecodeBase64 reads padded base64 as RFC 4648 §4 writes it and in no other
// form. encoding/base64 skips line breaks, even when it is strict.
func DecodeBase64(s string) ([]byte, error) {
	if strings.ContainsAny(s, "\r\n") {
		return nil, errors.New("a line break in base64")
	}
	return base64.StdEncoding.Strict().DecodeString(s)
}

// ParseDecimal reads the only decimal form of an unsigned number: digits, no
// sign, no leading zero.
func ParseDecimal(s string) (uint64, error) {
	n, err := strconv.ParseUint(s, 10, 64)
	if err != nil {
		return 0, err
	}
	if strconv.FormatUint(n, 10) != s {
		return 0, fmt.Errorf("%q is not in shortest decimal form", s)
	}
	return n, nil
}
