package eval

import (
	"bytes"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/firn-log/firn/internal/testreq"
)

// endings is a tree whose attributes end the evaluator at each point that there is.
const endings = `{ config ? { }, ... }:
let
  make = args: derivation { name = "x"; system = "x86_64-linux"; builder = "/bin/sh"; } // { name = "x-1"; } // args;
in
{
  before1 = abort "found";
  before2 = { type = abort "type"; };
  before3 = make { name = abort "name"; };
  before4 = { recurseForDerivations = abort "recurse"; };
  before5 = let x = x; in x;
  before6 = ({ missing }: missing) { };
  before7 = make { name = abort "name"; drvPath = abort "drv path"; meta.description = abort "description"; };
  before8 = { recurseForDerivations = true; inner = { }.missing; good = make { }; };
  behind1 = make { meta.position = abort "position"; };
  behind2 = make { meta.maintainers = { }.missing; };
  behind3 = make { drvPath = abort "drv path"; };
  behind4 = make { outputs = abort "outputs"; meta.license = abort "license"; };
  behind5 = make { pname = abort "pname"; drvPath = abort "drv path"; };
  deep = let f = n: 1 + f (n + 1); in f 0;
  good = make { };
  number = 3;
  thrown = throw "caught";
}
`

// begins is what cannot be told without the other tier.
var begins = []string{"before1", "before2", "before3", "before4", "before5", "before6", "before7", "before8.inner"}

func newEndings(t *testing.T) *channel {
	c := newChannel(t)
	c.o.Workers = 1
	c.write("default.nix", endings)
	return c
}

func (c *channel) beside(r *Report) *Report {
	c.t.Helper()
	c.n++
	got, err := c.f.Update(c.t.Context(), Change{Channel: "unstable", Tier: Drvs, Time: time.Unix(c.n, 0), Beside: r}, c.o)
	if err != nil {
		c.t.Fatal(err)
	}
	return got
}

// What ends an evaluator before a tier is asked is tried once for both, and both say what they say alone.
func TestWhatEndsBothTiersIsTriedOnce(t *testing.T) {
	eachNix(t, func(t *testing.T, command func(dir, program string) []string) {
		c := newEndings(t)
		c.o.Nix = command(filepath.Dir(c.o.Tree), "nix-instantiate")
		m := c.update(Meta, false)
		if got := slices.Sorted(maps.Keys(m.Result.ended)); !slices.Equal(got, begins) {
			t.Errorf("metadata: %q ended the evaluator before the tier was asked, want %q", got, begins)
		}
		d := c.beside(m)
		c.is(Drvs)
		alone, err := Evaluate(t.Context(), Drvs, c.o)
		if err != nil {
			t.Fatal(err)
		}
		if !reflect.DeepEqual(d.Result.Failed, alone.Failed) || d.Result.Evaluated != alone.Evaluated {
			t.Errorf("beside metadata %+v, %d evaluated; alone %+v, %d", d.Result.Failed, d.Result.Evaluated, alone.Failed, alone.Evaluated)
		}
		if saved := alone.Processes - d.Result.Processes; saved < len(begins)-1 {
			t.Errorf("%d processes beside metadata, %d alone; %d end one", d.Result.Processes, alone.Processes, len(begins))
		}
		after, err := c.f.State("unstable", Drvs)
		if err != nil {
			t.Fatal(err)
		}
		for attr, a := range after.Attrs {
			if want := slices.Contains([]string{"behind1", "behind2", "good", "before8.good"}, attr); want != (a.Error == "") {
				t.Errorf("%s: %+v", attr, a)
			}
		}
	})
}

// Of another tree, with other options or without a report everything is tried.
func TestWhatEndsIsOfOneTreeAndOptions(t *testing.T) {
	for name, change := range map[string]func(c *channel, r *Report) *Report{
		"another tree":        func(c *channel, r *Report) *Report { c.replace("default.nix", `abort "found"`, "make { }"); return r },
		"other options":       func(c *channel, r *Report) *Report { c.o.Aliases = true; return r },
		"another system":      func(c *channel, r *Report) *Report { c.o.System = "aarch64-linux"; return r },
		"another evaluator":   func(c *channel, r *Report) *Report { c.o.Nix = []string{"/usr/bin/env", "nix-instantiate"}; return r },
		"no report":           func(*channel, *Report) *Report { return nil },
		"nothing evaluated":   func(c *channel, _ *Report) *Report { return c.update(Meta, false) },
		"what may be allowed": func(c *channel, r *Report) *Report { c.o.Allow = []string{c.t.TempDir()}; return r },
	} {
		t.Run(name, func(t *testing.T) {
			c := newEndings(t)
			c.o.Attrs = []string{"before1", "before2", "good"}
			r := c.update(Meta, false)
			if len(r.Result.ended) != 2 {
				t.Fatalf("%q", r.Result.ended)
			}
			r = change(c, r)
			alone, err := Evaluate(t.Context(), Drvs, c.o)
			if err != nil {
				t.Fatal(err)
			}
			if d := c.beside(r); d.Result.Processes < alone.Processes {
				t.Errorf("%d processes, and %d without a report", d.Result.Processes, alone.Processes)
			}
			c.is(Drvs)
		})
	}
}

// Only an error of the evaluator's own, before a tier was asked, is one of both tiers.
func TestWhichEndsAreOfBothTiers(t *testing.T) {
	for name, tt := range map[string]struct {
		end  end
		both bool
	}{
		"an error":             {end{why: crashed, said: true, words: "w"}, true},
		"an error of the tier": {end{why: crashed, said: true, past: true, words: "w"}, false},
		"not in its words":     {end{why: crashed, words: "w"}, false},
		"memory":               {end{why: overMemory, said: true}, false},
		"time":                 {end{why: overTime, said: true}, false},
		"a long answer":        {end{why: tooLong, said: true}, false},
	} {
		e := newEngine(&Options{Memory: 1}, Meta)
		e.ended(item{Path: []string{"a"}}, tt.end, 1)
		if _, both := e.result.ended["a"]; both != tt.both || e.result.Attrs["a"].Error == "" {
			t.Errorf("%s: of both tiers %v, error %q", name, both, e.result.Attrs["a"].Error)
		}
	}
}

// Why an evaluator ended is what it says, whatever stands around it.
func TestWordsOfAnEnd(t *testing.T) {
	status := func(script string) error { return exec.Command("sh", "-c", script).Run() }
	for _, tt := range []struct {
		stderr string
		err    error
		words  string
		said   bool
	}{
		{"trace: W S\ntrace: W B 0\nerror: attribute 'x' missing\n\n  at /x:1\n", status("exit 1"), "attribute 'x' missing", true},
		{"trace: W B 0\ntrace: W P 0\nerror: a\nerror:\n   … while\n\n   error: b\n", status("exit 1"), "b", true},
		{"trace: W B 0\nerror: \n\n  it begins below\n  and goes on\n", status("exit 1"), "it begins below", true},
		{"error: of another\ntrace: W B 0\n", status("exit 1"), "the evaluator ended with status 1 and said no error", false},
		{"trace: W B 0\nerror:", status("exit 3"), "the evaluator ended with status 3 and said no error", false},
		{"trace: W B 0\nerror: words\n", status("exit 2"), "words", false},
		{"trace: W B 0\nerror: stack overflow (possible infinite recursion)\n", status("exit 1"), "stack overflow (possible infinite recursion)", false},
		{"trace: W B 0\nerror: out of memory\n", status("exit 1"), "out of memory", false},
		{"trace: W B 0\n", status("kill -SEGV $$"), "the evaluator died of: segmentation fault (a stack overflow?)", false},
		{"trace: W B 0\n", status("kill -ABRT $$"), "the evaluator died of: aborted", false},
		{"trace: W B 0\n", nil, "the evaluator ended without an answer", false},
	} {
		// Nobody takes the lines before all is read: what was said is not lost by that.
		p := &process{word: "W", lines: make(chan []byte, 64), quit: make(chan struct{})}
		p.read(strings.NewReader(tt.stderr))
		if words, said := p.other.sentence(tt.err); words != tt.words || said != tt.said {
			t.Errorf("%q, %v: %q, %v, want %q, %v", tt.stderr, tt.err, words, said, tt.words, tt.said)
		}
	}
}

func TestTheProtocolOfAStream(t *testing.T) {
	for lines, want := range map[string]end{
		"S":                             {at: -1},
		"S;B 0":                         {at: 0},
		"S;B 0;P 0":                     {at: 0, past: true},
		"S;B 0;P 0;R 0 {}":              {at: -1, next: 1, past: true},
		"S;B 0;R 0 {};B 1":              {at: 1, next: 1},
		"S;B 0;P 0;R 0 {};B 1":          {at: 1, next: 1},
		"S;B 0;P 0;R 0 {};B 1;P 1;D {}": {at: 1, next: 1, past: true, about: []byte("{}")},
	} {
		e := end{at: -1}
		loaded := false
		for line := range strings.SplitSeq(lines, ";") {
			if !(&process{}).hear([]byte(line), &e, &loaded, func(answer) {}) {
				t.Errorf("%s: %q is refused", lines, line)
			}
		}
		if !loaded || !reflect.DeepEqual(e, want) {
			t.Errorf("%s: %+v, want %+v", lines, e, want)
		}
	}
	for _, lines := range []string{"P 0", "B 0;P 1", "B 0;P 0;P 0", "B 0;P x", "B 0;R 0 {};P 0", "B 0;P", "B 1", "B 0;B 1", "R 0 {}", "B 0;R 1 {}"} {
		e, loaded, good := end{at: -1}, true, true
		for line := range strings.SplitSeq(lines, ";") {
			good = good && (&process{}).hear([]byte(line), &e, &loaded, func(answer) {})
		}
		if good {
			t.Errorf("%s is taken", lines)
		}
	}
}

// Answers come in order, each once, whatever is said.
func FuzzStream(f *testing.F) {
	f.Add([]byte("trace: W S\ntrace: W B 0\ntrace: W P 0\ntrace: W R 0 {}\nother\ntrace: W B 1\nerror: x"))
	f.Add([]byte("trace: W B 0\ntrace: W P 1\nerror:\n\n y\n"))
	f.Fuzz(func(t *testing.T, stderr []byte) {
		p := &process{word: "W", lines: make(chan []byte, bytes.Count(stderr, []byte("\n"))+1), quit: make(chan struct{})}
		p.read(bytes.NewReader(stderr))
		e, loaded, n := end{at: -1}, false, 0
		for line := range p.lines {
			if !p.hear(line, &e, &loaded, func(a answer) {
				if a.at != n {
					t.Fatalf("answer %d in place of %d", a.at, n)
				}
				n++
			}) {
				break
			}
			if e.next != n || e.at != -1 && e.at != n {
				t.Fatalf("%+v behind %d answers", e, n)
			}
		}
		if words, said := p.other.sentence(nil); words == "" || said {
			t.Fatalf("%q, %v of a process that did not fail", words, said)
		}
	})
}

// askedPath finds the attributes that a process is asked for.
var askedPath = regexp.MustCompile(`\\"path\\":\[\\"([a-z0-9]+)\\"\]`)

// What ended an evaluator of metadata comes last among derivations: one process evaluates all the others.
func TestWhatEndedMetadataComesLast(t *testing.T) {
	testreq.Command(t, "nix", "nix-instantiate")
	c := newEndings(t)
	dir := t.TempDir()
	script, log := filepath.Join(dir, "nix"), filepath.Join(dir, "log")
	if err := os.WriteFile(script, fmt.Appendf(nil, "tee -a %s | nix-instantiate \"$@\"\n", log), 0o644); err != nil {
		t.Fatal(err)
	}
	c.o.Nix = []string{"sh", script}
	c.o.Attrs = []string{"behind1", "behind2", "behind4", "behind5", "before1", "good", "number"}
	m := c.update(Meta, false)
	if err := os.Remove(log); err != nil {
		t.Fatal(err)
	}
	c.beside(m)
	said, err := os.ReadFile(log)
	if err != nil {
		t.Fatal(err)
	}
	var asked [][]string
	for line := range strings.Lines(string(said)) {
		var names []string
		for _, m := range askedPath.FindAllStringSubmatch(line, -1) {
			names = append(names, m[1])
		}
		if names != nil {
			asked = append(asked, names)
		}
	}
	want := [][]string{{"good", "number"}, {"behind1", "behind2", "behind4", "behind5"}, {"behind5"}}
	if !reflect.DeepEqual(asked, want) {
		t.Errorf("processes were asked for %q, want %q", asked, want)
	}
}
