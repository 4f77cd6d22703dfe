package verify

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/firn-log/firn/log"
	"github.com/firn-log/firn/log/index"
)

// maxBundleKeys bounds the keys of people in a bundle: a log could lead from one to
// the next without an end.
const maxBundleKeys = 200_000

// A BundleLog is a log that a bundle is made of.
type BundleLog struct {
	Name     string
	Required bool // without it there is no bundle
	Client   *log.Client
}

// RecordBundle asks logs for everything that a verdict about subjects may need under any
// policy, and under pol in particular, which may be nil: what is claimed about them, and what
// is said about everybody who claims something, and about everybody who speaks about
// these (spec/bundle.md#what-is-in-it). Optional logs that do not answer are left out, with a
// sentence each.
func RecordBundle(ctx context.Context, logs []BundleLog, subjects []Subject, pol *Policy) (*log.Bundle, []string, error) {
	v := &verification{subjects: subjects}
	r := &recording{logs: logs, bundle: new(log.Bundle), asked: make(map[string]bool)}
	claims := v.keys()
	if err := r.each(func(l BundleLog) ([]*log.Answers, error) {
		a, err := l.Client.Record(ctx, r.bundle, claims)
		return []*log.Answers{a}, err
	}); err != nil {
		return nil, nil, err
	}
	r.next = append(r.next, peopleKeys(pol)...)
	for _, l := range logs {
		r.next = append(r.next, index.Key(l.Client.LogKeyID()))
	}
	for keys := r.news(); len(keys) > 0; keys = r.news() {
		if len(r.asked) > maxBundleKeys {
			return nil, nil, fmt.Errorf("more than %d people are connected with these paths", maxBundleKeys)
		}
		if err := r.each(func(l BundleLog) ([]*log.Answers, error) {
			return l.Client.RecordPeople(ctx, r.bundle, keys)
		}); err != nil {
			return nil, nil, err
		}
	}
	if len(r.bundle.Parts) == 0 {
		return nil, nil, errors.New("no log answered")
	}
	return r.bundle, r.warnings, nil
}

// peopleKeys are the keys under which a policy's operators are looked up.
func peopleKeys(pol *Policy) []string {
	if pol == nil {
		return nil
	}
	var keys []string
	for _, o := range pol.Operators {
		if o.ID != nil {
			keys = append(keys, index.Operator(*o.ID))
		}
		for _, k := range o.Keys {
			keys = append(keys, index.Key(k))
		}
	}
	return keys
}

// recording is a RecordBundle on its way.
type recording struct {
	logs     []BundleLog
	bundle   *log.Bundle
	asked    map[string]bool // keys of people
	next     []string        // keys that were found, some of them asked already
	warnings []string
}

// each records something of every log that still answers, and notes the people in it.
func (r *recording) each(f func(BundleLog) ([]*log.Answers, error)) error {
	var left []BundleLog
	for _, l := range r.logs {
		answers, err := f(l)
		switch {
		case err == nil:
			left = append(left, l)
			r.next = append(r.next, log.BundleKeys(answers...)...)
		case l.Required || !errors.Is(err, log.ErrUnreachable):
			return fmt.Errorf("log %s: %w", l.Name, err)
		default:
			r.warnings = append(r.warnings, fmt.Sprintf("log %s is not in the bundle: %v", l.Name, err))
			origin := l.Client.Origin()
			r.bundle.Parts = slices.DeleteFunc(r.bundle.Parts, func(p log.BundlePart) bool { return p.Origin == origin })
		}
	}
	r.logs = left
	return nil
}

// news takes the keys that were found and not asked for.
func (r *recording) news() []string {
	keys := slices.DeleteFunc(r.next, func(k string) bool { return r.asked[k] })
	slices.Sort(keys)
	keys = slices.Compact(keys)
	for _, k := range keys {
		r.asked[k] = true
	}
	r.next = nil
	return keys
}

// held returns those of keys that the log can be asked for; others are missing. That
// is all of them, unless it is a bundle.
func (r *reading) held(keys []string) []string {
	b, ok := r.log.(interface{ Holds(key string) bool })
	if !ok {
		return keys
	}
	var held []string
	for _, k := range keys {
		if b.Holds(k) {
			held = append(held, k)
		} else {
			r.missing[k] = true
		}
	}
	return held
}

// notInBundle says that a bundle lacks something of the log, and what to do.
func (r *reading) notInBundle(what string) string {
	if what == "" {
		return fmt.Sprintf("the bundle holds nothing of log %s; make one with this policy, or verify where the log can be asked", r.Name)
	}
	return fmt.Sprintf("the bundle does not hold %s of log %s; make one that does with `firn bundle`, or verify where the log can be asked", what, r.Name)
}

// onlyPeople is what of a memory counts beside a bundle: what people said stays said,
// or an old bundle could undo a revocation.
func (m *memory) onlyPeople() *memory {
	out := &memory{people: m.people, claims: newMemory().claims}
	out.forgetHeads()
	return out
}
