package main

import (
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"github.com/firn-log/firn/log"
	"github.com/firn-log/firn/log/policy"
)

// logReadFlags are what every `firn log` command takes.
type logReadFlags struct {
	logFlags
	origin string
	cache  string
	json   bool
}

func newLogCmd(a *app) *cobra.Command {
	f := &logReadFlags{}
	c := &cobra.Command{
		Use:   "log",
		Short: "Read a log, prove what is in it, and check it",
		Long: `These commands read one log. Nothing that they print was merely told by it: every
checkpoint is signed as the log policy asks and consistent with the one seen
before, and every entry is proven to be in its tree.

The log policy is a C2SP tlog-policy file with the log's key, its witnesses and
the quorum. If it gives the log's URL, --log may be left out; without --log-policy
the logs of your firn.policy can be named. Checkpoints and evidence are kept in
the state folder.

  firn log entries --log-policy main.policy --log https://log.example --from 100`,
	}
	flags := c.PersistentFlags()
	f.add(flags)
	flags.StringVar(&f.origin, "origin", "", "`ORIGIN` of the log, if the policy has several")
	flags.StringVar(&f.cache, "cache", "", "`DIR` for tiles that need not be fetched again")
	c.AddCommand(
		newLogCheckpointCmd(a, f),
		newLogEntriesCmd(a, f),
		newLogProveCmd(a, f),
		newLogVerifyProofCmd(a, f),
		newLogAuditCmd(a, f),
		newLogFsckCmd(a, f),
		newLogForgetCmd(a, f),
		newLogBlobCmd(a, f),
	)
	return c
}

func (f *logReadFlags) jsonFlag(c *cobra.Command) *cobra.Command {
	c.Flags().BoolVar(&f.json, "json", false, "print JSON")
	return c
}

// readPolicy returns the log policy alone, for what needs no log.
func (a *app) readPolicy(f *logReadFlags) (*policy.Policy, error) {
	lf := f.logFlags
	if lf.policy != "" {
		lf.url = "file:///" // not read
	}
	at, err := a.resolveLog(&lf)
	if err != nil {
		return nil, err
	}
	return at.policy, nil
}

// readClient returns a client of the log that the flags name. If where is not
// empty it is the URL to read that log from.
func (a *app) readClient(f *logReadFlags, where string) (*log.Client, error) {
	lf := f.logFlags
	if where != "" && lf.policy != "" {
		lf.url = where
	}
	at, err := a.resolveLog(&lf)
	if err != nil {
		return nil, err
	}
	if where != "" {
		at.url = where
	}
	return a.newClient(&lf, at, log.Options{Origin: f.origin, CacheDir: f.cache})
}

// logPlace turns the argument of fsck, a folder or a URL, into a URL and the
// folder, "" if there is none. The folder may be that of a firn-log, whose
// static tree is in public.
func logPlace(arg string) (logURL, dir string, err error) {
	if strings.HasPrefix(arg, "http://") || strings.HasPrefix(arg, "https://") {
		return arg, "", nil
	}
	dir = strings.TrimPrefix(arg, "file://")
	if dir, err = filepath.Abs(dir); err != nil {
		return "", "", err
	}
	public := filepath.Join(dir, "public")
	if _, err := os.Stat(filepath.Join(dir, "checkpoint")); err != nil {
		if st, err := os.Stat(public); err == nil && st.IsDir() {
			dir = public
		}
	}
	return (&url.URL{Scheme: "file", Path: dir}).String(), dir, nil
}

// readFailure gives an error of package log its exit status and a hint.
func readFailure(err error) error {
	var (
		fork    *log.ForkError
		bad     *log.ProofError
		sig     *policy.SignatureError
		quorum  *policy.QuorumError
		pending *log.PendingError
	)
	switch {
	case errors.As(err, &fork) && fork.Path != "":
		return failf(exitMisbehaviour, "keep that file and show it to others: it convicts the log by itself; see firn evidence --help", "%w", err)
	case errors.As(err, &fork):
		return failf(exitFailed, "name a folder for the evidence with --state", "%w", err)
	case errors.Is(err, log.ErrStale):
		return failf(exitInconclusive, "a cache or a mirror is behind; ask again, or name another mirror with --mirror", "%w", err)
	case errors.Is(err, log.ErrUnproven):
		return failf(exitInconclusive, "nothing of it is believed, and nobody is convicted; ask again, or name a mirror with --mirror", "%w", err)
	case errors.As(err, &quorum):
		return failf(exitInconclusive, "its witnesses may be late; ask again", "%w", err)
	case errors.As(err, &pending):
		return failf(exitInconclusive, "ask again in a moment", "%w", err)
	case errors.As(err, &bad):
		return failf(exitUntrusted, "the log, or somebody on the way to it, gave an answer that does not fit its signed checkpoint", "%w", err)
	case errors.As(err, &sig), errors.Is(err, policy.ErrUnknownLog), errors.Is(err, policy.ErrMalformed):
		return failf(exitUntrusted, "compare the key in the log policy with the one that the log's operator publishes", "%w", err)
	case errors.Is(err, log.ErrUnreachable):
		return failf(exitFailed, "is the URL right, and is the log up? a mirror of it can be named with --mirror", "%w", err)
	}
	return failf(exitFailed, "", "%w", err)
}

// plural is "1 entry" or "3 entries".
func plural(n uint64, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprintf("%d %s", n, many)
}
