package rebuild

import (
	"crypto/rand"
	"crypto/sha256"
	"path/filepath"
	"slices"
	"strings"

	"github.com/firn-log/firn/ingest/submit"
	"github.com/firn-log/firn/internal/nix"
	"github.com/firn-log/firn/log/statement"
)

// claimOf turns what Nix knows about an output into what is claimed about it.
func claimOf(name string, info *nix.PathInfo) statement.BuildOutput {
	refs := slices.Clone(info.References)
	if refs == nil {
		refs = []nix.StorePath{} // an empty list, not a digest
	}
	return statement.BuildOutput{Name: name, Path: info.Path, NarHash: info.NarHash, NarSize: info.NarSize, References: refs, CA: info.CA}
}

// claimBuild states that all outputs were built.
func (rec *record) claimBuild(b *attempt, outs []statement.BuildOutput, how statement.How) error {
	rec.How = how
	sum := b.in.sum
	body := &statement.Build{
		DrvPath: b.drv.DrvPath(), DrvHash: sha256.Sum256(b.drv.Raw), Modulo: b.modulo, System: b.drv.System, StoreDir: b.drv.Dir,
		Outputs: outs, How: how, Inputs: &sum, Builder: b.r.builder, Started: rec.Started, Finished: rec.Finished, BuildID: rec.id,
	}
	payload, lists, err := submit.Fit(body)
	if err != nil {
		return cannotf("what was built cannot be stated: %v", err)
	}
	rec.claim(rec.id, recordClaim{Payload: payload, Lists: lists})
	return nil
}

// claimFailure states that the build failed, if it is the derivation's doing: that a
// log was longer than this rebuilder allows says nothing to others.
func (rec *record) claimFailure(b *attempt) error {
	rec.How = statement.HowRebuilt
	f := rec.Failure
	if f.Reason == reasonLog {
		return nil
	}
	hash := b.logHash
	body := &statement.BuildFailed{
		DrvPath: b.drv.DrvPath(), DrvHash: sha256.Sum256(b.drv.Raw), Modulo: b.modulo, System: b.drv.System, StoreDir: b.drv.Dir,
		Reason: statement.Reason(f.Reason), ExitStatus: f.ExitStatus, Builder: b.r.builder,
		Started: rec.Started, Finished: rec.Finished, BuildID: rec.id, LogHash: &hash,
	}
	for _, o := range b.drv.Outputs {
		body.Outputs = append(body.Outputs, o.Name)
	}
	payload, err := statement.EncodePayload(body, "", nil)
	if err != nil {
		return cannotf("that it failed cannot be stated: %v", err)
	}
	rec.claim(rec.id, recordClaim{Payload: payload, Files: []string{filepath.Join(logsDir, b.drv.DrvPath().Base()+".log")}})
	return nil
}

// diffTool names what compared the files.
const diffTool = "firn"

// claimDiff states in which files two contents of an output differ.
func (rec *record) claimDiff(drv nix.StorePath, o *recordOutput, d *nix.NarDiff, report *nix.Hash) error {
	path, err := nix.ParseStorePath(o.Path)
	if err != nil {
		return err
	}
	body := &statement.Diff{StoreDir: drv.Dir(), Drv: &drv, Output: o.Name, Path: path, A: d.A, B: d.B, Total: d.Total, Report: report, Tool: diffTool}
	for _, f := range d.Files {
		if len(f.Name) > maxDiffName {
			continue // counted in Total
		}
		body.Files = append(body.Files, statement.DiffFile{Name: []byte(f.Name), What: f.What})
	}
	slices.SortFunc(body.Files, func(a, b statement.DiffFile) int {
		if c := strings.Compare(string(a.Name), string(b.Name)); c != 0 {
			return c
		}
		return strings.Compare(string(a.What), string(b.What))
	})
	payload, err := statement.EncodePayload(body, "", nil)
	for (statement.CodeOf(err) == statement.CodeOversize || len(payload) > statement.MaxLeaf-statement.MaxEnvelope) && len(body.Files) > 0 {
		body.Files = body.Files[:len(body.Files)/2]
		payload, err = statement.EncodePayload(body, "", nil)
	}
	if err != nil {
		return err
	}
	var id [16]byte
	if _, err := rand.Read(id[:]); err != nil {
		return err
	}
	c := recordClaim{Payload: payload}
	if report != nil {
		c.Files = []string{filepath.Join(reportsDir, report.Hex()+".txt")}
	}
	rec.claim(id, c)
	return nil
}

// maxDiffName bounds the name of a file in a diff, in bytes (spec/statement.md#diff).
const maxDiffName = 1024
