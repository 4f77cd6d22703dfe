package statement

import (
	"bytes"
	"crypto/ed25519"
	"crypto/sha256"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/firn-log/firn/internal/nix"
)

func rawNix(k ed25519.PrivateKey, msg []byte) []byte { return ed25519.Sign(k, msg) }

// The blobs that each kind names, written by hand from spec/statement.md#blobs.
func TestBlobsOfEachKind(t *testing.T) {
	build, failed, diff := sampleBuild(), sampleFailed(), sampleDiff()
	twice := sampleBuild()
	twice.Outputs[1].References, twice.Outputs[1].RefsDigest = nil, twice.Outputs[0].RefsDigest
	long, _ := longCacheSig(t)
	for name, c := range map[string]struct {
		body Body
		want []BlobRef
	}{
		"build":                           {build, []BlobRef{{build.DrvHash, BlobDrv}, {*build.Outputs[0].RefsDigest, BlobRefs}}},
		"build, one list for two outputs": {twice, []BlobRef{{build.DrvHash, BlobDrv}, {*build.Outputs[0].RefsDigest, BlobRefs}}},
		"build-failed":                    {failed, []BlobRef{{failed.DrvHash, BlobDrv}, {*failed.LogHash, BlobLog}}},
		"cache-sig":                       {sampleCacheSig(t).Body, nil},
		"cache-sig, digest":               {long.Body, []BlobRef{{*long.Body.(*CacheSig).RefsDigest, BlobRefs}}},
		"closure":                         {sampleClosure(true), nil},
		"closure, digest":                 {sampleClosure(false), []BlobRef{{sampleClosure(false).Digest, BlobDrvs}}},
		"eval":                            {sampleEval(true), nil},
		"eval, digest":                    {sampleEval(false), []BlobRef{{sampleEval(false).Digest, BlobDrvs}}},
		"diff":                            {diff, []BlobRef{{*diff.Report, BlobReport}}},
		"observed":                        {sampleObserved(), nil},
		"path":                            {samplePath(), nil},
		"realisation":                     {sampleRealisation(), nil},
	} {
		if d := cmp.Diff(c.want, Blobs(c.body)); d != "" {
			t.Errorf("%s: %s", name, d)
		}
	}
}

func TestBlobOfAListHasItsDigest(t *testing.T) {
	for _, paths := range [][]nix.StorePath{{}, sorted(storePath("a")), longInfo().References} {
		b := PathsBlob(paths)
		if nix.Hash(sha256.Sum256(b)) != PathsDigest(paths) {
			t.Errorf("the blob of %d paths has another digest", len(paths))
		}
		if got, err := ParsePathsBlob(nix.DefaultStoreDir, b); err != nil || !slices.Equal(got, paths) {
			t.Errorf("%d paths read as %d: %v", len(paths), len(got), err)
		}
	}
}

func TestListsThatAreNotInOrderAreRefused(t *testing.T) {
	a := sorted(storePath("a"), storePath("b"))
	x, y := a[0].Base(), a[1].Base()
	for name, b := range map[string]string{
		"unsorted": y + "\n" + x + "\n", "twice": x + "\n" + x + "\n", "cut off": x + "\n" + y, "no name": x + "\n\n", "full path": a[0].String() + "\n", "CR": x + "\r\n",
	} {
		_, err := ParsePathsBlob(nix.DefaultStoreDir, []byte(b))
		if CodeOf(err) != CodeBadValue {
			t.Errorf("%s: %v", name, err)
			continue
		}
		checkSentence(t, err)
	}
	if _, err := ParsePathsBlob(nix.DefaultStoreDir, make([]byte, MaxBlob+1)); CodeOf(err) != CodeOversize {
		t.Errorf("a list of 16 MiB and a byte: %v", err)
	}
}

func FuzzPathsBlob(f *testing.F) {
	f.Add([]byte{})
	f.Add(PathsBlob(sampleClosure(true).Paths))
	f.Add([]byte("\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		paths, err := ParsePathsBlob(nix.DefaultStoreDir, b)
		if err == nil && !bytes.Equal(PathsBlob(paths), b) {
			t.Errorf("encodes as %q", PathsBlob(paths))
		}
	})
}

// References that do not fit in a leaf are given by their digest, and the
// signature is verified with the list.
func TestCacheSigWithManyReferences(t *testing.T) {
	s, info := longCacheSig(t)
	b := s.Body.(*CacheSig)
	if b.References != nil || b.RefsDigest == nil || len(s.Leaf()) > MaxLeaf {
		t.Fatalf("%d references in a leaf of %d bytes", len(b.References), len(s.Leaf()))
	}
	checkRoundTrip(t, s, s.Leaf())
	if err := s.Verify(*s.SignerKey); CodeOf(err) != CodeNeedsBlob {
		t.Errorf("without the list: %v", err)
	}
	if err := s.VerifyWithReferences(*s.SignerKey, info.References); err != nil {
		t.Error(err)
	}
	refs := info.References
	swapped := slices.Clone(refs)
	swapped[0], swapped[1] = swapped[1], swapped[0]
	for name, c := range map[string]struct {
		refs []nix.StorePath
		code string
	}{
		"none":         {nil, CodeDigest},
		"one less":     {refs[1:], CodeDigest},
		"unsorted":     {swapped, CodeBadValue},
		"one repeated": {append(slices.Clone(refs), refs[len(refs)-1]), CodeBadValue},
	} {
		if err := s.VerifyWithReferences(*s.SignerKey, c.refs); CodeOf(err) != c.code {
			t.Errorf("%s: %v", name, err)
		}
	}
	// The list has the digest, and the cache signed another one.
	other := *b
	digest := PathsDigest(refs[1:])
	other.RefsDigest = &digest
	forged, err := Parse(pairLeaf(payloadOf(t, &other, nil), s.Sig))
	if err != nil {
		t.Fatal(err)
	}
	if err := forged.VerifyWithReferences(*s.SignerKey, refs[1:]); CodeOf(err) != CodeBadSignature {
		t.Errorf("another list than the cache signed: %v", err)
	}
	if err := s.VerifyWithReferences(edSigner(t, "identity").pub, refs); CodeOf(err) != CodeWrongKey {
		t.Errorf("another key: %v", err)
	}
	// A statement that has its list does not care.
	short := sampleCacheSig(t)
	if err := short.VerifyWithReferences(*short.SignerKey, nil); err != nil {
		t.Error(err)
	}
}

// What a Nix key signs about a realisation is what Nix writes.
func TestFingerprintsOfRealisations(t *testing.T) {
	for name, b := range map[string]*Realisation{"modulo": sampleRealisation(), "drv": sampleResolved()} {
		r, err := nix.ParseRealisation(nix.DefaultStoreDir, b.Fingerprint())
		if err != nil || r.ID() != b.ID() || r.OutPath != b.Path || len(r.Dependent) != len(b.Deps) {
			t.Errorf("%s: %+v, %v", name, r, err)
		}
		if err := b.VerifyNixSigs(); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// The order of differences is that of bytes, not of folders.
func TestDiffFilesAscendByBytes(t *testing.T) {
	files := []DiffFile{{[]byte("a/b"), nix.DiffContent}, {[]byte("a.b"), nix.DiffContent}, {nil, nix.DiffType}, {[]byte("a"), nix.DiffOnlyB}, {[]byte("a"), nix.DiffContent}}
	slices.SortFunc(files, DiffFile.Compare)
	var got []string
	for _, f := range files {
		got = append(got, string(f.Name)+":"+string(f.What))
	}
	if d := cmp.Diff([]string{":type", "a:content", "a:only-b", "a.b:content", "a/b:content"}, got); d != "" {
		t.Error(d)
	}
}
