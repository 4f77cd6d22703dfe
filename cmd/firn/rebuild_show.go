package main

import (
	"fmt"
	"strconv"
	"strings"
	"text/tabwriter"

	"github.com/firn-log/firn/ingest/rebuild"
)

// byteSize is a flag: bytes, or with K, M or G that many times 1024.
type byteSize int64

func (b *byteSize) String() string {
	n := int64(*b)
	for _, unit := range []struct {
		name string
		n    int64
	}{{"G", 1 << 30}, {"M", 1 << 20}, {"K", 1 << 10}} {
		if n >= unit.n && n%unit.n == 0 {
			return fmt.Sprintf("%d%s", n/unit.n, unit.name)
		}
	}
	return strconv.FormatInt(n, 10)
}

// Set implements pflag.Value.
func (b *byteSize) Set(s string) error {
	unit := int64(1)
	switch {
	case strings.HasSuffix(s, "K"):
		unit = 1 << 10
	case strings.HasSuffix(s, "M"):
		unit = 1 << 20
	case strings.HasSuffix(s, "G"):
		unit = 1 << 30
	}
	n, err := strconv.ParseInt(strings.TrimRight(s, "KMG"), 10, 64)
	if err != nil || n <= 0 || n > (1<<62)/unit || unit > 1 && len(strings.TrimRight(s, "KMG")) != len(s)-1 {
		return fmt.Errorf("%q is not a size such as 500M or 20G", s)
	}
	*b = byteSize(n * unit)
	return nil
}

// Type implements pflag.Value.
func (b *byteSize) Type() string { return "SIZE" }

// writeRebuilds shows what a run found.
func (a *app) writeRebuilds(f *rebuildFlags, report *rebuild.Report) error {
	if f.json {
		return a.writeJSON(rebuildJSON(report))
	}
	w := tabwriter.NewWriter(a.Stdout, 0, 0, 2, ' ', 0)
	for _, res := range report.Results {
		writeRebuild(w, res)
	}
	if err := w.Flush(); err != nil {
		return err
	}
	n := report.Counts()
	var parts []string
	for _, s := range []rebuild.Status{rebuild.Agree, rebuild.Differ, rebuild.Missing, rebuild.Failed, rebuild.Cannot, rebuild.Fixed} {
		if n[s] > 0 {
			parts = append(parts, fmt.Sprintf("%d %s", n[s], statusWords[s]))
		}
	}
	if len(parts) == 0 {
		return nil
	}
	_, err := fmt.Fprintf(a.Stdout, "%s: %s\n", plural(uint64(len(report.Results)), "derivation", "derivations"), strings.Join(parts, ", "))
	return err
}

var statusWords = map[rebuild.Status]string{
	rebuild.Agree: "agree", rebuild.Differ: "differ", rebuild.Missing: "with nothing to compare", rebuild.Failed: "failed",
	rebuild.Cannot: "could not be rebuilt", rebuild.Fixed: "fixed by their hash, not rebuilt",
}

// writeRebuild writes the lines of one derivation: columns end in tabs.
func writeRebuild(w *tabwriter.Writer, res *rebuild.Result) {
	note := ""
	if res.Before {
		note = "done before"
	}
	switch res.Status {
	case rebuild.Fixed:
		return
	case rebuild.Cannot:
		fmt.Fprintf(w, "%s\t\tcannot\t%s\n", res.Name, res.Why)
		return
	case rebuild.Failed:
		fmt.Fprintf(w, "%s\t\tfailed\t%s\n", res.Name, joinWords(failureWords(res.Failure), note))
		fmt.Fprintf(w, "    %s\n    log %s\n", res.Failure.Message, res.LogFile)
		return
	}
	for _, o := range res.Outputs {
		words := ""
		for _, c := range o.References {
			if c.Status == rebuild.Differ {
				words = "from " + c.From
			}
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\n", res.Name, o.Name, o.Status, joinWords(words, note))
		for _, c := range o.References {
			writeCompared(w, &c)
		}
	}
}

// maxFilesShown is how many files are named below an output; --json has more.
const maxFilesShown = 20

func writeCompared(w *tabwriter.Writer, c *rebuild.Compared) {
	for i, file := range c.Files {
		if i == maxFilesShown {
			break
		}
		fmt.Fprintf(w, "    %-10s  %s\n", file.What, diffName(file.Name))
	}
	if more := c.Total - uint64(min(len(c.Files), maxFilesShown)); c.Total > 0 && more > 0 {
		fmt.Fprintf(w, "    and %d more\n", more)
	}
	if c.Report != "" {
		fmt.Fprintf(w, "    diffoscope: %s\n", c.Report)
	}
}

func failureWords(f *rebuild.Failure) string {
	switch {
	case f.Reason == "log":
		return "its log is too long"
	case f.ExitStatus != nil:
		return fmt.Sprintf("%s %d", f.Reason, *f.ExitStatus)
	}
	return f.Reason
}

func joinWords(words ...string) string {
	var some []string
	for _, w := range words {
		if w != "" {
			some = append(some, w)
		}
	}
	return strings.Join(some, ", ")
}

// rebuildOutput is the JSON of firn rebuild (spec/cli.md#firn-rebuild).
type rebuildOutput struct {
	Schema  int                    `json:"schema"`
	Exit    int                    `json:"exit"`
	Builder string                 `json:"builder"`
	Summary map[rebuild.Status]int `json:"summary"`
	Drvs    []rebuiltDrv           `json:"derivations"`
}

type rebuiltDrv struct {
	Drv      string           `json:"drv"`
	Status   rebuild.Status   `json:"status"`
	Why      string           `json:"why,omitempty"`
	Before   bool             `json:"before"`
	Started  uint64           `json:"started,omitempty"`
	Finished uint64           `json:"finished,omitempty"`
	Failure  *rebuild.Failure `json:"failure,omitempty"`
	LogFile  string           `json:"log_file,omitempty"`
	Outputs  []rebuiltOutput  `json:"outputs"`
}

type rebuiltOutput struct {
	Name     string         `json:"name"`
	Path     string         `json:"path"`
	Status   rebuild.Status `json:"status"`
	NarHash  string         `json:"nar_hash,omitempty"`
	NarSize  uint64         `json:"nar_size,omitempty"`
	Compared []comparedWith `json:"compared"`
}

type comparedWith struct {
	With    string             `json:"with"`
	Status  rebuild.Status     `json:"status"`
	NarHash string             `json:"nar_hash"`
	NarSize uint64             `json:"nar_size"`
	Files   []rebuild.FileDiff `json:"files,omitempty"`
	Total   uint64             `json:"total,omitempty"`
	Report  string             `json:"report,omitempty"`
}

func rebuildJSON(report *rebuild.Report) *rebuildOutput {
	out := &rebuildOutput{
		Schema: 1, Exit: report.ExitStatus(), Summary: report.Counts(), Drvs: []rebuiltDrv{},
		Builder: report.Builder.Implementation + " " + report.Builder.Version,
	}
	for _, res := range report.Results {
		d := rebuiltDrv{
			Drv: res.Drv.String(), Status: res.Status, Why: res.Why, Before: res.Before, Started: res.Started, Finished: res.Finished,
			Failure: res.Failure, LogFile: res.LogFile, Outputs: []rebuiltOutput{},
		}
		for _, o := range res.Outputs {
			ro := rebuiltOutput{Name: o.Name, Path: o.Path.String(), Status: o.Status, NarSize: o.NarSize, Compared: []comparedWith{}}
			if !o.NarHash.IsZero() {
				ro.NarHash = o.NarHash.String()
			}
			for _, c := range o.References {
				ro.Compared = append(ro.Compared, comparedWith{c.From, c.Status, c.NarHash.String(), c.NarSize, c.Files, c.Total, c.Report})
			}
			d.Outputs = append(d.Outputs, ro)
		}
		out.Drvs = append(out.Drvs, d)
	}
	return out
}
