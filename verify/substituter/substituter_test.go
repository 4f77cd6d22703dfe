package substituter

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/firn-log/firn/log/logtest"
	"github.com/firn-log/firn/log/statement"
)

func TestTrustedPathIsServed(t *testing.T) {
	w := newWorld(t)
	n := info(t, "app", "text", "lib", "app")
	w.caches[0].has(n, "text", cacheKey)
	n.Deriver = pathOf(t, "x") // nobody signs it
	w.caches[0].set(n.Path.HashPart()+".narinfo", n.Marshal())
	w.builds("a b", n)
	w.start(refuseRule)
	got := w.served(n)
	if !got.Deriver.IsZero() || len(got.Unknown) > 0 {
		t.Errorf("what nobody signed is served: %+v", got)
	}
	status, body, err := w.get(got.URL)
	if err != nil || status != 200 || body != string(narOf(t, "text")) {
		t.Errorf("the NAR: %d, %s, %v", status, body, err)
	}
	if status, body, _ := w.get("nix-cache-info"); status != 200 || !strings.Contains(body, "StoreDir: /nix/store\n") {
		t.Errorf("nix-cache-info: %d %s", status, body)
	}
	for _, name := range []string{"x.narinfo", "nar/x", "nar/" + n.Path.HashPart() + "-x.nar", "log/x", "a/b"} {
		if status, body, _ := w.get(name); status == 200 {
			t.Errorf("%s: %d %s", name, status, body)
		}
	}
	w.refused(pathOf(t, "nowhere"), http.StatusNotFound, "no upstream of the policy has")
}

func TestWhatARuleSaysOfTheRest(t *testing.T) {
	for _, tt := range []struct {
		lines  string
		status int
		words  string
	}{
		{rebuildRule, 404, "is to be built here: untrusted, 2 of 3 needed, 1 found"},
		{refuseRule, 500, "is refused: untrusted, 2 of 3 needed, 1 found"},
		{allowRule, 200, ""},
		{"group two 2 a b c\nrule default need two else warn\n", 200, ""},
	} {
		w := newWorld(t)
		n := info(t, "app", "text")
		w.caches[0].has(n, "text", cacheKey)
		w.builds("a", n)
		w.start(tt.lines)
		if tt.status == 200 {
			w.served(n)
		} else {
			w.refused(n.Path, tt.status, tt.words)
		}
		if c := w.s.Counts(); c.Decided["serve"] > 0 {
			t.Errorf("%+v", c)
		}
	}
}

// A closure is judged in few batches, from one request; the rest is there when Nix asks.
func TestClosureIsLookedUpAhead(t *testing.T) {
	w := newWorld(t)
	const most = 60
	for i := range most {
		var refs []string
		for _, j := range []int{2*i + 1, 2*i + 2} {
			if j < most {
				refs = append(refs, fmt.Sprint("p", j))
			}
		}
		n := info(t, fmt.Sprint("p", i), "text", refs...)
		w.caches[0].has(n, "text", cacheKey)
		w.logBuilds("a", n)
	}
	w.log.Publish()
	w.log.Revise()
	w.start("group one 1 a\nrule default need one else refuse\n")
	for i := range most {
		w.narInfo(pathOf(t, fmt.Sprint("p", i)), 200)
	}
	for i := range most {
		if got := w.caches[0].times(pathOf(t, fmt.Sprint("p", i)).HashPart() + ".narinfo"); got != 1 {
			t.Errorf("p%d was asked for %d times", i, got)
		}
	}
	if c := w.s.Counts(); c.Batches > most/3 || c.Judged != most {
		t.Errorf("%d paths in %d batches", c.Judged, c.Batches)
	}
}

func TestDecisionsAreRememberedAndJudgedAgain(t *testing.T) {
	w := newWorld(t)
	n := info(t, "app", "text")
	w.caches[0].has(n, "text", cacheKey)
	w.builds("a b", n)
	w.start(refuseRule)
	w.served(n)
	file := n.Path.HashPart() + ".narinfo"
	for range 3 {
		w.served(n)
	}
	if c := w.s.Counts(); c.Judged != 1 || w.caches[0].times(file) != 1 {
		t.Errorf("judged %d times, asked %d times", c.Judged, w.caches[0].times(file))
	}
	if err := w.s.Close(); err != nil {
		t.Fatal(err)
	}
	w.start(refuseRule) // another process
	w.served(n)
	if c := w.s.Counts(); c.Judged != 0 {
		t.Error("a decision was lost")
	}
	w.later(11 * time.Minute)
	w.served(n)
	if c := w.s.Counts(); c.Judged != 1 || w.caches[0].times(file) != 1 {
		t.Errorf("judged %d times, asked %d times", c.Judged, w.caches[0].times(file))
	}
}

func TestPolicyIsReplacedWhileServing(t *testing.T) {
	w := newWorld(t)
	n := info(t, "app", "text")
	w.caches[0].has(n, "text", cacheKey)
	w.builds("a b", n)
	w.start(refuseRule)
	nar := w.served(n).URL
	pol, text := w.policy("group three 3 a b c\nrule default need three else refuse\n")
	if err := w.s.SetPolicy(pol, text); err != nil {
		t.Fatal(err)
	}
	// Nix remembers narinfos for a month, and asks for the NAR alone.
	if status, _, _ := w.get(nar); status != 500 {
		t.Errorf("the NAR: %d", status)
	}
	w.refused(n.Path, 500, "3 of 3 needed, 2 found")
}

// A path of a log that is down counts as long as the policy says, and is never trusted after.
func TestLogThatIsDown(t *testing.T) {
	w := newWorld(t, logtest.Witnesses(1, 1))
	n, other := info(t, "app", "text"), info(t, "other", "text")
	for _, p := range []string{"app", "other"} {
		w.caches[0].has(info(t, p, "text"), "text", cacheKey)
	}
	w.builds("a b", n)
	w.start(rebuildRule)
	w.served(n)
	w.log.Lie(func(l *logtest.Lies) { l.Down = true })
	w.later(20 * time.Minute)
	w.served(n)
	w.refused(other.Path, 500, "is refused: inconclusive", "log main did not answer")
	w.later(24 * time.Hour)
	w.refused(n.Path, 500, "is refused: inconclusive", "the policy allows 24h")
}

// A public cache's signature that no log has yet is posted, and counts then.
func TestSignatureIsSubmittedOnMiss(t *testing.T) {
	w := newWorld(t)
	n := info(t, "app", "text")
	w.caches[0].has(n, "text", cacheKey)
	w.o.NoSubmit = false
	const rule = "group cached 1 cache signed\nrule default need cached else refuse\n"
	w.start(rule)
	w.served(n)
	if c := w.s.Counts(); c.Submitted != 1 {
		t.Errorf("%+v", c)
	}
	// What a cache has that the policy does not call public stays here, and all with submit = false.
	for _, private := range []bool{true, false} {
		w = newWorld(t)
		w.o.NoSubmit = !private
		w.private = private
		w.caches[0].has(n, "text", cacheKey)
		size := w.log.Size()
		w.start(rule)
		w.refused(n.Path, 500, "1 of 1 needed, 0 found")
		if w.log.Size() != size {
			t.Error("a signature was posted")
		}
	}
}

func TestSecondUpstreamStandsIn(t *testing.T) {
	w := newWorld(t)
	w.caches = append(w.caches, newCache(t))
	good, bad := info(t, "app", "text"), info(t, "app", "poison")
	w.caches[0].has(bad, "poison", cacheKey)
	w.caches[1].has(good, "text")
	w.builds("a b", good)
	w.start(refuseRule)
	got := w.served(good)
	if status, body, err := w.get(got.URL); err != nil || status != 200 || body != string(narOf(t, "text")) {
		t.Errorf("%d %v", status, err)
	}
}

func TestStatusPage(t *testing.T) {
	w := newWorld(t)
	n := info(t, "app", "text")
	w.caches[0].has(n, "text", cacheKey)
	w.start(refuseRule)
	w.narInfo(n.Path, 500)
	for _, name := range []string{"", "status.json"} {
		status, body, err := w.get(name)
		if err != nil || status != 200 || !strings.Contains(body, n.Path.Base()) || !strings.Contains(body, "2 of 3 needed, 0 found") {
			t.Errorf("%q: %d %v %s", name, status, err, body)
		}
	}
}

func (w *world) revoke(name string) {
	o := w.people[name]
	w.say(o, &statement.KeyRevoke{OperatorID: o.id, KeyID: o.build.PublicKey().ID(), Reason: statement.Rotated, Elsewhere: statement.Drop})
}
