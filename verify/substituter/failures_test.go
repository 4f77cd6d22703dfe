package substituter

import (
	"encoding/json"
	"html"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/firn-log/firn/internal/nix"
	"github.com/firn-log/firn/log/logtest"
	"github.com/firn-log/firn/log/statement"
)

// failing is a world whose substituter has served app, and was not asked about other, which is as
// good. Its policy says max-age 24h, one witness, one auditor, and `else rebuild`.
type failing struct {
	*world
	app, other *nix.NarInfo
	slow       atomic.Bool // the log takes requests and answers none
}

func newFailing(t *testing.T) *failing {
	f := &failing{world: newWorld(t, logtest.Witnesses(1, 1), logtest.Auditors(1, 1))}
	f.now = time.Unix(1_800_000_000, 0)
	f.log.SetTime(f.now)
	front := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if f.slow.Load() {
			<-r.Context().Done()
			return
		}
		f.log.Handler().ServeHTTP(w, r)
	}))
	t.Cleanup(front.Close)
	f.logURL, f.logLine = front.URL, "index index.policy"
	f.app, f.other = info(t, "app", "text"), info(t, "other", "text")
	for _, n := range []*nix.NarInfo{f.app, f.other} {
		f.caches[0].has(n, "text", cacheKey)
		f.builds("a b", n)
	}
	f.log.Lie(func(l *logtest.Lies) { l.NoRevision = true })
	f.start(rebuildRule)
	f.served(f.app)
	return f
}

// again is another process with the same state.
func (f *failing) again() {
	if err := f.s.Close(); err != nil {
		f.t.Fatal(err)
	}
	f.start(rebuildRule)
}

func (f *failing) lie(change func(*logtest.Lies)) { f.log.Lie(change) }

// more makes the log go on.
func (f *failing) more() {
	f.logBuilds("c", info(f.t, "more", "text"))
	f.log.SetTime(f.time())
	f.log.Publish()
}

// Each failure of spec/substituter.md#when-something-fails: what is served meanwhile, for how long, and the
// one sentence that Nix shows; a log that is away never makes it build.
func TestWhatFailsIsSaidAndNeverServedForLongerThanThePolicySays(t *testing.T) {
	down := func(f *failing) { f.lie(func(l *logtest.Lies) { l.Down = true }) }
	slow := func(f *failing) { f.slow.Store(true) }
	noAuditors := func(f *failing) {
		f.lie(func(l *logtest.Lies) { l.NoAuditors, l.NoRevision = true, false })
		f.more()
	}
	noWitnesses := func(f *failing) {
		f.more()
		var kept strings.Builder
		for line := range strings.Lines(string(f.log.Publish())) {
			if !strings.HasPrefix(line, "— witness.example/") {
				kept.WriteString(line)
			}
		}
		f.lie(func(l *logtest.Lies) { l.Checkpoint = []byte(kept.String()) })
	}
	freeze := func(f *failing) {
		own, err := statement.NewEd25519Signer(f.log.Key())
		if err != nil {
			t.Fatal(err)
		}
		f.log.Add(f.sign(own, &statement.Freeze{Origin: f.log.Origin()}, nil).Leaf())
		f.log.Publish()
		f.later(1000 * time.Hour)
		f.served(f.app)
	}
	archived := func(f *failing) { freeze(f); down(f) }
	const year = 365 * 24 * time.Hour
	const served = ""
	const silent = "log main did not answer"
	const tooOld = "is 25h old; the policy allows 24h"
	for _, tt := range []struct {
		name  string
		fail  func(f *failing)
		later time.Duration
		app   string // what is said of the path that was judged before; "" serves it
		other string // of the one that was not
		state string // of the log, on the status page
	}{
		{"log down", down, 23 * time.Hour, served, silent + " and nothing is remembered about this path", "answered 503"},
		{"log down for long", down, 25 * time.Hour, silent + " and what is remembered " + tooOld, silent + " and what is remembered " + tooOld, "answered 503"},
		{"log slow", slow, 23 * time.Hour, served, silent + " in time and nothing is remembered about this path", silent + " in time"},
		{"log slow for long", slow, 25 * time.Hour, silent + " in time and what is remembered " + tooOld, silent + " in time and what is remembered " + tooOld, silent + " in time"},
		{"auditors down", noAuditors, time.Hour, "the index quorum of log main is not there", "the index quorum of log main is not there", "the index quorum of log main is not there"},
		{"witnesses down", noWitnesses, 23 * time.Hour, served, "too few witnesses cosigned log main and nothing is remembered about this path", "does not satisfy the quorum"},
		{"witnesses down for long", noWitnesses, 25 * time.Hour, "too few witnesses cosigned log main and what is remembered " + tooOld, "too few witnesses cosigned log main", "does not satisfy the quorum"},
		{"log stands still", func(*failing) {}, 23 * time.Hour, served, served, "23h old"},
		{"log stands still for ever", func(*failing) {}, 25 * time.Hour, "the newest checkpoint of log main " + tooOld, "the newest checkpoint of log main " + tooOld, tooOld},
		{"clock a year ahead", func(*failing) {}, year, "365 days old by the clock of this machine, which says 2028-01-15; the policy allows 24h", "365 days old by the clock", "365 days old by the clock"},
		{"clock a year behind", func(*failing) {}, -year, "365 days ahead of the clock of this machine, which says 2026-01-15; one of them is wrong", "365 days ahead", "one of them is wrong"},
		{"clock a year behind, log down", down, -year, "365 days ahead of the clock of this machine", "365 days ahead", "answered 503"},
		{"archived log", freeze, 1000 * time.Hour, served, served, "because the log is frozen"},
		{"archived log that is gone", archived, 1000 * time.Hour, served, silent + " and nothing is remembered about this path", "because the log is frozen"},
		{"upstream down", func(f *failing) { f.caches[0].down = true }, time.Hour, served, "cannot be judged now: ", "1h old"},
	} {
		for _, restart := range []bool{false, true} {
			t.Run(tt.name+map[bool]string{true: ", and started again"}[restart], func(t *testing.T) {
				f := newFailing(t)
				f.o.logPatience = 200 * time.Millisecond // counts from the next start
				tt.fail(f)
				f.later(tt.later)
				if restart || tt.name[:6] == "log sl" {
					f.again()
				}
				for range 2 { // from what is decided, and from what was just decided
					f.says(f.app, tt.app)
					f.says(f.other, tt.other)
				}
				if state := strings.Join(f.status().Logs, "\n"); !strings.Contains(state, tt.state) {
					t.Errorf("status.json says of the log: %s", state)
				}
				if _, page, err := f.get(""); err != nil || !strings.Contains(html.UnescapeString(page), tt.state) || !strings.Contains(html.UnescapeString(page), strings.TrimPrefix(tt.other, "cannot be judged now: ")) {
					t.Errorf("the status page does not say it: %v\n%s", err, page)
				}
			})
		}
	}
}

// says requires that a path is served, or refused with 500 and these words.
func (f *failing) says(n *nix.NarInfo, words string) {
	f.t.Helper()
	if words == "" {
		f.served(n)
		return
	}
	if !strings.HasPrefix(words, "cannot") {
		f.refused(n.Path, http.StatusInternalServerError, n.Path.Base()+" is refused: inconclusive, ", words)
		return
	}
	f.refused(n.Path, http.StatusInternalServerError, words)
}

func (w *world) status() (st status) {
	w.t.Helper()
	_, body, err := w.get("status.json")
	if err == nil {
		err = json.Unmarshal([]byte(body), &st)
	}
	if err != nil {
		w.t.Fatal(err)
	}
	return st
}

// What was missing is asked for again, and then the path is served without anybody's help.
func TestWhatWasMissingIsServedWhenItIsThereAgain(t *testing.T) {
	f := newFailing(t)
	f.lie(func(l *logtest.Lies) { l.Down = true })
	f.says(f.other, "nothing is remembered about this path")
	f.lie(func(l *logtest.Lies) { l.Down = false })
	f.says(f.other, "nothing is remembered about this path") // for 10 seconds
	f.later(15 * time.Second)
	f.served(f.other)
}
