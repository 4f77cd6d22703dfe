package nix

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// tree writes a tree: names that end in "/" are directories, values that begin with "->" symlinks, with "x:" executables.
func tree(t *testing.T, files map[string]string) string {
	t.Helper()
	root := filepath.Join(t.TempDir(), "root")
	must := func(err error) {
		if err != nil {
			t.Fatal(err)
		}
	}
	must(os.Mkdir(root, 0o755))
	for name, content := range files {
		path := filepath.Join(root, name)
		must(os.MkdirAll(filepath.Dir(path), 0o755))
		switch {
		case strings.HasSuffix(name, "/"):
			must(os.MkdirAll(path, 0o755))
		case strings.HasPrefix(content, "->"):
			must(os.Symlink(content[2:], path))
		case strings.HasPrefix(content, "x:"):
			must(os.WriteFile(path, []byte(content[2:]), 0o755))
		default:
			must(os.WriteFile(path, []byte(content), 0o644))
		}
	}
	return root
}

func TestDiffNamesEveryFileThatDiffers(t *testing.T) {
	a := tree(t, map[string]string{
		"same": "1", "content": "1", "run": "1", "link": "->x", "type": "1", "dir-or-file/in/it": "1",
		"d/only": "1", "d/more": "1", "d-x": "1", "gone/a": "", "gone/b/c": "", "gone-too": "", "empty/": "", "zz/last": "a",
	})
	b := tree(t, map[string]string{
		"same": "1", "content": "2", "run": "x:1", "link": "->y", "type": "->1", "dir-or-file": "1",
		"d/more": "1", "d-x": "2", "new/a": "", "zz/last": "ab",
	})
	got, err := DiffTrees(context.Background(), a, b, DiffOptions{})
	if err != nil {
		t.Fatal(err)
	}
	want := []FileDiff{
		{"content", DiffContent},
		{"d/only", DiffOnlyA},
		{"d-x", DiffContent},
		{"dir-or-file", DiffType},
		{"empty", DiffOnlyA},
		{"gone", DiffOnlyA},
		{"gone-too", DiffOnlyA},
		{"link", DiffTarget},
		{"new", DiffOnlyB},
		{"run", DiffExecutable},
		{"type", DiffType},
		{"zz/last", DiffContent},
	}
	if d := cmp.Diff(want, got.Files); d != "" {
		t.Errorf("(-want +got)\n%s", d)
	}
	for i, path := range []string{a, b} {
		hash, size, err := HashPath(context.Background(), path, nil)
		if err != nil {
			t.Fatal(err)
		}
		if (i == 0 && (hash != got.A || size != got.SizeA)) || (i == 1 && (hash != got.B || size != got.SizeB)) {
			t.Errorf("hash or size of side %d is not that of the tree", i)
		}
	}
	few, err := DiffTrees(context.Background(), a, b, DiffOptions{MaxFiles: 3})
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(want[:3], few.Files); d != "" || few.Total != uint64(len(want)) {
		t.Errorf("with room for 3 of %d: total %d, %s", len(want), few.Total, d)
	}
}

func TestDiffOfRoots(t *testing.T) {
	dir := tree(t, map[string]string{"a": "1", "b": "2", "link": "->a"})
	for _, test := range []struct {
		a, b string
		want []FileDiff
	}{
		{"a", "a", nil},
		{"", "", nil},
		{"a", "b", []FileDiff{{"", DiffContent}}},
		{"a", "", []FileDiff{{"", DiffType}}},
		{"link", "a", []FileDiff{{"", DiffType}}},
	} {
		got, err := DiffTrees(context.Background(), filepath.Join(dir, test.a), filepath.Join(dir, test.b), DiffOptions{})
		if err != nil {
			t.Fatal(err)
		}
		if d := cmp.Diff(test.want, got.Files); d != "" || (got.A == got.B) != (test.want == nil) {
			t.Errorf("%q and %q: %s", test.a, test.b, d)
		}
	}
}

func TestDiffOfManyFilesHoldsNoneOfThem(t *testing.T) {
	side := func(changed int) io.Reader {
		r, w := io.Pipe()
		go func() {
			n := NewNarWriter(w)
			err := n.WriteHeader(&NarHeader{Type: Directory})
			for i := range 5000 {
				content := "x"
				if i == changed {
					content = "y"
				}
				err = errors.Join(err, n.WriteHeader(&NarHeader{Path: fmt.Sprintf("f%06d", i), Size: 1}))
				_, err2 := io.WriteString(n, content)
				err = errors.Join(err, err2)
			}
			w.CloseWithError(errors.Join(err, n.Close()))
		}()
		return r
	}
	got, err := DiffNars(side(-1), side(4999), DiffOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff([]FileDiff{{"f004999", DiffContent}}, got.Files); d != "" {
		t.Error(d)
	}
}

func TestDiffSaysWhatCannotBeRead(t *testing.T) {
	var whole bytes.Buffer
	if err := DumpPath(&whole, tree(t, map[string]string{"a": "1", "b": "2"})); err != nil {
		t.Fatal(err)
	}
	for cut := range whole.Len() {
		for _, swap := range []bool{false, true} {
			a, b := io.Reader(bytes.NewReader(whole.Bytes())), io.Reader(bytes.NewReader(whole.Bytes()[:cut]))
			if swap {
				a, b = b, a
			}
			if d, err := DiffNars(a, b, DiffOptions{}); err == nil {
				t.Fatalf("a NAR cut after %d of %d bytes was compared: %+v", cut, whole.Len(), d)
			}
		}
	}
	if _, err := DiffTrees(context.Background(), t.TempDir(), "/nowhere/at/all", DiffOptions{}); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a tree that is not there: %v", err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := DiffTrees(ctx, t.TempDir(), t.TempDir(), DiffOptions{}); !errors.Is(err, context.Canceled) {
		t.Errorf("after the end: %v", err)
	}
}

// Whatever the two are: they differ exactly if their hashes do, and A and B can be exchanged.
func FuzzDiffNars(f *testing.F) {
	for _, files := range []map[string]string{{"a": "1"}, {"a": "x:1", "b/c": "->d"}, {"a/b": "", "a-b": ""}} {
		root := filepath.Join(f.TempDir(), "root")
		_ = os.Mkdir(root, 0o755)
		for name, content := range files {
			_ = os.MkdirAll(filepath.Dir(filepath.Join(root, name)), 0o755)
			_ = os.WriteFile(filepath.Join(root, name), []byte(content), 0o644)
		}
		var b bytes.Buffer
		if err := DumpPath(&b, root); err != nil {
			f.Fatal(err)
		}
		f.Add(b.Bytes(), b.Bytes())
	}
	f.Fuzz(func(t *testing.T, a, b []byte) {
		d, err := DiffNars(bytes.NewReader(a), bytes.NewReader(b), DiffOptions{})
		if err != nil {
			return
		}
		if d.A != sha256.Sum256(a) || d.B != sha256.Sum256(b) || d.SizeA != uint64(len(a)) || d.SizeB != uint64(len(b)) {
			t.Fatal("the hashes are not those of the NARs")
		}
		if (d.Total == 0) != bytes.Equal(a, b) || len(d.Files) != int(min(d.Total, 256)) {
			t.Fatalf("%d files differ, and equal is %v", d.Total, bytes.Equal(a, b))
		}
		back, err := DiffNars(bytes.NewReader(b), bytes.NewReader(a), DiffOptions{})
		if err != nil || back.Total != d.Total {
			t.Fatalf("the other way round: %+v, %v", back, err)
		}
		for i := 1; i < len(d.Files); i++ {
			if compareNarPaths(d.Files[i-1].Name, d.Files[i].Name) >= 0 {
				t.Fatalf("%q before %q", d.Files[i-1].Name, d.Files[i].Name)
			}
		}
	})
}

func BenchmarkDiffTrees(b *testing.B) {
	root := b.TempDir()
	for i := range 256 {
		if err := os.WriteFile(filepath.Join(root, fmt.Sprint(i)), bytes.Repeat([]byte{byte(i)}, 1<<20), 0o644); err != nil {
			b.Fatal(err)
		}
	}
	b.Run("diff", func(b *testing.B) {
		for b.Loop() {
			if _, err := DiffTrees(context.Background(), root, root, DiffOptions{}); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("hash both", func(b *testing.B) {
		for b.Loop() {
			done := make(chan error)
			for range 2 {
				go func() { _, _, err := HashPath(context.Background(), root, nil); done <- err }()
			}
			if err := errors.Join(<-done, <-done); err != nil {
				b.Fatal(err)
			}
		}
	})
}
