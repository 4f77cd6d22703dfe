package federation_test

import (
	"errors"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/firn-log/firn/federation"
	"github.com/firn-log/firn/log/logtest"
	"github.com/firn-log/firn/log/policy"
	"github.com/firn-log/firn/witness"
)

// openWitness opens a witness of the log in a folder.
func openWitness(t testing.TB, dir string, key *witness.Key, l *logtest.Log) (*witness.Witness, *witness.Store) {
	t.Helper()
	store, err := witness.OpenStore(dir)
	if err != nil {
		t.Fatal(err)
	}
	logKey, err := policy.ParseKey(l.VKey())
	if err != nil {
		t.Fatal(err)
	}
	w, err := witness.New(witness.Options{Store: store, Key: key, Logs: []witness.Log{{Origin: l.Origin(), Keys: []policy.Key{logKey}}}})
	if err != nil {
		t.Fatal(err)
	}
	return w, store
}

// A witness of this project, fed by a peer, is restored from an older copy. The
// peer tells it what it had signed since, although others have signed more.
func TestRestoredWitnessLearnsFromAPeerWhatItSigned(t *testing.T) {
	key, _, err := witness.GenerateKey("witness.example/own")
	if err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(t.TempDir(), "witness")
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := witness.CreateStore(dir); err != nil {
		t.Fatal(err)
	}
	l, ws, pol := fed(t, 1)
	w, store := openWitness(t, dir, key, l)
	var down atomic.Bool
	url := answering(t, func(rw http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil || down.Load() {
			panic(http.ErrAbortHandler)
		}
		status, answer, _ := w.AddCheckpoint(r.Context(), body)
		if status == http.StatusConflict {
			rw.Header().Set("Content-Type", "text/x.tlog.size")
		}
		rw.WriteHeader(status)
		rw.Write(answer)
	})
	text := strings.Replace(pol.String(), "group all", "witness own "+key.Verifier().String()+" "+url+"\ngroup all", 1)
	pol, err = policy.Parse([]byte(strings.Replace(text, "group all 1 a", "group all 1 a own", 1)))
	if err != nil {
		t.Fatal(err)
	}
	p := newPeer(t, pol, l.URL())
	run(t, p)
	own := func() uint64 { return p.size(p.CosignedBy(l.Origin(), key.Verifier().String())) }
	p.wants(federation.Larger, grow(l, 0, 10, "leaf"))
	until(t, p, "size 10", func() bool { return own() == 10 })
	old := filepath.Join(t.TempDir(), "restored")
	if err := os.CopyFS(old, os.DirFS(dir)); err != nil {
		t.Fatal(err)
	}
	p.wants(federation.Larger, grow(l, 10, 20, "leaf"))
	until(t, p, "size 20", func() bool { return own() == 20 })
	down.Store(true)
	if err := store.Close(); err != nil {
		t.Fatal(err)
	}
	p.wants(federation.Larger, grow(l, 20, 30, "leaf"))
	until(t, p, "size 30 by another", func() bool { return ws[0].Size(l.Origin()) == 30 && p.size(p.Best(l.Origin())) == 30 })

	again, store := openWitness(t, old, key, l)
	defer store.Close()
	if store.Doubt() == "" {
		t.Fatal("the copy does not doubt itself")
	}
	prefix := serve(t, p) + "/witness/" + federation.WitnessHash(key.Verifier().String())
	var newer *witness.PeerError
	if err := again.AskPeers(t.Context(), http.DefaultClient, []string{prefix}); !errors.As(err, &newer) || newer.Newer != 1 {
		t.Fatalf("error %v, want one newer checkpoint", err)
	}
	if err := again.AskPeers(t.Context(), http.DefaultClient, []string{prefix}); err != nil {
		t.Fatal(err)
	}
	if h := head(t, again.Monitoring(federation.OriginHash(l.Origin()))); h.Size != 20 {
		t.Errorf("it goes on from size %d, want 20", h.Size)
	}
	p.holds()
}
