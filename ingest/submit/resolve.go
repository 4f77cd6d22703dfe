package submit

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"slices"

	"github.com/firn-log/firn/ingest/hook"
	"github.com/firn-log/firn/internal/nix"
	"github.com/firn-log/firn/internal/nixdb"
	"github.com/firn-log/firn/log/statement"
)

// resolve makes the statement about one spooled build and its payload. What can
// never be resolved is a *Reason; any other error is one of the machine.
func (st *store) resolve(ctx context.Context, rec *hook.Record, by statement.Builder) (*statement.Build, []byte, error) {
	drv, err := st.src.StoreDir().Parse(rec.Drv)
	if err != nil {
		return nil, nil, &Reason{CodeBadRecord, fmt.Sprintf("%s is not in the store %s", rec.Drv, st.src.StoreDir())}
	}
	d, modulo, err := st.derivation(drv)
	if err != nil {
		return nil, nil, err
	}
	paths, modulo, err := st.outputPaths(ctx, d, drv, modulo)
	if err != nil {
		return nil, nil, err
	}
	outputs, err := st.claimable(ctx, d, paths)
	if err != nil {
		return nil, nil, err
	}
	inputs, err := st.inputs(ctx, d)
	if err != nil {
		return nil, nil, err
	}
	by.Sandbox = sandboxed(rec, d)
	b := &statement.Build{
		DrvPath: drv, DrvHash: sha256.Sum256(d.Raw), Modulo: modulo, System: d.System, StoreDir: drv.Dir(),
		Outputs: outputs, How: statement.HowBuilt, Partial: len(outputs) < len(d.Outputs), Inputs: inputs, Builder: by,
		// Nix tells the hook that a build is done, and nobody when it began.
		Started: uint64(rec.Time), Finished: uint64(rec.Time), BuildID: rec.BuildID,
	}
	payload, err := fit(b)
	return b, payload, err
}

// derivation reads drv and computes its hash modulo, for which every derivation
// that it depends on must be in the store.
func (st *store) derivation(drv nix.StorePath) (*nix.Derivation, nix.Hash, error) {
	d, err := st.load(drv)
	if err == nil && d.DrvPath() != drv {
		err = nix.ErrWrongDrvPath
	}
	if err == nil && d.Kind() == nix.Deferred {
		// Its outputs follow from what its inputs turn out to be; Nix builds
		// it under another derivation, and calls the hook for that one too.
		return nil, nix.Hash{}, &Reason{CodeResolvedElsewhere, "its inputs are content-addressed, so Nix built it under the derivation that it resolved it to"}
	}
	var m nix.Modulo
	if err == nil {
		m, err = st.modulo.Match(d)
	}
	switch {
	case err == nil:
		return d, m.Hash, nil
	case errors.Is(err, fs.ErrNotExist):
		return nil, nix.Hash{}, &Reason{CodeNoDerivation, "a derivation is not in the store any more: " + err.Error()}
	case errors.Is(err, nix.ErrDynamicDerivation), errors.Is(err, nix.ErrImpureDerivation):
		return nil, nix.Hash{}, &Reason{CodeUnsupported, err.Error()}
	case errors.Is(err, nix.ErrDerivation), errors.Is(err, nix.ErrWrongDrvPath), errors.Is(err, nix.ErrOutputPath):
		return nil, nix.Hash{}, &Reason{CodeBadDerivation, err.Error()}
	}
	return nil, nix.Hash{}, err
}

// outputPaths returns where the outputs of d are: as the derivation says, or, if
// they are content-addressed, as the database says under one of the variants of
// the hash modulo, which is then returned too.
func (st *store) outputPaths(ctx context.Context, d *nix.Derivation, drv nix.StorePath, modulo nix.Hash) (map[string]nix.StorePath, nix.Hash, error) {
	paths := make(map[string]nix.StorePath)
	if d.Kind() != nix.FloatingCA {
		for _, o := range d.Outputs {
			p, err := d.Dir.Parse(o.Path)
			if err != nil {
				return nil, modulo, &Reason{CodeBadDerivation, err.Error()}
			}
			paths[o.Name] = p
		}
		return paths, modulo, nil
	}
	for _, v := range []nix.Variant{nix.Merge, nix.Clobber} {
		m, err := st.modulo.Modulo(d, v)
		if err != nil {
			return nil, modulo, err
		}
		paths, err := st.src.Realisations(ctx, drv, m)
		if err != nil {
			return nil, modulo, err
		}
		if len(paths) > 0 {
			return paths, m, nil
		}
	}
	return nil, modulo, &Reason{CodeNoOutputs, "Nix has recorded no content-addressed output of it"}
}

// claimable returns the outputs that this machine built, sorted by name.
func (st *store) claimable(ctx context.Context, d *nix.Derivation, paths map[string]nix.StorePath) ([]statement.BuildOutput, error) {
	var outputs []statement.BuildOutput
	valid := 0
	for _, o := range d.Outputs {
		p, ok := paths[o.Name]
		if !ok {
			continue
		}
		info, err := st.src.PathInfo(ctx, p)
		if errors.Is(err, nixdb.ErrNotValid) {
			continue
		}
		if err != nil {
			return nil, err
		}
		valid++
		if !info.Ultimate {
			continue
		}
		refs := slices.Clone(info.References)
		if refs == nil {
			refs = []nix.StorePath{} // an empty list, not a digest
		}
		outputs = append(outputs, statement.BuildOutput{Name: o.Name, Path: p, NarHash: info.NarHash, NarSize: info.NarSize, References: refs, CA: info.CA})
	}
	if len(outputs) > 0 {
		return outputs, nil
	}
	if valid > 0 {
		return nil, &Reason{CodeBuiltElsewhere, "its outputs are in the store, but this machine built none of them: a remote builder did, or a substituter; submit it on the machine that built it"}
	}
	return nil, &Reason{CodeNoOutputs, "none of its outputs is in the store any more"}
}

// fit encodes b, and replaces lists of references by their digests, longest
// first, until it fits in a leaf whatever key will sign it.
func fit(b *statement.Build) ([]byte, error) {
	for {
		payload, err := statement.EncodePayload(b, "", nil)
		if err != nil && statement.CodeOf(err) != statement.CodeOversize {
			return nil, asReason(err)
		}
		if err == nil && len(payload) <= statement.MaxLeaf-statement.MaxEnvelope {
			return payload, nil
		}
		long := -1
		for i, o := range b.Outputs {
			if o.CA == "" && o.RefsDigest == nil && (long < 0 || len(o.References) > len(b.Outputs[long].References)) {
				long = i
			}
		}
		if long < 0 {
			return nil, &Reason{CodeTooLarge, fmt.Sprintf("the statement has %d bytes and cannot be made shorter", len(payload))}
		}
		digest := statement.PathsDigest(b.Outputs[long].References)
		b.Outputs[long].References, b.Outputs[long].RefsDigest = nil, &digest
	}
}

// sandboxed reports whether the build certainly ran in Nix's sandbox. With
// sandbox-fallback, Nix may have gone without one and said nothing.
func sandboxed(rec *hook.Record, d *nix.Derivation) bool {
	if rec.SandboxFallback != "false" {
		return false
	}
	if rec.Sandbox == "relaxed" {
		_, structured := d.StructuredAttrs()
		noChroot, _ := d.LookupEnv("__noChroot")
		return !structured && noChroot == ""
	}
	return rec.Sandbox == "true"
}
