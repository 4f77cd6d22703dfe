package server

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/firn-log/firn/internal/durable"
	"github.com/firn-log/firn/witness/sample"
)

// copyDir copies a witness as a backup would.
func copyDir(t *testing.T, dir string) string {
	t.Helper()
	to := filepath.Join(t.TempDir(), "copy")
	if out, err := exec.Command("cp", "-a", dir, to).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	return to
}

func TestARestoredWitnessServesReadsOnlyUntilItsPeerAnswers(t *testing.T) {
	var note []byte
	peer := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		if note == nil {
			w.WriteHeader(http.StatusBadGateway)
			return
		}
		_, _ = w.Write(note)
	}))
	defer peer.Close()
	w := newWorld(t, func(c *Config) { c.Peers = []PeerConfig{{URL: peer.URL}} })
	w.add(200, w.log.Request(0, 5)) // a new witness need not ask
	older := copyDir(t, w.dir)
	w.add(200, w.log.Request(5, 9))
	newest := w.get(w.monitoring()).body
	w.stop()

	w.open(older)
	w.add(503, w.log.Request(5, 7))
	if a := w.get("/readyz"); a.status != 503 || !strings.Contains(a.body, "changed") {
		t.Errorf("status %d: %s", a.status, a.body)
	}
	contains(t, w.get("/").body, "reads-only")
	contains(t, w.get("/metrics").body, "firn_witness_open 0\n")
	if a := w.get(w.monitoring()); a.status != 200 {
		t.Errorf("reads are not served: status %d", a.status)
	}
	contains(t, w.words.String(), "nothing is cosigned until a peer has answered")

	note = []byte(newest)
	w.again()
	if a := w.add(409, w.log.Request(5, 7)); a.body != "9\n" {
		t.Errorf("%q, want 9", a.body)
	}
	contains(t, w.get("/metrics").body, "firn_witness_adopted_total 1\n")
	w.add(200, w.log.Request(9, 11))
}

// A machine that was put back to a snapshot as a whole is the same place; only
// a peer knows.
func TestARollbackInPlaceIsNoticedIfAPeerKnows(t *testing.T) {
	var note []byte
	peer := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(note) }))
	defer peer.Close()
	w := newWorld(t, func(c *Config) { c.Peers = []PeerConfig{{URL: peer.URL}} })
	w.add(200, w.log.Request(0, 5))
	w.stop()
	saved := copyDir(t, w.dir)
	w.open(w.dir)
	w.add(200, w.log.Request(5, 9))
	note = []byte(w.get(w.monitoring()).body)
	w.stop()
	for _, glob := range []string{"state", "journal-*"} {
		names, _ := filepath.Glob(filepath.Join(w.dir, glob))
		for _, n := range names {
			os.Remove(n)
		}
		names, _ = filepath.Glob(filepath.Join(saved, glob))
		for _, n := range names {
			b, err := os.ReadFile(n)
			if err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(filepath.Join(w.dir, filepath.Base(n)), b, 0o600); err != nil {
				t.Fatal(err)
			}
		}
	}
	w.open(w.dir)
	if a := w.add(409, w.log.Request(5, 7)); a.body != "9\n" {
		t.Errorf("%q, want 9", a.body)
	}
	w.add(422, w.log.Fork("fork", 6).Request(9, 11))
}

func TestWithoutPeersTheOverrideGoesOn(t *testing.T) {
	w := newWorld(t)
	w.add(200, w.log.Request(0, 5))
	w.stop()
	dir := copyDir(t, w.dir)
	w.open(dir)
	w.add(503, w.log.Request(5, 7))
	o := w.o
	w.stop()
	o.NoPeerCheck = true
	s, err := New(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	s.Close()
	contains(t, w.words.String(), "--no-peer-check")
	w.open(dir)
	w.add(200, w.log.Request(5, 7))
}

func TestMoveFreezesAndGoesOnElsewhere(t *testing.T) {
	w := newWorld(t)
	w.add(200, w.log.Request(0, 5))
	if a := w.post("/evidence", forkEvidence(t, w.log)); a.status != 200 {
		t.Fatal(a.body)
	}
	to := filepath.Join(t.TempDir(), "export")
	if err := Move(w.dir, to); !errors.As(err, new(*durable.LockedError)) {
		t.Errorf("moved while it is served: %v", err)
	}
	vkey := w.VKey()
	w.stop()
	if err := Move(w.dir, to); err != nil {
		t.Fatal(err)
	}
	if st, err := os.Stat(to); err != nil || st.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v; want mode 0600", st.Mode(), err)
	}
	if err := Move(w.dir, to); err == nil {
		t.Error("an export was written over another")
	}
	if err := Move(w.dir, to+"2"); err != nil {
		t.Errorf("a lost export cannot be made again: %v", err)
	}
	w.open(w.dir)
	w.add(410, w.log.Request(5, 9))
	if a := w.get(w.monitoring()); a.status != 200 {
		t.Errorf("reads are not served: status %d", a.status)
	}
	contains(t, w.get("/").body, `class="moved"`)
	w.stop()

	dir := filepath.Join(t.TempDir(), "new")
	got, err := Import(dir, to)
	if err != nil || got != vkey {
		t.Fatalf("%s, %v; want %s", got, err, vkey)
	}
	if _, err := Import(filepath.Join(t.TempDir(), "x"), to); err == nil {
		t.Error("an export was used twice")
	}
	w.open(dir)
	w.add(403, w.log.Request(5, 9)) // evidence came along
	if names, _ := filepath.Glob(filepath.Join(dir, "evidence", "*")); len(names) != 1 {
		t.Errorf("%d files of evidence", len(names))
	}
}

func TestAnExportThatWasTamperedWithIsRefused(t *testing.T) {
	w := newWorld(t)
	w.stop()
	to := filepath.Join(t.TempDir(), "export")
	if err := Move(w.dir, to); err != nil {
		t.Fatal(err)
	}
	good, err := os.ReadFile(to)
	if err != nil {
		t.Fatal(err)
	}
	for name, bad := range map[string]string{
		"a path":     strings.Replace(string(good), ConfigName, "../../../x/y.toml", 1),
		"cut off":    string(good[:1024]),
		"nothing":    "",
		"bad config": strings.Replace(string(good), "listen", "lisxen", 1),
	} {
		file := filepath.Join(t.TempDir(), "bad")
		if err := os.WriteFile(file, []byte(bad), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := Import(filepath.Join(t.TempDir(), "new"), file); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}

func TestListsFromFileAndURL(t *testing.T) {
	alpha, beta := sample.New("alpha.example"), sample.New("beta.example")
	list := "logs/v0\nvkey " + alpha.Key.String() + "\nqpd 5\n"
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte(list)) }))
	file := filepath.Join(t.TempDir(), "list")
	if err := os.WriteFile(file, []byte("logs/v0\nvkey "+beta.Key.String()+"\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	w := newWorld(t, func(c *Config) {
		c.LogLists = []string{server.URL, file, "missing", "file://" + file}
		c.Budgets.QPD = 7
	})
	w.add(200, alpha.Request(0, 0))
	w.add(200, beta.Request(0, 0))
	contains(t, w.get("/v1/witness").body, `"qpd":7`)
	contains(t, w.words.String(), "could not be read")
	contains(t, w.get("/metrics").body, "firn_witness_list_failures_total 1\n")
	// Lists that are gone take nothing away.
	server.Close()
	if err := os.Remove(file); err != nil {
		t.Fatal(err)
	}
	w.again()
	w.add(200, alpha.Request(0, 0))
	w.add(200, beta.Request(0, 0))
}

func TestConfigurationSaysEverythingThatIsWrong(t *testing.T) {
	c := DefaultConfig()
	c.Key, c.Listen, c.SubmissionPrefix, c.MonitoringPrefix = "", "x", "w", "/w/"
	c.ListInterval.Duration, c.Budgets.BodyMemory = 1, 1
	c.Evidence.Webhook = "ftp://x"
	c.Peers = []PeerConfig{{URL: "x"}}
	l := sample.New("a.example").Key.String()
	c.Logs = []LogConfig{{VKey: "x"}, {VKey: l}, {VKey: l}}
	err := c.Check()
	if !errors.As(err, new(*ConfigError)) {
		t.Fatalf("%v, want a ConfigError", err)
	}
	for _, part := range []string{
		"name:", "key:", "listen:", "submission-prefix:", "monitoring-prefix:", "list-interval:", "body-memory:", "evidence:", "peer:", "log 1:", "log 3:",
	} {
		contains(t, err.Error(), part)
	}
}

func TestTheWrittenConfigurationIsRead(t *testing.T) {
	w := newWorld(t, func(c *Config) {
		c.Peers = []PeerConfig{{URL: "http://127.0.0.1:1"}}
		c.Logs[0].QPD, c.Logs[0].Contact = 5, "somebody"
	})
	b, err := w.o.Config.marshal()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := parseConfig("x", b); err != nil {
		t.Errorf("%v:\n%s", err, b)
	}
	bare, _ := DefaultConfig().marshal()
	text := strings.Replace(string(bare), "name = ''", "name = 'w'", 1) + "\n[[log]]\nvkey = '" + w.log.Key.String() + "'\n[[peer]]\nurl = 'http://a.example'\n"
	if _, err := parseConfig("x", []byte(text)); err != nil {
		t.Errorf("a log and a peer cannot be added by hand: %v", err)
	}
	if _, err := parseConfig("x", append(b, "nonsense = 1\n"...)); err == nil {
		t.Error("an unknown setting is accepted")
	}
}
