package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/firn-log/firn/ingest/rebuild"
	"github.com/firn-log/firn/internal/nix"
	"github.com/firn-log/firn/internal/testreq"
	"github.com/firn-log/firn/log/logtest"
	"github.com/firn-log/firn/log/statement"
	"github.com/firn-log/firn/tracker/eval"
)

// What an operator evaluates and publishes, rebuilders are offered that name the operator.
func TestAPublishedEvaluationIsWorkForRebuilders(t *testing.T) {
	testreq.Command(t, "nix", "nix-instantiate")
	w := newWorld(t)
	w.register("tracker")
	w.Publish()
	dir := filepath.Join(t.TempDir(), "tracker")
	logsConfig(t, dir, "", w)
	tree := t.TempDir()
	text := `{ system }: builtins.listToAttrs (map (n: { name = "p" + toString n; value = derivation { name = "p-" + toString n; inherit system; builder = "/bin/sh"; }; }) (builtins.genList (n: n) 5))`
	if err := os.WriteFile(filepath.Join(tree, "default.nix"), []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	key := filepath.Join(t.TempDir(), "key")
	writeKey(t, key, "tracker")
	out := output(t, "eval", "--channel", "c", "--tree", tree, "--revision", "r", "--system", "x86_64-linux", "--json", "--publish", "--key", "file:"+key, dir)
	var s evalSummary
	if err := json.Unmarshal([]byte(out), &s); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	if s.Published == nil || s.Published.Derivations != 5 {
		t.Fatalf("%s", out)
	}
	w.Revise()
	w.Publish()
	offer, err := rebuild.Offered(t.Context(), w.Client(""), []statement.ID{w.id["tracker"]})
	if err != nil || len(offer.Passed) != 0 {
		t.Fatalf("%+v, %v", offer, err)
	}
	cp, err := w.Client("").Checkpoint(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	e, err := w.Client("").Entry(t.Context(), cp, s.Published.Index)
	if err != nil {
		t.Fatal(err)
	}
	st, err := statement.Parse(e.Leaf)
	if err != nil {
		t.Fatal(err)
	}
	body := st.Body.(*statement.Eval)
	state, err := eval.NewFolder(filepath.Join(dir, "evals")).State("c", eval.Drvs)
	if err != nil {
		t.Fatal(err)
	}
	var want, got []string
	for _, a := range state.Attrs {
		want = append(want, a.Drv)
	}
	slices.Sort(want)
	for _, d := range body.Drvs {
		got = append(got, d.Base())
	}
	if !slices.Equal(got, want) || body.Name != "c" || body.StoreDir != nix.DefaultStoreDir {
		t.Errorf("stated %+v, want %q", body, want)
	}
	inputs := []statement.EvalInput{
		{Name: "evaluation", Type: "sha256", Revision: state.Digest}, {Name: "system", Type: "system", Revision: "x86_64-linux"}, {Name: "tree", Type: "revision", Revision: "r"},
	}
	if !slices.Equal(body.Inputs, inputs) {
		t.Errorf("inputs %+v, want %+v", body.Inputs, inputs)
	}
}

// What ends an evaluator before a tier is asked costs one process, and not one for each tier.
func TestBothTiersTryOnceWhatEndsAnEvaluator(t *testing.T) {
	testreq.Command(t, "nix", "nix-instantiate")
	tree := t.TempDir()
	text := `builtins.listToAttrs (map (n: { name = "p" + toString n; value = if n < 6 then abort "no" else derivation { name = "p"; system = "x"; builder = "/bin/sh"; }; }) (builtins.genList (n: n) 9))`
	if err := os.WriteFile(filepath.Join(tree, "default.nix"), []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	out := output(t, "eval", "--channel", "c", "--tree", tree, "--workers", "1", "--json", t.TempDir())
	var s evalSummary
	if err := json.Unmarshal([]byte(out), &s); err != nil || len(s.Tiers) != 2 {
		t.Fatalf("%v: %s", err, out)
	}
	for i, processes := range []int{8, 2} {
		if tier := s.Tiers[i]; tier.Processes != processes || tier.Failed != 6 || tier.Evaluated != 9 || tier.FailedBy[eval.Crashed] != 6 {
			t.Errorf("%+v, want %d processes", tier, processes)
		}
	}
}

// A list that no leaf holds goes beside the statement.
func TestALongEvaluationIsStatedWithABlob(t *testing.T) {
	r := &eval.Report{Header: eval.Header{Channel: "c", System: "x", Revision: "r"}, Digest: strings.Repeat("0", 64)}
	for i := range 2000 {
		_, _, _, drv := made(i)
		r.Drvs = append(r.Drvs, drv.Base())
	}
	slices.Sort(r.Drvs)
	body, err := evalBody(r, time.Unix(1_700_000_000, 0))
	if err != nil {
		t.Fatal(err)
	}
	leaf, blobs, err := evalLeaf(t.Context(), logtest.Signer(t, "tracker"), body)
	if err != nil {
		t.Fatal(err)
	}
	st, err := statement.Parse(leaf)
	if err != nil {
		t.Fatal(err)
	}
	got := st.Body.(*statement.Eval)
	if got.Drvs != nil || got.Count != 2000 || len(blobs) != 1 {
		t.Fatalf("%d derivations of %d in the leaf, %d blobs", len(got.Drvs), got.Count, len(blobs))
	}
	paths, err := statement.ParsePathsBlob(nix.DefaultStoreDir, blobs[0])
	if err != nil || len(paths) != 2000 || statement.PathsDigest(paths) != got.Digest {
		t.Errorf("%d paths, %v", len(paths), err)
	}
}
