package main

import (
	"bytes"
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/firn-log/firn/ingest/rebuild"
	"github.com/firn-log/firn/internal/nix"
	"github.com/firn-log/firn/internal/testreq"
	"github.com/firn-log/firn/log"
	"github.com/firn-log/firn/log/logtest"
	"github.com/firn-log/firn/log/statement"
	"github.com/firn-log/firn/tracker/eval"
)

// What a tracker asks for, rebuilders take that name its operator, and nobody else.
func TestAPublishedQueueIsWorkForRebuilders(t *testing.T) {
	nixStore := testreq.Command(t, "nix", "nix-store")
	w := newWorld(t)
	w.register("tracker")
	w.register("alice")
	w.Publish()
	dir := filepath.Join(t.TempDir(), "tracker")
	logsConfig(t, dir, "", w)
	root := testreq.StoreRoot(t)
	if out, err := exec.Command(nixStore, "--store", root, "--init").CombinedOutput(); err != nil {
		t.Fatalf("nix-store --init: %v: %s", err, out)
	}
	attrs := map[string]eval.Attribute{}
	for _, name := range []string{"firn", "serac", "neve"} {
		drv, out := derivation(t, root, name)
		attrs[name] = eval.Attribute{Attr: name, Name: name, System: "x86_64-linux", Drv: drv.Base(), Outputs: map[string]string{"out": out.Base()}}
	}
	h := eval.Header{Schema: eval.Schema, Channel: "stable", Seq: 1, Tier: eval.Drvs, Revision: "r", Time: time.Unix(1_700_000_000, 0).UTC(), System: "x86_64-linux", Full: true}
	if _, _, err := eval.NewFolder(filepath.Join(dir, "evals")).Add(h, attrs); err != nil {
		t.Fatal(err)
	}
	output(t, "rebuild", dir)
	shown := strings.Fields(output(t, "queue", "show", "--count", "2", dir))
	if len(shown) != 2 {
		t.Fatalf("%q", shown)
	}
	key := filepath.Join(t.TempDir(), "key")
	writeKey(t, key, "tracker")
	out := output(t, "queue", "publish", "--key", "file:"+key, "--count", "2", dir)
	if !strings.HasSuffix(out, "entry 4: 2 derivations\n") {
		t.Errorf("%q", out)
	}
	w.Revise()
	w.Publish()
	taken := func(who string) []string {
		t.Helper()
		offer, err := rebuild.Offered(t.Context(), w.Client(""), []statement.ID{w.id[who]})
		if err != nil || len(offer.Passed) != 0 {
			t.Fatalf("%+v, %v", offer, err)
		}
		r, err := rebuild.Open(t.Context(), rebuild.Config{Work: t.TempDir(), Store: root}, rebuild.Options{})
		if err != nil {
			t.Fatal(err)
		}
		defer r.Close()
		drvs, err := r.Take(t.Context(), w.Client(""), offer, nil, 50)
		if err != nil {
			t.Fatal(err)
		}
		var names []string
		for _, d := range drvs {
			names = append(names, d.String())
		}
		slices.Sort(names)
		return names
	}
	slices.Sort(shown)
	if got := taken("tracker"); !slices.Equal(got, shown) {
		t.Errorf("taken %q, and in the queue were %q", got, shown)
	}
	if got := taken("alice"); len(got) != 0 {
		t.Errorf("another operator asks for %q", got)
	}
	out2, err := command(t, "queue", "publish", dir).CombinedOutput()
	if err == nil || !strings.Contains(string(out2), "the key that signs what is published is missing") {
		t.Errorf("without a key: %v %s", err, out2)
	}
}

// derivation writes a derivation without inputs into the store below root.
func derivation(t *testing.T, root, name string) (drv, out nix.StorePath) {
	t.Helper()
	parse := func(out string) *nix.Derivation {
		d, err := nix.ParseDerivation(nix.DefaultStoreDir, name, []byte(`Derive([("out","`+out+`","","")],[],[],"x86_64-linux","/bin/sh",[],[("name","`+name+`"),("out","`+out+`")])`))
		if err != nil {
			t.Fatal(err)
		}
		return d
	}
	m, err := nix.NewModuloCache(func(nix.StorePath) (*nix.Derivation, error) { return nil, nil }).Modulo(parse("/nix/store/00000000000000000000000000000000-"+name), nix.Merge)
	if err != nil {
		t.Fatal(err)
	}
	if out, err = nix.OutputPath(nix.DefaultStoreDir, m, name, "out"); err != nil {
		t.Fatal(err)
	}
	d := parse(out.String())
	drv = d.DrvPath()
	file := filepath.Join(root, drv.String())
	if err := errors.Join(os.MkdirAll(filepath.Dir(file), 0o755), os.WriteFile(file, d.Raw, 0o644)); err != nil {
		t.Fatal(err)
	}
	return drv, out
}

// A list that does not fit into a leaf goes with it as a blob, from which rebuilders take it.
func TestALongQueueIsABlob(t *testing.T) {
	var drvs []nix.StorePath
	for i := range 2000 {
		_, _, _, drv := made(i)
		drvs = append(drvs, drv)
	}
	slices.SortFunc(drvs, nix.StorePath.Compare)
	signer := logtest.Signer(t, "tracker")
	leaf, blobs, err := evalLeaf(t.Context(), signer, queueBody(drvs, time.Unix(1_700_000_000, 0)))
	if err != nil || len(blobs) != 1 {
		t.Fatalf("%d blobs, %v", len(blobs), err)
	}
	w := newWorld(t)
	w.register("tracker")
	w.Add(leaf)
	w.Revise()
	w.Publish()
	server := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/"+log.BlobPath(statement.PathsDigest(drvs)) {
			_, _ = rw.Write(blobs[0])
			return
		}
		w.Handler().ServeHTTP(rw, r)
	}))
	defer server.Close()
	c, err := log.NewClient(server.URL, w.Policy(), log.Options{})
	if err != nil {
		t.Fatal(err)
	}
	offer, err := rebuild.Offered(t.Context(), c, []statement.ID{w.id["tracker"]})
	if err != nil || offer.Statements != 1 {
		t.Fatalf("%+v, %v", offer, err)
	}
	b := entry(t, c, 2).Body.(*statement.Eval)
	list, err := c.Blob(t.Context(), b.Digest, statement.MaxBlob)
	if err != nil || !bytes.Equal(list, statement.PathsBlob(drvs)) || b.Count != 2000 {
		t.Errorf("the list is not there: %v", err)
	}
	short, blobs, err := evalLeaf(t.Context(), signer, queueBody(drvs[:100], time.Unix(1_700_000_000, 0)))
	if err != nil || len(blobs) != 0 || len(short) > statement.MaxLeaf {
		t.Errorf("100 derivations: %d bytes, %d blobs, %v", len(short), len(blobs), err)
	}
}

func entry(t *testing.T, c *log.Client, index uint64) *statement.Statement {
	t.Helper()
	cp, err := c.Checkpoint(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	e, err := c.Entry(context.Background(), cp, index)
	if err != nil {
		t.Fatal(err)
	}
	s, err := statement.Parse(e.Leaf)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// writeKey writes the key of logtest.Signer(who) as a Nix secret key.
func writeKey(t *testing.T, file, who string) {
	t.Helper()
	if err := os.WriteFile(file, []byte(secretKey(who)), 0o600); err != nil {
		t.Fatal(err)
	}
}
