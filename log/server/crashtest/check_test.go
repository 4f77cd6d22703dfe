package crashtest

import (
	"context"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"testing"

	"github.com/transparency-dev/tessera/api"
	"github.com/transparency-dev/tessera/client"
	"github.com/transparency-dev/tessera/fsck"
	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

// checkAcks submits every acknowledged leaf again: each has to be a duplicate
// at the index that was acknowledged.
func checkAcks(t *testing.T, p *process, acks []ack) {
	t.Helper()
	for batch := range slices.Chunk(acks, 500) {
		leaves := make([][]byte, len(batch))
		for i, a := range batch {
			leaves[i] = a.leaf
		}
		status, answer, err := p.post("?wait=0s", leaves)
		if err != nil || len(answer.Results) != len(batch) {
			t.Fatalf("asking for acknowledged leaves: status %d, %v, %+v", status, err, answer)
		}
		for i, r := range answer.Results {
			if r.Status != "duplicate" || *r.Index != batch[i].index {
				t.Fatalf("a leaf acknowledged at %d is now %+v", batch[i].index, r)
			}
		}
	}
}

var (
	publicTile = regexp.MustCompile(`^(entries|[0-7])/(x[0-9]{3}/)*[0-9]{3}(\.p/[0-9]{1,3})?$`)
	publicFile = regexp.MustCompile(`^(checkpoint|tile|v1/blob)$`)
)

// checkFolders looks for stray files in the public tree of a log that is not
// running.
func checkFolders(t *testing.T, dir string) {
	t.Helper()
	for _, tree := range []struct {
		dir  string
		good *regexp.Regexp
	}{{filepath.Join(dir, "tessera", "tile"), publicTile}, {filepath.Join(dir, "public"), publicFile}} {
		err := fs.WalkDir(os.DirFS(tree.dir), ".", func(name string, e fs.DirEntry, err error) error {
			if err == nil && !e.IsDir() && !tree.good.MatchString(name) {
				t.Errorf("stray file %s in %s", name, tree.dir)
			}
			return err
		})
		if err != nil {
			t.Error(err)
		}
	}
}

// checkTree lets Tessera's fsck read the public tree.
func checkTree(t *testing.T, dir string) {
	t.Helper()
	vkey, err := command(t, "vkey", dir).Output()
	if err != nil {
		t.Fatal(err)
	}
	v, err := note.NewVerifier(string(vkey[:len(vkey)-1]))
	if err != nil {
		t.Fatal(err)
	}
	hashes := func(bundle []byte) ([][]byte, error) {
		var b api.EntryBundle
		if err := b.UnmarshalText(bundle); err != nil {
			return nil, err
		}
		var out [][]byte
		for _, e := range b.Entries {
			h := tlog.RecordHash(e)
			out = append(out, h[:])
		}
		return out, nil
	}
	f := fsck.New(v.Name(), v, &client.FileFetcher{Root: filepath.Join(dir, "public")}, hashes, fsck.Opts{N: 4})
	if err := f.Check(context.Background()); err != nil {
		t.Errorf("fsck: %v", err)
	}
}
