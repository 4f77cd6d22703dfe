package statement

import (
	"crypto/rsa"
	"encoding/base64"
	"encoding/pem"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/firn-log/firn/internal/nix"
)

func base64Std(b []byte) string { return base64.StdEncoding.EncodeToString(b) }

func TestTextRefusesWhatCannotBeSeen(t *testing.T) {
	for s, ok := range map[string]bool{
		"alice@example.org": true, "Ünïcode 日本語 العربية עברית 🦊": true, "a": true, strings.Repeat("x", 128): true,
		"": false, strings.Repeat("x", 129): false, " a": false, "a ": false, "a\tb": false, "a\x00": false, "a\x7f": false, "a\u0085": false,
		"a\u202eb": false, "a\u2066b": false, "a\u061cb": false, "a\u200fb": false, "a\u200bb": false, "a\u200db": false, "a\u2028b": false,
		"a\u00adb": false, "a\ufeffb": false, "a\U000e0041b": false, "a\ufdd0b": false, "a\uffffb": false, "a\U0001fffeb": false, "a\xffb": false,
	} {
		c := &checker{kind: KindOperator}
		c.text("contact", s, 128)
		if (c.err == nil) != ok {
			t.Errorf("%+q: %v", s, c.err)
		}
	}
}

func TestOrigins(t *testing.T) {
	for s, ok := range map[string]bool{
		testOrigin: true, "a/00000000": true, "log.example.org/some_team/3f9a01bc": true,
		"": false, "3f9a01bc": false, "/3f9a01bc": false, "a/3F9a01bc": false, "A/3f9a01bc": false, "a/3f9a01b": false, "a/3f9a01bcd": false,
		"a//3f9a01bc": false, "a/../3f9a01bc": false, "a/./3f9a01bc": false, "a b/3f9a01bc": false, "a+b/3f9a01bc": false, "a/3f9a01bc/": false,
		"a/3f9a01bc\n": false, "é/3f9a01bc": false, strings.Repeat("a", 63) + "/3f9a01bc": true, strings.Repeat("a", 64) + "/3f9a01bc": false,
		strings.Repeat("a/", 60) + "3f9a01bc": true, strings.Repeat("a/", 61) + "3f9a01bc": false,
		// The first lines of other messages that an Ed25519 key may sign.
		"cosignature/v1": false, "firn-key-proof-v1": false, "subtree/v1": false,
	} {
		if err := CheckOrigin(s); (err == nil) != ok {
			t.Errorf("%+q: %v", s, err)
		}
	}
}

func TestURLs(t *testing.T) {
	for s, ok := range map[string]bool{
		"https://example.org/": true, "http://localhost:8080/a?b=c": true,
		"https://": false, "ftp://example.org": false, "javascript:alert(1)": false, "https://a b": false, "https://é": false, "https://a\"": false,
		"https://" + strings.Repeat("a", 248): true, "https://" + strings.Repeat("a", 249): false, "HTTPS://example.org": false,
	} {
		c := &checker{kind: KindOperator}
		c.url("url", s)
		if (c.err == nil) != ok {
			t.Errorf("%+q: %v", s, c.err)
		}
	}
}

func TestPublicKeyTextForms(t *testing.T) {
	k := edSigner(t, "build").pub
	raw := k.Ed25519()
	block := pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: k.Preimage()})
	for _, s := range []string{k.Text(), k.Text() + " comment with words\n", "cache.example.org-1:" + base64Std(raw), string(block)} {
		got, err := PublicKeyFromText(s)
		if err != nil || !got.Equal(k) {
			t.Errorf("%q: %v", s, err)
		}
	}
	for _, s := range []string{
		"", "hello", "name:", "name:" + base64Std(raw[:31]), ":" + base64Std(raw), strings.Repeat("a", 40<<10),
		"ssh-rsa " + strings.Fields(k.Text())[1], k.Text() + "\n" + k.Text(), "ssh-ed25519", "ssh-ed25519 AAAA",
		"restrict " + k.Text(), string(block) + string(block), strings.ReplaceAll(string(block), "PUBLIC", "PRIVATE"),
		"name:" + base64Std(append([]byte{1}, make([]byte, 31)...)), "zz", "ssh-dss AAAAB3NzaC1kc3MAAAABAQ==",
	} {
		if _, err := PublicKeyFromText(s); CodeOf(err) != CodeBadKey {
			t.Errorf("%q: %v", s, err)
		}
	}
}

func TestIDsHaveOneText(t *testing.T) {
	id := testID("x")
	if got, err := ParseID(id.String()); err != nil || got != id {
		t.Error(err)
	}
	for _, s := range []string{"", "00", strings.ToUpper(id.String()), id.String() + "0", id.String()[:63] + "g", " " + id.String()[1:]} {
		if _, err := ParseID(s); err == nil {
			t.Errorf("%q is an id", s)
		}
		if _, err := ParseKeyID(s); err == nil {
			t.Errorf("%q is a key id", s)
		}
	}
}

// A body that somebody built in memory is checked like one that was parsed.
func TestEncodePayloadChecks(t *testing.T) {
	b := sampleBuild()
	b.Outputs[0].Path = storePath("hello-2.12-dev")
	if _, err := EncodePayload(b, "", nil); CodeOf(err) != CodePath {
		t.Error(err)
	}
	if _, err := EncodePayload(sampleBuild(), "", &ID{1}); CodeOf(err) != CodeBadChain {
		t.Error(err)
	}
	for _, empty := range []Body{&Build{}, &BuildFailed{}, &CacheSig{}, &Closure{}, &Operator{}, &KeyAdd{}, &KeyRevoke{}, &Vouch{}, &Retract{}, &Peer{}, &Genesis{}, &LogConfig{}, &Freeze{}, &Observed{}, &Realisation{}, &PathClaim{}, &Diff{}, &Eval{}} {
		if err := empty.Check(); err == nil {
			t.Errorf("an empty %s is accepted", empty.Kind())
		}
	}
}

// buildOfSize returns a build whose payload has n bytes, and the payload.
func buildOfSize(t *testing.T, n int) (*Build, []byte) {
	t.Helper()
	b := sampleBuild()
	refs := []nix.StorePath{storePath("glibc-2.40")}
	with := func(name string) []byte {
		b.Outputs[1].References = sorted(append(slices.Clip(refs), storePath(name))...)
		payload, err := EncodePayload(b, "", nil)
		if err != nil {
			t.Fatal(err)
		}
		return payload
	}
	for len(with("x")) < n-100 {
		refs = append(refs, storePath(fmt.Sprintf("r%d", len(refs))))
	}
	for k := range 200 {
		if payload := with("x" + strings.Repeat("x", k)); len(payload) == n {
			return b, payload
		}
	}
	t.Fatalf("no build has a payload of %d bytes", n)
	return nil, nil
}

// What has room for MaxEnvelope can be signed with every key, and MaxEnvelope
// is not larger than it must be.
func TestMaxEnvelopeIsThatOfTheLargestKey(t *testing.T) {
	b, payload := buildOfSize(t, MaxLeaf-MaxEnvelope)
	// Its exponent, 65537, has a byte less than the largest one.
	real := rsaFileSigner(t, "testdata/rsa8192")
	if n := len(signSample(t, real, b, "", nil).Leaf()); n != MaxLeaf-1 {
		t.Errorf("signed with an RSA key of 8192 bits the leaf has %d bytes, want %d", n, MaxLeaf-1)
	}
	largest, err := rsaKey(&rsa.PublicKey{N: real.pub.key.(*rsa.PublicKey).N, E: 1<<31 - 1})
	if err != nil {
		t.Fatal(err)
	}
	sig := appendSSHString(appendSSHString(nil, sshRSASig), make([]byte, 1024))
	leaf := pairLeaf(payload, sshsigBlob(largest, Namespace, sig))
	if _, err := Parse(leaf); err != nil || len(leaf) != MaxLeaf {
		t.Errorf("a leaf of %d bytes by the largest key: %v", len(leaf), err)
	}
	_, payload = buildOfSize(t, MaxLeaf-MaxEnvelope+1)
	if _, err := Parse(pairLeaf(payload, sshsigBlob(largest, Namespace, sig))); CodeOf(err) != CodeOversize {
		t.Errorf("a byte more: %v", err)
	}
	long := testAuthenticator(true)
	long.app = "ssh:" + strings.Repeat("a", 60)
	for _, k := range []*keySigner{edSigner(t, "build"), edSSHSIG(t), p256SSHSIG(t), rsaSigner(t), testAuthenticator(false).signer(t), long.signer(t)} {
		if n := len(signSample(t, k, b, "", nil).Leaf()) - len(payload) + 1; n > MaxEnvelope {
			t.Errorf("a leaf by a key of the type %s has %d bytes beside its payload", k.pub.Type(), n)
		}
	}
}

func TestLargeLeavesOfTheirKinds(t *testing.T) {
	k := edSigner(t, "build")
	c := sampleClosure(true)
	for i := range 800 {
		c.Paths = append(c.Paths, storePath("padding-"+strings.Repeat("x", i%40)+"-"+string(rune('a'+i%26))+strings.Repeat("y", i/40)))
	}
	c.Paths = slices.Compact(sorted(c.Paths...))
	c.Count, c.Digest = uint64(len(c.Paths)), PathsDigest(c.Paths)
	s := signSample(t, k, c, "", nil)
	if n := len(s.Leaf()); n <= MaxLeaf || n > MaxLargeLeaf {
		t.Fatalf("the test's closure has %d bytes", n)
	}
	checkRoundTrip(t, s, s.Leaf())
	leaf := append(s.Leaf(), make([]byte, MaxLargeLeaf)...)
	if _, err := Parse(leaf); CodeOf(err) != CodeOversize {
		t.Errorf("a leaf of %d bytes: %v", len(leaf), err)
	}
}
