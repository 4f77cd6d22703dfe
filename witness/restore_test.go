package witness

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/firn-log/firn/log/policy"
	"github.com/firn-log/firn/witness/sample"
)

// newPeer serves notes by origin.
func newPeer(t testing.TB, notes map[string][]byte) *httptest.Server {
	t.Helper()
	mux := http.NewServeMux()
	mux.HandleFunc("GET /p/{hash}/checkpoint", func(w http.ResponseWriter, r *http.Request) {
		for origin, note := range notes {
			if OriginHash(origin) == r.PathValue("hash") {
				_, _ = w.Write(note)
				return
			}
		}
		http.NotFound(w, r)
	})
	s := httptest.NewServer(mux)
	t.Cleanup(s.Close)
	s.URL += "/p/"
	return s
}

// restore puts the witness back to a copy of its files.
func (w *world) restore(copied string) {
	w.t.Helper()
	w.store.Close()
	w.dir = copied
	w.open()
}

func (w *world) ask(peers ...*httptest.Server) error {
	w.t.Helper()
	var urls []string
	for _, p := range peers {
		urls = append(urls, p.URL)
	}
	return w.AskPeers(w.t.Context(), http.DefaultClient, urls)
}

func (w *world) mustUnconfirmed(err error) *PeerError {
	w.t.Helper()
	var p *PeerError
	if !errors.As(err, &p) {
		w.t.Fatalf("%v, want a PeerError", err)
	}
	return p
}

func TestARestoredCopyServesReadsOnlyUntilAPeerAnswers(t *testing.T) {
	w := newWorld(t)
	w.cosigned(w.log.Request(0, 5))
	old := crash(t, w.store)
	w.cosigned(w.log.Request(5, 9))
	newest := []byte(w.latest())

	w.restore(old)
	contains(t, w.store.Doubt(), "the directory itself changed")
	w.must(503, w.log.Request(5, 7))
	contains(t, w.latest(), w.log.Text(5)) // reads are served
	w.again()
	w.must(503, w.log.Request(5, 7)) // a restart forgets no doubt

	down := newPeer(t, nil)
	down.Close()
	if p := w.mustUnconfirmed(w.ask(down)); p.Unanswered != 1 {
		t.Errorf("%+v", p)
	}
	w.mustUnconfirmed(w.ask())
	w.must(503, w.log.Request(5, 7))

	// The peer has something newer that this witness has cosigned: it goes on
	// from there, and only after a peer has nothing newer any more.
	peer := newPeer(t, map[string][]byte{testOrigin: newest})
	if p := w.mustUnconfirmed(w.ask(peer)); p.Newer != 1 {
		t.Errorf("%+v, want one that is newer", p)
	}
	w.must(503, w.log.Request(5, 7))
	if err := w.ask(peer); err != nil {
		t.Fatal(err)
	}
	if got := w.must(409, w.log.Request(5, 7)); got != "9\n" {
		t.Errorf("%q, want 9", got)
	}
	w.must(422, w.log.Fork("fork", 6).Request(9, 11))
	w.again()
	if w.store.Doubt() != "" {
		t.Errorf("in doubt again: %s", w.store.Doubt())
	}
}

func TestOnlyOwnCosignaturesCountInAPeersAnswer(t *testing.T) {
	w := newWorld(t)
	w.cosigned(w.log.Request(0, 5))
	w.restore(crash(t, w.store))
	// Larger, signed by the log, cosigned by another witness with our name: that
	// is no word of ours, and nothing newer.
	other, _, _ := GenerateKey("witness.example/w1")
	text := w.log.Text(9)
	theirs := want(other.cosign(text, w.clock()))(t)
	forged := theirs
	forged.ID = w.key.verifier.ID
	note := (&policy.Note{Text: text, Signatures: []policy.Signature{w.log.Sign(text), theirs, forged}}).Marshal()
	if err := w.ask(newPeer(t, map[string][]byte{testOrigin: note})); err != nil {
		t.Fatal(err)
	}
	w.cosigned(w.log.Request(5, 7))
}

func TestAnswersThatAreNoneConfirmNothing(t *testing.T) {
	w := newWorld(t)
	w.cosigned(w.log.Request(0, 5))
	w.restore(crash(t, w.store))
	for name, notes := range map[string]map[string][]byte{
		"404 from a server that knows no log":    {},
		"garbage":                                {testOrigin: []byte("garbage")},
		"another origin":                         {testOrigin: alpha.Note(0)},
		"another origin signed by the log's key": {testOrigin: w.log.SignedNote(alpha.Text(0))},
		"not signed by the log":                  {testOrigin: beta.SignedNote(w.log.Text(5))},
		"longer than any checkpoint":             {testOrigin: []byte(strings.Repeat("a", policy.MaxNote+5))},
		"a signature of the log that is wrong":   {testOrigin: []byte(strings.Replace(string(w.log.Note(5)), "\n5\n", "\n6\n", 1))},
	} {
		if p := w.mustUnconfirmed(w.ask(newPeer(t, notes))); p.Unanswered != 1 || p.Err == nil {
			t.Errorf("%s: %+v", name, p)
		}
		w.must(503, w.log.Request(5, 7))
	}
}

func TestAMissingStateIsNotTakenForANewWitness(t *testing.T) {
	for _, name := range []string{stateName, journalPrefix + "*"} {
		w := newWorld(t)
		w.cosigned(w.log.Request(0, 5))
		newest := []byte(w.latest())
		w.store.Close()
		for _, f := range want(filepath.Glob(filepath.Join(w.dir, name)))(t) {
			if err := os.Remove(f); err != nil {
				t.Fatal(err)
			}
		}
		w.open()
		contains(t, w.store.Doubt(), "is missing")
		w.must(503, w.log.Fork("fork", 2).Request(0, 5))
		w.again()
		w.must(503, w.log.Fork("fork", 2).Request(0, 5))
		peer := newPeer(t, map[string][]byte{testOrigin: newest})
		for w.ask(peer) != nil {
		}
		w.must(422, sample.Body(5, nil, w.log.Fork("fork", 2).Note(5)))
	}
}

// What was lost may have held a log that only a list names again later.
func TestANewOriginInARestoredCopyIsAskedAbout(t *testing.T) {
	w := newWorld(t)
	w.cosigned(w.log.Request(0, 5))
	beta.Grow(9)
	text := beta.Text(7)
	lost := (&policy.Note{Text: text, Signatures: []policy.Signature{beta.Sign(text), want(w.key.cosign(text, w.clock()))(t)}}).Marshal()
	peer := newPeer(t, map[string][]byte{testOrigin: []byte(w.latest()), beta.Origin: lost})
	w.restore(crash(t, w.store))
	if err := w.ask(peer); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if _, _, err := w.UpdateLogs([]Log{{Origin: beta.Origin, Keys: []policy.Key{beta.Key}}}); err != nil {
			t.Fatal(err)
		}
		w.must(503, beta.Request(0, 5))
		select {
		case <-w.InDoubt():
		default:
			t.Error("nobody is told to ask")
		}
		w.again()
	}
	w.mustUnconfirmed(w.ask(peer))
	if err := w.ask(peer); err != nil {
		t.Fatal(err)
	}
	if got := w.must(409, beta.Request(0, 5)); got != "7\n" {
		t.Errorf("%q, want 7", got)
	}
	w.cosigned(w.log.Request(5, 7))
}

func TestAMovedWitnessNeverSignsAgain(t *testing.T) {
	w := newWorld(t)
	w.cosigned(w.log.Request(0, 5))
	if _, err := w.store.Export(); err == nil {
		t.Error("a witness that may sign was exported")
	}
	if err := w.store.Move(); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		w.must(410, w.log.Request(5, 9))
		contains(t, w.latest(), w.log.Text(5))
		if err := w.store.Confirm(false); !errors.Is(err, ErrMoved) {
			t.Errorf("%v, want ErrMoved", err)
		}
		w.again()
	}
	exported := want(w.store.Export())(t)
	dir := t.TempDir()
	if err := ImportStore(dir, exported); err != nil {
		t.Fatal(err)
	}
	if err := ImportStore(dir, exported); err == nil {
		t.Error("imported over another")
	}
	w.restore(dir)
	if w.store.Doubt() != "" {
		t.Error(w.store.Doubt())
	}
	if got := w.must(409, w.log.Request(0, 9)); got != "5\n" {
		t.Errorf("%q, want 5", got)
	}
	w.cosigned(w.log.Request(5, 9))
}

func TestKeysOfOtherFormsAreRefused(t *testing.T) {
	k, text, err := GenerateKey("witness.example/w1")
	if err != nil {
		t.Fatal(err)
	}
	if got := want(ParseKey(text))(t); got.Verifier().String() != k.Verifier().String() {
		t.Error("read as another key")
	}
	for _, bad := range []string{
		"", "x", text + "\n", text + "=", strings.Replace(text, "PRIVATE", "private", 1), strings.Replace(text, "w1", "w2", 1),
		strings.Replace(text, "+B", "+A", 1), text[:len(text)-4], k.Verifier().String(),
	} {
		if _, err := ParseKey(bad); err == nil {
			t.Errorf("accepted %q", bad)
		} else if strings.Contains(err.Error(), text[len(text)-20:]) {
			t.Errorf("the error holds the key: %v", err)
		}
	}
	if _, _, err := GenerateKey("a name"); err == nil {
		t.Error("a name with a space")
	}
}

// A backup unpacked over the directory leaves the newer journal beside the older
// state: that is an older copy, whatever its place, and what the journal says holds.
func TestABackupUnpackedOverTheDirectoryIsNoticed(t *testing.T) {
	w := newWorld(t)
	w.cosigned(w.log.Request(0, 3))
	backup := crash(t, w.store)
	w.again()
	w.cosigned(w.log.Request(3, 7))
	w.store.Close()
	for _, from := range want(filepath.Glob(filepath.Join(backup, "*")))(t) {
		if err := os.WriteFile(filepath.Join(w.dir, filepath.Base(from)), want(os.ReadFile(from))(t), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for range 2 { // a second start doubts as much as the first
		w.open()
		contains(t, w.store.Doubt(), "older")
		w.must(503, w.log.Fork("fork", 4).Request(3, 8))
		if got := w.store.Latest(testOrigin).Size; got != 7 {
			t.Errorf("it goes on from size %d, and has cosigned 7", got)
		}
		w.store.Close()
	}
	w.open()
}

// Without its state a witness still knows what its journal says.
func TestAJournalWithoutItsStateIsRead(t *testing.T) {
	w := newWorld(t)
	w.cosigned(w.log.Request(0, 5))
	w.store.Close()
	if err := os.Remove(filepath.Join(w.dir, stateName)); err != nil {
		t.Fatal(err)
	}
	w.open()
	contains(t, w.store.Doubt(), "is missing")
	if got := w.store.Latest(testOrigin).Size; got != 5 {
		t.Errorf("it goes on from size %d, and has cosigned 5", got)
	}
}
