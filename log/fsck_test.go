package log_test

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/firn-log/firn/log"
	"github.com/firn-log/firn/log/logtest"
	"github.com/firn-log/firn/log/policy"
	"github.com/firn-log/firn/log/statement"
)

func fsck(t *testing.T, l *logtest.Log) *log.Fsck {
	t.Helper()
	res, err := fileClient(t, l, log.Options{}).Fsck(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	return res
}

func paths(faults []log.Fault) string {
	var p []string
	for _, f := range faults {
		p = append(p, f.Path)
	}
	return strings.Join(p, " ")
}

func TestFsckOfACleanLog(t *testing.T) {
	for _, size := range []int{0, 1, 255, 256, 257, 65_536, 70_000} {
		l := logtest.New(t, logtest.Witnesses(3, 2))
		grow(l, 0, size, "leaf")
		res := fsck(t, l)
		if len(res.Faults) != 0 || res.Entries != uint64(size) {
			t.Errorf("size %d: %+v", size, res)
		}
		if stray, err := log.StrayFiles(l.Dir()); err != nil || len(stray) != 0 {
			t.Errorf("size %d: %v, %v", size, stray, err)
		}
	}
}

// Every file of a log is damaged in turn, in every way; fsck names that one.
func TestFsckNamesTheWrongFile(t *testing.T) {
	for _, size := range []int{3, 256, 600, 66_000} {
		l := logtest.New(t)
		grow(l, 0, size, "leaf")
		files := []string{}
		err := filepath.WalkDir(filepath.Join(l.Dir(), "tile"), func(path string, d os.DirEntry, err error) error {
			if name := strings.TrimPrefix(path, l.Dir()+"/"); err == nil && !d.IsDir() {
				files = append(files, name)
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
		large := size > 600
		if large { // all shapes, not all 500 files
			files = slices.DeleteFunc(files, func(name string) bool {
				return (strings.HasPrefix(name, "tile/0/") || strings.HasPrefix(name, "tile/entries/")) && !strings.Contains(name, ".p/") && !strings.HasSuffix(name, "/101")
			})
		}
		for _, name := range files {
			for what, damage := range map[string]func(b []byte) []byte{
				"first bit":  func(b []byte) []byte { b[3] ^= 1; return b },
				"last bit":   func(b []byte) []byte { b[len(b)-1] ^= 1; return b },
				"cut":        func(b []byte) []byte { return b[:len(b)-1] },
				"longer":     func(b []byte) []byte { return append(b, 0) },
				"empty":      func(b []byte) []byte { return nil },
				"all zero":   func(b []byte) []byte { clear(b); return b },
				"removed":    nil,
				"too long":   func(b []byte) []byte { return make([]byte, 20<<20) },
				"its double": func(b []byte) []byte { return append(b, b...) },
			} {
				if large && what != "last bit" && what != "removed" {
					continue
				}
				good, err := os.ReadFile(filepath.Join(l.Dir(), name))
				if err != nil {
					t.Fatal(err)
				}
				if damage == nil {
					err = os.Remove(filepath.Join(l.Dir(), name))
				} else {
					err = os.WriteFile(filepath.Join(l.Dir(), name), damage(bytes.Clone(good)), 0o644)
				}
				if err != nil {
					t.Fatal(err)
				}
				res := fsck(t, l)
				if got := paths(res.Faults); !onlyNames(got, name) {
					t.Errorf("size %d, %s, %s: faults %v", size, name, what, res.Faults)
				}
				if err := os.WriteFile(filepath.Join(l.Dir(), name), good, 0o644); err != nil {
					t.Fatal(err)
				}
			}
		}
	}
}

// onlyNames reports whether got is name, perhaps several times.
func onlyNames(got, name string) bool {
	fields := strings.Fields(got)
	return len(fields) > 0 && !slices.ContainsFunc(fields, func(s string) bool { return s != name })
}

// An entry that was exchanged together with its tile is found by the parent.
func TestFsckFindsARewriteOfTileAndBundle(t *testing.T) {
	l, other := logtest.New(t), logtest.New(t)
	grow(l, 0, 70_000, "leaf")
	grow(other, 0, 70_000, "rewritten")
	exchange := func(names ...string) {
		for _, name := range names {
			b, err := os.ReadFile(filepath.Join(other.Dir(), name))
			if err == nil {
				err = os.WriteFile(filepath.Join(l.Dir(), name), b, 0o644)
			}
			if err != nil {
				t.Fatal(err)
			}
		}
	}
	exchange("tile/0/007", "tile/entries/007")
	if res := fsck(t, l); !onlyNames(paths(res.Faults), "tile/0/007") {
		t.Errorf("%v", res.Faults)
	}
	exchange("tile/0/273.p/112", "tile/entries/273.p/112")
	if res := fsck(t, l); len(res.Faults) == 0 || !strings.Contains(paths(res.Faults), "tile/0/007") {
		t.Errorf("%v", res.Faults)
	}
}

func TestFsckHoldsTheCheckpointAgainstTheEntries(t *testing.T) {
	l, other := logtest.New(t), logtest.New(t)
	grow(l, 0, 300, "leaf")
	note := grow(other, 0, 300, "other")
	write := func(b []byte) {
		if err := os.WriteFile(filepath.Join(l.Dir(), "checkpoint"), b, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	for what, b := range map[string][]byte{
		"another root, signed": note,
		"not signed":           bytes.Replace(note, []byte("\n300\n"), []byte("\n299\n"), 1),
		"another origin":       logtest.New(t, logtest.Origin("other.example/00000000")).Publish(),
		"empty":                nil,
	} {
		write(b)
		if res := fsck(t, l); paths(res.Faults) != "checkpoint" {
			t.Errorf("%s: %v", what, res.Faults)
		}
	}
	// A checkpoint larger than the tree: what is missing is named.
	write(logtest.New(t).Sign(policy.Head{Origin: l.Origin(), Size: 301, Root: [32]byte{1}}))
	if res := fsck(t, l); !strings.Contains(paths(res.Faults), "tile/0/001.p/45") {
		t.Errorf("%v", res.Faults)
	}
	// One that no disk could hold: this ends.
	write(logtest.New(t).Sign(policy.Head{Origin: l.Origin(), Size: policy.MaxSize, Root: [32]byte{1}}))
	if res := fsck(t, l); len(res.Faults) < 1000 || len(res.Faults) > 1010 {
		t.Errorf("%d faults", len(res.Faults))
	}
	if err := os.Remove(filepath.Join(l.Dir(), "checkpoint")); err != nil {
		t.Fatal(err)
	}
	if res := fsck(t, l); paths(res.Faults) != "checkpoint" {
		t.Errorf("removed: %v", res.Faults)
	}
}

func TestFsckThatCannotReadIsAnError(t *testing.T) {
	l := logtest.New(t)
	grow(l, 0, 600, "leaf")
	c := l.Client("")
	l.Lie(func(lies *logtest.Lies) {
		lies.Edit = func(path string, status int, b []byte) (int, []byte) {
			if path == "tile/entries/001" {
				return 503, nil
			}
			return status, b
		}
	})
	if res, err := c.Fsck(t.Context(), nil); !errors.Is(err, log.ErrUnreachable) {
		t.Errorf("%+v, %v, want ErrUnreachable", res, err)
	}
	l.Lie(func(lies *logtest.Lies) { lies.Down = true })
	if res, err := c.Fsck(t.Context(), nil); !errors.Is(err, log.ErrUnreachable) {
		t.Errorf("%+v, %v, want ErrUnreachable", res, err)
	}
}

func TestStrayFiles(t *testing.T) {
	l := logtest.New(t)
	grow(l, 0, 100, "leaf")
	grow(l, 100, 300, "leaf")
	for name, content := range map[string]string{
		"notes":             "",
		"tile/000123456":    "",
		"tile/0/.tmp-1":     "",
		"tile/0/1":          "",
		"tile/64/000":       "",
		"tile/00/000":       "",
		"tile/0/x000/001":   "",
		"tile/0/000.p/0":    "",
		"tile/0/000.p/256":  "",
		"tile/0/000.p/07":   "",
		"tile/0/000.p/99":   strings.Repeat("\x00", 99*32),
		"tile/entries/data": "",
	} {
		path := filepath.Join(l.Dir(), name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
		faults, err := log.StrayFiles(l.Dir())
		if err != nil || paths(faults) != name {
			t.Errorf("%s: %v, %v", name, faults, err)
		}
		if err := os.Remove(path); err != nil {
			t.Fatal(err)
		}
	}
	// A log's public folder has a link for tile.
	public := t.TempDir()
	if err := os.Symlink(filepath.Join(l.Dir(), "tile"), filepath.Join(public, "tile")); err != nil {
		t.Fatal(err)
	}
	if faults, err := log.StrayFiles(public); err != nil || len(faults) != 0 {
		t.Errorf("%v, %v", faults, err)
	}
}

// What stands after the end of a log is a fault; a freeze statement of somebody else, or
// about another log, ends nothing.
func TestAuditOfAFrozenLog(t *testing.T) {
	l := logtest.New(t)
	own, err := statement.NewEd25519Signer(l.Key())
	if err != nil {
		t.Fatal(err)
	}
	a := logtest.Signer(t, "a")
	operator := logtest.Leaf(t, a, &statement.Operator{Name: "op", Contact: "op@example.org", HomeLog: l.Origin(), Identity: a.PublicKey()})
	audit := func() *log.Audit {
		t.Helper()
		l.Publish()
		c := l.Client("")
		cp, err := c.Checkpoint(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		res, err := c.Audit(t.Context(), cp, nil)
		if err != nil {
			t.Fatal(err)
		}
		return res
	}
	l.Add(operator)
	l.Add(logtest.Leaf(t, a, &statement.Freeze{Origin: l.Origin()}))
	if res := audit(); res.Freeze != nil || len(res.Faults) != 0 {
		t.Errorf("frozen by a stranger: %+v", res)
	}
	l.Add(logtest.Leaf(t, own, &statement.Freeze{Origin: "other.example/01234567"}))
	if res := audit(); res.Freeze != nil || len(res.Faults) != 1 || res.Faults[0].Index != 2 {
		t.Errorf("frozen by a statement about another log: %+v", res)
	}
	l.Add(logtest.Leaf(t, own, &statement.Freeze{Origin: l.Origin(), Reason: "done"}))
	if res := audit(); res.Freeze == nil || res.Freeze.Reason != "done" || len(res.Faults) != 1 {
		t.Errorf("frozen: %+v", res)
	}
	l.Add(operator)
	l.Add(logtest.Leaf(t, a, logtest.Closure("late")))
	if res := audit(); len(res.Faults) != 2 || res.Faults[1].Index != 4 || !strings.Contains(res.Faults[1].Reason, "2 entries do") {
		t.Errorf("after the end: %+v", res.Faults)
	}
	c := l.Client("")
	if f, err := c.Freeze(t.Context(), mustCheckpoint(t, c)); err != nil || f != nil {
		t.Errorf("a freeze that is not the last entry ends the log: %+v, %v", f, err)
	}
}

func mustCheckpoint(t *testing.T, c *log.Client) *log.Checkpoint {
	t.Helper()
	cp, err := c.Checkpoint(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return cp
}

func TestAudit(t *testing.T) {
	l := logtest.New(t)
	a, b := logtest.Signer(t, "a"), logtest.Signer(t, "b")
	operator := func(s statement.Signer) []byte {
		return logtest.Leaf(t, s, &statement.Operator{Name: "op", Contact: "op@example.org", HomeLog: l.Origin(), Identity: s.PublicKey()})
	}
	before := logtest.Leaf(t, a, logtest.Closure("before"))
	good := logtest.Leaf(t, a, logtest.Closure("good"))
	bad := bytes.Clone(logtest.Leaf(t, a, logtest.Closure("bad")))
	bad[len(bad)-1] ^= 1
	early := bytes.Clone(logtest.Leaf(t, a, logtest.Closure("early-and-bad")))
	early[len(early)-1] ^= 1
	log1, err := statement.NewEd25519Signer(l.Key())
	if err != nil {
		t.Fatal(err)
	}
	// A key-add whose proof was made for another operator brings no key in.
	proof, err := statement.ProveKey(t.Context(), b, statement.ID{1}, statement.RoleBuild)
	if err != nil {
		t.Fatal(err)
	}
	proof.OperatorID = statement.ID{2}
	prev := statement.ID{2}
	add, err := statement.Sign(t.Context(), a, proof, "", &prev)
	if err != nil {
		t.Fatal(err)
	}
	forged := bytes.Clone(operator(b)) // brings its key along, and is not signed by it
	forged[len(forged)-1] ^= 1
	for _, leaf := range [][]byte{
		before, early, operator(a), good, bad, []byte("junk"),
		logtest.Leaf(t, b, logtest.Closure("unknown")),
		logtest.Leaf(t, log1, logtest.Closure("by-the-log-itself")), add.Leaf(), forged,
	} {
		l.Add(leaf)
	}
	l.Publish()
	c := l.Client("")
	res, err := c.Audit(t.Context(), checkpoint(t, c), nil)
	if err != nil {
		t.Fatal(err)
	}
	var faults []uint64
	for _, f := range res.Faults {
		faults = append(faults, f.Index)
	}
	if !slices.Equal(faults, []uint64{1, 4, 5, 8, 9}) || res.Verified != 5 || res.Entries != 10 || res.Kinds[statement.KindClosure] != 6 {
		t.Errorf("%+v", res)
	}
	if len(res.Unknown) != 1 || res.Unknown[b.PublicKey().ID()] != 1 {
		t.Errorf("unknown %v", res.Unknown)
	}
}
