package statement

import (
	"bytes"
	"crypto/sha256"
	"strings"
	"testing"

	"github.com/firn-log/firn/internal/nix"
)

const (
	baseA = "00000000000000000000000000000000-a"
	baseB = "11111111111111111111111111111111-b"
)

func TestBlobOfAListHashesToItsDigest(t *testing.T) {
	blob := []byte(baseA + "\n" + baseB + "\n")
	paths, err := ParsePaths(nix.DefaultStoreDir, blob)
	if err != nil {
		t.Fatal(err)
	}
	if len(paths) != 2 || PathsDigest(paths) != sha256.Sum256(blob) || !bytes.Equal(MarshalPaths(paths), blob) {
		t.Errorf("%v", paths)
	}
}

func TestWhatIsNoListIsRefused(t *testing.T) {
	for name, blob := range map[string]string{
		"nothing":          "",
		"an empty line":    "\n",
		"no line end":      baseA,
		"two line ends":    baseA + "\n\n",
		"descending":       baseB + "\n" + baseA + "\n",
		"twice the same":   baseA + "\n" + baseA + "\n",
		"a carriage":       baseA + "\r\n",
		"a full path":      "/nix/store/" + baseA + "\n",
		"a build log":      "building...\n",
		"a name too long":  baseA + strings.Repeat("a", 300) + "\n",
		"text after lines": baseA + "\n<script>",
	} {
		if _, err := ParsePaths(nix.DefaultStoreDir, []byte(blob)); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}

func FuzzPaths(f *testing.F) {
	f.Add([]byte(baseA + "\n" + baseB + "\n"))
	f.Add([]byte(baseA))
	f.Add([]byte("\n"))
	f.Fuzz(func(t *testing.T, blob []byte) {
		paths, err := ParsePaths(nix.DefaultStoreDir, blob)
		if err == nil && !bytes.Equal(MarshalPaths(paths), blob) {
			t.Errorf("%q encodes to %q", blob, MarshalPaths(paths))
		}
	})
}
