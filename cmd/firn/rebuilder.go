package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/user"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"

	"github.com/firn-log/firn/ingest/hook"
	"github.com/firn-log/firn/ingest/submit"
	"github.com/firn-log/firn/log"
	"github.com/firn-log/firn/log/policy"
)

func newRebuilderCmd(a *app) *cobra.Command {
	c := &cobra.Command{
		Use:   "rebuilder",
		Short: "Make this machine one that says what it builds",
	}
	c.AddCommand(newRebuilderSetupCmd(a))
	return c
}

type setupFlags struct {
	hook   hookFlags
	log    string
	origin string
	policy string
	vkey   string

	identity            string
	login               bool
	name, contact, page string

	etc    string
	with   []string
	dryRun bool
	json   bool
	wait   time.Duration
}

func newRebuilderSetupCmd(a *app) *cobra.Command {
	var f setupFlags
	c := &cobra.Command{
		Use:   "setup --log URL --log-policy FILE --name NAME --contact ADDRESS",
		Short: "Set this machine up, and show the receipt of a test build",
		Long: `Setup makes this machine a rebuilder: it says, signed, what it builds, and a log
keeps it. In this order it

  makes the build key of this machine, and an identity key unless --identity
  names yours; introduces you and the build key to the log; makes the spool, puts
  firn-hook into nix.conf and writes a systemd unit for ` + "`firn submit`" + `; writes
  submit.toml; builds one small derivation with Nix, sends what is claimed about
  it, and shows the log's receipt.

What is there already is left as it is, so run it again after an error, or to see
what is there. With --dry-run everything is only shown, and nobody is asked.

Whose checkpoints of the log are believed you say: --log-policy names a C2SP
tlog-policy file that you have from somebody you trust, with the log's key and
its witnesses; --vkey gives the log's key alone, which makes a policy that
believes the log without a witness. Nothing that the log itself says can stand in
for either.

The identity key says who you are and is not needed on this machine once setup is
done: take it away then, to where you keep such keys.

Nothing leaves this machine but what the test build claims, and later what the
file "public" beside submit.toml names: one .drv path in each line, each with all
that it needs. Builds that other machines do for this one (builders in nix.conf)
are claimed there: run setup on them too.

` + keySpecHelp,
		Example: `  sudo firn rebuilder setup --log https://log.example --log-policy log.policy \
      --name alice --contact alice@example.org
  sudo firn rebuilder setup --log https://log.example --log-policy log.policy \
      --identity agent:firn:identity`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			if !c.Flags().Changed("user") && os.Geteuid() != 0 {
				if u, err := user.Current(); err == nil {
					f.hook.user = u.Username // there is nobody else to run it as
				}
			}
			return a.rebuilderSetup(c.Context(), &f)
		},
	}
	flags := c.Flags()
	flags.StringVar(&f.log, "log", "", "`URL` of the log")
	flags.StringVar(&f.origin, "origin", "", "which log, if the policy has several")
	flags.StringVar(&f.policy, "log-policy", "", "`FILE` in the form of C2SP tlog-policy: whose checkpoints of the log are believed")
	flags.StringVar(&f.vkey, "vkey", "", "`KEY` of the log (its verifier key), to believe it alone, without witnesses")
	flags.StringVar(&f.identity, "identity", "", "your identity `KEY` (default: one is made, and is to be taken away)")
	flags.BoolVar(&f.login, "use-login-key", false, "allow an identity key that also logs you in somewhere")
	flags.StringVar(&f.name, "name", "", "a short name of you, without spaces, if the log does not know you")
	flags.StringVar(&f.contact, "contact", "", "how to reach you, at most 128 bytes, if the log does not know you")
	flags.StringVar(&f.page, "url", "", "a page about you")
	flags.StringVar(&f.etc, "etc", "/etc/firn", "`FOLDER` for keys and configuration")
	flags.StringSliceVar(&f.with, "with", nil, "write the units of these services too: import, rebuild")
	flags.StringVar(&f.hook.hook, "hook", "", "`PATH` of firn-hook (default: beside firn, or in $PATH)")
	flags.StringVar(&f.hook.nixConf, "nix-conf", defaultNixConf, "Nix's configuration `FILE`")
	flags.StringVar(&f.hook.spool, "spool", hook.DefaultSpool, "spool `FOLDER`")
	flags.StringVar(&f.hook.systemd, "systemd", defaultSystemd, "`FOLDER` for units; \"\" for none")
	flags.StringVar(&f.hook.user, "user", submitUser, "`USER` that firn submit runs as; without root it is you, if none is named")
	flags.DurationVar(&f.wait, "wait", time.Minute, "how long to wait for the receipt")
	flags.BoolVar(&f.dryRun, "dry-run", false, "only show what would be done")
	flags.BoolVar(&f.json, "json", false, "write one JSON object")
	return c
}

// setup is one run of `firn rebuilder setup`.
type setup struct {
	*setupFlags
	a   *app
	out setupJSON

	conf       *submit.Config // submit.toml, as it was or as it was written
	key        string         // the build key, as firn key show takes it
	policyPath string
	believed   *policy.Policy // what policyPath holds, or will
	client     *log.Client    // unless this is a dry run
	restart    bool           // nix-daemon has not read nix.conf as it is now
}

// setupJSON is what setup has found and done.
type setupJSON struct {
	Schema   int        `json:"schema"`
	Log      string     `json:"log"`
	Origin   string     `json:"origin,omitempty"`
	Operator string     `json:"operator,omitempty"` // operator id
	BuildKey string     `json:"build_key,omitempty"`
	Identity string     `json:"identity_file,omitempty"` // if it was made here and is still here
	Steps    []stepJSON `json:"steps"`
	Builders []string   `json:"builders"` // machines that build for this one
	Receipt  *receipt   `json:"receipt,omitempty"`
	Warnings []string   `json:"warnings"`
}

type stepJSON struct {
	What  string `json:"what"`
	State string `json:"state"` // already, done or would
}

func (a *app) rebuilderSetup(ctx context.Context, f *setupFlags) error {
	s := &setup{setupFlags: f, a: a, out: setupJSON{Schema: 1, Log: f.log, Steps: []stepJSON{}, Builders: []string{}, Warnings: []string{}}}
	f.hook.dryRun = f.dryRun
	if err := s.check(ctx); err != nil {
		return err
	}
	if f.vkey != "" {
		s.warn("with --vkey this machine believes the log alone: it would not notice if the log showed others another history. A policy with witnesses, named with --log-policy, would")
	}
	// Each part plans with what the one before has done.
	for _, part := range []func(context.Context) ([]*step, error){
		s.machineSteps, s.keySteps, s.registerSteps, s.configSteps, s.hookSteps, s.daemonSteps, s.tryOut, s.startSteps,
	} {
		steps, err := part(ctx)
		if err != nil {
			return err
		}
		if err := s.run(steps); err != nil {
			return err
		}
	}
	s.findBuilders()
	return s.finish()
}

// check refuses what cannot work before anything is changed.
func (s *setup) check(ctx context.Context) error {
	switch {
	case s.log == "":
		return failf(exitUsage, "for instance --log https://log.example", "name the log with --log URL")
	case !strings.HasPrefix(s.log, "http://") && !strings.HasPrefix(s.log, "https://"):
		return failf(exitUsage, "for instance --log https://log.example", "--log %s is not an http or https URL", s.log)
	case s.policy != "" && s.vkey != "":
		return failf(exitUsage, "a policy file has the key already", "--log-policy and --vkey cannot be combined")
	case s.wait <= 0:
		return failf(exitUsage, "for instance --wait 1m", "--wait %v leaves no time", s.wait)
	}
	for _, name := range s.with {
		if !slices.Contains([]string{"import", "rebuild"}, name) {
			return failf(exitUsage, "--with import,rebuild", "there is no service %q to set up", name)
		}
	}
	if _, err := findNix("nix-store"); err != nil {
		return err
	}
	if err := s.readConfig(); err != nil {
		return err
	}
	// What the parts will refuse they refuse before there are keys: another hook, a
	// nix.conf of NixOS, no policy, nobody to introduce, an identity key that is not there.
	program, err := s.hook.findHook()
	if err == nil {
		_, err = s.hook.confStep(program)
	}
	if err == nil {
		_, err = s.policyStep()
	}
	if err == nil {
		_, err = s.keySteps(ctx)
	}
	if err == nil && s.identity != "" {
		_, err = s.a.publicKey(ctx, s.identity)
	}
	if err == nil && !s.dryRun && os.Geteuid() != 0 {
		err = s.mayWrite()
	}
	if err == nil && !s.dryRun {
		err = s.findLog(ctx)
	}
	return err
}

// findLog asks the log for its checkpoint, before an address or a policy that is wrong
// is kept.
func (s *setup) findLog(ctx context.Context) error {
	client, err := s.a.newClient(&logFlags{url: s.log}, &logPlaces{url: s.log, policy: s.believed}, log.Options{Origin: s.origin})
	if err != nil {
		return err
	}
	if _, err := client.Checkpoint(ctx); err != nil {
		return logFailure("asking the log "+s.log, err)
	}
	s.client = client
	s.out.Origin = client.Origin()
	return nil
}

// mayWrite says what this user may not write.
func (s *setup) mayWrite() error {
	var closed []string
	for _, path := range []string{s.etc, s.hook.nixConf, s.hook.spool, s.hook.systemd} {
		if path != "" && !writable(path) {
			closed = append(closed, path)
		}
	}
	if len(closed) > 0 {
		return failf(exitFailed, "run it with sudo; or name folders of yours with --etc, --nix-conf, --spool and --systemd (\"\" for no units), and a Nix that reads that nix.conf",
			"setup needs root here, to write %s", strings.Join(closed, ", "))
	}
	return nil
}

// writable reports whether this user can write path, or make it.
func writable(path string) bool {
	for {
		err := unix.Access(path, unix.W_OK)
		if err == nil || !errors.Is(err, fs.ErrNotExist) || path == filepath.Dir(path) {
			return err == nil
		}
		path = filepath.Dir(path)
	}
}

// run does steps, or says what it would do.
func (s *setup) run(steps []*step) error {
	for _, st := range steps {
		state := "done"
		switch {
		case st == nil:
			continue
		case st.do == nil:
			state = "already"
		case s.dryRun:
			state = "would"
		default:
			if err := st.do(); err != nil {
				return stepFailure(st, err)
			}
		}
		s.out.Steps = append(s.out.Steps, stepJSON{firstLineOf(st.what), state})
		if s.json {
			continue
		}
		if state == "would" {
			fmt.Fprintf(s.a.Stdout, "would %s\n", st.what)
		} else {
			fmt.Fprintf(s.a.Stdout, "%s: %s\n", state, firstLineOf(st.what))
		}
	}
	return nil
}

// warn says what changes no result.
func (s *setup) warn(format string, args ...any) {
	text := fmt.Sprintf(format, args...)
	s.out.Warnings = append(s.out.Warnings, text)
	if !s.json {
		fmt.Fprintf(s.a.Stderr, "firn: warning: %s\n", text)
	}
}

// finish says what is left to do.
func (s *setup) finish() error {
	if s.json {
		return s.a.writeJSON(&s.out)
	}
	w := s.a.Stdout
	if r := s.out.Receipt; r != nil {
		fmt.Fprintf(w, "\nThe receipt of the test build %s:\n  statement  %s\n  entry      %d of %s\n  proof      %s\n  verified   %s\n",
			r.Name, r.Statement, r.Index, s.out.Origin, r.Proof, r.Verified)
	}
	if s.out.Operator != "" {
		fmt.Fprintf(w, "\nYou are the operator %s: by this id others name you in their policies.\n", s.out.Operator)
	}
	fmt.Fprintln(w, "\nNow:")
	public := filepath.Join(s.etc, publicFile)
	fmt.Fprintf(w, "  say in %s what of your builds may leave this machine, for instance\n      nix-instantiate '<nixpkgs>' -A hello >>%s\n", public, public)
	if s.out.Identity != "" {
		fmt.Fprintf(w, "  take your identity key off this machine; it is not needed here any more:\n"+
			"      scp -p %[1]s %[1]s.pub YOU@YOUR-MACHINE: && shred -u %[1]s\n"+
			"  whoever has it speaks for you; without it you cannot add or revoke keys. Name it with --identity FILE then.\n", s.out.Identity)
	}
	if len(s.out.Builders) > 0 {
		fmt.Fprintf(w, "  what %s builds for this machine is claimed there: run this on it too, with the same identity key\n", strings.Join(s.out.Builders, ", "))
	}
	s.serviceHints()
	fmt.Fprintf(w, "  firn submit --status --config %s   # shows what was sent, and what was held back\n", filepath.Join(s.etc, submitFile))
	return nil
}
