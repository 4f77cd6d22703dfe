package main

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"sync"

	"github.com/spf13/pflag"

	"github.com/firn-log/firn/log"
	"github.com/firn-log/firn/log/policy"
	"github.com/firn-log/firn/verify"
)

// logFlags name one log and what it must show to be believed.
type logFlags struct {
	url, policy, state string
	mirrors            []string
}

func (f *logFlags) add(flags *pflag.FlagSet) {
	flags.StringVar(&f.url, "log", "", "`URL` of the log, or its name in your firn.policy (default the one log there)")
	flags.StringArrayVar(&f.mirrors, "mirror", nil, "`URL` of a mirror of the log, or of a firn-peer that has one, to be read when the log does not answer (may be repeated; added to those that firn.policy names)")
	flags.StringVar(&f.policy, "log-policy", "", "`FILE` in the form of C2SP tlog-policy that says which checkpoints of the log are believed (default what firn.policy names)")
	flags.StringVar(&f.state, "state", "", "`FOLDER` for what is remembered (default firn in the state folder)")
}

// openLog returns a client for the log that the flags name.
func (a *app) openLog(f *logFlags) (*log.Client, error) {
	at, err := a.resolveLog(f)
	if err != nil {
		return nil, err
	}
	return a.newClient(f, at, log.Options{})
}

// newClient returns a client that remembers, and warns about places that it
// passes over.
func (a *app) newClient(f *logFlags, at *logPlaces, o log.Options) (*log.Client, error) {
	var err error
	if o.Memory, err = a.memory(f.state); err != nil {
		return nil, err
	}
	var mu sync.Mutex
	o.Mirrors = at.mirrors
	o.OnTrouble = func(err error) {
		mu.Lock()
		defer mu.Unlock()
		fmt.Fprintf(a.Stderr, "firn: warning: %v\n", err)
	}
	c, err := log.NewClient(at.url, at.policy, o)
	if err != nil {
		return nil, failf(exitUsage, "", "%w", err)
	}
	return c, nil
}

// logPlaces is where a log and its mirrors are, and what they must show.
type logPlaces struct {
	url     string
	mirrors []string
	policy  *policy.Policy
	// With a firn.policy: its line for the log, and whether it says `completeness off`.
	ref *verify.LogRef
	off bool
}

func (a *app) resolveLog(f *logFlags) (*logPlaces, error) {
	if f.policy != "" {
		pol, err := readLogPolicy(f.policy)
		if err != nil {
			return nil, err
		}
		url := f.url
		if url == "" && len(pol.Logs) == 1 {
			url = pol.Logs[0].URL
		}
		if url == "" {
			return nil, failf(exitUsage, "name the log with --log URL", "%s names no address of a log", f.policy)
		}
		return &logPlaces{url: url, mirrors: f.mirrors, policy: pol}, nil
	}
	pol, err := a.loadPolicy("")
	if wrong := verify.PolicyErrors(nil); errors.As(err, &wrong) {
		return nil, err
	}
	if err != nil {
		return nil, failf(exitUsage, "name the log with --log URL and --log-policy FILE, where FILE holds the lines\n  log VKEY URL\n  quorum none\nand VKEY is what the log's operator publishes",
			"which log, and which of its checkpoints are believed, is not known: there is no firn.policy")
	}
	ref, err := pickLog(pol, f.url)
	if err != nil {
		return nil, failf(exitUsage, "name one with --log NAME, or any other with --log URL and --log-policy FILE", "%w", err)
	}
	return &logPlaces{ref.URL, slices.Concat(ref.Mirrors, f.mirrors), ref.Policy, ref, pol.CompletenessOff}, nil
}

func readLogPolicy(file string) (*policy.Policy, error) {
	b, err := os.ReadFile(file)
	if err != nil {
		return nil, failf(exitUsage, "", "reading the log's policy: %w", err)
	}
	pol, err := policy.Parse(b)
	if err != nil {
		return nil, failf(exitUsage, "its language is C2SP tlog-policy, for instance: log VKEY URL, then quorum none", "%s: %w", file, err)
	}
	return pol, nil
}

// pickLog finds the log of a policy by its name or address.
func pickLog(pol *verify.Policy, name string) (*verify.LogRef, error) {
	if name == "" && len(pol.Logs) == 1 {
		return pol.Logs[0], nil
	}
	if name == "" {
		return nil, errors.New("your firn.policy has more than one log")
	}
	for _, l := range pol.Logs {
		if l.Name == name || l.URL == name {
			return l, nil
		}
	}
	return nil, errors.New("your firn.policy has no log " + name)
}

// logFailure explains an error of a log.
func logFailure(doing string, err error) error {
	var fork *log.ForkError
	if errors.As(err, &fork) && fork.Path != "" {
		return failf(exitMisbehaviour, "the evidence is in "+fork.Path, "%s: %w", doing, err)
	}
	hint := ""
	var refused *log.RequestError
	switch {
	case errors.As(err, &refused) && refused.Code == codeFrozen:
		hint = hintFrozen
	case errors.As(err, &refused) && refused.Code == codeNoRevision:
		hint = "the log has stated no revision of its index yet, without which it answers no lookups; try again in a moment"
	case errors.Is(err, log.ErrUnreachable):
		hint = "see whether the log is up: its address with /healthz answers then"
	case errors.Is(err, policy.ErrUnknownLog):
		hint = "the log's policy names another key; ask the log's operator for its vkey"
	}
	return failf(exitFailed, hint, "%s: %w", doing, err)
}
