package eval

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/firn-log/firn/internal/durable"
)

// A Change says which revision of a channel is evaluated, and how.
type Change struct {
	Channel  string
	Tier     Tier
	Revision string    // "" is one that says what the tree holds
	Time     time.Time // of the revision; it is made not to lie before that of the last
	// Full evaluates everything and adds a full file, also of a revision that has been
	// evaluated.
	Full bool
	// Beside is what Update reported of the other tier just now, or nil. If it was of the same content and
	// options, what ended the evaluator before a tier was asked is not tried again
	// (spec/tracker.md#what-is-evaluated-again).
	Beside *Report
}

// A Report says what an update did.
type Report struct {
	Tier      Tier
	File      *File // nil if the revision was evaluated before
	Header    Header
	Digest    string // of the file, which the next names as its base
	Attrs     int    // attributes of the channel
	Drvs      []string
	Failed    int // attributes that do not evaluate
	Lines     int // of the file, without its header
	Evaluated int // attributes that were asked for
	// Whole says that everything was evaluated, Why because of what.
	Whole bool
	Why   string
	// Missed counts attributes that changed although the files that changed would not have had
	// them evaluated; -1 if that is not known. It is for whole evaluations of metadata.
	Missed int
	Result *Result // nil if nothing was evaluated

	of string // names what was evaluated, and with what
}

// Update evaluates one tier of a tree and adds the file that comes of it to f. It evaluates
// what the files that changed since the last time can have changed, and everything if that is
// not known (spec/tracker.md#what-is-evaluated-again).
func (f *Folder) Update(ctx context.Context, c Change, options Options) (*Report, error) {
	if err := CheckChannel(c.Channel); err != nil {
		return nil, err
	}
	o, err := options.prepare()
	if err != nil {
		return nil, err
	}
	if err := durable.MkdirAll(f.dir, 0o755); err != nil {
		return nil, err
	}
	lock, err := durable.Acquire(filepath.Join(f.dir, c.Channel+".lock"))
	if err != nil {
		return nil, fmt.Errorf("the channel %s is being evaluated: %w", c.Channel, err)
	}
	defer lock.Unlock() //nolint:errcheck // the process's end does the same
	u := &update{f: f, o: o, c: c, r: &Report{Tier: c.Tier, Missed: -1}}
	if u.before, err = f.State(c.Channel, c.Tier); err != nil && !c.Full {
		return nil, err
	}
	if u.tree, err = contents(o.Tree); err != nil {
		return nil, err
	}
	if err := u.head(); err != nil {
		return nil, err
	}
	if u.before != nil && !c.Full && u.before.Header.Revision == u.r.Header.Revision && u.before.Header.System == o.System {
		u.r.Header, u.r.Digest = u.before.Header, u.before.Digest
		u.tell(u.before.Attrs)
		return u.r, nil
	}
	return u.r, u.run(ctx)
}

// update is the work of Update.
type update struct {
	f      *Folder
	o      *Options
	c      Change
	r      *Report
	before *State // nil at first
	tree   map[string]string
}

// scope names what an evaluation depends on beside its tree.
func (u *update) scope() (string, error) {
	b, err := json.Marshal([]any{streamNix, u.o.System, u.o.Root, u.o.Attrs, u.o.Aliases, u.o.Allow})
	if err != nil {
		return "", err
	}
	allowed := ""
	for _, dir := range u.o.Allow {
		files, err := contents(dir)
		if err != nil {
			return "", err
		}
		allowed += treeDigest(files)
	}
	return digestOf([]byte(string(b) + allowed)), nil
}

// head makes the header of the file that is to be added.
func (u *update) head() error {
	h := Header{Schema: Schema, Channel: u.c.Channel, Tier: u.c.Tier, Revision: u.c.Revision, Time: u.c.Time.UTC().Truncate(time.Second), System: u.o.System}
	if h.Revision == "" {
		h.Revision = "tree-" + treeDigest(u.tree)
	}
	files, err := u.f.Files(u.c.Channel, "")
	if err != nil {
		return err
	}
	last, own := int64(0), int64(0)
	shared := Header{}
	for _, file := range files {
		var other Header
		if err := file.open(func(r *Reader) error { other = r.Header(); return nil }); err != nil {
			return err
		}
		last = max(last, file.Seq)
		switch {
		case other.Tier == h.Tier:
			own = file.Seq
		case other.Revision == h.Revision:
			shared = other
		}
		if other.Time.After(h.Time) {
			h.Time = other.Time
		}
	}
	h.Seq = last + 1
	if shared.Seq > own { // the other tier of this revision is there, and this one is not
		h.Seq, h.Time = shared.Seq, shared.Time
	}
	u.r.Header = h
	return h.checkBut()
}

// checkBut is Check of a header whose base is not known yet.
func (h Header) checkBut() error {
	h.Full, h.Base = true, ""
	return h.Check()
}

// plan returns the attributes to evaluate, nil for all, and what the files that changed say.
func (u *update) plan(scope string) (attrs, say []string, err error) {
	if u.before == nil {
		u.r.Whole, u.r.Why = true, "it is the first evaluation"
		return nil, nil, nil
	}
	m, err := u.f.manifest(u.c.Channel, u.c.Tier)
	switch {
	case err != nil:
		return nil, nil, err
	case m == nil || m.Last != u.before.Digest:
		u.r.Whole, u.r.Why = true, "what the last tree held is not known"
	case m.Scope != scope:
		u.r.Whole, u.r.Why = true, "what is evaluated, or the evaluator, is not what it was"
	default:
		files := changed(m.Files, u.tree)
		var unknown string
		if attrs, unknown = affected(u.before.Attrs, files); unknown != "" {
			u.r.Whole, u.r.Why = true, unknown+" changed"
		} else {
			say = u.scoped(attrs)
		}
		first := slices.IndexFunc(files, func(f string) bool { return !within(f, aside) })
		switch {
		case first < 0:
			say, u.r.Whole = []string{}, false
		case u.c.Tier == Drvs && !u.r.Whole:
			// A derivation also changes with those that it is made of.
			u.r.Whole, u.r.Why, say = true, files[first]+" changed", nil
		}
	}
	if u.c.Full {
		u.r.Whole, u.r.Why = true, "--full"
	}
	if u.r.Whole {
		return nil, say, nil
	}
	return say, say, nil
}

// scoped returns those of attrs that this evaluation is about.
func (u *update) scoped(attrs []string) []string {
	in := make(map[string]bool)
	for _, a := range u.o.Attrs {
		in[a] = true
	}
	return slices.DeleteFunc(slices.Clone(attrs), func(a string) bool {
		return u.o.Attrs != nil && !covers(in, a) || u.o.Root != "" && !strings.HasPrefix(a, u.o.Root+".")
	})
}

func (u *update) run(ctx context.Context) error {
	scope, err := u.scope()
	if err != nil {
		return err
	}
	u.r.of = digestOf([]byte(scope + treeDigest(u.tree) + strings.Join(u.o.Nix, " ")))
	attrs, say, err := u.plan(scope)
	if err != nil {
		return err
	}
	after := map[string]Attribute{}
	for ask := attrs; u.r.Whole || len(ask) > 0; {
		found, err := u.evaluate(ctx, ask)
		if err != nil {
			return err
		}
		maps.Copy(after, found)
		if u.r.Whole {
			break
		}
		ask = namedAfter(u.before.Attrs, found, attrs)
		attrs = append(attrs, ask...)
	}
	if u.before != nil && !u.r.Whole {
		after = merge(u.before.Attrs, attrs, after)
	}
	if u.before != nil && u.r.Whole && say != nil && u.c.Tier == Meta {
		u.r.Missed = missed(delta(u.before.Attrs, after), say)
	}
	return u.add(after, scope)
}

// evaluate evaluates attrs, nil for all, and adds what it took to the report.
func (u *update) evaluate(ctx context.Context, attrs []string) (map[string]Attribute, error) {
	o := *u.o
	o.suspects = u.suspects()
	if b := u.c.Beside; b != nil && b.Result != nil && b.of == u.r.of {
		o.ended = b.Result.ended
	}
	if !u.r.Whole {
		o.Attrs = attrs
	}
	r, err := Evaluate(ctx, u.c.Tier, o)
	if err != nil {
		return nil, err
	}
	found := r.Attrs
	u.r.Evaluated += r.Evaluated
	if last := u.r.Result; last != nil {
		r.Evaluated, r.Processes, r.Skipped = r.Evaluated+last.Evaluated, r.Processes+last.Processes, r.Skipped+last.Skipped
		r.Elapsed, r.Peak = r.Elapsed+last.Elapsed, max(r.Peak, last.Peak)
		for kind, n := range last.Failed {
			r.Failed[kind] += n
		}
		maps.Copy(r.ended, last.ended)
	}
	u.r.Result = r
	return found, nil
}

// suspects returns what ended an evaluator the last time, in either tier. It is only a help: a tier
// that cannot be read says nothing.
func (u *update) suspects() map[string]bool {
	set := make(map[string]bool)
	for _, tier := range []Tier{Meta, Drvs} {
		s := u.before
		if tier != u.c.Tier {
			s, _ = u.f.State(u.c.Channel, tier) //nolint:errcheck // as above
		}
		if s == nil {
			continue
		}
		for attr, a := range s.Attrs {
			if a.Error != "" && a.Error != saysThrows {
				set[attr] = true
			}
		}
	}
	return set
}

// missed counts what changed without being among what was to be evaluated.
func missed(d map[string]Attribute, say []string) int {
	asked := make(map[string]bool)
	for _, a := range say {
		asked[a] = true
	}
	n := 0
	for attr := range d {
		if !covers(asked, attr) {
			n++
		}
	}
	return n
}

// add writes the file and what the tree held.
func (u *update) add(after map[string]Attribute, scope string) error {
	lines := after
	h := &u.r.Header
	if h.Full = u.c.Full || u.before == nil; !h.Full {
		d := delta(u.before.Attrs, after)
		if h.Full = len(d) > len(after)/2+16; !h.Full {
			lines, h.Base = d, u.before.Digest
		}
	}
	u.r.Lines = len(lines)
	u.tell(after)
	file, digest, err := u.f.Add(*h, lines)
	if err != nil {
		return err
	}
	u.r.File, u.r.Digest = &file, digest
	if err := u.f.writeManifest(u.c.Channel, u.c.Tier, &manifest{scope, digest, u.tree}); err != nil {
		return fmt.Errorf("%s is written, and what the tree held is not: %w", filepath.Base(file.Path), err)
	}
	return nil
}

// tell counts what the channel holds now.
func (u *update) tell(attrs map[string]Attribute) {
	u.r.Attrs = len(attrs)
	drvs := make(map[string]bool)
	for _, a := range attrs {
		if a.Error != "" {
			u.r.Failed++
		}
		if a.Drv != "" && !drvs[a.Drv] {
			drvs[a.Drv] = true
			u.r.Drvs = append(u.r.Drvs, a.Drv)
		}
	}
	slices.Sort(u.r.Drvs)
}
