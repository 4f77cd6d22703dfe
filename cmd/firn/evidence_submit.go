package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/firn-log/firn/log"
	"github.com/firn-log/firn/log/evidence"
	"github.com/firn-log/firn/log/statement"
	"github.com/firn-log/firn/verify"
)

type evidenceSubmitFlags struct {
	policy, key, state string
	login, json        bool
	wait               time.Duration
}

func newEvidenceSubmitCmd(a *app) *cobra.Command {
	var f evidenceSubmitFlags
	c := &cobra.Command{
		Use:   "submit FILE --key KEY",
		Short: "Put evidence into every other log of your policy",
		Long: `Submit signs a statement that holds the evidence and sends it to every log of your
firn.policy but the one that it convicts. It is found there under the convicted
key. Who signs does not matter, so any key will do that a log can verify: one
that is registered there, or one whose statements carry it (security keys, RSA,
ssh-keygen:PATH).

Status 1 means that a log did not take it; the others have it nevertheless.

` + keySpecHelp,
		Args: cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error { return a.submitEvidence(c.Context(), &f, args[0]) },
	}
	flags := c.Flags()
	flags.StringVar(&f.policy, "policy", "", "`FILE` with the logs (default your firn.policy)")
	flags.StringVar(&f.key, "key", "", "`KEY` that signs")
	flags.StringVar(&f.state, "state", "", "`FOLDER` for what is remembered (default firn in the state folder)")
	flags.BoolVar(&f.login, "use-login-key", false, "allow keys that also log you in somewhere")
	flags.DurationVar(&f.wait, "wait", 5*time.Second, "how long to wait for the proof that a log has it")
	flags.BoolVar(&f.json, "json", false, "print JSON")
	return c
}

// evidenceSent is what became of evidence in one log.
type evidenceSent struct {
	Log    string  `json:"log"`
	Origin string  `json:"origin"`
	Status string  `json:"status"` // accepted, duplicate, rejected, failed, or convicted
	Index  *uint64 `json:"index,omitempty"`
	Proven bool    `json:"proven"`
	Reason string  `json:"reason,omitempty"`
}

func (a *app) submitEvidence(ctx context.Context, f *evidenceSubmitFlags, file string) error {
	e, err := readEvidence(file)
	if err != nil {
		return err
	}
	pol, err := a.loadPolicy(f.policy)
	if err != nil {
		return err
	}
	var policies []named
	for _, l := range pol.Logs {
		policies = append(policies, named{l.File, l.Policy})
	}
	v, _, err := convicts(file, e, policies)
	if err != nil {
		return err
	}
	if f.key == "" {
		return failf(exitUsage, "`firn key new FILE` makes one", "name a key that signs with --key KEY")
	}
	signer, err := a.openSigner(ctx, f.key, f.login)
	if err != nil {
		return err
	}
	s, err := statement.Sign(ctx, signer, &statement.Evidence{Bytes: e.Marshal()}, "", nil)
	if statement.CodeOf(err) == statement.CodeOversize {
		return failf(exitFailed, "give the file to others as it is", "%s does not fit in a log: %w", file, err)
	} else if err != nil {
		return failf(exitFailed, "", "signing: %w", err)
	}
	mem, err := a.memory(f.state)
	if err != nil {
		return err
	}
	var all []evidenceSent
	for _, ref := range pol.Logs {
		all = append(all, sendEvidence(ctx, f, ref, mem, v, s))
	}
	return a.showEvidenceSent(f, s, all)
}

func sendEvidence(ctx context.Context, f *evidenceSubmitFlags, ref *verify.LogRef, mem *log.Memory, v evidence.Verdict, s *statement.Statement) evidenceSent {
	sent := evidenceSent{Log: ref.Name, Origin: ref.Origin}
	failed := func(status string, why error) evidenceSent {
		sent.Status, sent.Reason = status, why.Error()
		return sent
	}
	if v.Kind != evidence.KindWitness && v.Origin == ref.Origin {
		return failed("convicted", errors.New("it is against this log"))
	}
	c, err := log.NewClient(ref.URL, ref.Policy, log.Options{Memory: mem})
	if err != nil {
		return failed("failed", err)
	}
	res, err := c.Submit(ctx, [][]byte{s.Leaf()}, f.wait)
	if res == nil || len(res.Results) != 1 {
		return failed("failed", err)
	}
	r := res.Results[0]
	sent.Status, sent.Proven = string(r.Status), r.Proof != nil
	switch {
	case r.Status == log.Rejected:
		sent.Reason = r.Code + ": " + r.Message
	case err != nil:
		return failed("failed", err) // taken, it says, but with an answer that does not hold
	default:
		sent.Index = &r.Index
	}
	return sent
}

func (a *app) showEvidenceSent(f *evidenceSubmitFlags, s *statement.Statement, all []evidenceSent) error {
	taken, missing := 0, 0
	for _, r := range all {
		switch r.Status {
		case string(log.Accepted), string(log.Duplicate):
			taken++
		case "convicted":
		default:
			missing++
		}
		if f.json {
			continue
		}
		line := fmt.Sprintf("%s\t%s", r.Log, r.Status)
		if r.Index != nil {
			line += fmt.Sprintf("\t%d", *r.Index)
		}
		if r.Reason != "" {
			line += "\t" + r.Reason
		}
		if _, err := fmt.Fprintln(a.Stdout, line); err != nil {
			return err
		}
	}
	if f.json {
		if err := writeJSON(a.Stdout, map[string]any{"schema": 1, "statement": s.ID().String(), "logs": all}); err != nil {
			return err
		}
	}
	switch {
	case missing > 0:
		return failf(exitFailed, "try again, or give them the file", "%s did not take the evidence", plural(uint64(missing), "log", "logs"))
	case taken == 0:
		return failf(exitFailed, "give the file to others as it is", "your policy has no log but the one that the evidence convicts")
	}
	return nil
}
