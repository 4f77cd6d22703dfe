package p2p

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/firn-log/firn/internal/testreq"
	"github.com/firn-log/firn/log/evidence"
	"github.com/firn-log/firn/log/index/fraud"
	"github.com/firn-log/firn/log/logtest"
	"github.com/firn-log/firn/log/policy"
	"github.com/firn-log/firn/log/statement"
)

// wrongIndex is evidence that a log committed to two maps of one size.
func wrongIndex(t testing.TB, l *logtest.Log, size, mapVersion uint64, salt byte) []byte {
	t.Helper()
	key, err := policy.ParseKey(l.VKey())
	if err != nil {
		t.Fatal(err)
	}
	var leaves [][]byte
	for i := range byte(2) {
		leaves = append(leaves, l.State(&statement.Revision{Origin: l.Origin(), Size: size, Root: [32]byte{i, salt}, MapVersion: mapVersion}))
	}
	e, err := fraud.FromRevisions(key, leaves[0], leaves[1])
	if err != nil {
		t.Fatal(err)
	}
	return e.Marshal()
}

// peerOf is one of many peers, each with a pace of its own.
func peerOf(i int) peer.ID { return peer.ID(fmt.Sprint("peer ", i)) }

// Every vector of evidence against an index gets the verdict that evidence of other kinds
// gets: what convicts nobody is rejected, what a later version may know is ignored.
func TestIndexEvidenceVerdicts(t *testing.T) {
	files, err := filepath.Glob(filepath.Join(testreq.Root(), "spec", "vectors", "evidence", "index", "*"+evidence.Suffix))
	if err != nil || len(files) < 50 {
		t.Fatal(len(files), err)
	}
	n, hub := quiet(t, logtest.New(t)) // whose vectors they are
	for i, f := range files {
		b, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		name := filepath.Base(f)
		v := n.judgeEvidence(peerOf(i), b)
		for prefix, want := range map[string]string{
			"reject-innocent": "reject convicts-nobody", "reject-malformed": "reject malformed",
			"reject-reserved": "ignore unknown", "reject-unknown-key": "ignore unknown",
		} {
			if got := v.word() + " " + v.why; strings.HasPrefix(name, prefix) && got != want {
				t.Errorf("%s: %s, want %s", name, got, want)
			}
		}
		if strings.HasPrefix(name, "accept") && v.word() == "reject" {
			t.Errorf("%s: %s", name, v.why)
		}
	}
	if all, err := hub.Evidence(); err != nil || len(all) != evidence.MaxHeld+1 {
		t.Errorf("%d are held, %v", len(all), err)
	}
}

// However many wrong indexes a log commits to, what is held and remembered is bounded, and
// no peer is charged for passing on what is true.
func TestFloodOfWrongIndexesIsBounded(t *testing.T) {
	l := logtest.New(t)
	n, hub := quiet(t, l)
	now := time.Now()
	n.rates.now = func() time.Time { return now }
	for i := range maxUseless {
		n.wasSpread(strings.Repeat("x", i%7) + string(rune(i)))
	}
	accepted := 0
	for i := range 24 {
		v := n.judgeEvidence(peerOf(i), wrongIndex(t, l, 9, uint64(1+i%2), byte(i)))
		if v.word() == "accept" {
			accepted++
		} else if v.word() != "ignore" {
			t.Errorf("%s: %s", v.word(), v.why)
		}
	}
	if accepted != 2*evidence.MaxHeld {
		t.Errorf("%d messages are passed on, want %d", accepted, 2*evidence.MaxHeld)
	}
	for i := range 20 {
		n.judgeEvidence(peerOf(i), wrongIndex(t, l, 10, uint64(100-i), 0))
	}
	if all, err := hub.Evidence(); err != nil || len(all) > evidence.MaxHeld*evidence.MaxMapVersions {
		t.Errorf("%d are held, %v", len(all), err)
	}
	if len(n.spread) > maxUseless {
		t.Errorf("%d hashes are remembered", len(n.spread))
	}
	if hub.Convicted(l.Origin()) {
		t.Error("the log is convicted")
	}
	// One peer has a pace, and what it sends beyond that is not even judged.
	for i := range 40 {
		if v := n.judgeEvidence("flooder", wrongIndex(t, l, 9, 1, byte(100+i))); (v.why == "surplus") != (i >= int(paceEvidence.burst)) {
			t.Errorf("message %d: %s", i, v.why)
		}
	}
}
