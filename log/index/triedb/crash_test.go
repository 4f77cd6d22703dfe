package triedb

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/firn-log/firn/internal/dropfs"
	"github.com/firn-log/firn/log/index"
)

// Environment of the child processes: the folder, and what to do with it.
const (
	childDir  = "FIRN_TRIEDB_DIR"
	childTask = "FIRN_TRIEDB_TASK"
)

// childStep is how many leaves a child appends at most before it says so.
const childStep = 60

func TestMain(m *testing.M) {
	if dir := os.Getenv(childDir); dir != "" {
		if err := child(dir, os.Getenv(childTask)); err != nil {
			fmt.Println("error", err)
			os.Exit(1)
		}
		return
	}
	os.Exit(m.Run())
}

// child says on stdout what it has reached. Task "grow" appends until it is killed, "close" appends
// a few and closes, "check" says what is there.
func child(dir, task string) error {
	db, err := Open(dir, origin, tiny())
	if err != nil {
		return err
	}
	rng := rand.New(rand.NewPCG(db.Size(), 2))
	switch task {
	case "check":
		v, err := db.View(context.Background(), db.Size())
		if err != nil {
			return err
		}
		n, err := v.Prove([]index.Hash{index.KeyHash("key:1")})
		fmt.Println("root", db.Size(), n.Hash())
		return errors.Join(err, db.Close())
	case "close":
		n := int(db.Size())
		if err := db.Append(testRows(n, n+150)); err != nil {
			return err
		}
		if err := db.Close(); err != nil {
			return err
		}
		fmt.Println("closed", n+150)
		return nil
	}
	for {
		n := int(db.Size())
		if err := db.Append(testRows(n, n+1+rng.IntN(childStep))); err != nil {
			fmt.Println("error", err) // such as a full disk: try again
		}
		root, err := db.Commit()
		if err != nil {
			return err
		}
		fmt.Println("root", db.Size(), root)
	}
}

// A childProcess runs a task in a process of its own: one that is killed, or that
// reads a file system which this process serves.
type childProcess struct {
	cmd *exec.Cmd
	out *bufio.Scanner
}

func start(t *testing.T, dir, task string) *childProcess {
	t.Helper()
	cmd := exec.Command(os.Args[0], "-test.run=^$")
	cmd.Env = append(os.Environ(), childDir+"="+dir, childTask+"="+task)
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	return &childProcess{cmd, bufio.NewScanner(out)}
}

func (c *childProcess) line() string {
	if !c.out.Scan() {
		return ""
	}
	return c.out.Text()
}

// kill ends the process with SIGKILL and returns the last line that it wrote.
func (c *childProcess) kill() (last string) {
	c.cmd.Process.Kill()
	for l := c.line(); l != ""; l = c.line() {
		last = l
	}
	c.cmd.Wait()
	return last
}

// rootLine reads what a child says of its state.
func rootLine(t *testing.T, line string) (size int, root string) {
	t.Helper()
	if _, err := fmt.Sscanf(line, "root %d %s", &size, &root); err != nil {
		t.Fatalf("a child says %q", line)
	}
	return size, root
}

func kills() int {
	if os.Getenv("FIRN_SOAK") == "1" {
		return 300
	}
	return 30
}

func TestKilledAtAnyPointIsAnEarlierState(t *testing.T) {
	dir, rng := t.TempDir(), rand.New(rand.NewPCG(1, 4))
	m, lost := newModel(0), 0
	for round := range kills() {
		c := start(t, dir, "grow")
		last := c.line()
		for range rng.IntN(40) {
			last = c.line()
		}
		if l := c.kill(); strings.HasPrefix(l, "root ") && len(l) > 60 {
			last = l
		}
		said, _ := rootLine(t, last)
		// Opened as a copy: the next child finds what the killed one left.
		left := filepath.Join(t.TempDir(), "left")
		if err := os.CopyFS(left, os.DirFS(dir)); err != nil {
			t.Fatal(err)
		}
		db := open(t, left, tiny())
		size := int(db.Size())
		if size < m.size || size > said+childStep {
			t.Fatalf("round %d: size %d; an earlier opening had %d, and the child said %d", round, size, m.size, said)
		}
		lost += max(said-size, 0)
		m.grow(size)
		if v := view(t, db, size); v.Root() != m.Root() {
			t.Fatalf("round %d: root %v at %d, want %v", round, v.Root(), size, m.Root())
		}
		if err := db.Close(); err != nil {
			t.Fatal(err)
		}
	}
	t.Logf("%d kills, %d leaves, %d were to append again", kills(), m.size, lost)
}

func TestPowerCutIsAnEarlierState(t *testing.T) {
	d := dropfs.New()
	dir, unmount := dropfs.Mount(t, d)
	m := newModel(0)
	for round := range 6 {
		if round%2 == 0 {
			c := start(t, filepath.Join(dir, "index"), "close")
			m.grow(m.size + 150)
			if l := c.line(); l != fmt.Sprint("closed ", m.size) {
				t.Fatalf("a child says %q", l)
			}
			c.cmd.Wait()
			d = d.Cut()
		} else {
			c := start(t, filepath.Join(dir, "index"), "grow")
			for range 10 + 7*round {
				rootLine(t, c.line())
			}
			d = d.Cut()
			c.kill()
		}
		unmount()
		dir, unmount = dropfs.Mount(t, d)
		c := start(t, filepath.Join(dir, "index"), "check")
		size, root := rootLine(t, c.line())
		c.cmd.Wait()
		if size < m.size {
			t.Fatalf("round %d: size %d, and %d were durable", round, size, m.size)
		}
		m.grow(size)
		if want := m.Root().String(); root != want {
			t.Fatalf("round %d: root %s at %d, want %s", round, root, size, want)
		}
	}
}

func TestFullDiskIsReadAndGoesOn(t *testing.T) {
	d := dropfs.New()
	dir, _ := dropfs.Mount(t, d)
	c := start(t, filepath.Join(dir, "index"), "grow")
	for range 20 {
		rootLine(t, c.line())
	}
	d.Set(true, false)
	l := c.line()
	for strings.HasPrefix(l, "root ") {
		l = c.line()
	}
	if !strings.Contains(l, "no space left on device") {
		t.Fatalf("on a full disk a child says %q", l)
	}
	full, root := rootLine(t, c.line()) // hashed from what is there
	if want := newModel(full).Root().String(); root != want {
		t.Errorf("root %s at %d on a full disk, want %s", root, full, want)
	}
	d.Set(false, false)
	size := full
	for size < full+1000 {
		if l = c.line(); l == "" {
			t.Fatal("the child has ended")
		}
		if !strings.HasPrefix(l, "error ") {
			size, root = rootLine(t, l)
		}
	}
	if want := newModel(size).Root().String(); root != want {
		t.Errorf("root %s at %d afterwards, want %s", root, size, want)
	}
	c.kill()
}

func TestUnwritableFolderRefusesToGrowAndIsRead(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "index")
	db := open(t, dir, tiny())
	grow := func(n int) error { return db.Append(testRows(int(db.Size()), int(db.Size())+n)) }
	if err := grow(200); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(dir, dir+".away"); err != nil {
		t.Fatal(err)
	}
	err := grow(1000)
	if !errors.Is(err, os.ErrNotExist) || !strings.Contains(err.Error(), fmt.Sprintf("leaf %d", db.Size())) {
		t.Fatalf("growing without a folder: %v at %d", err, db.Size())
	}
	if _, err := db.Commit(); err != nil {
		t.Fatal(err)
	}
	rng := rand.New(rand.NewPCG(8, 8))
	compare(t, view(t, db, int(db.Size())), newModel(int(db.Size())), rng)
	if err := os.Rename(dir+".away", dir); err != nil {
		t.Fatal(err)
	}
	for db.Size() < 2000 {
		if err := grow(50); err != nil && !errors.Is(err, os.ErrNotExist) {
			t.Fatal(err)
		}
	}
	size := int(db.Size())
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	db = open(t, dir, tiny())
	if int(db.Size()) != size {
		t.Errorf("size %d after closing at %d", db.Size(), size)
	}
	compare(t, view(t, db, size), newModel(size), rng)
	if files, err := runFiles(dir); err != nil || len(files) > 12 {
		t.Errorf("%d files are left, %v", len(files), err)
	}
}

// fill makes an index with several files and returns its folder.
func fill(t testing.TB, origin string, n int, o Options) string {
	t.Helper()
	dir := t.TempDir()
	db, err := Open(dir, origin, o)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(db.Append(testRows(0, n)), db.Close()); err != nil {
		t.Fatal(err)
	}
	// Once more: a small file beside the large one.
	if db, err = Open(dir, origin, o); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(db.Append(testRows(n, n+15)), db.Close()); err != nil {
		t.Fatal(err)
	}
	return dir
}

func TestDamagedFilesAreRefusedByName(t *testing.T) {
	whole, other := fill(t, origin, 300, tiny()), fill(t, "other.example/log", 300, tiny())
	files, err := runFiles(whole)
	if err != nil || len(files) < 2 {
		t.Fatalf("files %v, %v", files, err)
	}
	first, last := files[0], files[len(files)-1]
	edit := func(name string, f func(b []byte) []byte) func(t *testing.T, dir string) {
		return func(t *testing.T, dir string) {
			b, err := os.ReadFile(filepath.Join(dir, name))
			if err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(filepath.Join(dir, name), f(b), 0o644); err != nil {
				t.Fatal(err)
			}
		}
	}
	from := func(dir, name string) func(b []byte) []byte {
		return func([]byte) []byte {
			b, err := os.ReadFile(filepath.Join(dir, name))
			if err != nil {
				t.Fatal(err)
			}
			return b
		}
	}
	remove := func(name string) func(t *testing.T, dir string) {
		return func(t *testing.T, dir string) {
			if err := os.Remove(filepath.Join(dir, name)); err != nil {
				t.Fatal(err)
			}
		}
	}
	otherFiles, err := runFiles(other)
	if err != nil {
		t.Fatal(err)
	}
	for name, tt := range map[string]struct {
		file string
		harm func(t *testing.T, dir string)
	}{
		"run cut off":                {first, edit(first, func(b []byte) []byte { return b[:len(b)/2] })},
		"run cut off in the header":  {last, edit(last, func(b []byte) []byte { return b[:20] })},
		"run without its last byte":  {first, edit(first, func(b []byte) []byte { return b[:len(b)-1] })},
		"run with one byte more":     {first, edit(first, func(b []byte) []byte { return append(b, 0) })},
		"empty run":                  {first, edit(first, func([]byte) []byte { return nil })},
		"run missing":                {last, remove(last)},
		"run of another log":         {first, edit(first, from(other, otherFiles[0]))},
		"another run":                {last, edit(last, from(whole, first))},
		"manifest missing":           {manifestName, remove(manifestName)},
		"manifest cut off":           {manifestName, edit(manifestName, func(b []byte) []byte { return b[:len(b)/2] })},
		"manifest without its end":   {manifestName, edit(manifestName, func(b []byte) []byte { return b[:len(b)-1] })},
		"empty manifest":             {manifestName, edit(manifestName, func([]byte) []byte { return nil })},
		"manifest of another log":    {manifestName, edit(manifestName, from(other, manifestName))},
		"manifest of another format": {manifestName, edit(manifestName, func(b []byte) []byte { return bytes.Replace(b, []byte("triedb 1"), []byte("triedb 2"), 1) })},
		"manifest, another map":      {manifestName, edit(manifestName, func(b []byte) []byte { return bytes.Replace(b, []byte("map 1"), []byte("map 9"), 1) })},
	} {
		t.Run(name, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "index")
			if err := os.CopyFS(dir, os.DirFS(whole)); err != nil {
				t.Fatal(err)
			}
			tt.harm(t, dir)
			checkDamaged(t, dir, tt.file)
			if err := Remove(dir); err != nil {
				t.Fatal(err)
			}
			if _, err := os.Stat(dir); !errors.Is(err, os.ErrNotExist) {
				t.Errorf("the folder is still there: %v", err)
			}
			if db := open(t, dir, tiny()); db.Size() != 0 {
				t.Errorf("size %d in a new folder", db.Size())
			}
		})
	}
}

func checkDamaged(t *testing.T, dir, file string) {
	t.Helper()
	db, err := Open(dir, origin, tiny())
	if err == nil {
		db.Close()
	}
	if !errors.Is(err, ErrDamaged) || !strings.Contains(err.Error(), filepath.Join(dir, file)) {
		t.Fatalf("opening: %v; want ErrDamaged that names %s", err, file)
	}
}

func TestEveryFlippedByteIsNoticed(t *testing.T) {
	dir, rng := fill(t, origin, 300, tiny()), rand.New(rand.NewPCG(5, 5))
	names, err := runFiles(dir)
	if err != nil {
		t.Fatal(err)
	}
	for range 150 {
		name := append(names, manifestName)[rng.IntN(len(names)+1)]
		path := filepath.Join(dir, name)
		whole, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		b := bytes.Clone(whole)
		b[rng.IntN(len(b))] ^= 1 << rng.IntN(8)
		if err := os.WriteFile(path, b, 0o644); err != nil {
			t.Fatal(err)
		}
		db, err := Open(dir, origin, tiny())
		if err == nil {
			db.Close()
		}
		// A manifest may name another file after that, which is then the one that is missing.
		if !errors.Is(err, ErrDamaged) || name != manifestName && !strings.Contains(err.Error(), path) {
			t.Fatalf("%s with a flipped bit: %v", name, err)
		}
		if err := os.WriteFile(path, whole, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	open(t, dir, tiny())
}

func TestDamageWhileOpenIsNotMerged(t *testing.T) {
	dir := fill(t, origin, 300, Options{Logger: quiet()}) // two files that need no merging yet
	files, err := runFiles(dir)
	if err != nil {
		t.Fatal(err)
	}
	db := open(t, dir, tiny())
	f, err := os.OpenFile(filepath.Join(dir, files[0]), os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	// The number of the first leaf of an item: in order still, but wrong.
	if _, err := f.WriteAt([]byte{0xff}, headerSize+5*signerSize+10*recordSize+31); err != nil {
		t.Fatal(err)
	}
	for range 3000 {
		if err = db.Append(testRows(int(db.Size()), int(db.Size())+20)); err != nil {
			break
		}
	}
	if !errors.Is(err, ErrDamaged) || !strings.Contains(err.Error(), files[0]) {
		t.Fatalf("adding leaves: %v, want ErrDamaged that names %s", err, files[0])
	}
	if _, err := db.Commit(); !errors.Is(err, ErrDamaged) {
		t.Errorf("committing: %v", err)
	}
	db.Close()
	checkDamaged(t, dir, files[0])
}
