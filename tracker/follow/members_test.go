package follow

import (
	"fmt"
	"testing"

	"github.com/firn-log/firn/internal/nix"
	"github.com/firn-log/firn/log"
	"github.com/firn-log/firn/log/logtest"
	"github.com/firn-log/firn/log/statement"
)

// The members of a closure that is too large for its statement are read where the log keeps
// them. If it has none, only the digest is known; while it gives none, nothing is added behind.
func TestTheListOfAClosureIsReadFromTheLog(t *testing.T) {
	var paths []nix.StorePath
	for i := range 1500 {
		p, err := nix.DefaultStoreDir.FromBase(fmt.Sprintf("00000000000000000000000000000000-member-number-%04d", i))
		if err != nil {
			t.Fatal(err)
		}
		paths = append(paths, p)
	}
	body := &statement.Closure{Name: "laptop", StoreDir: nix.DefaultStoreDir, Digest: statement.PathsDigest(paths), Count: 1500}
	list := string(statement.PathsBlob(paths))
	w := newWorld(t)
	w.register()
	w.Add(logtest.Leaf(t, logtest.Signer(t, "alice"), body))
	w.Publish()
	status, answer := 0, ""
	w.Lie(func(l *logtest.Lies) {
		l.Edit = func(path string, was int, b []byte) (int, []byte) {
			if path == log.BlobPath(body.Digest) {
				return status, []byte(answer)
			}
			return was, b
		}
	})
	for what, c := range map[string]struct {
		status int
		answer string
		added  int
	}{
		"there":      {200, list, 3},
		"nowhere":    {404, "", 3},
		"away":       {503, "later", 2},
		"not itself": {200, list[1:], 2},
	} {
		status, answer = c.status, c.answer
		store := newFake()
		f := follow(t, t.TempDir(), store, w.log())
		if err := f.Replay(t.Context()); (err == nil) != (c.added == 3) {
			t.Errorf("%s: %v", what, err)
		}
		got := store.entries[w.Origin()]
		if len(got) != c.added {
			t.Errorf("%s: %d entries", what, len(got))
		} else if c.added == 3 && (string(got[2].List) != list) != (what == "nowhere") {
			t.Errorf("%s: a list of %d bytes", what, len(got[2].List))
		}
	}
}
