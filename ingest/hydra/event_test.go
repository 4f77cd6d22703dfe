package hydra

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/firn-log/firn/log/statement"
)

// eventOf is what RunCommand writes about a build.
func eventOf(t testing.TB, name, change string) []byte {
	t.Helper()
	text := fmt.Sprintf(`{"event":"buildFinished","build":12,"finished":true,"timestamp":1,"project":"nixpkgs","jobset":"trunk","job":"hello.x86_64-linux",
"drvPath":"%s","startTime":1,"stopTime":2,"buildStatus":0,"nixName":"%s","system":"x86_64-linux","homepage":null,
"outputs":[{"name":"out","path":"%s"}],"products":[],"metrics":[]}`, storePath(t, name+".drv"), name, storePath(t, name))
	if from, to, ok := strings.Cut(change, "=>"); ok {
		if !strings.Contains(text, from) {
			t.Fatalf("no %s in %s", from, text)
		}
		text = strings.Replace(text, from, to, 1)
	}
	return []byte(text)
}

func (w *world) runSpool(dir string) (*SpoolSummary, error) {
	w.t.Helper()
	c, cs, o := w.open(Options{})
	sum, err := ImportSpool(w.t.Context(), dir, c, cs, o)
	return sum, errors.Join(err, cs.Close())
}

func putEvent(t testing.TB, dir string, b []byte) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "hydra.json")
	if err := os.WriteFile(path, b, 0o644); err != nil {
		t.Fatal(err)
	}
	e, err := ReadEvent(path)
	if err != nil || e == nil {
		t.Fatalf("%v %v", e, err)
	}
	if err := e.Put(dir); err != nil {
		t.Fatal(err)
	}
}

func files(t testing.TB, dir string) []string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names
}

func TestEventsAreImportedAndGone(t *testing.T) {
	w, dir := newWorld(t), t.TempDir()
	w.build("hello", 0)
	putEvent(t, dir, eventOf(t, "hello", ""))
	putEvent(t, dir, eventOf(t, "hello", "")) // twice is one
	putEvent(t, dir, eventOf(t, "absent", ""))
	if n := len(files(t, dir)); n != 2 {
		t.Errorf("%d files", n)
	}
	sum, err := w.runSpool(dir)
	if err != nil || sum.Imported != 1 || sum.Waiting != 1 || sum.Cache.Accepted != 2 {
		t.Errorf("%+v %v", sum, err)
	}
	if n := len(logged[*statement.CacheSig](w)); n != 2 || len(w.numbers()) != 0 {
		t.Errorf("%d signatures", n)
	}
	w.now = time.Now().Add(patience + time.Hour)
	sum, err = w.runSpool(dir)
	if err != nil || sum.Dropped != 1 || len(sum.Problems) != 1 || len(files(t, dir)) != 0 {
		t.Errorf("%+v %v", sum, err)
	}
}

func TestFilesThatAreNoEventsAreSetAside(t *testing.T) {
	w, dir := newWorld(t), t.TempDir()
	w.build("hello", 0)
	putEvent(t, dir, eventOf(t, "hello", ""))
	for name, text := range map[string]string{
		"a.json": "{", "b.json": `{"schema":2}`, "c.json": `{"schema":1,"drv":"/nix/store/7rjj86a15146vq1bxajzbfl90mn7vk2j-x.drv","outputs":[]}`,
		"d.json":    `{"schema":1,"drv":"/gnu/store/7rjj86a15146vq1bxajzbfl90mn7vk2j-x.drv","outputs":["/gnu/store/7rjj86a15146vq1bxajzbfl90mn7vk2j-x"]}`,
		"other.txt": "", tempPrefix + "1": "half",
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if err := syscall.Mkfifo(filepath.Join(dir, "pipe.json"), 0o600); err != nil {
		t.Fatal(err)
	}
	w.now = time.Now()
	sum, err := w.runSpool(dir)
	if err != nil || sum.Bad != 5 || sum.Imported != 1 {
		t.Errorf("%+v %v", sum, err)
	}
	w.now = w.now.Add(2 * orphanAge)
	if sum, err = w.runSpool(dir); err != nil || sum.Bad != 0 {
		t.Errorf("%+v %v", sum, err)
	}
	got := strings.Join(files(t, dir), " ")
	if got != "a.json.bad b.json.bad c.json.bad d.json.bad other.txt pipe.json.bad" {
		t.Error(got)
	}
}

func TestEventsThatAreNone(t *testing.T) {
	for _, change := range []string{`"buildFinished"=>"buildStarted"`, `"buildStatus":0=>"buildStatus":1`} {
		if e, err := parseEvent(eventOf(t, "x", change)); e != nil || err != nil {
			t.Errorf("%s: %v %v", change, e, err)
		}
	}
	for change, want := range map[string]string{
		`"event"=>"events"`:             "has no event, so it is not by a Hydra",
		`"buildStatus":0=>"x":0`:        "has no buildStatus",
		`"build":12=>"build":null`:      "has no build or no drvPath",
		`"build":12=>"build":"12"`:      `has a string where "build" is needed`,
		`.drv"=>"`:                      "as the derivation, which it is not",
		`"path":"/nix=>"path":"/gnu`:    "which is none in /nix/store",
		`"path":=>"paths":`:             "has an output without path",
		`"metrics":[]}=>`:               "ends in the middle of its JSON",
		`"metrics":[]}=>"metrics":[]}}`: "is not JSON: ",
		`{"event"=><html>`:              "answers with a web page",
	} {
		e, err := parseEvent(eventOf(t, "x", change))
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v %v, want %s", change, e, err, want)
		}
	}
}
