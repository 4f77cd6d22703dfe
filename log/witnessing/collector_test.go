package witnessing

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/firn-log/firn/log/policy"
	"github.com/firn-log/firn/log/witnessing/witnesstest"
)

// net leads requests to witnesses by host name.
type network map[string]*witnesstest.Witness

func (n network) RoundTrip(r *http.Request) (*http.Response, error) {
	if w := n[r.URL.Host]; w != nil {
		return w.RoundTrip(r)
	}
	return nil, errors.New("no such host")
}

// witnessed is a log, its witnesses and the collector between them.
type witnessed struct {
	*testLog
	*Collector
	t       *testing.T
	w       []*witnesstest.Witness
	changed chan struct{}
}

// newWitnessed starts a collector for n witnesses under a quorum of k; it stops
// with the test.
func newWitnessed(t *testing.T, k, n int, change func(*CollectorOptions)) *witnessed {
	t.Helper()
	l := &witnessed{testLog: newTestLog(t), t: t, changed: make(chan struct{}, 1)}
	hosts := make(network)
	var text, names strings.Builder
	fmt.Fprintf(&text, "log %s\n", l.key)
	for i := range n {
		w := witnesstest.New(fmt.Sprintf("witness.example/w%d", i+1))
		w.Know(l.key.String())
		l.w = append(l.w, w)
		host := fmt.Sprintf("w%d.example", i+1)
		hosts[host] = w
		fmt.Fprintf(&text, "witness w%d %s http://%s\n", i+1, w.Key(), host)
		if i < n-1 || n == k {
			fmt.Fprintf(&names, " w%d", i+1) // the last is outside the quorum
		}
	}
	fmt.Fprintf(&text, "group g %d%s\nquorum g\n", k, names.String())
	pol, err := policy.Parse([]byte(text.String()))
	if err != nil {
		t.Fatal(err)
	}
	o := CollectorOptions{
		Origin: testOrigin, Policy: pol, Prove: l.prove, Client: Options{Transport: hosts},
		Changed: func() {
			select {
			case l.changed <- struct{}{}:
			default:
			}
		},
	}
	if change != nil {
		change(&o)
	}
	if l.Collector, err = NewCollector(o); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		l.Run(ctx)
	}()
	t.Cleanup(func() { cancel(); <-done })
	return l
}

// publicSize waits until nothing moves, and returns the size of the public
// checkpoint and who cosigned it. It must satisfy the policy.
func (l *witnessed) publicSize() (uint64, []string) {
	l.t.Helper()
	synctest.Wait()
	cp, version := l.Public()
	if version == 0 {
		return 0, nil
	}
	v, err := l.o.Policy.Verify(cp.Note, time.Now())
	if err != nil {
		l.t.Fatalf("public, and not as the policy wants it: %v", err)
	}
	var who []string
	for _, c := range v.Cosignatures {
		who = append(who, c.Witness)
	}
	return v.Size, who
}

func (l *witnessed) wantPublic(size uint64, who string) {
	l.t.Helper()
	if got, names := l.publicSize(); got != size || strings.Join(names, " ") != who {
		l.t.Errorf("public: size %d cosigned by %v, want %d by %s", got, names, size, who)
	}
}

func TestAllWitnessesAreAskedAndOnlyTheQuorumDecides(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newWitnessed(t, 2, 4, nil)
		l.Offer(l.grow(t, 3, "x"))
		l.wantPublic(3, "w1 w2 w3 w4")
		// w4 is outside the quorum: with it and one more there is none.
		l.w[0].SetFaults(witnesstest.Faults{Down: true})
		l.w[1].SetFaults(witnesstest.Faults{Status: 500})
		l.Offer(l.grow(t, 3, "x"))
		time.Sleep(time.Minute)
		l.wantPublic(3, "w1 w2 w3 w4")
		size, missing := l.Waiting(10 * time.Second)
		if size != 6 || len(missing) != 2 || missing[0].Witness != "w1" || OutcomeOf(missing[0].Err) != Unreachable || OutcomeOf(missing[1].Err) != Refused {
			t.Errorf("waiting at %d for %+v, want w1 and w2 named with why", size, missing)
		}
		l.w[1].SetFaults(witnesstest.Faults{})
		time.Sleep(2 * DefaultBackoffMax)
		l.wantPublic(6, "w2 w3 w4")
	})
}

func TestLateCosignaturesAreMerged(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newWitnessed(t, 2, 4, nil)
		slow := make(chan struct{})
		l.w[3].SetFaults(witnesstest.Faults{Hang: slow})
		l.Offer(l.grow(t, 3, "x"))
		l.wantPublic(3, "w1 w2 w3")
		_, before := l.Public()
		close(slow)
		l.wantPublic(3, "w1 w2 w3 w4")
		if _, after := l.Public(); after == before {
			t.Error("nobody is told of the late one")
		}
	})
}

// A cosignature of a text that is not public any more is of no use, and does no
// harm.
func TestCosignatureThatIsTooLateIsDropped(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newWitnessed(t, 2, 4, nil)
		slow := make(chan struct{})
		l.w[3].SetFaults(witnesstest.Faults{Hang: slow})
		l.Offer(l.grow(t, 3, "x"))
		l.wantPublic(3, "w1 w2 w3")
		l.Offer(l.grow(t, 3, "x"))
		l.wantPublic(6, "w1 w2 w3")
		l.w[3].SetFaults(witnesstest.Faults{})
		close(slow)
		l.wantPublic(6, "w1 w2 w3 w4")
	})
}

// While a checkpoint waits for its quorum newer ones wait, so that slow witnesses
// do not each cosign another one.
func TestWitnessesCosignTheSameCheckpoint(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newWitnessed(t, 3, 4, nil)
		for i, w := range l.w {
			w.SetFaults(witnesstest.Faults{Before: func(*http.Request) { time.Sleep(time.Duration(100+130*i) * time.Millisecond) }})
		}
		var sizes []uint64
		for range 100 {
			l.Offer(l.grow(t, 1, "x"))
			time.Sleep(100 * time.Millisecond)
			if size, _ := l.publicSize(); len(sizes) == 0 || size != sizes[len(sizes)-1] {
				sizes = append(sizes, size)
			}
		}
		if len(sizes) < 15 {
			t.Errorf("%d checkpoints became public in 10 s with witnesses that need up to 0.4 s: %v", len(sizes), sizes)
		}
		if !slices.IsSorted(sizes) {
			t.Errorf("sizes went back: %v", sizes)
		}
		time.Sleep(5 * time.Second)
		l.wantPublic(100, "w1 w2 w3 w4")
	})
}

// What nobody signed stops nothing: neither the checkpoint nor later ones.
func TestLiarsWithinTheQuorumDelayNothing(t *testing.T) {
	for name, f := range map[string]witnesstest.Faults{
		"larger size":     {Claim: 1 << 50},
		"one more":        {Claim: 4},
		"garbage":         {Body: "?"},
		"wrong signature": {WrongKey: true},
		"another text":    {OtherText: true},
		"forgets":         {NotStored: true},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				l := newWitnessed(t, 2, 4, nil)
				l.w[0].SetFaults(f)
				begin := time.Now()
				for i := range 20 {
					l.Offer(l.grow(t, 1, "x"))
					if size, who := l.publicSize(); size != uint64(i+1) || !slices.Contains(who, "w2") || !slices.Contains(who, "w3") {
						t.Fatalf("public: %d by %v, want %d", size, who, i+1)
					}
				}
				if time.Since(begin) > 0 {
					t.Errorf("it took %v", time.Since(begin))
				}
				if !f.NotStored {
					if st := l.Statuses()[0]; st.Err == nil || st.Failures == 0 {
						t.Errorf("the status does not name it: %+v", st)
					}
				}
			})
		})
	}
}

func TestHangingWitnessTakesOneRequestAtATime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newWitnessed(t, 2, 4, nil)
		var n atomic.Int64
		l.w[0].SetFaults(witnesstest.Faults{Hang: make(chan struct{}), Before: func(*http.Request) { n.Add(1) }})
		for range 100 {
			l.Offer(l.grow(t, 1, "x"))
			time.Sleep(time.Second)
		}
		l.wantPublic(100, "w2 w3 w4")
		if n.Load() > 20 {
			t.Errorf("%d requests to a witness that hangs, in 100 s", n.Load())
		}
		if OutcomeOf(l.Statuses()[0].Err) != TimedOut {
			t.Errorf("status %+v", l.Statuses()[0])
		}
	})
}

// The public checkpoint is cosigned again while the log is quiet.
func TestPublicCheckpointStaysFresh(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newWitnessed(t, 2, 4, func(o *CollectorOptions) { o.Republish = time.Minute })
		l.Offer(l.grow(t, 3, "x"))
		for range 10 {
			time.Sleep(time.Minute + time.Second)
			l.wantPublic(3, "w1 w2 w3 w4")
			cp, _ := l.Public()
			v, _ := l.o.Policy.Verify(cp.Note, time.Now())
			if v.Age > time.Minute+2*time.Second {
				t.Errorf("age %v", v.Age)
			}
		}
		if n := l.w[0].Requests(); n < 10 || n > 12 {
			t.Errorf("%d requests, want one a minute", n)
		}
		// A quorum that is gone takes nothing away, and a newer checkpoint does
		// not wait for the old one's freshness.
		l.w[0].SetFaults(witnesstest.Faults{Down: true})
		l.w[1].SetFaults(witnesstest.Faults{Down: true})
		time.Sleep(10 * time.Minute)
		l.wantPublic(3, "w1 w2 w3 w4")
		if size, _ := l.Waiting(0); size != 0 {
			t.Error("a checkpoint that is public is said to wait")
		}
		l.Offer(l.grow(t, 1, "x"))
		l.w[0].SetFaults(witnesstest.Faults{})
		time.Sleep(2 * DefaultBackoffMax)
		l.wantPublic(4, "w1 w3 w4")
	})
}

// A checkpoint that cannot get its quorum gives way to a newer one.
func TestCheckpointWithoutQuorumGivesWay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newWitnessed(t, 2, 3, nil)
		l.w[0].SetFaults(witnesstest.Faults{Down: true})
		l.Offer(l.grow(t, 1, "x"))
		time.Sleep(time.Second)
		l.Offer(l.grow(t, 1, "x"))
		time.Sleep(giveUp)
		if got := l.w[1].Size(testOrigin); got != 2 {
			t.Errorf("w2 has cosigned size %d, want the newest", got)
		}
		l.wantPublic(0, "")
	})
}

func TestRestoredCheckpointStaysPublic(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newWitnessed(t, 2, 4, nil)
		l.Offer(l.grow(t, 3, "x"))
		l.wantPublic(3, "w1 w2 w3 w4")
		cp, _ := l.Public()
		again, err := NewCollector(l.o)
		if err != nil {
			t.Fatal(err)
		}
		if err := again.Restore(cp.Note); err != nil {
			t.Fatal(err)
		}
		if got, version := again.Public(); version == 0 || string(got.Note) != string(cp.Note) {
			t.Errorf("restored %s, want %s", got.Note, cp.Note)
		}
		alone := l.sign(t, cp.Head)
		if err := again.Restore(alone.Note); err == nil {
			t.Error("restored a checkpoint without cosignatures")
		}
	})
}

func TestWitnessesBehindOneURLAreAskedOnce(t *testing.T) {
	l := newTestLog(t)
	a, b := witnesstest.New("a"), witnesstest.New("b")
	pol, err := policy.Parse([]byte(fmt.Sprintf("log %s\nwitness a %s http://w.example\nwitness b %s http://w.example/\ngroup g any a b\nquorum g\n", l.key, a.Key(), b.Key())))
	if err != nil {
		t.Fatal(err)
	}
	c, err := NewCollector(CollectorOptions{Origin: testOrigin, Policy: pol, Prove: l.prove})
	if err != nil {
		t.Fatal(err)
	}
	if len(c.Clients()) != 1 || len(c.Clients()[0].Witnesses()) != 2 {
		t.Errorf("%d clients", len(c.Clients()))
	}
}

func TestQuorumThatNobodyCanBeAskedForIsRefused(t *testing.T) {
	l := newTestLog(t)
	a, b := witnesstest.New("a"), witnesstest.New("b")
	pol, err := policy.Parse([]byte(fmt.Sprintf("log %s\nwitness a %s http://w.example\nwitness b %s\ngroup g all a b\nquorum g\n", l.key, a.Key(), b.Key())))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := NewCollector(CollectorOptions{Origin: testOrigin, Policy: pol, Prove: l.prove}); err == nil {
		t.Error("no error")
	}
}

// A clock that is off is named, and its cosignature counts: the time is no part of
// what makes a quorum.
func TestWitnessWithAWrongClockIsNamed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newWitnessed(t, 2, 3, nil)
		l.w[0].SetFaults(witnesstest.Faults{ClockOff: 365 * 24 * time.Hour})
		l.Offer(l.grow(t, 1, "x"))
		l.wantPublic(1, "w1 w2 w3")
		if got := l.Statuses()[0].Clock; got != 365*24*time.Hour {
			t.Errorf("clock off by %v", got)
		}
	})
}
