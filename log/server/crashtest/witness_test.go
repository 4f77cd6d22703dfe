package crashtest

import (
	"fmt"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/mod/sumdb/tlog"

	"github.com/firn-log/firn/log/policy"
	"github.com/firn-log/firn/log/witnessing/witnesstest"
)

// witness puts a log that is not running under a quorum of 2 of 3 witnesses.
func witness(t *testing.T, dir string) ([]*witnesstest.Witness, *policy.Policy) {
	t.Helper()
	vkey, err := command(t, "vkey", dir).Output()
	if err != nil {
		t.Fatal(err)
	}
	text := fmt.Sprintf("log %s", vkey)
	var all []*witnesstest.Witness
	for i := range 3 {
		w := witnesstest.New(fmt.Sprintf("witness.example/w%d", i))
		w.Know(strings.TrimSpace(string(vkey)))
		srv := httptest.NewServer(w)
		t.Cleanup(srv.Close)
		all = append(all, w)
		text += fmt.Sprintf("witness w%d %s %s\n", i, w.VKey(), srv.URL)
	}
	text += "group g 2 w0 w1 w2\nquorum g\n"
	pol, err := policy.Parse([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	config := filepath.Join(dir, "firn-log.toml")
	b, err := os.ReadFile(config)
	if err != nil {
		t.Fatal(err)
	}
	changed := strings.Replace(string(b), "policy = ''", "policy = 'witness.policy'", 1)
	changed = strings.Replace(changed, "interval = '1s'", "interval = '100ms'", 1)
	if !strings.Contains(changed, "witness.policy") || !strings.Contains(changed, "\ninterval = '100ms'") {
		t.Fatalf("the configuration has no such settings:\n%s", b)
	}
	for path, text := range map[string]string{config: changed, filepath.Join(dir, "witness.policy"): text} {
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return all, pol
}

// A log that is killed under load, while witnesses come and go, loses nothing that
// it acknowledged, has public only what the quorum cosigned, and has signed
// nothing that its tree does not continue.
func TestKilledWithWitnessesShowsOneHistory(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "log")
	initLog(t, dir)
	witnesses, pol := witness(t, dir)
	p := serve(t, dir)
	o := register(t, p)
	var next atomic.Int64
	var acks []ack
	public := uint64(0)
	for round := range rounds() {
		for i, w := range witnesses {
			w.SetFaults(witnesstest.Faults{Down: round%4 == i}) // every fourth round all are up
		}
		l, reached := startLoad(p, o, &next, 30+round*37%400)
		<-reached
		p.kill()
		acks = append(acks, l.wait()...)
		public = checkPublic(t, dir, pol, public)
		p = serve(t, dir)
		checkAcks(t, p, acks)
	}
	for _, w := range witnesses {
		w.SetFaults(witnesstest.Faults{})
	}
	waitOpen(t, p)
	if err := p.stop(); err != nil {
		t.Errorf("stopping: %v: %s", err, p.output())
	}
	checkPublic(t, dir, pol, public)
	checkTree(t, dir)
	shown := checkHistory(t, dir, pol, witnesses)
	t.Logf("%d kills, %d acknowledged, 0 lost; %d checkpoints shown to witnesses, of one tree", rounds(), len(acks), shown)
}

// checkPublic checks the public checkpoint on disk and returns its size.
func checkPublic(t *testing.T, dir string, pol *policy.Policy, before uint64) uint64 {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(dir, "public", "checkpoint"))
	if os.IsNotExist(err) && before == 0 {
		return 0
	}
	if err != nil {
		t.Fatal(err)
	}
	v, err := pol.Verify(b, time.Now())
	if err != nil || v.Size < before {
		t.Fatalf("public after size %d: %v\n%s", before, err, b)
	}
	return v.Size
}

// tiles reads the tiles of a log's public folder.
type tiles string

func (d tiles) Height() int                     { return 8 }
func (d tiles) SaveTiles([]tlog.Tile, [][]byte) {}
func (d tiles) ReadTiles(ts []tlog.Tile) ([][]byte, error) {
	var out [][]byte
	for _, tile := range ts {
		b, err := os.ReadFile(filepath.Join(string(d), "public", strings.Replace(tile.Path(), "tile/8/", "tile/", 1)))
		if err != nil {
			return nil, err
		}
		out = append(out, b)
	}
	return out, nil
}

// checkHistory checks that every checkpoint that a witness was shown is of the tree
// in dir, and returns how many there were.
func checkHistory(t *testing.T, dir string, pol *policy.Policy, witnesses []*witnesstest.Witness) (n int) {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(dir, "public", "checkpoint"))
	if err != nil {
		t.Fatal(err)
	}
	last, err := pol.Verify(b, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	reader := tlog.TileHashReader(tlog.Tree{N: int64(last.Size), Hash: last.Root}, tiles(dir))
	for _, w := range witnesses {
		for _, note := range w.Seen() {
			v, err := pol.VerifyLog(note)
			if err != nil {
				t.Fatal(err)
			}
			if v.Size > last.Size {
				t.Fatalf("a witness was shown size %d, and the log ends at %d", v.Size, last.Size)
			}
			root, err := tlog.TreeHash(int64(v.Size), reader)
			if err != nil || root != tlog.Hash(v.Root) {
				t.Fatalf("a witness was shown another tree of size %d (%v)", v.Size, err)
			}
			n++
		}
	}
	return n
}
