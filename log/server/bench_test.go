package server

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/firn-log/firn/log/server/sample"
	"github.com/firn-log/firn/log/statement"
)

// benchLog is a log with one vouched-for key and n signed statements of 1 KiB.
func benchLog(b *testing.B, n int) (*testLog, [][]byte) {
	b.Helper()
	l := newTestLog(b, func(c *Config) {
		c.Admission.Mode = "open"
		c.Admission.KeyStatements, c.Admission.KeyBytes = 1<<40, 1<<50
	})
	o := l.operator("alice")
	leaves := make([][]byte, n)
	var wg sync.WaitGroup
	for w := range 2 {
		wg.Go(func() {
			for i := w; i < n; i += 2 {
				leaves[i] = o.Claim(sample.Build(i))
			}
		})
	}
	wg.Wait()
	return l, leaves
}

// BenchmarkSubmit measures statements per second over HTTP with all checks on,
// client and server in one process; "b" is one statement.
func BenchmarkSubmit(b *testing.B) {
	for _, tt := range []struct{ perRequest, clients int }{{1, 64}, {100, 8}, {1000, 4}} {
		b.Run(fmt.Sprintf("%d_per_request", tt.perRequest), func(b *testing.B) {
			l, leaves := benchLog(b, b.N)
			requests := slices.Collect(slices.Chunk(leaves, tt.perRequest))
			transport := &http.Transport{MaxIdleConnsPerHost: tt.clients}
			client := &http.Client{Transport: transport}
			var next atomic.Int64
			var wg sync.WaitGroup
			cpu := cpuTime()
			b.ResetTimer()
			for range tt.clients {
				wg.Go(func() {
					for {
						i := int(next.Add(1)) - 1
						if i >= len(requests) {
							return
						}
						send(b, client, l.http.URL+"/v1/statements?wait=0s", requests[i])
					}
				})
			}
			wg.Wait()
			b.StopTimer()
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "statements/s")
			b.ReportMetric(float64((cpuTime()-cpu).Microseconds())/float64(b.N), "cpu-µs/op")
		})
	}
}

func send(b *testing.B, client *http.Client, url string, leaves [][]byte) {
	resp, err := client.Post(url, leavesType, bytes.NewReader(frame(leaves)))
	if err != nil {
		b.Error(err)
		return
	}
	defer resp.Body.Close()
	body, _ := io.ReadAll(resp.Body)
	if resp.StatusCode/100 != 2 || bytes.Contains(body, []byte("rejected")) {
		b.Errorf("status %d: %.200s", resp.StatusCode, body)
	}
}

// cpuTime is what this process, client and server, has used. On a busy machine
// it says more than the clock.
func cpuTime() time.Duration {
	var u unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &u); err != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// BenchmarkThousandWithProofs measures one request of 1,000 statements until
// all their inclusion proofs are there.
func BenchmarkThousandWithProofs(b *testing.B) {
	l, leaves := benchLog(b, 1000*b.N)
	b.ResetTimer()
	for i := range b.N {
		send(b, http.DefaultClient, l.http.URL+"/v1/statements", leaves[1000*i:1000*(i+1)])
	}
}

// BenchmarkSubmitToProof measures one statement until its proof is there, with
// an interval of 100 ms between checkpoints.
func BenchmarkSubmitToProof(b *testing.B) {
	l, leaves := benchLog(b, b.N)
	took := make([]time.Duration, b.N)
	b.ResetTimer()
	for i, leaf := range leaves {
		began := time.Now()
		send(b, http.DefaultClient, l.http.URL+"/v1/statements", [][]byte{leaf})
		took[i] = time.Since(began)
	}
	slices.Sort(took)
	b.ReportMetric(float64(took[len(took)/2].Milliseconds()), "p50-ms")
}

// BenchmarkVerify is the limit that nothing above can pass: Parse and Verify of
// one statement on one processor.
func BenchmarkVerify(b *testing.B) {
	o := sample.NewOperator("alice", "log.example/0123abcd")
	leaf := o.Claim(sample.Build(1))
	b.ReportMetric(float64(len(leaf)), "leaf-bytes")
	for b.Loop() {
		verifyOnce(b, o, leaf)
	}
}

func verifyOnce(b *testing.B, o *sample.Operator, leaf []byte) {
	s, err := statement.Parse(leaf)
	if err == nil {
		err = s.Verify(o.Build.PublicKey())
	}
	if err != nil {
		b.Fatal(err)
	}
}
