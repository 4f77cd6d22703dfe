package send

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/firn-log/firn/log"
	"github.com/firn-log/firn/log/logtest"
	"github.com/firn-log/firn/log/statement"
)

// config is that of a log for tests.
func config(t testing.TB, l *logtest.Log) *Config {
	t.Helper()
	dir := t.TempDir()
	file := filepath.Join(dir, "log.policy")
	if err := os.WriteFile(file, []byte(l.PolicyText()), 0o600); err != nil {
		t.Fatal(err)
	}
	return &Config{Log: l.URL(), LogPolicy: file, Key: "test", State: filepath.Join(dir, "state")}
}

// items returns n leaves that differ.
func items(t testing.TB, n int) []Item {
	t.Helper()
	key := logtest.Signer(t, "builder")
	all := make([]Item, n)
	for i := range all {
		all[i] = Item{Leaf: logtest.Leaf(t, key, logtest.Closure(fmt.Sprintf("c%d", i))), Of: i}
	}
	return all
}

// feed writes all to a channel and closes it, unless ctx ends.
func feed(ctx context.Context, all []Item) <-chan Item {
	in := make(chan Item)
	go func() {
		defer close(in)
		for _, item := range all {
			select {
			case in <- item:
			case <-ctx.Done():
				return
			}
		}
	}()
	return in
}

// sendAll sends all and returns how often each was reported.
func sendAll(t *testing.T, l *Log, all []Item) (map[int][]log.Submitted, error) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	got := make(map[int][]log.Submitted)
	err := l.SendAll(ctx, feed(ctx, all), 0, func(item Item, r log.Submitted) {
		got[item.Of.(int)] = append(got[item.Of.(int)], r)
	})
	return got, err
}

// counting lets a log count requests, and what was open at once.
type counting struct {
	mu                   sync.Mutex
	requests, open, most int
	fail                 func(n int) (status int, body string, after string) // nth request, from 1
}

func (c *counting) before(l *logtest.Log) *httptest.Server {
	handler := l.Handler()
	return httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/v1/statements" {
			c.mu.Lock()
			c.requests++
			n := c.requests
			c.open++
			c.most = max(c.most, c.open)
			c.mu.Unlock()
			defer func() { c.mu.Lock(); c.open--; c.mu.Unlock() }()
			if c.fail != nil {
				if status, body, after := c.fail(n); status != 0 {
					w.Header().Set("Retry-After", after)
					w.WriteHeader(status)
					fmt.Fprint(w, body)
					return
				}
			}
		}
		handler.ServeHTTP(w, r)
	}))
}

func TestEverythingIsSentOnceInFullRequests(t *testing.T) {
	l := logtest.New(t)
	var c counting
	srv := c.before(l)
	defer srv.Close()
	conf := config(t, l)
	conf.Log = srv.URL
	s := Open(conf, Options{})
	defer s.Close()
	const n = 2500
	got, err := sendAll(t, s, items(t, n))
	if err != nil || len(got) != n || l.Size() != n {
		t.Fatalf("reported %d, the log has %d: %v", len(got), l.Size(), err)
	}
	for i, rs := range got {
		if len(rs) != 1 || rs[0].Status != log.Accepted {
			t.Errorf("leaf %d: %+v", i, rs)
		}
	}
	if c.requests > 10 || c.most > inFlight {
		t.Errorf("%d requests, %d at once", c.requests, c.most)
	}
}

// The collector alone: bounds of a batch, in leaves and bytes.
func TestBatchesAreBounded(t *testing.T) {
	large := func(n, size int) []Item { return slices.Repeat([]Item{{Leaf: make([]byte, size)}}, n) }
	for what, c := range map[string]struct {
		in   []Item
		want []int
	}{
		"nothing":         {nil, nil},
		"one":             {large(1, 10), []int{1}},
		"full":            {large(1000, 10), []int{1000}},
		"one too many":    {large(1001, 10), []int{1000, 1}},
		"too many bytes":  {large(139, statement.MaxLargeLeaf), []int{136, 3}},
		"exactly, by far": {large(2000, 100), []int{1000, 1000}},
	} {
		synctest.Test(t, func(t *testing.T) {
			out := make(chan []Item)
			go func() {
				defer close(out)
				if err := collect(t.Context(), feed(t.Context(), c.in), out); err != nil {
					t.Error(err)
				}
			}()
			var got []int
			for b := range out {
				got = append(got, len(b))
			}
			if !slices.Equal(got, c.want) {
				t.Errorf("%s: batches of %v, want %v", what, got, c.want)
			}
		})
	}
}

// A leaf that nothing follows is sent soon, and not when the request is full.
func TestALoneLeafDoesNotWaitForOthers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		in, out := make(chan Item), make(chan []Item)
		go collect(t.Context(), in, out)
		start := time.Now()
		in <- Item{Leaf: []byte{1}}
		in <- Item{Leaf: []byte{2}}
		if b := <-out; len(b) != 2 || time.Since(start) != linger {
			t.Errorf("%d leaves after %v", len(b), time.Since(start))
		}
		in <- Item{Leaf: []byte{3}}
		close(in)
		if b := <-out; len(b) != 1 {
			t.Errorf("%d leaves", len(b))
		}
	})
}

func TestALogThatIsBusyIsAskedAgainWhenItSays(t *testing.T) {
	l := logtest.New(t)
	c := counting{fail: func(n int) (int, string, string) {
		switch n {
		case 1:
			return 503, "", "0"
		case 2:
			return 429, `{"error":"busy","message":"later"}`, "1"
		}
		return 0, "", ""
	}}
	srv := c.before(l)
	defer srv.Close()
	conf := config(t, l)
	conf.Log = srv.URL
	var mu sync.Mutex
	var pauses []time.Duration
	s := Open(conf, Options{MaxPause: 10 * time.Millisecond, OnTrouble: func(_ error, d time.Duration) {
		mu.Lock()
		defer mu.Unlock()
		pauses = append(pauses, d)
	}})
	defer s.Close()
	got, err := sendAll(t, s, items(t, 3))
	if err != nil || len(got) != 3 || l.Size() != 3 || len(pauses) != 2 || pauses[1] < time.Second {
		t.Errorf("%d reported, pauses %v: %v", len(got), pauses, err)
	}
}

func TestWhatEndsIt(t *testing.T) {
	fork := func(l *logtest.Log) func() string {
		return func() string {
			other := logtest.New(t) // of the same origin and key
			for i := range 3 {
				other.Add(logtest.Leaf(t, logtest.Signer(t, "x"), logtest.Closure(fmt.Sprint(i))))
			}
			other.Publish()
			return other.URL()
		}
	}
	refuse := func(code string) func(*logtest.Lies) {
		return func(lies *logtest.Lies) {
			lies.Edit = func(path string, status int, body []byte) (int, []byte) {
				if path != "v1/statements" {
					return status, body
				}
				return 202, fmt.Appendf(nil, `{"schema":1,"results":[{"status":"rejected","error":%q,"message":"No."}]}`, code)
			}
		}
	}
	for what, c := range map[string]struct {
		lie      func(*logtest.Lies)
		other    bool // another history
		conf     func(*Config)
		opts     Options
		want     func(error) bool
		reported int
	}{
		"a log that is down for longer than patience": {
			lie: func(l *logtest.Lies) { l.Down = true }, opts: Options{Patience: time.Millisecond},
			want: func(err error) bool { return errors.Is(err, log.ErrUnreachable) },
		},
		"a request that is refused": {
			lie: func(l *logtest.Lies) {
				l.Edit = func(string, int, []byte) (int, []byte) { return 400, []byte(`{"error":"bad-request"}`) }
			},
			want: func(err error) bool { var r *log.RequestError; return errors.As(err, &r) && r.Code == "bad-request" },
		},
		"a rejection of today": {
			lie: refuse("budget-key"), reported: 1,
			want: func(err error) bool { var r *RejectedError; return errors.As(err, &r) && r.Code == "budget-key" },
		},
		"a rejection for good": {lie: refuse("path-does-not-follow"), reported: 1, want: func(err error) bool { return err == nil }},
		"two histories":        {other: true, want: func(err error) bool { return ForkOf(err) != nil }},
		"a policy that is gone": {
			conf: func(c *Config) { c.LogPolicy += "x" },
			want: func(err error) bool { var e *ConfigError; return errors.As(err, &e) },
		},
	} {
		t.Run(what, func(t *testing.T) {
			l := logtest.New(t)
			conf := config(t, l)
			if c.other {
				l.Add(logtest.Leaf(t, logtest.Signer(t, "y"), logtest.Closure("first")))
				l.Publish()
				first := Open(conf, Options{})
				if _, err := sendAll(t, first, items(t, 2)); err != nil {
					t.Fatal(err)
				}
				client, err := first.Client()
				if err == nil {
					_, err = client.Checkpoint(t.Context())
				}
				if err != nil {
					t.Fatal(err)
				}
				conf.Log = fork(l)()
			}
			if c.conf != nil {
				c.conf(conf)
			}
			if c.lie != nil {
				l.Lie(c.lie)
			}
			s := Open(conf, c.opts)
			defer s.Close()
			got, err := sendAll(t, s, items(t, 1))
			if !c.want(err) || len(got) != c.reported {
				t.Errorf("reported %d: %v", len(got), err)
			}
		})
	}
	s := Open(config(t, logtest.New(t)), Options{})
	for what, leaf := range map[string][]byte{"empty": nil, "too large": make([]byte, statement.MaxLargeLeaf+1)} {
		if _, err := sendAll(t, s, []Item{{Leaf: leaf, Of: 0}}); err == nil || !strings.Contains(err.Error(), "a leaf of") {
			t.Errorf("a leaf that is %s: %v", what, err)
		}
	}
}

// The key is opened once it can be, and what is wrong with it is a configuration.
func TestTheKeyIsOpenedWhenItIsNeeded(t *testing.T) {
	fails, opened := true, 0
	s := Open(&Config{Key: "file:/k"}, Options{Signer: func(_ context.Context, spec string) (statement.Signer, error) {
		if opened++; spec != "file:/k" || fails {
			return nil, errors.New("no such key")
		}
		return logtest.Signer(t, "a"), nil
	}})
	var wrong *ConfigError
	if _, err := s.Signer(t.Context()); !errors.As(err, &wrong) || !Final(err) {
		t.Errorf("%v", err)
	}
	fails = false
	for range 2 {
		if _, err := s.Signer(t.Context()); err != nil {
			t.Error(err)
		}
	}
	if opened != 2 {
		t.Errorf("opened %d times", opened)
	}
	if _, err := Open(&Config{}, Options{}).Signer(t.Context()); err == nil {
		t.Error("a key from nowhere")
	}
}

func TestPausesGrowToTheLimit(t *testing.T) {
	var b Backoff
	for i, want := range []time.Duration{1, 2, 4, 8, 10, 10} {
		if got := b.Next(10*time.Second, nil); got > want*time.Second || got < want*time.Second/2 {
			t.Errorf("pause %d: %v", i, got)
		}
	}
	if got := b.Next(10*time.Second, &log.RequestError{RetryAfter: time.Minute}); got != time.Minute {
		t.Errorf("the log asked for a minute: %v", got)
	}
	b.Reset()
	if got := b.Next(10*time.Second, nil); got > time.Second {
		t.Errorf("after a success: %v", got)
	}
}
