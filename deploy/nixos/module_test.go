// Package nixos holds the NixOS module of firn's services; its tests evaluate it with
// Nix, against a stub of the module system, and let the programs themselves
// check what it renders.
package nixos

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/firn-log/firn/internal/testreq"
)

// evaluated is what stub.nix returns.
type evaluated struct {
	Options []struct {
		Name, Type, Description string
	}
	Config struct {
		Systemd struct {
			Services map[string]struct {
				Description   string
				ServiceConfig map[string]any
			}
			Timers   map[string]struct{ TimerConfig map[string]any }
			Sockets  map[string]struct{ SocketConfig map[string]any }
			Tmpfiles struct{ Rules []string }
		}
		Nix struct {
			Settings map[string]any
		}
		Environment struct {
			Etc map[string]struct{ Text string }
		}
	}
}

// eval evaluates the module with services.firn = settings, an expression. What is
// rendered goes into a store of the test's own.
func eval(t *testing.T, settings string) (*evaluated, error) {
	t.Helper()
	nix := testreq.Command(t, "nix", "nix-instantiate")
	dir, err := filepath.Abs(".")
	if err != nil {
		t.Fatal(err)
	}
	tmp := t.TempDir()
	cmd := exec.Command(nix, "--eval", "--read-write-mode", "--strict", "--json", "--expr",
		fmt.Sprintf("(import %s/stub.nix).eval %s/module.nix %s", dir, dir, settings))
	cmd.Env = append(os.Environ(), "NIX_STORE_DIR="+tmp+"/store", "NIX_STATE_DIR="+tmp+"/state", "NIX_LOG_DIR="+tmp+"/log", "NIX_CONF_DIR="+tmp)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("%w\n%s", err, stderr.Bytes())
	}
	// Nix 2.8 writes control characters in strings as they are.
	var e evaluated
	if err := json.Unmarshal(bytes.ReplaceAll(out, []byte("\n"), []byte(`\n`)), &e); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	return &e, nil
}

func mustEval(t *testing.T, settings string) *evaluated {
	t.Helper()
	e, err := eval(t, settings)
	if err != nil {
		t.Fatal(err)
	}
	return e
}

func TestEveryOptionIsDocumented(t *testing.T) {
	e := mustEval(t, `{ }`) // the stub refuses options without a description, type, or default or example
	if len(e.Options) < 20 {
		t.Errorf("only %d options", len(e.Options))
	}
	for _, o := range e.Options {
		if !strings.HasSuffix(o.Description, ".") || len(o.Description) < 30 {
			t.Errorf("%s: %q is no description", o.Name, o.Description)
		}
	}
	if n := len(e.Config.Systemd.Services); n != 0 {
		t.Errorf("%d services without being asked for", n)
	}
}

func TestWhatIsNoOptionIsRefused(t *testing.T) {
	for settings, want := range map[string]string{
		`{ logs.enable = true; }`:                                                "there is no option services.firn.logs",
		`{ log.enable = "yes"; package = "/p"; }`:                                "services.firn.log.enable is no boolean",
		`{ log.enable = true; }`:                                                 "services.firn.package is used and not set",
		`{ package = "/p"; rebuild.enable = true; }`:                             "services.firn.rebuild needs services.firn.submit",
		`{ package = "/p"; log = { enable = true; keyFile = "/k"; }; }`:          "services.firn.log.keyFile needs services.firn.log.settings",
		`{ package = "/p"; log = { enable = true; settings.x = [ (x: x) ]; }; }`: "x is a value that TOML does not have",
	} {
		if _, err := eval(t, settings); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: want %q, got %v", settings, want, err)
		}
	}
}

// The units of the module say what those in deploy/systemd say, so that neither is
// hardened less than the other.
func TestUnitsAreThoseOfSystemd(t *testing.T) {
	e := mustEval(t, `{ package = "/usr"; log.enable = true; witness.enable = true; auditor.enable = true; peer.enable = true; substituter.enable = true; tracker.enable = true;
		submit.enable = true; import.enable = true; import-hydra.enable = true; rebuild.enable = true; }`)
	for name, service := range e.Config.Systemd.Services {
		unit, err := os.ReadFile("../systemd/" + name + ".service")
		if err != nil {
			t.Error(err)
			continue
		}
		have := make(map[string]bool)
		for key, v := range service.ServiceConfig {
			for _, value := range values(v) {
				have[key+"="+value] = true
			}
		}
		for line := range strings.Lines(string(unit)) {
			line = strings.TrimSpace(line)
			key, value, ok := strings.Cut(line, "=")
			if !ok || strings.HasPrefix(line, "#") || !hardening[key] {
				continue
			}
			if key == "RestrictAddressFamilies" {
				for _, family := range strings.Fields(value) {
					if !have[key+"="+family] {
						t.Errorf("%s has no %s=%s", name, key, family)
					}
				}
				continue
			}
			if !have[line] {
				t.Errorf("%s: the unit in deploy/systemd has %s, and the module not", name, line)
			}
		}
	}
	for name := range map[string]bool{"firn-import": true, "firn-import-hydra": true, "firn-rebuild": true} {
		if e.Config.Systemd.Timers[name].TimerConfig["OnCalendar"] == nil {
			t.Errorf("%s has no timer", name)
		}
	}
	if got := e.Config.Nix.Settings["post-build-hook"]; got != "/usr/bin/firn-hook" {
		t.Errorf("the hook is %q", got)
	}
	if rules := strings.Join(e.Config.Systemd.Tmpfiles.Rules, "\n"); !strings.Contains(rules, "d /var/spool/firn/pending 2770 root firn-submit -") {
		t.Errorf("no spool in %s", rules)
	}
}

// hardening are the settings of units that are compared.
var hardening = func() map[string]bool {
	m := make(map[string]bool)
	for _, name := range strings.Fields(`NoNewPrivileges ProtectSystem ProtectHome PrivateTmp PrivateDevices PrivateUsers ProtectClock ProtectControlGroups
		ProtectHostname ProtectKernelLogs ProtectKernelModules ProtectKernelTunables ProtectProc ProcSubset RestrictAddressFamilies RestrictNamespaces
		RestrictRealtime RestrictSUIDSGID LockPersonality MemoryDenyWriteExecute RemoveIPC CapabilityBoundingSet AmbientCapabilities SystemCallArchitectures
		SystemCallFilter UMask Restart RestartSec MemoryMax User Group Type Nice KillMode OOMPolicy TimeoutStartSec LimitNOFILE`) {
		m[name] = true
	}
	return m
}()

// values returns what a setting of a unit says, a list line by line.
func values(v any) []string {
	switch v := v.(type) {
	case []any:
		var out []string
		for _, x := range v {
			out = append(out, values(x)...)
		}
		return out
	case bool, float64:
		return []string{fmt.Sprint(v)}
	}
	return []string{fmt.Sprint(v)}
}

var rendered = regexp.MustCompile(`--config (\S+)`)

// check runs the ExecStartPre of a service with the programs in bin. Systemd
// refuses to start a service of which it fails.
func check(t *testing.T, e *evaluated, name, bin string) (string, error) {
	t.Helper()
	line, ok := e.Config.Systemd.Services[name].ServiceConfig["ExecStartPre"].(string)
	if !ok {
		t.Fatalf("%s has no ExecStartPre", name)
	}
	words := strings.Fields(strings.Replace(line, "/pkg/bin", bin, 1))
	cmd := exec.Command(words[0], words[1:]...)
	cmd.Env = append(os.Environ(), "HOME="+t.TempDir(), "XDG_STATE_HOME="+t.TempDir())
	out, err := cmd.CombinedOutput()
	return string(out), err
}

func TestProgramsAcceptWhatIsRendered(t *testing.T) {
	testreq.Command(t, "nix", "nix-instantiate")
	bin := t.TempDir()
	build := exec.Command("go", "build", "-o", bin+"/", "./cmd/firn", "./cmd/firn-log", "./cmd/firn-witness", "./cmd/firn-auditor", "./cmd/firn-peer", "./cmd/firn-substituter", "./cmd/firn-tracker")
	build.Dir = testreq.Root()
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("go build: %v\n%s", err, out)
	}
	run := func(program string, args ...string) string {
		t.Helper()
		out, err := exec.Command(filepath.Join(bin, program), args...).Output()
		if err != nil {
			t.Fatalf("%s %v: %v", program, args, err)
		}
		return string(out)
	}
	const cacheKey = "cache.example-1:6NCHdD59X431o0gWypbMrAURkbJ16ZPMQFGspcDShjY="
	dir := t.TempDir()
	under := func(name string) string { return filepath.Join(dir, name) }
	write := func(name, text string) string {
		t.Helper()
		if err := os.WriteFile(under(name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return under(name)
	}
	vkey := regexp.MustCompile(`(?m)^log\.example/\S+$`).FindString(run("firn-log", "init", "--name", "log.example", under("log")))
	origin, _, _ := strings.Cut(vkey, "+")
	policy := write("log.policy", "log "+vkey+" http://127.0.0.1:1\nquorum none\n")
	run("firn-witness", "init", "--name", "w.example/w", "--log", vkey, under("witness"))
	run("firn-auditor", "init", "--name", "a.example", "--log", vkey, "--url", "http://127.0.0.1:1", under("auditor"))
	run("firn-peer", "init", "--policy", policy, under("peer"))
	firnPolicy := write("firn.policy", "log main file log.policy\noperator a key "+strings.Repeat("0b", 32)+"\ngroup g 1 a\nupstream http://127.0.0.1:2 key "+cacheKey+"\nrule default need g\n")
	run("firn-substituter", "init", "--policy", firnPolicy, under("substituter"))
	run("firn", "key", "new", under("build"))
	write("roots", "")
	write("public", "")
	e := mustEval(t, fmt.Sprintf(`{
		package = "/pkg";
		log = { enable = true; directory = "%[1]s/log"; settings = {
			origin = "%[2]s"; key = "%[1]s/log/log.key"; listen = "127.0.0.1:8470"; checkpoint-interval = "200ms";
			admission = { mode = "vouched"; vouch-threshold = 2; operator-keys = [ ]; cache-keys = [ "%[3]s" ]; unvouched-statements-per-day = 2000;
				unvouched-bytes-per-day = 8388608; key-statements-per-day = 1000000; key-bytes-per-day = 1073741824; claims-per-subject = 32; };
		}; };
		witness = { enable = true; directory = "%[1]s/witness"; };
		auditor = { enable = true; directory = "%[1]s/auditor"; };
		peer = { enable = true; directory = "%[1]s/peer"; };
		substituter = { enable = true; directory = "%[1]s/substituter"; keyFile = null;
			settings = { policy = "%[1]s/firn.policy"; listen = "127.0.0.1:8475"; }; publicKey = "this-machine-1:x"; };
		tracker = { enable = true; directory = "%[1]s/tracker"; settings = { policy = "%[1]s/firn.policy"; title = "ours"; random = [ "tests.*" ];
			database = "postgres:///firn?host=/run/postgresql"; publish = { key = "file:%[1]s/build"; every = "6h"; }; }; };
		import = { enable = true; settings = {
			log = "http://127.0.0.1:1"; log-policy = "%[1]s/log.policy";
			cache = [ { url = "http://127.0.0.1:2"; trusted-keys = [ "%[3]s" ]; roots = [ "%[1]s/roots" ]; rate = 2.5; check-nars = false; } ];
		}; };
		import-hydra = { enable = true; settings = { key = "file:%[1]s/build";
			log = "http://127.0.0.1:1"; log-policy = "%[1]s/log.policy"; cache = "http://127.0.0.1:2"; trusted-keys = [ "%[3]s" ];
			jobset = [ { url = "http://127.0.0.1:3"; jobset = "a/b"; max-evals = 3; } { url = "http://127.0.0.1:3"; jobset = "a/c"; } ];
		}; };
		rebuild = { enable = true; settings = { log = "http://127.0.0.1:1"; log-policy = "%[1]s/log.policy"; spool = "/var/spool/firn"; from-log = true;
			work-from = [ "%[4]s" ]; }; };
		submit = { enable = true; keyFile = "%[1]s/build"; settings = {
			log = "http://127.0.0.1:1"; log-policy = "%[1]s/log.policy"; public-from = [ "%[1]s/public" ];
			evidence = { command = [ "/bin/true" "a \"quoted\" word" ]; };
		}; };
	}`, dir, origin, cacheKey, strings.Repeat("0a", 32)))
	for _, name := range []string{"firn-log", "firn-witness", "firn-auditor", "firn-peer", "firn-import", "firn-import-hydra", "firn-rebuild", "firn-substituter", "firn-tracker"} {
		if out, err := check(t, e, name, bin); err != nil {
			t.Errorf("%s does not accept what is rendered: %v\n%s", name, err, out)
		}
	}

	// Nix trusts the substituter alone, which listens where it asks.
	settings := e.Config.Nix.Settings
	if fmt.Sprint(settings["substituters"], settings["trusted-public-keys"], settings["narinfo-cache-negative-ttl"]) != "[http://127.0.0.1:8475] [this-machine-1:x] 0" ||
		e.Config.Systemd.Sockets["firn-substituter"].SocketConfig["ListenStream"] != "127.0.0.1:8475" {
		t.Errorf("Nix has %v", settings)
	}

	// The submitter's configuration is /etc/firn/submit.toml, and its key a credential.
	text := e.Config.Environment.Etc["firn/submit.toml"].Text
	if !strings.Contains(text, `key = "file:/run/credentials/firn-submit.service/build.key"`) {
		t.Errorf("the key is not the credential in\n%s", text)
	}
	conf := write("submit.toml", strings.Replace(text, "/run/credentials/firn-submit.service/build.key", under("build"), 1))
	if out, err := exec.Command(bin+"/firn", "submit", "--check", "--config", conf).CombinedOutput(); err != nil {
		t.Errorf("firn submit does not accept what is rendered: %v\n%s\n%s", err, out, text)
	}

	// A mistake in the settings is found before the service starts.
	e = mustEval(t, fmt.Sprintf(`{ package = "/pkg"; log = { enable = true; directory = "%s/log"; settings = { orign = "x"; }; }; }`, dir))
	out, err := check(t, e, "firn-log", bin)
	if err == nil || !strings.Contains(out, "orign") {
		t.Errorf("a setting that firn-log does not know passes: %v\n%s", err, out)
	}
	if line := e.Config.Systemd.Services["firn-log"].ServiceConfig["ExecStart"].(string); !rendered.MatchString(line) {
		t.Errorf("%q names no configuration", line)
	}
}
