package nix

import (
	"bytes"
	"errors"
	"strconv"
	"strings"
	"testing"
)

func TestBase32(t *testing.T) {
	// Known answers from `nix-hash --to-base32 --type sha1|sha256`.
	var vectors []vector
	for _, tt := range []struct{ hex, want string }{
		{"", ""},
		{"1f", "0z"},
		{"da39a3ee5e6b4b0d3255bfef95601890afd80709", "143xibwh31h9bvxzalr0sjvbbvpa6ffs"},
		{"e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855", "0mdqa9w1p6cmli6976v4wi0sw9r4p5prkj7lzfd1877wk11c9c73"},
	} {
		b := unhex(t, tt.hex)
		if got := EncodeBase32(b); got != tt.want {
			t.Errorf("EncodeBase32(%s) = %q, want %q", tt.hex, got, tt.want)
		}
		got, err := DecodeBase32(tt.want)
		if err != nil || !bytes.Equal(got, b) {
			t.Errorf("DecodeBase32(%q) = %x, %v", tt.want, got, err)
		}
		vectors = append(vectors, vector{"of " + strconv.Itoa(len(b)) + " bytes", tt.want, true, map[string]string{"hex": tt.hex}})
	}
	for name, s := range badBase32 {
		if b, err := DecodeBase32(s); !errors.Is(err, ErrBase32) {
			t.Errorf("%s: %q gave %x, %v", name, s, b, err)
		}
	}
	publish(t, "base32", "spec/nix.md#nixbase32: decode input", append(vectors, rejects(badBase32)...))
}

var badBase32 = map[string]string{
	"bits beyond the last byte": "8z", // 2 characters, 10 bits: the top two must be 0
	"bits beyond 32 bytes":      "z" + strings.Repeat("0", 51),
	"letter e":                  "0e",
	"letter o":                  "0o",
	"letter u":                  "0u",
	"letter t":                  "0t",
	"upper case":                "0A",
	"no such length":            "0",
	"no such length either":     "000",
}

func TestParseHash(t *testing.T) {
	want := Hash(unhex(t, "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"))
	for _, s := range []string{
		"sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
		"sha256:E3B0C44298FC1C149AFBF4C8996FB92427AE41E4649B934CA495991B7852B855",
		"sha256:0mdqa9w1p6cmli6976v4wi0sw9r4p5prkj7lzfd1877wk11c9c73",
		"sha256:47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=",
		"sha256-47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=",
	} {
		if h, err := ParseHash(s); err != nil || h != want {
			t.Errorf("%q: %v, %v", s, h, err)
		}
	}
	for name, s := range map[string]string{
		"empty":             "",
		"no algorithm":      "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
		"other algorithm":   "sha1:da39a3ee5e6b4b0d3255bfef95601890afd80709",
		"unknown algorithm": "sha3:da39a3ee5e6b4b0d3255bfef95601890afd80709",
		"too short":         "sha256:e3b0",
		"SRI of base 16":    "sha256-e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
		"padding bits":      "sha256-47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFV=",
		"line break":        "sha256-47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSu\nU=",
		"spill bits":        "sha256:z000000000000000000000000000000000000000000000000000",
	} {
		if h, err := ParseHash(s); !errors.Is(err, ErrHash) {
			t.Errorf("%s: %q gave %v, %v", name, s, h, err)
		}
	}
}

func FuzzBase32(f *testing.F) {
	f.Add("0mdqa9w1p6cmli6976v4wi0sw9r4p5prkj7lzfd1877wk11c9c73")
	f.Add("8z")
	f.Add("")
	f.Fuzz(func(t *testing.T, s string) {
		b, err := DecodeBase32(s)
		if err == nil && EncodeBase32(b) != s {
			t.Errorf("%q decodes to %x, which encodes to %q", s, b, EncodeBase32(b))
		}
		if got, err := DecodeBase32(EncodeBase32([]byte(s))); err != nil || string(got) != s {
			t.Errorf("%q encodes to what decodes to %q, %v", s, got, err)
		}
	})
}

func FuzzHash(f *testing.F) {
	f.Add("sha256:0mdqa9w1p6cmli6976v4wi0sw9r4p5prkj7lzfd1877wk11c9c73")
	f.Add("sha256-47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=")
	f.Fuzz(func(t *testing.T, s string) {
		if h, err := ParseHash(s); err == nil {
			if again, err := ParseHash(h.String()); err != nil || again != h {
				t.Errorf("%q: %v, %v", s, again, err)
			}
		}
	})
}
