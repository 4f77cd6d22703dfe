package statement

import (
	"bytes"
	"fmt"
	"strings"

	"github.com/firn-log/firn/internal/nix"
)

// MarshalPaths returns the blob of a list whose digest is [PathsDigest]: each base
// name followed by "\n". paths must be sorted (spec/statement.md#digests).
func MarshalPaths(paths []nix.StorePath) []byte {
	var b bytes.Buffer
	for _, p := range paths {
		b.WriteString(p.Base() + "\n")
	}
	return b.Bytes()
}

// ParsePaths reads the blob of a list of paths in a store dir: at least one base name,
// each followed by "\n", in strictly ascending order, and nothing else. So there is one
// blob of each list, and no blob is a list by accident.
func ParsePaths(dir nix.StoreDir, blob []byte) ([]nix.StorePath, error) {
	if len(blob) == 0 || blob[len(blob)-1] != '\n' {
		return nil, fmt.Errorf("it does not end in a line with a base name")
	}
	paths := make([]nix.StorePath, 0, bytes.Count(blob, []byte("\n")))
	last := ""
	for base := range strings.SplitSeq(string(blob[:len(blob)-1]), "\n") {
		p, err := dir.FromBase(base)
		if err != nil {
			return nil, fmt.Errorf("line %d: %w", len(paths)+1, err)
		}
		if base <= last {
			return nil, fmt.Errorf("line %d: the base names are not in ascending order, or one repeats", len(paths)+1)
		}
		paths, last = append(paths, p), base
	}
	return paths, nil
}
