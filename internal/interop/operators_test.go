package interop

import (
	"bufio"
	"crypto/sha256"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/firn-log/firn/internal/nix"
	"github.com/firn-log/firn/log"
	"github.com/firn-log/firn/log/policy"
	"github.com/firn-log/firn/log/statement"
	"github.com/firn-log/firn/verify"
)

// alices is the machine on which docs/operators.md is tried: a folder with a
// firn.policy that has two logs.
type alices struct {
	t    *testing.T
	root string
	logs map[string]*firnLog
}

func newAlices(t *testing.T) *alices {
	t.Helper()
	a := &alices{t: t, root: t.TempDir(), logs: map[string]*firnLog{}}
	for _, dir := range []string{"bin", "home/.config/firn", "home/offline"} {
		if err := os.MkdirAll(a.path(dir), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	lines := "completeness off\n"
	for _, name := range []string{"main", "second"} {
		l := initLog(t)
		l.process = start(t, ours(t, "firn-log"), "serve", "--no-witness-check", l.dir)
		l.url = "http://" + l.hears(t, address)
		l.policy = a.path("home/.config/firn/" + name + ".policy")
		a.write("home/.config/firn/"+name+".policy", "log "+l.vkey+"\nquorum none\n")
		l.awaitCheckpoint(t)
		lines += fmt.Sprintf("log %s file %s.policy url %s\n", name, name, l.url)
		a.logs[name] = l
	}
	a.write("home/.config/firn/firn.policy", lines+"operator cache key "+strings.Repeat("0", 64)+"\ngroup g any cache\nrule default need g\n")
	a.write("bin/hook", controlStub)
	if err := os.Chmod(a.path("bin/hook"), 0o755); err != nil {
		t.Fatal(err)
	}
	return a
}

func (a *alices) path(name string) string { return filepath.Join(a.root, name) }

func (a *alices) write(name, text string) {
	a.t.Helper()
	if err := os.WriteFile(a.path(name), []byte(text), 0o600); err != nil {
		a.t.Fatal(err)
	}
}

func (a *alices) read(name string) string {
	a.t.Helper()
	b, err := os.ReadFile(a.path(name))
	if err != nil {
		a.t.Fatal(err)
	}
	return strings.TrimSpace(string(b))
}

// claim sends what a build key says of a path, with times from long ago, to a log,
// and returns the index and the id of the statement.
func (a *alices) claim(name, key string, b *statement.Build) (uint64, statement.ID) {
	a.t.Helper()
	ctx, l := a.t.Context(), a.logs[name]
	b.Started, b.Finished = 1, 2
	signer, err := statement.OpenSigner(ctx, a.path("home/.config/firn/"+key), statement.SignerOptions{})
	if err != nil {
		a.t.Fatal(err)
	}
	s, err := statement.Sign(ctx, signer, b, "", nil)
	if err != nil {
		a.t.Fatal(err)
	}
	pol, err := policy.Parse([]byte(a.read("home/.config/firn/"+name+".policy") + "\n"))
	if err != nil {
		a.t.Fatal(err)
	}
	c, err := log.NewClient(l.url, pol, log.Options{})
	if err != nil {
		a.t.Fatal(err)
	}
	res, err := c.Submit(ctx, [][]byte{s.Leaf()}, patience)
	if err != nil || res.Results[0].Status == log.Rejected {
		a.t.Fatalf("%s takes no claim: %v %+v", name, err, res)
	}
	return res.Results[0].Index, s.ID()
}

// origin returns the origin of a log.
func (a *alices) origin(name string) string {
	origin, _, _ := strings.Cut(a.logs[name].vkey, "+")
	return origin
}

// claimed is a build of a derivation called name whose content is called what.
func claimed(t *testing.T, name, what string) *statement.Build {
	t.Helper()
	dir := nix.DefaultStoreDir
	modulo := nix.Hash(sha256.Sum256([]byte(name)))
	out, err := nix.OutputPath(dir, modulo, name, "out")
	if err != nil {
		t.Fatal(err)
	}
	drv, err := dir.FromBase("00000000000000000000000000000000-" + name + ".drv")
	if err != nil {
		t.Fatal(err)
	}
	return &statement.Build{
		DrvPath: drv, DrvHash: nix.Hash{1}, Modulo: modulo, System: "x86_64-linux", StoreDir: dir,
		Outputs: []statement.BuildOutput{{Name: "out", Path: out, NarHash: sha256.Sum256([]byte(what)), NarSize: 1, References: []nix.StorePath{}}},
		How:     statement.HowBuilt, Builder: statement.Builder{Implementation: "nix", Version: "2.8.0"},
	}
}

// expect compares the verdict of a reader who counts one operator only.
func (a *alices) expect(operator, name, what string, want verify.Verdict) {
	a.t.Helper()
	text := "completeness off\n"
	for log, l := range a.logs {
		text += fmt.Sprintf("log %s file %s.policy url %s\n", log, log, l.url)
	}
	text += "operator alice id " + a.read("home/.config/firn/"+operator) + "\ngroup g any alice\nrule default need g\n"
	pol, err := verify.ParsePolicy("firn.policy", []byte(text), func(file string) ([]byte, error) {
		return os.ReadFile(a.path("home/.config/firn/" + file))
	})
	if err != nil {
		a.t.Fatal(err)
	}
	o := claimed(a.t, name, what).Outputs[0]
	r, err := verify.Verify(a.t.Context(), pol, []verify.Subject{{Info: &nix.PathInfo{Path: o.Path, NarHash: o.NarHash, NarSize: o.NarSize}}}, verify.Options{StateDir: a.t.TempDir()})
	if err != nil {
		a.t.Fatal(err)
	}
	if got := r.Paths[0].Verdict; got != want {
		a.t.Errorf("%s as %s: %v (%s), want %v", name, what, got, r.Paths[0].Reason, want)
	}
}

// before does what happens before a section of the page begins.
func (a *alices) before(section string) {
	a.t.Helper()
	switch section {
	case "I lost a build key":
		a.claim("main", "build", claimed(a.t, "hello", "hello"))
		a.claim("second", "build", claimed(a.t, "elsewhere", "elsewhere"))
	case "I lost an identity key":
		a.expect("operator-id", "hello", "hello", verify.Trusted)
		a.expect("operator-id", "elsewhere", "elsewhere", verify.Trusted)
		a.claim("second", "build2", claimed(a.t, "new", "new"))
		a.expect("operator-id", "new", "new", verify.Trusted)
	case "Without another one":
		a.expect("operator-id", "hello", "hello", verify.Trusted)
		a.expect("operator-id", "new", "new", verify.Trusted)
	case "My key was somebody else's for a month":
		a.theft()
	}
}

// theft is the month: first the owner, then a thief who dates back, then both.
func (a *alices) theft() {
	a.t.Helper()
	a.claim("main", "build3", claimed(a.t, "mine", "mine"))
	_, wrong := a.claim("second", "build3", claimed(a.t, "wrong", "wrong"))
	at, _ := a.claim("main", "build3", claimed(a.t, "evil", "evil"))
	also, _ := a.claim("second", "build3", claimed(a.t, "evil2", "evil"))
	a.claim("main", "build3", claimed(a.t, "mine", "evil"))
	a.claim("main", "build3", claimed(a.t, "later", "later"))
	a.write("home/cut-main", fmt.Sprintf("%s=%d", a.origin("main"), at))
	a.write("home/cut-second", fmt.Sprintf("%s=%d", a.origin("second"), also))
	a.write("home/wrong", wrong.String())
	for name, want := range map[string]verify.Verdict{"mine": verify.Contradicted, "wrong": verify.Trusted, "later": verify.Trusted} {
		a.expect("operator-id3", name, name, want)
	}
	a.expect("operator-id3", "evil", "evil", verify.Trusted)
	a.expect("operator-id3", "evil2", "evil", verify.Trusted)
}

// TestOperatorsPage tries every step of docs/operators.md, and asks for verdicts
// before and after.
func TestOperatorsPage(t *testing.T) {
	a := newAlices(t)
	names := strings.NewReplacer("log.example/3f9a01bc=4711", `"$(cat ~/cut-main)"`, "second.example/77e2c9d0=815", `"$(cat ~/cut-second)"`, "3a41b2c7…", `"$(cat ~/wrong)"`)
	playPage(t, "docs/operators.md", 13, a.root, names, func(c net.Conn) {
		defer c.Close()
		line, err := bufio.NewReader(c).ReadString('\n')
		if err != nil {
			t.Fatal(err)
		}
		a.before(strings.TrimPrefix(strings.TrimSpace(line), "hook "))
		fmt.Fprintln(c, "ok")
	})
	for name, want := range map[string]verify.Verdict{"mine": verify.Trusted, "wrong": verify.Untrusted, "later": verify.Untrusted} {
		a.expect("operator-id3", name, name, want)
	}
	a.expect("operator-id3", "evil", "evil", verify.Untrusted)
	a.expect("operator-id3", "evil2", "evil", verify.Untrusted)
	a.claim("main", "build4", claimed(t, "later", "later"))
	a.expect("operator-id3", "later", "later", verify.Trusted)
	a.expect("operator-id", "hello", "hello", verify.Trusted) // whoever still counts the old one
	if found, err := files(a.path("home/proofs"), "*.tlog-proof"); err != nil || len(found) < 5 {
		t.Errorf("proofs: %v, %v", found, err)
	}
}
