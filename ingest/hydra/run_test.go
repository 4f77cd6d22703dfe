package hydra

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/firn-log/firn/ingest/cache"
	"github.com/firn-log/firn/internal/bincache"
	"github.com/firn-log/firn/internal/nix"
	"github.com/firn-log/firn/log/statement"
)

func TestEvaluationIsStatedAfterItsClosure(t *testing.T) {
	w := newWorld(t)
	w.add(41)
	w.add(42, w.build("broken", 1), w.build("late", 7))
	sum := w.must(Options{})
	if sum.Stated != 2 || sum.Accepted != 4 || sum.Builds[0] != 2 || sum.Builds[1] != 1 || sum.Builds[7] != 1 || sum.Cache.Accepted != 3 || len(sum.Problems) > 0 {
		t.Errorf("%+v, cache %+v", sum, sum.Cache)
	}
	evals, closures := logged[*statement.Eval](w), logged[*statement.Closure](w)
	if len(evals) != 2 || len(closures) != 2 || evals[0].Number != 42 {
		t.Fatalf("%d evals, %d closures", len(evals), len(closures))
	}
	e := evals[0]
	drvs := sorted([]nix.StorePath{storePath(t, "hello-42.drv"), storePath(t, "broken.drv"), storePath(t, "late.drv")})
	if e.Name != "nixpkgs.trunk" || !slices.Equal(e.Drvs, drvs) || e.Evaluated != evaluated || e.Instance != w.hydra {
		t.Errorf("%+v", e)
	}
	input := statement.EvalInput{Name: "nixpkgs", Type: "git", URI: "https://git.example/nixpkgs.git", Revision: "0123456789012345678901234567890123456789"}
	if !slices.Equal(e.Inputs, []statement.EvalInput{input}) {
		t.Errorf("inputs %+v", e.Inputs)
	}
	if c := closures[0]; c.Name != "nixpkgs.trunk-42" || !slices.Equal(c.Paths, []nix.StorePath{storePath(t, "hello-42")}) {
		t.Errorf("%+v", c)
	}
	// Nothing new: one question, no leaf.
	w.requests()
	size := w.log.Size()
	sum = w.must(Options{})
	if asked := w.requests(); sum.Stated != 0 || w.log.Size() != size || len(asked) != 1 {
		t.Errorf("the second run asked %q: %+v", asked, sum)
	}
	// One is new: its own three questions and the list.
	w.add(43)
	w.must(Options{})
	if asked := w.requests(); len(asked) != 3 {
		t.Errorf("asked %q", asked)
	}
	w.wantStated(41, 42, 43)
}

func TestBuildsThatHaveNotEndedAreWaitedFor(t *testing.T) {
	w := newWorld(t)
	open := w.build("slow", 0)
	open["finished"], open["buildstatus"] = 0, nil
	w.add(7, open)
	for range 2 {
		if sum := w.must(Options{}); sum.Unfinished != 1 || sum.Stated != 0 || w.log.Size() != 0 {
			t.Errorf("%+v", sum)
		}
	}
	if last := w.answers[len(w.answers)-1]; last != http.StatusNotModified {
		t.Errorf("the builds were sent again: %q %v", w.asked, w.answers)
	}
	open["finished"], open["buildstatus"] = true, 0
	if sum := w.must(Options{}); sum.Stated != 1 || sum.Builds[0] != 2 {
		t.Errorf("%+v", sum)
	}
	w.wantStated(7)
}

func TestWhatTheCacheDoesNotHaveIsWaitedForAWeek(t *testing.T) {
	w := newWorld(t)
	late := w.build("late", 0)
	file := "/" + storePath(t, "late").HashPart() + ".narinfo"
	info := w.files[file]
	delete(w.files, file)
	w.add(7, late)
	if sum := w.must(Options{}); sum.Waiting != 1 || sum.Stated != 0 || len(w.numbers()) != 0 {
		t.Errorf("%+v", sum)
	}
	w.files[file] = []byte("StorePath: nonsense\n")
	if sum := w.must(Options{}); sum.Waiting != 1 || sum.Cache.Troubles[cache.Failed] != 1 {
		t.Errorf("%+v", sum)
	}
	delete(w.files, file)
	w.now = w.now.Add(patience)
	if sum := w.must(Options{}); sum.Stated != 1 || sum.Unavailable != 1 {
		t.Errorf("%+v", sum)
	}
	w.files[file] = info
	w.add(8, late)
	if sum := w.must(Options{}); sum.Stated != 1 || sum.Unavailable != 0 {
		t.Errorf("%+v", sum)
	}
	var counts []uint64
	for _, c := range logged[*statement.Closure](w) {
		counts = append(counts, c.Count)
	}
	if !slices.Equal(counts, []uint64{1, 2}) {
		t.Errorf("closures of %v", counts)
	}
}

// What an old evaluation built may be gone from the cache for good: nobody waits.
func TestOldEvaluationIsStatedWithWhatIsLeft(t *testing.T) {
	w := newWorld(t)
	w.now = w.now.Add(2 * patience)
	w.add(7, w.build("gone", 0), w.build("half", 0))
	delete(w.files, "/"+storePath(t, "gone").HashPart()+".narinfo")
	w.files["/"+storePath(t, "half").HashPart()+".narinfo"] = []byte("StorePath: nonsense\n")
	if sum := w.must(Options{}); sum.Waiting != 1 || sum.Stated != 0 {
		t.Errorf("stated although the cache may only be broken now: %+v", sum)
	}
	delete(w.files, "/"+storePath(t, "half").HashPart()+".narinfo")
	if sum := w.must(Options{}); sum.Stated != 1 || sum.Unavailable != 2 {
		t.Errorf("%+v", sum)
	}
}

func TestNoOutputSignedByAListedKeyIsNotStated(t *testing.T) {
	w := newWorld(t)
	w.add(7)
	other := secret("other-1")
	o := Options{Cache: cache.Options{Keys: cache.Keys{other.Name: {other.Public()}}}}
	for range 2 { // also when the cache is not asked again
		sum := w.must(o)
		if sum.Failed != 1 || len(sum.Problems) != 1 || sum.Problems[0].What != "none of the 1 outputs in the cache has a signature by a listed key" {
			t.Errorf("%+v", sum)
		}
	}
	w.must(Options{})
	w.wantStated(7)
}

func TestMaxEvalsAndSince(t *testing.T) {
	w := newWorld(t)
	for id := uint64(1); id <= 8; id++ {
		w.add(id)
	}
	if sum := w.must(Options{MaxEvals: 2, Since: 4}); sum.Stated != 2 || sum.Left != 3 {
		t.Errorf("%+v", sum)
	}
	w.wantStated(7, 8)
	w.requests()
	w.must(Options{MaxEvals: 2, Since: 4})
	w.wantStated(5, 6, 7, 8)
	w.add(9)
	w.add(20)
	w.must(Options{Since: 15})
	w.wantStated(5, 6, 7, 8, 20)
	w.must(Options{Since: 4}) // also what the last list left out
	w.wantStated(4, 5, 6, 7, 8, 9, 20)
	w.must(Options{})
	w.wantStated(1, 2, 3, 4, 5, 6, 7, 8, 9, 20)
}

// A run may end at any request or answer; the next ones finish it, and nothing is
// stated twice.
func TestEveryInterruptionIsResumed(t *testing.T) {
	w := newWorld(t)
	for id := uint64(1); id <= 5; id++ {
		w.add(id)
	}
	for n := 1; ; n++ {
		ctx, cancel := context.WithCancel(t.Context())
		asked := 0
		w.before = func(*http.Request) {
			if asked++; asked == n {
				cancel()
			}
		}
		j, _ := ParseJobsetName("nixpkgs/trunk")
		h, _ := Open(w.hydra, bincache.ClientOptions{})
		c, cs, o := w.open(Options{})
		st, err := OpenState(filepath.Join(w.state, "hydra"), h, j)
		if err != nil {
			t.Fatal(err)
		}
		_, err = Import(ctx, h, j, c, cs, st, o)
		cancel()
		if err := cs.Close(); err != nil {
			t.Fatal(err)
		}
		if err == nil {
			break
		}
		if !errors.Is(err, context.Canceled) || n > 50 {
			t.Fatalf("run %d: %v", n, err)
		}
	}
	w.wantStated(1, 2, 3, 4, 5)
	if n := len(logged[*statement.Closure](w)); n != 5 {
		t.Errorf("%d closures", n)
	}
}

// What was sent, and not remembered because of a crash, is a duplicate.
func TestLostStateMakesNoNewLeaves(t *testing.T) {
	w := newWorld(t)
	w.add(1)
	w.add(2)
	w.must(Options{})
	size := w.log.Size()
	if err := os.RemoveAll(filepath.Join(w.state, "hydra")); err != nil {
		t.Fatal(err)
	}
	if sum := w.must(Options{}); sum.Stated != 2 || sum.Duplicates != 4 || w.log.Size() != size {
		t.Errorf("%+v", sum)
	}
	files, err := filepath.Glob(filepath.Join(w.state, "hydra", "*"))
	if err != nil || len(files) != 1 {
		t.Fatalf("%v %v", files, err)
	}
	if err := os.WriteFile(files[0], []byte("{"), 0o644); err != nil {
		t.Fatal(err)
	}
	h, _ := Open(w.hydra, bincache.ClientOptions{})
	if _, err := OpenState(filepath.Dir(files[0]), h, JobsetName{"nixpkgs", "trunk"}); err == nil || !strings.Contains(err.Error(), "without it everything is looked at again") {
		t.Error(err)
	}
}

func TestAnswersThatAreNoneAreOneSentence(t *testing.T) {
	const list, builds, eval = "/jobset/nixpkgs/trunk/evals?page=1", "/eval/7/builds", "/eval/7"
	says := func(text string) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, text) }
	}
	of := func(change string) string { // a build with one thing wrong
		b := `{"id":3,"finished":1,"buildstatus":0,"drvpath":"/nix/store/7rjj86a15146vq1bxajzbfl90mn7vk2j-x.drv","buildoutputs":{"out":{"path":"/nix/store/7rjj86a15146vq1bxajzbfl90mn7vk2j-x"}}}`
		from, to, _ := strings.Cut(change, "=>")
		if !strings.Contains(b, from) {
			t.Fatalf("%s has no %s", b, from)
		}
		return "[" + strings.Replace(b, from, to, 1) + "]"
	}
	for _, c := range []struct {
		at   string
		how  http.HandlerFunc
		want string
	}{
		{list, says("\n<html>"), "answers with a web page in place of JSON"},
		{list, says(""), "ends in the middle of its JSON"},
		{list, says(`{"evals":[{"id":7`), "ends in the middle of its JSON"},
		{list, says(`{"evals":[{"id":7}]} x`), "is not JSON: "},
		{list, says(`{"evals":[]}{}`), "goes on after the end of its JSON"},
		{list, says(`[]`), "is not a JSON object"},
		{list, says(`{"error":"no"}`), "has no evals, so it is not the list of evaluations of a Hydra"},
		{list, says(`{"evals":{}}`), "has no array of evaluations where one is needed"},
		{list, says(`{"evals":[{"id":"7"}]}`), `has a string where "id" is needed`},
		{list, says(`{"evals":[{"number":7}]}`), "lists an evaluation without a number, number 1 there"},
		{list, says(`{"evals":[],"next":"http://evil.example/"}`), `names "http://evil.example/" as the next page, which does not look like ?page=2`},
		{list, says(`{"evals":[{"id":1,"x":"` + strings.Repeat("a", 2*maxEvalValue) + `"}]}`), "has a value of more than 16777216 bytes, which is not believable"},
		{list, func(w http.ResponseWriter, r *http.Request) { http.NotFound(w, r) }, "has no jobset nixpkgs/trunk, or does not show it"},
		{builds, func(w http.ResponseWriter, r *http.Request) { http.NotFound(w, r) }, "lists the evaluation 7 and does not have it, or does not show it"},
		{builds, says(strings.Repeat("[", 20_000)), "is not JSON: invalid character '[' exceeded max depth"},
		{builds, says(`[{"id":3}]`), "says of the build 3 that nobody knows whether it has ended: finished is missing"},
		{builds, says(`[{}]`), "has a build without an id, number 1 there"},
		{builds, says(of(`"finished":1=>"finished":2`)), "has 2 where a truth value is needed"},
		{builds, says(of(`"buildstatus":0=>"buildstatus":null`)), "says of the build 3 that it has ended without a buildstatus"},
		{builds, says(of(`"buildstatus":0=>"buildstatus":1.5`)), `has a number 1.5 where "buildstatus" is needed`},
		{builds, says(of(`-x.drv=>-x`)), `its drvpath is "/nix/store/7rjj86a15146vq1bxajzbfl90mn7vk2j-x", which is no derivation in /nix/store`},
		{builds, says(of(`/nix/store/7rjj86a15146vq1bxajzbfl90mn7vk2j-x.drv=>../x.drv`)), `its drvpath is "../x.drv", which is no derivation`},
		{builds, says(of(`"out":{"path":"/nix/store/7rjj86a15146vq1bxajzbfl90mn7vk2j-x"}=>"out":{"path":null}`)), `it succeeded and its output "out" has no path`},
		{builds, says(of(`{"out":{"path":"/nix/store/7rjj86a15146vq1bxajzbfl90mn7vk2j-x"}}=>null`)), "it succeeded and has no outputs"},
		{eval, says(`{"id":8,"timestamp":1}`), "is not about this evaluation"},
		{eval, says(`{"id":7}`), "does not say when it was evaluated"},
	} {
		w := newWorld(t)
		w.add(7)
		w.lies[c.at] = c.how
		sum, err := w.run(Options{})
		if err == nil && len(sum.Problems) == 1 {
			err = errors.New(sum.Problems[0].What)
		}
		if err == nil || !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%s: %v\nwant %s", c.at, err, c.want)
		}
		if len(w.numbers()) > 0 {
			t.Errorf("%s: stated", c.want)
		}
		// When it answers well again nothing is lost.
		clear(w.lies)
		w.must(Options{})
		w.wantStated(7)
	}
}

func TestOneBadEvaluationDoesNotKeepOthers(t *testing.T) {
	w := newWorld(t)
	w.add(1)
	w.add(2)
	w.builds[2][0]["drvpath"] = "/nix/store/x"
	w.add(3)
	if sum := w.must(Options{}); sum.Failed != 1 || sum.Stated != 2 {
		t.Errorf("%+v", sum)
	}
	w.wantStated(1, 3)
}

// direct answers requests without a network, so that time can be made up.
type direct struct{ h http.HandlerFunc }

func (d direct) RoundTrip(r *http.Request) (*http.Response, error) {
	rec := httptest.NewRecorder()
	d.h(rec, r)
	return rec.Result(), nil
}

func TestPauseThatAHydraAsksForIsGiven(t *testing.T) {
	for _, code := range []int{http.StatusTooManyRequests, http.StatusServiceUnavailable} {
		synctest.Test(t, func(t *testing.T) {
			asked := 0
			h, err := Open("https://hydra.example", bincache.ClientOptions{Transport: direct{func(rw http.ResponseWriter, _ *http.Request) {
				if asked++; asked == 1 {
					rw.Header().Set("Retry-After", "30")
					rw.WriteHeader(code)
					return
				}
				fmt.Fprint(rw, `{"evals":[{"id":7}]}`)
			}}})
			if err != nil {
				t.Fatal(err)
			}
			start := time.Now()
			p, _, err := h.page(t.Context(), JobsetName{"nixpkgs", "trunk"}, 1, "")
			if err != nil || len(p.evals) != 1 || time.Since(start) != 30*time.Second {
				t.Errorf("%d: %+v %v after %v", code, p, err, time.Since(start))
			}
		})
	}
	w := newWorld(t)
	w.add(7)
	w.lies["/jobset/nixpkgs/trunk/evals?page=1"] = func(rw http.ResponseWriter, _ *http.Request) {
		rw.Header().Set("Retry-After", "3600")
		rw.WriteHeader(http.StatusTooManyRequests)
	}
	_, err := w.run(Options{})
	var stop *StopError
	if !errors.As(err, &stop) || err.Error() != "the Hydra "+w.hydra+" answers 429 Too Many Requests and asks to be left alone for 1h0m0s" {
		t.Error(err)
	}
}

// A Hydra elsewhere gets two requests a second.
func TestHydraElsewhereIsNotHurried(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h, err := Open("https://user:hunter2@hydra.example/ci/", bincache.ClientOptions{Transport: direct{func(rw http.ResponseWriter, _ *http.Request) {
			fmt.Fprint(rw, `{"evals":[]}`)
		}}})
		if err != nil {
			t.Fatal(err)
		}
		if h.URL() != "https://hydra.example/ci" {
			t.Error(h.URL())
		}
		start := time.Now()
		for range 5 {
			if _, _, err := h.page(t.Context(), JobsetName{"nixpkgs", "trunk"}, 1, ""); err != nil {
				t.Fatal(err)
			}
		}
		if d := time.Since(start); d != 2*time.Second {
			t.Errorf("5 requests in %v", d)
		}
	})
}
