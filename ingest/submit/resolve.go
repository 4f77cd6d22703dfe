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

// A Resolver makes statements about builds from the derivation and the database of
// a store. It remembers derivations, and may not be used concurrently.
type Resolver struct{ st *store }

// NewResolver returns a Resolver for a store whose files are below root: "", or the
// root of a private store as in `nix --store ROOT`. The caller closes src.
func NewResolver(src nixdb.Source, root string) *Resolver { return &Resolver{newStore(src, root)} }

// An Execution is what is to be known of one run of a builder and is in no store.
type Execution struct {
	Drv               nix.StorePath
	How               statement.How
	Builder           statement.Builder
	Started, Finished uint64 // Unix seconds
	BuildID           [16]byte
}

// Build makes the statement about an execution. It claims the outputs that the
// database calls ultimate, and no others. What can never be claimed is a *Reason;
// any other error is one of the machine.
func (r *Resolver) Build(ctx context.Context, e Execution) (*statement.Build, error) {
	return r.st.build(ctx, e)
}

// Derivation reads a derivation and computes its hash modulo, for which all that
// it depends on must be in the store. The errors are as those of Build.
func (r *Resolver) Derivation(drv nix.StorePath) (*nix.Derivation, nix.Hash, error) {
	return r.st.derivation(drv)
}

// resolve makes the statement about one spooled build, its payload, and the lists
// that it names by their digests only. The errors are as those of Resolver.Build.
func (st *store) resolve(ctx context.Context, rec *hook.Record, by statement.Builder) (*statement.Build, []byte, [][]byte, error) {
	drv, err := st.src.StoreDir().Parse(rec.Drv)
	if err != nil {
		return nil, nil, nil, &Reason{CodeBadRecord, fmt.Sprintf("%s is not in the store %s", rec.Drv, st.src.StoreDir())}
	}
	b, err := st.build(ctx, Execution{
		Drv: drv, How: statement.HowBuilt, Builder: by, BuildID: rec.BuildID,
		// Nix tells the hook that a build is done, and nobody when it began.
		Started: uint64(rec.Time), Finished: uint64(rec.Time),
	})
	if err != nil {
		return nil, nil, nil, err
	}
	if d, err := st.load(drv); err == nil {
		b.Builder.Sandbox = sandboxed(rec, d)
	}
	payload, lists, err := Fit(b)
	return b, payload, lists, err
}

func (st *store) build(ctx context.Context, e Execution) (*statement.Build, error) {
	d, modulo, err := st.derivation(e.Drv)
	if err != nil {
		return nil, err
	}
	paths, modulo, err := st.outputPaths(ctx, d, e.Drv, modulo)
	if err != nil {
		return nil, err
	}
	outputs, err := st.claimable(ctx, d, paths)
	if err != nil {
		return nil, err
	}
	inputs, err := st.inputs(ctx, d)
	if err != nil {
		return nil, err
	}
	return &statement.Build{
		DrvPath: e.Drv, DrvHash: sha256.Sum256(d.Raw), Modulo: modulo, System: d.System, StoreDir: e.Drv.Dir(),
		Outputs: outputs, How: e.How, Partial: len(outputs) < len(d.Outputs), Inputs: inputs, Builder: e.Builder,
		Started: e.Started, Finished: e.Finished, BuildID: e.BuildID,
	}, nil
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

// Fit encodes b, and replaces lists of references in it by their digests, longest
// first, until it fits in a leaf whatever key will sign it. It returns the lists
// that it replaced, as blobs of the statement: see Put. A *Reason says that
// b cannot be a statement.
func Fit(b *statement.Build) (payload []byte, lists [][]byte, err error) {
	for {
		payload, err := statement.EncodePayload(b, "", nil)
		if err != nil && statement.CodeOf(err) != statement.CodeOversize {
			return nil, nil, asReason(err)
		}
		if err == nil && len(payload) <= statement.MaxLeaf-statement.MaxEnvelope {
			return payload, lists, nil
		}
		long := -1
		for i, o := range b.Outputs {
			if o.CA == "" && o.RefsDigest == nil && (long < 0 || len(o.References) > len(b.Outputs[long].References)) {
				long = i
			}
		}
		if long < 0 {
			return nil, nil, &Reason{CodeTooLarge, fmt.Sprintf("the statement has %d bytes and cannot be made shorter", len(payload))}
		}
		refs := b.Outputs[long].References
		digest := statement.PathsDigest(refs)
		b.Outputs[long].References, b.Outputs[long].RefsDigest = nil, &digest
		if len(refs) > 0 {
			lists = append(lists, statement.PathsBlob(refs))
		}
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
