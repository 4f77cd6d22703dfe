package main

import (
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/firn-log/firn/log"
	"github.com/firn-log/firn/log/evidence"
)

func newEvidenceListCmd(a *app) *cobra.Command {
	var f judgeFlags
	c := &cobra.Command{
		Use:   "list",
		Short: "List the evidence that is held",
		Long: `List prints a line for each file of evidence that is held: kind, origin, name of the
key, the two sizes (of an index twice that of the revision), and the file, separated
by tabs. Whether it matters to you is
for your policies to say: firn evidence verify FILE.`,
		Args: cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			held, err := log.NewMemory(a.stateDir(f.state)).Evidence().List()
			if err != nil {
				return failf(exitFailed, "", "%w", err)
			}
			all := []any{}
			for _, h := range held {
				if f.json {
					j := evidenceJSON(h.Evidence, h.Verdict)
					j["file"] = h.Path
					all = append(all, j)
					continue
				}
				small, large := sizes(h.Evidence, h.Verdict)
				if _, err := fmt.Fprintf(a.Stdout, "%s\t%s\t%s\t%d\t%d\t%s\n", h.Verdict.Kind, h.Verdict.Origin, h.Verdict.Key.Name, small, large, h.Path); err != nil {
					return err
				}
			}
			if f.json {
				return writeJSON(a.Stdout, map[string]any{"schema": 1, "evidence": all})
			}
			return nil
		},
	}
	f.stateFlag(c.Flags())
	c.Flags().BoolVar(&f.json, "json", false, "print JSON")
	return c
}

func newEvidenceAddCmd(a *app) *cobra.Command {
	var f judgeFlags
	c := &cobra.Command{
		Use:   "add FILE",
		Short: "Keep evidence that somebody else found",
		Long: `Add verifies evidence as firn evidence verify does and keeps it in the state folder,
from where it takes effect: nothing of a log that it convicts is believed any
more, a witness that it convicts does not count, and no answer is complete on the
word of an index that it convicts. It prints the file.`,
		Args: cobra.ExactArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			e, err := readEvidence(args[0])
			if err != nil {
				return err
			}
			policies, err := a.logPolicies(f.policy)
			if err != nil {
				return err
			}
			v, pol, err := convicts(args[0], e, policies)
			if err != nil {
				return err
			}
			mem, err := a.memory(f.state)
			if err != nil {
				return err
			}
			held, added, err := mem.AddEvidence(e, pol.Policy)
			switch {
			case errors.Is(err, evidence.ErrSetAside):
				return failf(exitFailed, "move that file away if the log is not to be believed after all", "%w", err)
			case err != nil:
				return failf(exitFailed, "", "%w", err)
			case held.Path == "":
				return failf(exitUsage, "name one with --state", "there is no folder to keep the evidence in")
			}
			if f.json {
				out := evidenceJSON(e, v)
				out["schema"], out["file"], out["new"] = 1, held.Path, added
				return writeJSON(a.Stdout, out)
			}
			if !added {
				fmt.Fprintf(a.Stderr, "firn: warning: nothing new: enough evidence against this key is held\n")
			}
			_, err = fmt.Fprintln(a.Stdout, held.Path)
			return err
		},
	}
	f.add(c.Flags())
	f.stateFlag(c.Flags())
	return c
}

func newLogForgetCmd(a *app, f *logReadFlags) *cobra.Command {
	var file string
	c := f.jsonFlag(&cobra.Command{
		Use:   "forget ORIGIN --evidence FILE",
		Short: "Begin afresh with a log that has shown two histories",
		Long: `As long as evidence is held against a log, nothing of it is believed. Forget is the
only way out, for when its operator has explained what happened and you have
agreed with others which history goes on: compare the newest checkpoints with
them first.

It takes evidence against this very log, moves what is remembered of the log and
all evidence against it to the folder set-aside below the evidence, where nothing
is ever deleted, and prints the new places. The next checkpoint that your policy
believes is then remembered as the first one was. New evidence counts again.`,
		Example: `  firn log forget log.example/3f9a01bc --evidence fork.firn-evidence --log-policy main.policy`,
		Args:    cobra.ExactArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			if file == "" {
				return failf(exitUsage, "`firn evidence list` names the file", "name the evidence against the log with --evidence")
			}
			return a.forget(f, args[0], file)
		},
	})
	c.Flags().StringVar(&file, "evidence", "", "`FILE` that convicts the log")
	return c
}

func (a *app) forget(f *logReadFlags, origin, file string) error {
	e, err := readEvidence(file)
	if err != nil {
		return err
	}
	policies, err := a.logPolicies(f.policy)
	if err != nil {
		return err
	}
	v, pol, err := convicts(file, e, policies)
	switch {
	case err != nil:
		return err
	case v.Kind != evidence.KindLog || v.Origin != origin:
		return failf(exitUntrusted, "nothing was changed", "%s is evidence against the %s %s and not against the log %s", file, v.Kind, v.Name, origin)
	}
	state := a.stateDir(f.state)
	if state == "" {
		return failf(exitUsage, "name it with --state", "there is no folder in which anything is remembered")
	}
	aside, err := a.forgetIn(state, origin, e, pol)
	if err != nil {
		return failf(exitFailed, "the log stays refused; do it again", "%w", err)
	}
	if f.json {
		return writeJSON(a.Stdout, map[string]any{"schema": 1, "origin": origin, "set_aside": aside})
	}
	for _, path := range aside {
		if _, err := fmt.Fprintln(a.Stdout, path); err != nil {
			return err
		}
	}
	return nil
}
