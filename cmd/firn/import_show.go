package main

import (
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/firn-log/firn/ingest/cache"
	"github.com/firn-log/firn/internal/cmdline"
)

// shownProblems is how many problems of one kind are told as they are met.
const shownProblems = 10

// importShow tells a person how an import goes.
type importShow struct {
	*progress
	a *app

	mu     sync.Mutex // of what is written
	counts map[cache.Trouble]int
}

func (a *app) newImportShow() *importShow {
	return &importShow{progress: a.progress(), a: a, counts: make(map[cache.Trouble]int)}
}

func (s *importShow) warn(text string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.clear()
	fmt.Fprintf(s.a.Stderr, "firn: warning: %s\n", text)
}

func (s *importShow) trouble(err error, pause time.Duration) {
	s.warn(fmt.Sprintf("the cache %v; it gets a pause of %v", err, pause.Round(time.Second/10)))
}

func (s *importShow) problem(p cache.Problem) {
	if s.counts[p.Trouble]++; s.counts[p.Trouble] > shownProblems {
		return
	}
	what := p.What
	switch p.Trouble {
	case cache.Lie:
		what = "the cache is wrong: " + what
	case cache.Contradiction:
		what = "CONTRADICTION: " + what
	}
	s.warn(p.Path + ": " + what)
}

// end says how much was not told.
func (s *importShow) end(sum *cache.Summary) {
	for _, t := range []cache.Trouble{cache.Lie, cache.Contradiction, cache.Failed, cache.Missing, cache.Rejected, cache.SetAside} {
		if n := sum.Troubles[t] - shownProblems; n > 0 {
			s.warn(fmt.Sprintf("and %d more: %s", n, troubleWords[t][1]))
		}
	}
}

// troubleWords say what a number counts, if it is one and if it is another.
var troubleWords = map[cache.Trouble][2]string{
	cache.Lie:           {"wrong answer of the cache", "wrong answers of the cache"},
	cache.Contradiction: {"contradiction of a key", "contradictions of keys"},
	cache.Failed:        {"path that could not be read", "paths that could not be read"},
	cache.Missing:       {"reference that the cache does not have", "references that the cache does not have"},
	cache.Rejected:      {"statement that the log rejected", "statements that the log rejected"},
	cache.SetAside:      {"statement that could not be sent", "statements that could not be sent"},
}

func (s *importShow) far(sum *cache.Summary, waiting int) {
	s.say(fmt.Sprintf("%d paths, %d statements in the log, %d paths to go", sum.Paths, sum.Accepted+sum.Duplicates, waiting))
}

// printImport is the summary for a person.
func (a *app) printImport(s *cache.Summary) {
	fmt.Fprintf(a.Stdout, "%s: %s, %d of them known before\n", s.Cache, plural(uint64(s.Paths), "path", "paths"), s.Known)
	if s.Fetched+s.Accepted+s.Duplicates > 0 {
		fmt.Fprintf(a.Stdout, "%s new in the log, %d that it had\n", plural(uint64(s.Accepted), "statement", "statements"), s.Duplicates)
	}
	if s.Proven > 0 {
		fmt.Fprintf(a.Stdout, "the newest is proven, under the checkpoint of size %d\n", s.Proven)
	}
	if s.NoSignature > 0 {
		fmt.Fprintf(a.Stdout, "%s without a signature by a listed key\n", plural(uint64(s.NoSignature), "path", "paths"))
	}
	if len(s.Unlisted) > 0 {
		var names []string
		for _, name := range s.UnlistedNames() {
			names = append(names, fmt.Sprintf("%s (%d)", name, s.Unlisted[name]))
		}
		fmt.Fprintf(a.Stdout, "keys that signed and are not listed: %s\n", strings.Join(names, ", "))
	}
	for _, t := range []cache.Trouble{cache.Lie, cache.Contradiction, cache.Failed, cache.Missing, cache.Rejected, cache.SetAside} {
		if n := s.Troubles[t]; n > 0 {
			fmt.Fprintf(a.Stdout, "! %s\n", plural(uint64(n), troubleWords[t][0], troubleWords[t][1]))
		}
	}
	if old := s.Contradictions - s.Troubles[cache.Contradiction]; old > 0 {
		fmt.Fprintf(a.Stdout, "! in earlier runs keys contradicted themselves about %s\n", plural(uint64(old), "path", "paths"))
	}
}

// writeImport is the summary for a program. err is what ended the run early.
func (a *app) writeImport(s *cache.Summary, err error) error {
	v := struct {
		Schema int `json:"schema"`
		*cache.Summary
		Why string `json:"why,omitempty"`
	}{1, s, ""}
	if err != nil {
		v.Why = err.Error()
	}
	return a.writeJSON(v)
}

// statusOf returns the exit status that err stands for.
func statusOf(err error) int {
	var known *cmdline.Failure
	switch {
	case err == nil:
		return 0
	case errors.As(err, &known):
		return known.Code
	}
	return exitFailed
}
