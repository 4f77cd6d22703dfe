package hydra

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/firn-log/firn/internal/bincache"
)

const (
	maxPages = 100_000
	// maxStale is how many pages in a row may have nothing that was not on the
	// pages before: more cannot come from evaluations that are added meanwhile.
	maxStale = 10
	// walks is how often a list that changes is read.
	walks = 3
)

// pagingError says that an evaluation may have been missed, because the list
// changed while it was read or makes no sense.
type pagingError struct{ what string }

func (e *pagingError) Error() string { return e.what }

func oddf(format string, args ...any) error { return &pagingError{fmt.Sprintf(format, args...)} }

// list brings the state up to what the Hydra has, from the number since on
// (spec/import.md#the-list-of-evaluations).
func (r *run) list(ctx context.Context) error {
	for n := 1; ; n++ {
		err := r.listOnce(ctx)
		var odd *pagingError
		if !errors.As(err, &odd) {
			return err
		}
		if n == walks {
			return fmt.Errorf("the list of evaluations of %s at %s cannot be followed, %d times: %w", r.j, r.h.URL(), walks, err)
		}
	}
}

func (r *run) listOnce(ctx context.Context) error {
	w := &walk{since: r.o.Since, seen: make(map[uint64]bool)}
	etag := ""
	if r.o.Since >= r.st.f.Since {
		w.top = r.st.f.Top
		etag = r.st.f.ETag
	}
	if w.top == 0 {
		etag = ""
	}
	first, etag, err := r.h.page(ctx, r.j, 1, etag)
	if errors.Is(err, bincache.ErrUnchanged) {
		return nil
	}
	if err != nil {
		return err
	}
	if err := r.follow(ctx, w, first); err != nil {
		return err
	}
	if w.pages > 1 {
		if etag, err = r.again(ctx, w, first, etag); err != nil {
			return err
		}
	}
	since := r.st.f.Since
	if r.o.Since > w.top || w.top == 0 { // nothing is known of what is between
		since = r.o.Since
	}
	return r.st.list(w.found, since, w.newest, etag)
}

// follow reads a list from its first page on, as far as is wanted.
func (r *run) follow(ctx context.Context, w *walk, p *page) error {
	for n := 1; ; n++ {
		if err := w.take(p, n); err != nil {
			return err
		}
		if w.ended(p) {
			return nil
		}
		if n == maxPages {
			return oddf("it has more than %d pages", maxPages)
		}
		var err error
		if p, _, err = r.h.page(ctx, r.j, p.next, ""); err != nil {
			return err
		}
	}
}

// again looks at the first page a second time, when others were read after it.
// What was added meanwhile is in front; anything else means that the pages moved
// so that one evaluation may have been on none that was read.
func (r *run) again(ctx context.Context, w *walk, first *page, etag string) (string, error) {
	now, tag, err := r.h.page(ctx, r.j, 1, etag)
	if errors.Is(err, bincache.ErrUnchanged) {
		return etag, nil
	}
	if err != nil {
		return "", err
	}
	front := &walk{since: w.since, top: first.evals[len(first.evals)-1], seen: make(map[uint64]bool)}
	if err := r.follow(ctx, front, now); err != nil {
		return "", err
	}
	for _, id := range first.evals {
		if !front.seen[id] || len(now.evals) != len(first.evals) {
			return "", oddf("it changed while it was read")
		}
	}
	w.add(slices.Sorted(maps.Keys(front.seen)))
	return tag, nil
}

// walk is one reading of the list, from the newest on.
type walk struct {
	since, top uint64 // below since nothing is wanted, and up to top all is known
	seen       map[uint64]bool
	found      []uint64
	newest     uint64
	pages      int
	size, last uint64 // of the page before: its length and its last evaluation
	stale      int
}

// take adds a page, the nth, unless it shows that something may have been missed.
func (w *walk) take(p *page, n int) error {
	if err := p.check(); err != nil {
		return err
	}
	if p.next != 0 && p.next != n+1 {
		if p.next <= n {
			return oddf("it leads in a loop: page %d names page %d as the next", n, p.next)
		}
		return oddf("page %d names page %d as the next", n, p.next)
	}
	if n > 1 && uint64(len(p.evals)) > w.size {
		return oddf("page %d has %d evaluations and the one before it has %d", n, len(p.evals), w.size)
	}
	if len(p.evals) == 0 && p.next != 0 {
		return oddf("page %d is empty and not the last", n)
	}
	news := 0
	for _, id := range p.evals {
		switch {
		case w.seen[id]:
		case n > 1 && id > w.last:
			return oddf("page %d has the evaluation %d, which belongs on one before it", n, id)
		default:
			news++
		}
	}
	if w.stale++; news > 0 {
		w.stale = 0
	}
	if w.stale > maxStale {
		return oddf("it repeats itself: on the %d pages up to page %d is nothing new", w.stale, n)
	}
	w.add(p.evals)
	w.pages = n
	w.size = uint64(len(p.evals))
	if len(p.evals) > 0 {
		w.last = p.evals[len(p.evals)-1]
	}
	return nil
}

func (w *walk) add(ids []uint64) {
	for _, id := range ids {
		w.newest = max(w.newest, id)
		if !w.seen[id] && id >= w.since {
			w.found = append(w.found, id)
		}
		w.seen[id] = true
	}
}

// ended reports whether nothing that is wanted is behind this page.
func (w *walk) ended(p *page) bool {
	return p.next == 0 || w.last <= w.top || w.last <= w.since
}

// check requires the newest first.
func (p *page) check() error {
	for i := 1; i < len(p.evals); i++ {
		if p.evals[i] >= p.evals[i-1] {
			return oddf("the evaluation %d comes after %d, and not the newest first", p.evals[i], p.evals[i-1])
		}
	}
	return nil
}
