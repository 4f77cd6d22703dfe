package statement

import (
	"strings"
	"testing"
)

func sampleRevision() *Revision {
	return &Revision{Origin: testOrigin, Size: 4711, Root: testID("a map"), MapVersion: 1}
}

func acceptIndex(t testing.TB, sign func(name, comment string, k *keySigner, body Body, forWhom string, prev *ID)) {
	log := edSigner(t, "log")
	sign("revision", "", log, sampleRevision(), "", nil)
	sign("revision-last-size", "the largest size, of a map version that nobody knows yet", log, &Revision{testOrigin, maxSize, testID("a map"), 7}, "", nil)
	sign("index-reset", "", log, &IndexReset{testOrigin, 1, 4711}, "", nil)
}

func rejectIndex(r *rejecter) {
	c := func(name, code, comment string, change func(p, b anyMap, size, version uint64)) {
		r.t.Helper()
		r.body("revision-"+name, code, comment, sampleRevision(), func(p, b anyMap) { change(p, b, 2, 4) })
		r.body("index-reset-"+name, code, comment, &IndexReset{testOrigin, 1, 4711}, func(p, b anyMap) { change(p, b, 3, 2) })
	}
	c("origin", CodeBadValue, "upper case", func(_, b anyMap, _, _ uint64) { b[uint64(1)] = "Demo.firn.example/3f9a01bc" })
	c("origin-no-suffix", CodeBadValue, "an origin without its random part", func(_, b anyMap, _, _ uint64) { b[uint64(1)] = "demo.firn.example" })
	c("origin-long", CodeBadValue, "129 bytes", func(_, b anyMap, _, _ uint64) {
		b[uint64(1)] = strings.Repeat("a", 60) + "/" + strings.Repeat("b", 59) + "/0123abcd"
	})
	c("size-0", CodeBadValue, "nothing is said about no leaves", func(_, b anyMap, size, _ uint64) { b[size] = 0 })
	c("size-2-63", CodeBadValue, "", func(_, b anyMap, size, _ uint64) { b[size] = uint64(1 << 63) })
	c("size-negative", CodeBadShape, "", func(_, b anyMap, size, _ uint64) { b[size] = -1 })
	c("map-version-0", CodeBadValue, "map versions begin with 1", func(_, b anyMap, _, version uint64) { b[version] = 0 })
	c("map-version-2-63", CodeBadValue, "", func(_, b anyMap, _, version uint64) { b[version] = uint64(1 << 63) })
	c("no-map-version", CodeBadShape, "", func(_, b anyMap, _, version uint64) { delete(b, version) })
	c("unknown-field", CodeBadShape, "", func(_, b anyMap, _, _ uint64) { b[uint64(5)] = 1 })
	c("for", CodeBadValue, "nobody makes it for somebody else", func(p, _ anyMap, _, _ uint64) { p[uint64(4)] = "bob" })
	c("prev", CodeBadChain, "statements of logs are not chained", func(p, _ anyMap, _, _ uint64) { p[uint64(5)] = make([]byte, 32) })
	root := func(name string, value any) {
		r.t.Helper()
		r.body("revision-root-"+name, CodeBadShape, "", sampleRevision(), func(_, b anyMap) { b[uint64(3)] = value })
	}
	root("31", make([]byte, 31))
	root("33", make([]byte, 33))
	root("text", strings.Repeat("a", 32))
	r.leaf("revision-sshsig", CodeBadForm, "log statements are signed by the log's key, as COSE", rawSSHSIG(r.t, edSSHSIG(r.t), payloadOf(r.t, sampleRevision(), nil)))
	r.leaf("index-reset-sshsig", CodeBadForm, "the same", rawSSHSIG(r.t, edSSHSIG(r.t), payloadOf(r.t, &IndexReset{testOrigin, 1, 4711}, nil)))
}

func TestWithdraws(t *testing.T) {
	rev := sampleRevision()
	for _, c := range []struct {
		reset IndexReset
		want  bool
	}{
		{IndexReset{testOrigin, 1, 4711}, true},
		{IndexReset{testOrigin, 1, 4712}, true},
		{IndexReset{testOrigin, 1, 4710}, false},
		{IndexReset{testOrigin, 2, 4712}, false},
		{IndexReset{"other.example/00000001", 1, 4712}, false},
	} {
		if got := c.reset.Withdraws(rev); got != c.want {
			t.Errorf("%+v: %v", c.reset, got)
		}
	}
}
