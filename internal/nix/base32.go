package nix

import (
	"errors"
	"fmt"
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
	for k := (len(b)*8+4)/5 - 1; k >= 0; k-- {
		bit := k * 5
		i, j := bit/8, uint(bit%8)
		c := b[i] >> j
		if j > 3 && i+1 < len(b) {
			c |= b[i+1] << (8 - j)
		}
		out = append(out, base32Alphabet[c&31])
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
