package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/firn-log/firn/ingest/submit"
	"github.com/firn-log/firn/log"
	"github.com/firn-log/firn/log/statement"
)

// receipt is what the log has of a test build.
type receipt struct {
	Name      string `json:"name"`
	Drv       string `json:"drv"`
	Statement string `json:"statement"`
	Index     uint64 `json:"index"`
	Proof     string `json:"proof"`    // file
	Verified  string `json:"verified"` // in words
}

// testName begins the names of test builds.
const testName = "firn-setup-"

// testBuilds are test builds, the next for where one cannot be built: by the shell
// that most sandboxes of Nix have (Debian's has none), and by Nix itself. Their name
// is new each time, so that they are really built.
func testBuilds(now time.Time) []string {
	var builds []string
	for _, how := range []string{
		`builder = "/bin/sh"; args = [ "-c" "echo %d > $out" ];`,
		`builder = "builtin:buildenv"; derivations = ""; manifest = "/%d";`,
	} {
		builds = append(builds, fmt.Sprintf(`derivation { name = "%s%d"; system = builtins.currentSystem; `+how+` }`, testName, now.Unix(), now.UnixNano()))
	}
	return builds
}

// tryOut builds, sends and shows the receipt, unless there is one already.
func (s *setup) tryOut(ctx context.Context) ([]*step, error) {
	const what = "build something, send what is claimed about it, and verify the receipt"
	if s.dryRun {
		return []*step{{what, func() error { return nil }}}, nil
	}
	old, err := s.lastReceipt()
	if err != nil {
		return nil, err
	}
	if old != nil {
		s.out.Receipt = old
		return []*step{{what: "a test build in the log"}}, nil
	}
	return []*step{{what, func() error { return s.try(ctx) }}}, nil
}

func (s *setup) try(ctx context.Context) error {
	drv, err := s.build(ctx)
	if err != nil {
		return err
	}
	b, err := s.spooled(drv)
	if err != nil {
		return err
	}
	if b == nil {
		return s.notSpooled()
	}
	if b.State != submit.Sent {
		if err := s.submitAs(ctx, drv); err != nil {
			return err
		}
		if b, err = s.spooled(drv); err != nil {
			return err
		}
	}
	if b.State != submit.Sent {
		hint := "`firn submit --status --config " + s.file(submitFile) + "` says more"
		if b.Code == submit.CodeBuiltElsewhere {
			hint = "this machine lets others build; run firn there"
		}
		return failf(exitFailed, hint, "the test build was not sent: it is %s: %s %s", b.State, b.Code, b.Reason)
	}
	s.out.Receipt, err = s.readReceipt(b)
	return err
}

// findNix returns the path of one of Nix's programs.
func findNix(name string) (string, error) {
	path, err := exec.LookPath(name)
	if err != nil {
		return "", failf(exitFailed, "install Nix first, 2.8 or newer; or add its bin folder to PATH (sudo resets it)", "%s is not in PATH", name)
	}
	return path, nil
}

// build makes a derivation and builds it on this machine.
func (s *setup) build(ctx context.Context) (string, error) {
	var first error
	for _, text := range testBuilds(time.Now()) {
		drv, err := s.nix(ctx, "nix-instantiate", "-E", text)
		if err == nil {
			_, err = s.nix(ctx, "nix-store", "--realise", drv, "--option", "builders", "", "--max-jobs", "1", "--option", "substitute", "false")
		}
		if err == nil {
			return drv, nil
		}
		if first == nil {
			first = err
		}
	}
	return "", first
}

// nix runs one of Nix's programs with the nix.conf that was set up and returns the
// last line that it writes.
func (s *setup) nix(ctx context.Context, name string, args ...string) (string, error) {
	program, err := findNix(name)
	if err != nil {
		return "", err
	}
	cmd := exec.CommandContext(ctx, program, args...)
	cmd.Env = append(os.Environ(), "FIRN_SPOOL="+s.hook.spool)
	if s.hook.nixConf != defaultNixConf {
		cmd.Env = append(cmd.Env, "NIX_CONF_DIR="+filepath.Dir(s.hook.nixConf))
	}
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		return "", failf(exitFailed, "can this user build with Nix at all? Then run this again: it goes on from here", "%s %s: %w\n%s", name, args[0], err, bytes.TrimSpace(stderr.Bytes()))
	}
	lines := strings.Split(strings.TrimSpace(string(out)), "\n")
	return lines[len(lines)-1], nil
}

// spooled returns what the spool knows of a derivation; nil if nothing.
func (s *setup) spooled(drv string) (*submit.Build, error) {
	st, err := submit.ReadStatus(s.conf)
	if err != nil {
		return nil, openFailure(s.conf, err)
	}
	for i := range st.Builds {
		if st.Builds[i].Drv == drv {
			return &st.Builds[i], nil
		}
	}
	return nil, nil
}

// notSpooled says why Nix's hook may have left nothing.
func (s *setup) notSpooled() error {
	hint := "restart the Nix daemon: it reads nix.conf when it starts; then run this again"
	if s.conf.Spool != "/var/spool/firn" {
		hint += ". The daemon also needs FIRN_SPOOL=" + s.conf.Spool + " in its environment"
	}
	if problems, err := submit.ReadStatus(s.conf); err == nil && len(problems.Problems) > 0 {
		last := problems.Problems[len(problems.Problems)-1]
		hint = "the hook left word: " + last.Text
	}
	return failf(exitFailed, hint, "Nix built the test derivation, and firn-hook left no record of it in %s", s.conf.Spool)
}

// submitAs runs firn submit as the service will run it, so that what the service
// may not do shows here.
func (s *setup) submitAs(ctx context.Context, drv string) error {
	self, err := os.Executable()
	if err != nil {
		return err
	}
	args := []string{"submit", "--config", s.file(submitFile), "--once", "--wait", s.wait.String(), "--also", drv}
	cmd := exec.CommandContext(ctx, self, args...)
	cmd.Args[0] = "firn"
	cmd.Env = append(os.Environ(), "FIRN_SPOOL="+s.hook.spool)
	if s.asUser() {
		uid, gid, err := ids(s.hook.user)
		if err != nil {
			return err
		}
		cmd.Env = append(cmd.Env, "XDG_STATE_HOME="+stateHome, "HOME=/nonexistent")
		cmd.Dir = "/"
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}}
	}
	out, err := cmd.CombinedOutput()
	if err == nil {
		return nil
	}
	var exit *exec.ExitError
	code := exitFailed
	if errors.As(err, &exit) && exit.ExitCode() > 0 {
		code = exit.ExitCode()
	}
	hint := "run this again when it is put right: it goes on from here"
	if bytes.Contains(out, []byte("is locked by")) {
		hint = "stop it for a moment (systemctl stop firn-submit) and run this again"
	}
	return failf(code, hint, "firn submit, as %s, did not send the test build:\n%s", s.hook.user, indent(string(out)))
}

// lastReceipt returns the receipt of the newest test build in the spool, nil if
// there is none.
func (s *setup) lastReceipt() (*receipt, error) {
	st, err := submit.ReadStatus(s.conf)
	if err != nil {
		return nil, openFailure(s.conf, err)
	}
	for _, b := range slices.Backward(st.Builds) {
		if b.State == submit.Sent && b.Proof != "" && strings.HasPrefix(b.What(), testName) {
			return s.readReceipt(&b)
		}
	}
	return nil, nil
}

// readReceipt reads a receipt from the disk and verifies it, by the policy and
// nothing else.
func (s *setup) readReceipt(b *submit.Build) (*receipt, error) {
	leaf, err := os.ReadFile(strings.TrimSuffix(b.Proof, ".tlog-proof"))
	if err != nil {
		return nil, failf(exitFailed, "", "reading the receipt: %w", err)
	}
	text, err := os.ReadFile(b.Proof)
	if err != nil {
		return nil, failf(exitFailed, "", "reading the receipt: %w", err)
	}
	proof, err := log.ParseProof(text)
	if err != nil {
		return nil, failf(exitFailed, "", "the receipt %s: %w", b.Proof, err)
	}
	pol, err := readLogPolicy(s.policyPath)
	if err != nil {
		return nil, err
	}
	cp, err := proof.Verify(pol, leaf, time.Now())
	if err != nil {
		return nil, failf(exitFailed, "", "the receipt %s does not hold: %w", b.Proof, err)
	}
	st, err := statement.Parse(leaf)
	if err != nil {
		return nil, failf(exitFailed, "", "the receipt %s: %w", b.Proof, err)
	}
	return &receipt{
		Name: b.What(), Drv: b.Drv, Statement: st.ID().String(), Index: proof.Index, Proof: b.Proof,
		Verified: fmt.Sprintf("it is in the log's checkpoint of size %d, which %s accepts", cp.Size, s.policyPath),
	}, nil
}
