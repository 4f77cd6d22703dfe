package rebuild

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"

	"github.com/firn-log/firn/internal/nix"
	"github.com/firn-log/firn/internal/nixdb"
)

// Reference is what somebody else has or claims under the path of an output.
type Reference struct {
	From    string // in words: "the local store", the URL of a cache, a key
	NarHash nix.Hash
	NarSize uint64
}

// references returns what an output is to be compared with; none if nobody has it.
func (r *Rebuilder) references(ctx context.Context, paths []nix.StorePath) (map[nix.StorePath][]Reference, error) {
	if r.o.Claims != nil {
		return r.o.Claims(ctx, paths)
	}
	found := make(map[nix.StorePath][]Reference)
	for _, p := range paths {
		if r.conf.Against != "" {
			info, err := r.fetchNarInfo(ctx, p)
			if err != nil {
				return nil, err
			}
			if info != nil {
				found[p] = []Reference{{r.conf.Against, info.NarHash, info.NarSize}}
			}
			continue
		}
		info, err := r.local.PathInfo(ctx, p)
		if errors.Is(err, nixdb.ErrNotValid) {
			continue
		}
		if err != nil {
			return nil, err
		}
		found[p] = []Reference{{"the local store", info.NarHash, info.NarSize}}
	}
	return found, nil
}

// diffs compares the files of outputs that differ from their references, where those
// can be had.
func (b *attempt) diffs(ctx context.Context, rec *record) error {
	if b.r.o.Claims != nil {
		return nil // a log holds hashes, and no files
	}
	var paths []nix.StorePath
	for _, o := range rec.Outputs {
		p, err := nix.ParseStorePath(o.Path)
		if err != nil {
			return err
		}
		paths = append(paths, p)
	}
	refs, err := b.r.references(ctx, paths)
	if err != nil {
		b.r.say("firn: warning: %v", err)
		return nil // compare says it again, and nothing is claimed of it
	}
	for i := range rec.Outputs {
		o := &rec.Outputs[i]
		for _, ref := range refs[paths[i]] {
			if ref.NarHash.String() == o.NarHash {
				continue
			}
			if err := b.diff(ctx, rec, o, paths[i], ref); err != nil {
				if ctx.Err() != nil {
					return context.Cause(ctx)
				}
				b.r.say("firn: warning: the files of %s cannot be compared with those of %s: %v", paths[i].Base(), ref.From, err)
			}
		}
	}
	return nil
}

// diff compares one output with one reference.
func (b *attempt) diff(ctx context.Context, rec *record, o *recordOutput, p nix.StorePath, ref Reference) error {
	other, err := b.r.referenceFiles(ctx, p)
	if err != nil {
		return err
	}
	built := filepath.Join(b.room.root, p.String())
	d, err := nix.DiffTrees(ctx, other, built, nix.DiffOptions{})
	if err != nil {
		return err
	}
	if d.A != ref.NarHash || d.B.String() != o.NarHash || d.Total == 0 {
		return fmt.Errorf("what is there has the NAR hash %v and not %v", d.A, ref.NarHash)
	}
	report, err := b.diffoscope(ctx, other, built)
	if err != nil {
		b.r.say("firn: warning: diffoscope on %s: %v", p.Base(), err)
	}
	rd := recordDiff{Output: o.Name, With: d.A.String(), Total: d.Total}
	for _, f := range d.Files {
		rd.Files = append(rd.Files, FileDiff{f.Name, string(f.What)})
	}
	if report != nil {
		rd.Report = report.Hex()
	}
	rec.Diffs = append(rec.Diffs, rd)
	return rec.claimDiff(b.drv.DrvPath(), o, d, report)
}

// referenceFiles returns where the files of a reference are. From a cache Nix gets
// them, with all its checks.
func (r *Rebuilder) referenceFiles(ctx context.Context, p nix.StorePath) (string, error) {
	if r.conf.Against == "" {
		return filepath.Join(r.conf.Store, p.String()), nil
	}
	if _, err := r.supply(ctx, []nix.StorePath{p}, []string{r.conf.Against}); err != nil {
		return "", err
	}
	return r.work(inputsDir, p.String()), nil
}

// compare fills in what came of a rebuild and how that compares now.
func (r *Rebuilder) compare(ctx context.Context, rec *record, res *Result) error {
	res.Started, res.Finished = rec.Started, rec.Finished
	if rec.Failure != nil {
		res.Status, res.Failure = Failed, rec.Failure
		res.LogFile = r.logFile(res.Drv)
		return nil
	}
	paths := make([]nix.StorePath, len(rec.Outputs))
	for i, o := range rec.Outputs {
		var err error
		if paths[i], err = nix.ParseStorePath(o.Path); err != nil {
			return fmt.Errorf("%s: %w", r.recordFile(res.Drv), err)
		}
	}
	refs, err := r.references(ctx, paths)
	if err != nil {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		res.cannot("it was built, and there is nothing to compare it with: %v", err)
		return nil
	}
	res.Status = Agree
	for i := range rec.Outputs {
		o, err := rec.outputResult(&rec.Outputs[i], paths[i], refs[paths[i]])
		if err != nil {
			return fmt.Errorf("%s: %w", r.recordFile(res.Drv), err)
		}
		for d := range o.References {
			if rep := o.References[d].Report; rep != "" {
				o.References[d].Report = r.work(reportsDir, rep+".txt")
			}
		}
		res.Outputs = append(res.Outputs, o)
		res.Status = worse(res.Status, o.Status)
	}
	return nil
}

// outputResult compares one output with its references.
func (rec *record) outputResult(o *recordOutput, p nix.StorePath, refs []Reference) (OutputResult, error) {
	hash, err := nix.ParseHash(o.NarHash)
	if err != nil && !o.Differs {
		return OutputResult{}, err
	}
	out := OutputResult{Name: o.Name, Path: p, NarHash: hash, NarSize: o.NarSize, Status: Missing}
	for _, ref := range refs {
		c := Compared{Reference: ref, Status: Agree}
		if o.Differs || ref.NarHash != hash || ref.NarSize != o.NarSize {
			c.Status = Differ
			if d := rec.diffWith(o.Name, ref.NarHash); d != nil {
				c.Files, c.Total, c.Report = d.Files, d.Total, d.Report
			}
		}
		if out.Status != Differ {
			out.Status = c.Status
		}
		out.References = append(out.References, c)
	}
	return out, nil
}
