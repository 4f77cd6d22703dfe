package statement

import "github.com/firn-log/firn/internal/nix"

// The wire structs below are the bodies of payload version 1. They are fixed:
// a field is never added, removed, renumbered or given another meaning.
// Something new is a new kind, or a new payload version with structs of its
// own; the structs of version 1 stay, because the leaves stay
// (spec/statement.md#evolution).

type wireBuild struct {
	DrvPath  string       `cbor:"1,keyasint"`
	DrvHash  []byte       `cbor:"2,keyasint"`
	Modulo   []byte       `cbor:"3,keyasint"`
	System   string       `cbor:"4,keyasint"`
	StoreDir string       `cbor:"5,keyasint"`
	Outputs  []wireOutput `cbor:"6,keyasint"`
	How      How          `cbor:"7,keyasint"`
	Partial  bool         `cbor:"8,keyasint"`
	Inputs   *wireInputs  `cbor:"9,keyasint,omitempty"`
	Builder  wireBuilder  `cbor:"10,keyasint"`
	Started  uint64       `cbor:"11,keyasint"`
	Finished uint64       `cbor:"12,keyasint"`
	BuildID  []byte       `cbor:"13,keyasint"`
}

type wireOutput struct {
	Name       string    `cbor:"1,keyasint"`
	Path       string    `cbor:"2,keyasint"`
	NarHash    []byte    `cbor:"3,keyasint"`
	NarSize    uint64    `cbor:"4,keyasint"`
	References *[]string `cbor:"5,keyasint,omitempty"`
	RefsDigest *[]byte   `cbor:"6,keyasint,omitempty"`
	CA         *string   `cbor:"7,keyasint,omitempty"`
}

type wireInputs struct {
	Digest      []byte `cbor:"1,keyasint"`
	Count       uint64 `cbor:"2,keyasint"`
	Built       uint64 `cbor:"3,keyasint"`
	Substituted uint64 `cbor:"4,keyasint"`
}

type wireBuilder struct {
	Implementation string `cbor:"1,keyasint"`
	Version        string `cbor:"2,keyasint"`
	Sandbox        bool   `cbor:"3,keyasint"`
}

type wireBuildFailed struct {
	DrvPath    string      `cbor:"1,keyasint"`
	DrvHash    []byte      `cbor:"2,keyasint"`
	Modulo     []byte      `cbor:"3,keyasint"`
	System     string      `cbor:"4,keyasint"`
	StoreDir   string      `cbor:"5,keyasint"`
	Outputs    []string    `cbor:"6,keyasint"`
	Reason     Reason      `cbor:"7,keyasint"`
	ExitStatus *uint64     `cbor:"8,keyasint,omitempty"`
	Builder    wireBuilder `cbor:"9,keyasint"`
	Started    uint64      `cbor:"10,keyasint"`
	Finished   uint64      `cbor:"11,keyasint"`
	BuildID    []byte      `cbor:"12,keyasint"`
	LogHash    *[]byte     `cbor:"13,keyasint,omitempty"`
}

func (b *Build) encode() ([]byte, error) {
	w := wireBuild{
		DrvPath: b.DrvPath.String(), DrvHash: b.DrvHash[:], Modulo: b.Modulo[:],
		System: b.System, StoreDir: string(b.StoreDir), How: b.How, Partial: b.Partial,
		Builder: wireBuilder(b.Builder), Started: b.Started, Finished: b.Finished, BuildID: b.BuildID[:],
	}
	for _, o := range b.Outputs {
		wo := wireOutput{Name: o.Name, Path: o.Path.Base(), NarHash: o.NarHash[:], NarSize: o.NarSize}
		wo.References, wo.RefsDigest = encodeRefs(o.References, o.RefsDigest)
		if o.CA != "" {
			wo.CA = &o.CA
		}
		w.Outputs = append(w.Outputs, wo)
	}
	if in := b.Inputs; in != nil {
		w.Inputs = &wireInputs{Digest: in.Digest[:], Count: in.Count, Built: in.Built, Substituted: in.Substituted}
	}
	return encodeWire(&w)
}

// encodeRefs gives the references inline unless there is only a digest.
func encodeRefs(refs []nix.StorePath, digest *nix.Hash) (*[]string, *[]byte) {
	if digest != nil {
		d := digest[:]
		if refs == nil {
			return nil, &d
		}
		list := baseNames(refs)
		return &list, &d // Check has refused this
	}
	list := baseNames(refs)
	return &list, nil
}

func baseNames(paths []nix.StorePath) []string {
	out := make([]string, len(paths))
	for i, p := range paths {
		out[i] = p.Base()
	}
	return out
}

func (b *Build) decode(raw []byte) error {
	var w wireBuild
	if err := decodeWire("build", raw, &w); err != nil {
		return err
	}
	c := &checker{kind: KindBuild}
	dir := c.storeDir(w.StoreDir)
	*b = Build{
		DrvPath: c.full("drv path", dir, w.DrvPath), DrvHash: c.hash("drv hash", w.DrvHash), Modulo: c.hash("hash modulo", w.Modulo),
		System: w.System, StoreDir: dir, How: w.How, Partial: w.Partial, Builder: Builder(w.Builder),
		Started: w.Started, Finished: w.Finished, BuildID: c.bytes16("build id", w.BuildID),
	}
	for _, wo := range w.Outputs {
		o := BuildOutput{
			Name: wo.Name, Path: c.base("output path", dir, wo.Path), NarHash: c.hash("NAR hash", wo.NarHash), NarSize: wo.NarSize,
			RefsDigest: c.optHash("references digest", wo.RefsDigest),
		}
		if wo.References != nil {
			o.References = c.bases("references", dir, *wo.References)
		}
		if wo.CA != nil {
			o.CA = *wo.CA
			c.require(o.CA != "", "output %s: empty content address", quoteShort(o.Name))
		}
		if wo.References == nil && wo.RefsDigest == nil {
			c.failf(CodeBadShape, "output %s: neither references nor their digest", quoteShort(o.Name))
		}
		b.Outputs = append(b.Outputs, o)
	}
	if in := w.Inputs; in != nil {
		b.Inputs = &BuildInputs{Digest: c.hash("inputs digest", in.Digest), Count: in.Count, Built: in.Built, Substituted: in.Substituted}
	}
	return c.result()
}

func (b *BuildFailed) encode() ([]byte, error) {
	w := wireBuildFailed{
		DrvPath: b.DrvPath.String(), DrvHash: b.DrvHash[:], Modulo: b.Modulo[:],
		System: b.System, StoreDir: string(b.StoreDir), Outputs: b.Outputs, Reason: b.Reason, ExitStatus: b.ExitStatus,
		Builder: wireBuilder(b.Builder), Started: b.Started, Finished: b.Finished, BuildID: b.BuildID[:],
	}
	if b.LogHash != nil {
		h := b.LogHash[:]
		w.LogHash = &h
	}
	return encodeWire(&w)
}

func (b *BuildFailed) decode(raw []byte) error {
	var w wireBuildFailed
	if err := decodeWire("build-failed", raw, &w); err != nil {
		return err
	}
	c := &checker{kind: KindBuildFailed}
	dir := c.storeDir(w.StoreDir)
	*b = BuildFailed{
		DrvPath: c.full("drv path", dir, w.DrvPath), DrvHash: c.hash("drv hash", w.DrvHash), Modulo: c.hash("hash modulo", w.Modulo),
		System: w.System, StoreDir: dir, Outputs: w.Outputs, Reason: w.Reason, ExitStatus: w.ExitStatus, Builder: Builder(w.Builder),
		Started: w.Started, Finished: w.Finished, BuildID: c.bytes16("build id", w.BuildID), LogHash: c.optHash("log hash", w.LogHash),
	}
	return c.result()
}
