package submit

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/firn-log/firn/ingest/hook"
	"github.com/firn-log/firn/internal/nix"
	"github.com/firn-log/firn/log"
	"github.com/firn-log/firn/log/statement"
)

// Status is what is in a spool. It is the JSON of `firn submit --status --json`.
type Status struct {
	Schema   int            `json:"schema"` // 1
	Spool    string         `json:"spool"`
	Exists   bool           `json:"exists"`
	Counts   map[State]int  `json:"counts"`
	LastRun  *LastRun       `json:"last_run"` // null if no submitter has run
	Problems []hook.Problem `json:"problems"` // what the hook could not spool
	Builds   []Build        `json:"builds"`   // oldest first
}

// State is where a build is.
type State string

// The states, in the order of a build's way.
const (
	Pending State = "pending"
	Held    State = "held"
	Waiting State = "waiting"
	Failed  State = "failed"
	Sent    State = "sent"
)

// LastRun is what the last run of a submitter left word of.
type LastRun struct {
	Time time.Time `json:"time"`
	OK   bool      `json:"ok"`
	Why  string    `json:"why,omitempty"`
}

// Build is one spooled build.
type Build struct {
	Name    string    `json:"name"`
	State   State     `json:"state"`
	Time    time.Time `json:"time"`
	Kind    string    `json:"kind,omitempty"` // of the statement, once there is one
	Drv     string    `json:"drv,omitempty"`
	Outputs []string  `json:"outputs,omitempty"`
	About   string    `json:"about,omitempty"`  // name of a closure or an evaluation
	Code    string    `json:"code,omitempty"`   // why it failed
	Reason  string    `json:"reason,omitempty"` // why it is in this state
	Index   *uint64   `json:"index,omitempty"`  // entry of the log
	ID      string    `json:"statement,omitempty"`
	Proof   string    `json:"proof,omitempty"` // file
}

// ReadStatus reads the spool of conf. It needs no lock; a build that moves
// meanwhile is seen in one of its states.
func ReadStatus(conf *Config) (*Status, error) { return readStatus(conf, spool.list) }

// readStatus is ReadStatus of those that list names in each folder.
func readStatus(conf *Config, list func(s spool, dir string) ([]string, error)) (*Status, error) {
	s := spool{dir: conf.Spool}
	st := &Status{Schema: 1, Spool: conf.Spool, Counts: make(map[State]int), Problems: []hook.Problem{}, Builds: []Build{}}
	if _, err := os.Stat(conf.Spool); errors.Is(err, fs.ErrNotExist) {
		return st, nil
	} else if err != nil {
		return nil, err
	}
	st.Exists = true
	seen := make(map[string]bool)
	// Earlier states first, so that a build which moves on is not missed.
	for _, at := range []struct {
		dir   string
		state State
		read  func(s spool, b *Build) error
	}{
		{hook.PendingDir, Pending, readRecord},
		{heldDir, Held, readStatement},
		{unsignedDir, Waiting, readStatement},
		{failedDir, Failed, readFailed},
		{sentDir, Sent, readSent},
	} {
		names, err := list(s, at.dir)
		if err != nil {
			return nil, err
		}
		for _, name := range names {
			if seen[name] {
				continue
			}
			b := Build{Name: name, State: at.state, Time: timeOf(name)}
			if err := at.read(s, &b); errors.Is(err, fs.ErrNotExist) {
				continue
			} else if err != nil {
				b.Reason = err.Error()
			}
			seen[name] = true
			st.Counts[at.state]++
			st.Builds = append(st.Builds, b)
		}
	}
	slices.SortFunc(st.Builds, func(a, b Build) int { return compareNames(a.Name, b.Name) })
	return st, st.read(s, conf)
}

// read adds what is not about one build.
func (st *Status) read(s spool, conf *Config) error {
	problems, err := s.hook().Problems()
	if err != nil {
		return err
	}
	st.Problems = append(st.Problems, problems...)
	if st.LastRun, err = s.readLastRun(); err != nil {
		return err
	}
	for i := range st.Builds {
		b := &st.Builds[i]
		if b.Reason == "" {
			b.Reason = st.why(b.State, conf)
		}
	}
	return nil
}

// why says why a build is still in a state.
func (st *Status) why(state State, conf *Config) string {
	blame := func(waits string) string {
		switch {
		case st.LastRun == nil:
			return waits + ": no `firn submit` has run here"
		case st.LastRun.Why != "":
			return waits + ": " + st.LastRun.Why
		}
		return waits
	}
	switch state {
	case Pending:
		return blame("not looked at yet")
	case Waiting:
		return blame("not sent yet")
	case Held:
		if len(conf.PublicFrom) == 0 {
			return "private: public-from names nothing that needs it; --also sends it all the same"
		}
		return "private: nothing that public-from names needs it; --also sends it all the same"
	}
	return ""
}

func timeOf(name string) time.Time {
	text, _, _ := strings.Cut(name, "-")
	n, _ := strconv.ParseInt(text, 10, 64)
	return time.Unix(n, 0).UTC()
}

func readRecord(s spool, b *Build) error {
	text, err := s.read(hook.PendingDir, b.Name)
	if err != nil {
		return err
	}
	rec, err := hook.ParseRecord(text)
	if err == nil {
		b.Drv = rec.Drv
	}
	return err
}

func readStatement(s spool, b *Build) error {
	dir := unsignedDir
	if b.State == Held {
		dir = heldDir
	}
	body, _, err := s.readPayload(dir, b.Name)
	if err == nil {
		b.describe(body)
	}
	return err
}

// describe says what a statement is about: a derivation, paths, or a name.
func (b *Build) describe(body statement.Body) {
	b.Kind = string(body.Kind())
	drv := func(p *nix.StorePath) {
		if p != nil {
			b.Drv = p.String()
		}
	}
	switch s := body.(type) {
	case *statement.Build:
		drv(&s.DrvPath)
		for _, o := range s.Outputs {
			b.Outputs = append(b.Outputs, o.Path.String())
		}
	case *statement.BuildFailed:
		drv(&s.DrvPath)
	case *statement.Diff:
		drv(s.Drv)
		b.Outputs = []string{s.Path.String()}
	case *statement.Realisation:
		drv(s.Drv)
		b.Outputs = []string{s.Path.String()}
	case *statement.Observed:
		b.Outputs = []string{s.Path.String()}
	case *statement.PathClaim:
		b.Outputs = []string{s.Path.String()}
	case *statement.Closure:
		b.About = s.Name
	case *statement.Eval:
		b.About = s.Name
	}
}

// What names the statement in a few words, "" if nothing is known of it.
func (b *Build) What() string {
	what := b.About
	for _, p := range append([]string{b.Drv}, b.Outputs...) {
		if base := filepath.Base(p); what == "" && len(base) > 33 {
			what = base[33:]
		}
	}
	if b.Kind != "" && b.Kind != string(statement.KindBuild) {
		what = strings.TrimSpace(b.Kind + " " + what)
	}
	return what
}

func whatOf(body statement.Body) string {
	var b Build
	b.describe(body)
	return b.What()
}

func readFailed(s spool, b *Build) error {
	text, err := s.read(failedDir, b.Name)
	if errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if rec, err := hook.ParseRecord(text); err == nil {
		b.Drv = rec.Drv
	} else if body, err := parseClaim(text); err == nil {
		b.describe(body)
	}
	text, err = s.read(failedDir, b.Name+reasonSuffix)
	if err != nil {
		return err
	}
	reason, err := parseReason(text)
	if err == nil {
		b.Code, b.Reason = reason.Code, reason.Message
	}
	return err
}

func readSent(s spool, b *Build) error {
	leaf, err := s.read(sentDir, b.Name)
	if err != nil {
		return err
	}
	st, err := statement.Parse(leaf)
	if err != nil {
		return err
	}
	b.ID = st.ID().String()
	b.describe(st.Body)
	b.Proof = s.path(sentDir, b.Name+proofSuffix)
	text, err := s.read(sentDir, b.Name+proofSuffix)
	if err != nil {
		return err
	}
	proof, err := log.ParseProof(text)
	if err == nil {
		b.Index = &proof.Index
	}
	return err
}

// writeLastRun leaves word for Status.
func (s spool) writeLastRun(now time.Time, why error) error {
	text := "ok"
	if why != nil {
		text = strings.Join(strings.Fields(strings.ToValidUTF8(why.Error(), "?")), " ")
	}
	return s.write(submitDir, lastRunFile, fmt.Appendf(nil, "%d %s\n", now.Unix(), text))
}

func (s spool) readLastRun() (*LastRun, error) {
	b, err := s.read(submitDir, lastRunFile)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	text, why, ok := strings.Cut(strings.TrimSuffix(string(b), "\n"), " ")
	n, err := strconv.ParseInt(text, 10, 64)
	if !ok || err != nil {
		return nil, fmt.Errorf("%s is not in its form", s.path(submitDir, lastRunFile))
	}
	run := &LastRun{Time: time.Unix(n, 0).UTC(), OK: why == "ok"}
	if !run.OK {
		run.Why = why
	}
	return run, nil
}
