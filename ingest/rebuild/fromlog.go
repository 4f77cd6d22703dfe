package rebuild

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"slices"
	"strings"

	"github.com/firn-log/firn/internal/durable"
	"github.com/firn-log/firn/internal/nix"
	"github.com/firn-log/firn/log"
	"github.com/firn-log/firn/log/index"
	"github.com/firn-log/firn/log/statement"
	"github.com/firn-log/firn/verify"
)

// Offer is what operators asked for, by eval and closure statements
// (spec/rebuild.md#what-is-rebuilt).
type Offer struct {
	lists []offered // the newest of an operator's key first
	// Statements is how many there are; Passed has a sentence for each that could not be
	// used, of those that [Rebuilder.Take] has come to.
	Statements int
	Passed     []string
}

// offered is what one statement asks for: derivations or outputs.
type offered struct {
	index  uint64
	paths  []nix.StorePath // nil if the list is not in the statement
	digest nix.Hash
}

// maxList bounds the list of a statement, in bytes.
const maxList = statement.MaxBlob

// Offered asks a log what operators ask for. Everything that the answer rests on is
// proven. An operator that the log does not know is an error, as is an answer that may
// not be whole.
func Offered(ctx context.Context, c *log.Client, operators []statement.ID) (*Offer, error) {
	if len(operators) == 0 {
		return nil, errors.New("work-from names nobody: nothing that a log offers is rebuilt")
	}
	o := new(Offer)
	for _, id := range operators {
		who, err := verify.FindSpeaker(ctx, c, id)
		if err != nil {
			return nil, fmt.Errorf("asking about operator %s: %w", id, err)
		}
		if who == nil {
			return nil, fmt.Errorf("the log does not know operator %s of work-from", id)
		}
		for _, key := range sortedKeys(who) {
			if err := o.read(ctx, c, who, key); err != nil {
				return nil, err
			}
		}
	}
	return o, nil
}

func sortedKeys(who *verify.Speaker) []statement.KeyID {
	keys := make([]statement.KeyID, 0, len(who.Keys))
	for k := range who.Keys {
		keys = append(keys, k)
	}
	slices.SortFunc(keys, func(a, b statement.KeyID) int { return slices.Compare(a[:], b[:]) })
	return keys
}

// read takes in what one key asked for.
func (o *Offer) read(ctx context.Context, c *log.Client, who *verify.Speaker, key statement.KeyID) error {
	k := index.Key(key)
	a, err := c.Lookup(ctx, log.Query{Keys: []string{k}, Signers: []statement.KeyID{key}})
	if err != nil {
		return err
	}
	for _, f := range slices.Backward(a.Of(k)) {
		if f.Leaf == nil || !who.Counts(f.Leaf.Statement, f.Index) {
			continue
		}
		var paths []nix.StorePath
		var digest nix.Hash
		var dir nix.StoreDir
		switch b := f.Leaf.Statement.Body.(type) {
		case *statement.Eval:
			paths, digest, dir = b.Drvs, b.Digest, b.StoreDir
		case *statement.Closure:
			paths, digest, dir = b.Paths, b.Digest, b.StoreDir
		default:
			continue
		}
		o.Statements++
		if dir != nix.DefaultStoreDir {
			o.pass(f.Index, fmt.Errorf("it is about the store %s", dir))
			continue
		}
		o.lists = append(o.lists, offered{f.Index, paths, digest})
	}
	return nil
}

func (o *Offer) pass(index uint64, err error) {
	o.Passed = append(o.Passed, fmt.Sprintf("entry %d is passed over: %v", index, err))
}

// fetchList gets a list that a statement names by its digest.
func fetchList(ctx context.Context, c *log.Client, digest nix.Hash) ([]nix.StorePath, error) {
	b, err := c.Blob(ctx, digest, maxList)
	if err != nil {
		return nil, fmt.Errorf("its list: %w", err)
	}
	var paths []nix.StorePath
	for line := range strings.Lines(string(b)) {
		p, err := nix.DefaultStoreDir.FromBase(strings.TrimSuffix(line, "\n"))
		if err != nil {
			return nil, fmt.Errorf("its list: %w", err)
		}
		paths = append(paths, p)
	}
	if statement.PathsDigest(paths) != digest {
		return nil, errors.New("its list does not have its digest")
	}
	return paths, nil
}

// UnvouchedError says that nobody asked for a derivation.
type UnvouchedError struct{ Drv nix.StorePath }

func (e *UnvouchedError) Error() string {
	return fmt.Sprintf("%s is not in the closure of anything that an operator of work-from asked for", e.Drv)
}

// Take returns the work that is taken of an offer: at most n derivations that are not
// done yet, in random order; or, if only is not empty, exactly those, each of which must
// be in the offer (*UnvouchedError). Derivations that the store does not have come
// from the log c.
func (r *Rebuilder) Take(ctx context.Context, c *log.Client, o *Offer, only []nix.StorePath, n int) ([]nix.StorePath, error) {
	work := &taking{r: r, c: c, seen: make(map[nix.StorePath]bool), whole: make(map[nix.StorePath]bool)}
	if len(only) > 0 {
		n = -1 // the whole offer, which only is looked up in
	}
	for _, list := range o.lists {
		if n >= 0 && len(work.taken) >= n || n < 0 && work.saw(only) {
			break
		}
		if err := work.addList(ctx, o, &list, n); err != nil {
			return nil, err
		}
	}
	for _, p := range only {
		if !work.seen[p] {
			return nil, &UnvouchedError{p}
		}
	}
	if len(only) > 0 {
		return only, nil
	}
	rand.Shuffle(len(work.taken), func(i, j int) { work.taken[i], work.taken[j] = work.taken[j], work.taken[i] })
	return work.taken, nil
}

// taking walks through an offer.
type taking struct {
	r     *Rebuilder
	c     *log.Client
	seen  map[nix.StorePath]bool
	whole map[nix.StorePath]bool // is here with everything that it depends on
	taken []nix.StorePath
}

// saw reports whether all paths are in what was walked through.
func (t *taking) saw(paths []nix.StorePath) bool {
	return !slices.ContainsFunc(paths, func(p nix.StorePath) bool { return !t.seen[p] })
}

// addList takes what one statement asks for, until there are n. Its list is fetched only
// now: an operator may have stated thousands.
func (t *taking) addList(ctx context.Context, o *Offer, list *offered, n int) error {
	paths := list.paths
	if paths == nil {
		var err error
		if paths, err = fetchList(ctx, t.c, list.digest); err != nil {
			if ctx.Err() != nil {
				return context.Cause(ctx)
			}
			o.pass(list.index, err)
			return nil
		}
	}
	for _, p := range paths {
		if n >= 0 && len(t.taken) >= n {
			return nil
		}
		if err := t.add(ctx, p, n); err != nil {
			return err
		}
	}
	return nil
}

// add takes what is in the closure of p, until there are n; -1 is all.
func (t *taking) add(ctx context.Context, p nix.StorePath, n int) error {
	todo := []nix.StorePath{p}
	if !p.IsDerivation() {
		drv, err := t.r.deriver(ctx, &nix.PathInfo{Path: p})
		if err != nil || drv.IsZero() {
			return err
		}
		todo[0] = drv
	}
	for len(todo) > 0 && (n < 0 || len(t.taken) < n) {
		p, todo = todo[0], todo[1:]
		if t.seen[p] {
			continue
		}
		t.seen[p] = true
		d, err := t.load(ctx, p)
		if errors.Is(err, fs.ErrNotExist) || errors.Is(err, log.ErrNotFound) {
			continue // neither here nor in the log: somebody else may have it
		}
		if err != nil {
			return err
		}
		for _, in := range d.InputDrvs {
			todo = append(todo, in.Path)
		}
		if err := t.take(ctx, p, d); err != nil {
			return err
		}
	}
	return nil
}

// take takes p if there is something to do about it that can be done.
func (t *taking) take(ctx context.Context, p nix.StorePath, d *nix.Derivation) error {
	if d.Kind() == nix.FloatingCA || d.Kind() == nix.Deferred || d.Kind() == nix.Fixed && !t.r.conf.FOD {
		return nil
	}
	if rec, err := t.r.doneBefore(p); err != nil || rec != nil {
		return err
	}
	err := t.complete(ctx, p)
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, log.ErrNotFound) {
		return nil
	}
	if err == nil {
		t.taken = append(t.taken, p)
	}
	return err
}

// complete makes sure that everything is here that p depends on, without which its
// output paths could not be checked.
func (t *taking) complete(ctx context.Context, p nix.StorePath) error {
	var walked []nix.StorePath
	for todo := []nix.StorePath{p}; len(todo) > 0; {
		p, todo = todo[0], todo[1:]
		if t.whole[p] {
			continue
		}
		d, err := t.load(ctx, p)
		if err != nil {
			for _, p := range walked { // each may depend on the one that is missing
				delete(t.whole, p)
			}
			return err
		}
		t.whole[p] = true
		walked = append(walked, p)
		for _, in := range d.InputDrvs {
			todo = append(todo, in.Path)
		}
	}
	return nil
}

// load reads a derivation, from the log if need be.
func (t *taking) load(ctx context.Context, p nix.StorePath) (*nix.Derivation, error) {
	d, err := t.r.drvs.load(p)
	if !errors.Is(err, fs.ErrNotExist) {
		return d, err
	}
	text, err := fetchDrv(ctx, t.c, p)
	if err != nil {
		return nil, err
	}
	if err := durable.WriteFile(t.r.work(drvsDir, p.Base()), text, 0o644); err != nil {
		return nil, err
	}
	return t.r.drvs.load(p)
}

// maxWrong bounds what is read of other texts than that of a derivation, in bytes:
// anybody may name one.
const maxWrong = 4 * maxList

// fetchDrv gets the text of a derivation that some statement in the log names by its
// hash. It does not matter whose that is: the text must have the path.
func fetchDrv(ctx context.Context, c *log.Client, p nix.StorePath) ([]byte, error) {
	key := index.Drv(p)
	a, err := c.Lookup(ctx, log.Query{Keys: []string{key}})
	if err != nil {
		return nil, err
	}
	tried := make(map[nix.Hash]bool)
	left := int64(maxWrong)
	for _, f := range a.Of(key) {
		var hash nix.Hash
		if f.Leaf == nil {
			continue
		}
		switch b := f.Leaf.Statement.Body.(type) {
		case *statement.Build:
			hash = b.DrvHash
		case *statement.BuildFailed:
			hash = b.DrvHash
		default:
			continue
		}
		if tried[hash] {
			continue
		}
		tried[hash] = true
		if left <= 0 {
			break
		}
		text, err := c.Blob(ctx, hash, maxList)
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		if err != nil {
			continue
		}
		if _, err := parseDrv(p, text); err == nil {
			return text, nil
		}
		left -= int64(len(text))
	}
	return nil, fmt.Errorf("the text of %s: %w", p, log.ErrNotFound)
}

// Claimed returns what a log proves that others claim about paths: for Options.Claims.
func Claimed(c *log.Client) func(context.Context, []nix.StorePath) (map[nix.StorePath][]Reference, error) {
	return func(ctx context.Context, paths []nix.StorePath) (map[nix.StorePath][]Reference, error) {
		keys := make([]string, len(paths))
		for i, p := range paths {
			keys[i] = index.Out(p)
		}
		a, err := c.Lookup(ctx, log.Query{Keys: keys})
		if err != nil {
			return nil, err
		}
		found := make(map[nix.StorePath][]Reference)
		for i, p := range paths {
			for _, f := range a.Of(keys[i]) {
				if f.Leaf == nil {
					continue
				}
				from := fmt.Sprintf("key %x, entry %d", f.Signer[:6], f.Index)
				switch b := f.Leaf.Statement.Body.(type) {
				case *statement.Build:
					for _, o := range b.Outputs {
						if o.Path == p {
							found[p] = append(found[p], Reference{from, o.NarHash, o.NarSize})
						}
					}
				case *statement.CacheSig:
					found[p] = append(found[p], Reference{from, b.NarHash, b.NarSize})
				}
			}
		}
		return found, nil
	}
}
