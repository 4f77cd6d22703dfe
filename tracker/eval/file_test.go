package eval

import (
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"
)

const digest0 = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"

func header(seq int64, tier Tier) Header {
	return Header{Schema: Schema, Channel: "unstable", Seq: seq, Tier: tier, Revision: "abc", Time: time.Unix(1_700_000_000+seq, 0).UTC(), System: testSystem, Full: true}
}

func metaOf(attr, version string) Attribute {
	return Attribute{Attr: attr, Name: attr + "-" + version, Pname: attr, Version: version, Position: "pkgs/" + attr + "/default.nix:3", Description: "<b> & \u202e"}
}

func drvOf(attr string) Attribute {
	const base = "q4k711w8552srlmmk521p3s428qyv4yr-"
	return Attribute{Attr: attr, Name: attr + "-1", System: testSystem, Drv: base + attr + "-1.drv", Outputs: map[string]string{"out": base + attr + "-1", "dev": ""}}
}

func set(attrs ...Attribute) map[string]Attribute {
	m := make(map[string]Attribute)
	for _, a := range attrs {
		m[a.Attr] = a
	}
	return m
}

// lines returns the uncompressed file.
func lines(t testing.TB, h Header, attrs map[string]Attribute) string {
	t.Helper()
	var b bytes.Buffer
	if err := write(&b, h, sorted(attrs)); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

func noEnd() error { return nil }

// readAll returns what a file holds, uncompressed.
func readAll(text string) (Header, []Attribute, error) {
	r, err := newReader(strings.NewReader(text), noEnd)
	if err != nil {
		return Header{}, nil, err
	}
	var all []Attribute
	for a, err := range r.Attributes() {
		if err != nil {
			return r.Header(), all, err
		}
		all = append(all, a)
	}
	return r.Header(), all, nil
}

func TestReaderRefuses(t *testing.T) {
	meta := lines(t, header(1, Meta), set(metaOf("a", "1"), metaOf("b", "2")))
	drvs := lines(t, header(1, Drvs), set(drvOf("a")))
	head, rest, _ := strings.Cut(meta, "\n")
	edit := func(text, old, new string) string {
		t.Helper()
		if !strings.Contains(text, old) {
			t.Fatalf("%q does not hold %q", text, old)
		}
		return strings.Replace(text, old, new, 1)
	}
	long := strings.Repeat("x", MaxLine)
	for _, tt := range []struct{ name, text, want string }{
		{"nothing", "", "line 1: the file is empty"},
		{"no JSON", "x\n", "line 1: not JSON"},
		{"another schema", edit(meta, `"schema":1`, `"schema":2`), "line 1: schema is 2; this program reads 1"},
		{"a channel that leaves the folder", edit(meta, `"unstable"`, `".."`), "line 1: \"..\" cannot be the name of a channel"},
		{"seq 0", edit(meta, `"seq":1`, `"seq":0`), "line 1: seq is 0"},
		{"another tier", edit(meta, `"meta"`, `"all"`), "line 1: tier"},
		{"time with fractions", edit(meta, `:21Z"`, `:21.5Z"`), "line 1: time is not in UTC"},
		{"time elsewhere", edit(meta, `:21Z"`, `:21+01:00"`), "line 1: time is not in UTC"},
		{"a full file with a base", edit(meta, `"full":true`, `"full":true,"base":"`+digest0+`"`), "line 1: a full file has no base"},
		{"changes without a base", edit(meta, `"full":true`, `"full":false`), "line 1: base is not"},
		{"an unknown member", edit(meta, `"attr":"a"`, `"attr":"a","more":1`), "line 2: not in the one form that files have, from byte 14 on"},
		{"a member twice", edit(meta, `"attr":"a"`, `"attr":"b","attr":"a"`), "line 2: not in the one form"},
		{"space", edit(meta, `"attr":"a"`, `"attr": "a"`), "line 2: not in the one form"},
		{"an empty member", edit(meta, `"attr":"a"`, `"attr":"a","error":""`), "line 2: not in the one form"},
		{"another escape", edit(meta, `<b>`, `\u003cb>`), "line 2: not in the one form"},
		{"bytes that are not UTF-8", edit(meta, `<b>`, "\xff"), "line 2: not in the one form"},
		{"a control character", edit(meta, `<b>`, `\u0007`), "line 2: description holds a control character"},
		{"an attribute path with a space", edit(meta, `"attr":"a"`, `"attr":"a b"`), "line 2: attr \"a b\" is no attribute path"},
		{"the same twice", edit(meta, `"attr":"b"`, `"attr":"a"`), "line 3: a is not sorted behind a"},
		{"out of order", edit(meta, `"attr":"a"`, `"attr":"c"`), "line 3: b is not sorted behind c"},
		{"gone from a full file", head + "\n{\"attr\":\"a\",\"gone\":true}\n", "line 2: nothing is gone from a full file"},
		{"an error and more", edit(meta, `"attr":"a"`, `"attr":"a","error":"x"`), "line 2: what does not evaluate has nothing but"},
		{"no name", edit(meta, `"name":"a-1",`, ``), "line 2: name is missing"},
		{"a derivation among metadata", edit(meta, `"b\u003e`[:0]+`"attr":"a"`, `"attr":"a"`)[:len(head)+1] + "{\"attr\":\"a\",\"name\":\"a\",\"fod\":true}\n", "line 2: tier meta has no drv"},
		{"metadata among derivations", edit(drvs, `"name":"a-1"`, `"name":"a-1","pname":"a"`), "line 2: tier drvs has only"},
		{"a drv path in full", edit(drvs, `"drv":"`, `"drv":"/nix/store/`), "line 2: drv"},
		{"no derivation", edit(drvs, `.drv"`, `"`), "line 2: drv"},
		{"an output that is no path", edit(drvs, `"out":"q`, `"out":"../q`), "line 2: output out"},
		{"no outputs", head + "\n", ""},
		{"a long line", head + "\n{\"attr\":\"" + long + "\"}\n", "line 2: longer than 262144 bytes"},
		{"a cut line", strings.TrimSuffix(meta, "\n"), "line 3: the last line is cut off"},
		{"no header", rest, "line 1:"},
	} {
		_, _, err := readAll(tt.text)
		if tt.want == "" && err != nil || tt.want != "" && (err == nil || !strings.HasPrefix(err.Error(), tt.want)) {
			t.Errorf("%s: %v, want %s", tt.name, err, tt.want)
		}
	}
}

func TestReaderRefusesWhatFollows(t *testing.T) {
	var b bytes.Buffer
	digest, err := Write(&b, header(1, Meta), sorted(set(metaOf("a", "1"))))
	if err != nil {
		t.Fatal(err)
	}
	read := func(b []byte) (string, error) {
		r, err := NewReader(bytes.NewReader(b))
		if err != nil {
			return "", err
		}
		return r.Digest()
	}
	if got, err := read(b.Bytes()); got != digest || err != nil {
		t.Errorf("digest %s, %v; want %s", got, err, digest)
	}
	for _, more := range []string{"x", b.String()} {
		if _, err := read(append(slices.Clone(b.Bytes()), more...)); err == nil || !strings.Contains(err.Error(), "something follows") {
			t.Errorf("with %d bytes more: %v", len(more), err)
		}
	}
	if _, err := read(b.Bytes()[:b.Len()-5]); err == nil {
		t.Error("a cut file was read")
	}
	if _, err := read([]byte("no gzip")); err == nil || !strings.Contains(err.Error(), "no gzip file") {
		t.Error(err)
	}
}

func TestWriterRefuses(t *testing.T) {
	good := header(1, Meta)
	bad := header(0, Meta)
	for _, tt := range []struct {
		h     Header
		attrs []Attribute
	}{
		{bad, nil},
		{good, []Attribute{metaOf("b", "1"), metaOf("a", "1")}},
		{good, []Attribute{metaOf("a", "1"), metaOf("a", "1")}},
		{good, []Attribute{drvOf("a")}},
		{good, []Attribute{{Attr: "a", Error: "two\nlines"}}},
		{good, []Attribute{{Attr: "a", Error: strings.Repeat("x", maxError+1)}}},
	} {
		if _, err := Write(io.Discard, tt.h, slices.Values(tt.attrs)); err == nil {
			t.Errorf("%+v %+v was written", tt.h, tt.attrs)
		}
	}
}

// What is read is written again as it was, and nothing panics.
func FuzzReader(f *testing.F) {
	f.Add([]byte(lines(f, header(1, Meta), set(metaOf("a", "1"), Attribute{Attr: "b", Error: "it throws"}))))
	f.Add([]byte(lines(f, header(1, Drvs), set(drvOf("a"), drvOf("b.c")))))
	h := header(2, Drvs)
	h.Full, h.Base = false, digest0
	f.Add([]byte(lines(f, h, set(drvOf("a"), Attribute{Attr: "z", Gone: true}))))
	f.Fuzz(func(t *testing.T, b []byte) {
		h, attrs, err := readAll(string(b))
		if err != nil {
			return
		}
		var again bytes.Buffer
		if err := write(&again, h, slices.Values(attrs)); err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(again.Bytes(), b) {
			t.Errorf("read %q, wrote %q", b, again.Bytes())
		}
	})
}

func FuzzAnswer(f *testing.F) {
	f.Add([]byte(`{"pkg":{"name":"a","drv":"/nix/store/q4k711w8552srlmmk521p3s428qyv4yr-a.drv","outputs":{"out":null}}}`))
	f.Add([]byte(`{"pkg":{"name":"a\u0000","maintainers":[{"text":"A <b>"}],"identifiers":{"x":"y"},"patches":["\ud800"]}}`))
	o := &Options{Tree: "/tree", storeDir: "/nix/store"}
	f.Fuzz(func(t *testing.T, b []byte) {
		a, err := parseAnswer(b)
		if err != nil || a.Pkg == nil {
			return
		}
		for _, tier := range []Tier{Meta, Drvs} {
			h := header(1, tier)
			got := o.attribute("a.b", tier, a.Pkg)
			if err := got.Check(&h); err != nil {
				t.Errorf("%+v cannot be written: %v", got, err)
			}
		}
	})
}

// state reads a channel from the start, as a database would.
func replay(t *testing.T, f *Folder, tier Tier, after int64) (map[string]Attribute, []int64, error) {
	t.Helper()
	m, seqs := map[string]Attribute{}, []int64(nil)
	for ev, err := range f.Read("unstable", tier, after) {
		if err != nil {
			return m, seqs, err
		}
		if seqs = append(seqs, ev.Seq); ev.Header.Full {
			m = map[string]Attribute{}
		}
		for a, err := range ev.Attributes {
			if err != nil {
				return m, seqs, err
			}
			if a.Gone {
				delete(m, a.Attr)
			} else {
				m[a.Attr] = a
			}
		}
	}
	return m, seqs, nil
}

// Any sequence of states comes back from files of changes.
func TestFolderGivesBackEachState(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	f := NewFolder(filepath.Join(t.TempDir(), "evals"))
	state, digest := map[string]Attribute{}, ""
	var before map[string]Attribute
	for seq := int64(1); seq <= 20; seq++ {
		before, state = state, maps.Clone(state)
		for range 5 {
			name := fmt.Sprintf("p%d", rng.IntN(30))
			if rng.IntN(3) == 0 {
				delete(state, name)
			} else {
				state[name] = metaOf(name, fmt.Sprint(rng.IntN(4)))
			}
		}
		h, attrs := header(seq, Meta), state
		if seq%7 != 1 {
			h.Full, h.Base, attrs = false, digest, delta(before, state)
		}
		var err error
		if _, digest, err = f.Add(h, attrs); err != nil {
			t.Fatal(err)
		}
		if _, _, err := f.Add(h, attrs); !errors.Is(err, fs.ErrExist) {
			t.Errorf("adding it again: %v", err)
		}
		s, err := f.State("unstable", Meta)
		if err != nil {
			t.Fatal(err)
		}
		if !reflect.DeepEqual(s.Attrs, state) || s.Digest != digest || s.Header.Seq != seq {
			t.Fatalf("after %d: %v, want %v", seq, s, state)
		}
		got, seqs, err := replay(t, f, Meta, 0)
		if err != nil || !reflect.DeepEqual(got, state) || len(seqs) != int(seq) {
			t.Fatalf("replayed %v: %v", seqs, err)
		}
	}
	if channels, err := f.Channels(); err != nil || !slices.Equal(channels, []string{"unstable"}) {
		t.Errorf("channels %v: %v", channels, err)
	}
	if _, seqs, err := replay(t, f, Meta, 18); err != nil || !slices.Equal(seqs, []int64{19, 20}) {
		t.Errorf("after 18: %v: %v", seqs, err)
	}
	if _, seqs, err := replay(t, f, Meta, 20); err != nil || seqs != nil {
		t.Errorf("after 20: %v: %v", seqs, err)
	}
}

func TestFolderRefusesABrokenChain(t *testing.T) {
	build := func(t *testing.T) (*Folder, []File) {
		f := NewFolder(t.TempDir())
		var files []File
		digest := ""
		for seq := int64(1); seq <= 4; seq++ {
			h := header(seq, Meta)
			if seq > 1 {
				h.Full, h.Base = false, digest
			}
			file, d, err := f.Add(h, set(metaOf("a", fmt.Sprint(seq))))
			if err != nil {
				t.Fatal(err)
			}
			digest, files = d, append(files, file)
		}
		return f, files
	}
	for _, tt := range []struct {
		name  string
		spoil func(files []File) error
		want  string
		good  int
	}{
		{"the first is missing", func(f []File) error { return os.Remove(f[0].Path) }, "2-meta.jsonl.gz: line 1: the file whose changes it tells is missing", 0},
		{"one is missing", func(f []File) error { return os.Remove(f[1].Path) }, "3-meta.jsonl.gz: line 1: it tells the changes since", 1},
		{"another name", func(f []File) error { return os.Rename(f[3].Path, strings.Replace(f[3].Path, "4-", "5-", 1)) }, "it is evaluation 4-meta of unstable, which is not its name", 3},
		{"it is cut", func(f []File) error { return os.Truncate(f[2].Path, 60) }, "3-meta.jsonl.gz: line", 2},
	} {
		t.Run(tt.name, func(t *testing.T) {
			f, files := build(t)
			if err := tt.spoil(files); err != nil {
				t.Fatal(err)
			}
			_, seqs, err := replay(t, f, Meta, 0)
			if err == nil || !strings.Contains(err.Error(), tt.want) || len(seqs) > tt.good+1 {
				t.Errorf("%v, %v; want %s after %d", seqs, err, tt.want, tt.good)
			}
			if _, err := f.State("unstable", Meta); err == nil {
				t.Error("a state came of it")
			}
		})
	}
}

// A reader of changes must not have to trust that the file it resumes behind is the right one.
func TestFolderChecksTheFileBeforeTheFirst(t *testing.T) {
	f := NewFolder(t.TempDir())
	if _, _, err := f.Add(header(1, Meta), set(metaOf("a", "1"))); err != nil {
		t.Fatal(err)
	}
	h := header(2, Meta)
	h.Full, h.Base = false, digest0
	if _, _, err := f.Add(h, set(metaOf("a", "2"))); err != nil {
		t.Fatal(err)
	}
	if _, _, err := replay(t, f, Meta, 1); err == nil || !strings.Contains(err.Error(), "it tells the changes since e3b0c44298fc") {
		t.Error(err)
	}
}

func TestWriteIsDeterministic(t *testing.T) {
	var one, two bytes.Buffer
	d1, err1 := Write(&one, header(1, Meta), sorted(set(metaOf("a", "1"))))
	d2, err2 := Write(&two, header(1, Meta), sorted(set(metaOf("a", "1"))))
	if err1 != nil || err2 != nil || d1 != d2 || !bytes.Equal(one.Bytes(), two.Bytes()) {
		t.Errorf("%v %v %s %s", err1, err2, d1, d2)
	}
	if z, err := gzip.NewReader(&one); err != nil || !z.ModTime.IsZero() || z.Name != "" {
		t.Errorf("%v %+v", err, z)
	}
}
