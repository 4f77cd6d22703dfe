package rebuild

import (
	"bytes"
	"errors"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/firn-log/firn/internal/durable"
	"github.com/firn-log/firn/internal/nix"
	"github.com/firn-log/firn/log/statement"
)

// A killed rebuilder takes its builds with it, and the next one goes on.
func TestKilledAtAnyMomentItGoesOn(t *testing.T) {
	m := newMachine(t)
	m.build("lib")
	w := newWorld(t, m)
	lib, slow := m.drv("lib"), m.drv("slow")
	cmd := w.helper(lib, slow)
	var said bytes.Buffer
	cmd.Stderr = &said
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	// The builder of slow says something when it runs, and then never ends.
	log := filepath.Join(w.conf.Work, logsDir, slow.Base()+".log")
	for {
		if b, _ := os.ReadFile(log); bytes.Contains(b, []byte("here")) {
			break
		}
		if exited(cmd) {
			t.Fatalf("it ended by itself: %s", said.String())
		}
	}
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait()
	for len(processesIn(t, filepath.Join(w.conf.Work, roomsDir))) > 0 {
		// They end when the kernel has got to it; if they did not, the test would not either.
	}
	before, err := os.ReadDir(filepath.Join(w.conf.Work, statementsDir))
	if err != nil || len(before) != 1 {
		t.Fatalf("%d statements after the first derivation (%v)", len(before), err)
	}

	w.o.Put = nil
	report, err := w.run(lib)
	if err != nil || report.Results[0].Status != Agree || !report.Results[0].Before {
		t.Fatalf("%v %+v", err, report.Results[0])
	}
	after, _ := os.ReadDir(filepath.Join(w.conf.Work, statementsDir))
	if len(after) != 1 || after[0].Name() != before[0].Name() {
		t.Errorf("statements %v, then %v", before, after)
	}
	if rooms, _ := os.ReadDir(filepath.Join(w.conf.Work, roomsDir)); len(rooms) != 0 {
		t.Errorf("rooms are left: %v", rooms)
	}
}

// exited reports whether a process has ended, without waiting for it.
func exited(cmd *exec.Cmd) bool {
	var info unix.Siginfo
	err := unix.Waitid(unix.P_PID, cmd.Process.Pid, &info, unix.WEXITED|unix.WNOHANG|unix.WNOWAIT, nil)
	return err != nil || info.Signo != 0
}

// processesIn returns the processes whose environment names a file below dir.
func processesIn(t *testing.T, dir string) []string {
	t.Helper()
	files, err := filepath.Glob("/proc/[0-9]*/environ")
	if err != nil {
		t.Fatal(err)
	}
	var found []string
	for _, f := range files {
		if b, _ := os.ReadFile(f); bytes.Contains(b, []byte(dir)) {
			found = append(found, f)
		}
	}
	return found
}

// What was found while there was nobody to send it is sent when there is.
func TestStatementsWaitForASpool(t *testing.T) {
	m := newMachine(t)
	m.build("lib")
	w := newWorld(t, m)
	put := w.o.Put
	w.o.Put = nil
	w.one("lib")
	kept := filepath.Join(w.conf.Work, statementsDir)
	if files, err := os.ReadDir(kept); err != nil || len(files) != 1 {
		t.Fatalf("%d statements are kept: %v", len(files), err)
	}
	w.o.Put = put
	if res := w.one("lib"); !res.Before || len(w.puts) != 1 {
		t.Errorf("%+v, %d statements", res, len(w.puts))
	}
	if files, _ := os.ReadDir(kept); len(files) != 0 {
		t.Errorf("%d are still kept", len(files))
	}
	clear(w.puts)
	if w.one("lib"); len(w.puts) != 0 {
		t.Errorf("%d statements were handed over again", len(w.puts))
	}
}

// A crash between the record and the handing over hands over again.
func TestStatementsAreHandedOverUntilTheyAre(t *testing.T) {
	m := newMachine(t)
	m.build("lib")
	w := newWorld(t, m)
	put := w.o.Put
	var name string
	w.o.Put = func(n string, _ []byte, _ ...[]byte) error { name = n; return errors.New("the spool is full") }
	if _, err := w.run(m.drv("lib")); err == nil || !strings.Contains(err.Error(), "the spool is full") {
		t.Fatalf("%v", err)
	}
	w.o.Put = put
	res := w.one("lib")
	if !res.Before || len(w.puts) != 1 || w.puts[name] == nil {
		t.Errorf("%+v, %d statements", res, len(w.puts))
	}
	w.one("lib")
	if len(w.puts) != 1 {
		t.Errorf("%d statements", len(w.puts))
	}
}

func TestOneRebuilderWorksInAFolder(t *testing.T) {
	m := newMachine(t)
	m.build("lib")
	w := newWorld(t, m)
	r, err := Open(t.Context(), w.conf, w.o)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	var locked *durable.LockedError
	if _, err := Open(t.Context(), w.conf, w.o); !errors.As(err, &locked) {
		t.Errorf("%v", err)
	}
}

// A full disk ends the run, and nothing is claimed about the build that it met.
func TestAFullDiskEndsTheRun(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("only root can make a small file system")
	}
	m := newMachine(t)
	m.build("lib")
	w := newWorld(t, m)
	if err := os.MkdirAll(w.conf.Work, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Mount("tmpfs", w.conf.Work, "tmpfs", 0, "size=64m"); err != nil {
		t.Skipf("mounting a small file system: %v", err)
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(w.conf.Work, syscall.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
	w.conf.MinFree = 16 << 20
	report, err := w.run(m.drv("big"), m.drv("lib"))
	if !errors.Is(err, ErrDisk) || len(report.Results) != 0 || len(w.puts) != 0 {
		t.Errorf("%v, %+v, %d statements", err, report.Results, len(w.puts))
	}
	if rooms, _ := os.ReadDir(filepath.Join(w.conf.Work, roomsDir)); len(rooms) != 0 {
		t.Errorf("rooms are left: %v", rooms)
	}
	// Faster than anybody looks.
	w.o.watch = time.Hour
	if report, err := w.run(m.drv("flood")); len(w.puts) != 0 || err == nil && report.Results[0].Status != Cannot {
		t.Errorf("%v, %+v, %d statements", err, report.Results[0], len(w.puts))
	}
	if res := w.one("lib"); res.Status != Agree {
		t.Errorf("what fits: %+v", res)
	}
	w.conf.MinFree, w.conf.MaxDisk, w.conf.Again = 1<<20, 4096, true
	if _, err := w.run(m.drv("lib")); !errors.Is(err, ErrDisk) {
		t.Errorf("more than --max-disk: %v", err)
	}
}

// A user who owns nothing of the store rebuilds what root has.
func TestAnOrdinaryUserRebuilds(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("the other tests run as an ordinary user already")
	}
	m := newMachine(t)
	m.build("app", "irr")
	w := newWorld(t, m)
	const uid = 54321
	for dir := m.root; dir != "/tmp" && dir != "/"; dir = filepath.Dir(dir) {
		if err := os.Chmod(dir, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if err := errors.Join(os.MkdirAll(w.conf.Work, 0o755), os.Chown(w.conf.Work, uid, uid)); err != nil {
		t.Fatal(err)
	}
	cmd := w.helper(m.drv("app"), m.drv("irr"), m.drv("evil"))
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uid, Gid: uid}}
	var said strings.Builder
	cmd.Stderr = &said
	out, err := cmd.Output()
	if err != nil && strings.Contains(said.String(), "may not make namespaces") {
		t.Skip("users may not make namespaces here")
	}
	want := "app-2.3 agree \napp-2.3 out agree\nirr-1 differ \nirr-1 doc differ\nirr-1 man differ\nirr-1 out agree\nevil missing \nevil out missing\n"
	if err != nil || string(out) != want {
		t.Errorf("%v\n%s\n%s", err, out, said.String())
	}
}

// Inputs that are not in the store come from a cache, and outputs are compared with one.
func TestInputsComeFromACacheAndOutputsAreComparedWithOne(t *testing.T) {
	builder := newMachine(t)
	builder.build("app", "irr")
	builder.run("nix-store --generate-binary-cache-key test-1 ../sec ../pub; nix copy --to 'file://" + builder.root + "/cache?compression=xz&secret-key=" + builder.root + "/sec' " +
		"$(nix-build pkgs.nix --no-out-link -A app -A irr -A irr.doc -A irr.man -A lib.dev) $(nix-store -q --references $(nix-instantiate pkgs.nix -A app) | grep -v drv)")
	key, err := os.ReadFile(filepath.Join(builder.root, "pub"))
	if err != nil {
		t.Fatal(err)
	}
	asked := make(map[string]bool)
	files := http.FileServer(http.Dir(filepath.Join(builder.root, "cache")))
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked[r.URL.Path] = true
		files.ServeHTTP(w, r)
	}))
	defer server.Close()

	m := newMachine(t)
	w := newWorld(t, m)
	w.conf.Substituters, w.conf.TrustedKeys, w.conf.Against = []string{server.URL}, []string{strings.TrimSpace(string(key))}, server.URL
	for attr, want := range map[string]Status{"app": Agree, "irr": Differ, "evil": Missing} {
		res := w.one(attr)
		if res.Status != want {
			t.Errorf("%s: %+v", attr, res)
		}
		if attr == "irr" && (len(res.Outputs) != 3 || res.Outputs[2].Status != Agree || len(res.Outputs[1].References[0].Files) != 2) {
			t.Errorf("irr: %+v\n%q", res.Outputs, w.said)
		}
	}
	for _, body := range w.bodies()[statement.KindBuild] {
		b := body.(*statement.Build)
		if b.Inputs.Built != 0 || b.DrvPath.Name() == "app-2.3.drv" && b.Inputs.Substituted != 2 {
			t.Errorf("%s: %+v", b.DrvPath, b.Inputs)
		}
	}
	if entries, _ := os.ReadDir(filepath.Join(m.root, "nix/store")); hasOutput(entries) {
		t.Error("something was substituted into the machine's own store")
	}

	// Without the key nothing that the cache has is an input.
	w.conf.TrustedKeys, w.conf.Again = nil, true
	w.conf.Work = filepath.Join(m.root, "work2")
	if res := w.one("app"); res.Status != Cannot || !strings.Contains(res.Why, "neither in the store nor to be had") {
		t.Errorf("without the key: %+v", res)
	}
}

func hasOutput(entries []os.DirEntry) bool {
	for _, e := range entries {
		if strings.HasSuffix(e.Name(), "-lib-1.0") {
			return true
		}
	}
	return false
}

func TestNarInfosOfOthersAreReadWithCare(t *testing.T) {
	p, err := nix.ParseStorePath("/nix/store/0j66c4adj7fp5a53zcj7qm2ghbs9c1vi-app-2.3")
	if err != nil {
		t.Fatal(err)
	}
	about := func(path string) string {
		return "StorePath: " + path + "\nURL: nar/x\nNarHash: sha256:" + strings.Repeat("0", 52) + "\nNarSize: 1\nReferences: \n"
	}
	for name, tt := range map[string]struct {
		status int
		body   string
		want   string // "" is no answer and no error
	}{
		"it has nothing":     {404, "", ""},
		"a page":             {200, "<html>", "web page"},
		"of another path":    {200, about("/nix/store/1j66c4adj7fp5a53zcj7qm2ghbs9c1vi-app-2.3"), "the cache answered about 1j66c4"},
		"under another name": {200, about("/nix/store/0j66c4adj7fp5a53zcj7qm2ghbs9c1vi-app-2.4"), "is about /nix/store/0j66c4"},
		"endless":            {200, strings.Repeat("StorePath: x\n", 1<<19), "narinfo"},
	} {
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
			if req.URL.Path == "/nix-cache-info" {
				return
			}
			w.WriteHeader(tt.status)
			_, _ = w.Write([]byte(tt.body))
		}))
		r := &Rebuilder{conf: Config{Against: server.URL + "?priority=1"}} // a setting for Nix
		info, err := r.fetchNarInfo(t.Context(), p)
		server.Close()
		if info != nil || (err == nil) != (tt.want == "") || err != nil && !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: %v, %v", name, info, err)
		}
	}
	r := &Rebuilder{conf: Config{Against: "file://" + t.TempDir()}}
	if info, err := r.fetchNarInfo(t.Context(), p); info != nil || err == nil || !strings.Contains(err.Error(), "is not a binary cache") {
		t.Errorf("an empty folder: %v, %v", info, err)
	}
}
