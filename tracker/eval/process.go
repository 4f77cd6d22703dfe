package eval

import (
	"bufio"
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// maxAnswer bounds one answer: the names in a set of 100,000 attributes.
const maxAnswer = 8 << 20

// answer is what the program says about one attribute, in the words of stream.nix.
type answer struct {
	at   int
	text []byte
}

// end says how a process ended.
type end struct {
	why   reason
	at    int    // the attribute that was being evaluated, -1 if none was
	past  bool   // it was known to be a derivation with a name, and the tier was asked
	next  int    // the first of which nothing was said
	words string // the evaluator's own, about why it failed; one line
	said  bool   // it said so itself, and ended by itself
	about []byte // what it says about itself, if it came to the end
	peak  int64  // bytes of memory at most
}

type reason int

const (
	finished reason = iota
	crashed
	overMemory
	overTime
	tooLong // its answer
	unloaded
)

// process is one run of nix-instantiate.
type process struct {
	word    string
	cmd     *exec.Cmd
	budget  int64
	timeout time.Duration
	lines   chan []byte // with our word, without it; closed at the end of stderr
	quit    chan struct{}
	other   tail // the rest of stderr, since the last attribute began
}

// start starts the evaluation of items in a process that is killed when ctx is done.
func (o *Options) start(ctx context.Context, tier Tier, items []item, budget int64) (*process, error) {
	p := &process{word: rand.Text(), budget: budget, timeout: o.Timeout, lines: make(chan []byte, 64), quit: make(chan struct{})}
	text, err := o.expression(p.word, tier, items)
	if err != nil {
		return nil, err
	}
	args := append([]string{}, o.Nix[1:]...)
	args = append(args, "--eval", "--readonly-mode", "--store", "dummy://",
		"--option", "restrict-eval", "true", "--option", "allow-import-from-derivation", "false",
		"--option", "extra-experimental-features", "ca-derivations", "-I", "firn-tree="+o.Tree)
	for i, dir := range o.Allow {
		args = append(args, "-I", fmt.Sprintf("firn-allow-%d=%s", i, dir))
	}
	p.cmd = exec.CommandContext(ctx, o.Nix[0], append(args, "-")...)
	p.cmd.Stdin = strings.NewReader(text)
	p.cmd.Env = []string{
		"PATH=" + os.Getenv("PATH"), "LANG=C", "HOME=" + o.scratch, "NIX_CONF_DIR=" + o.scratch, "NIX_USER_CONF_FILES=", "NIX_STATE_DIR=" + o.scratch,
		"XDG_CONFIG_HOME=" + o.scratch, "XDG_CACHE_HOME=" + o.scratch, "XDG_DATA_HOME=" + o.scratch, "XDG_STATE_HOME=" + o.scratch, "TMPDIR=" + o.scratch,
	}
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	p.cmd.Cancel = p.kill
	p.cmd.WaitDelay = 10 * time.Second
	stderr, err := p.cmd.StderrPipe()
	if err != nil {
		return nil, err
	}
	if err := p.cmd.Start(); err != nil {
		return nil, fmt.Errorf("starting the evaluator: %w", err)
	}
	go p.read(stderr)
	return p, nil
}

func (p *process) kill() error { return syscall.Kill(-p.cmd.Process.Pid, syscall.SIGKILL) }

// read sorts the lines of stderr until it ends.
func (p *process) read(r io.Reader) {
	defer close(p.lines)
	in := bufio.NewReaderSize(r, 64<<10)
	for {
		line, err := readLine(in, []byte("trace: "+p.word+" "))
		if ours, ok := bytes.CutPrefix(line, []byte("trace: "+p.word+" ")); ok {
			if bytes.HasPrefix(ours, []byte("B ")) {
				p.other.reset() // what came before is about another attribute
			}
			select {
			case p.lines <- bytes.Clone(ours):
			case <-p.quit:
			}
		} else if len(line) > 0 {
			p.other.add(line)
		}
		if err != nil {
			return
		}
	}
}

// readLine returns the next line without its end. Of one that does not begin with
// prefix it returns only the beginning, of one that is too long all that it may have
// and a byte more.
func readLine(in *bufio.Reader, prefix []byte) ([]byte, error) {
	line, err := in.ReadSlice('\n')
	if !errors.Is(err, bufio.ErrBufferFull) {
		return bytes.TrimSuffix(line, []byte("\n")), err
	}
	long := bytes.Clone(line)
	keep := maxAnswer + 1
	if !bytes.HasPrefix(long, prefix) {
		keep = len(long)
	}
	for errors.Is(err, bufio.ErrBufferFull) {
		line, err = in.ReadSlice('\n')
		long = append(long, line[:min(len(line), keep-len(long))]...)
	}
	return bytes.TrimSuffix(long, []byte("\n")), err
}

// run hands each answer to got and returns how it ended. An error is one of the
// machine, or of ctx.
func (p *process) run(ctx context.Context, got func(answer)) (end, error) {
	e := end{at: -1, why: crashed}
	loaded := false
	look := time.NewTicker(memoryInterval)
	defer look.Stop()
	idle := time.NewTimer(p.timeout)
	defer idle.Stop()
	stop := func(why reason) {
		e.why = why
		p.kill() //nolint:errcheck // it may have ended by itself
	}
	for open := true; open; {
		select {
		case line, ok := <-p.lines:
			if open = ok; !ok || e.why != crashed {
				continue
			}
			idle.Reset(p.timeout)
			if !p.hear(line, &e, &loaded, got) {
				stop(tooLong)
			}
		case <-look.C:
			rss := resident(p.cmd.Process.Pid)
			e.peak = max(e.peak, rss)
			if rss > p.budget && e.why == crashed {
				stop(overMemory)
			}
		case <-idle.C:
			if e.why == crashed {
				stop(overTime)
			}
		}
	}
	err := p.cmd.Wait()
	switch {
	case ctx.Err() != nil:
		return e, context.Cause(ctx)
	case e.about != nil && err == nil:
		e.why = finished
	case e.why == crashed && !loaded:
		e.why = unloaded
	}
	if e.why == crashed && killed(err) {
		e.why = overMemory // by the kernel: nobody else does that
	}
	e.words, e.said = p.other.sentence(err)
	return e, nil
}

// hear takes one line of ours. It reports whether the line has the form that
// stream.nix gives it.
func (p *process) hear(line []byte, e *end, loaded *bool, got func(answer)) bool {
	kind, rest, _ := bytes.Cut(line, []byte(" "))
	switch string(kind) {
	case "S":
		*loaded = true
	case "B":
		i, err := strconv.Atoi(string(rest))
		if err != nil || i != e.next {
			return false
		}
		e.at, e.past = i, false
	case "P":
		i, err := strconv.Atoi(string(rest))
		if err != nil || i != e.at || e.past {
			return false
		}
		e.past = true
	case "R":
		n, text, _ := bytes.Cut(rest, []byte(" "))
		i, err := strconv.Atoi(string(n))
		if err != nil || i != e.at || len(line) >= maxAnswer {
			return false
		}
		e.at, e.next = -1, i+1
		got(answer{i, text})
	case "D":
		e.about = rest
	}
	return true
}

// killed reports whether err is that of a process that got SIGKILL.
func killed(err error) bool {
	var exit *exec.ExitError
	if !errors.As(err, &exit) {
		return false
	}
	status, ok := exit.Sys().(syscall.WaitStatus)
	return ok && status.Signaled() && status.Signal() == syscall.SIGKILL
}

// memoryInterval is how often a process's memory is looked at: one that takes 2 GB/s
// is over its budget by 40 MB.
const memoryInterval = 20 * time.Millisecond

// resident returns the bytes of memory that process pid has, 0 if it is gone.
func resident(pid int) int64 {
	b, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/statm")
	if err != nil {
		return 0
	}
	f := strings.Fields(string(b))
	if len(f) < 2 {
		return 0
	}
	pages, err := strconv.ParseInt(f[1], 10, 64)
	if err != nil {
		return 0
	}
	return pages * int64(os.Getpagesize())
}
