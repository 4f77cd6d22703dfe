package main

import (
	"errors"
	"fmt"
	"io/fs"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/firn-log/firn/log/evidence"
	"github.com/firn-log/firn/log/index/fraud"
	"github.com/firn-log/firn/log/policy"
)

func newEvidenceCmd(a *app) *cobra.Command {
	c := &cobra.Command{
		Use:   "evidence",
		Short: "Verify, keep and spread evidence against logs and witnesses",
		Long: `Evidence is two checkpoints signed by one key for one origin that no single tree
can hold: a log, or a witness, has shown two histories. Or it shows that a log has
committed to an index that its own entries contradict. The file convicts by itself,
whoever hands it over.

As long as evidence is held against a log, nothing of that log is believed; see
firn log forget. A witness that evidence is held against does not count. Evidence
against the index of a log ends trust in the index alone.

  firn evidence verify fork.firn-evidence --log-policy main.policy`,
		Args: cobra.ArbitraryArgs,
		RunE: func(c *cobra.Command, args []string) error {
			if len(args) == 0 {
				return c.Help()
			}
			return failf(exitUsage, "run `firn evidence --help` for the commands", "firn evidence has no command %q", args[0])
		},
	}
	c.AddCommand(newEvidenceVerifyCmd(a), newEvidenceListCmd(a), newEvidenceAddCmd(a), newEvidenceSubmitCmd(a))
	return c
}

// judgeFlags say whose misbehaviour is of interest.
type judgeFlags struct {
	policy, vkey, state string
	json                bool
}

func (f *judgeFlags) add(flags *pflag.FlagSet) {
	flags.StringVar(&f.policy, "log-policy", "", "C2SP tlog-policy `FILE` with the logs and witnesses that matter to you (default those that firn.policy names)")
	flags.BoolVar(&f.json, "json", false, "print JSON")
}

func (f *judgeFlags) stateFlag(flags *pflag.FlagSet) {
	flags.StringVar(&f.state, "state", "", "`FOLDER` for what is remembered (default firn in the state folder)")
}

// named is a log policy and the file that it is in.
type named struct {
	file string
	*policy.Policy
}

// logPolicies returns the policy in a file, or the log and index policies of firn.policy.
func (a *app) logPolicies(file string) ([]named, error) {
	if file != "" {
		pol, err := readLogPolicy(file)
		return []named{{file, pol}}, err
	}
	pol, err := a.loadPolicy("")
	if err != nil {
		return nil, err
	}
	var all []named
	for _, l := range pol.Logs {
		all = append(all, named{l.File, l.Policy})
		if l.IndexPolicy != nil { // auditors cosign as witnesses do
			all = append(all, named{l.IndexFile, l.IndexPolicy})
		}
	}
	return all, nil
}

// readEvidence reads and parses a file of evidence.
func readEvidence(path string) (*evidence.Evidence, error) {
	b, err := evidence.ReadFile(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, failf(exitUsage, "", "reading the evidence: %w", err)
	case err != nil:
		return nil, failf(exitFailed, "", "reading the evidence: %w", err)
	}
	e, err := evidence.Parse(b)
	if err != nil {
		return nil, failf(exitUntrusted, "nobody is convicted by it", "%s: %w", path, err)
	}
	return e, nil
}

// convicts holds evidence against every policy and returns the first that names
// the key, or an error of status 3.
func convicts(path string, e *evidence.Evidence, policies []named) (evidence.Verdict, named, error) {
	for _, p := range policies {
		v, err := fraud.Verify(e, p.Policy)
		switch {
		case err == nil:
			return v, p, nil
		case !errors.Is(err, evidence.ErrUnknownKey):
			return v, p, innocentFailure(path, err)
		}
	}
	return evidence.Verdict{}, named{}, strangerFailure(path, e)
}

// innocentFailure says that evidence convicts nobody.
func innocentFailure(path string, err error) error {
	hint := "nobody is convicted by it"
	if errors.Is(err, evidence.ErrReserved) {
		hint = "nobody is convicted by it as far as this firn can tell; a newer one may be able to"
	}
	return failf(exitUntrusted, hint, "%s: %w", path, err)
}

// strangerFailure says that evidence is against nobody who matters here.
func strangerFailure(path string, e *evidence.Evidence) error {
	if _, err := fraud.VerifySelf(e); err != nil {
		return innocentFailure(path, err)
	}
	return failf(exitUntrusted, "anybody can make a key and convict it; name the policy that has this key with --log-policy, or the key with --vkey",
		"%s is against the %s key %s, which is in no policy of yours", path, role(e.Kind), e.Key)
}

// role is what the holder of a key is that evidence of a kind convicts.
func role(k evidence.Kind) evidence.Kind {
	if k == evidence.KindIndex {
		return evidence.KindLog
	}
	return k
}

func newEvidenceVerifyCmd(a *app) *cobra.Command {
	var f judgeFlags
	c := &cobra.Command{
		Use:   "verify FILE",
		Short: "Say whom evidence convicts, without asking anybody",
		Long: `Verify reads a file of evidence and says whom of a log policy it convicts: a log, a
witness, or the index of a log. With --vkey it is the holder of one key. It uses no network and looks
at nothing that is remembered. Exit status 0 means that it convicts, 3 that it
convicts nobody, or somebody whom you do not name.`,
		Example: `  firn evidence verify fork.firn-evidence --vkey log.example/3f9a01bc+40e54cdc+AfJM...`,
		Args:    cobra.ExactArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			e, err := readEvidence(args[0])
			if err != nil {
				return err
			}
			v, err := a.judge(&f, args[0], e)
			if err != nil {
				return err
			}
			if f.json {
				out := evidenceJSON(e, v)
				out["schema"] = 1
				return writeJSON(a.Stdout, out)
			}
			_, err = fmt.Fprint(a.Stdout, evidenceWords(e, v))
			return err
		},
	}
	f.add(c.Flags())
	c.Flags().StringVar(&f.vkey, "vkey", "", "`VKEY` of the log or witness, in place of a policy")
	return c
}

func (a *app) judge(f *judgeFlags, path string, e *evidence.Evidence) (evidence.Verdict, error) {
	if f.vkey == "" {
		policies, err := a.logPolicies(f.policy)
		if err != nil {
			return evidence.Verdict{}, err
		}
		v, _, err := convicts(path, e, policies)
		return v, err
	}
	if f.policy != "" {
		return evidence.Verdict{}, failf(exitUsage, "name one of them", "--vkey and --log-policy are both given")
	}
	k, err := policy.ParseKey(f.vkey)
	if err != nil {
		return evidence.Verdict{}, failf(exitUsage, "a vkey is NAME+ID+KEY, as the log's or the witness's operator publishes it", "--vkey: %w", err)
	}
	v, err := fraud.VerifyKey(e, k)
	switch {
	case errors.Is(err, evidence.ErrUnknownKey):
		return v, strangerFailure(path, e)
	case err != nil:
		return v, innocentFailure(path, err)
	}
	return v, nil
}

// sizes returns the sizes of the two checkpoints of verified evidence, or twice
// that of the revision.
func sizes(e *evidence.Evidence, v evidence.Verdict) (small, large uint64) {
	if v.Kind == evidence.KindIndex {
		return v.Size, v.Size
	}
	return noteSize(e.Small), noteSize(e.Large)
}

func noteSize(note []byte) uint64 {
	n, err := policy.ParseNote(note)
	if err != nil {
		return 0
	}
	h, err := policy.ParseCheckpoint(n.Text)
	if err != nil {
		return 0
	}
	return h.Size
}

func evidenceJSON(e *evidence.Evidence, v evidence.Verdict) map[string]any {
	small, large := sizes(e, v)
	out := map[string]any{
		"kind": v.Kind, "origin": v.Origin, "key": v.Key.String(), "name": v.Name,
		"sizes": []uint64{small, large}, "checkpoints": []string{string(e.Small), string(e.Large)},
	}
	if v.Kind == evidence.KindIndex {
		out["map_version"], out["why"], out["checkpoints"] = v.MapVersion, v.Why, []string{}
		if len(e.Index.Checkpoint) > 0 {
			out["checkpoints"] = []string{string(e.Index.Checkpoint)}
		}
	}
	return out
}

func evidenceWords(e *evidence.Evidence, v evidence.Verdict) string {
	var b strings.Builder
	small, large := sizes(e, v)
	what := fmt.Sprintf("two trees of size %d", small)
	if small != large {
		what = fmt.Sprintf("a tree of size %d and one of size %d that does not begin with it", small, large)
	}
	switch v.Kind {
	case evidence.KindLog:
		fmt.Fprintf(&b, "The log %s has signed two histories: %s.\n", v.Origin, what)
	case evidence.KindIndex:
		fmt.Fprintf(&b, "The log %s has committed to a wrong index, in its revision of size %d by map version %d: %s.\n", v.Origin, v.Size, v.MapVersion, v.Why)
	default:
		fmt.Fprintf(&b, "The witness %s has cosigned two histories of %s: %s.\n", v.Name, v.Origin, what)
	}
	fmt.Fprintf(&b, "key  %s\n", v.Key)
	return b.String()
}
