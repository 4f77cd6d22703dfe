package federation_test

import (
	"context"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/firn-log/firn/federation"
	"github.com/firn-log/firn/log/evidence"
	"github.com/firn-log/firn/log/logtest"
	"github.com/firn-log/firn/log/policy"
	"github.com/firn-log/firn/log/witnessing/witnesstest"
)

// fed is a log that pushes to nobody and witnesses that are fed.
func fed(t testing.TB, n int) (*logtest.Log, []*witnesstest.Witness, *policy.Policy) {
	t.Helper()
	l := logtest.New(t)
	text := strings.Split(l.PolicyText(), "quorum")[0]
	var ws []*witnesstest.Witness
	members := ""
	for i := range n {
		name := string(rune('a' + i))
		w := witnesstest.New("witness.example/" + name)
		w.Know(l.VKey())
		s := httptest.NewServer(w)
		t.Cleanup(s.Close)
		text += "witness " + name + " " + w.VKey() + " " + s.URL + "\n"
		members += " " + name
		ws = append(ws, w)
	}
	pol, err := policy.Parse([]byte(text + "group all all" + members + "\nquorum all\n"))
	if err != nil {
		t.Fatal(err)
	}
	return l, ws, pol
}

// run feeds until the test ends.
func run(t testing.TB, p *peer) {
	t.Helper()
	f, err := federation.NewFeeder(p.Hub, 0)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		f.Run(ctx)
		close(done)
	}()
	t.Cleanup(func() {
		cancel()
		<-done
	})
}

// until waits for a condition that changes of the hub bring about.
func until(t testing.TB, p *peer, what string, done func() bool) {
	t.Helper()
	origin := p.o.Logs[0].Origin
	for {
		changed := p.Changed(origin)
		if done() {
			return
		}
		select {
		case <-changed:
		case <-t.Context().Done():
			t.Fatal(what)
		}
	}
}

func TestFeederMakesPlainWitnessesCosign(t *testing.T) {
	l, ws, pol := fed(t, 3)
	p := newPeer(t, pol, l.URL())
	run(t, p)
	last := 0
	for _, size := range []int{1, 10, 300, 301} {
		p.wants(federation.Larger, grow(l, last, size, "leaf"))
		last = size
		until(t, p, "no quorum", func() bool { return p.size(p.Best(l.Origin())) == uint64(size) })
		for _, w := range ws {
			if w.Size(l.Origin()) != uint64(size) {
				t.Errorf("%s has cosigned %d of %d", w.VKey(), w.Size(l.Origin()), size)
			}
		}
	}
	if v, err := pol.Verify(p.Best(l.Origin()), time.Now()); err != nil || len(v.Cosignatures) != 3 {
		t.Error(err)
	}
	p.holds()
}

func TestFeederGoesOnWhenAWitnessMisbehaves(t *testing.T) {
	for what, f := range map[string]witnesstest.Faults{
		"down":            {Down: true},
		"garbage":         {Body: "<html>", Status: 200},
		"claims larger":   {Claim: 1 << 40},
		"another key":     {WrongKey: true},
		"another text":    {OtherText: true},
		"server error":    {Status: http.StatusInternalServerError},
		"wants no such":   {Status: http.StatusNotFound},
		"garbage number":  {Status: http.StatusConflict, Type: "text/x.tlog.size", Body: "many\n"},
		"forgets at once": {NotStored: true},
	} {
		l, ws, pol := fed(t, 2)
		ws[0].SetFaults(f)
		p := newPeer(t, pol, l.URL())
		run(t, p)
		p.wants(federation.Larger, grow(l, 0, 10, "leaf"))
		until(t, p, what, func() bool { return strings.Contains(string(p.Latest(l.Origin())), "witness.example/b") })
		if what != "forgets at once" && p.size(p.Best(l.Origin())) != 0 {
			t.Errorf("%s: a quorum without it", what)
		}
		// It comes back.
		ws[0].SetFaults(witnesstest.Faults{})
		p.wants(federation.Larger, grow(l, 10, 20, "leaf"))
		until(t, p, what, func() bool { return p.size(p.Best(l.Origin())) == 20 })
		p.holds()
	}
}

// A convicted log is not fed; one that is not, is, with the same steps.
func TestFeederDoesNotFeedAConvictedLog(t *testing.T) {
	l, ws, pol := fed(t, 1)
	one := grow(l, 0, 10, "leaf")
	other := grow(logtest.New(t), 0, 10, "other")
	for _, forks := range []bool{false, true} {
		dir := t.TempDir()
		synctest.Test(t, func(t *testing.T) {
			before := ws[0].Requests()
			hub, err := federation.NewHub(federation.Options{
				Evidence: evidence.NewStore(dir), Logs: []federation.Log{{Policy: pol, Origin: l.Origin()}}, HTTP: &http.Client{Transport: ws[0]},
			})
			if err != nil {
				t.Fatal(err)
			}
			if _, err := hub.Offer(t.Context(), one, "test"); err != nil {
				t.Fatal(err)
			}
			if forks {
				if out, _ := hub.Offer(t.Context(), other, "test"); out != federation.Forked {
					t.Fatal(out)
				}
			}
			f, err := federation.NewFeeder(hub, 0)
			if err != nil {
				t.Fatal(err)
			}
			ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
			defer cancel()
			f.Run(ctx)
			if asked := ws[0].Requests() > before; asked == forks {
				t.Errorf("forked %v, asked %v", forks, asked)
			}
		})
	}
}
