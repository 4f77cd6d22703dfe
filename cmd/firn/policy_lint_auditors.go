package main

import (
	"bytes"
	"fmt"
	"io"
	"slices"

	"github.com/firn-log/firn/log/policy"
	"github.com/firn-log/firn/verify"
)

// auditorsJSON is the lint of an index policy. Its numbers are those of any
// quorum but one: a wrong index needs no second history to be believed, only one
// quorum that vouches for it, so that one honest auditor in every quorum is enough
// (spec/policy.md#index-policies).
func auditorsJSON(name, file string, pol *policy.Policy) linted {
	j := lintJSON(name, file, pol)
	j.Of = "auditors"
	if j.Tolerated != nil {
		n := j.Needed - 1
		j.Tolerated = &n
	}
	sets, _ := verify.SmallestQuorums(pol, lintExamples)
	j.Smallest = setsJSON(sets)
	j.Warnings = auditorWarnings(j, pol)
	return j
}

func auditorWarnings(j linted, pol *policy.Policy) []string {
	warnings := []string{}
	add := func(format string, args ...any) { warnings = append(warnings, fmt.Sprintf(format, args...)) }
	switch {
	case j.Tolerated == nil:
		add("no set of auditors satisfies the quorum, so no answer is ever complete")
	case j.Needed == 1:
		add("one dishonest auditor is enough for a wrong index to be believed")
	}
	if j.Tolerated != nil && j.Spare == 0 {
		add("there is an auditor without whom no quorum is left: if it is down, no answer is complete")
	}
	for _, name := range j.NotCounted {
		if slices.Contains(pol.Ignored(), name) {
			add("evidence is held against the auditor %s; it never counts", name)
		} else {
			add("the auditor %s has an ML-DSA key, which this version never counts", name)
		}
	}
	for _, name := range j.Outside {
		add("the auditor %s is not part of the quorum", name)
	}
	return warnings
}

func writeAuditorLint(w io.Writer, j linted) error {
	words := fmt.Sprintf("index of log %s (%s): quorum %s", j.Log, j.File, j.Quorum)
	if j.Tolerated == nil {
		words += "\n  no set of auditors satisfies it"
	} else {
		words += fmt.Sprintf(": %s, of whom at least %d vouch\n", plural(uint64(len(j.Members)), "auditor", "auditors"), j.Needed)
		words += fmt.Sprintf("  dishonest auditors tolerated: %d: for a wrong index to be believed the log needs %d that are\n", *j.Tolerated, j.Needed)
		words += fmt.Sprintf("  auditors that may be down: %d", j.Spare)
	}
	if j.Tolerated != nil {
		words += "\n  smallest sets that could: " + j.Smallest.words()
	}
	for _, s := range j.Warnings {
		words += "\n  warning: " + s
	}
	_, err := fmt.Fprintln(w, words)
	return err
}

// relate goes through the auditors of an index policy that are in the log policy too. They are
// outside its quorum (spec/policy.md#index-policies): that is where the log asks them, and no reason to warn.
func relate(l *verify.LogRef, witnesses *linted) {
	for _, a := range l.IndexPolicy.Witnesses {
		for _, w := range l.Policy.Witnesses {
			if bytes.Equal(a.Key.Public, w.Key.Public) {
				witnesses.Warnings = slices.DeleteFunc(witnesses.Warnings, func(s string) bool {
					return s == fmt.Sprintf("the witness %s is not part of the quorum", w.Name)
				})
			}
		}
	}
}
