package server

import (
	"bytes"
	"fmt"
	"log/slog"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/firn-log/firn/log"
	"github.com/firn-log/firn/log/policy"
	"github.com/firn-log/firn/log/witnessing/witnesstest"
)

// addAuditors names auditors of the index of a closed log, of which k make up the
// quorum, and returns them.
func (l *witnessed) addAuditors(n, k int) (auditors []*witnesstest.Witness, pol *policy.Policy) {
	l.t.Helper()
	vkey := want(VKey(l.dir))(l.t)
	var lines, names strings.Builder
	own := fmt.Sprintf("log %s\n", vkey)
	for i := range n {
		a := witnesstest.New(fmt.Sprintf("auditor.example/a%d", i+1))
		a.Know(vkey)
		srv := httptest.NewServer(a)
		l.t.Cleanup(srv.Close)
		fmt.Fprintf(&lines, "witness a%d %s %s\n", i+1, a.VKey(), srv.URL)
		fmt.Fprintf(&names, " a%d", i+1)
		auditors = append(auditors, a)
	}
	path := filepath.Join(l.dir, "witness.policy")
	witnesses := string(want(os.ReadFile(path))(l.t))
	group := strings.Index(witnesses, "group ")
	text := own + lines.String() + fmt.Sprintf("group g %d%s\nquorum g\n", k, names.String())
	for name, content := range map[string]string{"witness.policy": witnesses[:group] + lines.String() + witnesses[group:], "index.policy": text} {
		if err := os.WriteFile(filepath.Join(l.dir, name), []byte(content), 0o644); err != nil {
			l.t.Fatal(err)
		}
	}
	l.o.Config.Witnessing.Index = "index.policy"
	return auditors, want(policy.Parse([]byte(text)))(l.t)
}

// Lookups are answered with what the auditors vouch for, with the newest if they are
// away, and with theirs again when they are back.
func TestAnswersRestOnWhatAuditorsVouchFor(t *testing.T) {
	t.Parallel()
	l := newWitnessedLog(t, nil)
	l.close()
	auditors, pol := l.addAuditors(3, 2)
	l.open()
	o := l.operator("alice")
	key := "key:" + o.Build.PublicKey().ID().String()
	c := want(log.NewClient(l.http.URL, l.pol, log.Options{}))(t)
	vouched := func() bool {
		t.Helper()
		a, err := c.Lookup(t.Context(), log.Query{Keys: []string{key}})
		if err != nil {
			t.Fatal(err)
		}
		_, err = pol.Verify(a.Vouched[0], time.Now())
		return err == nil
	}
	l.settle()
	l.until("/metrics", "firn_log_revision_vouched 1\n")
	if !vouched() {
		t.Error("auditors cosign, and no answer shows it")
	}
	for _, a := range auditors[:2] {
		a.SetFaults(down)
	}
	before := l.settle()
	l.must(o.Builds(0, 5)...) // the auditors are outside the quorum
	a := want(c.Lookup(t.Context(), log.Query{Keys: []string{key}}))(t)
	if n := len(a.Of(key)); n != 6 || a.Read <= before {
		t.Errorf("%d found, read to %d", n, a.Read)
	}
	for _, a := range auditors {
		a.SetFaults(witnesstest.Faults{})
	}
	l.must(o.Builds(5, 10)...)
	l.settle()
	l.until("/metrics", "firn_log_revision_vouched 1\n")
	if !vouched() {
		t.Error("they are back, and no answer shows it")
	}
	l.close()
	l.open()
	l.until("/metrics", "firn_log_revision_vouched 1\n")
}

func TestIndexPolicyMustBeOfThisLog(t *testing.T) {
	t.Parallel()
	l := newWitnessedLog(t, nil)
	l.close()
	l.addAuditors(1, 1)
	path := filepath.Join(l.dir, "index.policy")
	good := string(want(os.ReadFile(path))(t))
	other := &testLog{t: t, dir: t.TempDir()}
	other.init(nil)
	for name, text := range map[string]string{
		"another log's": strings.Replace(good, want(VKey(l.dir))(t), want(VKey(other.dir))(t), 1),
		"no quorum":     strings.Replace(good, "quorum g", "quorum none", 1),
		"garbage":       "?",
	} {
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		if err := Check(Options{Dir: l.dir, Config: l.o.Config}); err == nil || !strings.Contains(err.Error(), "index.policy") {
			t.Errorf("%s: %v", name, err)
		}
	}
	remove(t, l.dir, "index.policy")
	if err := Check(Options{Dir: l.dir, Config: l.o.Config}); err == nil {
		t.Error("no file")
	}
}

// An auditor that only the index policy names is never asked, which looks like one that is down.
func TestUnaskedAuditorIsNamed(t *testing.T) {
	t.Parallel()
	l := newWitnessedLog(t, nil)
	l.close()
	l.addAuditors(2, 1)
	check := func() string {
		var said bytes.Buffer
		if err := Check(Options{Dir: l.dir, Config: l.o.Config, Logger: slog.New(slog.NewTextHandler(&said, nil))}); err != nil {
			t.Fatal(err)
		}
		return said.String()
	}
	if said := check(); strings.Contains(said, "never asked") {
		t.Errorf("both are asked: %s", said)
	}
	path := filepath.Join(l.dir, "witness.policy")
	text := string(want(os.ReadFile(path))(t))
	line := text[strings.Index(text, "witness a2 "):]
	line = line[:strings.Index(line, "\n")+1]
	if err := os.WriteFile(path, []byte(strings.Replace(text, line, "", 1)), 0o644); err != nil {
		t.Fatal(err)
	}
	if said := check(); !strings.Contains(said, "never asked") || !strings.Contains(said, "auditor=a2") || strings.Contains(said, "auditor=a1") {
		t.Errorf("a2 is not asked: %s", said)
	}
}
