package rebuild

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"unicode"

	"github.com/firn-log/firn/internal/durable"
	"github.com/firn-log/firn/internal/nix"
	"github.com/firn-log/firn/internal/nixdb"
	"github.com/firn-log/firn/log/statement"
)

// execute rebuilds one derivation, whatever was done before, and keeps what came of
// it. The error is a *cannot if there is nothing to say about the derivation itself, and errDisk if
// there is no room for more.
func (r *Rebuilder) execute(ctx context.Context, d *nix.Derivation, modulo nix.Hash) (*record, error) {
	if err := r.tidy(ctx); err != nil {
		return nil, err
	}
	if r.conf.Check {
		return r.check(ctx, d, modulo)
	}
	r.supplying.RLock()
	defer r.supplying.RUnlock()
	in, err := r.gather(ctx, d)
	if err != nil {
		return nil, err
	}
	root := r.work(roomsDir, d.DrvPath().HashPart())
	rm, err := newRoom(root, r.nix)
	if err != nil {
		return nil, r.diskOr(err)
	}
	defer func() {
		if err := removeRoom(root); err != nil {
			r.say("firn: warning: removing %s: %v", root, err)
		}
	}()
	r.protect(ctx, in, root)
	b := &attempt{r: r, drv: d, modulo: modulo, in: in, room: rm}
	if err := b.run(ctx); err != nil {
		return nil, err
	}
	rec, err := b.conclude(ctx)
	if err == nil {
		err = r.writeRecord(d.DrvPath(), rec)
	}
	return rec, r.diskOr(err)
}

// attempt is one build.
type attempt struct {
	r      *Rebuilder
	drv    *nix.Derivation
	modulo nix.Hash
	in     *inputs
	room   *room

	res     serveResult
	oom     bool // the kernel ended something for want of memory meanwhile
	logHash nix.Hash
}

// run has the room build, within limits.
func (b *attempt) run(ctx context.Context) error {
	log, err := newBuildLog(b.r.logFile(b.drv.DrvPath()), b.r.conf.MaxLog)
	if err != nil {
		return b.r.diskOr(err)
	}
	ctx, stop := b.r.guard(ctx)
	defer stop()
	killed := oomKills()
	c := &b.r.conf
	started := uint64(b.r.o.now().Unix())
	b.res, err = b.room.build(ctx, &orders{
		drv: b.drv, inputs: b.in.all, direct: b.in.direct, cores: c.Cores, memory: uint64(c.Memory), log: log,
		limits: serveLimits{silent: uint64(c.MaxSilent.Seconds()), timeout: uint64(c.Timeout.Seconds()), log: uint64(c.MaxLog)},
	})
	b.oom = oomKills() > killed
	var lerr error
	if b.logHash, lerr = log.close(); err == nil && lerr != nil {
		err = lerr
	}
	switch {
	case ctx.Err() != nil:
		return context.Cause(ctx)
	case err != nil:
		return b.r.diskOr(&cannot{plain(err.Error())})
	}
	// Nix leaves out when a build ended that it ended itself.
	if b.res.started == 0 {
		b.res.started = started
	}
	b.res.finished = max(b.res.finished, b.res.started)
	if !b.res.built() {
		b.res.finished = max(b.res.finished, uint64(b.r.o.now().Unix()))
		if noSpace(b.r.conf.Work, b.r.conf.MinFree) || strings.Contains(b.res.message, "lack of free disk space") {
			return errDisk
		}
	}
	return nil
}

// conclude turns what Nix answered into statements.
func (b *attempt) conclude(ctx context.Context) (*record, error) {
	rec := &record{Schema: recordSchema, Drv: b.drv.DrvPath().String(), Started: b.res.started, Finished: b.res.finished}
	if _, err := rand.Read(rec.id[:]); err != nil {
		return nil, err
	}
	if b.res.built() {
		return rec, b.succeeded(ctx, rec)
	}
	failure := classify(&b.res, b.oom)
	if failure != nil && failure.Reason == string(statement.ReasonExit) && b.saidFull() {
		return nil, &cannot{"it failed, and its log speaks of a full disk: " + failure.Message}
	}
	if failure == nil {
		return nil, &cannot{"Nix did not build it: " + firstLine(plain(b.res.message))}
	}
	failure.Log = b.logHash.Hex()
	rec.Failure = failure
	return rec, rec.claimFailure(b)
}

// succeeded claims the outputs and says in what they differ from the local store's,
// while there is still something to compare.
func (b *attempt) succeeded(ctx context.Context, rec *record) error {
	src, err := nixdb.OpenStore(ctx, filepath.Join(b.room.root, "nix/var/nix"), nix.DefaultStoreDir, "")
	if err != nil {
		return err
	}
	defer src.Close()
	paths, err := outputs(b.drv)
	if err != nil {
		return err
	}
	var outs []statement.BuildOutput
	for _, o := range b.drv.Outputs {
		info, err := src.PathInfo(ctx, paths[o.Name])
		if err != nil {
			return cannotf("Nix says that it built %s, and output %s is not there: %v", rec.Drv, o.Name, err)
		}
		outs = append(outs, claimOf(o.Name, info))
	}
	rec.setOutputs(outs)
	if err := rec.claimBuild(b, outs, statement.HowRebuilt); err != nil {
		return err
	}
	return b.diffs(ctx, rec)
}

// saidFull reports whether the last words of the log are about a full disk.
func (b *attempt) saidFull() bool {
	text, err := os.ReadFile(b.r.logFile(b.drv.DrvPath()))
	return err == nil && strings.Contains(string(text[max(0, len(text)-tailLen):]), "No space left on device")
}

var (
	exitCode = regexp.MustCompile(`failed with exit code (\d+)`)
	signalNo = regexp.MustCompile(`failed due to signal (\d+)`)
)

// classify says how a build failed, or returns nil if nothing follows about the
// derivation: Nix refused to build it, or something was wrong with this machine.
func classify(res *serveResult, oom bool) *Failure {
	text := plain(res.message)
	f := &Failure{Message: firstLine(text)}
	switch {
	case res.status == statusTimedOut:
		f.Reason = string(statement.ReasonTimeout)
	case res.status == statusLogLimit:
		f.Reason = reasonLog
	case res.status == statusHashMismatch, res.status == statusOutputRejected && strings.Contains(text, "hash mismatch"):
		f.Reason = string(statement.ReasonHashMismatch)
	case res.status == statusTransient:
		return nil
	case exitCode.MatchString(text):
		f.Reason = string(statement.ReasonExit)
		if n, err := strconv.ParseUint(exitCode.FindStringSubmatch(text)[1], 10, 8); err == nil && n > 0 {
			f.ExitStatus = &n
		}
	case signalNo.MatchString(text):
		f.Reason = string(statement.ReasonExit)
		if signalNo.FindStringSubmatch(text)[1] == "9" {
			if !oom {
				return nil // nobody kills itself so: Nix did, or somebody on this machine
			}
			f.Reason = string(statement.ReasonOOM)
		}
	case res.status == statusOutputRejected, res.status == statusPermanent:
		f.Reason = string(statement.ReasonExit)
	default:
		return nil
	}
	return f
}

// oomKills returns how often the kernel ended a process for want of memory.
func oomKills() uint64 {
	b, err := os.ReadFile("/proc/vmstat")
	if err != nil {
		return 0
	}
	for line := range strings.Lines(string(b)) {
		if digits, ok := strings.CutPrefix(line, "oom_kill "); ok {
			n, _ := strconv.ParseUint(strings.TrimSpace(digits), 10, 64)
			return n
		}
	}
	return 0
}

// buildLog is a bounded file: what is beyond the bound is thrown away, so that a
// builder that never stops talking is not kept waiting until Nix ends it.
type buildLog struct {
	f    *os.File
	left int64
	err  error
}

func newBuildLog(path string, limit int64) (*buildLog, error) {
	f, err := os.Create(path)
	if err != nil {
		return nil, err
	}
	return &buildLog{f: f, left: limit}, nil
}

// Write implements io.Writer and never fails; close does.
func (l *buildLog) Write(p []byte) (int, error) {
	n := min(int64(len(p)), l.left)
	l.left -= n
	if n > 0 && l.err == nil {
		_, l.err = l.f.Write(p[:n])
	}
	return len(p), nil
}

// close returns the hash of what was kept.
func (l *buildLog) close() (nix.Hash, error) {
	name := l.f.Name()
	if err := errors.Join(l.err, l.f.Close()); err != nil {
		return nix.Hash{}, fmt.Errorf("writing the build log: %w", err)
	}
	b, err := os.ReadFile(name)
	return sha256.Sum256(b), err
}

func (r *Rebuilder) logFile(drv nix.StorePath) string { return r.work(logsDir, drv.Base()+".log") }

var escapes = regexp.MustCompile("\x1b\\[[0-9;]*[A-Za-z]")

// plain takes colours, and what cannot be seen or moves the cursor or the order of
// letters, out of text of others.
func plain(s string) string {
	s = escapes.ReplaceAllString(strings.ToValidUTF8(s, "?"), "")
	s = strings.Map(func(c rune) rune {
		if !unicode.IsPrint(c) && c != '\n' && c != '\t' {
			return '?'
		}
		return c
	}, s)
	return strings.TrimSpace(s)
}

// firstLine returns the first line, shortened.
func firstLine(s string) string {
	line, _, _ := strings.Cut(s, "\n")
	if len(line) > 300 {
		line = strings.ToValidUTF8(line[:297], "") + "..."
	}
	return strings.TrimSuffix(line, ";")
}

// syncFile makes a file's bytes durable.
func syncFile(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close(), durable.SyncDir(filepath.Dir(path)))
}
