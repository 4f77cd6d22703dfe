package rebuild

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"time"

	"github.com/firn-log/firn/ingest/submit"
	"github.com/firn-log/firn/internal/bincache"
	"github.com/firn-log/firn/internal/durable"
	"github.com/firn-log/firn/internal/nix"
	"github.com/firn-log/firn/internal/nixdb"
	"github.com/firn-log/firn/log/statement"
)

// Defaults of a Config.
const (
	DefaultTimeout = 8 * time.Hour
	DefaultMaxLog  = 64 << 20
	DefaultMinFree = 1 << 30
	DefaultPick    = 50
)

// Config says how to rebuild.
type Config struct {
	Work     string // folder of the rebuilder (spec/rebuild.md#the-work-folder)
	Store    string // root of a private store as in nix --store ROOT; "" is the machine's own
	StateDir string // Nix's state folder; /nix/var/nix

	Substituters []string // where inputs come from that are not in the store; nil is what nix.conf says
	TrustedKeys  []string // whose signatures count beside those of nix.conf, for inputs
	Against      string   // URL of the cache to compare with; "" is the local store

	Jobs  int // builds at once; 1
	Cores int // processors that one build is told of; 0 is all

	Timeout   time.Duration // of one build; DefaultTimeout
	MaxSilent time.Duration // without a word from the builder; 0 is no limit
	MaxLog    int64         // bytes of a build log; DefaultMaxLog
	MaxDisk   int64         // bytes that the work folder may take up; 0 is no limit
	MinFree   int64         // bytes that must stay free on its file system; DefaultMinFree
	Memory    int64         // bytes of address space of each process of a build; 0 is no limit

	FOD        bool   // rebuild fixed-output derivations too
	Again      bool   // also what was done before
	Check      bool   // nix-store --check in the local store in place of a clean one
	Diffoscope string // the program; "" runs none
	Blobs      bool   // logs of failures and reports of diffoscope go with the statements
}

// Options are what a Rebuilder needs beside its configuration.
type Options struct {
	// Put takes the payload of a statement, and blobs that it names, under a name that
	// the statement has for good; it may be given it again: submit.Put. If it is nil,
	// payloads are kept in the work folder.
	Put func(name string, payload []byte, blobs ...[]byte) error
	// Claims returns what a log says about paths; with it, that is what outputs
	// are compared with.
	Claims func(ctx context.Context, paths []nix.StorePath) (map[nix.StorePath][]Reference, error)
	// Progress is told of what happens, one event at a time; may be nil.
	Progress func(Event)
	// Say gets sentences for people; may be nil.
	Say func(format string, args ...any)
	// Environ is the environment of Nix; nil is os.Environ.
	Environ []string

	now   func() time.Time // nil is time.Now
	watch time.Duration    // how often the disk is looked at; 0 is 1 s
}

// Event is a derivation that begins or ends.
type Event struct {
	Drv    nix.StorePath
	Result *Result // nil if it begins
	Done   int     // derivations that have ended
	Total  int
}

// Rebuilder rebuilds. Its work folder is locked from Open to Close.
type Rebuilder struct {
	conf    Config
	o       Options
	nix     *program
	builder statement.Builder
	local   nixdb.Source
	drvs    *drvs
	lock    *durable.Lock

	supplying sync.RWMutex // held while something uses the store of inputs; written to empty it
	fetching  sync.Mutex   // held while Nix writes to the store of inputs
	events    sync.Mutex   // held while Progress or Say is called

	opening sync.Mutex       // guards what follows
	against *bincache.Client // nil before it is needed
}

// Open prepares for rebuilding with conf, whose zero values it fills in. It locks the
// work folder, which another may hold (*durable.LockedError), and removes what a
// killed one left there of builds that did not end.
func Open(ctx context.Context, conf Config, o Options) (*Rebuilder, error) {
	if err := conf.fill(); err != nil {
		return nil, err
	}
	if o.Environ == nil {
		o.Environ = os.Environ()
	}
	if o.now == nil {
		o.now = time.Now
	}
	if o.watch == 0 {
		o.watch = time.Second
	}
	path, err := exec.LookPath("nix-store")
	if err != nil {
		return nil, fmt.Errorf("rebuilding needs Nix: %w", err)
	}
	r := &Rebuilder{conf: conf, o: o, nix: &program{path: path, env: o.Environ}}
	r.builder.Implementation, r.builder.Version = submit.NixVersion(path)
	r.builder.Sandbox = true
	for _, dir := range []string{doneDir, logsDir, drvsDir, statementsDir, reportsDir, roomsDir, inputsDir} {
		if err := durable.MkdirAll(r.work(dir), 0o755); err != nil {
			return nil, fmt.Errorf("preparing the work folder: %w", err)
		}
	}
	if r.lock, err = durable.Acquire(r.work("lock")); err != nil {
		return nil, err
	}
	if err := r.recover(); err != nil {
		return nil, errors.Join(err, r.lock.Unlock())
	}
	ask := r.nix.path // which knows of the machine's own store only
	if conf.Store != "" {
		ask = ""
	}
	r.local, err = nixdb.OpenStore(ctx, filepath.Join(conf.Store, conf.StateDir), nix.DefaultStoreDir, ask)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("reading Nix's database: %w", err), r.lock.Unlock())
	}
	r.drvs = newDrvs(conf.Store, r.work(drvsDir))
	return r, nil
}

func (c *Config) fill() error {
	if c.Work == "" {
		return errors.New("no work folder is named")
	}
	// Nix refuses a store behind a link.
	if err := durable.MkdirAll(c.Work, 0o755); err != nil {
		return fmt.Errorf("preparing the work folder: %w", err)
	}
	work, err := filepath.Abs(c.Work)
	if err == nil {
		work, err = filepath.EvalSymlinks(work)
	}
	if err != nil {
		return err
	}
	c.Work = work
	if c.StateDir == "" {
		c.StateDir = "/nix/var/nix"
	}
	c.Jobs = max(c.Jobs, 1)
	if c.Timeout == 0 {
		c.Timeout = DefaultTimeout
	}
	if c.MaxLog == 0 {
		c.MaxLog = DefaultMaxLog
	}
	if c.MinFree == 0 {
		c.MinFree = DefaultMinFree
	}
	return nil
}

// Close gives the work folder up.
func (r *Rebuilder) Close() error { return errors.Join(r.local.Close(), r.lock.Unlock()) }

func (r *Rebuilder) work(names ...string) string {
	return filepath.Join(append([]string{r.conf.Work}, names...)...)
}

func (r *Rebuilder) say(format string, args ...any) {
	r.events.Lock()
	defer r.events.Unlock()
	if r.o.Say != nil {
		r.o.Say(format, args...)
	}
}

// Run rebuilds drvs, several at a time, and returns a result for each that it came
// to, in their order. It takes no more when ctx is done or the disk is full; the
// error says so. What is wrong with one derivation is in its result.
func (r *Rebuilder) Run(ctx context.Context, drvs []nix.StorePath) (*Report, error) {
	report := &Report{Builder: r.builder}
	results := make([]*Result, len(drvs))
	next := make(chan int)
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	done := 0
	tell := func(i int, res *Result) {
		r.events.Lock()
		defer r.events.Unlock()
		if res != nil {
			results[i] = res
			done++
		}
		if r.o.Progress != nil {
			r.o.Progress(Event{Drv: drvs[i], Result: res, Done: done, Total: len(drvs)})
		}
	}
	var workers sync.WaitGroup
	for range min(r.conf.Jobs, len(drvs)) {
		workers.Go(func() {
			for i := range next {
				tell(i, nil)
				res, err := r.one(ctx, drvs[i])
				if err != nil {
					stop(err)
					return
				}
				tell(i, res)
			}
		})
	}
	for i := range drvs {
		select {
		case next <- i:
			continue
		case <-ctx.Done():
		}
		break
	}
	close(next)
	workers.Wait()
	for _, res := range results {
		if res != nil {
			report.Results = append(report.Results, res)
		}
	}
	return report, context.Cause(ctx)
}

// one deals with one derivation. An error stops the whole run.
func (r *Rebuilder) one(ctx context.Context, drv nix.StorePath) (*Result, error) {
	res := &Result{Drv: drv, Name: drvName(drv)}
	d, modulo, err := r.drvs.check(drv)
	switch {
	case err != nil:
		return res.cannot("%v", err), nil
	case d.Kind() == nix.Fixed && !r.conf.FOD:
		res.Status = Fixed
		return res, nil
	case d.Kind() == nix.FloatingCA || d.Kind() == nix.Deferred:
		return res.cannot("%s is content-addressed, or has such inputs: its outputs cannot be compared by their paths", drv), nil
	}
	rec, err := r.doneBefore(drv)
	if err != nil {
		return nil, err
	}
	res.Before = rec != nil
	if !res.Before {
		rec, err = r.execute(ctx, d, modulo)
		var no *cannot
		switch {
		case err != nil && ctx.Err() != nil:
			return nil, context.Cause(ctx)
		case errors.As(err, &no):
			return res.cannot("%s", no.why), nil
		case err != nil:
			return nil, fmt.Errorf("rebuilding %s: %w", res.Name, err)
		}
	}
	if err := r.hand(drv, rec); err != nil {
		return nil, err
	}
	return res, r.compare(ctx, rec, res)
}

// cannot is why one derivation cannot be rebuilt here and now: nothing is claimed
// about it, and the next run tries again.
type cannot struct{ why string }

func (e *cannot) Error() string { return e.why }

func cannotf(format string, args ...any) error { return &cannot{fmt.Sprintf(format, args...)} }
