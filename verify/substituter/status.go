package substituter

import (
	_ "embed"
	"encoding/json"
	"fmt"
	"html/template"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/firn-log/firn/verify"
)

// Counts are what a substituter did since it started.
type Counts struct {
	Served    uint64            `json:"narinfos_served"`
	Nars      uint64            `json:"nars_served"`
	Realised  uint64            `json:"realisations_served"`
	Decided   map[string]uint64 `json:"decided"` // by action
	Judged    uint64            `json:"judged"`  // paths, with those that were judged again
	Batches   uint64            `json:"batches"`
	Submitted uint64            `json:"submitted"`
	Failures  uint64            `json:"failures"`
	Decisions int               `json:"decisions"` // kept
}

// maxEvents bounds the list of what was not simply served.
const maxEvents = 200

// failed is the action of an event that is no decision.
const failed = "failed"

// event is one line of the status page.
type event struct {
	At       time.Time `json:"at"`
	Path     string    `json:"path,omitempty"`
	Action   string    `json:"action"`
	Verdict  string    `json:"verdict,omitempty"`
	Why      string    `json:"why"`
	Rule     string    `json:"rule,omitempty"`
	Upstream string    `json:"upstream,omitempty"`
}

// tally counts. It may be used concurrently.
type tally struct {
	served, nars, realisations atomic.Uint64

	mu       sync.Mutex // guards what follows
	decision [verify.Refuse + 1]uint64
	paths    uint64
	batches  uint64
	posted   uint64
	failures uint64
	events   []event // newest last
	logs     []verify.LogReport
	doubt    string
}

// Doubt notes why a policy that has changed is not used, for the status page; "" says that all is
// well.
func (s *Substituter) Doubt(why string) {
	s.tally.mu.Lock()
	defer s.tally.mu.Unlock()
	s.tally.doubt = why
}

func (t *tally) doubted() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.doubt
}

func newTally() *tally { return &tally{} }

// add lists an event; one that says the same as an older one takes its place. The caller holds mu.
func (t *tally) add(e event) {
	t.events = slices.DeleteFunc(t.events, func(old event) bool {
		old.At = e.At
		return old == e
	})
	t.events = append(t.events, e)
	if len(t.events) > maxEvents {
		t.events = slices.Delete(t.events, 0, len(t.events)-maxEvents)
	}
}

// decided counts a decision, and lists it if it is one that somebody may ask about.
func (t *tally) decided(d *decision) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.decision[d.action]++
	if d.action != verify.Serve {
		t.add(event{d.at, d.path().Base(), d.action.String(), d.verdict.String(), d.reason, d.rule, d.upstream})
	}
}

func (t *tally) judged(rep *verify.Report, n int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.paths += uint64(n)
	t.batches++
	t.logs = rep.Logs
}

func (t *tally) submitted(n int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.posted += uint64(n)
}

func (t *tally) failed(err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.failures++
	t.add(event{At: time.Now(), Action: failed, Why: err.Error()})
}

// Counts returns what was done since the start.
func (s *Substituter) Counts() Counts {
	t := s.tally
	c := Counts{Served: t.served.Load(), Nars: t.nars.Load(), Realised: t.realisations.Load(), Decisions: s.store.count(), Decided: make(map[string]uint64)}
	t.mu.Lock()
	defer t.mu.Unlock()
	c.Judged, c.Batches, c.Submitted, c.Failures = t.paths, t.batches, t.posted, t.failures
	for a, n := range t.decision {
		c.Decided[verify.Action(a).String()] = n
	}
	return c
}

// status is what the status page and status.json say.
type status struct {
	Schema    int       `json:"schema"`
	Policy    string    `json:"policy"`
	Doubt     string    `json:"doubt,omitempty"` // why another one is not used
	Since     time.Time `json:"since"`
	TTL       string    `json:"decision_ttl"`
	Key       string    `json:"key"`
	Upstreams []string  `json:"upstreams"`
	Counts    Counts    `json:"counts"`
	Logs      []string  `json:"logs"`
	Events    []event   `json:"events"` // newest first
}

func (s *Substituter) status() status {
	r := s.rules.Load()
	st := status{
		Schema: 1, Doubt: s.tally.doubted(), Policy: fmt.Sprintf("%x", r.id), Since: r.since.UTC(), TTL: r.pol.DecisionTTL.String(),
		Key: s.o.Key.Public().String(), Counts: s.Counts(), Upstreams: []string{}, Logs: []string{}, Events: []event{},
	}
	for _, u := range r.upstreams {
		line := u.URL
		u.mu.Lock()
		if u.err != nil {
			line += ": " + u.err.Error()
		}
		u.mu.Unlock()
		st.Upstreams = append(st.Upstreams, line)
	}
	s.tally.mu.Lock()
	defer s.tally.mu.Unlock()
	for i := range s.tally.logs {
		st.Logs = append(st.Logs, s.tally.logs[i].State())
	}
	st.Events = append(st.Events, s.tally.events...)
	slices.Reverse(st.Events)
	return st
}

func (s *Substituter) statusJSON(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "application/json")
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	_ = e.Encode(s.status())
}

//go:embed status.html
var statusHTML string

var statusTemplate = template.Must(template.New("status").Parse(statusHTML))

// page is a status in the words of the status page.
type page struct {
	status
	Decided []tile
	Lasts   string // how long a decision counts
	Events  []row
}

// tile is a number of decisions on the status page.
type tile struct {
	Words, Class string
	N            uint64
}

// row is an event on the status page.
type row struct {
	event
	Name         string // of the path, without its hash
	Words, Class string
}

// appearance is what the status page calls the actions, from mild to strict, and failures, and the
// class that colours them.
var appearance = []struct{ action, words, class string }{
	{verify.Serve.String(), "served", "good"},
	{verify.Allow.String(), "let in", "warn"},
	{verify.Warn.String(), "let in, with a warning", "warn"},
	{verify.Rebuild.String(), "left to be built", "warn"},
	{verify.Refuse.String(), "refused", "bad"},
	{failed, "failed", "bad"},
}

// lasting is a duration without the units that are zero at its end.
func lasting(d time.Duration) string {
	text := d.String()
	if d%time.Minute == 0 {
		text = strings.TrimSuffix(text, "0s")
	}
	if d%time.Hour == 0 {
		text = strings.TrimSuffix(text, "0m")
	}
	return text
}

func (s *Substituter) page() page {
	st := s.status()
	p := page{status: st, Lasts: lasting(s.rules.Load().pol.DecisionTTL)}
	for _, look := range appearance {
		if n, ok := st.Counts.Decided[look.action]; ok {
			p.Decided = append(p.Decided, tile{look.words, look.class, n})
		}
	}
	for _, e := range st.Events {
		r := row{event: e}
		_, r.Name, _ = strings.Cut(e.Path, "-")
		for _, look := range appearance {
			if look.action == e.Action {
				r.Words, r.Class = look.words, look.class
			}
		}
		p.Events = append(p.Events, r)
	}
	return p
}

func (s *Substituter) statusPage(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.Header().Set("Content-Security-Policy", "default-src 'none'; style-src 'unsafe-inline'")
	_ = statusTemplate.Execute(w, s.page())
}
