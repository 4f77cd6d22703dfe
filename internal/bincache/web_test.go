package bincache

import (
	"context"
	"errors"
	"io"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/firn-log/firn/internal/bincache/cachetest"
)

// answers is a transport that gives one answer after the other, the last again
// and again.
type answers struct {
	list []func(*http.Request) (*http.Response, error)
	at   []time.Duration // since the first request
	from time.Time
}

func (a *answers) RoundTrip(r *http.Request) (*http.Response, error) {
	if strings.HasSuffix(r.URL.Path, infoName) {
		return says(200, "StoreDir: /nix/store\n")(r)
	}
	if a.from.IsZero() {
		a.from = time.Now()
	}
	a.at = append(a.at, time.Since(a.from))
	next := a.list[0]
	if len(a.list) > 1 {
		a.list = a.list[1:]
	}
	return next(r)
}

func says(status int, body string, header ...string) func(*http.Request) (*http.Response, error) {
	return func(r *http.Request) (*http.Response, error) {
		h := http.Header{}
		for i := 0; i+1 < len(header); i += 2 {
			h.Set(header[i], header[i+1])
		}
		return &http.Response{StatusCode: status, Header: h, Body: io.NopCloser(strings.NewReader(body)), ContentLength: int64(len(body)), Request: r}, nil
	}
}

func breaks(err error) func(*http.Request) (*http.Response, error) {
	return func(*http.Request) (*http.Response, error) { return nil, err }
}

func silent(r *http.Request) (*http.Response, error) {
	<-r.Context().Done()
	return nil, r.Context().Err()
}

func TestCacheThatFailsGetsPauses(t *testing.T) {
	good := cachetest.NarInfo(t, "app", nil, cachetest.Mine)
	ok := says(200, string(good.Marshal()))
	tests := []struct {
		name    string
		list    []func(*http.Request) (*http.Response, error)
		atLeast []time.Duration // of each request
		want    string          // "" is success
		stops   bool            // the whole run
	}{
		{"429 with seconds", []func(*http.Request) (*http.Response, error){says(429, "", "Retry-After", "30"), ok}, []time.Duration{0, 30 * time.Second}, "", false},
		{"503 twice", []func(*http.Request) (*http.Response, error){says(503, ""), says(503, ""), ok}, []time.Duration{0, time.Second / 2, 3 * time.Second / 2}, "", false},
		{"503 with a date", []func(*http.Request) (*http.Response, error){
			// The clock of the bubble begins at midnight of 2000-01-01.
			says(503, "", "Retry-After", "Sat, 01 Jan 2000 00:02:00 GMT"), ok,
		}, []time.Duration{0, time.Minute}, "", false},
		{"502 for ever", []func(*http.Request) (*http.Response, error){says(502, "")}, []time.Duration{0, 0, 0, 0, 0}, "answers 502 Bad Gateway", false},
		{"429 for a day", []func(*http.Request) (*http.Response, error){says(429, "", "Retry-After", "86400")}, []time.Duration{0}, "asks to be left alone for 24h0m0s", true},
		{"silence", []func(*http.Request) (*http.Response, error){silent, ok}, []time.Duration{0, smallTimeout}, "", false},
		{"broken off", []func(*http.Request) (*http.Response, error){breaks(io.ErrUnexpectedEOF), ok}, []time.Duration{0, time.Second / 2}, "", false},
		{"no route", []func(*http.Request) (*http.Response, error){breaks(errors.New("no route to host"))}, []time.Duration{0, 0, 0, 0, 0}, "cannot be read: no route to host", false},
		{"404 is not tried again", []func(*http.Request) (*http.Response, error){says(404, "")}, []time.Duration{0}, ErrMissing.Error(), false},
		{"400 is not tried again", []func(*http.Request) (*http.Response, error){says(400, "")}, []time.Duration{0}, "answers 400 Bad Request", false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				a := &answers{list: tt.list}
				c, err := Open(t.Context(), "https://cache.example", ClientOptions{Transport: a})
				if err != nil {
					t.Fatal(err)
				}
				_, err = c.NarInfo(t.Context(), good.Path.HashPart())
				if (err == nil) != (tt.want == "") || err != nil && !strings.Contains(err.Error(), tt.want) {
					t.Errorf("got %v, want %q", err, tt.want)
				}
				var stop *StopError
				if errors.As(err, &stop) != tt.stops {
					t.Errorf("%v ends the run: %v", err, !tt.stops)
				}
				if len(a.at) != len(tt.atLeast) {
					t.Fatalf("%d requests, want %d", len(a.at), len(tt.atLeast))
				}
				for i, at := range a.at {
					if at < tt.atLeast[i] {
						t.Errorf("request %d after %v, want at least %v", i, at, tt.atLeast[i])
					}
				}
			})
		})
	}
}

// A cache that is down ends the run after a few minutes, with what it said.
func TestCacheThatIsDownEndsTheRun(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := &answers{list: []func(*http.Request) (*http.Response, error){says(503, "")}}
		told := 0
		c, err := Open(t.Context(), "https://cache.example", ClientOptions{Transport: a, OnTrouble: func(error, time.Duration) { told++ }})
		if err != nil {
			t.Fatal(err)
		}
		var stop *StopError
		for !errors.As(err, &stop) {
			if _, err = c.NarInfo(t.Context(), cachetest.Path(t, "app").HashPart()); err == nil {
				t.Fatal("no error")
			}
		}
		want := "the cache https://cache.example: failed 10 times in a row; the last time it answers 503 Service Unavailable"
		if err.Error() != want || told != maxFailures || len(a.at) != maxFailures+1 {
			t.Errorf("after %d requests, told of %d: %v", len(a.at), told, err)
		}
	})
}

// Requests that were open together when a cache failed are one failure.
func TestFailureOfManyIsOne(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPacer(0, nil)
		var turns []uint64
		for range 16 {
			turn, _ := p.turn(t.Context())
			turns = append(turns, turn)
		}
		for _, turn := range turns {
			if err := p.bad(turn, &answerError{reason: "answers 503"}); err != nil {
				t.Fatal(err)
			}
		}
		if p.failures != 1 {
			t.Errorf("%d failures", p.failures)
		}
		begin := time.Now()
		if _, err := p.turn(t.Context()); err != nil || time.Since(begin) > time.Second {
			t.Errorf("the pause is %v, %v", time.Since(begin), err)
		}
	})
}

func TestRateIsKept(t *testing.T) {
	for _, tt := range []struct {
		url  string
		rate float64
		want time.Duration // for 1,000 more requests
	}{
		{"https://cache.example", 0, 2 * time.Second},
		{"https://cache.example", 100, 10 * time.Second},
		{"https://cache.example", -1, 0},
		{"http://127.0.0.1:8080", 0, 0},
		{"http://[::1]", 0, 0},
		{"http://localhost", 10, 100 * time.Second},
	} {
		t.Run(tt.url+" "+strconv.Itoa(int(tt.rate)), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				src, _, err := newSource(tt.url, ClientOptions{Rate: tt.rate})
				if err != nil {
					t.Fatal(err)
				}
				begin := time.Now()
				for range 1001 {
					if _, err := src.(*web).pace.turn(t.Context()); err != nil {
						t.Fatal(err)
					}
				}
				if got := time.Since(begin); got != tt.want {
					t.Errorf("took %v, want %v", got, tt.want)
				}
			})
		})
	}
}

func TestWaitingIsInterrupted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancelCause(t.Context())
		p := newPacer(0.001, nil)
		p.turn(ctx)
		enough := errors.New("enough")
		time.AfterFunc(time.Second, func() { cancel(enough) })
		if _, err := p.turn(ctx); err != enough {
			t.Errorf("got %v", err)
		}
	})
}

func TestRetryAfter(t *testing.T) {
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	for value, want := range map[string]time.Duration{
		"": 0, "7": 7 * time.Second, " 7 ": 7 * time.Second, "-7": 0, "soon": 0, "99999999999999999999": 0,
		now.Add(time.Hour).Format(http.TimeFormat): time.Hour, now.Add(-time.Hour).Format(http.TimeFormat): 0,
	} {
		if got := retryAfter(value, now); got != want {
			t.Errorf("%q: %v, want %v", value, got, want)
		}
	}
}

func TestPasswordIsNotShown(t *testing.T) {
	c := &Client{}
	src, name, err := newSource("https://user:secret@cache.example/x/", ClientOptions{})
	if err != nil {
		t.Fatal(err)
	}
	c.url, c.src = name, src
	if strings.Contains(c.URL(), "secret") || c.BareURL() != "https://cache.example/x" {
		t.Errorf("%s, %s", c.URL(), c.BareURL())
	}
	if u, err := src.(*web).at("a.narinfo"); err != nil || u.String() != "https://user:secret@cache.example/x/a.narinfo" {
		t.Errorf("%v, %v", u, err)
	}
}
