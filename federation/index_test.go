package federation_test

import (
	"bytes"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/firn-log/firn/federation"
	"github.com/firn-log/firn/internal/testreq"
	"github.com/firn-log/firn/log/evidence"
	"github.com/firn-log/firn/log/index"
	"github.com/firn-log/firn/log/index/fraud"
	"github.com/firn-log/firn/log/logtest"
	"github.com/firn-log/firn/log/policy"
	"github.com/firn-log/firn/log/statement"
)

// wrongIndex is evidence that a log committed to two maps of one size.
func wrongIndex(t testing.TB, l *logtest.Log, size, mapVersion uint64) []byte {
	t.Helper()
	key, err := policy.ParseKey(l.VKey())
	if err != nil {
		t.Fatal(err)
	}
	var leaves [][]byte
	for i := range byte(2) {
		leaves = append(leaves, l.State(&statement.Revision{Origin: l.Origin(), Size: size, Root: [32]byte{i}, MapVersion: mapVersion}))
	}
	e, err := fraud.FromRevisions(key, leaves[0], leaves[1])
	if err != nil {
		t.Fatal(err)
	}
	return e.Marshal()
}

// A wrong index is told, kept and served, and the checkpoints of its log go on being
// believed.
func TestEvidenceAgainstAnIndexEndsNoTrust(t *testing.T) {
	l := logtest.New(t, logtest.Witnesses(2, 2))
	p := newPeer(t, l.Policy(), l.URL())
	ran := filepath.Join(p.dir, "ran")
	hooks, err := evidence.NewHooks(evidence.HookConfig{Command: []string{"sh", "-c", `cat >"$0"; echo "$FIRN_EVIDENCE_KIND $FIRN_EVIDENCE_ORIGIN" >>"$0"`, ran}}, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	p.o.Hooks = hooks
	words := p.heard()
	p.wants(federation.Larger, grow(l, 0, 5, "leaf"))
	changed := p.EvidenceChanged()
	b := wrongIndex(t, l, 4, index.MapVersion)
	p.holding(b)
	<-changed
	hooks.Wait(t.Context())
	if got, err := os.ReadFile(ran); err != nil || string(got) != string(b)+"index "+l.Origin()+"\n" {
		t.Errorf("the hook got %q, %v", got, err)
	}
	if said := words.String(); !strings.Contains(said, "a wrong index") || strings.Contains(said, "two histories") {
		t.Errorf("it says\n%s", said)
	}
	if got := p.counted("firn_peer_evidence_total", `"index"`); got != 1 {
		t.Errorf("metrics: %v", got)
	}
	for range 2 {
		p.holds("index " + l.Origin())
		if p.Convicted(l.Origin()) {
			t.Error("the log is convicted")
		}
		next := grow(l, int(l.Size()), int(l.Size())+3, "leaf")
		p.wants(federation.Larger, next)
		if !bytes.Equal(p.Best(l.Origin()), next) {
			t.Error("its checkpoints do not count")
		}
		p.restart()
	}
	url := serve(t, p)
	_, _, list := fetch(t, url+"/evidence")
	if !strings.Contains(list, `"kind":"index"`) {
		t.Errorf("it is not in the list: %s", list)
	}
	if status, _, file := fetch(t, url+"/evidence/"+hashOf(t, p)); status != 200 || file != string(b) {
		t.Errorf("status %d: %q", status, file)
	}
	if _, _, logs := fetch(t, url+"/logs/v0"); !strings.Contains(logs, l.VKey()) {
		t.Errorf("the log is left out: %s", logs)
	}
	_, _, page := fetch(t, url+"/")
	for _, want := range []string{"Somebody committed to a wrong index", "its revision of size 4 by map version 1: two revisions of size 4 have different roots", "committed to a wrong index: what it says"} {
		if !strings.Contains(page, want) {
			t.Errorf("the page does not say %q:\n%s", want, page)
		}
	}
	for _, wrong := range []string{"two histories.", "No evidence", "nothing more of it is believed"} {
		if strings.Contains(page, wrong) {
			t.Errorf("the page says %q", wrong)
		}
	}
	// Another peer gets it over HTTP and goes on mirroring.
	other := newPeer(t, l.Policy(), l.URL())
	if err := pollError(other, federation.TargetPeer, url); err != nil {
		t.Fatal(err)
	}
	other.holds("index " + l.Origin())
	m, err := federation.NewMirror(t.Context(), federation.MirrorOptions{Hub: other.Hub, Origin: l.Origin(), Dir: t.TempDir(), URLs: []string{l.URL()}})
	if err != nil {
		t.Fatal(err)
	}
	if err := m.Pull(t.Context()); err != nil {
		t.Error(err)
	}
	if size, err := m.Size(); err != nil || size != l.Size() {
		t.Errorf("mirrored %d, %v", size, err)
	}
}

// Evidence against an index goes to the log itself, too, where it is answered.
func TestEvidenceAgainstAnIndexIsSubmittedToItsLogToo(t *testing.T) {
	bad, good := newPair(t)
	p := multi(t, bad, good)
	b := wrongIndex(t, bad, 4, index.MapVersion)
	p.holding(b)
	s := p.submits(carried(t))
	for _, l := range []*logtest.Log{bad, good} {
		s.Submit(t.Context(), l.Origin())
		if n := entries(t, l, b); n != 1 {
			t.Errorf("%s has it %d times", l.Origin(), n)
		}
	}
	if st, err := s.Status(); err != nil || st[0].Done != 1 || st[1].Done != 1 {
		t.Errorf("%+v, %v", st, err)
	}
}

// What is no evidence against an index is kept by nobody.
func TestInvalidEvidenceAgainstAnIndexIsRefused(t *testing.T) {
	dir := filepath.Join(testreq.Root(), "spec", "vectors", "evidence")
	text, err := os.ReadFile(filepath.Join(dir, "log.policy"))
	if err != nil {
		t.Fatal(err)
	}
	pol, err := policy.Parse(text)
	if err != nil {
		t.Fatal(err)
	}
	files, err := filepath.Glob(filepath.Join(dir, "index", "*"+evidence.Suffix))
	if err != nil || len(files) < 50 {
		t.Fatal(len(files), err)
	}
	p := newPeer(t, pol)
	for _, f := range files {
		b, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		name := filepath.Base(f)
		added, err := p.AddEvidence(b, "test")
		for prefix, want := range map[string]error{
			"accept": nil, "reject-innocent": evidence.ErrNotEvidence, "reject-malformed": evidence.ErrMalformed,
			"reject-reserved": evidence.ErrReserved, "reject-unknown-key": evidence.ErrUnknownKey,
		} {
			if strings.HasPrefix(name, prefix) && !errors.Is(err, want) {
				t.Errorf("%s: %v, want %v", name, err, want)
			}
		}
		if strings.HasPrefix(name, "reject") && added {
			t.Errorf("%s is kept", name)
		}
	}
	if all, err := p.Evidence(); err != nil || len(all) != evidence.MaxHeld+1 { // of map version 1, and the one of another
		t.Errorf("%d are held, %v", len(all), err)
	}
	for _, o := range p.Origins() {
		if p.Convicted(o) {
			t.Errorf("%s is convicted", o)
		}
	}
}

// What is held is judged when it comes, not for everybody who asks.
func TestHeldEvidenceIsNotJudgedForWhoeverAsks(t *testing.T) {
	l := logtest.New(t)
	p := newPeer(t, l.Policy())
	judged := 0
	p.o.Evidence = evidence.NewStore(filepath.Join(p.dir, "evidence"), evidence.WithJudge(func(e *evidence.Evidence) (evidence.Verdict, error) {
		judged++
		return fraud.Judge(e)
	}))
	p.restart()
	p.holding(wrongIndex(t, l, 4, 1))
	p.holds("index " + l.Origin())
	before := judged
	for range 9 {
		p.holds("index " + l.Origin())
	}
	if judged != before {
		t.Errorf("judged %d times more", judged-before)
	}
	p.holding(wrongIndex(t, l, 5, 1))
	p.holds("index "+l.Origin(), "index "+l.Origin())
	p.restart()
	p.holds("index "+l.Origin(), "index "+l.Origin())
}

// A log that goes on committing to larger wrong indexes, of as many map versions as it
// likes, fills neither disk nor memory nor the files of a peer.
func TestManyWrongIndexesAreBounded(t *testing.T) {
	bad, good := newPair(t)
	p := multi(t, bad, good)
	s := p.submits(carried(t))
	for version := uint64(40); version > 0; version -= 4 {
		for size := uint64(1); size < 7; size++ {
			if _, err := p.AddEvidence(wrongIndex(t, bad, size, version), "test"); err != nil {
				t.Fatal(err)
			}
		}
		s.Submit(t.Context(), good.Origin())
	}
	all, err := p.Evidence()
	if err != nil || len(all) > evidence.MaxHeld*evidence.MaxMapVersions {
		t.Errorf("%d are held, %v", len(all), err)
	}
	for _, e := range all {
		if e.MapVersion > 16 || e.Size < 3 {
			t.Errorf("size %d of map version %d is held", e.Size, e.MapVersion)
		}
	}
	b, err := os.ReadFile(filepath.Join(p.dir, "submitted.json"))
	if err != nil || bytes.Count(b, []byte(`"`)) > 2*len(all)+20 {
		t.Errorf("%d are held, and remembered is %s, %v", len(all), b, err)
	}
	// The key of a log that only has a wrong index can still be convicted of more.
	p.holding(convict(t, bad, ""))
	if !p.Convicted(bad.Origin()) {
		t.Error("no room for evidence against the log")
	}
}
