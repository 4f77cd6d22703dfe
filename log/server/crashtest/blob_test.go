package crashtest

import (
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/firn-log/firn/internal/dropfs"
	"github.com/firn-log/firn/internal/durable"
	"github.com/firn-log/firn/log"
	"github.com/firn-log/firn/log/server/sample"
	"github.com/firn-log/firn/log/statement"
)

// sent is a statement with a blob that was sent, and whether that was acknowledged.
type sent struct {
	leaf, blob []byte
	acked      bool
}

// takeBlobs lets a log take build logs.
func takeBlobs(t *testing.T, dir string) {
	t.Helper()
	path := filepath.Join(dir, "firn-log.toml")
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	section := strings.Index(string(b), "[blobs]")
	change := strings.NewReplacer("enabled = false", "enabled = true", "365d", "0d") // that disk knows no times
	text := string(b[:section]) + change.Replace(string(b[section:]))
	if err := durable.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

// putBlob submits a leaf with its blob; an error means that no answer came.
func (p *process) putBlob(s sent) (int, *answer, error) {
	body, err := log.MarshalBlobs(s.leaf, [][]byte{s.blob})
	if err != nil {
		p.t.Error(err)
		return 0, nil, err
	}
	resp, err := http.Post(p.url+"/v1/blobs?wait=0s", "application/vnd.firn.blobs", bytes.NewReader(body))
	if err != nil {
		return 0, nil, err
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		return 0, nil, err
	}
	a := new(answer)
	return resp.StatusCode, a, json.Unmarshal(b, a)
}

// sendBlobs sends statements with blobs from several senders until the log is gone. reached
// is closed after enough acknowledgements.
func sendBlobs(p *process, o *sample.Operator, next *atomic.Int64, enough int) (wait func() []sent, reached <-chan struct{}) {
	var mu sync.Mutex
	var all []sent
	var wg sync.WaitGroup
	acked, enoughAcked := 0, make(chan struct{})
	var once sync.Once
	for range 4 {
		wg.Go(func() {
			for {
				n := int(next.Add(1))
				blob := bytes.Repeat(fmt.Appendf(nil, "build log %d\n", n), 1+n*977%9000)
				s := sent{leaf: o.Claim(sample.Failed(n, []byte("drv"), blob)), blob: blob}
				_, a, err := p.putBlob(s)
				s.acked = err == nil && len(a.Results) == 1 && a.Results[0].Index != nil
				mu.Lock()
				all = append(all, s)
				if s.acked {
					acked++
				}
				if acked >= enough {
					once.Do(func() { close(enoughAcked) })
				}
				mu.Unlock()
				if err != nil {
					once.Do(func() { close(enoughAcked) })
					return
				}
			}
		})
	}
	return func() []sent {
		wg.Wait()
		return all
	}, enoughAcked
}

// checkBlobs makes sure that what was acknowledged is there, and that exactly the blobs
// of statements in the log are served.
func checkBlobs(t *testing.T, p *process, dir string, all []sent) (unacked int) {
	t.Helper()
	get := func(path string) (int, []byte) {
		resp, err := http.Get(p.url + path)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		b, err := io.ReadAll(resp.Body)
		if err != nil {
			t.Fatal(err)
		}
		return resp.StatusCode, b
	}
	for i, s := range all {
		st, err := statement.Parse(s.leaf)
		if err != nil {
			t.Fatal(err)
		}
		status, _ := get("/v1/proof?id=" + st.ID().String())
		logged := status == http.StatusOK || status == http.StatusAccepted
		status, b := get("/" + log.BlobPath(sha256.Sum256(s.blob)))
		held := status == http.StatusOK && bytes.Equal(b, s.blob)
		switch {
		case s.acked && !logged:
			t.Errorf("statement %d was acknowledged and is gone", i)
		case logged != held:
			t.Errorf("statement %d is in the log: %v; its blob is served: %v (%d)", i, logged, held, status)
		case logged && !s.acked:
			unacked++
		}
	}
	if left, err := os.ReadDir(filepath.Join(dir, "blobs", "waiting")); err != nil || len(left) > 0 {
		t.Errorf("%d folders wait after a start, %v", len(left), err)
	}
	return unacked
}

func TestKilledBetweenBlobAndStatementServesWhatIsInTheLog(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "log")
	initLog(t, dir)
	takeBlobs(t, dir)
	p := serve(t, dir)
	o := register(t, p)
	var next atomic.Int64
	var all []sent
	unacked := 0
	for round := range rounds() {
		wait, reached := sendBlobs(p, o, &next, 5+round*7%20)
		<-reached
		p.kill()
		fresh := wait()
		p = serve(t, dir)
		unacked += checkBlobs(t, p, dir, fresh)
		all = append(all, fresh...)
	}
	checkBlobs(t, p, dir, all)
	if err := p.stop(); err != nil {
		t.Errorf("stopping: %v: %s", err, p.output())
	}
	checkFolders(t, dir)
	t.Logf("%d kills, %d statements sent with blobs, %d added and not acknowledged", rounds(), len(all), unacked)
}

func TestPowerCutKeepsBlobsOfStatementsInTheLog(t *testing.T) {
	d := dropfs.New()
	dir, unmount := dropfs.Mount(t, d)
	initLog(t, dir+"/log")
	takeBlobs(t, dir+"/log")
	p := serve(t, dir+"/log")
	o := register(t, p)
	var next atomic.Int64
	var all []sent
	n := max(rounds()/3, 1)
	for round := range n {
		wait, reached := sendBlobs(p, o, &next, 5+round*7%20)
		<-reached
		d = d.Cut()
		p.kill()
		fresh := wait()
		unmount()
		dir, unmount = dropfs.Mount(t, d)
		p = serve(t, dir+"/log")
		checkBlobs(t, p, dir+"/log", fresh)
		all = append(all, fresh...)
	}
	checkBlobs(t, p, dir+"/log", all)
	// A disk that is full in the middle: one sentence, and nothing half.
	blob := bytes.Repeat([]byte("log"), 100_000)
	s := sent{leaf: o.Claim(sample.Failed(-1, []byte("drv"), blob)), blob: blob}
	p.idle(t, dir+"/log")
	d.Set(true, false)
	status, a, err := p.putBlob(s)
	if err != nil || status != http.StatusServiceUnavailable || a.Error != "storage" || !strings.Contains(a.Message, "no space left on device") {
		t.Errorf("full: %d %+v, %v", status, a, err)
	}
	d.Set(false, false)
	if left, err := os.ReadDir(filepath.Join(dir, "log", "blobs", "waiting")); err != nil || len(left) > 0 {
		t.Errorf("full: %d folders wait, %v", len(left), err)
	}
	waitOpen(t, p)
	if status, a, err := p.putBlob(s); err != nil || status/100 != 2 || a.Results[0].Status != "accepted" {
		t.Errorf("afterwards: %d %+v, %v", status, a, err)
	}
	if err := p.stop(); err != nil {
		t.Errorf("stopping: %v: %s", err, p.output())
	}
	unmount()
	t.Logf("%d power cuts, %d statements sent with blobs", n, len(all))
}
