package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/firn-log/firn/internal/bincache"
)

const (
	installPaths  = 500
	installRounds = 3
	warmAtMost    = 1.10
	coldAtMost    = 1.5
	waitAtMost    = 20 * time.Second
)

// benchSubstituter installs a closure with stock Nix from a cache and through firn-substituter, with
// a log. Each of them is a process of its own. FIRN_NIX234 may name a root with another Nix (deploy/nixes.sh).
func benchSubstituter(ctx context.Context, dir, bin string, cal calibration) ([]row, error) {
	dir = filepath.Join(dir, "substituter")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, err
	}
	c, err := packCache(ctx, filepath.Join(dir, "cache"), bin, installPaths)
	if err != nil {
		return nil, err
	}
	url, stopCache, err := c.serve(ctx)
	if err != nil {
		return nil, err
	}
	defer stopCache()
	l, err := startLog(ctx, dir, bin)
	if err != nil {
		return nil, err
	}
	defer l.stop()
	policy, err := c.vouched(ctx, l, dir, url)
	if err != nil {
		return nil, err
	}
	var rows []row
	for _, nix := range []string{"", os.Getenv("FIRN_NIX234")} {
		if nix == "" && rows != nil {
			break // there is no other
		}
		in := &installing{ctx: ctx, dir: dir, bin: bin, policy: policy, nix: nix, cache: c, url: url}
		more, err := in.rows()
		if err != nil {
			return nil, err
		}
		rows = append(rows, more...)
	}
	ours, theirs, err := c.unpacking(ctx)
	if err != nil {
		return nil, err
	}
	rows = append(rows, row{what: "  processor time of unpacking and hashing these NARs", value: seconds(ours), fraction: "unpacking by xz: " + seconds(theirs)})
	more, err := benchNarInfos(ctx, dir, bin, l, cal)
	return append(rows, more...), err
}

// vouched has two operators claim the paths in the log, and writes a policy that needs both.
func (c *packedCache) vouched(ctx context.Context, l *testLog, dir, url string) (string, error) {
	var text strings.Builder
	fmt.Fprintf(&text, "log bench file bench.policy url %s\ncompleteness off\nupstream %s key %s\n", l.url, url, c.key)
	for _, name := range []string{"anna", "berta"} {
		op, err := l.register(ctx, name)
		if err != nil {
			return "", err
		}
		leaves := make([][]byte, len(c.infos))
		for i, info := range c.infos {
			_, modulo, err := pathInfo(i, 0)
			if err != nil {
				return "", err
			}
			if leaves[i], err = op.claimLeaf(ctx, &info.PathInfo, modulo, packageName(i)); err != nil {
				return "", err
			}
		}
		if _, err := post(http.DefaultClient, l.url, leaves, 10*time.Second); err != nil {
			return "", err
		}
		fmt.Fprintf(&text, "operator %s id %s\n", name, op.id)
	}
	text.WriteString("group builders 2 anna berta\nrule default need builders else refuse\n")
	policy := filepath.Join(dir, "firn.policy")
	return policy, errors.Join(
		os.WriteFile(policy, []byte(text.String()), 0o644),
		os.WriteFile(filepath.Join(dir, "bench.policy"), []byte("log "+l.vkey+"\nquorum none\n"), 0o644),
	)
}

// substituting is a running firn-substituter.
type substituting struct {
	cmd      *exec.Cmd
	url, key string
	stop     func()
}

// startSubstituter makes one below dir and runs it.
func startSubstituter(ctx context.Context, dir, bin, policy string) (*substituting, error) {
	ports, err := freePorts(1)
	if err != nil {
		return nil, err
	}
	address := fmt.Sprintf("127.0.0.1:%d", ports[0])
	home := filepath.Join(dir, "firn-substituter-"+fmt.Sprint(ports[0]))
	program := filepath.Join(bin, "firn-substituter")
	init := exec.CommandContext(ctx, program, "init", "--policy", policy, "--listen", address, home)
	init.Stderr = os.Stderr
	key, err := init.Output()
	if err != nil {
		return nil, err
	}
	s := &substituting{cmd: exec.CommandContext(ctx, program, "serve", home), url: "http://" + address, key: strings.TrimSpace(string(key))}
	if s.stop, err = start(s.cmd, home+".out"); err != nil {
		return nil, err
	}
	if err := waitFor(ctx, s.url+"/nix-cache-info", waitAtMost); err != nil {
		s.stop()
		return nil, err
	}
	return s, nil
}

// installing measures installations by one Nix.
type installing struct {
	ctx                   context.Context
	dir, bin, policy, url string
	nix                   string // a root with another Nix; "" for the Nix of this machine
	cache                 *packedCache
	installed             int
}

// installation is what one took: wall time, processor time of Nix, and that of firn-substituter.
type installation struct{ wall, nix, ours time.Duration }

func (t installation) computed() time.Duration { return t.nix + t.ours }

// install has a new machine install the closure, directly if s is nil.
func (in *installing) install(s *substituting) (t installation, err error) {
	in.installed++
	m := &rebuildMachine{ctx: in.ctx, root: filepath.Join(in.dir, fmt.Sprintf("machine-%d", in.installed)), nix: in.nix}
	defer os.RemoveAll(m.root)
	url, key := in.url, in.cache.key.String()
	if s != nil {
		url, key = s.url, s.key
	}
	err = m.write(map[string]string{"etc/nix.conf": "sandbox = false\nbuild-users-group =\nsubstituters = " + url + "\ntrusted-public-keys = " + key + "\nrequire-sigs = true\n"})
	if err != nil {
		return t, err
	}
	// It makes its database, and what was written before is on disk.
	if _, err := m.run("nix-store -q --roots /nix/store >/dev/null 2>&1 || true; sync"); err != nil {
		return t, err
	}
	top := in.cache.infos[len(in.cache.infos)-1].Path.String()
	begin, nix, ours := time.Now(), childrenCPU(), s.computed()
	if _, err := m.run("nix-store -r " + top); err != nil {
		return t, err
	}
	t = installation{time.Since(begin), childrenCPU() - nix, s.computed() - ours}
	got, err := m.run("nix-store -qR " + top + " | wc -l")
	if err == nil && got != fmt.Sprint(len(in.cache.infos)) {
		err = fmt.Errorf("%s paths were installed", got)
	}
	return t, err
}

// computed is the processor time of firn-substituter so far; 0 if there is none.
func (s *substituting) computed() time.Duration {
	if s == nil {
		return 0
	}
	return processCPU(s.cmd.Process.Pid)
}

// childrenCPU is the processor time of programs that were run and have ended.
func childrenCPU() time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_CHILDREN, &u); err != nil {
		panic(err) // cannot happen: the arguments are constants
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

func median(all []time.Duration) time.Duration {
	all = slices.Clone(all)
	slices.Sort(all)
	return all[len(all)/2]
}

// rows installs in turn directly, without decisions, directly, and with decisions.
func (in *installing) rows() ([]row, error) {
	var direct, cold, warm []installation
	for range installRounds {
		s, err := startSubstituter(in.ctx, in.dir, in.bin, in.policy)
		if err != nil {
			return nil, err
		}
		for _, run := range []struct {
			into *[]installation
			s    *substituting
		}{{&direct, nil}, {&cold, s}, {&direct, nil}, {&warm, s}} {
			t, err := in.install(run.s)
			if err != nil {
				s.stop()
				return nil, err
			}
			*run.into = append(*run.into, t)
		}
		s.stop()
	}
	what, by := fmt.Sprintf("nix-store -r of %d paths ", installPaths), ""
	if in.nix != "" {
		by = ", " + filepath.Base(in.nix)
	}
	return []row{
		{what: what + "from an HTTP cache on loopback" + by, value: seconds(median(each(direct, installation.time))), fraction: fmt.Sprintf("%sB of NARs in xz; %s", count(float64(in.cache.bytes)), eachOf(each(direct, installation.time)))},
		beside(what+"through firn-substituter, decided"+by, each(warm, installation.time), each(direct, installation.time), 1, warmAtMost),
		beside(what+"through firn-substituter, not decided, log on loopback"+by, each(cold, installation.time), each(direct, installation.time), 0, coldAtMost),
		beside("  processor time of Nix and firn-substituter, decided"+by, each(warm, installation.computed), each(direct, installation.computed), 1, 0),
		{what: "  of which firn-substituter" + by, value: seconds(median(each(warm, func(t installation) time.Duration { return t.ours })))},
	}, nil
}

func (t installation) time() time.Duration { return t.wall }

func each(all []installation, what func(installation) time.Duration) []time.Duration {
	var out []time.Duration
	for _, t := range all {
		out = append(out, what(t))
	}
	return out
}

func seconds(d time.Duration) string { return fmt.Sprintf("%.2f s", d.Seconds()) }

// beside compares each installation with the direct one just before it, of which the first is at
// from, and reports the median ratio; atMost is 0 if there is no target.
func beside(what string, all, direct []time.Duration, from int, atMost float64) row {
	var ratios []float64
	for i, took := range all {
		ratios = append(ratios, took.Seconds()/direct[2*i+from].Seconds())
	}
	slices.Sort(ratios)
	r := ratios[len(ratios)/2]
	out := row{
		what: what, value: seconds(median(all)) + ", directly " + seconds(median(direct)),
		fraction: fmt.Sprintf("%.3f × directly (median of %.2f); %s", r, ratios, eachOf(all)),
	}
	if atMost > 0 {
		out.target, out.met = fmt.Sprintf("≤ %.2f × directly", atMost), r <= atMost
	}
	return out
}

func eachOf(all []time.Duration) string {
	var words []string
	for _, d := range all {
		words = append(words, fmt.Sprintf("%.2f", d.Seconds()))
	}
	return strings.Join(words, ", ") + " s"
}

// unpacking is the processor time of checking all NARs, without sending them, and of xz for unpacking them.
func (p *packedCache) unpacking(ctx context.Context) (ours, theirs time.Duration, err error) {
	c, err := bincache.Open(ctx, "file://"+p.dir, bincache.ClientOptions{})
	if err != nil {
		return 0, 0, err
	}
	before := ownCPU()
	args := []string{"--decompress", "--stdout", "--threads=1"}
	for _, info := range p.infos {
		if err := c.CheckNar(ctx, info); err != nil {
			return 0, 0, err
		}
		args = append(args, filepath.Join(p.dir, info.URL))
	}
	ours = ownCPU() - before
	cmd := exec.CommandContext(ctx, "xz", args...) // its output goes nowhere
	err = cmd.Run()
	return ours, childCPU(cmd), err
}

const (
	warmDecisions = 100_000
	warmRequests  = 50_000
	askers        = 32
)

// benchNarInfos has firn-substituter decide about many paths, by a rule that lets in what a cache
// signed, and then asks for their narinfos again.
func benchNarInfos(ctx context.Context, dir, bin string, l *testLog, cal calibration) ([]row, error) {
	made, err := makeCache(warmDecisions)
	if err != nil {
		return nil, err
	}
	ports, err := freePorts(1)
	if err != nil {
		return nil, err
	}
	address := fmt.Sprintf("127.0.0.1:%d", ports[0])
	srv := &http.Server{Addr: address, Handler: made}
	go srv.ListenAndServe()
	defer srv.Close()
	op, err := l.register(ctx, "carla")
	if err != nil {
		return nil, err
	}
	policy := filepath.Join(dir, "allow.policy")
	text := fmt.Sprintf("log bench file bench.policy url %s\ncompleteness off\ndecision-ttl 1h\nupstream http://%s key %s\noperator carla id %s\ngroup one 1 carla\nrule default need one else allow\n",
		l.url, address, made.key, op.id)
	if err := os.WriteFile(policy, []byte(text), 0o644); err != nil {
		return nil, err
	}
	s, err := startSubstituter(ctx, dir, bin, policy)
	if err != nil {
		return nil, err
	}
	defer s.stop()
	var names []string
	for name := range made.files {
		if strings.HasSuffix(name, ".narinfo") {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	first, err := askNarInfos(ctx, s.url, names, len(names))
	if err != nil {
		return nil, err
	}
	before := made.requests.Load()
	again, err := askNarInfos(ctx, s.url, names, warmRequests)
	if err == nil && made.requests.Load() != before {
		err = errors.New("the cache was asked again")
	}
	if err != nil {
		return nil, err
	}
	rss, err := residentMB(s.cmd.Process.Pid)
	if err != nil {
		return nil, err
	}
	const target, memory = 5000, 128
	return []row{
		{
			what: fmt.Sprintf("narinfos of firn-substituter, %s decided", count(warmDecisions)), value: fmt.Sprintf("%s/s, p99 %s", count(again.perSecond()), millis(again.quantile(.99))),
			target: fmt.Sprintf("≥ %s/s", count(target)), fraction: fmt.Sprintf("%.2f of ed25519 verify, with who asks on the same cores", again.perSecond()/cal.verifyPerSecond), met: again.perSecond() >= target,
		},
		{what: "  deciding them, each asked for at a cache and a log", value: count(first.perSecond()) + "/s"},
		{what: "  memory with these decisions (VmRSS)", value: fmt.Sprintf("%.0f MB", rss), target: fmt.Sprintf("< %d MB", memory), met: rss < memory},
	}, nil
}

// askNarInfos asks for n narinfos, each of which must be served.
func askNarInfos(ctx context.Context, url string, names []string, n int) (rate, error) {
	return drive(ctx, askers, n, func(c *http.Client, i int) (int, error) {
		name := names[i*7919%len(names)]
		resp, err := c.Get(url + "/" + name)
		if err != nil {
			return 0, err
		}
		if resp.StatusCode != http.StatusOK {
			var b bytes.Buffer
			_, _ = b.ReadFrom(resp.Body)
			return 0, fmt.Errorf("%s: %s: %s", name, resp.Status, b.String())
		}
		return 1, drain(resp)
	})
}

// residentMB is the memory of a process, in millions of bytes.
func residentMB(pid int) (float64, error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(string(text)) {
		if rest, ok := strings.CutPrefix(line, "VmRSS:"); ok {
			var kib float64
			_, err := fmt.Sscan(rest, &kib)
			return kib * 1024 / 1e6, err
		}
	}
	return 0, errors.New("no VmRSS in its status")
}
