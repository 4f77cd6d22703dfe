package statement

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/firn-log/firn/internal/nix"
)

// Sample bodies of the claims about caches, content and evaluations.

func sampleObserved() *Observed {
	drv := storePath("hello-2.12.drv")
	return &Observed{
		StoreDir: nix.DefaultStoreDir, Path: storePath("hello-2.12"), NarHash: testHash("nar"), NarSize: 226560,
		Cache: "https://cache.example.org/nix", Deriver: &drv, Seen: 1787000000,
	}
}

// signed adds what Nix keys say about b, in the form that b has.
func signed(b *Realisation, names ...string) *Realisation {
	form := uint64(SigByModulo)
	if b.Drv != nil {
		form = SigByDrvPath
	}
	for _, name := range names {
		k := testEd25519(name)
		s := NixSig{KeyName: name + "-1", Form: form}
		copy(s.Key[:], k[32:])
		copy(s.Sig[:], rawNix(k, b.Fingerprint()))
		b.NixSigs = append(b.NixSigs, s)
	}
	slices.SortFunc(b.NixSigs, func(x, y NixSig) int { return x.compare(&y) })
	return b
}

func sampleRealisation() *Realisation {
	modulo, dep := testHash("modulo"), testHash("modulo of a dependency")
	return signed(&Realisation{
		StoreDir: nix.DefaultStoreDir, Modulo: &modulo, Output: "dev", Path: storePath("hello-2.12-dev"), Builder: Builder{"nix", "2.31.2", true},
		Deps: []RealisationDep{{Modulo: &dep, Output: "out", Path: storePath("glibc-2.40")}},
	}, "cache", "builder")
}

func sampleResolved() *Realisation {
	drv := storePath("hello-2.12.drv")
	return signed(&Realisation{
		StoreDir: nix.DefaultStoreDir, Drv: &drv, Output: "dev", Path: storePath("hello-2.12-dev"), Builder: Builder{"nix", "2.35.0", true},
	}, "cache")
}

// samplePath is a source whose NAR hash is in its content address.
func samplePath() *PathClaim {
	h := testHash("nar of a source")
	ca := nix.ContentAddress{Method: nix.Recursive, Algo: "sha256", Hash: h[:]}
	return &PathClaim{
		StoreDir: nix.DefaultStoreDir, Path: caPath("source", ca, nix.Refs{}), NarHash: h, NarSize: 1048576, References: []nix.StorePath{}, CA: ca.String(),
	}
}

// sampleText is a text file with a reference, such as a .drv file.
func sampleText() *PathClaim {
	h, other := testHash("a text"), storePath("glibc-2.40")
	ca := nix.ContentAddress{Method: nix.Text, Algo: "sha256", Hash: h[:]}
	return &PathClaim{
		StoreDir: nix.DefaultStoreDir, Path: caPath("builder.sh", ca, nix.Refs{Others: []nix.StorePath{other}}), NarHash: testHash("nar of a text"), NarSize: 312,
		References: sorted(other), CA: ca.String(),
	}
}

func sampleDiff() *Diff {
	drv, report := storePath("hello-2.12.drv"), testHash("diffoscope says")
	return &Diff{
		StoreDir: nix.DefaultStoreDir, Drv: &drv, Output: "out", Path: storePath("hello-2.12"), A: testHash("nar a"), B: testHash("nar b"),
		Files: []DiffFile{
			{[]byte("bin/hello"), nix.DiffContent},
			{[]byte("bin/hello"), nix.DiffExecutable},
			{[]byte("share/doc.b\xffad"), nix.DiffOnlyA},
			{[]byte("share/doc/a"), nix.DiffOnlyB},
		},
		Total: 1000, Report: &report, Tool: "firn-0.1",
	}
}

func sampleEval(withDrvs bool) *Eval {
	drvs := sorted(storePath("hello-2.12.drv"), storePath("glibc-2.40.drv"))
	b := &Eval{
		Name: "nixpkgs-trunk", StoreDir: nix.DefaultStoreDir, Digest: PathsDigest(drvs), Count: 2, Evaluated: 1787000000,
		Inputs: []EvalInput{
			{Name: "nixpkgs", Type: "git", URI: "https://git.example.org/nixpkgs?ref=master", Revision: "0123456789abcdef0123456789abcdef01234567"},
			{Name: "officialRelease", Type: "boolean"},
			{Name: "ours", Type: "git", URI: "ssh://git@git.example.org/ours"},
		},
		Instance: "https://hydra.example.org", Number: 1823456,
	}
	if withDrvs {
		b.Drvs = drvs
	}
	return b
}

// longInfo is a path with so many references that they do not fit in a leaf.
func longInfo() *nix.PathInfo {
	info := samplePathInfo()
	for i := range 1400 {
		info.References = append(info.References, storePath(fmt.Sprintf("dependency-%d", i)))
	}
	info.References = sorted(info.References...)
	return info
}

func longCacheSig(t testing.TB) (*Statement, *nix.PathInfo) {
	t.Helper()
	key, info := testNixKey(), longInfo()
	s, err := NewCacheSig(info, key.Public(), key.Sign(info.Fingerprint()))
	if err != nil {
		t.Fatal(err)
	}
	return s, info
}

func acceptClaims(t testing.TB, sign func(name, comment string, k *keySigner, body Body, forWhom string, prev *ID)) {
	ed := edSigner(t, "build")
	sign("observed", "what an importer saw beside the signature", ed, sampleObserved(), "", nil)
	bare := sampleObserved()
	bare.Deriver, bare.Cache = nil, "http://cache.example.org:8080"
	sign("observed-no-deriver", "the narinfo named none", ed, bare, "", nil)
	sign("realisation-modulo", "by hash modulo, with a dependency and two signatures of Nix keys", ed, sampleRealisation(), "", nil)
	sign("realisation-drv", "by the resolved derivation, with a signature of a Nix key", ed, sampleResolved(), "", nil)
	drv := storePath("hello-2.12.drv")
	alone := sampleResolved()
	alone.NixSigs, alone.Output, alone.Path = nil, "out", storePath("hello-2.12")
	alone.Deps = []RealisationDep{{Drv: &drv, Output: "dev", Path: storePath("hello-2.12-dev")}}
	sign("realisation-unsigned", "no Nix key signed it; it rests on another by derivation", ed, alone, "", nil)
	sign("path", "a source; its NAR hash is in its content address", ed, samplePath(), "", nil)
	sign("path-text", "a text file with a reference: its NAR hash is a claim", ed, sampleText(), "", nil)
	sign("diff", "of an output, with a report; one name is not UTF-8, one file differs in two ways", ed, sampleDiff(), "", nil)
	source := sampleDiff()
	source.Drv, source.Output, source.Report, source.Total, source.Path = nil, "", nil, 1, storePath("source")
	source.Files = []DiffFile{{[]byte{}, nix.DiffType}}
	sign("diff-root", "of a path without derivation: the root itself is of another type", ed, source, "", nil)
	source.Files = nil
	sign("diff-no-files", "how many, and not which", ed, source, "", nil)
	sign("eval", "with its derivations", ed, sampleEval(true), "", nil)
	sign("eval-digest", "the digest of the derivations only", ed, sampleEval(false), "", nil)
	sign("eval-local", "of nobody's Hydra, without inputs", ed, &Eval{Name: "laptop", StoreDir: nix.DefaultStoreDir, Digest: testHash("drvs"), Count: 1}, "", nil)
	sign("eval-sshsig", "the same payload and key as eval, so the same statement id", edSSHSIG(t), sampleEval(true), "", nil)
}

func rejectObserved(r *rejecter) {
	c := func(name, code, comment string, change func(p, b anyMap)) {
		r.t.Helper()
		r.body("observed-"+name, code, comment, sampleObserved(), change)
	}
	cache := func(name, comment, url string) {
		r.t.Helper()
		c("cache-"+name, CodeBadValue, comment, func(_, b anyMap) { b[uint64(5)] = url })
	}
	cache("user", "an address with a name and a password", "https://alice:secret@cache.example.org/")
	cache("token", "a token in place of the name", "https://ghp_0123@cache.example.org/")
	cache("query", "a query may be a token", "https://cache.example.org/?token=secret")
	cache("fragment", "", "https://cache.example.org/#secret")
	cache("file", "an address of the importer's own machine", "file:///home/alice/cache")
	cache("no-host", "", "https:///nix")
	cache("empty", "", "")
	cache("space", "", "https://cache.example.org/a b")
	cache("257", "257 bytes", "https://"+strings.Repeat("a", 249))
	c("no-cache", CodeBadShape, "", func(_, b anyMap) { delete(b, uint64(5)) })
	c("deriver-not-a-drv", CodeBadValue, "", func(_, b anyMap) { b[uint64(6)] = storePath("hello-2.12").String() })
	c("deriver-base", CodeBadValue, "a base name where a full path is expected", func(_, b anyMap) { b[uint64(6)] = storePath("hello-2.12.drv").Base() })
	c("deriver-empty", CodeBadValue, "", func(_, b anyMap) { b[uint64(6)] = "" })
	c("deriver-elsewhere", CodeBadValue, "another store dir", func(_, b anyMap) { b[uint64(6)] = "/gnu/store/" + storePath("hello-2.12.drv").Base() })
	c("size-0", CodeBadValue, "", func(_, b anyMap) { b[uint64(4)] = 0 })
	c("size-2-63", CodeBadValue, "", func(_, b anyMap) { b[uint64(4)] = uint64(1 << 63) })
	c("hash-31", CodeBadShape, "", func(_, b anyMap) { b[uint64(3)] = make([]byte, 31) })
	c("path", CodeBadValue, "a full path where a base name is expected", func(_, b anyMap) { b[uint64(2)] = storePath("hello-2.12").String() })
	c("year-10000", CodeBadValue, "", func(_, b anyMap) { b[uint64(7)] = maxUnix + 1 })
	c("unknown-field", CodeBadShape, "", func(_, b anyMap) { b[uint64(8)] = 1 })
	c("for", CodeBadValue, "an importer speaks for itself", func(p, _ anyMap) { p[uint64(4)] = "bob" })
	c("prev", CodeBadChain, "claims are not chained", func(p, _ anyMap) { p[uint64(5)] = make([]byte, 32) })
}

func rejectRealisation(r *rejecter) {
	c := func(name, code, comment string, change func(p, b anyMap)) {
		r.t.Helper()
		r.body("realisation-"+name, code, comment, sampleRealisation(), change)
	}
	drv := storePath("hello-2.12.drv").String()
	c("modulo-and-drv", CodeBadShape, "one of the two", func(_, b anyMap) { b[uint64(3)] = drv })
	c("neither", CodeBadShape, "", func(_, b anyMap) { delete(b, uint64(2)) })
	c("modulo-31", CodeBadShape, "", func(_, b anyMap) { b[uint64(2)] = make([]byte, 31) })
	c("output", CodeBadValue, "", func(_, b anyMap) { b[uint64(4)] = "de v" })
	c("output-empty", CodeBadValue, "", func(_, b anyMap) { b[uint64(4)] = "" })
	c("output-of-another-name", CodePath, "no path of the output doc ends in -dev", func(_, b anyMap) { b[uint64(4)] = "doc" })
	c("path-elsewhere", CodeBadValue, "", func(_, b anyMap) { b[uint64(5)] = "/gnu/store/" + storePath("hello-2.12-dev").Base() })
	c("builder", CodeBadValue, "", func(_, b anyMap) { b[uint64(6)].(anyMap)[uint64(1)] = "" })
	c("builder-version", CodeBadValue, "", func(_, b anyMap) { b[uint64(6)].(anyMap)[uint64(2)] = "2 35" })
	c("no-deps", CodeBadShape, "an empty list is there, not left out", func(_, b anyMap) { delete(b, uint64(7)) })
	c("no-sigs", CodeBadShape, "an empty list is there, not left out", func(_, b anyMap) { delete(b, uint64(8)) })
	dep := func(b anyMap) anyMap { return b[uint64(7)].([]any)[0].(anyMap) }
	c("dep-neither", CodeBadShape, "", func(_, b anyMap) { delete(dep(b), uint64(1)) })
	c("dep-by-drv", CodeBadValue, "a signature by hash modulo covers no dependency by derivation", func(_, b anyMap) {
		delete(dep(b), uint64(1))
		dep(b)[uint64(2)] = storePath("glibc-2.40.drv").String()
	})
	c("dep-twice", CodeBadValue, "", func(_, b anyMap) { b[uint64(7)] = []any{dep(b), dep(b)} })
	c("dep-unknown-field", CodeBadShape, "", func(_, b anyMap) { dep(b)[uint64(5)] = 1 })
	c("deps-unsorted", CodeBadValue, "", func(_, b anyMap) {
		var deps []any
		for _, h := range [][]byte{bytes.Repeat([]byte{2}, 32), bytes.Repeat([]byte{1}, 32)} {
			deps = append(deps, anyMap{uint64(1): h, uint64(3): "out", uint64(4): storePath("a").Base()})
		}
		b[uint64(7)] = deps
	})
	many := func(n int) (deps []any) {
		for i := range n {
			deps = append(deps, anyMap{uint64(1): bytes.Repeat([]byte{byte(i >> 8), byte(i)}, 16), uint64(3): "o", uint64(4): strings.Repeat("0", 32) + "-a-o"})
		}
		return deps
	}
	c("deps-257", CodeBadValue, "more than 256", func(_, b anyMap) { b[uint64(7)] = many(257) })
	var nine []any
	for _, s := range signed(sampleRealisation(), strings.Fields("a b c d e f g")...).NixSigs {
		nine = append(nine, anyMap{uint64(1): s.KeyName, uint64(2): s.Key[:], uint64(3): s.Sig[:], uint64(4): s.Form})
	}
	sig := func(b anyMap) anyMap { return b[uint64(8)].([]any)[0].(anyMap) }
	c("sig-63", CodeBadShape, "", func(_, b anyMap) { sig(b)[uint64(3)] = make([]byte, 63) })
	c("sig-key-31", CodeBadShape, "", func(_, b anyMap) { sig(b)[uint64(2)] = make([]byte, 31) })
	c("sig-small-order", CodeBadKey, "a key that one signature fits for many messages", func(_, b anyMap) { sig(b)[uint64(2)] = append([]byte{1}, make([]byte, 31)...) })
	c("sig-key-name", CodeBadValue, "", func(_, b anyMap) { sig(b)[uint64(1)] = "a key" })
	c("sig-form-3", CodeBadValue, "", func(_, b anyMap) { sig(b)[uint64(4)] = 3 })
	c("sig-form-2", CodeBadValue, "a signature about a derivation, of what is named by its hash modulo", func(_, b anyMap) { sig(b)[uint64(4)] = 2 })
	c("sigs-unsorted", CodeBadValue, "", func(_, b anyMap) { slices.Reverse(b[uint64(8)].([]any)) })
	c("sigs-twice", CodeBadValue, "", func(_, b anyMap) { b[uint64(8)] = []any{sig(b), sig(b)} })
	c("sigs-9", CodeBadValue, "more than 8", func(_, b anyMap) { b[uint64(8)] = nine })
	c("unknown-field", CodeBadShape, "", func(_, b anyMap) { b[uint64(9)] = 1 })
	c("for", CodeBadValue, "nobody makes it for somebody else", func(p, _ anyMap) { p[uint64(4)] = "bob" })
	d := func(name, code, comment string, change func(b anyMap)) {
		r.t.Helper()
		r.body("realisation-drv-"+name, code, comment, sampleResolved(), func(_, b anyMap) { change(b) })
	}
	d("not-a-drv", CodeBadValue, "", func(b anyMap) { b[uint64(3)] = storePath("hello-2.12").String() })
	d("elsewhere", CodeBadValue, "", func(b anyMap) { b[uint64(3)] = "/gnu/store/" + storePath("hello-2.12.drv").Base() })
	d("renamed", CodePath, "a derivation of another name has outputs of other names", func(b anyMap) { b[uint64(3)] = storePath("hello-2.13.drv").String() })
	d("sig-form-3", CodeBadValue, "", func(b anyMap) { sig(b)[uint64(4)] = 3 })
	d("sig-form-1", CodeBadValue, "", func(b anyMap) { sig(b)[uint64(4)] = 1 })
	d("dep", CodeBadValue, "a signature about a derivation covers no dependencies", func(b anyMap) {
		b[uint64(7)] = []any{anyMap{uint64(2): storePath("glibc-2.40.drv").String(), uint64(3): "out", uint64(4): storePath("glibc-2.40").Base()}}
	})
	proof := func(name, comment string, body Body, change func(b anyMap)) {
		r.t.Helper()
		r.body("proof-realisation-"+name, CodeBadSignature, comment+": whoever admits or shows it must look at the signatures", body, func(_, b anyMap) { change(b) })
		v := r.out["proof-realisation-"+name]
		v.Stage = "proof"
		r.out["proof-realisation-"+name] = v
	}
	proof("zero", "a signature of zeros", sampleRealisation(), func(b anyMap) { sig(b)[uint64(3)] = make([]byte, 64) })
	proof("path", "the Nix keys signed another path", sampleRealisation(), func(b anyMap) { b[uint64(5)] = storePath("hello-2.13-dev").Base() })
	proof("deps", "the Nix keys signed a dependency", sampleRealisation(), func(b anyMap) { b[uint64(7)] = []any{} })
	proof("drv-path", "the Nix key signed another path", sampleResolved(), func(b anyMap) { b[uint64(5)] = strings.Repeat("0", 32) + "-hello-2.12-dev" })
}

func rejectPath(r *rejecter) {
	c := func(name, code, comment string, body *PathClaim, change func(p, b anyMap)) {
		r.t.Helper()
		r.body("path-"+name, code, comment, body, change)
	}
	c("path", CodePath, "the path of another content", samplePath(), func(_, b anyMap) { b[uint64(2)] = storePath("source").Base() })
	c("renamed", CodePath, "the same content under another name has another path", samplePath(), func(_, b anyMap) {
		b[uint64(2)] = b[uint64(2)].(string)[:33] + "tarball"
	})
	c("nar-hash", CodeDigest, "not the NAR hash in its content address", samplePath(), func(_, b anyMap) { b[uint64(3)] = make([]byte, 32) })
	c("ca", CodePath, "another content address", samplePath(), func(_, b anyMap) { b[uint64(6)] = sampleText().CA })
	c("reference-added", CodePath, "another list of references gives another path", samplePath(), func(_, b anyMap) { b[uint64(5)] = []any{storePath("a").Base()} })
	c("no-ca", CodeBadShape, "without content address nothing follows", samplePath(), func(_, b anyMap) { delete(b, uint64(6)) })
	c("ca-empty", CodeBadValue, "", samplePath(), func(_, b anyMap) { b[uint64(6)] = "" })
	c("ca-other-writing", CodeBadValue, "the hash in hexadecimal: a content address has one text", samplePath(), func(_, b anyMap) {
		h := samplePath().NarHash
		b[uint64(6)] = "fixed:r:sha256:" + h.Hex()
	})
	c("no-references", CodeBadShape, "an empty list is there, not left out", samplePath(), func(_, b anyMap) { delete(b, uint64(5)) })
	c("references-unsorted", CodeBadValue, "", sampleText(), func(_, b anyMap) { b[uint64(5)] = []any{storePath("b").Base(), storePath("b").Base()} })
	c("text-reference-dropped", CodePath, "", sampleText(), func(_, b anyMap) { b[uint64(5)] = []any{} })
	c("text-self", CodeBadValue, "a text file cannot refer to itself", sampleText(), func(_, b anyMap) { b[uint64(5)] = []any{b[uint64(2)]} })
	c("size-0", CodeBadValue, "", samplePath(), func(_, b anyMap) { b[uint64(4)] = 0 })
	c("size-negative", CodeBadShape, "", samplePath(), func(_, b anyMap) { b[uint64(4)] = -1 })
	c("unknown-field", CodeBadShape, "", samplePath(), func(_, b anyMap) { b[uint64(7)] = 1 })
	c("for", CodeBadValue, "nobody makes it for somebody else", samplePath(), func(p, _ anyMap) { p[uint64(4)] = "bob" })
}

func rejectDiff(r *rejecter) {
	c := func(name, code, comment string, change func(p, b anyMap)) {
		r.t.Helper()
		r.body("diff-"+name, code, comment, sampleDiff(), change)
	}
	file := func(name, comment string, bytes []byte) {
		r.t.Helper()
		c("file-"+name, CodeBadValue, comment, func(_, b anyMap) { b[uint64(7)].([]any)[0].(anyMap)[uint64(1)] = bytes })
	}
	file("absolute", "", []byte("/bin/hello"))
	file("dot", "", []byte("./bin/hello"))
	file("dot-dot", "it would lead out of the path", []byte("bin/../../a"))
	file("slash-at-the-end", "", []byte("bin/"))
	file("two-slashes", "", []byte("bin//hello"))
	file("nul", "", []byte("a\x00b"))
	file("1025", "1025 bytes: counted, and not listed", bytes.Repeat([]byte("a"), 1025))
	c("file-text", CodeBadShape, "a name is bytes", func(_, b anyMap) { b[uint64(7)].([]any)[0].(anyMap)[uint64(1)] = "bin/hello" })
	c("what", CodeBadValue, "", func(_, b anyMap) { b[uint64(7)].([]any)[0].(anyMap)[uint64(2)] = "owner" })
	c("files-unsorted", CodeBadValue, "", func(_, b anyMap) { slices.Reverse(b[uint64(7)].([]any)) })
	c("files-twice", CodeBadValue, "", func(_, b anyMap) {
		f := b[uint64(7)].([]any)[0]
		b[uint64(7)] = []any{f, f}
	})
	c("files-257", CodeBadValue, "more than 256", func(_, b anyMap) {
		var files []any
		for i := range 257 {
			files = append(files, anyMap{uint64(1): fmt.Appendf(nil, "%03d", i), uint64(2): "content"})
		}
		b[uint64(7)] = files
	})
	c("no-files", CodeBadShape, "an empty list is there, not left out", func(_, b anyMap) { delete(b, uint64(7)) })
	c("equal", CodeBadValue, "two equal hashes do not differ", func(_, b anyMap) { b[uint64(6)] = b[uint64(5)] })
	c("total-0", CodeBadValue, "", func(_, b anyMap) { b[uint64(7)], b[uint64(8)] = []any{}, 0 })
	c("total-below-the-list", CodeBadValue, "", func(_, b anyMap) { b[uint64(8)] = 3 })
	c("total-2-63", CodeBadValue, "", func(_, b anyMap) { b[uint64(8)] = uint64(1 << 63) })
	c("drv-without-output", CodeBadShape, "", func(_, b anyMap) { delete(b, uint64(3)) })
	c("output-without-drv", CodeBadShape, "", func(_, b anyMap) { delete(b, uint64(2)) })
	c("output-empty", CodeBadValue, "", func(_, b anyMap) { b[uint64(3)] = "" })
	c("drv", CodeBadValue, "not a derivation", func(_, b anyMap) { b[uint64(2)] = storePath("hello-2.12").String() })
	c("tool", CodeBadValue, "", func(_, b anyMap) { b[uint64(10)] = "diff -r" })
	c("report-31", CodeBadShape, "", func(_, b anyMap) { b[uint64(9)] = make([]byte, 31) })
	c("unknown-field", CodeBadShape, "", func(_, b anyMap) { b[uint64(11)] = 1 })
	c("for", CodeBadValue, "nobody makes it for somebody else", func(p, _ anyMap) { p[uint64(4)] = "bob" })
}

func rejectEval(r *rejecter) {
	c := func(name, code, comment string, change func(p, b anyMap)) {
		r.t.Helper()
		r.body("eval-"+name, code, comment, sampleEval(true), change)
	}
	c("digest", CodeDigest, "", func(_, b anyMap) { b[uint64(3)] = make([]byte, 32) })
	c("count", CodeDigest, "", func(_, b anyMap) { b[uint64(4)] = 3 })
	c("count-0", CodeBadValue, "an evaluation that asks for nothing", func(_, b anyMap) {
		delete(b, uint64(5))
		b[uint64(4)] = 0
	})
	c("drvs-empty", CodeDigest, "", func(_, b anyMap) { b[uint64(5)] = []any{} })
	c("drvs-unsorted", CodeBadValue, "", func(_, b anyMap) { slices.Reverse(b[uint64(5)].([]any)) })
	c("drvs-not-drvs", CodeBadValue, "", func(_, b anyMap) {
		paths := sorted(storePath("a"), storePath("b"))
		digest := PathsDigest(paths)
		b[uint64(5)], b[uint64(3)] = baseNames(paths), digest[:]
	})
	c("name", CodeBadValue, "", func(_, b anyMap) { b[uint64(1)] = "nixpkgs:trunk" })
	c("year-10000", CodeBadValue, "", func(_, b anyMap) { b[uint64(7)] = maxUnix + 1 })
	c("instance-user", CodeBadValue, "", func(_, b anyMap) { b[uint64(8)] = "https://alice:secret@hydra.example.org" })
	c("instance-empty", CodeBadValue, "left out instead", func(_, b anyMap) { b[uint64(8)] = "" })
	c("number-0", CodeBadValue, "left out instead", func(_, b anyMap) { b[uint64(9)] = 0 })
	c("number-2-63", CodeBadValue, "", func(_, b anyMap) { b[uint64(9)] = uint64(1 << 63) })
	c("number-without-instance", CodeBadValue, "", func(_, b anyMap) { delete(b, uint64(8)) })
	input := func(b anyMap) anyMap { return b[uint64(6)].([]any)[0].(anyMap) }
	c("input-name", CodeBadValue, "", func(_, b anyMap) { input(b)[uint64(1)] = "nix pkgs" })
	c("input-type", CodeBadValue, "", func(_, b anyMap) { input(b)[uint64(2)] = "" })
	c("input-uri-empty", CodeBadValue, "left out instead", func(_, b anyMap) { input(b)[uint64(3)] = "" })
	c("input-uri-257", CodeBadValue, "", func(_, b anyMap) { input(b)[uint64(3)] = strings.Repeat("u", 257) })
	c("input-uri-bidi", CodeBadValue, "a character that turns the direction of text", func(_, b anyMap) { input(b)[uint64(3)] = "a\u202eb" })
	c("input-uri-password", CodeBadValue, "", func(_, b anyMap) { input(b)[uint64(3)] = "https://alice:secret@git.example.org/a" })
	c("input-uri-token", CodeBadValue, "", func(_, b anyMap) { input(b)[uint64(3)] = "git+https://ghp_0123@git.example.org" })
	c("input-uri-git-password", CodeBadValue, "", func(_, b anyMap) { input(b)[uint64(3)] = "https://git:secret@git.example.org/a" })
	c("input-revision-129", CodeBadValue, "", func(_, b anyMap) { input(b)[uint64(4)] = strings.Repeat("r", 129) })
	c("inputs-unsorted", CodeBadValue, "", func(_, b anyMap) { slices.Reverse(b[uint64(6)].([]any)) })
	c("inputs-twice", CodeBadValue, "", func(_, b anyMap) { b[uint64(6)] = []any{input(b), input(b)} })
	c("inputs-33", CodeBadValue, "more than 32", func(_, b anyMap) {
		var in []any
		for i := range 33 {
			in = append(in, anyMap{uint64(1): fmt.Sprintf("%02d", i), uint64(2): "git"})
		}
		b[uint64(6)] = in
	})
	c("no-inputs", CodeBadShape, "an empty list is there, not left out", func(_, b anyMap) { delete(b, uint64(6)) })
	c("input-unknown-field", CodeBadShape, "", func(_, b anyMap) { input(b)[uint64(5)] = 1 })
	c("unknown-field", CodeBadShape, "", func(_, b anyMap) { b[uint64(10)] = 1 })
	c("for", CodeBadValue, "nobody makes it for somebody else", func(p, _ anyMap) { p[uint64(4)] = "bob" })
}

func rejectNewClaims(r *rejecter) {
	rejectObserved(r)
	rejectRealisation(r)
	rejectPath(r)
	rejectDiff(r)
	rejectEval(r)
}
