package main

import (
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"strings"
	"sync"
	"text/tabwriter"
	"time"

	"golang.org/x/term"

	"github.com/firn-log/firn/tracker/eval"
)

// evalSummary is what firn-tracker eval --json prints (spec/cli.md#firn-tracker-eval).
type evalSummary struct {
	Schema    int            `json:"schema"`
	Channel   string         `json:"channel"`
	Seq       int64          `json:"seq"`
	Revision  string         `json:"revision"`
	System    string         `json:"system"`
	Tiers     []*tierSummary `json:"tiers"`
	Published *published     `json:"published,omitempty"`
}

type tierSummary struct {
	Tier        eval.Tier         `json:"tier"`
	File        string            `json:"file,omitempty"` // "" if this revision was evaluated before
	Digest      string            `json:"digest"`
	Full        bool              `json:"full"`  // the file holds everything
	Lines       int               `json:"lines"` // of it
	Attributes  int               `json:"attributes"`
	Derivations int               `json:"derivations"`
	Failed      int               `json:"failed"`
	Evaluated   int               `json:"evaluated"`
	FailedBy    map[eval.Kind]int `json:"failed_by,omitempty"` // of the evaluated
	Skipped     int               `json:"skipped_names"`
	Whole       bool              `json:"whole"`
	Why         string            `json:"why,omitempty"`
	Missed      *int              `json:"missed,omitempty"`
	Seconds     float64           `json:"seconds"`
	Processes   int               `json:"processes"`
	Peak        int64             `json:"peak_bytes"` // of one process
	Nix         string            `json:"nix,omitempty"`
}

type published struct {
	Statement   string `json:"statement"`
	Index       uint64 `json:"index"`
	Derivations int    `json:"derivations"`
}

func newEvalSummary(reports []*eval.Report) *evalSummary {
	h := reports[len(reports)-1].Header
	s := &evalSummary{Schema: 1, Channel: h.Channel, Seq: h.Seq, Revision: h.Revision, System: h.System}
	for _, r := range reports {
		t := &tierSummary{
			Tier: r.Tier, Digest: r.Digest, Full: r.Header.Full, Lines: r.Lines, Attributes: r.Attrs, Derivations: len(r.Drvs), Failed: r.Failed,
			Evaluated: r.Evaluated, Whole: r.Whole, Why: r.Why,
		}
		if r.File != nil {
			t.File = r.File.Path
		}
		if r.Missed >= 0 {
			t.Missed = &r.Missed
		}
		if res := r.Result; res != nil {
			t.FailedBy, t.Skipped, t.Seconds, t.Processes, t.Peak, t.Nix = res.Failed, res.Skipped, res.Elapsed.Seconds(), res.Processes, res.Peak, res.Nix
		}
		s.Tiers = append(s.Tiers, t)
	}
	return s
}

// showEval prints the result.
func (a *app) showEval(f *evalFlags, s *evalSummary) error {
	if f.asJSON {
		return json.NewEncoder(a.Stdout).Encode(s)
	}
	fmt.Fprintf(a.Stdout, "%s %d: %s for %s\n\n", s.Channel, s.Seq, s.Revision, s.System)
	w := tabwriter.NewWriter(a.Stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "TIER\tATTRIBUTES\tDERIVATIONS\tFAILED\tEVALUATED\tCHANGES\tTIME\tMEMORY")
	for _, t := range s.Tiers {
		fmt.Fprintf(w, "%s\t%d\t%d\t%d\t%d\t%s\t%.1f s\t%d MiB\n", t.Tier, t.Attributes, t.Derivations, t.Failed, t.Evaluated, t.changes(), t.Seconds, t.Peak>>20)
	}
	if err := w.Flush(); err != nil {
		return err
	}
	fmt.Fprintln(a.Stdout)
	for _, t := range s.Tiers {
		t.words(a.Stdout)
	}
	if p := s.Published; p != nil {
		fmt.Fprintf(a.Stdout, "published: %d derivations, entry %d, statement %s\n", p.Derivations, p.Index, p.Statement)
	}
	return nil
}

func (t *tierSummary) changes() string {
	switch {
	case t.File == "":
		return "-"
	case t.Full:
		return "all"
	}
	return fmt.Sprint(t.Lines)
}

// words says what the table does not.
func (t *tierSummary) words(w io.Writer) {
	switch {
	case t.File == "":
		fmt.Fprintf(w, "%s: this revision has been evaluated before\n", t.Tier)
		return
	case t.Whole:
		fmt.Fprintf(w, "%s: everything was evaluated: %s\n", t.Tier, t.Why)
	default:
		fmt.Fprintf(w, "%s: only what the changed files can have changed was evaluated\n", t.Tier)
	}
	var by []string
	for _, k := range slices.Sorted(maps.Keys(t.FailedBy)) {
		by = append(by, fmt.Sprintf("%d %s", t.FailedBy[k], kindWords[k]))
	}
	if len(by) > 0 {
		fmt.Fprintf(w, "%s: of the evaluated failed: %s\n", t.Tier, strings.Join(by, ", "))
	}
	if t.Skipped > 0 {
		fmt.Fprintf(w, "%s: %d attributes are left out, whose names no attribute path can hold\n", t.Tier, t.Skipped)
	}
	if t.Missed != nil {
		fmt.Fprintf(w, "%s: attributes that changed without a changed file telling it: %d\n", t.Tier, *t.Missed)
	}
}

var kindWords = map[eval.Kind]string{
	eval.Throws: "throw or assert", eval.Crashed: "ended the evaluator", eval.OverMemory: "needed too much memory",
	eval.OverTime: "did not end", eval.Nested: "are nested too deep", eval.Invalid: "are no packages",
}

// evalProgress shows on a terminal how far the evaluation is.
type evalProgress struct {
	w  io.Writer // nil shows nothing
	mu sync.Mutex
	at time.Time // of the last line
}

func (a *app) evalProgress() *evalProgress {
	if f, ok := a.Stderr.(*os.File); ok && term.IsTerminal(int(f.Fd())) {
		return &evalProgress{w: f}
	}
	return &evalProgress{}
}

func (p *evalProgress) show(tier eval.Tier, done, known int) {
	if p.w == nil {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if now := time.Now(); now.Sub(p.at) >= 100*time.Millisecond {
		p.at = now
		fmt.Fprintf(p.w, "\r\x1b[K%s: %d of %d attributes", tier, done, known)
	}
}

func (p *evalProgress) clear() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.w != nil && !p.at.IsZero() {
		fmt.Fprint(p.w, "\r\x1b[K")
		p.at = time.Time{}
	}
}
