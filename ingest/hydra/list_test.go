package hydra

import (
	"fmt"
	"math/rand/v2"
	"net/http"
	"strings"
	"testing"
)

// isPage reports whether a request is for a page, and which.
func isPage(r *http.Request) (n int) {
	_, _ = fmt.Sscanf(r.URL.RequestURI(), "/jobset/nixpkgs/trunk/evals?page=%d", &n)
	return n
}

// Evaluations are added, and the length of pages changes, at every place of the
// walk: each evaluation is stated once, and none is missed.
func TestListThatChangesWhileItIsRead(t *testing.T) {
	for _, size := range []int{0, 1, 2, 9} { // 0: another evaluation is added
		for at := 2; at <= 6; at++ {
			w := newWorld(t)
			var want []uint64
			for id := uint64(1); id <= 12; id++ {
				w.add(10 * id)
				want = append(want, 10*id)
			}
			requests := 0
			w.before = func(r *http.Request) {
				if n := isPage(r); n > 0 {
					if requests++; requests != at {
						return
					}
					if size == 0 {
						w.add(500)
					} else {
						w.mu.Lock()
						w.size = size
						w.mu.Unlock()
					}
				}
			}
			w.must(Options{})
			if size == 0 {
				want = append(want, 500)
			}
			w.must(Options{}) // at the last page it comes too late for the first run
			w.wantStated(want...)
		}
	}
}

// One that vanishes while the list is read moves another one to a page that was
// read already.
func TestEvaluationThatVanishesHidesNoOther(t *testing.T) {
	w := newWorld(t)
	for id := uint64(1); id <= 9; id++ {
		w.add(id)
	}
	done := false
	w.before = func(r *http.Request) {
		if isPage(r) == 2 && !done {
			done = true
			w.mu.Lock()
			w.evals = w.evals[1:]
			w.mu.Unlock()
		}
	}
	if sum := w.must(Options{}); sum.Failed > 0 {
		t.Errorf("%+v", sum)
	}
	w.wantStated(1, 2, 3, 4, 5, 6, 7, 8)
}

func TestListsThatMakeNoSense(t *testing.T) {
	page := func(next int, ids ...int) string {
		var evals []string
		for _, id := range ids {
			evals = append(evals, fmt.Sprintf(`{"id":%d}`, id))
		}
		return fmt.Sprintf(`{"next":"?page=%d","evals":[%s]}`, next, strings.Join(evals, ","))
	}
	for want, pages := range map[string]func(n int) string{
		"it leads in a loop: page 2 names page 1 as the next":                      func(n int) string { return page(n%2+1, 10-n) },
		"it leads in a loop: page 1 names page 1 as the next":                      func(int) string { return page(1, 4) },
		"page 1 names page 3 as the next":                                          func(n int) string { return page(n+2, 100-n) },
		"it repeats itself: on the 11 pages up to page 12 is nothing new":          func(n int) string { return page(n+1, 4, 3) },
		"the evaluation 5 comes after 4, and not the newest first":                 func(n int) string { return page(n+1, 4, 5) },
		"page 2 has the evaluation 20, which belongs on one before it":             func(n int) string { return page(n+1, 10*n) },
		"page 2 has 2 evaluations and the one before it has 1":                     func(n int) string { return page(n+1, []int{9, 8, 7}[:n]...) },
		"page 1 is empty and not the last":                                         func(n int) string { return page(n + 1) },
		`names "?page=0" as the next page, which does not look like ?page=2`:       func(int) string { return page(0, 1) },
		`names "/evals?page=2" as the next page, which does not look like ?page=2`: func(int) string { return `{"next":"/evals?page=2","evals":[]}` },
		"has a next page that is not text":                                         func(int) string { return `{"next":2,"evals":[]}` },
		"lists an evaluation without a number, number 1 there":                     func(int) string { return page(2, 0) },
		`has a number -1 where "id" is needed`:                                     func(int) string { return page(2, -1) },
	} {
		w := newWorld(t)
		for n := 1; n < 20; n++ {
			w.lies[fmt.Sprintf("/jobset/nixpkgs/trunk/evals?page=%d", n)] = func(rw http.ResponseWriter, r *http.Request) { fmt.Fprint(rw, pages(n)) }
		}
		_, err := w.run(Options{})
		if err == nil || !strings.HasSuffix(err.Error(), want) {
			t.Errorf("%v\nwant %s", err, want)
		}
	}
}

// However evaluations are added between requests, several runs state each once.
func TestRandomHistoriesAreFollowed(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	for range 10 {
		w := newWorld(t)
		next, want := uint64(1), []uint64(nil)
		add := func(n int) {
			for range n {
				w.add(next)
				want = append(want, next)
				next += 1 + rng.Uint64N(3)
			}
		}
		add(rng.IntN(12))
		w.before = func(r *http.Request) {
			if isPage(r) > 0 {
				add(rng.IntN(3))
			}
		}
		for range 3 {
			w.must(Options{MaxEvals: rng.IntN(4)})
		}
		w.before = nil
		w.must(Options{})
		w.wantStated(want...)
	}
}
