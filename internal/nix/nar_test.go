package nix

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/google/go-cmp/cmp"
)

// sampleNar has every type of file, empty and padded contents.
func sampleNar() []byte {
	file := func(name string, exec bool, contents string) []any {
		parts := []any{"entry", "(", "name", name, "node", "(", "type", "regular"}
		if exec {
			parts = append(parts, "executable", "")
		}
		return append(parts, "contents", contents, ")", ")")
	}
	var p []any
	p = append(p, "nix-archive-1", "(", "type", "directory")
	p = append(p, file("a", false, "")...)
	p = append(p, file("a.b", true, "12345678")...)
	p = append(p, "entry", "(", "name", "d", "node", "(", "type", "directory")
	p = append(p, file("x", false, "1")...)
	p = append(p, ")", ")")
	p = append(p, "entry", "(", "name", "e", "node", "(", "type", "directory", ")", ")")
	p = append(p, "entry", "(", "name", "l", "node", "(", "type", "symlink", "target", "../x", ")", ")")
	return narBytes(append(p, ")")...)
}

func TestNarReader(t *testing.T) {
	n := NewNarReader(bytes.NewReader(sampleNar()))
	var got []string
	for {
		h, err := n.Next()
		if err == io.EOF {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		b, err := io.ReadAll(n)
		if err != nil || int64(len(b)) != h.Size {
			t.Errorf("%s: %d bytes of %d, %v", h.Path, len(b), h.Size, err)
		}
		got = append(got, fmt.Sprintf("%s %v %v %q %s", h.Path, h.Type, h.Executable, b, h.Target))
	}
	want := []string{
		` directory false "" `,
		`a regular false "" `,
		`a.b regular true "12345678" `,
		`d directory false "" `,
		`d/x regular false "1" `,
		`e directory false "" `,
		`l symlink false "" ../x`,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if _, err := n.Next(); err != io.EOF {
		t.Errorf("after the end: %v", err)
	}
	if k, err := n.Read(make([]byte, 1)); k != 0 || err != io.EOF {
		t.Errorf("reading after the end: %d, %v", k, err)
	}
}

func TestNarRoundTrip(t *testing.T) {
	var vectors []vector
	for name, b := range map[string][]byte{
		"all types":  sampleNar(),
		"file":       narBytes("nix-archive-1", "(", "type", "regular", "contents", "hello", ")"),
		"executable": narBytes("nix-archive-1", "(", "type", "regular", "executable", "", "contents", "", ")"),
		"symlink":    narBytes("nix-archive-1", "(", "type", "symlink", "target", "/x", ")"),
		"empty":      narBytes("nix-archive-1", "(", "type", "directory", ")"),
		"large":      narBytes("nix-archive-1", "(", "type", "regular", "contents", strings.Repeat("x", 3*narBufSize+5), ")"),
	} {
		got, err := recode(iotest.OneByteReader(bytes.NewReader(b)))
		if err != nil || !bytes.Equal(got, b) {
			t.Errorf("%s: %v", name, err)
		}
		sum, n, err := CopyNar(nil, bytes.NewReader(b))
		if err != nil || sum != Hash(sha256Sum(string(b))) || n != uint64(len(b)) {
			t.Errorf("%s: %v, %d, %v", name, sum, n, err)
		}
		for cut := range min(len(b), 700) {
			if _, err := recode(bytes.NewReader(b[:cut])); !errors.Is(err, ErrNar) || !errors.Is(err, io.ErrUnexpectedEOF) {
				t.Errorf("%s cut to %d bytes: %v", name, cut, err)
			}
		}
		if len(b) < narBufSize {
			vectors = append(vectors, vector{name, b, true, map[string]string{"sha256": sum.Hex()}})
		}
	}
	publish(t, "nar", "spec/nix.md#nar: input in base 64", vectors)
}

// TestNarCorpus: of Nix's own hostile NARs only the proper one is read.
func TestNarCorpus(t *testing.T) {
	for _, name := range []string{
		"dot", "dotdot", "empty", "slash", "nul-character", "executable-after-contents",
		"invalid-tag-instead-of-contents", "name-after-node", "regular-one-byte-non-zero-padding",
		"regular-truncated-large-contents", "regular-truncated-padding",
	} {
		b := corpus(t, "nix", "nars", name+".nar")
		if _, err := recode(bytes.NewReader(b)); !errors.Is(err, ErrNar) {
			t.Errorf("%s: %v", name, err)
		}
		if _, _, err := CopyNar(nil, bytes.NewReader(b)); !errors.Is(err, ErrNar) {
			t.Errorf("%s copied: %v", name, err)
		}
		if err := UnpackNar(bytes.NewReader(b), filepath.Join(t.TempDir(), "x")); !errors.Is(err, ErrNar) {
			t.Errorf("%s unpacked: %v", name, err)
		}
	}
	b := corpus(t, "nix", "nars", "regular-one-byte-zero-padding.nar")
	if got, err := recode(bytes.NewReader(b)); err != nil || !bytes.Equal(got, b) {
		t.Errorf("good one: %v", err)
	}
}

func TestNarReaderRefuses(t *testing.T) {
	dir := func(parts ...any) []byte {
		return narBytes(append(append([]any{"nix-archive-1", "(", "type", "directory"}, parts...), ")")...)
	}
	entry := func(name string) []any {
		return []any{"entry", "(", "name", name, "node", "(", "type", "directory", ")", ")"}
	}
	two := func(a, b string) []byte { return dir(append(entry(a), entry(b)...)...) }
	nest := func(n int, name string) []byte {
		p := []any{"nix-archive-1", "(", "type", "directory"}
		for range n {
			p = append(p, "entry", "(", "name", name, "node", "(", "type", "directory")
		}
		for range n {
			p = append(p, ")", ")")
		}
		return narBytes(append(p, ")")...)
	}
	deep := func(n int) []byte { return nest(n, "d") }
	long := strings.Repeat("n", 255)
	if _, err := recode(bytes.NewReader(nest(16, long))); err != nil {
		t.Errorf("a path of %d bytes: %v", 16*256-1, err)
	}
	if _, err := recode(bytes.NewReader(deep(MaxNarDepth - 1))); err != nil {
		t.Errorf("as deep as allowed: %v", err)
	}
	if _, err := recode(bytes.NewReader(two("a", "b"))); err != nil {
		t.Errorf("the pattern: %v", err)
	}
	bad := map[string][]byte{
		"another magic":          narBytes("nix-archive-2", "(", "type", "directory", ")"),
		"trailing byte":          append(sampleNar(), 0),
		"second NAR":             append(sampleNar(), sampleNar()...),
		"name twice":             two("a", "a"),
		"out of order":           two("b", "a"),
		"order not bytewise":     two("a", "B"),
		"empty name":             dir(entry("")...),
		"dot":                    dir(entry(".")...),
		"two dots":               dir(entry("..")...),
		"slash":                  dir(entry("a/b")...),
		"NUL":                    dir(entry("a\x00b")...),
		"name too long":          dir(entry(strings.Repeat("n", 256))...),
		"too deep":               deep(MaxNarDepth),
		"path too long":          nest(17, long),
		"unknown type":           narBytes("nix-archive-1", "(", "type", "fifo", ")"),
		"no contents":            narBytes("nix-archive-1", "(", "type", "regular", ")"),
		"contents twice":         narBytes("nix-archive-1", "(", "type", "regular", "contents", "", "contents", "", ")"),
		"executable with text":   narBytes("nix-archive-1", "(", "type", "regular", "executable", "x", "contents", "", ")"),
		"executable twice":       narBytes("nix-archive-1", "(", "type", "regular", "executable", "", "executable", "", "contents", "", ")"),
		"symlink to nothing":     narBytes("nix-archive-1", "(", "type", "symlink", "target", "", ")"),
		"symlink with NUL":       narBytes("nix-archive-1", "(", "type", "symlink", "target", "a\x00", ")"),
		"symlink too long":       narBytes("nix-archive-1", "(", "type", "symlink", "target", strings.Repeat("t", 4096), ")"),
		"entry in a file":        narBytes("nix-archive-1", "(", "type", "regular", "contents", "", "entry"),
		"entry without a node":   dir("entry", "(", "name", "a", ")"),
		"padding of a name":      bytes.Replace(sampleNar(), []byte("a\x00\x00"), []byte("a\x00\x01"), 1),
		"padding of contents":    bytes.Replace(sampleNar(), []byte("1\x00\x00\x00\x00\x00\x00\x00\x01"), []byte("1\x00\x00\x00\x00\x00\x00\x01\x01"), 1),
		"file of 2^63 bytes":     narBytes("nix-archive-1", "(", "type", "regular", "contents", "=\x00\x00\x00\x00\x00\x00\x00\x80"),
		"file of 2^64-1 bytes":   narBytes("nix-archive-1", "(", "type", "regular", "contents", "=\xff\xff\xff\xff\xff\xff\xff\xff"),
		"string of 2^64-1 bytes": narBytes("=\xff\xff\xff\xff\xff\xff\xff\xff"),
	}
	for name, b := range bad {
		if _, err := recode(bytes.NewReader(b)); !errors.Is(err, ErrNar) {
			t.Errorf("%s: %v", name, err)
		}
	}
	publish(t, "nar-reject", "spec/nix.md#nar: input in base 64", rejects(bad))
}

// TestNarReaderPassesErrorsOn: an error of the source is not a bad NAR.
func TestNarReaderPassesErrorsOn(t *testing.T) {
	broken := errors.New("cable pulled")
	b := sampleNar()
	for cut := range len(b) {
		r := io.MultiReader(bytes.NewReader(b[:cut]), iotest.ErrReader(broken))
		if _, err := recode(r); !errors.Is(err, broken) || errors.Is(err, ErrNar) {
			t.Errorf("broken after %d bytes: %v", cut, err)
		}
	}
	n := NewNarReader(iotest.ErrReader(broken))
	for range 3 {
		if _, err := n.Next(); err != broken {
			t.Errorf("the error does not stick: %v", err)
		}
	}
	if _, err := n.Read(make([]byte, 1)); err != broken {
		t.Errorf("the error does not stick in Read: %v", err)
	}
}

// TestNarReaderAbandoned: readers that nobody finishes leave no goroutine.
func TestNarReaderAbandoned(t *testing.T) {
	before := runtime.NumGoroutine()
	for range 100 {
		if _, err := NewNarReader(bytes.NewReader(sampleNar())).Next(); err != nil {
			t.Fatal(err)
		}
	}
	if after := runtime.NumGoroutine(); after > before {
		t.Errorf("%d goroutines before, %d after", before, after)
	}
}

func TestNarWriterRefuses(t *testing.T) {
	dir, x := &NarHeader{Type: Directory}, &NarHeader{Path: "x"}
	for name, headers := range map[string][]*NarHeader{
		"nothing":               {},
		"no root":               {x},
		"two roots":             {{Type: Symlink, Target: "x"}, x},
		"entry in a file":       {{}, x},
		"missing directory":     {dir, {Path: "a/b"}},
		"name twice":            {dir, x, x},
		"out of order":          {dir, x, {Path: "w"}},
		"back to a closed one":  {dir, {Path: "a", Type: Directory}, {Path: "b"}, {Path: "a/x"}},
		"two dots":              {dir, {Path: ".."}},
		"absolute":              {dir, {Path: "/x"}},
		"symlink to nothing":    {{Type: Symlink}},
		"directory with a size": {{Type: Directory, Size: 1}},
		"file with a target":    {{Target: "x"}},
		"executable symlink":    {{Type: Symlink, Target: "x", Executable: true}},
		"negative size":         {{Size: -1}},
		"unknown type":          {{Type: 3}},
		"missing contents":      {{Size: 1}},
	} {
		w, err := NewNarWriter(io.Discard), error(nil)
		for _, h := range headers {
			if err == nil {
				err = w.WriteHeader(h)
			}
		}
		if closed := w.Close(); err == nil {
			err = closed
		} else if closed == nil {
			t.Errorf("%s: Close forgot %v", name, err)
		}
		if err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
	w := NewNarWriter(io.Discard)
	if err := w.WriteHeader(&NarHeader{Size: 1}); err != nil {
		t.Fatal(err)
	}
	if _, err := w.Write([]byte("12")); !errors.Is(err, ErrNar) {
		t.Errorf("too much: %v", err)
	}
}

func TestUnpackNar(t *testing.T) {
	dest := filepath.Join(t.TempDir(), "x")
	if err := UnpackNar(bytes.NewReader(sampleNar()), dest); err != nil {
		t.Fatal(err)
	}
	var got bytes.Buffer
	if err := DumpPath(&got, dest); err != nil || !bytes.Equal(got.Bytes(), sampleNar()) {
		t.Errorf("dumped again: %v", err)
	}
	if err := UnpackNar(bytes.NewReader(sampleNar()), dest); !errors.Is(err, os.ErrExist) {
		t.Errorf("over what is there: %v", err)
	}
	// A root that is no directory, where a symlink already points elsewhere.
	link := filepath.Join(t.TempDir(), "link")
	victim := filepath.Join(t.TempDir(), "victim")
	if err := os.Symlink(victim, link); err != nil {
		t.Fatal(err)
	}
	file := narBytes("nix-archive-1", "(", "type", "regular", "contents", "hello", ")")
	if err := UnpackNar(bytes.NewReader(file), link); !errors.Is(err, os.ErrExist) {
		t.Errorf("through a symlink: %v", err)
	}
	if _, err := os.Lstat(victim); !errors.Is(err, os.ErrNotExist) {
		t.Error("written outside")
	}
}

func FuzzNar(f *testing.F) {
	f.Add(sampleNar())
	f.Add(narBytes("nix-archive-1", "(", "type", "regular", "executable", "", "contents", "hello", ")"))
	f.Add(narBytes("nix-archive-1", "(", "type", "symlink", "target", "/x", ")"))
	corpusSeeds(f, "nix/nars/*.nar")
	f.Fuzz(func(t *testing.T, b []byte) {
		got, err := recode(bytes.NewReader(b))
		if err == nil && !bytes.Equal(got, b) {
			t.Errorf("%q\nbecame %q", b, got)
		}
		if _, n, err2 := CopyNar(nil, bytes.NewReader(b)); (err == nil) != (err2 == nil) || err2 == nil && n != uint64(len(b)) {
			t.Errorf("read: %v, skipped over: %v", err, err2)
		}
	})
}
