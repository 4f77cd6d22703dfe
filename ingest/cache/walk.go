package cache

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/firn-log/firn/ingest/send"
	"github.com/firn-log/firn/internal/bincache"
	"github.com/firn-log/firn/internal/nix"
	"github.com/firn-log/firn/log"
	"github.com/firn-log/firn/log/statement"
)

// ask reads one narinfo, and verifies all that is signed in it.
func (r *run) ask(ctx context.Context, t task) answer {
	a := answer{task: t}
	a.info, a.err = r.c.NarInfo(ctx, t.part)
	if a.err != nil {
		return a
	}
	if t.named {
		if want := r.st.text(t.path); a.info.Path.String() != want {
			a.err = &bincache.LieError{What: fmt.Sprintf("the cache answered about %s", a.info.Path.Base())}
			return a
		}
	}
	a.verified = r.o.Keys.claimsOf(a.info)
	if r.o.CheckNars && len(a.claims) > 0 {
		a.nar = r.c.CheckNar(ctx, a.info)
	}
	return a
}

// walk asks for every path in the closures once, and hands on what is to be sent.
func (r *run) walk(ctx context.Context, tasks chan<- task, answers <-chan answer, items chan<- send.Item) error {
	asked := 0
	next, more := r.next()
	for more || asked > 0 {
		to := tasks
		if !more {
			to = nil
		}
		select {
		case to <- next:
			asked++
			next, more = r.next()
		case a := <-answers:
			asked--
			if err := r.take(ctx, a, items); err != nil {
				return err
			}
			if !more {
				next, more = r.next()
			}
			if r.o.Progress != nil {
				r.mu.Lock()
				r.o.Progress(r.sum, len(r.stack)+asked)
				r.mu.Unlock()
			}
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
	return nil
}

// next returns a path that has to be asked for; those that are known are walked
// through.
func (r *run) next() (task, bool) {
	for len(r.stack) > 0 {
		t := r.stack[len(r.stack)-1]
		r.stack = r.stack[:len(r.stack)-1]
		if !t.named {
			return t, true
		}
		if info, ok := r.known(t.path); ok {
			r.mu.Lock()
			r.sum.Paths++
			r.sum.Known++
			r.mu.Unlock()
			r.follow(t.path, info.refs)
			continue
		}
		if t.part == "" {
			t.part = hashPart(r.st.text(t.path))
		}
		return t, true
	}
	return task{}, false
}

// hashPart returns the hash part of the text of a store path.
func hashPart(path string) string {
	base := path[strings.LastIndexByte(path, '/')+1:]
	return base[:nix.HashPartLen]
}

// known returns what an earlier run has brought about a path, unless there is
// something to look for again: a signature by a key that is listed now.
func (r *run) known(path uint64) (pathInfo, bool) {
	info, ok := r.st.info(r.cache, path)
	if !ok || r.o.Recheck {
		return info, false
	}
	for _, k := range info.other {
		if len(r.o.Keys[r.st.name(k)]) > 0 {
			return info, false
		}
	}
	return info, true
}

// follow puts the references of a path on the stack that were not there yet.
func (r *run) follow(path uint64, refs []uint64) {
	for _, ref := range slices.Backward(refs) {
		if !r.visited[ref] && (r.parts == nil || !r.parts[hashPart(r.st.text(ref))]) {
			r.visited[ref] = true
			r.stack = append(r.stack, task{path: ref, named: true, from: path})
		}
	}
}

// take judges an answer, and hands on what is to be sent.
func (r *run) take(ctx context.Context, a answer, items chan<- send.Item) error {
	if a.err != nil {
		return r.failed(ctx, a)
	}
	path := r.st.path(a.info.Path)
	r.visited[path] = true
	p := &pending{path: path}
	r.doubt(&a)
	p.good = len(a.problems) == 0 && a.nar == nil
	for _, ref := range a.info.References {
		p.info.refs = append(p.info.refs, r.st.path(ref))
	}
	for _, name := range a.unlisted {
		p.info.other = append(p.info.other, r.st.key(keyRef{name: name}))
	}
	r.follow(path, p.info.refs)
	list := r.statements(&a, p)
	if r.o.Observer != nil && len(a.claims) > 0 {
		s, err := r.observed(ctx, a.info, path)
		if err != nil {
			return err
		}
		list = append(list, &sent{of: p, body: s})
	}
	r.mu.Lock()
	r.count(&a)
	p.left = len(list)
	if p.left == 0 {
		r.done(p)
	}
	r.mu.Unlock()
	for _, s := range list {
		select {
		case items <- send.Item{Leaf: s.body.Leaf(), Blobs: s.blobs, Of: s}:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
	return nil
}

// Bounds of what a run takes in that no listed key has signed: a cache could make it up
// without end.
const (
	maxHearsay = 250_000 // paths
	maxNames   = 1000    // names of keys that are not listed
)

// doubt cuts off what is beyond those bounds, and says so.
func (r *run) doubt(a *answer) {
	fresh := slices.ContainsFunc(a.unlisted, func(name string) bool { return !r.names[name] })
	if fresh && len(r.names)+len(a.unlisted) > r.o.mostNames {
		a.unlisted = nil
		a.problems = append(a.problems, Problem{Failed, a.info.Path.String(), fmt.Sprintf("the cache names more than %d keys that are not listed; no more are counted", r.o.mostNames)})
	}
	for _, name := range a.unlisted {
		r.names[name] = true
	}
	if len(a.claims) > 0 {
		return
	}
	unknown := 0
	for _, ref := range a.info.References {
		if !r.st.knows(ref) {
			unknown++
		}
	}
	if r.hearsay+unknown > r.o.mostHearsay {
		a.info.References, unknown = nil, 0
		a.problems = append(a.problems, Problem{Failed, a.info.Path.String(), fmt.Sprintf("its references are not followed: without a signature by a listed key the cache has named %d paths in this run", r.hearsay)})
	}
	r.hearsay += unknown
}

// count adds an answer to the summary. r.mu is held.
func (r *run) count(a *answer) {
	r.sum.Paths++
	r.sum.Fetched++
	if len(a.claims) == 0 {
		r.sum.NoSignature++
	}
	for _, name := range a.unlisted {
		r.sum.Unlisted[name]++
	}
	for _, p := range a.problems {
		r.problem(p)
	}
	if a.nar != nil {
		p := Problem{Failed, a.info.Path.String(), a.nar.Error()}
		if errors.Is(a.nar, bincache.ErrNar) {
			p.Trouble = Lie
		}
		r.problem(p)
	}
}

// problem notes and tells. r.mu is held.
func (r *run) problem(p Problem) {
	r.sum.add(p)
	if r.o.OnProblem != nil {
		r.o.OnProblem(p)
	}
}

// failed notes what became of a path that gave no narinfo. An error ends the run.
func (r *run) failed(ctx context.Context, a answer) error {
	var stop *bincache.StopError
	if errors.As(a.err, &stop) {
		return a.err
	}
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	p := Problem{Failed, a.part, a.err.Error()}
	if a.named {
		p.Path = r.st.text(a.path)
	}
	var lie *bincache.LieError
	switch {
	case errors.As(a.err, &lie):
		p.Trouble = Lie
	case errors.Is(a.err, bincache.ErrMissing) && a.root && r.o.MissingRoots:
		p.Trouble = Missing
	case errors.Is(a.err, bincache.ErrMissing) && !a.root:
		p.Trouble, p.What = Missing, fmt.Sprintf("the cache does not have it, and %s refers to it", r.st.text(a.from))
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.sum.Paths++
	r.problem(p)
	return nil
}

// statements returns the claims of an answer that the log has not acknowledged
// yet, and tells of keys that contradict themselves.
func (r *run) statements(a *answer, p *pending) []*sent {
	r.mu.Lock()
	defer r.mu.Unlock()
	var list []*sent
	for i := range a.claims {
		c := &a.claims[i]
		s := &sent{of: p, claim: c, body: c.statement, as: signed{a.info.NarHash, a.info.NarSize, c.statement.ID()}}
		before := r.st.signedBy(p.path, r.st.key(c.key))
		if slices.ContainsFunc(before, func(b signed) bool { return b.id == s.as.id }) {
			continue
		}
		for _, b := range before {
			if b.hash != s.as.hash || b.size != s.as.size {
				r.problem(Problem{Contradiction, a.info.Path.String(), fmt.Sprintf(
					"the key %s contradicts itself: it signed %v, %d bytes, before, and %v, %d bytes, now", c.key.name, b.hash, b.size, s.as.hash, s.as.size)})
				break
			}
		}
		if r.refused[c.key] {
			p.good = false
			r.problem(Problem{SetAside, a.info.Path.String(), "the log takes no statement by " + c.key.name})
			continue
		}
		if c.statement.Body.(*statement.CacheSig).RefsDigest != nil {
			s.blobs = [][]byte{statement.PathsBlob(a.info.References)}
		}
		list = append(list, s)
	}
	return list
}

// observed makes the importer's own statement about what it saw. The time is that
// of the first try, so that a run that was interrupted makes the same statement
// again.
func (r *run) observed(ctx context.Context, info *nix.NarInfo, path uint64) (*statement.Statement, error) {
	seen := r.st.seenAt(r.cache, path, uint64(time.Now().Unix()))
	if err := r.st.Write(); err != nil {
		return nil, err
	}
	o := &statement.Observed{
		StoreDir: info.Path.Dir(), Path: info.Path, NarHash: info.NarHash, NarSize: info.NarSize, Cache: r.c.BareURL(), Seen: seen,
	}
	if info.Deriver.IsDerivation() {
		o.Deriver = &info.Deriver
	}
	return statement.Sign(ctx, r.o.Observer, o, "", nil)
}

// report takes the log's answer about one statement.
func (r *run) report(item send.Item, res log.Submitted) {
	s := item.Of.(*sent)
	r.mu.Lock()
	defer r.mu.Unlock()
	if res.Status == log.Rejected {
		r.rejected(s, &res)
	} else {
		if res.Status == log.Duplicate {
			r.sum.Duplicates++
		} else {
			r.sum.Accepted++
		}
		if s.claim != nil {
			r.st.noteSigned(s.of.path, r.st.key(s.claim.key), s.as)
		}
		if r.newest == nil || res.Index >= r.at {
			r.newest, r.at = s, res.Index
		}
	}
	if s.of.left--; s.of.left == 0 {
		r.done(s.of)
	}
}

// codesOfKeys are rejections that all statements by a key share.
var codesOfKeys = []string{"unlisted-cache", "wrong-cache-name"}

// rejected notes that the log does not take a statement. r.mu is held.
func (r *run) rejected(s *sent, res *log.Submitted) {
	s.of.good = false
	what := fmt.Sprintf("the log rejects a statement: %s: %s", res.Code, res.Message)
	if s.claim != nil && slices.Contains(codesOfKeys, res.Code) {
		if !r.refused[s.claim.key] {
			r.refused[s.claim.key] = true
			r.last = &RefusedError{res.Code, res.Message}
		}
		what = fmt.Sprintf("the log takes no statement by %s: %s", s.claim.key.name, res.Message)
	}
	r.problem(Problem{Rejected, r.st.text(s.of.path), what})
	listed := 0
	for _, keys := range r.o.Keys {
		listed += len(keys)
	}
	if len(r.refused) == listed {
		r.stop(r.last)
	}
}

// done keeps that everything about a path is in the log, and from time to time
// makes that durable. r.mu is held.
func (r *run) done(p *pending) {
	if old, ok := r.st.info(r.cache, p.path); p.good && !(ok && slices.Equal(old.refs, p.info.refs) && slices.Equal(old.other, p.info.other)) {
		r.st.noteInfo(r.cache, p.path, p.info)
	}
	if now := time.Now(); r.st.full() || now.Sub(r.synced) >= time.Second {
		r.synced = now
		if err := r.st.Sync(); err != nil {
			r.stop(err)
		}
	}
}

// prove waits until the newest statement of the run is proven to be in the log.
func (r *run) prove(ctx context.Context) (err error) {
	if r.newest != nil {
		r.sum.Proven, err = r.o.Log.Prove(ctx, r.newest.body)
	}
	return err
}
