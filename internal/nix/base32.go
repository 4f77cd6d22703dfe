package nix

import (
	"errors"
	"fmt"
	"slices"
)

const base32Alphabet = "0123456789abcdfghijklmnpqrsvwxyz"

// base32Value maps a byte to its digit, or to 0xff.
var base32Value = func() (t [256]byte) {
	for i := range t {
		t[i] = 0xff
	}
	for i := range len(base32Alphabet) {
		t[base32Alphabet[i]] = byte(i)
	}
	return t
}()

// ErrBase32 is what errors of DecodeBase32 wrap.
var ErrBase32 = errors.New("not nixbase32")

// EncodeBase32 returns Nix's base 32 text of b, (8·len(b)+4)/5 characters.
// The last character holds the lowest bits of the first byte
// (spec/nix.md#nixbase32).
func EncodeBase32(b []byte) string {
	return string(appendBase32(make([]byte, 0, (len(b)*8+4)/5), b))
}

// appendBase32 appends what EncodeBase32 returns.
func appendBase32(out, b []byte) []byte {
	n := (len(b)*8 + 4) / 5
	out = slices.Grow(out, n)[:len(out)+n]
	at, left, bits := len(out), uint(0), 0
	for _, c := range b {
		left |= uint(c) << bits
		for bits += 8; bits >= 5; bits -= 5 {
			at--
			out[at] = base32Alphabet[left&31]
			left >>= 5
		}
	}
	if bits > 0 {
		out[at-1] = base32Alphabet[left]
	}
	return out
}

// DecodeBase32 is the inverse of EncodeBase32. It refuses characters outside
// the alphabet, lengths that no whole number of bytes has, and bits beyond
// the last byte that are not zero, so that every byte string has one text.
func DecodeBase32(s string) ([]byte, error) {
	size := len(s) * 5 / 8
	if (size*8+4)/5 != len(s) {
		return nil, fmt.Errorf("%w: no byte string has %d characters", ErrBase32, len(s))
	}
	out := make([]byte, size)
	for k := range len(s) {
		v := base32Value[s[len(s)-1-k]]
		if v == 0xff {
			return nil, fmt.Errorf("%w: character %q", ErrBase32, s[len(s)-1-k])
		}
		bit := k * 5
		i, j := bit/8, uint(bit%8)
		out[i] |= v << j
		if j > 3 {
			if spill := v >> (8 - j); i+1 < size {
				out[i+1] |= spill
			} else if spill != 0 {
				return nil, fmt.Errorf("%w: bits beyond the last byte", ErrBase32)
			}
		}
	}
	return out, nil
}

// isBase32 reports whether s has only characters of the alphabet.
func isBase32(s string) bool {
	for i := range len(s) {
		if base32Value[s[i]] == 0xff {
			return false
		}
	}
	return true
}
