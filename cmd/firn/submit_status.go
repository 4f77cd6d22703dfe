package main

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/firn-log/firn/ingest/submit"
)

// newestSent is how many sent builds --status lists without --all.
const newestSent = 10

// submitStatus says what is in the spool. It works without a configuration, and
// with a wrong one: somebody who looks why nothing was sent must get an answer.
func (a *app) submitStatus(f *submitFlags, conf *submit.Config, confErr error) error {
	var blame []string
	switch {
	case errors.Is(confErr, fs.ErrNotExist):
		blame = append(blame, fmt.Sprintf("there is no configuration %s, so nothing is sent; `firn submit` says what it needs", f.config))
	case confErr != nil:
		blame = append(blame, fmt.Sprintf("nothing is sent with this configuration: %v", confErr))
	default:
		if err := conf.Check(); err != nil {
			blame = append(blame, fmt.Sprintf("nothing is sent with the configuration %s: %v", f.config, err))
		}
	}
	if conf == nil {
		conf = submit.DefaultsOnly(a.Getenv)
	}
	st, err := submit.ReadStatus(conf)
	if err != nil {
		return openFailure(conf, err)
	}
	if !st.Exists {
		blame = append(blame, fmt.Sprintf("there is no spool %s: no build was spooled there; `firn hook install` sets up the hook", st.Spool))
	}
	if f.json {
		return a.writeJSON(struct {
			*submit.Status
			Blame []string `json:"nothing_is_sent_because,omitempty"`
		}{st, blame})
	}
	a.printStatus(f, st, blame)
	return nil
}

func (a *app) printStatus(f *submitFlags, st *submit.Status, blame []string) {
	n := st.Counts
	fmt.Fprintf(a.Stdout, "%s: %d sent, %d waiting, %d held back, %d failed, %d new\n",
		st.Spool, n[submit.Sent], n[submit.Waiting], n[submit.Held], n[submit.Failed], n[submit.Pending])
	for _, b := range blame {
		fmt.Fprintf(a.Stdout, "! %s\n", b)
	}
	switch run := st.LastRun; {
	case run == nil && st.Exists:
		fmt.Fprintln(a.Stdout, "! no `firn submit` has run here yet")
	case run != nil && run.OK:
		fmt.Fprintf(a.Stdout, "last run %s: ok\n", localTime(run.Time))
	case run != nil:
		fmt.Fprintf(a.Stdout, "! last run %s: %s\n", localTime(run.Time), run.Why)
	}
	for _, p := range st.Problems {
		fmt.Fprintf(a.Stdout, "! hook, %s: %s\n", localTime(time.Unix(p.Time, 0)), p.Text)
	}
	w := tabwriter.NewWriter(a.Stdout, 0, 0, 2, ' ', 0)
	hidden := max(0, n[submit.Sent]-newestSent)
	if f.all {
		hidden = 0
	}
	left := hidden
	for _, b := range st.Builds {
		if b.State == submit.Sent && left > 0 {
			left--
			continue
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\n", localTime(b.Time), b.State, whatOf(&b), buildNote(&b, st.LastRun))
	}
	w.Flush()
	if hidden > 0 {
		fmt.Fprintf(a.Stdout, "and %d more that were sent (--all lists them)\n", hidden)
	}
}

func localTime(t time.Time) string { return t.Local().Format("2006-01-02 15:04:05") }

func whatOf(b *submit.Build) string { return cmp.Or(b.What(), "?") }

// buildNote says why a build is where it is. What stopped the last run stands
// above the table and is not repeated.
func buildNote(b *submit.Build, run *submit.LastRun) string {
	switch {
	case b.State == submit.Sent && b.Index != nil:
		return fmt.Sprintf("entry %d, proof %s", *b.Index, b.Proof)
	case b.Code != "":
		return b.Code + ": " + b.Reason
	case run != nil && run.Why != "":
		return strings.TrimSuffix(b.Reason, ": "+run.Why)
	}
	return b.Reason
}
