package statement

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"strings"
)

func rejectBuild(r *rejecter) {
	c := func(name, code, comment string, change func(b, out anyMap)) {
		r.t.Helper()
		r.body("build-"+name, code, comment, sampleBuild(), func(_, b anyMap) {
			change(b, b[uint64(6)].([]any)[1].(anyMap))
		})
	}
	c("no-system", CodeBadShape, "a required field is missing", func(b, _ anyMap) { delete(b, uint64(4)) })
	c("unknown-field", CodeBadShape, "", func(b, _ anyMap) { b[uint64(14)] = 1 })
	c("unknown-output-field", CodeBadShape, "", func(_, o anyMap) { o[uint64(8)] = 1 })
	c("system-is-bytes", CodeBadShape, "a byte string in place of text", func(b, _ anyMap) { b[uint64(4)] = []byte("x86_64-linux") })
	c("negative-size", CodeBadShape, "", func(_, o anyMap) { o[uint64(4)] = -1 })
	c("zero-size", CodeBadValue, "no NAR has 0 bytes", func(_, o anyMap) { o[uint64(4)] = 0 })
	c("hash-31", CodeBadShape, "", func(_, o anyMap) { o[uint64(3)] = make([]byte, 31) })
	c("modulo", CodePath, "another hash modulo: the paths do not follow from it", func(b, _ anyMap) { b[uint64(3)] = make([]byte, 32) })
	c("path", CodePath, "the path of another derivation", func(_, o anyMap) { o[uint64(2)] = storePath("hello-2.12").Base() })
	c("output-renamed", CodePath, "the path of out under another output name", func(_, o anyMap) { o[uint64(1)] = "zoo" })
	c("drv-renamed", CodePath, "a derivation of another name has other output paths", func(b, _ anyMap) { b[uint64(1)] = storePath("hello-2.13.drv").String() })
	c("store-dir", CodeBadValue, "a store dir that the drv path is not in", func(b, _ anyMap) { b[uint64(5)] = "/gnu/store" })
	c("store-dir-relative", CodeBadValue, "", func(b, _ anyMap) { b[uint64(5)] = "nix/store" })
	c("drv-not-a-drv", CodeBadValue, "", func(b, _ anyMap) { b[uint64(1)] = storePath("hello-2.12").String() })
	c("path-not-a-base-name", CodeBadValue, "a full path where a base name is expected", func(_, o anyMap) { o[uint64(2)] = "/nix/store/" + o[uint64(2)].(string) })
	c("references-unsorted", CodeBadValue, "", func(_, o anyMap) {
		refs := o[uint64(5)].([]any)
		refs[0], refs[1] = refs[1], refs[0]
	})
	c("references-twice", CodeBadValue, "one reference repeats", func(_, o anyMap) {
		refs := o[uint64(5)].([]any)
		o[uint64(5)] = append([]any{refs[0]}, refs...)
	})
	c("references-and-digest", CodeBadShape, "one of the two", func(_, o anyMap) { o[uint64(6)] = make([]byte, 32) })
	c("references-missing", CodeBadShape, "neither references nor digest", func(_, o anyMap) { delete(o, uint64(5)) })
	c("ca-empty", CodeBadValue, "an empty content address is left out instead", func(_, o anyMap) { o[uint64(7)] = "" })
	c("outputs-unsorted", CodeBadValue, "", func(b, _ anyMap) {
		outs := b[uint64(6)].([]any)
		outs[0], outs[1] = outs[1], outs[0]
	})
	c("outputs-none", CodeBadValue, "", func(b, _ anyMap) { b[uint64(6)] = []any{} })
	c("outputs-twice", CodeBadValue, "", func(b, o anyMap) { b[uint64(6)] = []any{o, o} })
	c("how", CodeBadValue, "", func(b, _ anyMap) { b[uint64(7)] = "guessed" })
	c("system", CodeBadValue, "a system with a space", func(b, _ anyMap) { b[uint64(4)] = "x86_64 linux" })
	c("times", CodeBadValue, "finished before it started", func(b, _ anyMap) { b[uint64(12)] = 1786999999 })
	c("year-10000", CodeBadValue, "", func(b, _ anyMap) { b[uint64(12)] = maxUnix + 1 })
	c("build-id-15", CodeBadShape, "", func(b, _ anyMap) { b[uint64(13)] = make([]byte, 15) })
	c("inputs", CodeBadValue, "more inputs built and substituted than there are", func(b, _ anyMap) { b[uint64(9)].(anyMap)[uint64(2)] = 56 })
	c("inputs-overflow", CodeBadValue, "counts whose sum overflows 64 bits", func(b, _ anyMap) { b[uint64(9)].(anyMap)[uint64(3)] = uint64(1<<64 - 1) })
	c("version-long", CodeBadValue, "65 characters", func(b, _ anyMap) { b[uint64(10)].(anyMap)[uint64(2)] = strings.Repeat("1", 65) })

	ca := func(name, code, comment string, self bool, change func(out anyMap)) {
		r.t.Helper()
		r.body("ca-"+name, code, comment, sampleCA(self), func(_, b anyMap) { change(b[uint64(6)].([]any)[0].(anyMap)) })
	}
	ca("path", CodePath, "the path of another content", false, func(o anyMap) { o[uint64(2)] = storePath("hello-2.12").Base() })
	ca("reference-added", CodePath, "another list of references gives another path", false, func(o anyMap) { o[uint64(5)] = []any{} })
	ca("self-dropped", CodePath, "without its reference to itself it has another path", true, func(o anyMap) { o[uint64(5)] = []any{storePath("glibc-2.40").Base()} })
	ca("nar-hash", CodeDigest, "not the NAR hash in its content address", false, func(o anyMap) { o[uint64(3)] = make([]byte, 32) })
	ca("digest", CodeBadShape, "the path cannot be recomputed from a digest of the references", false, func(o anyMap) {
		delete(o, uint64(5))
		o[uint64(6)] = make([]byte, 32)
	})
	ca("references-of-a-file", CodeBadValue, "content that is hashed as a file has no references", false, func(o anyMap) { o[uint64(7)] = "fixed:sha256:" + strings.Repeat("0", 52) })
	ca("text", CodeBadValue, "not a content address", false, func(o anyMap) { o[uint64(7)] = "fixed:r:sha256:xyz" })
	ca("other-writing", CodeBadValue, "the hash in hexadecimal: a content address has one text", false, func(o anyMap) {
		h := testHash("nar ca")
		o[uint64(7)] = "fixed:r:sha256:" + hex.EncodeToString(h[:])
	})
	r.body("ca-mixed", CodeBadValue, "one output content-addressed, the other not", sampleBuild(), func(_, b anyMap) {
		b[uint64(6)].([]any)[1].(anyMap)[uint64(7)] = sampleCA(false).Outputs[0].CA
	})
}

func rejectClaims(r *rejecter) {
	failed := func(name, code string, change func(b anyMap)) {
		r.t.Helper()
		r.body("build-failed-"+name, code, "", sampleFailed(), func(_, b anyMap) { change(b) })
	}
	failed("reason", CodeBadValue, func(b anyMap) { b[uint64(7)] = "bored" })
	failed("status-0", CodeBadValue, func(b anyMap) { b[uint64(8)] = 0 })
	failed("status-of-timeout", CodeBadValue, func(b anyMap) { b[uint64(7)] = "timeout" })
	failed("outputs-unsorted", CodeBadValue, func(b anyMap) { b[uint64(6)] = []string{"out", "dev"} })

	closure := func(name, code string, change func(b anyMap)) {
		r.t.Helper()
		r.body("closure-"+name, code, "", sampleClosure(true), func(_, b anyMap) { change(b) })
	}
	closure("digest", CodeDigest, func(b anyMap) { b[uint64(3)] = make([]byte, 32) })
	closure("count", CodeDigest, func(b anyMap) { b[uint64(4)] = 4 })
	closure("count-0", CodeBadValue, func(b anyMap) {
		delete(b, uint64(5))
		b[uint64(4)] = 0
	})
	closure("name", CodeBadValue, func(b anyMap) { b[uint64(1)] = "nixos 26.05" })

	s := sampleCacheSig(r.t)
	cache := func(name, code, comment string, change func(b anyMap)) {
		r.t.Helper()
		r.body("cache-sig-"+name, code, comment, s.Body, func(_, b anyMap) { change(b) })
	}
	cache("digest-and-list", CodeBadShape, "one of the two", func(b anyMap) { b[uint64(6)] = make([]byte, 32) })
	cache("digest-31", CodeBadShape, "", func(b anyMap) {
		delete(b, uint64(5))
		b[uint64(6)] = make([]byte, 31)
	})
	cache("no-references", CodeBadShape, "", func(b anyMap) { delete(b, uint64(5)) })
	cache("unsorted", CodeBadValue, "", func(b anyMap) {
		refs := b[uint64(5)].([]any)
		refs[0], refs[1] = refs[1], refs[0]
	})
	cache("small-order", CodeBadKey, "a key that one signature fits for many messages", func(b anyMap) { b[uint64(8)] = append([]byte{1}, make([]byte, 31)...) })
	cache("key-name", CodeBadValue, "", func(b anyMap) { b[uint64(7)] = "a key" })
	r.leaf("cache-sig-prev", CodeBadChain, "nothing signs a prev", pairLeaf(edit(r.t, s.Payload, func(p, _ anyMap) { p[uint64(5)] = make([]byte, 32) }), s.Sig))
	r.leaf("cache-sig-for", CodeBadValue, "nothing signs a for", pairLeaf(edit(r.t, s.Payload, func(p, _ anyMap) { p[uint64(4)] = "bob" }), s.Sig))
	r.leaf("cache-sig-cose", CodeBadForm, "signed by whoever saw it, instead of by the cache", rawCOSE(r.t, edSigner(r.t, "build"), s.Payload))
	r.leaf("cache-sig-sshsig", CodeBadForm, "the same as an SSHSIG", rawSSHSIG(r.t, edSSHSIG(r.t), s.Payload))
	r.leaf("cache-sig-63", CodeBadForm, "a short signature", pairLeaf(s.Payload, s.Sig[:63]))
}

func rejectPeople(r *rejecter) {
	id := edSigner(r.t, "identity")
	op := func(name, code, comment string, change func(p, b anyMap)) {
		r.t.Helper()
		r.body("operator-"+name, code, comment, sampleOperator(id.pub), change)
	}
	op("name", CodeBadValue, "a name with a space", func(_, b anyMap) { b[uint64(1)] = "alice b" })
	op("contact-bidi", CodeBadValue, "a character that turns the direction of text", func(_, b anyMap) { b[uint64(2)] = "alice\u2066" })
	op("contact-newline", CodeBadValue, "", func(_, b anyMap) { b[uint64(2)] = "alice\nbob" })
	op("contact-129", CodeBadValue, "", func(_, b anyMap) { b[uint64(2)] = strings.Repeat("a", 129) })
	op("url", CodeBadValue, "a link that a page must not show", func(_, b anyMap) { b[uint64(3)] = "javascript:alert(1)" })
	op("url-empty", CodeBadValue, "an empty url is left out instead", func(_, b anyMap) { b[uint64(3)] = "" })
	op("origin", CodeBadValue, "an origin without its random part", func(_, b anyMap) { b[uint64(4)] = "demo.firn.example" })
	op("small-order", CodeBadKey, "an identity key of small order", func(_, b anyMap) {
		b[uint64(5)] = append(bytes.Clone(ed25519SPKI), append([]byte{1}, make([]byte, 31)...)...)
	})
	op("other-signer", CodeWrongSigner, "it carries one key and is signed by another", func(_, b anyMap) { b[uint64(5)] = edSigner(r.t, "build").pub.Preimage() })
	op("first-with-prev", CodeBadChain, "the first statement follows none", func(p, _ anyMap) { p[uint64(5)] = make([]byte, 32) })
	op("update-without-prev", CodeBadChain, "", func(_, b anyMap) { b[uint64(6)] = make([]byte, 32) })

	opID, prev := testID("operator"), r.prev
	r.body("vouch-self", CodeBadValue, "an operator vouches for itself", &Vouch{opID, testID("x")}, func(_, b anyMap) { b[uint64(2)] = opID[:] })
	r.body("vouch-without-prev", CodeBadChain, "", &Vouch{opID, testID("x")}, func(p, _ anyMap) { delete(p, uint64(5)) })
	r.body("retract-reason-257", CodeBadValue, "", &Retract{opID, testID("x"), "y"}, func(_, b anyMap) { b[uint64(3)] = strings.Repeat("r", 257) })
	r.body("retract-no-reason", CodeBadValue, "", &Retract{opID, testID("x"), "y"}, func(_, b anyMap) { b[uint64(3)] = "" })
	revoke := &KeyRevoke{opID, KeyID(testID("key")), Rotated, map[string]uint64{testOrigin: 1}, Keep}
	r.body("key-revoke-reason", CodeBadValue, "", revoke, func(_, b anyMap) { b[uint64(3)] = "lost" })
	r.body("key-revoke-origin", CodeBadValue, "", revoke, func(_, b anyMap) { b[uint64(4)] = anyMap{"example.org": 1} })
	r.body("key-revoke-elsewhere", CodeBadValue, "", revoke, func(_, b anyMap) { b[uint64(5)] = "maybe" })
	r.body("key-revoke-cut-below-0", CodeBadShape, "", revoke, func(_, b anyMap) { b[uint64(4)] = anyMap{testOrigin: -1} })
	_ = prev
	peer := func(name, code, comment string, change func(p, b anyMap)) {
		r.t.Helper()
		r.body("peer-"+name, code, comment, &Peer{opID, testPeerID, []string{"/ip4/192.0.2.1/tcp/8491"}}, change)
	}
	peer("id-cut", CodeBadKey, "", func(_, b anyMap) { b[uint64(2)] = testPeerID[:51] })
	peer("id-alphabet", CodeBadKey, "base 58 has no zero", func(_, b anyMap) { b[uint64(2)] = "0" + testPeerID[1:] })
	peer("id-zeros", CodeBadKey, "a leading zero byte more", func(_, b anyMap) { b[uint64(2)] = "1" + testPeerID })
	peer("id-rsa", CodeBadKey, "the peer id of an RSA key", func(_, b anyMap) { b[uint64(2)] = "QmYyQSo1c1Ym7orWxLYvCrM2EmxFTANf8wXmmE7DWjhx5N" })
	peer("address", CodeBadValue, "a host and a port are no multiaddr", func(_, b anyMap) { b[uint64(3)] = []string{"peer.example.org:8491"} })
	peer("address-with-id", CodeBadValue, "the peer id is in its own field", func(_, b anyMap) { b[uint64(3)] = []string{"/ip4/192.0.2.1/tcp/8491/p2p/" + testPeerID} })
	peer("address-twice", CodeBadValue, "", func(_, b anyMap) { b[uint64(3)] = []string{"/ip4/192.0.2.1/tcp/1", "/ip4/192.0.2.1/tcp/1"} })
	peer("address-257", CodeBadValue, "", func(_, b anyMap) { b[uint64(3)] = []string{"/" + strings.Repeat("a", 256)} })
	peer("addresses-9", CodeBadValue, "", func(_, b anyMap) { b[uint64(3)] = strings.Split("/1 /2 /3 /4 /5 /6 /7 /8 /9", " ") })
	peer("without-prev", CodeBadChain, "", func(p, _ anyMap) { delete(p, uint64(5)) })
	peer("unknown-field", CodeBadShape, "", func(_, b anyMap) { b[uint64(4)] = 1 })
}

func rejectProofs(r *rejecter) {
	id, ed := edSigner(r.t, "identity"), edSigner(r.t, "build")
	good, sk := provenKey(r.t, ed, RoleBuild), provenKey(r.t, testAuthenticator(false).signer(r.t), RoleBuild)
	r.body("key-add-role", CodeBadValue, "", good, func(_, b anyMap) { b[uint64(3)] = "both" })
	r.body("key-add-form", CodeBadValue, "", good, func(_, b anyMap) { b[uint64(4)] = "pgp" })
	r.body("key-add-proof-63", CodeBadProof, "", good, func(_, b anyMap) { b[uint64(5)] = make([]byte, 63) })
	r.body("key-add-raw-by-sk", CodeBadProof, "a security key makes no raw signatures", sk, func(_, b anyMap) { b[uint64(4)], b[uint64(5)] = "raw", make([]byte, 64) })
	r.body("key-add-namespace", CodeBadProof, "the proof is in the namespace of statements", sk, func(_, b anyMap) {
		b[uint64(5)] = testAuthenticator(false).sshsig(Namespace, proofMessage(good.OperatorID, sk.Key.ID()))
	})
	r.body("key-add-proof-by-another", CodeBadProof, "somebody else's proof", sk, func(_, b anyMap) {
		b[uint64(5)] = testAuthenticator(true).sshsig(ProofNamespace, proofMessage(good.OperatorID, sk.Key.ID()))
	})
	r.body("key-add-rsa-2048", CodeBadKey, "an RSA key below 3072 bits", good, func(_, b anyMap) { b[uint64(2)] = rsaPreimage(2048) })
	named := func(name, comment string, k *keySigner, role Role, cacheName string) {
		r.t.Helper()
		r.body("key-add-cache-"+name, CodeBadValue, comment, provenKey(r.t, k, role), func(_, b anyMap) { b[uint64(6)] = cacheName })
	}
	named("empty", "an empty cache key name is left out instead", ed, RoleBuild, "")
	named("space", "a cache key name with a space", ed, RoleBuild, "a cache")
	named("long", "a cache key name of 212 bytes", ed, RoleBuild, strings.Repeat("a", 212))
	named("identity", "an identity key makes no cache-sigs", ed, RoleIdentity, "cache.example.org-1")
	named("p256", "a cache's key is an Ed25519 key", memorySigner(r.t, testP256("build")), RoleBuild, "cache.example.org-1")
	named("sk", "a security key signs no cache-sigs", testAuthenticator(false).signer(r.t), RoleBuild, "cache.example.org-1")
	r.body("key-add-cache-bytes", CodeBadShape, "a byte string in place of the cache key name", good, func(_, b anyMap) { b[uint64(6)] = []byte("cache.example.org-1") })
	r.body("key-add-field-7", CodeBadShape, "an unknown field", good, func(_, b anyMap) { b[uint64(7)] = "x" })
	r.leaf("key-add-itself", CodeWrongSigner, "the new key adds itself", rawCOSE(r.t, ed, payloadOf(r.t, good, &r.prev)))
	for name, proof := range map[string][]byte{
		"other-operator": rawSignature(r.t, ed, proofMessage(testID("another operator"), ed.pub.ID())),
		"other-key":      rawSignature(r.t, ed, proofMessage(good.OperatorID, id.pub.ID())),
		"by-old-key":     rawSignature(r.t, id, proofMessage(good.OperatorID, ed.pub.ID())),
	} {
		r.body("proof-"+name, CodeBadProof, "the signature is good, the statement not: a verifier of people must look at the proof", good, func(_, b anyMap) { b[uint64(5)] = proof })
		v := r.out["proof-"+name]
		v.Stage = "proof"
		r.out["proof-"+name] = v
	}
}

func rejectLog(r *rejecter) {
	log := edSigner(r.t, "log")
	g := func(name, code, comment string, change func(b anyMap)) {
		r.t.Helper()
		r.body("genesis-"+name, code, comment, &Genesis{testOrigin, log.pub, sampleRules()}, func(_, b anyMap) { change(b) })
	}
	g("mode", CodeBadValue, "", func(b anyMap) { b[uint64(3)] = "closed" })
	g("claims-33", CodeBadValue, "at most 32 per key and subject", func(b anyMap) { b[uint64(4)].(anyMap)[uint64(5)] = 33 })
	g("threshold-0", CodeBadValue, "", func(b anyMap) { b[uint64(5)] = 0 })
	g("other-key", CodeWrongSigner, "", func(b anyMap) { b[uint64(2)] = edSigner(r.t, "build").pub.Preimage() })
	g("p256", CodeBadKey, "a log's key is an Ed25519 key", func(b anyMap) { b[uint64(2)] = memorySigner(r.t, testP256("build")).pub.Preimage() })
	g("origin", CodeBadValue, "upper case", func(b anyMap) { b[uint64(1)] = "Demo.firn.example/3f9a01bc" })
	g("operator-keys-twice", CodeBadValue, "", func(b anyMap) { b[uint64(6)] = []any{make([]byte, 32), make([]byte, 32)} })
	g("cache-key-small-order", CodeBadKey, "", func(b anyMap) {
		b[uint64(7)].([]any)[0].(anyMap)[uint64(2)] = make([]byte, 32)
	})
	g("no-cache-keys", CodeBadShape, "an empty list is there, not left out", func(b anyMap) { delete(b, uint64(7)) })
	r.leaf("log-config-sshsig", CodeBadForm, "log statements are signed by the log's key, as COSE", rawSSHSIG(r.t, edSSHSIG(r.t), payloadOf(r.t, &LogConfig{testOrigin, sampleRules()}, nil)))
	rejectFreeze(r)
}

func rejectFreeze(r *rejecter) {
	good := &Freeze{testOrigin, &Successor{"demo.firn.example/00c0ffee", edSigner(r.t, "successor").pub}, "moved"}
	c := func(name, code, comment string, change func(p, b anyMap)) {
		r.t.Helper()
		r.body("freeze-"+name, code, comment, good, change)
	}
	c("origin", CodeBadValue, "an origin without its random part", func(_, b anyMap) { b[uint64(1)] = "demo.firn.example" })
	c("no-origin", CodeBadShape, "", func(_, b anyMap) { delete(b, uint64(1)) })
	c("successor-origin", CodeBadValue, "", func(_, b anyMap) { b[uint64(2)] = "demo.firn.example" })
	c("successor-empty", CodeBadValue, "an empty origin is left out instead", func(_, b anyMap) { b[uint64(2)] = "" })
	c("successor-itself", CodeBadValue, "the log succeeds itself", func(_, b anyMap) { b[uint64(2)] = testOrigin })
	c("successor-without-key", CodeBadShape, "", func(_, b anyMap) { delete(b, uint64(3)) })
	c("key-without-successor", CodeBadShape, "", func(_, b anyMap) { delete(b, uint64(2)) })
	c("key-p256", CodeBadKey, "a log's key is an Ed25519 key", func(_, b anyMap) { b[uint64(3)] = memorySigner(r.t, testP256("build")).pub.Preimage() })
	c("key-raw", CodeBadKey, "32 bytes in place of a preimage", func(_, b anyMap) { b[uint64(3)] = make([]byte, 32) })
	c("reason-empty", CodeBadValue, "an empty reason is left out instead", func(_, b anyMap) { b[uint64(4)] = "" })
	c("reason-257", CodeBadValue, "", func(_, b anyMap) { b[uint64(4)] = strings.Repeat("r", 257) })
	c("reason-bidi", CodeBadValue, "a character that turns the direction of text", func(_, b anyMap) { b[uint64(4)] = "moved\u2066" })
	c("unknown-field", CodeBadShape, "", func(_, b anyMap) { b[uint64(5)] = 1 })
	c("prev", CodeBadChain, "statements of a log are not chained", func(p, _ anyMap) { p[uint64(5)] = make([]byte, 32) })
	r.leaf("freeze-sshsig", CodeBadForm, "log statements are signed by the log's key, as COSE", rawSSHSIG(r.t, edSSHSIG(r.t), payloadOf(r.t, good, nil)))
}

// sshsigParts builds an SSHSIG from fields that may be wrong.
func sshsigParts(version uint32, key []byte, namespace, reserved, hash string, sig []byte) []byte {
	b := binary.BigEndian.AppendUint32([]byte(sshsigMagic), version)
	b = appendSSHString(b, key)
	b = appendSSHString(b, namespace)
	b = appendSSHString(b, reserved)
	return appendSSHString(appendSSHString(b, hash), sig)
}

func rejectSSHSIG(r *rejecter) {
	payload := payloadOf(r.t, sampleBuild(), nil)
	c := func(name, code, comment string, blob []byte) {
		r.t.Helper()
		r.leaf("sshsig-"+name, code, comment, pairLeaf(payload, blob))
	}
	k := edSSHSIG(r.t)
	key := k.pub.sshBlob()
	sig := appendSSHString(appendSSHString(nil, sshEd25519), rawSignature(r.t, edSigner(r.t, "build"), sshsigMessage(Namespace, payload)))
	parts := func(name, code, comment string, version uint32, namespace, reserved, hash string) {
		r.t.Helper()
		c(name, code, comment, sshsigParts(version, key, namespace, reserved, hash, sig))
	}
	parts("version-2", CodeBadSSHSIG, "", 2, Namespace, "", sshsigHash)
	parts("git", CodeBadSSHSIG, "the signature of a commit", 1, "git", "", sshsigHash)
	parts("namespace-longer", CodeBadSSHSIG, "the namespace is compared whole", 1, Namespace+"x", "", sshsigHash)
	parts("reserved", CodeBadSSHSIG, "", 1, Namespace, "x", sshsigHash)
	parts("sha256", CodeBadSSHSIG, "", 1, Namespace, "", "sha256")
	good := sshsigParts(1, key, Namespace, "", sshsigHash, sig)
	c("trailing", CodeBadSSHSIG, "a byte after the end", append(bytes.Clone(good), 0))
	c("truncated", CodeBadSSHSIG, "", good[:len(good)-1])
	c("magic", CodeBadSSHSIG, "", append([]byte("sshsig"), good[6:]...))
	c("empty", CodeBadSSHSIG, "", nil)
	c("sig-trailing", CodeBadSSHSIG, "a byte after the signature, within its field", sshsigParts(1, key, Namespace, "", sshsigHash, append(bytes.Clone(sig), 0)))
	c("certificate", CodeBadKey, "a certificate in place of the key", sshsigParts(1, appendSSHString(nil, "ssh-ed25519-cert-v01@openssh.com"), Namespace, "", sshsigHash, sig))
	c("p384", CodeBadKey, "", sshsigParts(1, appendSSHString(appendSSHString(nil, "ecdsa-sha2-nistp384"), "nistp384"), Namespace, "", sshsigHash, sig))
	c("rsa-2048", CodeBadKey, "an RSA key below 3072 bits", sshsigParts(1, rsaSSHBlob(2048), Namespace, "", sshsigHash, appendSSHString(appendSSHString(nil, sshRSASig), make([]byte, 256))))
	rsa := rsaSigner(r.t).pub.sshBlob()
	c("rsa-sha2-256", CodeBadSSHSIG, "", sshsigParts(1, rsa, Namespace, "", sshsigHash, appendSSHString(appendSSHString(nil, "rsa-sha2-256"), make([]byte, 384))))
	c("rsa-sha1", CodeBadSSHSIG, "", sshsigParts(1, rsa, Namespace, "", sshsigHash, appendSSHString(appendSSHString(nil, "ssh-rsa"), make([]byte, 384))))
	c("rsa-short", CodeBadSSHSIG, "a signature shorter than the modulus", sshsigParts(1, rsa, Namespace, "", sshsigHash, appendSSHString(appendSSHString(nil, sshRSASig), make([]byte, 383))))
	p := memorySigner(r.t, testP256("build")).pub.sshBlob()
	long := appendSSHString(nil, "\x00\x01")
	c("mpint", CodeBadSSHSIG, "r with a zero byte that is not needed", sshsigParts(1, p, Namespace, "", sshsigHash, appendSSHString(appendSSHString(nil, sshP256), append(long, long...))))
	wide := appendSSHString(nil, "\x01"+strings.Repeat("\x00", 32))
	c("mpint-257", CodeBadSSHSIG, "r has 257 bits", sshsigParts(1, p, Namespace, "", sshsigHash, appendSSHString(appendSSHString(nil, sshP256), append(wide, appendSSHString(nil, "\x01")...))))

	touch := testAuthenticator(false)
	touch.flags = 0
	c("sk-untouched", CodeNoPresence, "the key was not touched", touch.sshsig(Namespace, payload))
	touch.flags = userVerified
	c("sk-verified-untouched", CodeNoPresence, "its user was verified, but the key not touched", touch.sshsig(Namespace, payload))
	touch.flags = userPresent | 0x80
	c("sk-flags", CodeBadSSHSIG, "a flag that announces more data", touch.sshsig(Namespace, payload))
	web := testAuthenticator(true)
	web.app = "example.org"
	c("sk-web", CodeBadKey, "a key for a web site, which the site can ask to sign", web.sshsig(Namespace, payload))
}

func rejectEvidence(r *rejecter) {
	c := func(name, code, file string) {
		r.t.Helper()
		bad := sampleEvidence(r.t, file).Bytes
		r.body("evidence-"+name, code, "the file "+file+" of spec/vectors/evidence", sampleEvidence(r.t, "accept-log-one-size"), func(_, b anyMap) { b[uint64(1)] = bad })
	}
	c("smaller", CodeNotEvidence, "reject-innocent-smaller")
	c("unsigned", CodeNotEvidence, "reject-innocent-unsigned")
	c("failing-proof", CodeNotEvidence, "reject-innocent-failing-proof")
	c("timestamps", CodeNotEvidence, "reject-innocent-timestamps")
	c("size-0", CodeNotEvidence, "reject-innocent-size-0")
	c("409-number", CodeBadValue, "reject-malformed-409-number")
	c("two-nar-hashes", CodeBadValue, "reject-malformed-two-nar-hashes")
	c("not-stripped", CodeBadValue, "reject-malformed-two-signatures")
	c("index-of-checkpoints", CodeBadValue, "reject-malformed-index-of-checkpoints")
	d := func(name, code, comment string, change func(p, b anyMap)) {
		r.t.Helper()
		r.body("evidence-"+name, code, comment, sampleEvidence(r.t, "accept-log-one-size"), change)
	}
	d("text", CodeBadShape, "text in place of bytes", func(_, b anyMap) { b[uint64(1)] = "firn-evidence@v1" })
	d("unknown-field", CodeBadShape, "", func(_, b anyMap) { b[uint64(2)] = 1 })
	d("empty", CodeBadValue, "", func(_, b anyMap) { b[uint64(1)] = []byte{} })
	d("for", CodeBadValue, "nobody makes it for somebody else", func(p, _ anyMap) { p[uint64(4)] = "bob" })
	d("prev", CodeBadChain, "", func(p, _ anyMap) { p[uint64(5)] = make([]byte, 32) })
}
