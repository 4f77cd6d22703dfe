package store

import (
	"context"
	"encoding/binary"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/firn-log/firn/log/statement"
	"github.com/firn-log/firn/tracker/eval"
)

// factory makes statements without signing them, which would take most of the time: their signatures are those of
// another statement, and nobody who says that they are verified looks at them.
type factory struct {
	t      testing.TB
	signer statement.Signer
	head   []byte // of a leaf, up to the payload
	sig    []byte
}

func newFactory(t testing.TB, s statement.Signer) *factory {
	t.Helper()
	st, err := statement.Sign(context.Background(), s, spec{name: "template"}.body(t), "", nil)
	if err != nil {
		t.Fatal(err)
	}
	leaf := st.Leaf()
	n := len(leaf) - 66 - len(st.Payload) - 3 // the payload has a head of three bytes
	return &factory{t: t, signer: s, head: leaf[:n], sig: leaf[len(leaf)-66:]}
}

func (f *factory) make(b statement.Body) *statement.Statement {
	payload, err := statement.EncodePayload(b, "", nil)
	if err != nil {
		f.t.Fatal(err)
	}
	leaf := slices.Clone(f.head)
	leaf = append(leaf, 0x59)
	leaf = binary.BigEndian.AppendUint16(leaf, uint16(len(payload)))
	leaf = append(append(leaf, payload...), f.sig...)
	s, err := statement.Parse(leaf)
	if err != nil {
		f.t.Fatal(err)
	}
	return s
}

// scaled is a database of some size: channels with attrs attributes each, and n statements
// about their outputs and about as many of former versions.
type scaled struct {
	db        *DB
	factories []*factory
	next      uint64
	built     int
	attrs     int
}

func (s *scaled) spec(i int) spec {
	sp := spec{name: fmt.Sprintf("package-%d-1.%d", i, i%17), what: "same", finished: uint64(1_700_000_000 + i)}
	if i%4 == 0 {
		sp.outputs = []string{"dev", "out"}
	}
	return sp
}

// entries returns the next n builds: three operators build everything in turn.
func (s *scaled) entries(n int) (es []Entry) {
	for range n {
		sp := s.spec(s.built / 3)
		if s.built%37 == 0 {
			sp.what = "other"
		}
		b := sp.body(s.factories[0].t)
		binary.BigEndian.PutUint64(b.BuildID[:], uint64(s.built))
		st := s.factories[s.built%3].make(b)
		es = append(es, Entry{Index: s.next, Leaf: st.Leaf(), Statement: st, Verified: true})
		s.built++
		s.next++
	}
	return es
}

func (s *scaled) evaluation(t testing.TB, channel string, seq int64, tier eval.Tier, shift int) evaluation {
	e := evaluation{h: header(channel, seq, tier, true)}
	for i := range s.attrs {
		a := eval.Attribute{Attr: fmt.Sprintf("set%02d.package%06d", i%40, i)}
		n := i
		if (i+shift)%25 == 0 {
			n += s.attrs * int(seq) // another version
		}
		if tier == eval.Meta {
			a.Pname, a.Version, a.Description = fmt.Sprint("package-", i), fmt.Sprint("1.", n), "A package that does something or other"
			a.Maintainers = []eval.Maintainer{{Login: fmt.Sprint("maintainer", i%3000)}, {Login: fmt.Sprint("maintainer", i%2999)}}
			a.Licences, a.Position = []string{"MIT"}, fmt.Sprintf("pkgs/by-name/%d/package.nix:7", i)
		} else {
			sp := s.spec(n)
			a.Drv, a.Outputs, a.FOD = sp.drv(), sp.paths(t), i%10 == 9
		}
		e.attrs = append(e.attrs, a)
	}
	slices.SortFunc(e.attrs, func(a, b eval.Attribute) int { return strings.Compare(a.Attr, b.Attr) })
	return e
}

func fill(t testing.TB, db *DB, statements, attrs int, channels ...string) *scaled {
	t.Helper()
	s := &scaled{db: db, attrs: attrs}
	var first []*statement.Statement
	for _, name := range []string{"alice", "bob", "carol"} {
		p := newPerson(t, name)
		first = append(first, p.first, p.add)
		s.factories = append(s.factories, newFactory(t, p.build))
	}
	add(t, db, logA, entries(0, first...))
	s.next = uint64(len(first))
	for i, ch := range channels {
		for seq := int64(1); seq <= 2; seq++ {
			evaluate(t, db, s.evaluation(t, ch, seq, eval.Meta, i))
			evaluate(t, db, s.evaluation(t, ch, seq, eval.Drvs, i))
		}
	}
	for s.built < statements {
		add(t, db, logA, s.entries(min(4000, statements-s.built)))
	}
	return s
}

// pages calls every read method; name says which, for times.
func (s *scaled) pages(i int) map[string]func(context.Context) error {
	db := s.db
	n := i % s.attrs
	attr := fmt.Sprintf("set%02d.package%06d", n%40, n)
	path := s.spec(n).paths(s.factories[0].t)["out"]
	channel := []string{"a", "b", "c"}[i%3]
	who := fmt.Sprint("maintainer", i%3000)
	p := Page{Limit: 50}
	op, _ := db.Operators(context.Background(), Page{Limit: 10})
	id := op.Rows[i%len(op.Rows)].ID
	return map[string]func(context.Context) error{
		"overview": func(ctx context.Context) error { _, err := db.Overview(ctx); return err },
		"channel":  func(ctx context.Context) error { _, err := db.Channel(ctx, channel); return err },
		"trend":    func(ctx context.Context) error { _, err := db.Trend(ctx, "channel", channel, channel); return err },
		"worst": func(ctx context.Context) error {
			_, err := db.Attributes(ctx, Filter{Channel: channel, Order: Worst}, p)
			return err
		},
		"by name": func(ctx context.Context) error {
			_, err := db.Attributes(ctx, Filter{Channel: channel}, Page{After: cursor(attr, 1), Limit: 50})
			return err
		},
		"differing": func(ctx context.Context) error {
			_, err := db.Attributes(ctx, Filter{Channel: channel, State: Differ}, p)
			return err
		},
		"changes":    func(ctx context.Context) error { _, err := db.Changes(ctx, channel, 0, i%2 == 0, p); return err },
		"attribute":  func(ctx context.Context) error { _, err := db.Attribute(ctx, attr); return err },
		"output":     func(ctx context.Context) error { _, _, err := db.Output(ctx, path); return err },
		"maintainer": func(ctx context.Context) error { _, err := db.Maintainer(ctx, who); return err },
		"of maintainer": func(ctx context.Context) error {
			_, err := db.Attributes(ctx, Filter{Maintainer: who, Order: Worst}, p)
			return err
		},
		"of maintainer in channel": func(ctx context.Context) error {
			_, err := db.Attributes(ctx, Filter{Maintainer: who, Channel: channel, State: Differ}, p)
			return err
		},
		"trend of maintainer": func(ctx context.Context) error { _, err := db.Trend(ctx, "maintainer", who, channel); return err },
		"operators":           func(ctx context.Context) error { _, err := db.Operators(ctx, p); return err },
		"operator":            func(ctx context.Context) error { _, err := db.Operator(ctx, id); return err },
		"operator outputs":    func(ctx context.Context) error { _, err := db.OperatorOutputs(ctx, id, State(i%4), p); return err },
		"queue":               func(ctx context.Context) error { _, err := db.Queue(ctx, channel, p); return err },
		"logs":                func(ctx context.Context) error { _, err := db.Logs(ctx); return err },
		"closures":            func(ctx context.Context) error { _, err := db.Closures(ctx, p); return err },
		"search word":         func(ctx context.Context) error { _, err := db.Search(ctx, fmt.Sprint("package", n), 20); return err },
		"search letter":       func(ctx context.Context) error { _, err := db.Search(ctx, "p", 20); return err },
		"search path":         func(ctx context.Context) error { _, err := db.Search(ctx, path[:8], 20); return err },
	}
}

// refill goes on with a database that fill has filled.
func refill(t testing.TB, db *DB, attrs int) *scaled {
	t.Helper()
	s := &scaled{db: db, attrs: attrs}
	for _, name := range []string{"alice", "bob", "carol"} {
		s.factories = append(s.factories, newFactory(t, newPerson(t, name).build))
	}
	next, _, err := db.Progress(t.Context(), logA)
	if err != nil {
		t.Fatal(err)
	}
	s.next, s.built = next, int(next)-6
	return s
}

// TestScale measures what FIRN_TRACKER_SCALE asks for, "statements attributes", for instance 1000000 100000: replay,
// pages alone and while it runs, and memory. With FIRN_TRACKER_SCALE_DB the database is kept there, and used the next time, so
// that the memory is that of a program that has not made everything up.
func TestScale(t *testing.T) {
	var statements, attrs int
	if _, err := fmt.Sscan(os.Getenv("FIRN_TRACKER_SCALE"), &statements, &attrs); err != nil {
		t.Skip("FIRN_TRACKER_SCALE does not say how large")
	}
	path := os.Getenv("FIRN_TRACKER_SCALE_DB")
	if path == "" {
		path = filepath.Join(t.TempDir(), "t.db")
	}
	_, err := os.Stat(path)
	db := openAt(t, path, Options{})
	start, cpu := time.Now(), cpuTime()
	var s *scaled
	if err != nil {
		s = fill(t, db, statements, attrs, "a", "b", "c")
	} else {
		s = refill(t, db, attrs)
	}
	t.Logf("filled in %s, %s of CPU with making it up", time.Since(start).Round(time.Millisecond), (cpuTime() - cpu).Round(time.Millisecond))
	if st, err := os.Stat(path); err == nil {
		t.Logf("%d MB on disk", st.Size()>>20)
	}
	start, cpu = time.Now(), cpuTime()
	calls := 0
	for i := range 20 {
		for _, f := range s.pages(i*7919 + 1) {
			if err := f(t.Context()); err != nil {
				t.Error(err)
			}
			calls++
		}
	}
	t.Logf("%d pages alone: %s each, %s of CPU", calls, time.Since(start)/time.Duration(calls), (cpuTime()-cpu)/time.Duration(calls))
	made := make(chan []Entry, 2)
	stop := make(chan bool)
	go func() {
		defer close(made)
		for {
			select {
			case made <- s.entries(2000):
			case <-stop:
				return
			}
		}
	}()
	done := make(chan bool)
	go func() {
		defer close(done)
		n, spent := 0, time.Duration(0)
		for es := range made {
			begin := time.Now()
			if err := db.Write(context.Background(), func(tx *Tx) error { return tx.AddEntries(context.Background(), logA, es) }); err != nil {
				t.Error(err)
			}
			spent += time.Since(begin)
			n += len(es)
		}
		t.Logf("replayed %d at %.0f/s while pages were read", n, float64(n)/spent.Seconds())
	}()
	times := make(map[string][]time.Duration)
	var all []time.Duration
	for i := range 40 {
		for name, f := range s.pages(i * 7919) {
			begin := time.Now()
			if err := f(t.Context()); err != nil {
				t.Errorf("%s: %v", name, err)
			}
			d := time.Since(begin)
			times[name] = append(times[name], d)
			all = append(all, d)
		}
	}
	close(stop)
	<-done
	for name, ds := range times {
		slices.Sort(ds)
		t.Logf("%-26s p50 %8s p99 %8s", name, ds[len(ds)/2].Round(10*time.Microsecond), ds[len(ds)*99/100].Round(10*time.Microsecond))
	}
	slices.Sort(all)
	t.Logf("all pages p50 %s p99 %s", all[len(all)/2], all[len(all)*99/100])
	status, _ := os.ReadFile("/proc/self/status")
	for line := range strings.Lines(string(status)) {
		if strings.HasPrefix(line, "VmHWM") || strings.HasPrefix(line, "VmRSS") {
			t.Log(strings.TrimSpace(line))
		}
	}
}

func cpuTime() time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
