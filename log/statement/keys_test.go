package statement

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/sha256"
	"encoding/asn1"
	"encoding/binary"
	"math/big"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/crypto/ssh"

	"github.com/firn-log/firn/internal/nix"
)

// Keys that are the same in every run. They guard nothing.

func testEd25519(name string) ed25519.PrivateKey {
	seed := sha256.Sum256([]byte("firn test key " + name))
	return ed25519.NewKeyFromSeed(seed[:])
}

func testP256(name string) *ecdsa.PrivateKey {
	d := sha256.Sum256([]byte("firn test key " + name))
	key, err := ecdsa.ParseRawPrivateKey(elliptic.P256(), d[:])
	if err != nil {
		panic(err)
	}
	return key
}

func memorySigner(t testing.TB, key crypto.Signer) *keySigner {
	t.Helper()
	k, err := newMemorySigner(key)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func edSigner(t testing.TB, name string) *keySigner { return memorySigner(t, testEd25519(name)) }

// nixSigner opens the cache's key as a Nix secret key file with that name.
func nixSigner(t testing.TB, name string) *keySigner {
	t.Helper()
	path := filepath.Join(t.TempDir(), "key")
	if err := os.WriteFile(path, []byte(name+":"+base64Std(testNixKey().Key)+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	k, err := OpenSigner(context.Background(), path, SignerOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return k.(*keySigner)
}

func rsaSigner(t testing.TB) *keySigner {
	t.Helper()
	return rsaFileSigner(t, "testdata/rsa3072")
}

func rsaFileSigner(t testing.TB, path string) *keySigner {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	key, err := ssh.ParseRawPrivateKey(b)
	if err != nil {
		t.Fatal(err)
	}
	return memorySigner(t, key.(crypto.Signer))
}

// An authenticator is a FIDO security key in software. A real one builds the
// same 69 bytes (OpenSSH PROTOCOL.u2f) and sets userPresent when it is touched.
type authenticator struct {
	key     crypto.Signer // ed25519.PrivateKey or *ecdsa.PrivateKey
	app     string
	flags   byte
	counter uint32
}

func (a *authenticator) blob() []byte {
	if key, ok := a.key.(ed25519.PrivateKey); ok {
		b := appendSSHString(appendSSHString(nil, sshSKEd), key.Public().(ed25519.PublicKey))
		return appendSSHString(b, a.app)
	}
	point, err := a.key.(*ecdsa.PrivateKey).PublicKey.Bytes()
	if err != nil {
		panic(err)
	}
	b := appendSSHString(appendSSHString(nil, sshSKECDSA), nistP256)
	return appendSSHString(appendSSHString(b, point), a.app)
}

func (a *authenticator) sshsig(namespace string, msg []byte) []byte {
	app, m := sha256.Sum256([]byte(a.app)), sha256.Sum256(sshsigMessage(namespace, msg))
	signed := binary.BigEndian.AppendUint32(append(app[:], a.flags), a.counter)
	signed = append(signed, m[:]...)
	format, raw := sshSKEd, []byte(nil)
	if key, ok := a.key.(ed25519.PrivateKey); ok {
		raw = ed25519.Sign(key, signed)
	} else {
		format = sshSKECDSA
		h := sha256.Sum256(signed)
		der, err := a.key.Sign(nil, h[:], crypto.SHA256)
		if err != nil {
			panic(err)
		}
		var sig struct{ R, S *big.Int }
		if _, err := asn1.Unmarshal(der, &sig); err != nil {
			panic(err)
		}
		raw = appendMPInt(appendMPInt(nil, sig.R), sig.S)
	}
	sig := appendSSHString(appendSSHString(nil, format), raw)
	sig = binary.BigEndian.AppendUint32(append(sig, a.flags), a.counter)

	b := binary.BigEndian.AppendUint32([]byte(sshsigMagic), 1)
	for _, field := range [][]byte{a.blob(), []byte(namespace), nil, []byte(sshsigHash), sig} {
		b = appendSSHString(b, field)
	}
	return b
}

// signer returns the authenticator as a Signer, which needs its public key to be acceptable.
func (a *authenticator) signer(t testing.TB) *keySigner {
	t.Helper()
	pub, err := parseSSHBlob(a.blob())
	if err != nil {
		t.Fatal(err)
	}
	return &keySigner{pub: pub, sshsig: func(_ context.Context, namespace string, msg []byte) ([]byte, error) {
		return a.sshsig(namespace, msg), nil
	}}
}

func testAuthenticator(ec bool) *authenticator {
	a := &authenticator{key: testEd25519("authenticator"), app: "ssh:", flags: userPresent, counter: 7}
	if ec {
		a.key = testP256("authenticator")
	}
	return a
}

// Sample bodies.

const testOrigin = "demo.firn.example/3f9a01bc"

func testHash(name string) nix.Hash { return nix.Hash(sha256.Sum256([]byte(name))) }

func testID(name string) ID { return ID(testHash(name)) }

// storePath makes a path with the given name whose hash part is arbitrary.
func storePath(name string) nix.StorePath {
	h := testHash(name)
	p, err := nix.DefaultStoreDir.FromBase(nix.EncodeBase32(h[:20]) + "-" + name)
	if err != nil {
		panic(err)
	}
	return p
}

func sorted(paths ...nix.StorePath) []nix.StorePath {
	out := append([]nix.StorePath{}, paths...)
	for i := range out {
		for j := i; j > 0 && out[j-1].Compare(out[j]) > 0; j-- {
			out[j-1], out[j] = out[j], out[j-1]
		}
	}
	return out
}

func outPath(modulo nix.Hash, drvName, output string) nix.StorePath {
	p, err := nix.OutputPath(nix.DefaultStoreDir, modulo, drvName, output)
	if err != nil {
		panic(err)
	}
	return p
}

// sampleBuild is an input-addressed build with two outputs.
func sampleBuild() *Build {
	modulo := testHash("modulo")
	out, dev := outPath(modulo, "hello-2.12", "out"), outPath(modulo, "hello-2.12", "dev")
	long := PathsDigest(sorted(out, storePath("glibc-2.40")))
	return &Build{
		DrvPath: storePath("hello-2.12.drv"), DrvHash: testHash("drv"), Modulo: modulo,
		System: "x86_64-linux", StoreDir: nix.DefaultStoreDir,
		Outputs: []BuildOutput{
			{Name: "dev", Path: dev, NarHash: testHash("nar dev"), NarSize: 4096, RefsDigest: &long},
			{Name: "out", Path: out, NarHash: testHash("nar out"), NarSize: 226560, References: sorted(out, storePath("glibc-2.40"))},
		},
		How: HowBuilt, Inputs: &BuildInputs{Digest: testHash("inputs"), Count: 57, Built: 7, Substituted: 50},
		Builder: Builder{"nix", "2.34.8", true}, Started: 1787000000, Finished: 1787000042, BuildID: [16]byte{15: 1},
	}
}

func caPath(name string, ca nix.ContentAddress, refs nix.Refs) nix.StorePath {
	p, err := nix.FixedOutputPath(nix.DefaultStoreDir, name, ca, refs)
	if err != nil {
		panic(err)
	}
	return p
}

// sampleCA is a build with one content-addressed output, which refers to
// itself if self is set.
func sampleCA(self bool) *Build {
	b := sampleBuild()
	content := testHash("nar ca")
	h := content
	ca := nix.ContentAddress{Method: nix.Recursive, Algo: "sha256", Hash: content[:]}
	other := storePath("glibc-2.40")
	path := caPath("hello-2.12", ca, nix.Refs{Others: []nix.StorePath{other}, Self: self})
	refs := sorted(other)
	if self {
		refs = sorted(other, path)
		h = testHash("nar ca with its own path in it")
	}
	b.Outputs = []BuildOutput{{Name: "out", Path: path, NarHash: h, NarSize: 4096, References: refs, CA: ca.String()}}
	return b
}

// sampleFOD is a flat fixed-output build, which has no references.
func sampleFOD() *Build {
	b := sampleBuild()
	h := testHash("a tarball")
	ca := nix.ContentAddress{Method: nix.Flat, Algo: "sha256", Hash: h[:]}
	b.DrvPath, b.Inputs = storePath("hello-2.12.tar.gz.drv"), nil
	b.Outputs = []BuildOutput{{
		Name: "out", Path: caPath("hello-2.12.tar.gz", ca, nix.Refs{}), NarHash: testHash("nar of it"), NarSize: 1017216,
		References: []nix.StorePath{}, CA: ca.String(),
	}}
	return b
}

func sampleFailed() *BuildFailed {
	status, log := uint64(2), testHash("log")
	return &BuildFailed{
		DrvPath: storePath("broken-1.drv"), DrvHash: testHash("broken drv"), Modulo: testHash("broken modulo"),
		System: "aarch64-linux", StoreDir: nix.DefaultStoreDir, Outputs: []string{"dev", "out"}, Reason: ReasonExit, ExitStatus: &status,
		Builder: Builder{"nix", "2.34.8", true}, Started: 1787000000, Finished: 1787000001, BuildID: [16]byte{15: 2}, LogHash: &log,
	}
}

func sampleClosure(withPaths bool) *Closure {
	paths := sorted(storePath("hello-2.12"), storePath("glibc-2.40"), storePath("bash-5.3"))
	c := &Closure{Name: "nixos-26.05", StoreDir: nix.DefaultStoreDir, Digest: PathsDigest(paths), Count: 3}
	if withPaths {
		c.Paths = paths
	}
	return c
}

func samplePathInfo() *nix.PathInfo {
	out := storePath("hello-2.12")
	return &nix.PathInfo{Path: out, NarHash: testHash("nar"), NarSize: 226560, References: sorted(out, storePath("glibc-2.40"))}
}

func testNixKey() nix.SecretKey {
	return nix.SecretKey{Name: "cache.example.org-1", Key: testEd25519("cache")}
}

func sampleOperator(identity PublicKey) *Operator {
	return &Operator{Name: "alice", Contact: "Alice Ünïcode <alice@example.org>", URL: "https://example.org/firn", HomeLog: testOrigin, Identity: identity}
}

func sampleRules() Rules {
	return Rules{
		Mode: ModeVouched, Budgets: Budgets{1000, 1 << 20, 100000, 1 << 30, 32}, VouchThreshold: 2,
		OperatorKeys: []KeyID{KeyID(testHash("operator key"))},
		CacheKeys:    []CacheKey{{"cache.example.org-1", [32]byte(testEd25519("cache").Public().(ed25519.PublicKey))}},
	}
}
