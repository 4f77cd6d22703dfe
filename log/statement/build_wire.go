package statement

import "github.com/firn-log/firn/internal/nix"

func (b *Build) encode() ([]byte, error) {
	w := writer{b: make([]byte, 0, 512)}
	w.open()
	w.text(1, b.DrvPath.String())
	w.bytes(2, b.DrvHash[:])
	w.bytes(3, b.Modulo[:])
	w.text(4, b.System)
	w.text(5, string(b.StoreDir))
	w.list(6, len(b.Outputs))
	for i := range b.Outputs {
		w.output(&b.Outputs[i])
	}
	w.text(7, string(b.How))
	w.bool(8, b.Partial)
	if in := b.Inputs; in != nil {
		w.key(9)
		outer := w.open()
		w.bytes(1, in.Digest[:])
		w.uint(2, in.Count)
		w.uint(3, in.Built)
		w.uint(4, in.Substituted)
		w.close(outer)
	}
	w.builder(10, b.Builder)
	w.uint(11, b.Started)
	w.uint(12, b.Finished)
	w.bytes(13, b.BuildID[:])
	return w.b, nil
}

func (w *writer) output(o *BuildOutput) {
	outer := w.open()
	w.text(1, o.Name)
	w.text(2, o.Path.Base())
	w.bytes(3, o.NarHash[:])
	w.uint(4, o.NarSize)
	w.references(5, o.References, o.RefsDigest)
	w.optText(7, o.CA)
	w.close(outer)
}

// references writes the references inline unless there is only a digest, in field n+1.
func (w *writer) references(n byte, refs []nix.StorePath, digest *nix.Hash) {
	if digest == nil || refs != nil {
		w.bases(n, refs)
	}
	if digest != nil {
		w.bytes(n+1, digest[:])
	}
}

// bases writes the base names of paths.
func (w *writer) bases(n byte, paths []nix.StorePath) {
	w.list(n, len(paths))
	for _, p := range paths {
		w.b = appendText(w.b, p.Base())
	}
}

func (w *writer) builder(n byte, b Builder) {
	w.key(n)
	outer := w.open()
	w.text(1, b.Implementation)
	w.text(2, b.Version)
	w.bool(3, b.Sandbox)
	w.close(outer)
}

func (b *Build) decode(raw []byte) error {
	r, c := newReader(raw), &checker{kind: KindBuild}
	f := r.fields("build")
	drv := f.text(1)
	*b = Build{DrvHash: c.hash("drv hash", f.bytes(2)), Modulo: c.hash("hash modulo", f.bytes(3)), System: f.text(4)}
	b.StoreDir = c.storeDir(f.text(5))
	b.DrvPath = c.full("drv path", b.StoreDir, drv)
	n := f.list(6)
	b.Outputs = make([]BuildOutput, 0, atMost(n))
	for range n {
		if r.err != nil {
			break
		}
		b.Outputs = append(b.Outputs, BuildOutput{})
		b.Outputs[len(b.Outputs)-1].read(&f, c, b.StoreDir)
	}
	b.How, b.Partial = How(f.text(7)), f.bool(8)
	if f.has(9) {
		in := f.sub("build: inputs")
		b.Inputs = &BuildInputs{Digest: c.hash("inputs digest", in.bytes(1)), Count: in.uint(2), Built: in.uint(3), Substituted: in.uint(4)}
		in.end()
	}
	b.Builder = f.builder(10, "build: builder")
	b.Started, b.Finished = f.uint(11), f.uint(12)
	b.BuildID = c.bytes16("build id", f.bytes(13))
	f.end()
	return r.result(c)
}

func (o *BuildOutput) read(f *fields, c *checker, dir nix.StoreDir) {
	g := f.sub("build: output")
	o.Name = g.text(1)
	o.Path = c.base("output path", dir, g.text(2))
	o.NarHash, o.NarSize = c.hash("NAR hash", g.bytes(3)), g.uint(4)
	o.References, o.RefsDigest = g.references(5, c, dir)
	if ca, ok := g.optText(7); ok {
		o.CA = ca
		if ca == "" {
			c.failf(CodeBadValue, "output %s: empty content address", quoteShort(o.Name))
		}
	}
	g.end()
}

// references reads a list in field n or its digest in field n+1.
func (f *fields) references(n uint64, c *checker, dir nix.StoreDir) (refs []nix.StorePath, digest *nix.Hash) {
	if f.has(n) {
		refs = f.bases(c, "references", dir)
	}
	digest = c.optHash("references digest", f.optBytes(n+1))
	if refs == nil && digest == nil {
		c.failf(CodeBadShape, "neither references nor their digest")
	}
	return refs, digest
}

// bases reads a list of base names, nil only after an error.
func (f *fields) bases(c *checker, field string, dir nix.StoreDir) []nix.StorePath {
	n := f.listHere()
	paths := make([]nix.StorePath, 0, atMost(n))
	for range n {
		if f.r.err != nil {
			return nil
		}
		paths = append(paths, c.base(field, dir, f.textHere()))
	}
	return paths
}

func (f *fields) builder(n uint64, what string) (b Builder) {
	if !f.need(n) {
		return b
	}
	g := f.sub(what)
	b = Builder{Implementation: g.text(1), Version: g.text(2), Sandbox: g.bool(3)}
	g.end()
	return b
}

func (b *BuildFailed) encode() ([]byte, error) {
	w := writer{b: make([]byte, 0, 512)}
	w.open()
	w.text(1, b.DrvPath.String())
	w.bytes(2, b.DrvHash[:])
	w.bytes(3, b.Modulo[:])
	w.text(4, b.System)
	w.text(5, string(b.StoreDir))
	w.texts(6, b.Outputs)
	w.text(7, string(b.Reason))
	if b.ExitStatus != nil {
		w.uint(8, *b.ExitStatus)
	}
	w.builder(9, b.Builder)
	w.uint(10, b.Started)
	w.uint(11, b.Finished)
	w.bytes(12, b.BuildID[:])
	if b.LogHash != nil {
		w.bytes(13, b.LogHash[:])
	}
	return w.b, nil
}

func (b *BuildFailed) decode(raw []byte) error {
	r, c := newReader(raw), &checker{kind: KindBuildFailed}
	f := r.fields("build-failed")
	drv := f.text(1)
	*b = BuildFailed{DrvHash: c.hash("drv hash", f.bytes(2)), Modulo: c.hash("hash modulo", f.bytes(3)), System: f.text(4)}
	b.StoreDir = c.storeDir(f.text(5))
	b.DrvPath = c.full("drv path", b.StoreDir, drv)
	b.Outputs = f.texts(6)
	b.Reason = Reason(f.text(7))
	if f.has(8) {
		status := f.uintHere()
		b.ExitStatus = &status
	}
	b.Builder = f.builder(9, "build-failed: builder")
	b.Started, b.Finished = f.uint(10), f.uint(11)
	b.BuildID = c.bytes16("build id", f.bytes(12))
	b.LogHash = c.optHash("log hash", f.optBytes(13))
	f.end()
	return r.result(c)
}
