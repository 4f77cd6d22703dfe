package server

import (
	"os"
	"path/filepath"
	"testing"
)

// What is missing and made at start is no fault; what cannot be made again is.
func TestCheckAndStartAgreeAboutMissingFolders(t *testing.T) {
	for _, c := range []struct {
		name string
		used bool // the log has signed something
		good bool
	}{{publicName, true, true}, {publicName, false, true}, {treeName, false, true}, {treeName, true, false}} {
		l := &testLog{t: t, dir: t.TempDir()}
		l.init(nil)
		if c.used {
			l.open()
			l.close()
		}
		if err := os.RemoveAll(filepath.Join(l.dir, c.name)); err != nil {
			t.Fatal(err)
		}
		checked := Check(Options{Dir: l.dir})
		started := l.tryOpen()
		if (checked == nil) != c.good || (started == nil) != c.good {
			t.Errorf("without %s (used: %v): --check says %v, start says %v", c.name, c.used, checked, started)
		}
		l.close()
	}
}
