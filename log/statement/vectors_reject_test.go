package statement

import (
	"bytes"
	"context"
	"encoding/hex"
	"slices"
	"strings"
	"testing"

	"github.com/fxamacker/cbor/v2"
)

type anyMap = map[any]any

// edit decodes a payload into maps, changes them and encodes them again,
// canonically.
func edit(t testing.TB, payload []byte, change func(p, body anyMap)) []byte {
	t.Helper()
	var p anyMap
	if err := cbor.Unmarshal(payload, &p); err != nil {
		t.Fatal(err)
	}
	change(p, p[uint64(3)].(anyMap))
	b, err := encMode.Marshal(p)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// rawCOSE signs whatever bytes it is given.
func rawCOSE(t testing.TB, k *keySigner, payload []byte) []byte {
	t.Helper()
	alg := coseAlgs[k.pub.typ]
	sig, err := k.raw(context.Background(), sigStructure(alg, k.pub.ID(), payload))
	if err != nil {
		t.Fatal(err)
	}
	return coseLeaf(alg, k.pub.ID(), payload, sig)
}

// rawSSHSIG signs whatever bytes it is given.
func rawSSHSIG(t testing.TB, k *keySigner, payload []byte) []byte {
	t.Helper()
	blob, err := k.sshsig(context.Background(), Namespace, payload)
	if err != nil {
		t.Fatal(err)
	}
	return pairLeaf(payload, blob)
}

func payloadOf(t testing.TB, body Body, prev *ID) []byte {
	t.Helper()
	p, err := EncodePayload(body, "", prev)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// A rejecter collects reject vectors.
type rejecter struct {
	t    testing.TB
	out  map[string]vector
	prev ID
}

func (r *rejecter) leaf(name, code, comment string, leaf []byte) {
	r.t.Helper()
	if _, ok := r.out[name]; ok {
		r.t.Fatalf("two vectors are called %s", name)
	}
	r.out[name] = vector{Comment: comment, Leaf: hex.EncodeToString(leaf), Code: code, Stage: "parse"}
}

// body changes a sample and signs it, validly, with the right key.
func (r *rejecter) body(name, code, comment string, body Body, change func(p, body anyMap)) {
	r.t.Helper()
	k := edSigner(r.t, "build")
	var prev *ID
	switch body.Kind().Class() {
	case People:
		k = edSigner(r.t, "identity")
		if b, ok := body.(*Operator); !ok || b.OperatorID != nil {
			prev = &r.prev
		}
	case Log:
		k = edSigner(r.t, "log")
	}
	payload := edit(r.t, payloadOf(r.t, body, prev), change)
	if body.Kind() == KindCacheSig {
		r.leaf(name, code, comment, pairLeaf(payload, sampleCacheSig(r.t).Sig))
		return
	}
	r.leaf(name, code, comment, rawCOSE(r.t, k, payload))
}

func rejectVectors(t testing.TB) map[string]vector {
	r := &rejecter{t: t, out: make(map[string]vector), prev: testID("previous")}
	rejectForms(r)
	rejectEncoding(r)
	rejectEnvelope(r)
	rejectBuild(r)
	rejectClaims(r)
	rejectNewClaims(r)
	rejectPeople(r)
	rejectProofs(r)
	rejectLog(r)
	rejectIndex(r)
	rejectEvidence(r)
	rejectSSHSIG(r)
	rejectSignatures(r)
	return r.out
}

func rejectForms(r *rejecter) {
	k := edSigner(r.t, "build")
	payload := payloadOf(r.t, sampleBuild(), nil)
	good := rawCOSE(r.t, k, payload)
	sig, kid := good[len(good)-64:], k.pub.ID()
	cose := func(header, unprotected, payload, sig []byte) []byte {
		b := append(appendBytes([]byte{0xd2, 0x84}, header), unprotected...)
		return appendBytes(appendBytes(b, payload), sig)
	}
	header := protected(algEdDSA, kid)
	r.leaf("form-empty", CodeBadForm, "no bytes at all", nil)
	r.leaf("form-text", CodeBadForm, "not CBOR of ours", []byte("1;/nix/store/x;sha256:y;1;"))
	r.leaf("form-untagged", CodeBadForm, "a COSE_Sign1 without tag 18", good[1:])
	r.leaf("form-payload-alone", CodeBadForm, "an unsigned payload", payload)
	r.leaf("form-triple", CodeBadForm, "an array of three", append(appendBytes(appendBytes([]byte{0x83}, payload), sig), 0x40))
	r.leaf("form-pair-of-text", CodeBadForm, "the payload is text instead of bytes", append(append(appendHead([]byte{0x82}, majorText, uint64(len(payload))), payload...), appendBytes(nil, sig)...))
	r.leaf("cose-unprotected", CodeBadForm, "an unprotected header: it would not be signed", cose(header, []byte{0xa1, 0x05, 0x41, 0x00}, payload, sig))
	r.leaf("cose-unprotected-list", CodeBadForm, "an empty array in place of the empty map", cose(header, []byte{0x80}, payload, sig))
	r.leaf("cose-detached", CodeBadForm, "the payload is null", slices.Concat(appendBytes([]byte{0xd2, 0x84}, header), []byte{0xa0, 0xf6}, appendBytes(nil, sig)))
	r.leaf("cose-signature-63", CodeBadForm, "a short signature", cose(header, []byte{0xa0}, payload, sig[:63]))
	r.leaf("cose-no-header", CodeBadForm, "empty protected headers", cose(nil, []byte{0xa0}, payload, sig))
	r.leaf("cose-alg-19", CodeBadForm, "alg -19 names the same algorithm, and is not accepted: one key signs under one name", cose(bytes.Replace(header, []byte{0x01, 0x27}, []byte{0x01, 0x32}, 1), []byte{0xa0}, payload, sig))
	r.leaf("cose-kid-16", CodeBadForm, "half a kid", cose(append(header[:len(header)-34:len(header)-34], appendBytes(nil, kid[:16])...), []byte{0xa0}, payload, sig))
	r.leaf("cose-content-type", CodeBadForm, "another content type", cose(bytes.Replace(header, []byte("+cbor"), []byte("+cbxr"), 1), []byte{0xa0}, payload, sig))
	r.leaf("cose-extra-header", CodeBadForm, "a fourth protected header", cose(append(append([]byte{0xa4}, header[1:]...), 0x05, 0x41, 0x00), []byte{0xa0}, payload, sig))
	r.leaf("cose-trailing", CodeNonCanonical, "a byte after the end", append(bytes.Clone(good), 0))
	r.leaf("cose-truncated", CodeNonCanonical, "the last byte is missing", good[:len(good)-1])
	r.leaf("cose-long-head", CodeNonCanonical, "the length of the protected headers is not in its shortest form", slices.Concat([]byte{0xd2, 0x84, 0x59, 0x00, byte(len(header))}, header, good[2+2+len(header):]))
	r.leaf("pair-indefinite", CodeBadForm, "an array of indefinite length", append(appendBytes(appendBytes([]byte{0x9f}, payload), sig), 0xff))
}

// rejectEncoding has payloads that say the same in other bytes.
func rejectEncoding(r *rejecter) {
	k := edSigner(r.t, "build")
	payload := payloadOf(r.t, sampleClosure(false), nil)
	sign := func(name, comment string, payload []byte) {
		r.t.Helper()
		r.leaf("payload-"+name, CodeNonCanonical, comment, rawCOSE(r.t, k, payload))
	}
	replace := func(old, new string) []byte {
		r.t.Helper()
		if bytes.Count(payload, []byte(old)) != 1 {
			r.t.Fatalf("%x is not there once", old)
		}
		return bytes.Replace(payload, []byte(old), []byte(new), 1)
	}
	sign("trailing", "a byte after the end", append(bytes.Clone(payload), 0x00))
	sign("truncated", "the last byte is missing", payload[:len(payload)-1])
	sign("empty", "no payload", nil)
	sign("long-number", "the version as two bytes", replace("\xa3\x01\x01", "\xa3\x01\x18\x01"))
	sign("long-text", "the length of the kind as two bytes", replace("\x67closure", "\x78\x07closure"))
	sign("float", "the version as a half-precision float", replace("\xa3\x01\x01", "\xa3\x01\xf9\x3c\x00"))
	sign("tag", "a tag before the kind", replace("\x67closure", "\xd8\x20\x67closure"))
	sign("indefinite-map", "a map of indefinite length", append(append([]byte{0xbf}, payload[1:]...), 0xff))
	sign("indefinite-text", "text in pieces", replace("\x67closure", "\x7f\x67closure\xff"))
	sign("null", "null in place of prev", append(append([]byte{0xa4}, payload[1:]...), 0x05, 0xf6))
	sign("undefined", "undefined in place of prev", append(append([]byte{0xa4}, payload[1:]...), 0x05, 0xf7))
	sign("simple", "a simple value in place of prev", append(append([]byte{0xa4}, payload[1:]...), 0x05, 0xf8, 0xff))
	sign("duplicate-key", "the version twice", append([]byte{0xa4, 0x01, 0x01}, payload[1:]...))
	sign("unsorted-keys", "the kind before the version", append(append([]byte{0xa3}, payload[3:3+9]...), append([]byte{0x01, 0x01}, payload[3+9:]...)...))
	sign("bad-utf8", "a name that is not UTF-8", replace("nixos-26.05", "nixos-26.\xff5"))
	sign("deep", "nine levels", append(append([]byte{0xa4}, payload[1:]...), 0x05, 0x81, 0x81, 0x81, 0x81, 0x81, 0x81, 0x81, 0x81, 0x00))
}

func rejectEnvelope(r *rejecter) {
	c := func(name, code, comment string, change func(p, body anyMap)) {
		r.t.Helper()
		r.body("envelope-"+name, code, comment, sampleClosure(false), change)
	}
	c("version-2", CodeVersion, "a later version, with a field of its own", func(p, _ anyMap) { p[uint64(1)], p[uint64(6)] = 2, true })
	c("version-2-kind", CodeVersion, "a later version, where the kind is a number", func(p, _ anyMap) { p[uint64(1)], p[uint64(2)] = 2, 7 })
	c("version-0", CodeVersion, "", func(p, _ anyMap) { p[uint64(1)] = 0 })
	c("no-version", CodeBadShape, "", func(p, _ anyMap) { delete(p, uint64(1)) })
	c("no-kind", CodeBadShape, "", func(p, _ anyMap) { delete(p, uint64(2)) })
	c("kind-is-a-number", CodeBadShape, "", func(p, _ anyMap) { p[uint64(2)] = 7 })
	c("no-body", CodeBadShape, "", func(p, _ anyMap) { delete(p, uint64(3)) })
	c("body-is-a-list", CodeBadShape, "", func(p, _ anyMap) { p[uint64(3)] = []int{1} })
	c("unknown-field", CodeBadShape, "version 1 has no field 6", func(p, _ anyMap) { p[uint64(6)] = true })
	c("unknown-kind", CodeUnknownKind, "", func(p, _ anyMap) { p[uint64(2)] = "closures" })
	c("negative-key", CodeBadShape, "a key below zero", func(p, _ anyMap) { p[-1] = true })
	for _, kind := range []string{"fod-fetch", "fod-check", "triage", "boot-image", "bootstrap-seed"} {
		c("not-yet-"+kind, CodeNotYet, "a reserved kind", func(p, _ anyMap) { p[uint64(2)] = kind })
	}
	c("prev-of-a-claim", CodeBadChain, "claims are not chained", func(p, _ anyMap) { p[uint64(5)] = make([]byte, 32) })
	c("prev-31", CodeBadShape, "", func(p, _ anyMap) { p[uint64(5)] = make([]byte, 31) })
	c("for-empty", CodeBadValue, "an empty for is left out instead", func(p, _ anyMap) { p[uint64(4)] = "" })
	c("for-bidi", CodeBadValue, "a character that turns the direction of text", func(p, _ anyMap) { p[uint64(4)] = "bob\u202egro.elpmaxe" })
	c("for-long", CodeBadValue, "129 bytes", func(p, _ anyMap) { p[uint64(4)] = strings.Repeat("b", 129) })
	r.body("envelope-for-of-people", CodeBadValue, "an operator speaks for itself", sampleOperator(edSigner(r.t, "identity").pub), func(p, _ anyMap) { p[uint64(4)] = "bob" })
	k := edSigner(r.t, "build")
	big := edit(r.t, payloadOf(r.t, sampleBuild(), nil), func(_, b anyMap) {
		var refs []string
		for i := range 500 {
			refs = append(refs, storePath("dependency-"+strings.Repeat("x", i%7)+string(rune('a'+i%26))).Base())
		}
		slices.Sort(refs)
		out := b[uint64(6)].([]any)[1].(anyMap)
		out[uint64(5)] = slices.Compact(refs)
	})
	for i := 0; len(rawCOSE(r.t, k, big)) <= MaxLeaf; i++ {
		big = edit(r.t, big, func(_, b anyMap) {
			out := b[uint64(6)].([]any)[1].(anyMap)
			refs := out[uint64(5)].([]any)
			more := make([]string, 0, len(refs)+50)
			for _, ref := range refs {
				more = append(more, ref.(string))
			}
			for j := range 50 {
				more = append(more, storePath("more-"+strings.Repeat("y", i+1)+strings.Repeat("z", j+1)).Base())
			}
			slices.Sort(more)
			out[uint64(5)] = slices.Compact(more)
		})
	}
	r.leaf("oversize-build", CodeOversize, "a build whose leaf is larger than 16 KiB and otherwise good: its references belong in a digest", rawCOSE(r.t, k, big))
}
