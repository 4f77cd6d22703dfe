package main

import (
	"bufio"
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"errors"
	"flag"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"strconv"
	"strings"
	"time"

	"golang.org/x/mod/sumdb/tlog"

	"github.com/firn-log/firn/internal/nix"
	"github.com/firn-log/firn/log"
	"github.com/firn-log/firn/log/policy"
	"github.com/firn-log/firn/tracker/eval"
)

// statements is the size of the log that the tracker replays. At full size, 1,000,000,
// there are 100,000 attributes in each of 3 channels.
var statements = flag.Int("statements", 50_000, "number of statements of the log that firn-tracker replays; 1,000,000 is full size")

const (
	trackerOrigin    = "tracker.bench.example/00000000"
	trackerOperators = 4  // who claim each output
	firstOutput      = 16 // before it, outputs refer to fewer others
	trackerRSS       = 200 << 20
	replayRate       = 6000  // statements a second, verifying
	knownRate        = 10000 // that are known to verify
)

var trackerChannels = []string{"unstable", "stable", "old"}

// benchTracker replays a log of made-up builds, served as static tiles, with the real
// firn-tracker: verifying, and again when it knows what verifies.
func benchTracker(ctx context.Context, dir, bin string, cal calibration) ([]row, error) {
	dir = filepath.Join(dir, "tracker")
	g := &trackerLog{dir: filepath.Join(dir, "log")}
	if err := g.generate(ctx, *statements); err != nil {
		return nil, fmt.Errorf("making a log: %w", err)
	}
	url, stop, err := g.serve()
	if err != nil {
		return nil, err
	}
	defer stop()
	logPolicy := filepath.Join(dir, "log.policy")
	if err := os.WriteFile(logPolicy, []byte("log "+g.vkey+" "+url+"\nquorum none\n"), 0o644); err != nil {
		return nil, err
	}
	t := &trackerRun{bin: bin, policy: logPolicy}
	what := fmt.Sprintf("firn-tracker, %s statements into ", count(float64(*statements)))
	limit := cal.verifyPerSecond * float64(runtime.NumCPU())
	one := filepath.Join(dir, "sqlite")
	var rows []row
	add := func(what string, r replayed, target float64) {
		rows = append(rows, row{
			what: what, value: fmt.Sprintf("%s/s, %d MiB", count(r.rate), r.rss>>20), target: fmt.Sprintf("≥ %s/s, < %d MiB", count(target), trackerRSS>>20),
			fraction: fmt.Sprintf("%.2f × the signatures that all cores check; %d µs of one core each", r.rate/limit, r.cpu.Microseconds()), met: r.rate >= target && r.rss < trackerRSS,
		})
	}
	first, err := t.run(ctx, one)
	if err != nil {
		return nil, err
	}
	add(what+"SQLite, verifying", first, replayRate)
	again, err := t.run(ctx, one)
	if err != nil {
		return nil, err
	}
	add(what+"SQLite, known to verify", again, knownRate)
	if first.dump != again.dump {
		return nil, errors.New("the second replay gives another database")
	}
	pg, err := startPostgres(ctx, filepath.Join(dir, "pg"))
	if err != nil || pg == nil {
		return rows, err
	}
	defer pg.stop()
	beside, err := t.run(ctx, filepath.Join(dir, "postgres"), "--database", pg.dsn)
	if err != nil {
		return nil, err
	}
	if beside.dump != first.dump {
		return nil, errors.New("PostgreSQL has another database than SQLite")
	}
	rows = append(rows, row{
		what: what + "PostgreSQL, verifying", value: fmt.Sprintf("%s/s, %d MiB", count(beside.rate), beside.rss>>20),
		fraction: fmt.Sprintf("%.2f × SQLite; %d µs of one core each, without PostgreSQL's own", beside.rate/first.rate, beside.cpu.Microseconds()),
	})
	if err := g.evaluate(filepath.Join(one, "evals"), *statements); err != nil {
		return nil, err
	}
	full, err := t.run(ctx, one)
	if err != nil {
		return nil, err
	}
	return append(rows, row{
		what:  fmt.Sprintf("the same with %d channels of %s attributes", len(trackerChannels), count(float64(*statements/10))),
		value: fmt.Sprintf("%v for evaluations, %s/s for the log, %d MiB", full.evaluations, count(full.rate), full.rss>>20),
	}), nil
}

// trackerRun runs firn-tracker rebuild.
type trackerRun struct{ bin, policy string }

// replayed is what a rebuild said and took.
type replayed struct {
	rate        float64 // entries a second
	evaluations time.Duration
	rss         int64         // bytes, at most
	cpu         time.Duration // of one core, for each entry
	dump        string
}

var rebuilt = regexp.MustCompile(`(\d+) entries of \d+ logs? in (\S+), \d+ evaluations? in (\S+)`)

func (t *trackerRun) run(ctx context.Context, dir string, args ...string) (replayed, error) {
	cmd := exec.CommandContext(ctx, filepath.Join(t.bin, "firn-tracker"), append([]string{"rebuild", "--log-policy", t.policy, dir}, args...)...)
	var stdout, said strings.Builder
	cmd.Stdout = &stdout
	stderr, err := cmd.StderrPipe()
	if err != nil {
		return replayed{}, err
	}
	if err := cmd.Start(); err != nil {
		return replayed{}, err
	}
	var m []string
	var most int64
	for lines := bufio.NewScanner(stderr); lines.Scan(); {
		fmt.Fprintln(&said, lines.Text())
		if found := rebuilt.FindStringSubmatch(lines.Text()); found != nil {
			m, most = found, peak(cmd.Process.Pid) // before it dumps
		}
	}
	if err := cmd.Wait(); err != nil || m == nil {
		return replayed{}, fmt.Errorf("%s: %w\n%s", cmd, err, said.String())
	}
	n, err1 := strconv.ParseFloat(m[1], 64)
	took, err2 := time.ParseDuration(m[2])
	evals, err3 := time.ParseDuration(m[3])
	r := replayed{rate: n / took.Seconds(), evaluations: evals, rss: most, dump: stdout.String(), cpu: time.Duration(float64(childCPU(cmd)) / n)}
	return r, errors.Join(err1, err2, err3)
}

// peak is the most memory that a process has had so far, in bytes; 0 if it cannot be seen.
func peak(pid int) int64 {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0
	}
	var kib int64
	for line := range strings.Lines(string(b)) {
		if v, ok := strings.CutPrefix(line, "VmHWM:"); ok {
			fmt.Sscan(v, &kib)
		}
	}
	return kib << 10
}

// trackerLog is a log of static tiles.
type trackerLog struct {
	dir, vkey string
	hashes    []tlog.Hash
	leaves    [][]byte // of the bundle that is not full
	size      int64
}

// generate makes a log of n claims, of trackerOperators about each output.
func (g *trackerLog) generate(ctx context.Context, n int) error {
	pub, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return err
	}
	k, err := policy.NewKey(trackerOrigin, policy.TypeEd25519, pub)
	if err != nil {
		return err
	}
	g.vkey = k.String()
	var operators []*operator
	for i := range trackerOperators {
		o, err := newOperator(ctx, fmt.Sprintf("operator-%d", i), trackerOrigin)
		if err != nil {
			return err
		}
		operators = append(operators, o)
		for _, leaf := range o.people {
			if err := g.add(leaf); err != nil {
				return err
			}
		}
	}
	const piece = 2048 // outputs
	for from := 0; from < n/trackerOperators; from += piece {
		all := make([][][]byte, trackerOperators)
		for i, o := range operators {
			if all[i], err = o.buildLeaves(ctx, firstOutput+from, min(piece, n/trackerOperators-from)); err != nil {
				return err
			}
		}
		for j := range all[0] {
			for i := range all {
				if err := g.add(all[i][j]); err != nil {
					return err
				}
			}
		}
	}
	return g.publish(k, key)
}

func (g *trackerLog) ReadHashes(indexes []int64) ([]tlog.Hash, error) {
	out := make([]tlog.Hash, len(indexes))
	for i, x := range indexes {
		out[i] = g.hashes[x]
	}
	return out, nil
}

func (g *trackerLog) add(leaf []byte) error {
	hashes, err := tlog.StoredHashes(g.size, leaf, g)
	if err != nil {
		return err
	}
	g.hashes = append(g.hashes, hashes...)
	g.leaves = append(g.leaves, leaf)
	g.size++
	if g.size%256 == 0 {
		return g.bundle(256)
	}
	return nil
}

// bundle writes the entries that are not written yet.
func (g *trackerLog) bundle(width int) error {
	b, err := log.MarshalLeaves(g.leaves)
	if err != nil {
		return err
	}
	g.leaves = nil
	return g.write(tlog.Tile{H: 8, N: (g.size - 1) / 256, W: width}, "entries", b)
}

func (g *trackerLog) write(tile tlog.Tile, level string, b []byte) error {
	path := filepath.Join(g.dir, strings.Replace(tile.Path(), fmt.Sprintf("tile/8/%d/", tile.L), "tile/"+level+"/", 1))
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	return os.WriteFile(path, b, 0o644)
}

// publish writes what is left, all tiles and the checkpoint.
func (g *trackerLog) publish(k policy.Key, key ed25519.PrivateKey) error {
	if len(g.leaves) > 0 {
		if err := g.bundle(len(g.leaves)); err != nil {
			return err
		}
	}
	for _, tile := range tlog.NewTiles(8, 0, g.size) {
		b, err := tlog.ReadTileData(tile, g)
		if err != nil {
			return err
		}
		if err := g.write(tile, strconv.Itoa(tile.L), b); err != nil {
			return err
		}
	}
	root, err := tlog.TreeHash(g.size, g)
	if err != nil {
		return err
	}
	g.hashes = nil
	note := policy.Note{Text: policy.Head{Origin: trackerOrigin, Size: uint64(g.size), Root: root}.Text()}
	note.Signatures = []policy.Signature{{Name: k.Name, ID: k.ID, Sig: ed25519.Sign(key, []byte(note.Text))}}
	return os.WriteFile(filepath.Join(g.dir, "checkpoint"), note.Marshal(), 0o644)
}

// serve serves the log on loopback until stop is called.
func (g *trackerLog) serve() (url string, stop func(), err error) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", nil, err
	}
	srv := &http.Server{Handler: http.FileServer(http.Dir(g.dir))}
	go srv.Serve(ln)
	return "http://" + ln.Addr().String(), func() { srv.Close() }, nil
}

// evaluate keeps an evaluation of both tiers of each channel: n/10 attributes, whose
// derivations are those of the n/4 outputs. Channels have some of them in common.
func (g *trackerLog) evaluate(dir string, n int) error {
	folder := eval.NewFolder(dir)
	outputs, attrs := n/trackerOperators, n/10
	for c, channel := range trackerChannels {
		h := eval.Header{
			Schema: eval.Schema, Channel: channel, Seq: 1, Tier: eval.Meta, Revision: fmt.Sprintf("%040d", c), Time: time.Unix(1_700_000_000, 0).UTC(), System: "x86_64-linux", Full: true,
		}
		meta, drvs := make(map[string]eval.Attribute, attrs), make(map[string]eval.Attribute, attrs)
		for a := range attrs {
			i := a
			if a%2 == 0 {
				i = (a + c*attrs) % outputs
			}
			i += firstOutput
			info, modulo, err := pathInfo(i, 0)
			if err != nil {
				return err
			}
			name := "attribute-" + strconv.Itoa(a)
			meta[name] = eval.Attribute{
				Attr: name, Name: packageName(i), Pname: "package-" + strconv.Itoa(i), Version: fmt.Sprintf("1.%d", i%17), System: "x86_64-linux",
				Position: fmt.Sprintf("pkgs/%d.nix:1", a), Description: "A package that was made up", Licences: []string{"MIT"},
				Maintainers: []eval.Maintainer{{Login: fmt.Sprintf("maintainer-%d", a%(attrs/30+1))}},
			}
			drvs[name] = eval.Attribute{
				Attr: name, Name: packageName(i), System: "x86_64-linux", Drv: nix.EncodeBase32(modulo[:20]) + "-" + packageName(i) + ".drv",
				Outputs: map[string]string{"out": info.Path.Base()},
			}
		}
		if _, _, err := folder.Add(h, meta); err != nil {
			return err
		}
		h.Tier = eval.Drvs
		if _, _, err := folder.Add(h, drvs); err != nil {
			return err
		}
	}
	return nil
}

// cluster is a PostgreSQL of this run.
type cluster struct {
	dsn  string
	stop func()
}

// startPostgres makes a cluster in dir; nil if PostgreSQL is not installed.
func startPostgres(ctx context.Context, dir string) (*cluster, error) {
	bin := ""
	if found, err := filepath.Glob("/usr/lib/postgresql/*/bin/initdb"); err == nil && len(found) > 0 {
		bin = filepath.Dir(found[len(found)-1])
	}
	if bin == "" {
		return nil, nil
	}
	if err := os.MkdirAll(dir, 0o777); err != nil {
		return nil, err
	}
	as := func(name string, args ...string) *exec.Cmd {
		return exec.CommandContext(ctx, filepath.Join(bin, name), args...)
	}
	if os.Getuid() == 0 { // PostgreSQL does not run as root
		for d := dir; len(d) > len(os.TempDir()); d = filepath.Dir(d) {
			if err := os.Chmod(d, 0o777); err != nil {
				return nil, err
			}
		}
		as = func(name string, args ...string) *exec.Cmd {
			return exec.CommandContext(ctx, "setpriv", append([]string{"--reuid=postgres", "--regid=postgres", "--init-groups", filepath.Join(bin, name)}, args...)...)
		}
	}
	data := filepath.Join(dir, "data")
	if out, err := as("initdb", "-D", data, "-U", "firn", "-A", "trust", "-E", "UTF8", "--locale=C", "--no-sync").CombinedOutput(); err != nil {
		return nil, fmt.Errorf("initdb: %w\n%s", err, out)
	}
	cmd := as("postgres", "-D", data, "-k", dir, "-c", "listen_addresses=")
	stop, err := start(cmd, filepath.Join(dir, "words"))
	if err != nil {
		return nil, err
	}
	socket := filepath.Join(dir, ".s.PGSQL.5432")
	for begin := time.Now(); ; time.Sleep(50 * time.Millisecond) {
		if as("pg_isready", "-h", dir).Run() == nil {
			break
		}
		if time.Since(begin) > 20*time.Second {
			stop()
			return nil, fmt.Errorf("PostgreSQL does not answer on %s", socket)
		}
	}
	return &cluster{"postgres://firn@/postgres?host=" + dir, stop}, nil
}
