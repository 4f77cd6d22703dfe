package hydra

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/firn-log/firn/ingest/cache"
	"github.com/firn-log/firn/internal/bincache"
	"github.com/firn-log/firn/internal/nix"
)

const (
	eventSuffix = ".json"
	badSuffix   = ".bad"
	tempPrefix  = ".firn-tmp-" // of package durable
	// maxEvents is how many events one run takes.
	maxEvents = 10_000
	// orphanAge is after how long an unfinished file is one that a crash left.
	orphanAge = time.Hour
)

func newReader(b []byte) io.Reader { return bytes.NewReader(b) }

// SpoolSummary is what a run did with events.
type SpoolSummary struct {
	Spool string `json:"spool"`
	// Imported are events whose outputs are all in the log; their files are gone.
	Imported int `json:"imported"`
	// Waiting are events of which the cache does not have or give all yet.
	Waiting int `json:"waiting"`
	// Dropped are events that waited for too long; see Problems.
	Dropped int `json:"dropped"`
	// Bad are files that are no events; they bear the suffix .bad now.
	Bad int `json:"bad"`
	// Left are events for the next run.
	Left     int            `json:"left"`
	Cache    *cache.Summary `json:"cache"`
	Problems []Problem      `json:"problems"`
}

// event is a file in the spool.
type event struct {
	name  string
	since time.Time
	paths []nix.StorePath
}

// ImportSpool imports the closures of what the events in the spool dir name, and
// removes them then. Errors are those of [cache.Import], and of the folder.
func ImportSpool(ctx context.Context, dir string, c *bincache.Client, cs *cache.State, o Options) (*SpoolSummary, error) {
	o.Cache.MissingRoots = true
	sum := &SpoolSummary{Spool: dir, Cache: cache.NewSummary(c), Problems: []Problem{}}
	tell := func(name string, what error) {
		p := Problem{Event: name, What: what.Error()}
		if len(sum.Problems) < maxProblems {
			sum.Problems = append(sum.Problems, p)
		}
		if o.OnProblem != nil {
			o.OnProblem(p)
		}
	}
	events, err := takeEvents(dir, c.StoreDir(), o.now(), sum, tell)
	if err != nil || len(events) == 0 {
		return sum, err
	}
	var roots cache.Roots
	for _, e := range events {
		roots.Paths = append(roots.Paths, e.paths...)
	}
	roots.Paths = sorted(roots.Paths)
	done, err := cache.Import(ctx, c, cs, roots, o.Cache)
	sum.Cache.Add(done)
	if err != nil {
		return sum, err
	}
	for _, e := range events {
		signed, unsigned := standings(c, cs, o.Cache.Keys, e.paths)
		switch {
		case len(signed) == len(e.paths):
			sum.Imported++
		case o.now().Sub(e.since) < patience:
			sum.Waiting++
			continue
		default:
			sum.Dropped++
			tell(e.name, fmt.Errorf("dropped: of its %d outputs the log has a signature of %d, and the cache had %d without one, for %d days",
				len(e.paths), len(signed), unsigned, patience/(24*time.Hour)))
		}
		if err := os.Remove(filepath.Join(dir, e.name)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return sum, err
		}
	}
	return sum, nil
}

// takeEvents reads the spool, and sets aside what is no event.
func takeEvents(dir string, store nix.StoreDir, now time.Time, sum *SpoolSummary, tell func(string, error)) ([]event, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	var events []event
	for _, entry := range entries {
		name := entry.Name()
		path := filepath.Join(dir, name)
		info, err := entry.Info()
		switch {
		case err != nil:
			continue // gone meanwhile
		case strings.HasPrefix(name, tempPrefix) && now.Sub(info.ModTime()) > orphanAge:
			_ = os.Remove(path)
			continue
		case strings.HasPrefix(name, ".") || !strings.HasSuffix(name, eventSuffix):
			continue
		case len(events) == maxEvents:
			sum.Left++
			continue
		}
		paths, err := readSpooled(path, store)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err == nil {
			events = append(events, event{name, info.ModTime(), paths})
			continue
		}
		sum.Bad++
		tell(name, fmt.Errorf("it is no event and is called %s now: it %w", name+badSuffix, err))
		if err := os.Rename(path, path+badSuffix); err != nil {
			return nil, err
		}
	}
	return events, nil
}

func readSpooled(path string, store nix.StoreDir) ([]nix.StorePath, error) {
	b, err := readPlain(path, maxEventLen)
	if err != nil {
		return nil, err
	}
	var e Event
	if err := decodeWhole(b, &e); err != nil {
		return nil, err
	}
	if e.Schema != 1 {
		return nil, fmt.Errorf("has the schema %d instead of 1", e.Schema)
	}
	paths, err := e.paths()
	if err == nil && paths[0].Dir() != store {
		err = fmt.Errorf("is about %s, and the cache about %s", paths[0].Dir(), store)
	}
	return paths, err
}
