package store

import (
	"crypto/sha256"
	"encoding/binary"
	"strconv"
	"strings"

	"github.com/firn-log/firn/internal/nix"
	"github.com/firn-log/firn/log/statement"
	"github.com/firn-log/firn/verify"
)

// outKey names an output: the base name of its path, or drv!output if it is real.
type outKey struct {
	path string
	real bool
}

// own returns the key without the statement that its path may be a part of.
func (k outKey) own() outKey {
	k.path = strings.Clone(k.path)
	return k
}

// claim is what one statement says about one output (spec/tracker.md#model).
type claim struct {
	op, stmt int64
	n        int64 // which of the statement's
	class    verify.Class
	time     int64 // Unix seconds by the signer's clock, 0 if it does not say
	nar      nix.Hash
	rest     [16]byte // digest of store dir, size and references
	impl     string   // only of real outputs
	path     string   // likewise, the full path
}

// fingerprint is what two claims about one output agree on or not.
type fingerprint struct {
	nar  nix.Hash
	rest [16]byte
	path string
}

func (c *claim) fingerprint() fingerprint { return fingerprint{c.nar, c.rest, c.path} }

// said is a claim and what it is about.
type said struct {
	about outKey
	claim
}

// claimsOf returns what s claims about outputs. A content-addressed output of a build is
// claimed twice: its path has this content, and its derivation gave this path.
func claimsOf(s *statement.Statement) (all []said) {
	add := func(about outKey, c claim) {
		c.n, c.time = int64(len(all)), timeOf(s.Body)
		all = append(all, said{about, c})
	}
	switch b := s.Body.(type) {
	case *statement.Build:
		for i := range b.Outputs {
			o := &b.Outputs[i]
			c := claim{class: verify.Built, nar: o.NarHash, rest: restOf(o.Path, o.NarSize, o.References, o.RefsDigest)}
			add(outKey{path: o.Path.Base()}, c)
			if o.CA != "" {
				c.impl, c.path = b.Builder.Implementation, o.Path.String()
				add(outKey{b.DrvPath.Base() + "!" + o.Name, true}, c)
			}
		}
	case *statement.CacheSig:
		add(outKey{path: b.Path.Base()}, claim{class: verify.Signed, nar: b.NarHash, rest: restOf(b.Path, b.NarSize, b.References, b.RefsDigest)})
	case *statement.PathClaim:
		add(outKey{path: b.Path.Base()}, claim{class: verify.Addressed, nar: b.NarHash, rest: restOf(b.Path, b.NarSize, b.References, nil)})
	case *statement.Realisation:
		if b.Drv != nil && b.Builder.Implementation != statement.UnknownImplementation {
			add(outKey{b.Drv.Base() + "!" + b.Output, true}, claim{class: verify.Realised, impl: b.Builder.Implementation, path: b.Path.String()})
		}
	}
	return all
}

func restOf(p nix.StorePath, size uint64, refs []nix.StorePath, digest *nix.Hash) (rest [16]byte) {
	h := sha256.New()
	h.Write([]byte(p.Dir()))
	h.Write([]byte{'\n'})
	h.Write(strconv.AppendUint(nil, size, 10))
	h.Write([]byte{'\n'})
	d := nix.Hash{}
	if digest != nil {
		d = *digest
	} else {
		d = statement.PathsDigest(refs)
	}
	h.Write(d[:])
	copy(rest[:], h.Sum(nil))
	return rest
}

// timeOf returns when something was done by the signer's clock, in Unix seconds, or 0.
func timeOf(b statement.Body) int64 {
	switch b := b.(type) {
	case *statement.Build:
		return int64(b.Finished)
	case *statement.BuildFailed:
		return int64(b.Finished)
	case *statement.Observed:
		return int64(b.Seen)
	case *statement.Eval:
		return int64(b.Evaluated)
	}
	return 0
}

// first60 returns the first 60 bits of a digest: short enough for an index that is
// half as large as one of the digests themselves, and long enough to be as good.
func first60(b []byte) int64 { return int64(binary.BigEndian.Uint64(b) >> 4) }

const base32Digits = "0123456789abcdfghijklmnpqrsvwxyz"

var base32Value = func() (v [256]int8) {
	for i := range v {
		v[i] = -1
	}
	for i, c := range []byte(base32Digits) {
		v[c] = int8(i)
	}
	return v
}()

// hashPart60 returns the first 12 digits of the hash part of a base name as a number; of
// what is none, the first 60 bits of its digest.
func hashPart60(base string) int64 {
	low, _, ok := base32Range(base, 12)
	if !ok {
		d := sha256.Sum256([]byte(base))
		return first60(d[:])
	}
	return low
}

// base32Range returns the least and the greatest number that hashPart60 gives for names
// that begin with the first n digits of prefix, or all of it if it is shorter.
func base32Range(prefix string, n int) (low, high int64, ok bool) {
	n = min(n, 12)
	if len(prefix) < n {
		return 0, 0, false
	}
	for i := range 12 {
		var v int64
		if i < n {
			if v = int64(base32Value[prefix[i]]); v < 0 {
				return 0, 0, false
			}
			low, high = low<<5|v, high<<5|v
			continue
		}
		low, high = low<<5, high<<5|31
	}
	return low, high, true
}
