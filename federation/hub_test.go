package federation_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/firn-log/firn/federation"
	"github.com/firn-log/firn/log"
	"github.com/firn-log/firn/log/logtest"
	"github.com/firn-log/firn/log/policy"
)

func TestOfferSaysWhatACheckpointMeans(t *testing.T) {
	l := logtest.New(t, logtest.Witnesses(3, 2))
	empty := l.Publish()
	ten := grow(l, 0, 10, "leaf")
	p := newPeer(t, l.Policy(), l.URL())
	p.wants(federation.Stale, empty)
	if p.Latest(l.Origin()) != nil {
		t.Error("an empty tree is the largest")
	}
	p.wants(federation.Larger, only(t, ten, "w1"))
	p.wants(federation.Known, only(t, ten, "w1"))
	p.wants(federation.Known, only(t, ten))
	if p.Best(l.Origin()) != nil {
		t.Error("one of two witnesses is a quorum")
	}
	p.wants(federation.Merged, only(t, ten, "w3"))
	if got := string(p.Best(l.Origin())); got != string(only(t, ten, "w1", "w3")) {
		t.Errorf("best is\n%s", got)
	}
	five := grow(l, 10, 15, "leaf")
	p.wants(federation.Larger, five)
	p.wants(federation.Known, ten)
	p.holds()
	if got := p.size(p.Best(l.Origin())); got != 15 {
		t.Errorf("best has size %d", got)
	}
	if p.counted("firn_peer_latest_size") != 15 || p.counted("firn_peer_offers_total", "larger") != 2 {
		t.Error("the metrics do not say so")
	}
}

func TestOfferRefusesWhatNoPolicyKeySigned(t *testing.T) {
	l := logtest.New(t, logtest.Witnesses(1, 1))
	good := grow(l, 0, 3, "leaf")
	other := logtest.New(t, logtest.Origin("other.example/00000000"))
	wrongKey := logtest.New(t, logtest.OtherKey())
	spoiled := strings.Replace(string(good), "\n3\n", "\n4\n", 1)
	p := newPeer(t, l.Policy(), l.URL())
	p.wants(federation.Larger, good)
	for what, note := range map[string]string{
		"garbage":            "hello",
		"nothing":            "",
		"another log":        string(grow(other, 0, 3, "leaf")),
		"another key":        string(grow(wrongKey, 0, 9, "leaf")),
		"altered":            spoiled,
		"unsigned":           strings.SplitAfter(string(good), "\n\n")[0],
		"too long":           string(good) + strings.Repeat("— x AAAAAAE=\n", 20000),
		"wrong cosignature":  wrongCosignature(t, good),
		"cosignatures alone": cosignaturesAlone(t, good),
	} {
		if out, err := p.offer([]byte(note)); out != federation.Refused || err == nil {
			t.Errorf("%s: %v, %v", what, out, err)
		}
		if _, err := p.Check([]byte(note)); err == nil {
			t.Errorf("%s: no error from Check", what)
		}
	}
	_, err := p.offer(grow(other, 3, 4, "leaf"))
	if !errors.Is(err, federation.ErrUnknownOrigin) {
		t.Errorf("error %v, want ErrUnknownOrigin", err)
	}
	if string(p.Best(l.Origin())) != string(good) {
		t.Error("something refused has changed the best checkpoint")
	}
	p.holds()
}

func wrongCosignature(t testing.TB, note []byte) string {
	n, err := policy.ParseNote(note)
	if err != nil {
		t.Fatal(err)
	}
	n.Signatures[1].Sig[20] ^= 1
	return string(n.Marshal())
}

func cosignaturesAlone(t testing.TB, note []byte) string {
	n, err := policy.ParseNote(note)
	if err != nil {
		t.Fatal(err)
	}
	n.Signatures = n.Signatures[1:]
	return string(n.Marshal())
}

func TestSilenceIsUnprovenAndNeverEvidence(t *testing.T) {
	l := logtest.New(t)
	ten := grow(l, 0, 10, "leaf")
	p := newPeer(t, l.Policy(), l.URL())
	p.wants(federation.Larger, ten)
	l.Lie(func(lies *logtest.Lies) { lies.NoTiles = true })
	twenty := grow(l, 10, 20, "leaf")
	p.wants(federation.Unproven, twenty)
	if _, err := p.offer(grow(l, 20, 25, "leaf")); !errors.Is(err, log.ErrUnproven) {
		t.Errorf("error %v, want ErrUnproven", err)
	}
	if p.size(p.Latest(l.Origin())) != 10 || p.counted("firn_peer_unproven") != 2 {
		t.Error("an unproven checkpoint became the largest, or was dropped")
	}
	p.holds()
	p.restart() // what waits is still there
	if err := p.Retry(t.Context()); err != nil {
		t.Fatal(err)
	}
	l.Lie(func(lies *logtest.Lies) { lies.NoTiles = false })
	if err := p.Retry(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := p.size(p.Latest(l.Origin())); got != 25 {
		t.Errorf("largest has size %d after the tiles came", got)
	}
	p.wants(federation.Known, twenty)
	if p.counted("firn_peer_unproven") != 0 {
		t.Error("something still waits")
	}
	p.holds()
}

func TestReplayedYearOldCheckpointsDoNoHarm(t *testing.T) {
	l := logtest.New(t, logtest.Witnesses(2, 1))
	var old [][]byte
	l.SetTime(time.Now().Add(-365 * 24 * time.Hour))
	for i := range 40 {
		old = append(old, grow(l, i*10, i*10+10, "leaf"))
	}
	l.SetTime(time.Now())
	now := grow(l, 400, 700, "leaf")
	p := newPeer(t, l.Policy(), l.URL())
	p.wants(federation.Larger, now)
	for _, note := range old {
		p.wants(federation.Stale, note)
	}
	if string(p.Best(l.Origin())) != string(now) || string(p.Latest(l.Origin())) != string(now) {
		t.Error("a replay has changed what is shown")
	}
	// The second time no tile is fetched, and nothing is written.
	l.Lie(func(lies *logtest.Lies) { lies.Down = true })
	file := filepath.Join(p.o.Dir, federation.OriginHash(l.Origin())+".json")
	before, err := os.Stat(file)
	if err != nil {
		t.Fatal(err)
	}
	for _, note := range old {
		p.wants(federation.Known, note)
	}
	if after, err := os.Stat(file); err != nil || !os.SameFile(before, after) {
		t.Error("a replay was written to disk")
	}
	p.holds()
}

func TestLyingSourceIsContained(t *testing.T) {
	l := logtest.New(t)
	ten := grow(l, 0, 10, "leaf")
	mirror := logtest.New(t)
	grow(mirror, 0, 300, "lie")
	p := newPeer(t, l.Policy(), mirror.URL(), l.URL())
	p.wants(federation.Larger, ten)
	p.wants(federation.Larger, grow(l, 10, 300, "leaf"))
	p.holds()
	if p.counted("firn_peer_wrong_tiles_total") == 0 || !strings.Contains(p.words.String(), mirror.URL()) {
		t.Errorf("the lying source is not named: %s", p.words)
	}
	// Only the liar is left: unproven, never evidence.
	l.Lie(func(lies *logtest.Lies) { lies.Down = true })
	p.wants(federation.Unproven, grow(l, 300, 301, "leaf"))
	p.holds()
}

func TestCosignatureFromTheFutureLosesToAGoodOne(t *testing.T) {
	l := logtest.New(t, logtest.Witnesses(1, 1))
	grow(l, 0, 5, "leaf")
	now := time.Now()
	l.SetTime(now.Add(365 * 24 * time.Hour))
	ahead := l.Publish()
	l.SetTime(now.Add(366 * 24 * time.Hour))
	further := l.Publish()
	l.SetTime(now)
	good := l.Publish()
	l.SetTime(now.Add(time.Second))
	newer := l.Publish()
	p := newPeer(t, l.Policy(), l.URL())
	p.wants(federation.Larger, further)
	p.wants(federation.Merged, ahead) // of two that are ahead, the nearer
	p.wants(federation.Merged, good)
	p.wants(federation.Known, further)
	p.wants(federation.Merged, newer)
	p.wants(federation.Known, good)
	if string(p.Best(l.Origin())) != string(newer) {
		t.Error("the newest good cosignature is not the one that is shown")
	}
	if p.counted("firn_peer_clock_ahead_total", "w1") == 0 || !strings.Contains(p.words.String(), "clocks is wrong") {
		t.Error("the clock is not named")
	}
	p.holds()
}

func TestLateCosignaturesMakeAQuorumOfAnEarlierCheckpoint(t *testing.T) {
	l := logtest.New(t, logtest.Witnesses(3, 2))
	p := newPeer(t, l.Policy(), l.URL())
	ten := grow(l, 0, 10, "leaf")
	p.wants(federation.Larger, only(t, ten, "w1"))
	twenty := grow(l, 10, 20, "leaf")
	p.wants(federation.Larger, only(t, twenty))
	changed := p.Changed(l.Origin())
	p.wants(federation.Merged, only(t, ten, "w2"))
	select {
	case <-changed:
	default:
		t.Error("nobody was told")
	}
	if p.size(p.Best(l.Origin())) != 10 || p.size(p.Latest(l.Origin())) != 20 {
		t.Error("best and largest are not 10 and 20")
	}
	w1 := l.Policy().Witnesses[0].Key.String()
	if got := p.size(p.CosignedBy(l.Origin(), w1)); got != 10 {
		t.Errorf("w1 is shown to have cosigned %d", got)
	}
	p.restart()
	if p.size(p.Best(l.Origin())) != 10 || p.size(p.Latest(l.Origin())) != 20 || p.size(p.CosignedBy(l.Origin(), w1)) != 10 {
		t.Error("a restart has lost something")
	}
}

// A witness that lost its state finds its own word even where nobody can prove
// that checkpoint, and although others have cosigned larger ones.
func TestWitnessFindsItsOwnCosignature(t *testing.T) {
	l := logtest.New(t, logtest.Witnesses(2, 1))
	p := newPeer(t, l.Policy(), l.URL())
	p.wants(federation.Larger, only(t, grow(l, 0, 10, "leaf"), "w1", "w2"))
	l.Lie(func(lies *logtest.Lies) { lies.NoTiles = true })
	fifteen := only(t, grow(l, 10, 15, "leaf"), "w1")
	p.wants(federation.Unproven, fifteen)
	w1 := l.Policy().Witnesses[0].Key.String()
	if got := p.CosignedBy(l.Origin(), w1); string(got) != string(fifteen) {
		t.Errorf("shown to w1 while it is unproven:\n%s", got)
	}
	l.Lie(func(lies *logtest.Lies) { lies.NoTiles = false })
	p.wants(federation.Larger, only(t, grow(l, 15, 20, "leaf"), "w2"))
	if got := p.CosignedBy(l.Origin(), w1); string(got) != string(fifteen) {
		t.Errorf("shown to w1:\n%s", got)
	}
}

func TestDamagedStateStartsAnew(t *testing.T) {
	l := logtest.New(t)
	note := grow(l, 0, 10, "leaf")
	p := newPeer(t, l.Policy(), l.URL())
	p.wants(federation.Larger, note)
	file := filepath.Join(p.o.Dir, federation.OriginHash(l.Origin())+".json")
	good, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	for what, b := range map[string]string{
		"empty": "", "cut": string(good[:len(good)/2]), "zeros": strings.Repeat("\x00", 100),
		"another schema": strings.Replace(string(good), `"schema":1`, `"schema":2`, 1),
		"altered note":   strings.Replace(string(good), `\n10\n`, `\n11\n`, -1),
	} {
		if err := os.WriteFile(file, []byte(b), 0o600); err != nil {
			t.Fatal(err)
		}
		p.restart()
		if p.Latest(l.Origin()) != nil {
			t.Errorf("%s: it is believed", what)
		}
		p.wants(federation.Larger, note)
	}
}
