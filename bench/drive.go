package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

// rate is what a load run measured.
type rate struct {
	items   int           // what was acknowledged
	elapsed time.Duration // wall time
	latency []time.Duration
}

func (r rate) perSecond() float64 { return float64(r.items) / r.elapsed.Seconds() }

// quantile returns the q-quantile of the requests' latencies, 0 ≤ q ≤ 1.
func (r rate) quantile(q float64) time.Duration {
	s := slices.Clone(r.latency)
	slices.Sort(s)
	return s[int(q*float64(len(s)-1))]
}

// drive makes n requests over conns connections, each by one call of do, which
// returns how many items the answer acknowledged. The first error ends it.
func drive(ctx context.Context, conns, n int, do func(c *http.Client, i int) (int, error)) (rate, error) {
	client := &http.Client{
		Transport: &http.Transport{MaxIdleConnsPerHost: conns, MaxConnsPerHost: conns},
		Timeout:   2 * time.Minute,
	}
	defer client.CloseIdleConnections()
	var next, items atomic.Int64
	r := rate{latency: make([]time.Duration, n)}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var wg sync.WaitGroup
	begin := time.Now()
	for range min(conns, n) {
		wg.Go(func() {
			for ctx.Err() == nil {
				i := int(next.Add(1)) - 1
				if i >= n {
					return
				}
				t := time.Now()
				got, err := do(client, i)
				if err != nil {
					cancel(err)
					return
				}
				r.latency[i] = time.Since(t)
				items.Add(int64(got))
			}
		})
	}
	wg.Wait()
	r.elapsed, r.items = time.Since(begin), int(items.Load())
	return r, context.Cause(ctx)
}

func drain(resp *http.Response) error {
	_, err := io.Copy(io.Discard, resp.Body)
	return cmp.Or(err, resp.Body.Close())
}

// freePorts returns n TCP ports that were free on loopback a moment ago.
func freePorts(n int) ([]int, error) {
	ports := make([]int, n)
	for i := range ports {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return nil, err
		}
		defer l.Close()
		ports[i] = l.Addr().(*net.TCPAddr).Port
	}
	return ports, nil
}

// start runs cmd in the background with its words in the file at words; the
// returned function ends it and waits.
func start(cmd *exec.Cmd, words string) (stop func(), err error) {
	f, err := os.Create(words)
	if err != nil {
		return nil, err
	}
	cmd.Stdout, cmd.Stderr = f, f
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	return func() {
		_ = cmd.Process.Signal(syscall.SIGTERM)
		_ = cmd.Wait()
		f.Close()
	}, nil
}

// waitFor polls url until it answers 200 or the time is up.
func waitFor(ctx context.Context, url string, atMost time.Duration) error {
	ctx, cancel := context.WithTimeout(ctx, atMost)
	defer cancel()
	for {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
		if err != nil {
			return err
		}
		if resp, err := http.DefaultClient.Do(req); err == nil {
			if err := drain(resp); err == nil && resp.StatusCode == http.StatusOK {
				return nil
			}
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%s did not answer 200 within %s: %w", url, atMost, errors.Join(ctx.Err()))
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// childCPU returns the CPU time of cmd, which must have ended.
func childCPU(cmd *exec.Cmd) time.Duration {
	return cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime()
}
