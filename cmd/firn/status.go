package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/firn-log/firn/internal/durable"
	"github.com/firn-log/firn/verify"
)

// maxStatusFile bounds what is kept of the last status, in bytes.
const maxStatusFile = 1 << 20

func newStatusCmd(a *app) *cobra.Command {
	var f verifyFlags
	c := &cobra.Command{
		Use:   "status [PATH...]",
		Short: "Say how much of this machine is reproduced, and by whom",
		Long: `Status judges all that PATH needs, as firn verify does, and says on one screen how
much of it is trusted, how much was built the same by two or more operators of your
policy, by whom, about how much the logs say anything, what is worst, and what has changed
since the last time. Without PATH it is ` + currentSystem + `.

Paths whose content is fixed by a hash, such as sources, are not in the share that is
reproduced: that a server still has them is no rebuild.

Exit status: that of firn verify.`,
		Example: `  firn status
  firn status ~/.nix-profile`,
		RunE: func(c *cobra.Command, args []string) error { return a.status(c.Context(), &f, args, time.Now()) },
	}
	f.add(c.Flags())
	return c
}

// statusOutput is the JSON of firn status.
type statusOutput struct {
	*verify.Status
	Exit         int            `json:"exit"`
	Worst        []statusPath   `json:"worst"` // at most 100
	Since        *verify.Status `json:"since"` // the last one, or null
	Completeness string         `json:"completeness"`
	Evidence     []string       `json:"evidence"`
}

type statusPath struct {
	Path    string `json:"path"`
	Verdict string `json:"verdict"`
	Why     string `json:"why"`
}

func (a *app) status(ctx context.Context, f *verifyFlags, args []string, now time.Time) error {
	pol, err := a.loadPolicy(f.policy)
	if err != nil {
		return err
	}
	if args, err = targets(args, "there is nothing to look at", "firn status ./result"); err != nil {
		return err
	}
	subjects, _, err := a.subjects(ctx, f, pol, args)
	if err != nil {
		return err
	}
	report, err := a.decide(ctx, f, pol, nil, subjects)
	if err != nil {
		return err
	}
	a.warnOf(report)
	st := report.Status(strings.Join(args, " "), now)
	file := a.statusFile(f, args)
	before := a.lastStatus(file)
	if f.json {
		err = a.writeStatus(report, st, before)
	} else {
		err = st.WriteScreen(a.Stdout, report, before, "firn verify "+strings.Join(args, " "))
	}
	if err != nil {
		return err
	}
	if err := keepStatus(file, st); err != nil {
		fmt.Fprintf(a.Stderr, "firn: warning: this status could not be kept for the next one: %v\n", err)
	}
	if code := report.ExitStatus(); code != exitOK {
		return errSilent(code)
	}
	return nil
}

func (a *app) writeStatus(r *verify.Report, st, before *verify.Status) error {
	const most = 100
	out := statusOutput{Status: st, Exit: r.ExitStatus(), Worst: []statusPath{}, Since: before, Completeness: r.Completeness(), Evidence: []string{}}
	out.Evidence = append(out.Evidence, r.Evidence()...)
	for i, p := range r.Worst() {
		if i == most {
			break
		}
		out.Worst = append(out.Worst, statusPath{p.Subject.Info.Path.String(), p.Verdict.String(), p.Words()})
	}
	return a.writeJSON(out)
}

// statusFile is where the last status of these paths is, "" for nowhere.
func (a *app) statusFile(f *verifyFlags, args []string) string {
	dir := a.stateDir(f.state)
	if dir == "" {
		return ""
	}
	names := []string{f.store, f.storeDir}
	for _, arg := range args {
		if at, err := filepath.Abs(arg); err == nil {
			arg = at // and not where it leads: that changes with every upgrade
		}
		names = append(names, arg)
	}
	sum := sha256.Sum256([]byte(strings.Join(names, "\n")))
	return filepath.Join(dir, "status", hex.EncodeToString(sum[:16])+".json")
}

// lastStatus reads the last status, nil if there is none that can be used.
func (a *app) lastStatus(file string) *verify.Status {
	if file == "" {
		return nil
	}
	info, err := os.Stat(file)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	var st verify.Status
	var b []byte
	if err == nil && (!info.Mode().IsRegular() || info.Size() > maxStatusFile) {
		err = fmt.Errorf("%s is not a file of at most %d bytes", file, maxStatusFile)
	}
	if err == nil {
		b, err = os.ReadFile(file)
	}
	if err == nil {
		d := json.NewDecoder(bytes.NewReader(b))
		d.DisallowUnknownFields()
		err = d.Decode(&st)
	}
	if err == nil && st.Schema != verify.StatusSchema {
		err = fmt.Errorf("%s has the schema %d", file, st.Schema)
	}
	if err != nil {
		fmt.Fprintf(a.Stderr, "firn: warning: the last status cannot be used: %v\n", err)
		return nil
	}
	return &st
}

func keepStatus(file string, st *verify.Status) error {
	if file == "" {
		return nil
	}
	b, err := json.Marshal(st)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
		return err
	}
	return durable.WriteFile(file, b, 0o600)
}
