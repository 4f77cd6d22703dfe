package witnessing

import (
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/firn-log/firn/log/witnessing/witnesstest"
)

// ignore drops witnesses by number.
func (l *witnessed) ignore(numbers ...int) {
	pol := l.Policy()
	for _, n := range numbers {
		pol = pol.Ignoring(l.w[n-1].Key())
	}
	l.Ignore(pol)
}

func TestAnIgnoredWitnessIsDroppedLive(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newWitnessed(t, 2, 4, nil)
		l.Offer(l.grow(t, 3, "x"))
		l.wantPublic(3, "w1 w2 w3 w4")
		_, before := l.Public()
		l.ignore(1)
		l.wantPublic(3, "w2 w3 w4")
		if _, after := l.Public(); after <= before {
			t.Error("nobody is told")
		}
		asked := l.w[0].Requests()
		l.Offer(l.grow(t, 3, "x"))
		l.wantPublic(6, "w2 w3 w4")
		if got := l.w[0].Requests(); got != asked {
			t.Errorf("it is asked %d times", got-asked)
		}
		if names := l.Names(); slices.Contains(names, "w1") || len(l.Statuses()) != 3 {
			t.Errorf("asked: %q", names)
		}
		_, version := l.Public()
		l.ignore(1) // once more changes nothing
		if _, again := l.Public(); again != version {
			t.Error("the same again is news")
		}
	})
}

// What has its quorum by an ignored witness alone is not public any more for the
// collector, and cosigned by others it is again.
func TestWithoutTheIgnoredWitnessTheCheckpointWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newWitnessed(t, 2, 4, nil)
		l.w[2].SetFaults(witnesstest.Faults{Down: true})
		l.Offer(l.grow(t, 3, "x"))
		l.wantPublic(3, "w1 w2 w4")
		l.ignore(1)
		l.wantPublic(0, "")
		time.Sleep(11 * time.Second)
		if size, missing := l.Waiting(10 * time.Second); size != 3 || len(missing) != 1 || missing[0].Witness != "w3" {
			t.Errorf("waiting at %d for %+v", size, missing)
		}
		l.w[2].SetFaults(witnesstest.Faults{})
		time.Sleep(2 * DefaultBackoffMax)
		l.wantPublic(3, "w2 w3 w4")
	})
}

// An answer that was on its way when evidence came does not count.
func TestTheLateWordOfAnIgnoredWitnessDoesNotCount(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		heard := 0
		l := newWitnessed(t, 2, 4, func(o *CollectorOptions) {
			o.Asked = func(witness string, _ Checkpoint, _ *Cosignature, _ error) {
				if witness == "w1" {
					heard++
				}
			}
		})
		slow := make(chan struct{})
		l.w[0].SetFaults(witnesstest.Faults{Hang: slow})
		l.w[2].SetFaults(witnesstest.Faults{Down: true})
		l.Offer(l.grow(t, 3, "x"))
		l.wantPublic(0, "")
		l.ignore(1)
		close(slow)
		l.wantPublic(0, "")
		if heard > 0 {
			t.Error("its answer is heard")
		}
	})
}
