package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/firn-log/firn/tracker/eval"
)

var (
	pagesFurther = flag.Int("further", 20_000, "number of statements that firn-tracker replays while its pages are read")
	pagesBeside  = flag.Bool("postgres", false, "the part pages also with a private PostgreSQL")
	pagesDir     = flag.String("made", "", "folder for the log and the database of the part pages, which later runs use; empty is a temporary one")
)

const (
	pageClients = 2
	pageP50     = 10 * time.Millisecond
	pageP99     = 50 * time.Millisecond
)

var trackerChannels = []string{"unstable", "stable", "old"}

// madeSteps is how often a log that is kept can be used.
const madeSteps = 6

// pagesOf is the database whose pages are read.
type pagesOf struct {
	name  string // as rows have it
	data  string // folder of the tracker
	args  []string
	fresh bool
}

// benchPages reads every kind of page of the real firn-tracker while it replays further entries.
func benchPages(ctx context.Context, temporary, bin string) ([]row, error) {
	dir, steps := filepath.Join(temporary, "pages"), 2
	if *pagesDir != "" {
		dir, steps = *pagesDir, madeSteps
	}
	data := filepath.Join(dir, "sqlite")
	t := &trackerRun{bin: bin, policy: filepath.Join(dir, "log.policy")}
	g := &trackerLog{dir: filepath.Join(dir, "log")}
	known := filepath.Join(dir, "made.json")
	text, err := os.ReadFile(known)
	fresh := err != nil
	if !fresh {
		err = json.Unmarshal(text, &g.made)
	} else {
		err = makePages(ctx, g, data, steps)
	}
	if err != nil {
		return nil, fmt.Errorf("making a log and evaluations: %w", err)
	}
	stop, err := g.serve(t.policy)
	if err != nil {
		return nil, err
	}
	defer stop()
	all := []pagesOf{{"SQLite", data, nil, fresh}}
	if *pagesBeside {
		pg, err := startPostgres(ctx, filepath.Join(temporary, "pg"))
		if err != nil || pg == nil {
			return nil, errors.Join(errors.New("there is no PostgreSQL to run beside SQLite"), err)
		}
		defer pg.stop()
		beside := filepath.Join(temporary, "pages-postgres")
		if err := errors.Join(os.MkdirAll(beside, 0o755), os.Symlink(filepath.Join(data, "evals"), filepath.Join(beside, "evals"))); err != nil {
			return nil, err
		}
		all = append(all, pagesOf{"PostgreSQL", beside, []string{"--database", pg.dsn}, true})
	}
	var rows []row
	for _, p := range all {
		some, err := p.read(ctx, t, g, known)
		if err != nil {
			return nil, err
		}
		rows = append(rows, some...)
	}
	return rows, nil
}

// read fills a database if need be and reads its pages; known says how far the log is.
func (p *pagesOf) read(ctx context.Context, t *trackerRun, g *trackerLog, known string) (rows []row, err error) {
	attrs := g.Statements / 10
	what := fmt.Sprintf("%s statements in %s, %d channels of %s attributes", count(float64(g.Statements)), p.name, len(trackerChannels), count(float64(attrs)))
	if p.fresh {
		filled, err := t.run(ctx, p.data, p.args...)
		if err != nil {
			return nil, err
		}
		rows = append(rows, row{
			what:     "firn-tracker, " + what + ": rebuild, verifying",
			value:    fmt.Sprintf("%s/s, then %.1f s for 3 evaluations of each, %d MiB", count(filled.rate), filled.evaluations.Seconds(), filled.rss>>20),
			fraction: fmt.Sprintf("%d µs of one core for each statement and its share of the evaluations", filled.cpu.Microseconds()),
		})
	}
	v, err := startTracker(ctx, t, p.data, p.args...)
	if err != nil {
		return nil, err
	}
	defer v.stop()
	cpu := processCPU(v.pid)
	alone, err := v.read(ctx, g, attrs, func() bool { return false }, 20)
	if err != nil {
		return nil, err
	}
	cpu = (processCPU(v.pid) - cpu) / time.Duration(len(alone.all()))
	if err := g.advance(); err != nil {
		return nil, err
	}
	text, err := json.Marshal(g.made)
	if err == nil {
		err = os.WriteFile(known, text, 0o644)
	}
	if err != nil {
		return nil, err
	}
	during, took, err := v.readWhile(ctx, g, attrs)
	if err != nil {
		return nil, err
	}
	rss := peak(v.pid)
	fmt.Fprintln(os.Stderr, p.name+":")
	during.print(os.Stderr, alone)
	fmt.Fprintf(os.Stderr, "a page takes %s of one core\n", millis(cpu))
	return append(rows, during.rows(what, alone, rss, float64(g.Further)/took.Seconds())...), nil
}

// makePages makes a log with further entries for some runs, and evaluations.
func makePages(ctx context.Context, g *trackerLog, data string, steps int) error {
	begin := time.Now()
	if err := errors.Join(g.generate(ctx, *statements), makeChannels(filepath.Join(data, "evals"), *statements)); err != nil {
		return err
	}
	for range steps {
		if err := g.more(ctx, *pagesFurther); err != nil {
			return err
		}
	}
	g.hashes = nil
	fmt.Fprintf(os.Stderr, "bench: a log of %s statements was made in %.1f s\n", count(float64(g.size)), time.Since(begin).Seconds())
	return nil
}

// makeChannels keeps three evaluations of each channel: n/10 attributes, whose derivations are
// some of those of n/4 outputs.
func makeChannels(dir string, n int) error {
	for i, name := range trackerChannels {
		c := &madeChannel{name: name, number: i, attrs: n / 10, outputs: n / trackerOperators, folder: eval.NewFolder(dir)}
		for seq := int64(1); seq <= 3; seq++ {
			if err := c.add(seq); err != nil {
				return err
			}
		}
	}
	return nil
}

// served is a firn-tracker that serves.
type served struct {
	url  string
	pid  int
	stop func()
}

var servesAt = regexp.MustCompile(`msg=serving address=(\S+)`)

// startTracker starts one, which asks for new entries every second, and waits until it is ready.
func startTracker(ctx context.Context, t *trackerRun, data string, args ...string) (*served, error) {
	if err := os.WriteFile(filepath.Join(data, "firn-tracker.toml"), []byte("poll = \"1s\"\n"), 0o644); err != nil {
		return nil, err
	}
	cmd := exec.CommandContext(ctx, filepath.Join(t.bin, "firn-tracker"), append([]string{"serve", "--listen", "127.0.0.1:0", "--log-policy", t.policy, data}, args...)...)
	r, w := io.Pipe()
	cmd.Stderr = w
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	address := make(chan string, 1)
	go func() {
		for lines := bufio.NewScanner(r); lines.Scan(); {
			if m := servesAt.FindStringSubmatch(lines.Text()); m != nil {
				address <- m[1]
			} else if strings.Contains(lines.Text(), "level=ERROR") {
				fmt.Fprintln(os.Stderr, lines.Text())
			}
		}
	}()
	v := &served{pid: cmd.Process.Pid, stop: func() { cmd.Process.Signal(os.Interrupt); cmd.Wait() }}
	select {
	case a := <-address:
		v.url = "http://" + a
	case <-time.After(time.Minute):
		v.stop()
		return nil, errors.New("firn-tracker does not serve within a minute")
	}
	if err := waitFor(ctx, v.url+"/readyz", time.Minute); err != nil {
		v.stop()
		return nil, err
	}
	return v, nil
}

// readWhile reads pages from when the tracker knows of further entries until it has them.
func (v *served) readWhile(ctx context.Context, g *trackerLog, attrs int) (pageTimes, time.Duration, error) {
	ready := func() (int, error) {
		resp, err := http.Get(v.url + "/readyz")
		if err != nil {
			return 0, err
		}
		return resp.StatusCode, drain(resp)
	}
	for begin := time.Now(); ; time.Sleep(10 * time.Millisecond) {
		if code, err := ready(); err != nil || time.Since(begin) > time.Minute {
			return nil, 0, errors.Join(err, errors.New("the tracker does not see further entries"))
		} else if code != http.StatusOK {
			break
		}
	}
	begin := time.Now()
	var done atomic.Bool
	var took time.Duration
	go func() {
		for code := 0; code != http.StatusOK && ctx.Err() == nil; time.Sleep(100 * time.Millisecond) {
			code, _ = ready()
		}
		took = time.Since(begin)
		done.Store(true)
	}()
	times, err := v.read(ctx, g, attrs, done.Load, 1<<30)
	return times, took, err
}

// read has clients read every kind of page in turn until done says so, at most rounds times.
func (v *served) read(ctx context.Context, g *trackerLog, attrs int, done func() bool, rounds int) (pageTimes, error) {
	var mu sync.Mutex
	var failed error
	all := make(pageTimes)
	kinds, err := v.kinds(g, attrs)
	if err != nil {
		return nil, err
	}
	var wg sync.WaitGroup
	for c := range pageClients {
		wg.Go(func() {
			client := &http.Client{Timeout: time.Minute, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
			r := rand.New(rand.NewPCG(1, uint64(c)))
			for range rounds {
				for _, i := range r.Perm(len(kinds)) {
					if done() || ctx.Err() != nil {
						return
					}
					path := kinds[i].path(r)
					begin := time.Now()
					err := get(client, v.url+path)
					mu.Lock()
					all[kinds[i].name] = append(all[kinds[i].name], time.Since(begin))
					failed = errors.Join(failed, err)
					mu.Unlock()
					if err != nil {
						return
					}
				}
			}
		})
	}
	wg.Wait()
	return all, errors.Join(failed, ctx.Err())
}

func get(c *http.Client, url string) error {
	resp, err := c.Get(url)
	if err != nil {
		return err
	}
	if err := drain(resp); err != nil {
		return err
	}
	if resp.StatusCode >= 400 || resp.StatusCode == http.StatusSeeOther && !strings.Contains(url, "/search") {
		return fmt.Errorf("%s: %s", url, resp.Status)
	}
	return nil
}

// pageKind is a kind of page; path makes the address of one of them.
type pageKind struct {
	name string
	path func(*rand.Rand) string
}

// kinds are all kinds of pages.
func (v *served) kinds(g *trackerLog, attrs int) ([]pageKind, error) {
	channel := func(r *rand.Rand) string { return trackerChannels[r.IntN(len(trackerChannels))] }
	attr := func(r *rand.Rand) string { return fmt.Sprintf("attribute-%d", r.IntN(attrs)) }
	base := func(r *rand.Rand) string {
		info, _, err := pathInfo(firstOutput+r.IntN(attrs), 0)
		if err != nil {
			return ""
		}
		return info.Path.Base()
	}
	who := func(r *rand.Rand) string { return fmt.Sprintf("maintainer-%d", r.IntN(attrs/30+1)) }
	operator := func(r *rand.Rand) string { return g.Operators[r.IntN(len(g.Operators))] }
	of := func(list []string) func(*rand.Rand) string {
		return func(r *rand.Rand) string { return list[r.IntN(len(list))] }
	}
	state := func(r *rand.Rand) string { return []string{"agree", "differ", "missing"}[r.IntN(3)] }
	// A cursor is numbers and a name; with another name it is that of another page.
	deep := make(map[string]func(*rand.Rand) string)
	for _, path := range []string{"/channel/unstable?order=name", "/channel/unstable?order=worst", "/queue?channel=unstable"} {
		numbers, err := v.cursor(path)
		if err != nil {
			return nil, err
		}
		deep[path] = func(r *rand.Rand) string { return path + "&after=" + url.QueryEscape(numbers+attr(r)) }
	}
	fixed := func(path string) func(*rand.Rand) string { return func(*rand.Rand) string { return path } }
	with := func(before string, f func(*rand.Rand) string, after string) func(*rand.Rand) string {
		return func(r *rand.Rand) string { return before + f(r) + after }
	}
	return append(searched(attrs), []pageKind{
		{"front", fixed("/")},
		{"front, JSON", fixed("/index.json")},
		{"channel", with("/channel/", channel, "")},
		{"channel, JSON", with("/channel/", channel, ".json")},
		{"channel, Atom", with("/channel/", channel, ".atom")},
		{"channel, by state", func(r *rand.Rand) string { return "/channel/" + channel(r) + "?state=" + state(r) }},
		{"channel, deep by name", deep["/channel/unstable?order=name"]},
		{"channel, deep by state", deep["/channel/unstable?order=worst"]},
		{"changes", with("/channel/", channel, "/changes?worse=0")},
		{"changes, Atom", with("/channel/", channel, "/changes.atom")},
		{"package", with("/package/", attr, "")},
		{"package, JSON", with("/package/", attr, ".json")},
		{"badge", func(r *rand.Rand) string { return "/badge/" + channel(r) + "/" + attr(r) + ".svg" }},
		{"path", with("/path/", base, "")},
		{"maintainer", with("/maintainer/", who, "")},
		{"maintainer, JSON", with("/maintainer/", who, ".json")},
		{"maintainer, by state", func(r *rand.Rand) string { return "/maintainer/" + who(r) + "?state=" + state(r) }},
		{"maintainer, Atom", with("/maintainer/", who, ".atom")},
		{"team", fixed("/team/team-0")},
		{"operators", fixed("/operators")},
		{"operator", with("/operator/", operator, "")},
		{"operator, by state", func(r *rand.Rand) string { return "/operator/" + operator(r) + "?state=" + state(r) }},
		{"closures", fixed("/closures")},
		{"closure", with("/closure/", of(g.Closures), "")},
		{"statement", with("/statement/", of(g.Examples), "")},
		{"statement, JSON", with("/statement/", of(g.Examples), ".json")},
		{"search, exact", with("/search?q=", attr, "")},
		{"search, prefix", func(r *rand.Rand) string { return fmt.Sprintf("/search?q=package-%d", r.IntN(100)) }},
		{"search, a letter", fixed("/search?q=a")},
		{"search, words", func(r *rand.Rand) string { return fmt.Sprintf("/search?q=attribute+%d", r.IntN(attrs)) }},
		{"search, a path", func(r *rand.Rand) string { return "/search?q=" + base(r)[:6] }},
		{"search, nothing", func(r *rand.Rand) string { return fmt.Sprintf("/search?q=nothing%d", r.IntN(1000)) }},
		{"queue", with("/queue?channel=", channel, "")},
		{"queue, deep", deep["/queue?channel=unstable"]},
		{"logs", fixed("/logs")},
		{"about", fixed("/about")},
	}...), nil
}

// cursor returns the numbers of the cursor of a listing of attributes, "0." if it has one page.
func (v *served) cursor(path string) (string, error) {
	path, q, _ := strings.Cut(path, "?")
	resp, err := http.Get(v.url + path + ".json?" + q)
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	var page struct{ Next string }
	if err := json.NewDecoder(resp.Body).Decode(&page); err != nil {
		return "", fmt.Errorf("%s: %w", path, err)
	}
	if i := strings.Index(page.Next, "attribute-"); i > 0 {
		return page.Next[:i], nil
	}
	return "0.", nil
}
