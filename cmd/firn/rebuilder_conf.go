package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"

	"github.com/pelletier/go-toml/v2"

	"github.com/firn-log/firn/ingest/hook"
	"github.com/firn-log/firn/ingest/submit"
	"github.com/firn-log/firn/internal/durable"
)

// readConfig makes paths absolute, and reads the submit.toml that is there.
func (s *setup) readConfig() error {
	for _, p := range []*string{&s.etc, &s.hook.nixConf, &s.hook.spool, &s.hook.systemd} {
		abs, err := filepath.Abs(*p)
		if err != nil {
			return failf(exitFailed, "", "%w", err)
		}
		if *p != "" {
			*p = abs
		}
	}
	path := s.file(submitFile)
	if path != submit.DefaultConfig {
		s.hook.config = path
	}
	s.key, s.policyPath = s.file(buildKeyFile), s.file(policyFile)
	conf, err := submit.LoadConfig(path, s.getenv)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err == nil && conf.Log != s.log {
		return failf(exitUsage, "a machine says what it builds in one log; move the folder "+s.etc+" away to begin with another", "%s names the log %s, and not %s", path, conf.Log, s.log)
	}
	if err != nil {
		return configFailure(path, err)
	}
	s.conf, s.key, s.policyPath, s.hook.spool = conf, conf.Key, conf.LogPolicy, conf.Spool
	s.key = strings.TrimPrefix(s.key, "file:")
	if conf.Origin != "" {
		s.origin = conf.Origin
	}
	return nil
}

// getenv is what firn submit sees, which gets the spool from its unit.
func (s *setup) getenv(name string) string {
	if name == "FIRN_SPOOL" {
		return s.hook.spool
	}
	return s.a.Getenv(name)
}

// configSteps writes submit.toml and the list of what is public.
func (s *setup) configSteps(context.Context) ([]*step, error) {
	path, public := s.file(submitFile), s.file(publicFile)
	if s.conf != nil {
		if !s.dryRun {
			if err := s.conf.Check(); err != nil {
				return nil, configFailure(path, err)
			}
		}
		return []*step{{what: "the configuration " + path}}, nil
	}
	var steps []*step
	if exists(public) {
		steps = append(steps, &step{what: "the list of what is public, " + public})
	} else {
		steps = append(steps, &step{"write the list of what is public, " + public + ", which is empty", func() error {
			return durable.WriteFile(public, []byte("# What may leave this machine: builds that one of these derivations needs.\n# One path of a .drv in each line.\n"), 0o644)
		}})
	}
	text, err := s.configText()
	if err != nil {
		return nil, err
	}
	return append(steps, &step{"write the configuration " + path + ":\n" + indent(text), func() error {
		if err := durable.WriteFile(path, []byte(text), 0o644); err != nil {
			return err
		}
		conf, err := submit.LoadConfig(path, s.getenv)
		if err == nil {
			err = conf.Check()
		}
		s.conf = conf
		return err
	}}), nil
}

func (s *setup) configText() (string, error) {
	conf := struct {
		Log        string   `toml:"log"`
		LogPolicy  string   `toml:"log-policy"`
		Origin     string   `toml:"origin,omitempty"`
		Key        string   `toml:"key"`
		PublicFrom []string `toml:"public-from"`
		Spool      string   `toml:"spool,omitempty"`
	}{s.log, policyFile, s.origin, "file:" + buildKeyFile, []string{publicFile}, ""}
	if s.hook.spool != hook.DefaultSpool {
		conf.Spool = s.hook.spool
	}
	b, err := toml.Marshal(&conf)
	if err != nil {
		return "", failf(exitFailed, "", "writing the configuration: %w", err)
	}
	return "# Made by `firn rebuilder setup`; `firn submit --help` lists what can stand here.\n" + string(b), nil
}

// hookSteps does what `firn hook install` does, and the folder of the service.
func (s *setup) hookSteps(context.Context) ([]*step, error) {
	program, err := s.hook.findHook()
	if err != nil {
		return nil, err
	}
	gid, err := s.hook.lookUser()
	if err != nil {
		return nil, err
	}
	conf, err := s.hook.confStep(program)
	if err != nil {
		return nil, err
	}
	if do := conf.do; do != nil {
		conf.do = func() error { s.restart = true; return do() }
	}
	steps := []*step{s.hook.spoolStep(gid), conf, s.hook.unitStep()}
	for _, name := range s.with {
		more, err := s.serviceUnits(name)
		if err != nil {
			return nil, err
		}
		steps = append(steps, more...)
	}
	if s.asUser() {
		steps = append(steps, s.stateStep())
	}
	return steps, nil
}

// asUser reports whether firn submit runs as somebody else than who runs this.
func (s *setup) asUser() bool { return os.Geteuid() == 0 && s.hook.user != "root" }

// stateHome is where the unit of firn submit keeps what is remembered.
const stateHome = "/var/lib"

// stateStep makes the folder that systemd would make when the service starts,
// because the test build is sent before.
func (s *setup) stateStep() *step {
	dir := filepath.Join(stateHome, "firn")
	if exists(dir) {
		return &step{what: "the folder " + dir}
	}
	return &step{"make the folder " + dir + " for " + s.hook.user, func() error {
		uid, gid, err := ids(s.hook.user)
		if err == nil {
			err = durable.MkdirAll(dir, 0o755)
		}
		if err != nil {
			return err
		}
		return give(dir, uid, gid, 0o755)
	}}
}

// managed reports whether systemd runs this machine and reads the units that are
// written.
func (s *setup) managed() bool {
	return s.hook.systemd == defaultSystemd && os.Geteuid() == 0 && exists("/run/systemd/system")
}

func systemctl(args ...string) error {
	out, err := exec.Command("systemctl", args...).CombinedOutput()
	if err != nil {
		return fmt.Errorf("systemctl %s: %w: %s", strings.Join(args, " "), err, bytes.TrimSpace(out))
	}
	return nil
}

func active(unit string) bool { return systemctl("is-active", "--quiet", unit) == nil }

// daemonSteps lets the daemon read nix.conf. Its builds go on: systemd ends only
// the daemon itself.
func (s *setup) daemonSteps(context.Context) ([]*step, error) {
	if s.dryRun || !s.restart || !s.managed() || !active("nix-daemon.service") {
		return nil, nil
	}
	return []*step{{"restart nix-daemon, which reads nix.conf when it starts", func() error {
		s.restart = false
		return systemctl("restart", "nix-daemon.service")
	}}}, nil
}

// startSteps starts the service, once a test build has shown that it works.
func (s *setup) startSteps(context.Context) ([]*step, error) {
	if !s.managed() {
		return nil, nil
	}
	if active("firn-submit.service") {
		return []*step{{what: "firn-submit.service runs"}}, nil
	}
	return []*step{{"start firn-submit.service, now and with the machine", func() error {
		if err := systemctl("daemon-reload"); err != nil {
			return err
		}
		return systemctl("enable", "--now", "firn-submit.service")
	}}}, nil
}

// serviceHints says what of the services is left to whoever runs this.
func (s *setup) serviceHints() {
	w := s.a.Stdout
	if s.restart && !s.managed() {
		fmt.Fprintln(w, "  restart the Nix daemon, if there is one: it reads nix.conf when it starts")
	}
	if s.hook.spool != hook.DefaultSpool {
		fmt.Fprintf(w, "  set FIRN_SPOOL=%s where builds run: in the environment of the daemon, or without one in yours\n", s.hook.spool)
	}
	switch {
	case s.managed():
	case s.hook.systemd != "":
		fmt.Fprintln(w, "  systemctl daemon-reload && systemctl enable --now firn-submit")
	default:
		fmt.Fprintf(w, "  let this run all the time, as %s: firn submit --config %s\n", s.hook.user, s.file(submitFile))
	}
	for _, name := range s.with {
		fmt.Fprintf(w, "  write %s (`firn %s --help`), then: systemctl enable --now firn-%s.timer\n",
			s.file(name+".toml"), map[string]string{"import": "import cache", "rebuild": "rebuild"}[name], name)
	}
}

// findBuilders finds the machines that build for this one, and says so.
func (s *setup) findBuilders() {
	conf := nixSettings(s.hook.nixConf, 0)
	builders, set := conf["builders"]
	if !set {
		builders = []string{"@/etc/nix/machines"} // Nix's default
	}
	builders = append(slices.Clone(builders), conf["extra-builders"]...)
	for _, line := range builderLines(strings.Join(builders, " ")) {
		if f := strings.Fields(line); len(f) > 0 && !slices.Contains(s.out.Builders, f[0]) {
			s.out.Builders = append(s.out.Builders, f[0])
		}
	}
	if len(s.out.Builders) > 0 {
		s.warn("what %s builds for this machine is not claimed here, but there: firn has to run on each of them", strings.Join(s.out.Builders, ", "))
	}
}

// builderLines splits the value of Nix's setting builders, in which @FILE stands
// for the lines of a file.
func builderLines(value string) []string {
	var lines []string
	for part := range strings.FieldsFuncSeq(value, func(r rune) bool { return r == ';' || r == '\n' }) {
		part = strings.TrimSpace(part)
		file, ok := strings.CutPrefix(part, "@")
		if !ok {
			lines = append(lines, part)
			continue
		}
		b, err := os.ReadFile(file)
		if err != nil {
			continue // as Nix does
		}
		for line := range strings.Lines(string(b)) {
			line, _, _ = strings.Cut(line, "#")
			lines = append(lines, builderLines(line)...)
		}
	}
	return lines
}

// nixSettings reads a nix.conf and what it includes; a later line of a name
// replaces an earlier one. What cannot be read is left out.
func nixSettings(path string, depth int) map[string][]string {
	settings := make(map[string][]string)
	b, err := os.ReadFile(path)
	if err != nil || depth > 8 {
		return settings
	}
	for line := range strings.Lines(string(b)) {
		line, _, _ = strings.Cut(line, "#")
		words := strings.Fields(line)
		switch {
		case len(words) == 2 && (words[0] == "include" || words[0] == "!include"):
			file := words[1]
			if !filepath.IsAbs(file) {
				file = filepath.Join(filepath.Dir(path), file)
			}
			for name, value := range nixSettings(file, depth+1) {
				settings[name] = value
			}
		case len(words) >= 2 && words[1] == "=":
			settings[words[0]] = words[2:]
		}
	}
	return settings
}
