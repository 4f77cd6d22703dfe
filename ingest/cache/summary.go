package cache

import (
	"maps"
	"slices"

	"github.com/firn-log/firn/internal/bincache"
)

// A Trouble is what is told about a single path.
type Trouble string

// The troubles of a run.
const (
	// Lie: an answer that cannot be honest and whole at once.
	Lie Trouble = "lie"
	// Contradiction: a key has signed two contents for one path. Both are in the log.
	Contradiction Trouble = "contradiction"
	// Failed: a path that could not be read.
	Failed Trouble = "failed"
	// Missing: a reference that the cache does not have.
	Missing Trouble = "missing"
	// Rejected: a statement that the log does not take.
	Rejected Trouble = "rejected"
	// SetAside: a statement that cannot be sent now.
	SetAside Trouble = "set-aside"
)

// A Problem is trouble with one path.
type Problem struct {
	Trouble Trouble `json:"trouble"`
	Path    string  `json:"path"` // in full; of a cache that is listed, a hash part
	What    string  `json:"what"` // a sentence without its end
}

// Summary is what a run did. Numbers of paths count each path once.
type Summary struct {
	Cache   string `json:"cache"`
	Paths   int    `json:"paths"`   // in the closures that were asked for, as far as they were seen
	Fetched int    `json:"fetched"` // narinfos that were read
	Known   int    `json:"known"`   // not asked for, because an earlier run has brought them
	// Accepted and Duplicates are statements that the log has: new ones, and ones
	// that somebody had sent before.
	Accepted   int `json:"accepted"`
	Duplicates int `json:"duplicates"`
	// NoSignature counts paths without a signature by a listed key.
	NoSignature int `json:"no_signature"`
	// Unlisted counts signatures by keys that are not listed, by key name.
	Unlisted map[string]int  `json:"unlisted"`
	Troubles map[Trouble]int `json:"troubles"`
	// Problems are the first of each trouble, maxProblems at most.
	Problems []Problem `json:"problems"`
	// Contradictions are pairs of a path and a key that signed two contents, of
	// this run and all before it.
	Contradictions int `json:"contradictions"`
	// Proven is the size of the checkpoint under which the newest statement of
	// this run is proven to be; 0 if nothing was sent, or no proof came in time.
	Proven uint64 `json:"proven"`
}

// maxProblems bounds the problems of one kind that a summary lists; all are counted.
const maxProblems = 100

func newSummary(cache string) *Summary {
	return &Summary{Cache: cache, Unlisted: make(map[string]int), Troubles: make(map[Trouble]int), Problems: []Problem{}}
}

func (s *Summary) add(p Problem) {
	if s.Troubles[p.Trouble]++; s.Troubles[p.Trouble] <= maxProblems {
		s.Problems = append(s.Problems, p)
	}
}

// UnlistedNames returns the names of the keys that signed and are not listed, in
// order.
func (s *Summary) UnlistedNames() []string { return slices.Sorted(maps.Keys(s.Unlisted)) }

// Add adds what another run of the same cache did.
func (s *Summary) Add(o *Summary) {
	s.Paths, s.Fetched, s.Known = s.Paths+o.Paths, s.Fetched+o.Fetched, s.Known+o.Known
	s.Accepted, s.Duplicates, s.NoSignature = s.Accepted+o.Accepted, s.Duplicates+o.Duplicates, s.NoSignature+o.NoSignature
	for name, n := range o.Unlisted {
		s.Unlisted[name] += n
	}
	before := maps.Clone(s.Troubles)
	for trouble, n := range o.Troubles {
		s.Troubles[trouble] += n
	}
	for _, p := range o.Problems {
		if before[p.Trouble]++; before[p.Trouble] <= maxProblems {
			s.Problems = append(s.Problems, p)
		}
	}
	s.Contradictions, s.Proven = o.Contradictions, max(s.Proven, o.Proven)
}

// NewSummary returns the summary of a run that has done nothing yet.
func NewSummary(c *bincache.Client) *Summary { return newSummary(c.URL()) }
