package log_test

import (
	"bytes"
	"errors"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/firn-log/firn/log"
	"github.com/firn-log/firn/log/logtest"
)

func TestR1_FullTileTakesThePlaceOfAPartialOne(t *testing.T) {
	l := logtest.New(t)
	note := grow(l, 0, 100, "leaf")
	grow(l, 100, 300, "leaf")
	// The log has deleted the partial tiles of size 100, and shows it still.
	for _, dir := range []string{"tile/0/000.p", "tile/entries/000.p"} {
		if err := os.RemoveAll(filepath.Join(l.Dir(), dir)); err != nil {
			t.Fatal(err)
		}
	}
	l.Lie(func(lies *logtest.Lies) { lies.Checkpoint = note })
	c := l.Client("")
	cp := checkpoint(t, c)
	e, err := c.Entry(t.Context(), cp, 99)
	if err != nil || cp.Size != 100 || string(e.Leaf) != "leaf 99" {
		t.Errorf("size %d, entry %q, %v", cp.Size, e.Leaf, err)
	}
}

func TestEveryAlteredTileAndBundleIsRefused(t *testing.T) {
	l := logtest.New(t)
	grow(l, 0, 70_000, "leaf")
	for _, path := range []string{"tile/0/000", "tile/0/273.p/112", "tile/1/000", "tile/1/001.p/17", "tile/2/000.p/1", "tile/entries/000", "tile/entries/273.p/112"} {
		file := filepath.Join(l.Dir(), path)
		good, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		bad := bytes.Clone(good)
		bad[len(bad)-1] ^= 1
		if err := os.WriteFile(file, bad, 0o644); err != nil {
			t.Fatal(err)
		}
		c := fileClient(t, l, log.Options{})
		cp := checkpoint(t, c)
		n := 0
		for _, err = range c.Entries(t.Context(), cp, 0, cp.Size) {
			if err == nil {
				n++
			}
		}
		var p *log.ProofError
		if !errors.As(err, &p) {
			t.Errorf("%s altered: %d entries, error %v, want a ProofError", path, n, err)
		}
		if err := os.WriteFile(file, good, 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

func TestTilesAndBundlesOfTheWrongLengthAreRefused(t *testing.T) {
	l := logtest.New(t)
	grow(l, 0, 300, "leaf")
	for what, edit := range map[string]func(path string, body []byte) []byte{
		"short tile":         func(p string, b []byte) []byte { return cut(p, "tile/0/000", b, len(b)-32) },
		"long tile":          func(p string, b []byte) []byte { return extend(p, "tile/0/000", b) },
		"empty tile":         func(p string, b []byte) []byte { return cut(p, "tile/0/", b, 0) },
		"bundle cut":         func(p string, b []byte) []byte { return cut(p, "tile/entries/000", b, len(b)-1) },
		"bundle of fewer":    func(p string, b []byte) []byte { return cut(p, "tile/entries/001", b, 0) },
		"byte after bundle":  func(p string, b []byte) []byte { return extend(p, "tile/entries/000", b) },
		"huge bundle":        func(p string, b []byte) []byte { return huge(p, "tile/entries/", b) },
		"huge checkpoint":    func(p string, b []byte) []byte { return huge(p, "checkpoint", b) },
		"bundle not of text": func(p string, b []byte) []byte { return cut(p, "tile/entries/000", b, 1) },
	} {
		l.Lie(func(lies *logtest.Lies) {
			lies.Edit = func(path string, status int, body []byte) (int, []byte) { return status, edit(path, body) }
		})
		c := l.Client("")
		cp, err := c.Checkpoint(t.Context())
		if err == nil {
			for _, err = range c.Entries(t.Context(), cp, 0, 300) {
			}
		}
		if err == nil {
			t.Errorf("%s: no error", what)
		}
	}
}

func cut(path, prefix string, b []byte, n int) []byte {
	if strings.HasPrefix(path, prefix) {
		return b[:n]
	}
	return b
}

func extend(path, prefix string, b []byte) []byte {
	if strings.HasPrefix(path, prefix) {
		return append(bytes.Clone(b), 0)
	}
	return b
}

func huge(path, prefix string, b []byte) []byte {
	if strings.HasPrefix(path, prefix) {
		return make([]byte, 256*65537+1)
	}
	return b
}

func TestCacheServesTilesAndCannotBePoisoned(t *testing.T) {
	l := logtest.New(t)
	grow(l, 0, 600, "leaf")
	cache := t.TempDir()
	read := func() error {
		c, err := log.NewClient(l.URL(), l.Policy(), log.Options{CacheDir: cache})
		if err != nil {
			t.Fatal(err)
		}
		cp, err := c.Checkpoint(t.Context())
		if err != nil {
			return err
		}
		_, err = c.ProveInclusion(t.Context(), cp, 3)
		return err
	}
	if err := read(); err != nil {
		t.Fatal(err)
	}
	// The full tile is kept: the log may lose it.
	missing := func(path string, status int, body []byte) (int, []byte) {
		if path == "tile/0/000" {
			return http.StatusNotFound, nil
		}
		return status, body
	}
	l.Lie(func(lies *logtest.Lies) { lies.Edit = missing })
	if err := read(); err != nil {
		t.Errorf("with a cache: %v", err)
	}
	// A poisoned cache costs a request, not the answer.
	var poisoned int
	err := filepath.WalkDir(cache, func(path string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		poisoned++
		return os.WriteFile(path, make([]byte, 8192), 0o644)
	})
	if err != nil || poisoned == 0 {
		t.Fatalf("%d files in the cache, %v", poisoned, err)
	}
	if err := read(); err == nil {
		t.Error("zeros from the cache are taken for a tile")
	}
	l.Lie(func(lies *logtest.Lies) { lies.Edit = nil })
	if err := read(); err != nil {
		t.Errorf("with a poisoned cache: %v", err)
	}
}
