package server

import (
	"math"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"
	"unsafe"

	"github.com/firn-log/firn/log/witnessing/witnesstest"
)

const (
	day  = 24 * time.Hour
	year = 365 * day
)

// setClock is the machine's clock after somebody has set it: the time of day jumps,
// and the monotonic reading, which nobody can set, goes on.
type setClock struct{ off atomic.Int64 } // seconds

// now is time.Now with another time of day. Package time has no way to make such a
// Time; TestSetClockIsLikeTheRealOne checks that this is one.
func (c *setClock) now() time.Time {
	t := time.Now()
	*(*uint64)(unsafe.Pointer(&t)) += uint64(c.off.Load()) << 30 // its first field: seconds above 30 bits of nanoseconds
	return t
}

func (c *setClock) step(d time.Duration) { c.off.Add(int64(d / time.Second)) }

func TestSetClockIsLikeTheRealOne(t *testing.T) {
	t.Parallel()
	for _, off := range []time.Duration{0, year, -year} {
		var c setClock
		c.step(off)
		before := time.Now()
		got := c.now()
		elapsed := got.Sub(before)
		if elapsed < 0 || elapsed > time.Minute {
			t.Errorf("set by %v: %v passed", off, elapsed)
		}
		if wall := got.Round(0).Sub(before.Round(0)); wall-off < 0 || wall-off > time.Minute {
			t.Errorf("set by %v: the time of day is off by %v", off, wall)
		}
	}
}

// newSetLog is a witnessed log on a machine whose clock can be set.
func newSetLog(t *testing.T, change func(*Config)) (*witnessed, *setClock) {
	t.Helper()
	c := new(setClock)
	l := &witnessed{testLog: &testLog{t: t, dir: t.TempDir()}}
	l.o.now = c.now
	l.init(func(conf *Config) {
		conf.Admission.Mode = "open"
		if change != nil {
			change(conf)
		}
	})
	l.addWitnesses(5, 3)
	l.o.Config.Witnessing.Republish.Duration = 50 * time.Millisecond
	l.open()
	t.Cleanup(l.close)
	return l, c
}

// requests waits until every one of the witnesses was asked more often than before.
func (l *witnessed) askedAgain(who ...int) {
	l.t.Helper()
	for _, n := range who {
		w := l.w[n-1]
		had := w.Requests()
		deadline := time.Now().Add(30 * time.Second)
		for w.Requests() <= had+1 {
			if time.Now().After(deadline) {
				l.t.Fatalf("w%d is not asked any more", n)
			}
			<-time.After(10 * time.Millisecond)
		}
	}
}

// The clock of the machine is set while the log runs, and the witnesses' clocks are
// right, or set with it.
func TestAClockThatIsSetStopsNothing(t *testing.T) {
	t.Parallel()
	for name, steps := range map[string][]time.Duration{
		"forwards a year": {year}, "backwards a year": {-year},
		"forwards and back": {year, -year}, "backwards and forwards": {-year, year},
	} {
		for _, witnesses := range []string{"right", "set too"} {
			t.Run(name+", witnesses "+witnesses, func(t *testing.T) {
				t.Parallel()
				l, c := newSetLog(t, nil)
				o := l.operator("alice")
				ids := []string{l.must(o.Builds(0, 1)...).Results[0].ID}
				off := time.Duration(0)
				for i, d := range steps {
					// w4 is down when the clock is set, and in a pause.
					l.faults(down, 4)
					ids = append(ids, l.must(o.Builds(2*i+1, 2*i+2)...).Results[0].ID)
					c.step(d)
					off += d
					f := witnesstest.Faults{}
					if witnesses == "set too" {
						f.ClockOff = off
					}
					l.faults(f, 1, 2, 3, 4, 5)

					// Receipts and checkpoints have their quorum, and fresh times.
					a := l.must(o.Builds(2*i+2, 2*i+3)...)
					ids = append(ids, a.Results[0].ID)
					v, err := l.pol.Verify([]byte(a.Checkpoint), c.now())
					if err != nil {
						t.Fatalf("receipt without a quorum: %v", err)
					}
					for _, cs := range v.Cosignatures {
						if age := time.Now().Add(f.ClockOff).Sub(cs.Time); age.Abs() > time.Minute {
							t.Errorf("%s cosigned at %v", cs.Witness, cs.Time)
						}
					}
					l.cosigned()
					l.until("/readyz", "ok\n")
					l.until("/metrics", "firn_log_signing 1\n")

					// The same tree is cosigned again and again, by the one in a pause too.
					l.askedAgain(1, 2, 3, 4, 5)
				}
				for _, id := range ids {
					if status, _, b := l.get("/v1/proof?wait=30s&id=" + id); status != http.StatusOK {
						t.Errorf("an acknowledged statement is not proven: %d %s", status, b)
					}
				}
				_, _, metrics := l.get("/metrics")
				_, said, _ := strings.Cut(string(metrics), `firn_log_witness_clock_offset_seconds{witness="w1"} `)
				said, _, _ = strings.Cut(said, "\n")
				ahead, err := strconv.ParseFloat(said, 64)
				if wrong := off != 0 && witnesses == "right"; err != nil || wrong != (math.Abs(ahead) > 60) {
					t.Errorf("clock off by %v, witnesses %s; the metrics say %q", off, witnesses, said)
				}
			})
		}
	}
}

// A day that the clock has seen counts; setting it brings none again.
func TestAClockThatIsSetGivesOneBudgetForEachDayItSees(t *testing.T) {
	t.Parallel()
	l, c := newSetLog(t, func(conf *Config) { conf.Admission.KeyStatements = 2 })
	o := l.operator("alice")
	next := 0
	use := func(when, code string) {
		t.Helper()
		_, a := l.post("?wait=0s", o.Builds(next, next+1)...)
		next++
		if got := a.Results[0].Error; got != code {
			t.Errorf("%s: %q, want %q", when, got, code)
		}
	}
	spend := func(when string) {
		t.Helper()
		use(when, "")
		use(when, "")
		use(when, "budget-key")
	}
	spend("the first day")
	c.step(-year)
	use("a year back", "budget-key")
	c.step(year)
	use("the first day again", "budget-key")
	c.step(year)
	spend("a year on")
	c.step(-year)
	use("and back", "budget-key")
	c.step(year + day)
	spend("the day after the latest")
}

// In doubt about its copy a log signs nothing because of what a wrong clock makes of
// the witnesses, takes nothing, and goes on when the clock is right.
func TestNothingIsSignedInDoubtUnderAWrongClock(t *testing.T) {
	t.Parallel()
	for name, d := range map[string]time.Duration{"a year ahead": year, "a year behind": -year} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			l, c := newSetLog(t, nil)
			o := l.operator("alice")
			id := l.must(o.Builds(0, 1)...).Results[0].ID
			size := l.settle()
			l.close()
			if err := os.Remove(filepath.Join(l.dir, recordName)); err != nil {
				t.Fatal(err)
			}
			c.step(d)
			l.open()
			l.until("/readyz", "w1 (its cosignature is of ")
			l.askedAgain(1, 2, 3)
			if status, _, b := l.postRaw("?wait=0s", o.Builds(1, 2)...); status != http.StatusServiceUnavailable {
				t.Errorf("taken in doubt: %d %s", status, b)
			}
			l.until("/metrics", "firn_log_signing 0\n")
			if _, err := os.Stat(filepath.Join(l.dir, recordName)); err == nil {
				t.Error("there is a record of something signed")
			}
			if got := l.cosigned().Size; got != size {
				t.Errorf("public at %d, want %d", got, size)
			}

			c.step(-d) // while it runs
			l.until("/readyz", "ok\n")
			l.must(o.Builds(1, 2)...)
			if status, _, b := l.get("/v1/proof?wait=30s&id=" + id); status != http.StatusOK {
				t.Errorf("what was acknowledged before: %d %s", status, b)
			}
		})
	}
}
