package rebuild

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/firn-log/firn/internal/nix"
	"github.com/firn-log/firn/log/statement"
)

func TestSeveralBuildAtOnceAndTheOrderOfResultsStays(t *testing.T) {
	m := newMachine(t)
	m.build("app", "irr", "fod")
	w := newWorld(t, m)
	w.conf.Jobs = 4
	attrs := []string{"app", "irr", "lib", "fod", "exit3", "evil"}
	var drvs []nix.StorePath
	for _, a := range attrs {
		drvs = append(drvs, m.drv(a))
	}
	begun, ended := 0, 0
	w.o.Progress = func(e Event) { // never called twice at once
		if e.Result == nil {
			begun++
			return
		}
		ended++
		if e.Done != ended || e.Total != len(drvs) {
			t.Errorf("%+v after %d", e, ended)
		}
	}
	report, err := w.run(drvs...)
	var got []string
	for _, res := range report.Results {
		got = append(got, res.Name+" "+string(res.Status))
	}
	want := []string{"app-2.3 agree", "irr-1 differ", "lib-1.0 agree", "fod fixed", "exit3 failed", "evil missing"}
	if err != nil || !slices.Equal(got, want) || begun != len(drvs) || report.ExitStatus() != 3 {
		t.Errorf("%q, %d begun, %v", got, begun, err)
	}
}

func TestWhatIsStoppedEndsSoonAndClaimsNothing(t *testing.T) {
	m := newMachine(t)
	drvs := []nix.StorePath{m.drv("slow"), m.drv("exit3")} // also makes the store
	w := newWorld(t, m)
	ctx, stop := context.WithCancel(t.Context())
	w.o.Progress = func(e Event) {
		if e.Result == nil {
			stop()
		}
	}
	r, err := Open(t.Context(), w.conf, w.o)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	report, err := r.Run(ctx, drvs)
	if !errors.Is(err, context.Canceled) || len(report.Results) != 0 || len(w.puts) != 0 {
		t.Errorf("%v, %d results, %d statements", err, len(report.Results), len(w.puts))
	}
}

func TestAReportOfDiffoscopeIsKeptAndNamed(t *testing.T) {
	m := newMachine(t)
	m.build("irr")
	w := newWorld(t, m)
	m.write("diffoscope", `#!/bin/sh
while [ "$1" != --text ]; do shift; done
test -d "$4" && test -d "$5" || exit 2
printf 'the interfaces are:' >"$2"; tail -n +3 /proc/net/dev | cut -d: -f1 | tr -d ' ' | tr '\n' ' ' >>"$2"
exit 1
`, 0o755)
	w.conf.Diffoscope, w.conf.Blobs = filepath.Join(m.root, "diffoscope"), true
	put, sent := w.o.Put, 0
	w.o.Put = func(name string, payload []byte, blobs ...[]byte) error {
		sent += len(blobs)
		return put(name, payload, blobs...)
	}
	res := w.one("irr")
	report := res.Outputs[0].References[0].Report
	text, err := os.ReadFile(report)
	if err != nil || !strings.HasPrefix(string(text), "the interfaces are:") {
		t.Fatalf("%q, %v; %q", text, err, w.said)
	}
	if fields := strings.Fields(strings.TrimPrefix(string(text), "the interfaces are:")); slices.ContainsFunc(fields, func(s string) bool { return s != "lo" && !strings.Contains(s, "tunl") && !strings.Contains(s, "sit") }) {
		t.Errorf("it has a network: %q", text)
	}
	sum := sha256.Sum256(text)
	for _, body := range w.bodies()[statement.KindDiff] {
		if d := body.(*statement.Diff); d.Report == nil || d.Report.Hex() != hex.EncodeToString(sum[:]) {
			t.Errorf("%+v", d)
		}
	}
	if sent != 2 || filepath.Dir(report) != filepath.Join(w.conf.Work, reportsDir) {
		t.Errorf("%d blobs; the report is %s", sent, report)
	}
	m.write("diffoscope", "#!/bin/sh\nexit 2\n", 0o755)
	w.conf.Again = true
	if res := w.one("irr"); res.Status != Differ || res.Outputs[0].References[0].Report != "" || len(w.said) == 0 {
		t.Errorf("a diffoscope that fails: %+v, %q", res, w.said)
	}
}

// A limit of memory is that of the builder's processes.
func TestMemoryIsLimited(t *testing.T) {
	m := newMachine(t)
	w := newWorld(t, m)
	w.conf.Memory = 256 << 20
	res := w.one("hungry")
	if res.Status != Failed || res.Failure.Reason != "exit" {
		t.Errorf("%+v %+v", res, res.Failure)
	}
	w.conf.Memory, w.conf.Again = 0, true
	if res := w.one("hungry"); res.Status != Missing {
		t.Errorf("without a limit: %+v %+v", res, res.Failure)
	}
}

func TestRecordsOfOthersAreNotBelieved(t *testing.T) {
	r := taker(t, t.TempDir())
	p, err := nix.ParseStorePath("/nix/store/0j66c4adj7fp5a53zcj7qm2ghbs9c1vi-app-2.3.drv")
	if err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{
		"of another derivation": `{"schema":1,"drv":"/nix/store/1j66c4adj7fp5a53zcj7qm2ghbs9c1vi-app-2.3.drv"}`,
		"of a later version":    `{"schema":2,"drv":"` + p.String() + `"}`,
		"half":                  `{"schema":1,`,
		"empty":                 ``,
	} {
		if err := os.WriteFile(r.recordFile(p), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		if rec, err := r.readRecord(p); err == nil || !strings.Contains(err.Error(), "move it away") {
			t.Errorf("%s: %+v, %v", name, rec, err)
		}
	}
}

func TestExitStatusesOfAReport(t *testing.T) {
	for _, tt := range []struct {
		statuses []Status
		want     int
	}{
		{[]Status{Agree, Fixed}, 0},
		{nil, 1},
		{[]Status{Fixed}, 1},
		{[]Status{Agree, Missing}, 1},
		{[]Status{Agree, Failed}, 1},
		{[]Status{Agree, Cannot}, 1},
		{[]Status{Agree, Cannot, Failed, Differ}, 3},
	} {
		r := new(Report)
		for _, s := range tt.statuses {
			r.Results = append(r.Results, &Result{Status: s})
		}
		if got := r.ExitStatus(); got != tt.want {
			t.Errorf("%v: %d, want %d", tt.statuses, got, tt.want)
		}
	}
}
