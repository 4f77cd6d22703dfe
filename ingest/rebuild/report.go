package rebuild

import (
	"fmt"

	"github.com/firn-log/firn/internal/nix"
	"github.com/firn-log/firn/log/statement"
)

// Status is what came of a derivation or an output.
type Status string

// The statuses, from the best to the worst.
const (
	Fixed   Status = "fixed"   // its outputs are fixed by their hash; it was not rebuilt
	Agree   Status = "agree"   // every output is what the others have
	Missing Status = "missing" // built, and nobody has an output to compare with
	Cannot  Status = "cannot"  // it could not be rebuilt here and now; nothing is claimed
	Failed  Status = "failed"  // the build failed
	Differ  Status = "differ"  // an output is not what somebody else has
)

var ranks = map[Status]int{Fixed: 0, Agree: 1, Missing: 2, Cannot: 3, Failed: 4, Differ: 5}

func worse(a, b Status) Status {
	if ranks[b] > ranks[a] {
		return b
	}
	return a
}

// Report is what a run found.
type Report struct {
	Builder statement.Builder
	Results []*Result
}

// Result is what came of one derivation.
type Result struct {
	Drv      nix.StorePath
	Name     string // without hash and ".drv"
	Status   Status
	Why      string         // with Cannot: one sentence
	Outputs  []OutputResult // with Agree, Missing and Differ
	Failure  *Failure       // with Failed
	LogFile  string         // with Failed
	Started  uint64         // Unix seconds
	Finished uint64
	Before   bool // an earlier run built it
}

func (res *Result) cannot(format string, args ...any) *Result {
	res.Status, res.Why, res.Outputs = Cannot, fmt.Sprintf(format, args...), nil
	return res
}

// OutputResult is one output beside what others have.
type OutputResult struct {
	Name       string
	Path       nix.StorePath
	NarHash    nix.Hash // zero if Nix compared and did not keep it (--check)
	NarSize    uint64
	Status     Status // Agree, Differ or Missing
	References []Compared
}

// Compared is an output beside one reference.
type Compared struct {
	Reference
	Status Status     // Agree or Differ
	Files  []FileDiff // the first that differ; nil if files could not be compared
	Total  uint64     // files that differ
	Report string     // file with the words of diffoscope, or ""
}

// FileDiff is one file that differs, as in a diff statement (spec/statement.md#diff):
// "only-a" is only in the reference.
type FileDiff struct {
	Name string `json:"name"` // path in the output; "" is the output itself
	What string `json:"what"`
}

// Failure is how a build failed.
type Failure struct {
	Reason     string  `json:"reason"` // of build-failed, or "log"
	ExitStatus *uint64 `json:"exit_status,omitempty"`
	Message    string  `json:"message"` // one line of Nix's
	Log        string  `json:"log"`     // SHA-256 of the kept log, hexadecimal
}

// reasonLog is a log longer than this rebuilder allows, which is no claim.
const reasonLog = "log"

// Counts returns how many derivations have each status.
func (r *Report) Counts() map[Status]int {
	n := make(map[Status]int)
	for _, res := range r.Results {
		n[res.Status]++
	}
	return n
}

// ExitStatus is 3 if something differs; 1 if something failed, could not be built or
// had nothing to compare with, or if nothing was rebuilt at all; otherwise 0.
func (r *Report) ExitStatus() int {
	n := r.Counts()
	switch {
	case n[Differ] > 0:
		return 3
	case n[Failed]+n[Cannot]+n[Missing] > 0, n[Agree] == 0:
		return 1
	}
	return 0
}
