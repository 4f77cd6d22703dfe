package federation_test

import (
	"bytes"
	"encoding/binary"
	"strings"
	"testing"
	"time"

	"github.com/firn-log/firn/federation"
	"github.com/firn-log/firn/log/logtest"
	"github.com/firn-log/firn/log/policy"
)

// pqPolicy is the policy of a log with another witness, whose key is an ML-DSA key.
func pqPolicy(t testing.TB, l *logtest.Log) (*policy.Policy, policy.Key) {
	t.Helper()
	pq, err := policy.NewKey("witness.example/pq", policy.TypeMLDSA, make([]byte, 1312))
	if err != nil {
		t.Fatal(err)
	}
	pol, err := policy.Parse([]byte(strings.Replace(l.PolicyText(), "group ", "witness pq "+pq.String()+"\ngroup ", 1)))
	if err != nil {
		t.Fatal(err)
	}
	return pol, pq
}

// pqLine is a line that only has the form of one by an ML-DSA key.
func pqLine(k policy.Key, at time.Time, fill byte) policy.Signature {
	sig := binary.BigEndian.AppendUint64(nil, uint64(at.Unix()))
	return policy.Signature{Name: k.Name, ID: k.ID, Sig: append(sig, bytes.Repeat([]byte{fill}, 2420)...)}
}

// with adds lines to a note.
func with(t testing.TB, note []byte, lines ...policy.Signature) []byte {
	t.Helper()
	n, err := policy.ParseNote(note)
	if err != nil {
		t.Fatal(err)
	}
	n.Signatures = append(lines[:len(lines):len(lines)], n.Signatures...)
	return n.Marshal()
}

// ML-DSA lines of keys of the policy are passed on as they are, also after a restart, and
// make no quorum.
func TestMLDSALinesAreCarriedAndNeverCounted(t *testing.T) {
	l := logtest.New(t, logtest.Witnesses(2, 2))
	pol, pq := pqPolicy(t, l)
	p := newPeer(t, pol, l.URL())
	line := pqLine(pq, time.Now(), 7)
	note := grow(l, 0, 3, "leaf")
	p.wants(federation.Larger, with(t, only(t, note, "w1"), line))
	if p.Best(l.Origin()) != nil {
		t.Error("one Ed25519 and one ML-DSA line made up a quorum of two")
	}
	p.wants(federation.Merged, note)
	for _, when := range []string{"at once", "after a restart"} {
		got := p.Best(l.Origin())
		if strings.Count(string(got), line.String()) != 1 {
			t.Errorf("%s the line is not there once:\n%s", when, got)
		}
		if v, err := pol.Verify(got, time.Now()); err != nil || len(v.Cosignatures) != 2 {
			t.Errorf("%s: %+v, %v", when, v, err)
		}
		p.restart()
	}
	// Unknown keys are dropped, of whatever type.
	stranger, err := policy.NewKey("stranger.example", policy.TypeMLDSA, bytes.Repeat([]byte{1}, 1312))
	if err != nil {
		t.Fatal(err)
	}
	p.wants(federation.Larger, with(t, grow(l, 3, 4, "leaf"), pqLine(stranger, time.Now(), 7)))
	if strings.Contains(string(p.Best(l.Origin())), "stranger") {
		t.Error("a line of an unknown key is passed on")
	}
}

// What nobody can verify is dropped where it is in doubt, and moves nothing.
func TestDoubtfulMLDSALinesAreDropped(t *testing.T) {
	l := logtest.New(t, logtest.Witnesses(2, 1))
	pol, pq := pqPolicy(t, l)
	now := time.Now()
	l.SetTime(now.Add(-time.Hour))
	note := grow(l, 0, 3, "leaf")
	l.SetTime(now)
	fresh := l.Publish()
	good, other, newer := pqLine(pq, now.Add(-time.Minute), 7), pqLine(pq, now.Add(-time.Minute), 8), pqLine(pq, now, 9)
	short := policy.Signature{Name: pq.Name, ID: pq.ID, Sig: good.Sig[:500]}
	has := func(p *peer, line policy.Signature) bool {
		return strings.Contains(string(p.Best(l.Origin())), line.String())
	}

	for name, c := range map[string]struct {
		first, then []policy.Signature
		fresher     bool
		want        *policy.Signature
		outcome     federation.Outcome
	}{
		"another length":                                {first: []policy.Signature{short}, want: nil, outcome: federation.Known},
		"the future":                                    {first: []policy.Signature{pqLine(pq, now.Add(time.Hour), 7)}, want: nil, outcome: federation.Known},
		"two of one time in one note":                   {first: []policy.Signature{good, other}, want: nil, outcome: federation.Known},
		"the newer in one note":                         {first: []policy.Signature{newer, good}, want: &newer, outcome: federation.Known},
		"none held yet":                                 {then: []policy.Signature{good}, want: &good, outcome: federation.Merged},
		"a newer one with nothing that verifies":        {first: []policy.Signature{good}, then: []policy.Signature{newer}, want: &good, outcome: federation.Known},
		"a newer one with a fresh cosignature":          {first: []policy.Signature{good}, then: []policy.Signature{newer}, fresher: true, want: &newer, outcome: federation.Merged},
		"an older one with a fresh cosignature":         {first: []policy.Signature{newer}, then: []policy.Signature{good}, fresher: true, want: &newer, outcome: federation.Merged},
		"another of that time with a fresh cosignature": {first: []policy.Signature{good}, then: []policy.Signature{other}, fresher: true, want: nil, outcome: federation.Merged},
	} {
		p := newPeer(t, pol, l.URL())
		p.wants(federation.Larger, with(t, note, c.first...))
		again := note
		if c.fresher {
			again = fresh
		}
		p.wants(c.outcome, with(t, again, c.then...))
		if got := string(p.Best(l.Origin())); c.want == nil && strings.Contains(got, pq.Name) {
			t.Errorf("%s: there is a line of the key:\n%s", name, got)
		}
		for _, line := range []policy.Signature{good, other, newer, short} {
			if want := c.want != nil && line.String() == c.want.String(); has(p, line) != want {
				t.Errorf("%s: a line with time %x… and byte %d: there is %v, want %v", name, line.Sig[:8], line.Sig[20], has(p, line), want)
			}
		}
	}
}

// A note stays as small as every reader must take it.
func TestCarriedLinesAreBounded(t *testing.T) {
	l := logtest.New(t, logtest.Witnesses(1, 1))
	var text strings.Builder
	var keys []policy.Key
	for i := range 60 {
		k, err := policy.NewKey("witness.example/pq", policy.TypeMLDSA, bytes.Repeat([]byte{byte(i)}, 1312))
		if err != nil {
			t.Fatal(err)
		}
		keys = append(keys, k)
		text.WriteString("witness pq" + string(rune('A'+i)) + " " + k.String() + "\n")
	}
	pol, err := policy.Parse([]byte(strings.Replace(l.PolicyText(), "group ", text.String()+"group ", 1)))
	if err != nil {
		t.Fatal(err)
	}
	note := grow(l, 0, 3, "leaf")
	p := newPeer(t, pol, l.URL())
	p.wants(federation.Larger, note)
	for i := 0; i < len(keys); i += 20 { // as many as fit in a note
		var lines []policy.Signature
		for _, k := range keys[i : i+20] {
			lines = append(lines, pqLine(k, time.Now(), 7))
		}
		if _, err := p.offer(with(t, note, lines...)); err != nil {
			t.Fatal(err)
		}
	}
	got := p.Best(l.Origin())
	if n := strings.Count(string(got), "witness.example/pq"); n != policy.MaxCarried || len(got) > policy.MaxNote {
		t.Errorf("%d lines, %d bytes", n, len(got))
	}
}
