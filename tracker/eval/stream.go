package eval

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"
)

// Options say what is evaluated and what it may cost.
type Options struct {
	// Tree is the folder with default.nix.
	Tree string
	// Allow names more folders that the tree may read. Nothing else can be read.
	Allow []string
	// System is what the tree is evaluated for, such as x86_64-linux.
	System string
	// Root is the attribute path of the set that is evaluated; "" is the whole tree.
	Root string
	// Attrs are the attribute paths that are evaluated; nil is all.
	Attrs []string
	// Aliases also evaluates the other names that a nixpkgs keeps for what was renamed or removed.
	Aliases bool
	// Nix is the command nix-instantiate; nil is that word.
	Nix []string
	// Workers is how many processes run at once; 0 is one for each processor.
	Workers int
	// Memory bounds the memory of all processes together, bytes; 0 is 2 GiB. A process that
	// goes beyond its share is ended within about 20 ms and resumed.
	Memory int64
	// Timeout is how long one attribute may take; 0 is 60 s.
	Timeout time.Duration
	// Progress, if not nil, is told how many attributes are done of those that are known.
	// It is called from several goroutines.
	Progress func(tier Tier, done, known int)

	scratch  string            // empty folder
	settings []string          // of config
	suspects map[string]bool   // what is evaluated last
	ended    map[string]string // what is known to end the evaluator, and in what words
	storeDir string
}

// Bounds of an evaluation.
const (
	defaultMemory  = 2 << 30
	defaultTimeout = time.Minute
	maxDepth       = 8
)

// Kind says how attributes failed, for a summary.
type Kind string

// The kinds of failures.
const (
	Throws     Kind = "throws"
	Crashed    Kind = "error"
	OverMemory Kind = "memory"
	OverTime   Kind = "time"
	Nested     Kind = "nested"
	Invalid    Kind = "invalid"
)

// A Result is what an evaluation of one tier found.
type Result struct {
	Attrs     map[string]Attribute
	Failed    map[Kind]int
	Skipped   int   // names that no file can hold
	Evaluated int   // attributes that were asked for, or known from the other tier
	Processes int   // that were started
	Peak      int64 // bytes: the most that one process took
	Elapsed   time.Duration
	Nix       string // version of the evaluator
	StoreDir  string

	ended map[string]string // what does so in both tiers, and in what words
}

// Evaluate evaluates a tree. What a single attribute does is in the Result; an error
// is that the tree cannot be loaded at all, or one of the machine or ctx. No process is
// left when it returns.
func Evaluate(ctx context.Context, tier Tier, options Options) (*Result, error) {
	o, err := options.prepare()
	if err != nil {
		return nil, err
	}
	if o.scratch, err = os.MkdirTemp("", "firn-eval-"); err != nil {
		return nil, err
	}
	defer os.RemoveAll(o.scratch)
	e := newEngine(o, tier)
	begin := time.Now()
	first, err := e.beginning(ctx)
	if err == nil {
		err = e.levels(ctx, first)
	}
	if err != nil {
		return nil, err
	}
	e.result.Elapsed = time.Since(begin)
	return e.result, nil
}

// prepare returns o with its defaults, checked.
func (o Options) prepare() (*Options, error) {
	tree, err := filepath.Abs(o.Tree)
	if err == nil {
		tree, err = filepath.EvalSymlinks(tree)
	}
	if err != nil {
		return nil, err
	}
	if _, err := os.Stat(filepath.Join(tree, "default.nix")); err != nil {
		return nil, fmt.Errorf("%s is no tree: %w", o.Tree, err)
	}
	o.Tree = tree
	if !tokenForm.MatchString(o.System) {
		return nil, fmt.Errorf("%.80q cannot be a system", o.System)
	}
	for _, attr := range slices.Concat(o.Attrs, []string{o.Root}) {
		if attr != "" && !ValidAttr(attr) {
			return nil, fmt.Errorf("%.80q is no attribute path", attr)
		}
	}
	if len(o.Nix) == 0 {
		o.Nix = []string{"nix-instantiate"}
	}
	o.setDefaults()
	return &o, nil
}

// engine evaluates one tier of a tree.
type engine struct {
	o    *Options
	tier Tier

	mu     sync.Mutex // guards what follows
	result *Result
	next   []item // of the level below
	alone  []item // what needs all the memory
	known  int
}

func newEngine(o *Options, tier Tier) *engine {
	return &engine{o: o, tier: tier, result: &Result{Attrs: make(map[string]Attribute), Failed: make(map[Kind]int), ended: make(map[string]string)}}
}

func split(attr string) []string {
	if attr == "" {
		return []string{}
	}
	return strings.Split(attr, ".")
}

// beginning loads the tree and returns the attributes to begin with.
func (e *engine) beginning(ctx context.Context) ([]item, error) {
	var set []string
	for loaded := false; !loaded; {
		end, err := e.one(ctx, []item{{Path: split(e.o.Root), Open: true}}, e.o.Memory, func(a answer) {
			if t, err := parseAnswer(a.text); err == nil {
				set = t.Set
			}
		})
		if err != nil {
			return nil, err
		}
		if loaded = end.why == finished; !loaded && !e.without(end.words) {
			words, _ := e.o.failure(end)
			return nil, fmt.Errorf("the tree %s cannot be loaded: %s", e.o.Tree, words)
		}
	}
	if set == nil {
		return nil, fmt.Errorf("the tree %s has no attribute set %q", e.o.Tree, e.o.Root)
	}
	if e.o.Attrs == nil && e.o.Root == "" {
		if items, err := e.superset(ctx); items != nil || err != nil {
			return items, err
		}
	}
	if e.o.Attrs == nil {
		return e.below(item{Path: split(e.o.Root)}, set), nil
	}
	var items []item
	for _, attr := range e.o.Attrs {
		items = append(items, item{Path: split(attr)})
	}
	return items, nil
}

// supersetFile is where a nixpkgs lists the attribute paths of everything that could be a
// package, those included that recurseForDerivations does not lead to.
const supersetFile = "pkgs/top-level/release-attrpaths-superset.nix"

// superset returns the paths of that list. There is none if the tree has no such file, or it
// does not evaluate.
func (e *engine) superset(ctx context.Context) ([]item, error) {
	if _, err := os.Stat(filepath.Join(e.o.Tree, filepath.FromSlash(supersetFile))); err != nil {
		return nil, nil //nolint:nilerr // then it is looked for in the sets themselves
	}
	var items []item
	_, err := e.one(ctx, []item{{Path: []string{}, Superset: supersetFile}}, e.o.Memory, func(a answer) {
		t, err := parseAnswer(a.text)
		if err != nil {
			return
		}
		for _, path := range t.Paths {
			if i := (item{Path: path}); len(path) > 0 && len(path) <= maxDepth && len(items) < MaxAttributes && ValidAttr(i.attr()) && len(split(i.attr())) == len(path) {
				items = append(items, i)
			} else {
				e.result.Skipped++
			}
		}
	})
	return items, err
}

// without leaves out the setting that the evaluator complains about, if there is one: some
// trees refuse what they do not know.
func (e *engine) without(words string) bool {
	i := slices.IndexFunc(e.o.settings, func(name string) bool {
		return strings.Contains(words, "'"+name+"'") || strings.Contains(words, "`"+name+"'")
	})
	if i < 0 {
		return false
	}
	e.o.settings = slices.Delete(slices.Clone(e.o.settings), i, i+1)
	return true
}

// below returns the attributes in a set, without those that no file can name.
func (e *engine) below(set item, names []string) []item {
	var items []item
	for _, name := range names {
		i := item{Path: append(slices.Clone(set.Path), name)}
		if strings.Contains(name, ".") || !ValidAttr(i.attr()) {
			e.result.Skipped++
			continue
		}
		items = append(items, i)
	}
	return items
}

// levels evaluates items, then what is in those that are sets, and so on. Each level is
// complete and sorted before the next begins: what is left out at the bound does not depend
// on who was faster.
func (e *engine) levels(ctx context.Context, items []item) error {
	for len(items) > 0 {
		slices.SortFunc(items, func(a, b item) int { return strings.Compare(a.attr(), b.attr()) })
		items = slices.CompactFunc(items, func(a, b item) bool { return a.attr() == b.attr() })
		e.known += len(items)
		e.next, e.alone = nil, nil
		if err := e.level(ctx, items); err != nil {
			return err
		}
		items = e.next
	}
	return nil
}

// level evaluates items: first what is likely to evaluate, then what ended an evaluator before, which takes
// with it what others need, and at last what needs all the memory.
func (e *engine) level(ctx context.Context, items []item) error {
	likely, suspect := []item{}, []item{}
	for _, i := range items {
		words, ended := e.o.ended[i.attr()]
		switch {
		case ended:
			e.fail(i, words, Crashed)
		case e.o.suspects[i.attr()]:
			suspect = append(suspect, i)
		default:
			likely = append(likely, i)
		}
	}
	budget := e.o.Memory / int64(e.o.Workers)
	if err := e.share(ctx, likely, 100, e.o.Workers, budget); err != nil {
		return err
	}
	if err := e.share(ctx, suspect, 1, e.o.Workers, budget); err != nil {
		return err
	}
	big := e.alone
	e.alone = nil
	return e.share(ctx, big, 100, 1, e.o.Memory)
}

// share divides items among workers, at least least to each part but the last.
func (e *engine) share(ctx context.Context, items []item, least, workers int, budget int64) error {
	parts := 2 * workers
	if workers == 1 {
		parts = 1 // nobody waits for the rest of another
	}
	n := min(max((len(items)+parts-1)/parts, least), 4000)
	queue := make(chan []item, len(items)/n+1)
	for part := range slices.Chunk(items, n) {
		queue <- part
	}
	close(queue)
	g, ctx := errgroup.WithContext(ctx)
	for range workers {
		g.Go(func() error {
			for part := range queue {
				if err := e.part(ctx, part, budget); err != nil {
					return err
				}
			}
			return nil
		})
	}
	return g.Wait()
}

// part evaluates items in one process after the other: each failure ends one, and the next
// goes on behind it.
func (e *engine) part(ctx context.Context, items []item, budget int64) error {
	for len(items) > 0 {
		end, err := e.one(ctx, items, budget, func(a answer) { e.take(items[a.at], a.text) })
		switch {
		case err != nil:
			return err
		case end.why == unloaded || end.at < 0 && end.next == 0 && end.why != finished:
			words, _ := e.o.failure(end)
			return fmt.Errorf("the tree %s cannot be loaded any more: %s", e.o.Tree, words)
		case end.why == finished && end.next < len(items):
			return errors.New("the evaluator left attributes out without a word")
		case end.at < 0: // between two attributes
			items = items[end.next:]
		case end.why == overMemory && end.at > 0:
			items = items[end.at:] // others may have taken it
		default:
			e.ended(items[end.at], end, budget)
			items = items[end.at+1:]
		}
	}
	return nil
}

// one runs one process.
func (e *engine) one(ctx context.Context, items []item, budget int64, got func(answer)) (end, error) {
	p, err := e.o.start(ctx, e.tier, items, budget)
	if err != nil {
		return end{}, err
	}
	defer close(p.quit)
	end, err := p.run(ctx, got)
	if err != nil {
		return end, err
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	e.result.Processes++
	e.result.Peak = max(e.result.Peak, end.peak)
	return end, e.about(end.about)
}

// ended records an attribute that ended its process. What did so before its tier was asked of it, by an
// error that does not depend on the machine or on what was evaluated before, does it in the other tier too.
func (e *engine) ended(i item, how end, budget int64) {
	words, kind := e.o.failure(how)
	e.mu.Lock()
	if how.why == overMemory && budget < e.o.Memory {
		e.alone = append(e.alone, i)
		e.mu.Unlock()
		return
	}
	if how.why == crashed && how.said && !how.past {
		e.result.ended[i.attr()] = words
	}
	e.mu.Unlock()
	e.fail(i, words, kind)
}

func (e *engine) fail(i item, words string, kind Kind) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.failed(i, words, kind)
	e.count()
}

func (e *engine) failed(i item, words string, kind Kind) {
	e.result.Attrs[i.attr()] = Attribute{Attr: i.attr(), Error: words}
	e.result.Failed[kind]++
}

func (e *engine) count() {
	e.result.Evaluated++
	if e.o.Progress != nil {
		e.o.Progress(e.tier, e.result.Evaluated, e.known)
	}
}

// take records the answer about one attribute.
func (e *engine) take(i item, text []byte) {
	t, err := parseAnswer(text)
	e.mu.Lock()
	defer e.mu.Unlock()
	defer e.count()
	switch {
	case err != nil:
		e.failed(i, clean(err.Error(), maxError), Invalid)
	case t.Throws:
		e.failed(i, saysThrows, Throws)
	case t.Pkg != nil:
		a := e.o.attribute(i.attr(), e.tier, t.Pkg)
		if a.Error != "" {
			e.failed(i, a.Error, Invalid)
			return
		}
		e.result.Attrs[a.Attr] = a
	case t.Set != nil:
		e.descend(i, t.Set)
	}
}

func (e *engine) descend(i item, names []string) {
	items := e.below(i, names)
	switch {
	case len(i.Path) >= maxDepth:
		e.failed(i, saysDeep, Nested)
	case e.known+len(e.next)+len(items) > MaxAttributes:
		e.failed(i, saysMany, Nested)
	default:
		e.next = append(e.next, items...)
	}
}
