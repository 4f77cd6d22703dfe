package submit

import (
	"crypto/sha256"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/firn-log/firn/ingest/hook"
	"github.com/firn-log/firn/internal/nix"
	"github.com/firn-log/firn/internal/testreq"
	"github.com/firn-log/firn/log/statement"
)

func pathOf(t testing.TB, name string) nix.StorePath {
	t.Helper()
	sum := sha256.Sum256([]byte(name))
	p, err := nix.DefaultStoreDir.FromBase(nix.EncodeBase32(sum[:20]) + "-" + name)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func TestOnlyUltimateOutputsAreClaimed(t *testing.T) {
	w := newWorld(t)
	drv, outs := w.drv("lib", "dev", "out")
	w.public(drv)
	w.src.infos[outs[1]].Ultimate = false // out was substituted
	w.spooled(drv)
	if out := w.once(w.options()); out.Sent != 1 {
		t.Fatalf("%+v", out)
	}
	b := w.logged()[0]
	if !b.Partial || len(b.Outputs) != 1 || b.Outputs[0].Name != "dev" || b.Outputs[0].Path != outs[0] {
		t.Errorf("got %+v", b)
	}
	if b.DrvPath != drv || b.System != "x86_64-linux" || b.Builder != (statement.Builder{Implementation: "nix", Version: "2.8.0"}) || b.Finished != uint64(w.time) {
		t.Errorf("got %+v", b)
	}
}

func TestWhatCannotBeClaimedIsSetAsideWithItsReason(t *testing.T) {
	w := newWorld(t)
	remote, outs := w.drv("remote", "dev", "out")
	for _, p := range outs {
		w.src.infos[p].Ultimate = false
	}
	collected, outs := w.drv("collected", "out")
	delete(w.src.infos, outs[0])
	gone, _ := w.drv("gone", "out")
	os.Remove(filepath.Join(w.root, gone.String()))
	text := func(outputs, inputs string) string {
		return `Derive([` + outputs + `],[` + inputs + `],[],"x86_64-linux","/bin/sh",[],[("out","")])`
	}
	deferred := w.addDrv("deferred", text(`("out","","","")`, ""))
	floating := w.addDrv("floating", text(`("out","","r:sha256","")`, ""))
	wrongPath := w.addDrv("wrong", strings.ReplaceAll(text(`("out","P","","")`, ""), `"P"`, `"`+pathOf(t, "wrong").String()+`"`))
	needsGone := w.addDrv("needs-gone", strings.ReplaceAll(text(`("out","P","","")`, `("`+gone.String()+`",["out"])`), `"P"`, `"`+pathOf(t, "needs-gone").String()+`"`))
	broken := pathOf(t, "broken.drv")
	w.write(broken.String()[1:], "Derive(")
	dynamic := pathOf(t, "dynamic.drv")
	w.write(dynamic.String()[1:], `DrvWithVersion("xp-dyn-drv",[],[])`)
	elsewhere, err := nix.ParseStorePath("/other/store/" + remote.Base())
	if err != nil {
		t.Fatal(err)
	}
	renamed, _ := w.drv("renamed", "out")
	other := pathOf(t, "renamed.drv")
	b, _ := os.ReadFile(filepath.Join(w.root, renamed.String()))
	w.write(other.String()[1:], string(b))

	want := map[string]string{
		w.spooled(remote):    CodeBuiltElsewhere,
		w.spooled(collected): CodeNoOutputs,
		w.spooled(gone):      CodeNoDerivation,
		w.spooled(deferred):  CodeResolvedElsewhere,
		w.spooled(floating):  CodeNoOutputs,
		w.spooled(wrongPath): CodeBadDerivation,
		w.spooled(needsGone): CodeNoDerivation,
		w.spooled(broken):    CodeBadDerivation,
		w.spooled(dynamic):   CodeUnsupported,
		w.spooled(elsewhere): CodeBadRecord,
		w.spooled(other):     CodeBadDerivation,
	}
	junk := "1732540000-0000000000000000000000000000ffff"
	w.write("spool/pending/"+junk, "junk\n")
	want[junk] = CodeBadRecord
	swapped := "1732540000-0000000000000000000000000000fffe"
	w.write("spool/pending/"+swapped, string((&hook.Record{Drv: remote.String(), Time: 5}).Marshal()))
	want[swapped] = CodeBadRecord
	if out := w.once(w.options()); out.Sent != 0 || out.Waiting != 0 {
		t.Errorf("%+v", out)
	}
	for name, code := range want {
		if state, got := w.where(name); state != Failed || got != code {
			t.Errorf("%s: %s %s, want failed %s", name, state, got, code)
		}
	}
	st, err := ReadStatus(w.conf)
	if err != nil || st.Counts[Failed] != len(want) {
		t.Errorf("%v, %v", st.Counts, err)
	}
}

func TestLongReferencesBecomeTheirDigest(t *testing.T) {
	w := newWorld(t)
	drv, outs := w.drv("big", "dev", "out")
	var refs []nix.StorePath
	for i := range 500 {
		refs = append(refs, pathOf(t, fmt.Sprintf("dependency-%d", i)))
	}
	sortPaths(refs)
	w.src.infos[outs[1]].References = refs
	w.src.infos[outs[0]].References = refs[:3]
	w.public(drv)
	w.spooled(drv)
	opts := w.options()
	blobs := &blobLog{sender: newLogSender(w.conf, opts.Signer)}
	opts.client = blobs
	if out := w.once(opts); out.Sent != 1 {
		t.Fatalf("%+v", out)
	}
	b := w.logged()[0]
	if len(b.Outputs[0].References) != 3 || b.Outputs[1].References != nil || *b.Outputs[1].RefsDigest != statement.PathsDigest(refs) {
		t.Errorf("got %+v", b.Outputs)
	}
	if len(blobs.got) != 1 || nix.Hash(sha256.Sum256(blobs.got[0])) != statement.PathsDigest(refs) {
		t.Errorf("the log got %d lists", len(blobs.got))
	}
}

func TestInputsAreTheDirectOnes(t *testing.T) {
	w := newWorld(t)
	dep, depOuts := w.drv("dep", "dev", "out")
	w.src.infos[depOuts[1]].Ultimate = false
	src := pathOf(t, "source")
	w.addPath(src, false)
	text := `Derive([("out","P","","")],[("` + dep.String() + `",["dev","out"])],["` + src.String() + `"],"x86_64-linux","/bin/sh",[],[("out","P")])`
	st := newStore(w.src, w.root)
	masked, err := nix.ParseDerivation(nix.DefaultStoreDir, "user", []byte(strings.ReplaceAll(text, `"P"`, `""`)))
	if err != nil {
		t.Fatal(err)
	}
	modulo, err := st.modulo.Modulo(masked, nix.Merge)
	if err != nil {
		t.Fatal(err)
	}
	out, err := nix.OutputPath(nix.DefaultStoreDir, modulo, "user", "out")
	if err != nil {
		t.Fatal(err)
	}
	w.addPath(out, true, depOuts[0])
	user := w.addDrv("user", strings.ReplaceAll(text, `"P"`, `"`+out.String()+`"`))
	build, _, _, err := st.resolve(t.Context(), &hook.Record{Drv: user.String(), Time: 7, Sandbox: "true", SandboxFallback: "false"}, statement.Builder{Implementation: "nix", Version: "1"})
	if err != nil {
		t.Fatal(err)
	}
	var lines []string
	for _, p := range []nix.StorePath{depOuts[0], depOuts[1], src} {
		lines = append(lines, p.Base()+" "+w.src.infos[p].NarHash.Hex()+"\n")
	}
	slices.Sort(lines)
	want := statement.BuildInputs{Digest: sha256.Sum256([]byte(strings.Join(lines, ""))), Count: 3, Built: 1, Substituted: 1}
	if build.Inputs == nil || *build.Inputs != want {
		t.Errorf("inputs %+v, want %+v", build.Inputs, want)
	}
	if !build.Builder.Sandbox {
		t.Error("a build in the sandbox is not said to be one")
	}
	delete(w.src.infos, src)
	build, _, _, err = st.resolve(t.Context(), &hook.Record{Drv: user.String(), Time: 7}, statement.Builder{Implementation: "nix", Version: "1"})
	if err != nil || build.Inputs != nil {
		t.Errorf("an input is gone, and the digest is %+v (%v)", build.Inputs, err)
	}
}

func TestSandboxIsClaimedOnlyIfCertain(t *testing.T) {
	plain := &nix.Derivation{}
	open := &nix.Derivation{Env: []nix.EnvVar{{Name: "__noChroot", Value: "1"}}}
	for _, c := range []struct {
		sandbox, fallback string
		d                 *nix.Derivation
		want              bool
	}{
		{"true", "false", plain, true},
		{"true", "true", plain, false},
		{"true", "", plain, false},
		{"false", "false", plain, false},
		{"", "false", plain, false},
		{"relaxed", "false", plain, true},
		{"relaxed", "false", open, false},
		{"true", "false", open, true},
	} {
		if got := sandboxed(&hook.Record{Sandbox: c.sandbox, SandboxFallback: c.fallback}, c.d); got != c.want {
			t.Errorf("sandbox %q, fallback %q, env %v: %v", c.sandbox, c.fallback, c.d.Env, got)
		}
	}
}

func TestBuilderNames(t *testing.T) {
	for text, want := range map[string][2]string{
		"nix-store (Nix) 2.8.0\n":                    {"nix", "2.8.0"},
		"nix-store (Lix, like Nix) 2.91.1\n":         {"lix", "2.91.1"},
		"nix-store (Determinate Nix 3.8.5) 2.30.2\n": {"determinate", "2.30.2"},
		"": {"nix", "unknown"},
	} {
		if impl, version := parseVersion(text); [2]string{impl, version} != want {
			t.Errorf("%q: %s %s", text, impl, version)
		}
	}
	store := "/nix/store/0j66c4adj7fp5a53zcj7qm2ghbs9c1vi-"
	for program, want := range map[string]string{
		store + "nix-2.24.9/bin/nix":              "nix 2.24.9",
		store + "lix-2.91.1/bin/nix-daemon":       "lix 2.91.1",
		store + "determinate-nix-3.8.5/bin/nix":   "determinate-nix 3.8.5",
		store + "nix-2.30.0pre20250101_abc/bin/x": "nix 2.30.0pre20250101_abc",

		"/usr/bin/nix":        " ",
		"":                    " ",
		store + "nix/bin/nix": " ",
		"/nix/store":          " ",
		"relative/nix-1":      " ",
	} {
		impl, version, _ := programName(program)
		if impl+" "+version != want {
			t.Errorf("%s: %q %q, want %q", program, impl, version, want)
		}
	}
}

// A user who may not touch Nix's state folder learns the version too: Nix opens
// its store before it says it.
func TestTheVersionOfNixNeedsNoRightOnItsStore(t *testing.T) {
	t.Setenv("NIX_STATE_DIR", "/nix/var/nix")
	t.Setenv("NIX_REMOTE", "daemon")
	tmp, bin := t.TempDir(), t.TempDir()
	t.Setenv("TMPDIR", tmp)
	script := `#!/bin/sh
case "$NIX_STATE_DIR" in /nix/*|"") echo "error: could not set permissions on '/nix/var/nix/profiles/per-user' to 755" >&2; exit 1;; esac
mkdir -p "$NIX_STATE_DIR/db" "$NIX_STORE_DIR" && [ "$NIX_REMOTE" != daemon ] && echo "nix-store (Nix) 2.8.1"
`
	program := filepath.Join(bin, "nix-store")
	if err := os.WriteFile(program, []byte(script), 0o755); err != nil {
		t.Fatal(err)
	}
	if impl, version := NixVersion(program); impl != "nix" || version != "2.8.1" {
		t.Errorf("%s %s", impl, version)
	}
	if left, err := os.ReadDir(tmp); err != nil || len(left) != 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
	if impl, version := NixVersion(filepath.Join(bin, "nothing")); impl != "nix" || version != "unknown" {
		t.Errorf("no Nix: %s %s", impl, version)
	}
	real := testreq.Command(t, "nix", "nix-store")
	if _, version := NixVersion(real); version == "unknown" {
		t.Errorf("%s does not say its version", real)
	}
}

// Where the path says it, no Nix is run.
func TestTheVersionOfNixIsInItsPath(t *testing.T) {
	impl, version := NixVersion("/nix/store/0j66c4adj7fp5a53zcj7qm2ghbs9c1vi-nix-2.24.9/bin/nix")
	if impl != "nix" || version != "2.24.9" {
		t.Errorf("%s %s", impl, version)
	}
}

// The longest statement that is not shortened any more fits in a leaf whatever
// key signs it.
func TestAFullStatementCanBeSignedWithTheLargestKey(t *testing.T) {
	modulo := nix.Hash(sha256.Sum256([]byte("modulo")))
	out, err := nix.OutputPath(nix.DefaultStoreDir, modulo, "full", "out")
	if err != nil {
		t.Fatal(err)
	}
	var refs []nix.StorePath
	for i := range 295 {
		refs = append(refs, pathOf(t, fmt.Sprintf("reference-%d", i)))
	}
	var full []byte
	for n := len(refs); n > 0 && full == nil; n-- {
		for k := range 60 {
			list := append(slices.Clone(refs[:n]), pathOf(t, strings.Repeat("x", 60-k)))
			slices.SortFunc(list, nix.StorePath.Compare)
			b := &statement.Build{
				DrvPath: pathOf(t, "full.drv"), Modulo: modulo, System: "x86_64-linux", StoreDir: nix.DefaultStoreDir, How: statement.HowBuilt,
				Outputs: []statement.BuildOutput{{Name: "out", Path: out, NarSize: 1, References: list}},
				Builder: statement.Builder{Implementation: "nix", Version: "2.31.2"},
			}
			payload, _, err := Fit(b)
			if err != nil {
				t.Fatal(err)
			}
			if b.Outputs[0].RefsDigest == nil {
				full = payload
				break
			}
		}
	}
	text, err := os.ReadFile(filepath.Join(testreq.Root(), "log/statement/testdata/rsa8192"))
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "key")
	if err := os.WriteFile(file, text, 0o600); err != nil {
		t.Fatal(err)
	}
	key, err := statement.OpenSigner(t.Context(), file, statement.SignerOptions{})
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := key.Sign(t.Context(), full)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := statement.Parse(leaf); err != nil || len(leaf) < statement.MaxLeaf-2 {
		t.Errorf("a leaf of %d bytes: %v", len(leaf), err)
	}
}
