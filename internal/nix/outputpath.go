package nix

import (
	"crypto/sha256"
	"encoding/hex"
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
	var room [256]byte
	b := append(append(room[:0], kind...), ":sha256:"...)
	b = hex.AppendEncode(b, inner[:])
	b = append(append(append(append(b, ':'), dir...), ':'), name...)
	h := sha256.Sum256(b)
	var folded [20]byte
	for i, b := range h {
		folded[i%20] ^= b
	}
	b = append(append(appendBase32(room[:0], folded[:]), '-'), name...)
	return StorePath{dir: dir, base: string(b)}, nil
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

// OutputName returns the name that the path of an output has: the
// derivation's name, followed by a hyphen and the output unless that is
// "out".
func OutputName(drvName, output string) string {
	if output == "out" {
		return drvName
	}
	return drvName + "-" + output
}
