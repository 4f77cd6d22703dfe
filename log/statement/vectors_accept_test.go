package statement

import (
	"context"
	"encoding/hex"
	"math/big"
	"os"
	"path/filepath"
	"testing"

	"github.com/firn-log/firn/internal/testreq"
)

func signSample(t testing.TB, k *keySigner, body Body, forWhom string, prev *ID) *Statement {
	t.Helper()
	s, err := Sign(context.Background(), k, body, forWhom, prev)
	if err != nil {
		t.Fatalf("%s: %v", body.Kind(), err)
	}
	return s
}

func provenKey(t testing.TB, k *keySigner, role Role) *KeyAdd {
	t.Helper()
	b, err := ProveKey(context.Background(), k, testID("operator"), role)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func sampleCacheSig(t testing.TB) *Statement {
	t.Helper()
	key, info := testNixKey(), samplePathInfo()
	s, err := NewCacheSig(info, key.Public(), key.Sign(info.Fingerprint()))
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// acceptVectors makes one statement of every kind and of every form and key type.
func acceptVectors(t testing.TB) map[string]vector {
	out := make(map[string]vector)
	add := func(name, comment string, key PublicKey, s *Statement) {
		out[name] = vector{
			Comment: comment, Leaf: hex.EncodeToString(s.Leaf()), PublicKey: hex.EncodeToString(key.Preimage()),
			Kind: string(s.Kind), Form: s.Form.String(), Signer: s.Signer.String(), ID: s.ID().String(),
		}
	}
	ed, prev := edSigner(t, "build"), testID("previous")
	sign := func(name, comment string, k *keySigner, body Body, forWhom string, prev *ID) {
		add(name, comment, k.pub, signSample(t, k, body, forWhom, prev))
	}
	sign("build-cose-ed25519", "two input-addressed outputs; one gives the digest of its references", ed, sampleBuild(), "", nil)
	sign("build-cose-p256", "the same payload, signed with ES256", memorySigner(t, testP256("build")), sampleBuild(), "", nil)
	sign("build-sshsig-ed25519", "the same payload and key as build-cose-ed25519, so the same statement id", edSSHSIG(t), sampleBuild(), "", nil)
	sign("build-sshsig-p256", "the same payload and key as build-cose-p256, so the same statement id", p256SSHSIG(t), sampleBuild(), "", nil)
	sign("build-sshsig-rsa", "RSA of 3072 bits, rsa-sha2-512", rsaSigner(t), sampleBuild(), "", nil)
	sign("build-sshsig-sk-ed25519", "a security key that was touched", testAuthenticator(false).signer(t), sampleBuild(), "", nil)
	sign("build-sshsig-sk-ecdsa", "a security key that was touched and verified its user", verified(t), sampleBuild(), "", nil)
	sign("build-ca", "a content-addressed output without a self reference: its NAR hash is in its content address", ed, sampleCA(false), "", nil)
	sign("build-ca-self", "a content-addressed output that refers to itself", ed, sampleCA(true), "", nil)
	sign("build-fod-flat", "a fixed output, flat", ed, sampleFOD(), "", nil)
	sign("build-for", "on somebody's behalf", ed, sampleBuild(), "bob@tracker.example.org", nil)
	sign("build-failed", "with exit status and the hash of the log", ed, sampleFailed(), "", nil)
	add("cache-sig", "what a binary cache had signed", edSigner(t, "cache").pub, sampleCacheSig(t))
	sign("closure", "with its paths", ed, sampleClosure(true), "", nil)
	sign("closure-digest", "the digest only", ed, sampleClosure(false), "", nil)

	id := edSigner(t, "identity")
	op := sampleOperator(id.pub)
	sign("operator", "the first statement of an operator, whose id is its statement id", id, op, "", nil)
	later := *op
	opID := testID("operator")
	later.OperatorID, later.URL = &opID, ""
	sign("operator-update", "a later one: operator id and prev, and no url any more", id, &later, "", &prev)
	sign("key-add-raw", "the new key signed the proof itself", id, provenKey(t, ed, RoleBuild), "", &prev)
	sign("key-add-raw-p256", "the same with a P-256 key", id, provenKey(t, memorySigner(t, testP256("build")), RoleIdentity), "", &prev)
	sign("key-add-sshsig", "the proof is an SSHSIG by a security key", id, provenKey(t, testAuthenticator(false).signer(t), RoleIdentity), "", &prev)
	sign("key-add-sshsig-rsa", "the proof is an SSHSIG by an RSA key", id, provenKey(t, rsaSigner(t), RoleBuild), "", &prev)
	sign("key-add-cache", "the key of a binary cache, under whose name it makes cache-sigs", id, provenKey(t, nixSigner(t, "cache.example.org-1"), RoleBuild), "", &prev)
	sign("key-revoke", "cut in one log, dropped elsewhere", id, &KeyRevoke{opID, ed.pub.ID(), Compromised, map[string]uint64{testOrigin: 4711}, Drop}, "", &prev)
	sign("key-revoke-no-cuts", "no log is named", id, &KeyRevoke{opID, ed.pub.ID(), Rotated, map[string]uint64{}, Keep}, "", &prev)
	sign("vouch", "", id, &Vouch{opID, testID("another operator")}, "", &prev)
	sign("retract", "", id, &Retract{opID, testID("a statement"), "built with a broken sandbox"}, "", &prev)
	sign("peer", "with two addresses", id, &Peer{opID, testPeerID, []string{"/dns/peer.example.org/tcp/8491", "/ip6/2001:db8::1/tcp/8491"}}, "", &prev)
	sign("peer-no-address", "it only dials", id, &Peer{opID, testPeerID, nil}, "", &prev)

	log := edSigner(t, "log")
	sign("genesis", "the first leaf of a log", log, &Genesis{testOrigin, log.pub, sampleRules()}, "", nil)
	empty := sampleRules()
	empty.OperatorKeys, empty.CacheKeys, empty.Mode = nil, nil, ModeOpen
	sign("log-config", "no operator keys, no cache keys", log, &LogConfig{testOrigin, empty}, "", nil)
	next := &Successor{"demo.firn.example/00c0ffee", edSigner(t, "successor").pub}
	sign("freeze", "with a successor and a reason", log, &Freeze{testOrigin, next, "The disk has become too small."}, "", nil)
	sign("freeze-alone", "no successor, no reason", log, &Freeze{Origin: testOrigin}, "", nil)
	for _, name := range []string{"log-one-size", "log-two-sizes", "witness-two-sizes"} {
		sign("evidence-"+name, "the file accept-"+name+" of spec/vectors/evidence", ed, sampleEvidence(t, "accept-"+name), "", nil)
	}
	sign("evidence-index", "the file index/accept-two-revisions of spec/vectors/evidence", ed, sampleEvidence(t, "index/accept-two-revisions"), "", nil)
	sign("evidence-index-form", "the file index/reject-innocent-two-sizes there: the form alone is looked at, a log refuses it", ed, sampleEvidence(t, "index/reject-innocent-two-sizes"), "", nil)
	sign("evidence-sshsig", "by a key that nobody has registered", edSSHSIG(t), sampleEvidence(t, "accept-log-one-size"), "", nil)
	acceptIndex(t, sign)
	acceptClaims(t, sign)
	return out
}

// testPeerID is a peer id as libp2p writes it.
const testPeerID = "12D3KooWD3eckifWpRn9wQpMG9R9hX3sD158z7EqHWmweQAJU5SA"

func sampleEvidence(t testing.TB, name string) *Evidence {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(testreq.Root(), "spec", "vectors", "evidence", name+".firn-evidence"))
	if err != nil {
		t.Fatal(err)
	}
	return &Evidence{b}
}

// edSSHSIG signs with an Ed25519 key as stock ssh-keygen would.
func edSSHSIG(t testing.TB) *keySigner {
	k := memorySigner(t, testEd25519("build"))
	raw := k.raw
	return &keySigner{pub: k.pub, sshsig: func(ctx context.Context, namespace string, msg []byte) ([]byte, error) {
		sig, err := raw(ctx, sshsigMessage(namespace, msg))
		return sshsigBlob(k.pub, namespace, appendSSHString(appendSSHString(nil, sshEd25519), sig)), err
	}}
}

// p256SSHSIG signs with a P-256 key as stock ssh-keygen would.
func p256SSHSIG(t testing.TB) *keySigner {
	k := memorySigner(t, testP256("build"))
	return &keySigner{pub: k.pub, sshsig: func(ctx context.Context, namespace string, msg []byte) ([]byte, error) {
		sig, err := k.raw(ctx, sshsigMessage(namespace, msg))
		return (&sshsig{key: k.pub, r: new(big.Int).SetBytes(sig[:32]), s: new(big.Int).SetBytes(sig[32:])}).blob(namespace), err
	}}
}

func verified(t testing.TB) *keySigner {
	a := testAuthenticator(true)
	a.flags |= userVerified
	return a.signer(t)
}
