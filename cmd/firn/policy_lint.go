package main

import (
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"github.com/firn-log/firn/log"
	"github.com/firn-log/firn/log/policy"
	"github.com/firn-log/firn/verify"
)

type lintFlags struct {
	logPolicy, state string
	atLeast          int
	json             bool
}

func newPolicyLintCmd(a *app) *cobra.Command {
	var f lintFlags
	c := &cobra.Command{
		Use:   "lint [FILE]",
		Short: "Say who could fool a policy",
		Long: `Lint names, for every rule of a firn.policy, the smallest sets of operators that could
make it trust anything, and what becomes of paths that it does not trust. Then it computes, for every log of a firn.policy or for one tlog-policy file, two
numbers that are exact whatever groups its quorum has:

  how many witnesses may be dishonest, whichever they are, before the log can
  show two people two histories that both of them believe;
  how many may be down, whichever they are, before no checkpoint is believed.

The first is the least number of witnesses that two quorums have in common, less
one. Witnesses that can never count (with ML-DSA keys, or with evidence held
against them) are as good as absent. For an index policy it says how many auditors
may be dishonest before a wrong index is believed. Of all of them it names examples. Exit status 3 means that some log tolerates
fewer dishonest witnesses than --at-least says.`,
		Example: `  firn policy lint --log-policy main.policy --at-least 2`,
		Args:    cobra.MaximumNArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			path := ""
			if len(args) == 1 {
				path = args[0]
			}
			return a.lint(&f, path)
		},
	}
	flags := c.Flags()
	flags.StringVar(&f.logPolicy, "log-policy", "", "C2SP tlog-policy `FILE`, in place of a firn.policy")
	flags.StringVar(&f.state, "state", "", "`FOLDER` with evidence (default firn in the state folder)")
	flags.IntVar(&f.atLeast, "at-least", 1, "`NUMBER` of dishonest witnesses that every log must tolerate")
	flags.BoolVar(&f.json, "json", false, "print JSON")
	return c
}

// linted is the lint of the policy of one log.
type linted struct {
	Log        string   `json:"log"`
	Of         string   `json:"of"` // "witnesses", or "auditors" for an index policy
	File       string   `json:"file"`
	Quorum     string   `json:"quorum"`
	Tolerated  *int     `json:"tolerated"` // null if the quorum cannot be satisfied
	Overlap    int      `json:"overlap"`
	Needed     int      `json:"needed"`
	Spare      int      `json:"spare"`
	Members    []string `json:"members"`
	NotCounted []string `json:"not_counted"`
	Outside    []string `json:"outside"`
	Warnings   []string `json:"warnings"`
	Smallest   jsonSets `json:"smallest"` // that can show two histories, or vouch for a wrong index
}

func (a *app) lint(f *lintFlags, path string) error {
	var all []linted
	var pols []*policy.Policy
	var rules []lintedRule
	add := func(name, file string, pol *policy.Policy, lint func(name, file string, pol *policy.Policy) linted) error {
		pol, err := log.NewMemory(a.stateDir(f.state)).Evidence().Apply(pol)
		if err != nil {
			return failf(exitFailed, "", "%w", err)
		}
		pols = append(pols, pol)
		all = append(all, lint(name, file, pol))
		return nil
	}
	switch {
	case f.logPolicy != "" && path != "":
		return failf(exitUsage, "name one of them", "a firn.policy and --log-policy are both given")
	case f.logPolicy != "":
		pol, err := readLogPolicy(f.logPolicy)
		if err != nil {
			return err
		}
		if err := add("", f.logPolicy, pol, lintJSON); err != nil {
			return err
		}
	default:
		pol, err := a.loadPolicy(path)
		if err != nil {
			return err
		}
		rules = lintRules(pol)
		for _, l := range pol.Logs {
			if err := add(l.Name, l.File, l.Policy, lintJSON); err != nil {
				return err
			}
			if l.IndexPolicy == nil {
				continue
			}
			if err := add(l.Name, l.IndexFile, l.IndexPolicy, auditorsJSON); err != nil {
				return err
			}
			relate(l, &all[len(all)-2])
		}
	}
	return a.showLint(f, rules, all, pols)
}

func (a *app) showLint(f *lintFlags, rules []lintedRule, all []linted, pols []*policy.Policy) error {
	if !f.json {
		if err := writeRuleLint(a.Stdout, rules); err != nil {
			return err
		}
	}
	bad := 0
	for i, l := range all {
		auditors := l.Of == "auditors"
		if !auditors && (l.Tolerated == nil || *l.Tolerated < f.atLeast) {
			bad++
		}
		var err error
		switch {
		case f.json:
		case auditors:
			err = writeAuditorLint(a.Stdout, l)
		default:
			err = writeLint(a.Stdout, l, pols[i].Lint())
		}
		if err != nil {
			return err
		}
	}
	if f.json {
		if err := writeJSON(a.Stdout, map[string]any{"schema": 1, "at_least": f.atLeast, "rules": rules, "logs": all}); err != nil {
			return err
		}
	}
	if bad > 0 {
		return failf(exitUntrusted, "of n witnesses ask for more than (n + d) / 2 to tolerate d dishonest ones: 3 of 4 tolerate 1, 4 of 5 and 5 of 7 tolerate 2",
			"%s fewer than %s", plural(uint64(bad), "policy tolerates", "policies tolerate"), plural(uint64(max(f.atLeast, 0)), "dishonest witness", "dishonest witnesses"))
	}
	return nil
}

func lintJSON(name, file string, pol *policy.Policy) linted {
	l := pol.Lint()
	j := linted{
		Log: name, Of: "witnesses", File: file, Quorum: pol.Quorum, Overlap: l.Overlap, Needed: l.Needed, Spare: l.Spare,
		Members: list(l.Members), NotCounted: list(l.Uncounted), Outside: list(l.Outside), Warnings: list(l.Warnings),
	}
	if l.Satisfiable {
		j.Tolerated = &l.Tolerated
	}
	sets, _ := verify.SmallestOverlaps(pol, lintExamples)
	j.Smallest = setsJSON(sets)
	return j
}

// list is s, and [] in place of null.
func list(s []string) []string {
	if s == nil {
		return []string{}
	}
	return s
}

func writeLint(w io.Writer, j linted, l policy.Lint) error {
	name := j.File
	if j.Log != "" {
		name = "log " + j.Log + " (" + j.File + ")"
	}
	words := fmt.Sprintf("%s: quorum %s", name, j.Quorum)
	switch n := uint64(len(l.Members)); {
	case !l.Satisfiable:
		words += "\n  no set of witnesses satisfies it"
	case n == 0:
		words += "\n  no witness is asked for"
	default:
		words += fmt.Sprintf(": %s, of whom at least %d cosign\n", plural(n, "witness", "witnesses"), l.Needed)
		switch l.Tolerated {
		case -1:
			words += "  dishonest witnesses tolerated: none, and it takes none: the log alone can show two histories\n"
		case 0:
			words += "  dishonest witnesses tolerated: 0: the log and one witness together can show two histories\n"
		default:
			words += fmt.Sprintf("  dishonest witnesses tolerated: %d: to show two histories the log needs %d that are\n", l.Tolerated, l.Overlap)
		}
		words += fmt.Sprintf("  witnesses that may be down: %d", l.Spare)
	}
	if l.Satisfiable && j.Smallest.Size > 0 {
		words += "\n  smallest sets that could: " + j.Smallest.words()
	}
	for _, s := range j.Warnings {
		words += "\n  warning: " + s
	}
	_, err := fmt.Fprintln(w, words)
	return err
}
