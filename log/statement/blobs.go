package statement

import (
	"bytes"
	"slices"

	"github.com/firn-log/firn/internal/nix"
)

// MaxBlob is the largest blob in bytes (spec/log.md#blobs).
const MaxBlob = 16 << 20

// BlobClass says what a blob is to the statement that names it.
type BlobClass string

// The classes of blobs.
const (
	BlobRefs   BlobClass = "refs"   // references of a path, as [PathsBlob] writes them
	BlobDrvs   BlobClass = "drvs"   // the list of a closure or an evaluation, the same way
	BlobDrv    BlobClass = "drv"    // a .drv file
	BlobLog    BlobClass = "log"    // the log of a build that failed
	BlobReport BlobClass = "report" // a text about a difference
)

// A BlobRef names a blob: bytes that a statement refers to and does not hold.
type BlobRef struct {
	Hash  nix.Hash // SHA-256 of the blob
	Class BlobClass
}

// Blobs returns the blobs that a statement with this body names, in the order of
// its fields and each once (spec/statement.md#blobs).
func Blobs(body Body) []BlobRef {
	var out []BlobRef
	add := func(class BlobClass, h *nix.Hash) {
		if h != nil && !slices.Contains(out, BlobRef{*h, class}) {
			out = append(out, BlobRef{*h, class})
		}
	}
	switch b := body.(type) {
	case *Build:
		add(BlobDrv, &b.DrvHash)
		for i := range b.Outputs {
			add(BlobRefs, b.Outputs[i].RefsDigest)
		}
	case *BuildFailed:
		add(BlobDrv, &b.DrvHash)
		add(BlobLog, b.LogHash)
	case *CacheSig:
		add(BlobRefs, b.RefsDigest)
	case *Closure:
		if b.Paths == nil {
			add(BlobDrvs, &b.Digest)
		}
	case *Eval:
		if b.Drvs == nil {
			add(BlobDrvs, &b.Digest)
		}
	case *Diff:
		add(BlobReport, b.Report)
	}
	return out
}

// PathsBlob returns the blob of a list of paths: each base name followed by
// "\n", in ascending order. paths must be sorted. Its SHA-256 is [PathsDigest].
func PathsBlob(paths []nix.StorePath) []byte {
	var b []byte
	for _, p := range paths {
		b = append(append(b, p.Base()...), '\n')
	}
	return b
}

// ParsePathsBlob reads the blob of a list of paths in dir. It takes what
// [PathsBlob] writes and nothing else: an [*Error] "bad-value" otherwise, and
// "oversize" above [MaxBlob].
func ParsePathsBlob(dir nix.StoreDir, b []byte) ([]nix.StorePath, error) {
	if len(b) > MaxBlob {
		return nil, errf(CodeOversize, "a list of paths of %d bytes; at most %d are accepted", len(b), MaxBlob)
	}
	paths := make([]nix.StorePath, 0, bytes.Count(b, []byte("\n")))
	for len(b) > 0 {
		line, rest, ended := bytes.Cut(b, []byte("\n"))
		p, err := dir.FromBase(string(line))
		if err != nil {
			return nil, errf(CodeBadValue, "line %d of a list of paths: %v", len(paths)+1, err)
		}
		if !ended {
			return nil, errf(CodeBadValue, "a list of paths whose last line does not end")
		}
		if n := len(paths); n > 0 && paths[n-1].Compare(p) >= 0 {
			return nil, errf(CodeBadValue, "line %d of a list of paths is not in order, or repeats one", n+1)
		}
		paths, b = append(paths, p), rest
	}
	return paths, nil
}
