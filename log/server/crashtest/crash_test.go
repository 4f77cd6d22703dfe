package crashtest

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/firn-log/firn/internal/dropfs"
	"github.com/firn-log/firn/log/server/sample"
)

// rounds is how often a log is killed: 10 times, and 100 with FIRN_SOAK=1.
func rounds() int {
	if os.Getenv("FIRN_SOAK") == "1" {
		return 100
	}
	return 10
}

// register adds an operator to a fresh log.
func register(t *testing.T, p *process) *sample.Operator {
	t.Helper()
	o := sample.NewOperator("alice", p.origin)
	if status, a, err := p.post("?wait=0s", o.Registration()); err != nil || status/100 != 2 || a.Results[1].Status != "accepted" {
		t.Fatalf("registering: status %d, %+v, %v", status, a, err)
	}
	return o
}

func TestKilledUnderLoadLosesNothingAcknowledged(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "log")
	initLog(t, dir)
	p := serve(t, dir)
	o := register(t, p)
	var next atomic.Int64
	var acks []ack
	for round := range rounds() {
		l, reached := startLoad(p, o, &next, 30+round*37%400)
		<-reached
		p.kill()
		fresh := l.wait()
		p = serve(t, dir)
		checkAcks(t, p, fresh)
		checkFound(t, p, dir, fresh)
		acks = append(acks, fresh...)
	}
	checkAcks(t, p, acks)
	checkFound(t, p, dir, acks)
	revisions := checkRevisions(t, p, dir)
	if err := p.stop(); err != nil {
		t.Errorf("stopping: %v: %s", err, p.output())
	}
	checkFolders(t, dir)
	checkTree(t, dir)
	t.Logf("%d kills, %d acknowledged, 0 lost; %d revisions, all right", rounds(), len(acks), revisions)
}

func TestPowerCutLosesNothingAcknowledged(t *testing.T) {
	d := dropfs.New()
	dir, unmount := dropfs.Mount(t, d)
	initLog(t, dir+"/log")
	p := serve(t, dir+"/log")
	o := register(t, p)
	var next atomic.Int64
	var acks []ack
	n := max(rounds()/2, 1)
	for round := range n {
		l, reached := startLoad(p, o, &next, 30+round*37%400)
		<-reached
		seen := p.size(t)
		d = d.Cut()
		p.kill()
		fresh := l.wait()
		unmount()
		dir, unmount = dropfs.Mount(t, d)
		p = serve(t, dir+"/log")
		checkAcks(t, p, fresh)
		checkFound(t, p, dir+"/log", fresh)
		acks = append(acks, fresh...)
		if now := p.size(t); now < seen {
			t.Errorf("a checkpoint of size %d was public before the cut, and %d is now", seen, now)
		}
	}
	checkAcks(t, p, acks)
	checkFound(t, p, dir+"/log", acks)
	checkRevisions(t, p, dir+"/log")
	if err := p.stop(); err != nil {
		t.Errorf("stopping: %v: %s", err, p.output())
	}
	unmount()
	dir, unmount = dropfs.Mount(t, d)
	checkTree(t, dir+"/log")
	checkFolders(t, dir+"/log")
	unmount()
	t.Logf("%d power cuts, %d acknowledged, 0 lost", n, len(acks))
}

func TestFullAndReadOnlyDisk(t *testing.T) {
	d := dropfs.New()
	dir, unmount := dropfs.Mount(t, d)
	initLog(t, dir+"/log")
	p := serve(t, dir+"/log")
	o := register(t, p)
	var acks []ack
	add := func(from, to int, want int) {
		t.Helper()
		leaves := o.Builds(from, to)
		status, a, err := p.post("?wait=0s", leaves)
		if err != nil || status/100 != want {
			t.Fatalf("status %d, %+v, %v; want %dxx; %s", status, a, err, want, p.output())
		}
		for i, r := range a.Results {
			acks = append(acks, ack{leaves[i], *r.Index})
		}
	}
	add(0, 10, 2)
	for name, set := range map[string]func(){
		"no space left on device": func() { d.Set(true, false) },
		"read-only file system":   func() { d.Set(false, true) },
	} {
		p.idle(t, dir+"/log") // a disk that turns read-only while Tessera opens a file ends the program
		set()
		status, a, err := p.post("?wait=0s", o.Builds(100, 105))
		if err != nil || status != http.StatusServiceUnavailable || !strings.Contains(a.Message, name) {
			t.Errorf("%s: status %d, %+v, %v; want 503 that says so", name, status, a, err)
		}
		d.Set(false, false)
		waitOpen(t, p)
		add(len(acks), len(acks)+10, 2)
		checkAcks(t, p, acks)
	}
	d = d.Cut()
	p.kill()
	unmount()
	dir, _ = dropfs.Mount(t, d)
	p = serve(t, dir+"/log")
	checkAcks(t, p, acks)
	if err := p.stop(); err != nil {
		t.Errorf("stopping: %v: %s", err, p.output())
	}
}

// size returns the size of the public checkpoint.
func (p *process) size(t *testing.T) int {
	t.Helper()
	resp, err := http.Get(p.url + "/checkpoint")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	var size int
	if _, err := fmt.Fscanf(resp.Body, p.origin+"\n%d\n", &size); err != nil {
		t.Fatalf("reading the checkpoint: %v", err)
	}
	return size
}

// waitOpen asks until the log is ready.
func waitOpen(t *testing.T, p *process) {
	t.Helper()
	for range 10_000 {
		resp, err := http.Get(p.url + "/readyz")
		if err != nil {
			t.Fatalf("%v: %s", err, p.output())
		}
		resp.Body.Close()
		if resp.StatusCode == http.StatusOK {
			return
		}
	}
	t.Fatalf("the log did not recover: %s", p.output())
}

func TestSecondProgramIsRefusedNamingTheFirst(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "log")
	initLog(t, dir)
	p := serve(t, dir)
	_, err := tryServe(t, dir)
	if err == nil || !strings.Contains(err.Error(), "process "+strconv.Itoa(p.cmd.Process.Pid)) {
		t.Errorf("%v, want the process %d named", err, p.cmd.Process.Pid)
	}
	if err := p.stop(); err != nil {
		t.Errorf("stopping: %v: %s", err, p.output())
	}
}
