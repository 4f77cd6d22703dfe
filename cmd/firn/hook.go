package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"github.com/firn-log/firn/ingest/hook"
	"github.com/firn-log/firn/internal/cmdline"
	"github.com/firn-log/firn/internal/durable"
)

func newHookCmd(a *app) *cobra.Command {
	c := &cobra.Command{
		Use:   "hook",
		Short: "Set up Nix's post-build hook",
	}
	c.AddCommand(newHookInstallCmd(a))
	return c
}

// Where things are on a machine with systemd and stock Nix.
const (
	defaultNixConf = "/etc/nix/nix.conf"
	defaultSystemd = "/etc/systemd/system"
)

type hookFlags struct {
	hook, nixConf, spool, systemd, user string
	config                              string // of firn submit; "" for its default
	dryRun                              bool
}

func newHookInstallCmd(a *app) *cobra.Command {
	var f hookFlags
	c := &cobra.Command{
		Use:   "install",
		Short: "Let Nix call firn-hook after each build",
		Long: `Install makes the spool folder, puts firn-hook into nix.conf as post-build-hook,
and writes a systemd unit for ` + "`firn submit`" + `, which it does not start. What is there
already is left as it is; with --dry-run everything is only shown.

Nix runs the hook as root, after every build and before the build counts as done,
and only root can set it: a post-build-hook on the command line of a user who is
not in trusted-users is ignored. firn-hook writes one small file and exits 0; it
holds no key and opens no connection. Whoever is in trusted-users can put paths
into the store that were never built, and so make this machine claim them: firn
does not protect you from them.`,
		Example: `  firn hook install --dry-run
  sudo firn hook install --hook /usr/local/bin/firn-hook`,
		Args: cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error { return a.hookInstall(&f) },
	}
	flags := c.Flags()
	flags.BoolVar(&f.dryRun, "dry-run", false, "only show what would be done")
	flags.StringVar(&f.hook, "hook", "", "`PATH` of firn-hook (default: beside firn, or in $PATH)")
	flags.StringVar(&f.nixConf, "nix-conf", defaultNixConf, "Nix's configuration `FILE`")
	flags.StringVar(&f.spool, "spool", hook.DefaultSpool, "spool `FOLDER`")
	flags.StringVar(&f.systemd, "systemd", defaultSystemd, "`FOLDER` for the unit; \"\" for none")
	flags.StringVar(&f.user, "user", "firn-submit", "`USER` that firn submit runs as; its group can work on the spool")
	return c
}

// A step is one thing that install does. It is nil where nothing is to do.
type step struct {
	what string
	do   func() error
}

func (a *app) hookInstall(f *hookFlags) error {
	program, err := f.findHook()
	if err != nil {
		return err
	}
	owner, err := f.lookUser()
	if err != nil {
		return err
	}
	steps := []*step{f.spoolStep(owner)}
	conf, err := f.confStep(program)
	if err != nil {
		return err
	}
	steps = append(steps, conf, f.unitStep())
	todo := 0
	for _, s := range steps {
		if s == nil {
			continue
		}
		if s.do == nil {
			fmt.Fprintf(a.Stdout, "already: %s\n", s.what)
			continue
		}
		todo++
		if f.dryRun {
			fmt.Fprintf(a.Stdout, "would %s\n", s.what)
			continue
		}
		if err := s.do(); err != nil {
			return stepFailure(s, err)
		}
		fmt.Fprintf(a.Stdout, "done: %s\n", s.what)
	}
	if todo > 0 {
		a.nextSteps(f)
	}
	return nil
}

// stepFailure explains why a step could not be done.
func stepFailure(s *step, err error) error {
	var known *cmdline.Failure
	if errors.As(err, &known) {
		return err
	}
	hint := ""
	if errors.Is(err, fs.ErrPermission) {
		hint = "run it as root; --dry-run only shows what it would do"
	}
	return failf(exitFailed, hint, "to %s: %w", firstLineOf(s.what), err)
}

func firstLineOf(s string) string {
	line, _, _ := strings.Cut(s, "\n")
	return strings.TrimSuffix(line, ":")
}

func (a *app) nextSteps(f *hookFlags) {
	fmt.Fprintln(a.Stdout, "then:")
	fmt.Fprintln(a.Stdout, "  systemctl restart nix-daemon        # the daemon reads nix.conf when it starts")
	if f.spool != hook.DefaultSpool {
		fmt.Fprintf(a.Stdout, "  set FIRN_SPOOL=%s in the environment of the daemon\n", f.spool)
	}
	fmt.Fprintln(a.Stdout, "  write /etc/firn/submit.toml         # `firn submit --help`")
	if f.systemd != "" {
		fmt.Fprintln(a.Stdout, "  systemctl enable --now firn-submit")
	}
	fmt.Fprintln(a.Stdout, "  firn submit --status                # after a build")
}

// findHook finds the program and refuses one that others could replace: Nix runs
// it as root.
func (f *hookFlags) findHook() (string, error) {
	path := f.hook
	if path == "" {
		if self, err := os.Executable(); err == nil {
			path = filepath.Join(filepath.Dir(self), "firn-hook")
		}
		if _, err := os.Stat(path); err != nil {
			found, err := exec.LookPath("firn-hook")
			if err != nil {
				return "", failf(exitUsage, "name it with --hook", "firn-hook is neither beside firn nor in PATH")
			}
			path = found
		}
	}
	path, err := filepath.Abs(path)
	if err != nil {
		return "", failf(exitFailed, "", "%w", err)
	}
	st, err := os.Stat(path)
	switch {
	case err != nil:
		return "", failf(exitUsage, "name it with --hook", "there is no hook: %w", err)
	case !st.Mode().IsRegular() || st.Mode().Perm()&0o111 == 0:
		return "", failf(exitUsage, "chmod 755 it", "%s is not a program", path)
	case st.Mode().Perm()&0o022 != 0:
		return "", failf(exitUsage, "chmod 755 it", "%s can be replaced by others, and Nix would run it as root", path)
	case strings.ContainsAny(path, " \t\n#"):
		return "", failf(exitUsage, "put it elsewhere", "%q cannot be written in nix.conf", path)
	}
	return path, nil
}

// confStep puts the hook into nix.conf.
func (f *hookFlags) confStep(program string) (*step, error) {
	line := "post-build-hook = " + program
	if real, err := filepath.EvalSymlinks(f.nixConf); err == nil && strings.HasPrefix(real, "/nix/store/") {
		return nil, failf(exitUsage, "on NixOS, import deploy/nixos/module.nix and set services.firn.submit, or nix.settings.post-build-hook = \""+program+"\"", "%s is made by Nix itself", f.nixConf)
	}
	old, err := os.ReadFile(f.nixConf)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, failf(exitFailed, "", "%w", err)
	}
	for text := range strings.Lines(string(old)) {
		text, _, _ = strings.Cut(text, "#")
		name, value, _ := strings.Cut(text, "=")
		if strings.TrimSpace(name) != "post-build-hook" {
			continue
		}
		if strings.TrimSpace(value) == program {
			return &step{what: f.nixConf + " has " + line}, nil
		}
		return nil, failf(exitUsage, "Nix has one hook; write a small script that calls both, and name it with --hook",
			"%s has another post-build-hook: %s", f.nixConf, strings.TrimSpace(value))
	}
	mode := fs.FileMode(0o644)
	if st, err := os.Stat(f.nixConf); err == nil {
		mode = st.Mode().Perm()
	}
	text := string(old)
	if text != "" && !strings.HasSuffix(text, "\n") {
		text += "\n"
	}
	return &step{"add post-build-hook to " + f.nixConf + ":\n  " + line, func() error {
		if err := durable.MkdirAll(filepath.Dir(f.nixConf), 0o755); err != nil {
			return err
		}
		return durable.WriteFile(f.nixConf, []byte(text+line+"\n"), mode)
	}}, nil
}
