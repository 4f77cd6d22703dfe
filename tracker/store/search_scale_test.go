package store

import (
	"context"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/firn-log/firn/internal/pgtest"
	"github.com/firn-log/firn/tracker/eval"
)

// TestSearchScale measures searches over the folder of evaluations that FIRN_TRACKER_EVALS names, which
// bench makes (-only pages -made), alone and while statements are added: times by kind of question, size and memory.
// With FIRN_TRACKER_SCALE_DB the database is kept there.
func TestSearchScale(t *testing.T) {
	dir := os.Getenv("FIRN_TRACKER_EVALS")
	if dir == "" {
		t.Skip("FIRN_TRACKER_EVALS names no folder")
	}
	path := os.Getenv("FIRN_TRACKER_SCALE_DB")
	switch path {
	case "":
		path = filepath.Join(t.TempDir(), "t.db")
	case "postgres":
		path = pgtest.New(t).Database(t)
	}
	db := openAt(t, path, Options{})
	start, cpu := time.Now(), cpuTime()
	folder := eval.NewFolder(dir)
	for _, ch := range []string{"unstable", "stable", "old"} {
		have, err := db.Evaluated(t.Context(), ch, eval.Meta)
		if err != nil {
			t.Fatal(err)
		}
		for e, err := range folder.Read(ch, eval.Meta, have) {
			if err != nil {
				t.Fatal(err)
			}
			before := time.Now()
			write(t, db, func(tx *Tx) error { return tx.AddEvaluation(context.Background(), e.Header, e.Attributes) })
			t.Logf("%s %d added in %.1f s", ch, e.Seq, time.Since(before).Seconds())
		}
	}
	t.Logf("all added in %s, %s of CPU", time.Since(start).Round(time.Millisecond), (cpuTime() - cpu).Round(time.Millisecond))
	for _, q := range []string{"SELECT COUNT(*) FROM word WHERE kind IN (1, 7, 8)", "SELECT COUNT(*) FROM label", "SELECT COUNT(*) FROM attr_row"} {
		var n int64
		if err := db.r.QueryRow(q).Scan(&n); err != nil {
			t.Fatal(err)
		}
		t.Log(q, n)
	}
	questions := make(map[string]func(*rand.Rand) string)
	attr := func(r *rand.Rand) string { return fmt.Sprintf("attribute-%d", r.IntN(100_000)) }
	of := func(words ...string) func(*rand.Rand) string {
		return func(r *rand.Rand) string { return words[r.IntN(len(words))] }
	}
	common := of("library", "python", "tool", "based", "system", "files", "client", "source", "simple", "interface", "command", "linux")
	middling := of("http", "server", "json", "parser", "database", "editor", "network", "compiler", "font", "terminal", "game", "audio", "image", "video", "protocol")
	questions["exact"] = attr
	questions["common"] = common
	questions["common common"] = func(r *rand.Rand) string { return common(r) + " " + common(r) }
	questions["middling middling"] = func(r *rand.Rand) string { return middling(r) + " " + middling(r) }
	questions["common rare"] = func(r *rand.Rand) string { return common(r) + " " + fmt.Sprint(r.IntN(100_000)) }
	questions["begun"] = func(r *rand.Rand) string { return common(r)[:3] + " " + middling(r)[:3] }
	questions["a letter"] = of("a", "b", "p", "w")
	questions["unsaid"] = of("the", "for", "a of the")
	questions["slip"] = func(r *rand.Rand) string { return strings.Replace(attr(r), "attr", "atrt", 1) }
	questions["homepage"] = func(r *rand.Rand) string { return fmt.Sprintf("https://home-%d.example/", r.IntN(100_000)) }
	questions["nothing"] = func(r *rand.Rand) string { return fmt.Sprint("zzz", r.IntN(1000)) }
	questions["many words"] = func(r *rand.Rand) string {
		return strings.Join([]string{common(r), middling(r), common(r), middling(r), common(r), middling(r), common(r), common(r)}, " ")
	}
	measure := func(name string, rounds int) {
		var all []time.Duration
		for _, kind := range slices.Sorted(maps.Keys(questions)) {
			r := rand.New(rand.NewPCG(1, 2))
			var times []time.Duration
			hits, cpu := 0, cpuTime()
			for range rounds {
				text := questions[kind](r)
				begin := time.Now()
				h, err := db.Search(t.Context(), text, 31)
				if err != nil {
					t.Errorf("%s: %v", text, err)
				}
				hits += len(h)
				times = append(times, time.Since(begin))
			}
			slices.Sort(times)
			all = append(all, times...)
			t.Logf("%s: %-18s p50 %8.2f ms, p99 %8.2f ms, %7.2f ms of CPU, %.1f hits", name, kind, times[rounds/2].Seconds()*1000, times[rounds*99/100].Seconds()*1000, (cpuTime()-cpu).Seconds()*1000/float64(rounds), float64(hits)/float64(rounds))
		}
		slices.Sort(all)
		t.Logf("%s: all p50 %.2f ms, p99 %.2f ms", name, all[len(all)/2].Seconds()*1000, all[len(all)*99/100].Seconds()*1000)
	}
	measure("alone", 60)
	s := refillFrom(t, db)
	stop, done := make(chan bool), make(chan int)
	go func() {
		n := 0
		for {
			select {
			case <-stop:
				done <- n
				return
			default:
				es := s.entries(2000)
				write(t, db, func(tx *Tx) error { return tx.AddEntries(context.Background(), logA, es) })
				n += len(es)
			}
		}
	}()
	measure("while adding", 60) // its CPU is that of adding, too
	close(stop)
	t.Logf("%d statements were added meanwhile", <-done)
	status, _ := os.ReadFile("/proc/self/status")
	for line := range strings.Lines(string(status)) {
		if strings.HasPrefix(line, "VmHWM") || strings.HasPrefix(line, "VmRSS") {
			t.Log(strings.TrimSpace(line))
		}
	}
	if st, err := os.Stat(path); err == nil {
		t.Logf("%d MB on disk", st.Size()>>20)
	}
}

// refillFrom adds operators to a database if it has none, and goes on with them.
func refillFrom(t *testing.T, db *DB) *scaled {
	next, _, err := db.Progress(t.Context(), logA)
	if err != nil {
		t.Fatal(err)
	}
	if next > 0 {
		return refill(t, db, 100_000)
	}
	return fill(t, db, 0, 100_000)
}
