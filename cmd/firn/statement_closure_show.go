package main

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/firn-log/firn/ingest/send"
	"github.com/firn-log/firn/ingest/submit"
	"github.com/firn-log/firn/internal/nix"
	"github.com/firn-log/firn/log"
)

// fate fills in what became of a claim. One that was set aside is an error.
func (a *app) fate(conf *submit.Config, out *stated) error {
	b, err := submit.StatusOf(conf, out.Spooled)
	switch {
	case err != nil:
		return openFailure(conf, err)
	case b == nil: // the service keeps few of those that it sent
		out.State = string(submit.Sent)
		return nil
	}
	out.State = string(b.State)
	switch b.State {
	case submit.Failed:
		out.Why = b.Code + ": " + b.Reason
		return failf(exitFailed, "", "the log does not take the closure %s: %s", out.Name, out.Why)
	case submit.Sent:
		out.Statement, out.Index, out.Proof = b.ID, b.Index, b.Proof
		out.Origin = originOf(b.Proof)
		out.URL = strings.TrimRight(conf.Log, "/") + "/v1/proof?id=" + b.ID
	}
	return nil
}

// originOf returns the log whose checkpoint a proof ends in, "" if it cannot be read.
func originOf(file string) string {
	text, err := os.ReadFile(file)
	if err != nil {
		return ""
	}
	p, err := log.ParseProof(text)
	if err != nil {
		return ""
	}
	line, _, _ := bytes.Cut(p.Note, []byte("\n"))
	return string(line)
}

// closureWaits says why a claim is still in the spool.
func closureWaits(conf *submit.Config, out *stated, why error) error {
	waits := "it waits in " + conf.Spool + ", and is sent by the next `firn submit`"
	if why == nil { // the submitter that works there says why
		st, err := submit.ReadStatus(conf)
		switch {
		case err != nil:
			return openFailure(conf, err)
		case st.LastRun != nil && st.LastRun.Why != "":
			why = errors.New(st.LastRun.Why)
		default:
			why = errors.New("the submitter that works on the spool has not sent it in time")
		}
		waits = "it waits in " + conf.Spool + ", where `firn submit` runs and goes on trying"
	}
	out.Why = why.Error()
	var later *send.RejectedError
	var wrong *send.ConfigError
	var refused *log.RequestError
	switch {
	case send.ForkOf(why) != nil:
		return failf(exitMisbehaviour, "keep that file and show it to others; nothing more is sent to this log", "%w", why)
	case errors.As(why, &later):
		return failf(exitFailed, rejectedHint(later.Code), "the closure %s is not in the log: %w", out.Name, why)
	case errors.As(why, &wrong):
		return failf(exitUsage, waits, "the closure %s is not in the log: %w", out.Name, why)
	case errors.As(why, &refused) && refused.Code == codeFrozen:
		return failf(exitFailed, hintFrozen, "the closure %s is not in the log: %w", out.Name, why)
	}
	return failf(exitFailed, waits, "the closure %s is not in the log yet: %w", out.Name, why)
}

// showStated writes what became of a claim: one line if it was sent, nothing for people
// otherwise, which the error tells.
func (a *app) showStated(f *statementClosureFlags, conf *submit.Config, out *stated) error {
	if f.json {
		return a.writeJSON(out)
	}
	if out.State != string(submit.Sent) {
		return nil
	}
	if out.Index == nil {
		_, err := fmt.Fprintf(a.Stdout, "%s: %s, sent by the submitter of %s\n", out.Name, plural(uint64(out.Paths), "path", "paths"), conf.Spool)
		return err
	}
	_, err := fmt.Fprintf(a.Stdout, "%s: %s, statement %s, entry %d of %s, %s\n", out.Name, plural(uint64(out.Paths), "path", "paths"), out.Statement, *out.Index, out.Origin, out.URL)
	return err
}

// showUnstated writes what would be stated.
func (a *app) showUnstated(f *statementClosureFlags, out *stated, paths []nix.StorePath, size int) error {
	out.State = "dry-run"
	for _, p := range paths {
		out.List = append(out.List, p.String())
	}
	if f.json {
		return a.writeJSON(out)
	}
	where := "in the statement"
	if out.Beside {
		where = "beside the statement"
	}
	fmt.Fprintf(a.Stdout, "%s would be stated as %s, %s (%d bytes), digest %s:\n", out.Name, plural(uint64(out.Paths), "path", "paths"), where, size, out.Digest)
	_, err := fmt.Fprintln(a.Stdout, strings.Join(out.List, "\n"))
	return err
}
