package rebuild

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"os/exec"
	"regexp"
	"strconv"
	"strings"

	"github.com/firn-log/firn/internal/nix"
	"github.com/firn-log/firn/internal/nixdb"
	"github.com/firn-log/firn/log/statement"
)

// Bits of the exit status of nix-store when a build fails; it is then between 100
// and 111.
const (
	nixFailed       = 100
	nixTimedOut     = 0x01
	nixHashMismatch = 0x02
	nixCheckDiffers = 0x08
)

var differing = regexp.MustCompile(`output '([^']+)' differs`)

// check lets the local store build d once more beside the outputs that it has. Nix
// stops at the first difference and says nothing about the other outputs, so a
// difference is reported, and nothing is claimed (spec/rebuild.md#check).
func (r *Rebuilder) check(ctx context.Context, d *nix.Derivation, modulo nix.Hash) (*record, error) {
	outs, err := r.localOutputs(ctx, d)
	if err != nil {
		return nil, err
	}
	log, err := newBuildLog(r.logFile(d.DrvPath()), r.conf.MaxLog)
	if err != nil {
		return nil, r.diskOr(err)
	}
	b := &attempt{r: r, drv: d, modulo: modulo, in: &inputs{}}
	rec := &record{Schema: recordSchema, Drv: d.DrvPath().String(), How: statement.HowChecked, Started: uint64(r.o.now().Unix())}
	if _, err := rand.Read(rec.id[:]); err != nil {
		return nil, err
	}
	args := r.nix.command(r.conf.Store, r.checkSettings(), "--realise", "--check", d.DrvPath().String())
	cmd := exec.CommandContext(ctx, args[0], args[1:]...)
	var tail tailWriter
	cmd.Env, cmd.Stdout, cmd.Stderr = r.o.Environ, log, &tee{log, &tail}
	err = cmd.Run()
	var lerr error
	if b.logHash, lerr = log.close(); lerr != nil {
		return nil, r.diskOr(lerr)
	}
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	rec.Finished = max(rec.Started, uint64(r.o.now().Unix()))
	var exit *exec.ExitError
	switch {
	case err == nil:
		if b.in, err = r.gather(ctx, d); err != nil {
			return nil, err
		}
		rec.setOutputs(outs)
		err = rec.claimBuild(b, outs, statement.HowChecked)
	case errors.As(err, &exit) && exit.ExitCode() >= nixFailed:
		err = rec.checkFailed(b, exit.ExitCode()-nixFailed+0x4, plain(tail.String()), outs)
	default:
		err = cannotf("Nix could not check it: %s", lastLine(plain(tail.String())))
	}
	if err != nil {
		return nil, err
	}
	return rec, r.writeRecord(d.DrvPath(), rec)
}

// checkFailed concludes from the exit status of a check that did not pass.
func (rec *record) checkFailed(b *attempt, bits int, said string, outs []statement.BuildOutput) error {
	res := serveResult{message: said, status: statusPermanent}
	switch {
	case bits&nixCheckDiffers != 0:
		m := differing.FindStringSubmatch(said)
		rec.setOutputs(outs)
		for i := range rec.Outputs {
			o := &rec.Outputs[i]
			// Nix names where the output is, which in a private store is elsewhere.
			o.NarHash, o.NarSize, o.Differs = "", 0, m != nil && strings.HasSuffix(m[1], o.Path)
		}
		if m == nil {
			return cannotf("Nix says that an output differs, and not which")
		}
		if rec.Outputs = keepDiffering(rec.Outputs); len(rec.Outputs) == 0 {
			return cannotf("Nix says that %s differs, which is no output", m[1])
		}
		return nil
	case bits&nixTimedOut != 0:
		res.status = statusTimedOut
	case bits&nixHashMismatch != 0:
		res.status = statusHashMismatch
	}
	if rec.Failure = classify(&res, false); rec.Failure == nil {
		return cannotf("Nix could not check it: %s", lastLine(said))
	}
	rec.Failure.Message = firstLine(lastLine(said))
	rec.Failure.Log = b.logHash.Hex()
	return nil // why it failed in a store that others use says less than one from clean
}

// keepDiffering leaves the output that Nix named: of the others nothing is known.
func keepDiffering(outs []recordOutput) []recordOutput {
	var kept []recordOutput
	for _, o := range outs {
		if o.Differs {
			kept = append(kept, o)
		}
	}
	return kept
}

// localOutputs returns the outputs of d as the local store has them: all, or Nix cannot
// check any.
func (r *Rebuilder) localOutputs(ctx context.Context, d *nix.Derivation) ([]statement.BuildOutput, error) {
	paths, err := outputs(d)
	if err != nil {
		return nil, err
	}
	var outs []statement.BuildOutput
	for _, o := range d.Outputs {
		info, err := r.local.PathInfo(ctx, paths[o.Name])
		if errors.Is(err, nixdb.ErrNotValid) {
			return nil, cannotf("--check compares with outputs in the local store, and %s is not there", paths[o.Name])
		}
		if err != nil {
			return nil, err
		}
		outs = append(outs, claimOf(o.Name, info))
	}
	return outs, nil
}

func (r *Rebuilder) checkSettings() map[string]string {
	c := &r.conf
	return map[string]string{
		"substituters": "", "builders": "", "post-build-hook": "", "diff-hook": "", "run-diff-hook": "false",
		"max-jobs": "1", "cores": strconv.Itoa(c.Cores), "timeout": strconv.Itoa(int(c.Timeout.Seconds())),
		"max-silent-time": strconv.Itoa(int(c.MaxSilent.Seconds())), "max-build-log-size": strconv.FormatInt(c.MaxLog, 10),
	}
}

// tailWriter keeps the last bytes of what is written.
type tailWriter struct{ b []byte }

const tailLen = 16 << 10

func (t *tailWriter) Write(p []byte) (int, error) {
	t.b = append(t.b, p...)
	if n := len(t.b) - tailLen; n > 0 {
		t.b = t.b[n:]
	}
	return len(p), nil
}

func (t *tailWriter) String() string { return strings.ToValidUTF8(string(t.b), "?") }

type tee struct {
	a *buildLog
	b *tailWriter
}

func (t *tee) Write(p []byte) (int, error) {
	if _, err := t.a.Write(p); err != nil {
		return 0, fmt.Errorf("build log: %w", err)
	}
	return t.b.Write(p)
}
