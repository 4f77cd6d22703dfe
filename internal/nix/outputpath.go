package nix

import (
	"crypto/sha256"
	"encoding/hex"
	"strings"
)

func sha256Sum(s string) [32]byte { return sha256.Sum256([]byte(s)) }

// makeStorePath is the one formula behind every store path
// (spec/nix.md#store-path-hash): the SHA-256 of
// "<kind>:sha256:<hex>:<store dir>:<name>", folded to 20 bytes.
func makeStorePath(dir StoreDir, kind string, inner [32]byte, name string) (StorePath, error) {
	if err := CheckName(name); err != nil {
		return StorePath{}, err
	}
	if err := dir.Validate(); err != nil {
		return StorePath{}, err
	}
	hash := hashPart(dir, kind, inner, name)
	return StorePath{dir: dir, base: string(hash[:]) + "-" + name}, nil
}

// hashPart returns the hash part of such a path.
func hashPart(dir StoreDir, kind string, inner [32]byte, name string) (text [HashPartLen]byte) {
	var room [256]byte
	b := append(append(room[:0], kind...), ":sha256:"...)
	b = hex.AppendEncode(b, inner[:])
	b = append(append(append(append(b, ':'), dir...), ':'), name...)
	h := sha256.Sum256(b)
	folded := [20]byte(h[:])
	for i, b := range h[20:] {
		folded[i] ^= b
	}
	appendBase32(text[:0], folded[:])
	return text
}

// OutputPath returns the path of one output of an input-addressed derivation
// from the derivation's masked hash modulo (ModuloCache.Modulo) and its name
// without ".drv" (spec/nix.md#output-paths).
func OutputPath(dir StoreDir, modulo Hash, drvName, output string) (StorePath, error) {
	if err := CheckName(output); err != nil {
		return StorePath{}, err
	}
	return makeStorePath(dir, "output:"+output, modulo, OutputName(drvName, output))
}

// IsOutputPath reports whether p is the path that OutputPath returns in its store directory. It
// makes none to compare it with.
func IsOutputPath(p StorePath, modulo Hash, drvName, output string) bool {
	rest, ok := strings.CutPrefix(p.Name(), drvName)
	if ok && output != "out" {
		rest, ok = strings.CutPrefix(rest, "-")
		ok = ok && rest == output
	} else {
		ok = ok && rest == ""
	}
	if !ok || CheckName(output) != nil {
		return false
	}
	hash := hashPart(p.dir, "output:"+output, modulo, p.Name())
	return string(hash[:]) == p.HashPart()
}

// OutputName returns the name that the path of an output has: the
// derivation's name, followed by a hyphen and the output unless that is
// "out".
func OutputName(drvName, output string) string {
	if output == "out" {
		return drvName
	}
	return drvName + "-" + output
}
