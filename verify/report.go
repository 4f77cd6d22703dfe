package verify

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// Report is the answer of Verify.
type Report struct {
	Policy    *Policy
	Full      bool         // every log was read whole
	Bundle    bool         // no log was asked, but a bundle
	Paths     []PathReport // in the order asked
	Logs      []LogReport  // in the order of the policy
	Operators []*Standing  // in the order of the policy
	Warnings  []string     // sentences about remembered answers; they change no verdict
	Cache     *CacheReport // of which the paths are, nil for a store on this machine; whoever asked for the report sets it
}

// PathReport is the verdict about one path and the live claims that it rests on.
type PathReport struct {
	Subject Subject
	Rule    *Rule // what it was judged by, see Policy.RuleFor
	Judgement
	Claims []Claim

	open map[string]string // see Case.Open
}

// Counts is how many paths got each verdict.
func (r *Report) Counts() map[Verdict]int {
	n := make(map[Verdict]int)
	for _, p := range r.Paths {
		n[p.Verdict]++
	}
	return n
}

// Evidence returns the files that convict a log of the policy, or its index.
func (r *Report) Evidence() []string {
	var files []string
	for _, l := range r.Logs {
		if l.Evidence != "" {
			files = append(files, l.Evidence)
		}
		if l.IndexFault != nil {
			files = append(files, l.IndexFault.File)
		}
	}
	return files
}

// ExitStatus is the status that a program ends with (spec/cli.md#exit-status):
// 5 if evidence is on disk, else 3 if a path is untrusted or contradicted, else
// 4 if one is inconclusive, else 0. A report about nothing is 1.
func (r *Report) ExitStatus() int {
	n := r.Counts()
	switch {
	case len(r.Evidence()) > 0:
		return 5
	case n[Untrusted]+n[Contradicted] > 0:
		return 3
	case n[Inconclusive] > 0:
		return 4
	case n[Trusted] == 0:
		return 1
	}
	return 0
}

// Completeness says in one sentence why nothing that matters can be missing
// from the answers, or that this is not known.
func (r *Report) Completeness() string {
	switch {
	case !slices.ContainsFunc(r.Logs, answered):
		return "Nothing is known: " + r.logNames(func(LogReport) bool { return true }) + " gave no answer that counts."
	case r.Full:
		return "Complete: every entry of " + r.logNames(answered) + " was read" + r.silent() + "."
	case slices.ContainsFunc(r.Logs, func(l LogReport) bool { return l.Required && answered(l) && l.Complete.By == BasisNone }):
		return r.incomplete()
	}
	var parts []string
	for _, l := range r.Logs {
		if by := l.Complete.By; by == BasisLog || by == BasisAuditors {
			parts = append(parts, fmt.Sprintf("%s (log %s)", l.Complete.Words(), l.Name))
		}
	}
	taken := func(l LogReport) bool { return l.Complete.By == BasisPolicy }
	if slices.ContainsFunc(r.Logs, taken) {
		parts = append(parts, "completeness not proven: the policy says `completeness off`, so the word of "+r.logNames(taken)+" is taken for it")
	}
	for _, l := range r.Logs {
		if answered(l) && l.Complete.By == BasisNone {
			parts = append(parts, l.Complete.Words())
		}
	}
	words := strings.Join(parts, "; ") + r.silent() + "."
	return strings.ToUpper(words[:1]) + words[1:]
}

// incomplete says which answers that every verdict needs are not complete, and
// what to do.
func (r *Report) incomplete() string {
	var parts []string
	for _, l := range r.Logs {
		if answered(l) && l.Complete.By == BasisNone {
			parts = append(parts, l.Complete.Why)
		}
	}
	hint := "Use --full to read the whole log"
	if r.Bundle {
		hint = "Verify where the logs can be asked"
	}
	if !slices.ContainsFunc(r.Logs, func(l LogReport) bool { return l.IndexFault != nil }) && !r.Policy.CompletenessOff {
		hint += ", or write `completeness off` in the policy"
	}
	return "Completeness not proven: " + strings.Join(parts, "; ") + ", so no verdict is certain. " + hint + "."
}

// basis is the weakest word on which the completeness of a required log rests.
func (r *Report) basis() Basis {
	weakest := BasisReading
	for _, l := range r.Logs {
		if l.Required && l.Complete.By.strength() < weakest.strength() {
			weakest = l.Complete.By
		}
	}
	return weakest
}

func answered(l LogReport) bool { return l.Answered != NotAtAll }

// silent names the logs that gave no answer, if others did.
func (r *Report) silent() string {
	missing := func(l LogReport) bool { return !answered(l) }
	if !slices.ContainsFunc(r.Logs, missing) {
		return ""
	}
	return "; " + r.logNames(missing) + " gave no answer that counts"
}

// logNames is "log a" or "logs a, b": those for which which is true.
func (r *Report) logNames(which func(LogReport) bool) string {
	var names []string
	for _, l := range r.Logs {
		if which(l) {
			names = append(names, l.Name)
		}
	}
	if len(names) == 1 {
		return "log " + names[0]
	}
	return "logs " + strings.Join(names, ", ")
}

// Summary is one sentence with the counts, and the rule.
func (r *Report) Summary() string {
	n := r.Counts()
	var parts []string
	for _, v := range []Verdict{Trusted, Contradicted, Untrusted, Inconclusive} {
		if n[v] > 0 {
			parts = append(parts, fmt.Sprintf("%d %s", n[v], v))
		}
	}
	words := fmt.Sprintf("%s: %s. Needed: %s", plural(len(r.Paths), "path"), strings.Join(parts, ", "), r.Policy.Default().Need.words())
	for _, rule := range r.Policy.Rules[:len(r.Policy.Rules)-1] {
		words += fmt.Sprintf("; by rule %s: %s", rule.Name, rule.Need.words())
	}
	return words + "." + r.taken() + r.doubtful()
}

// doubtful says of how many paths it is not known which rule is the one.
func (r *Report) doubtful() string {
	n := 0
	for _, p := range r.Paths {
		if p.Rule.Several {
			n++
		}
	}
	if n == 0 {
		return ""
	}
	return fmt.Sprintf(" Of %s it is not known which rule is the one, so all that it may be have to be satisfied.", plural(n, "path"))
}

// taken says how many paths the policy lets in although they are not trusted.
func (r *Report) taken() string {
	n := 0
	for _, p := range r.Paths {
		if p.Action != Serve && p.Action.Taken() {
			n++
		}
	}
	if n == 0 {
		return ""
	}
	return fmt.Sprintf(" %s not trusted and taken all the same, as the policy says.", plural(n, "path"))
}

// words is "2 of a b c d built".
func (g *Group) words() string {
	if g == nil {
		return "nothing"
	}
	members := make([]string, len(g.Members))
	for i, m := range g.Members {
		members[i] = m.Name()
		if m.Group != nil {
			members[i] = "(" + m.Group.words() + ")"
		}
	}
	what := "built"
	if g.Signed {
		what = "signed"
	}
	words := fmt.Sprintf("%d of %s", g.K, strings.Join(members, " "))
	if slices.ContainsFunc(g.Members, func(m Member) bool { return m.Operator != nil }) {
		words += " " + what
	}
	if g.Distinct != "" {
		words += fmt.Sprintf(" with %d values of %s", g.Values, g.Distinct)
	}
	return words
}

// words is "any 1 of a b".
func (v *Veto) words() string {
	names := make([]string, len(v.Group.Members))
	for i, m := range v.Group.Members {
		names[i] = m.Name()
	}
	return fmt.Sprintf("any %d of %s", v.Group.K, strings.Join(names, " "))
}

// State is what one log contributed, in one sentence.
func (l *LogReport) State() string {
	if l.Problem != "" && l.Answered == NotAtAll {
		return l.Problem
	}
	age := "without witnesses, so nothing says how old that is"
	if l.Dated {
		age = span(max(l.Age, 0)) + " old"
		if l.Frozen {
			age += " and the last one, because the log is frozen"
		}
	}
	from := string(l.Answered)
	switch {
	case l.Answered == ByBundle && l.Dated:
		from = "the bundle of " + l.Time.UTC().Format(time.RFC3339)
	case l.Answered == ByBundle:
		from = "the bundle"
	}
	s := fmt.Sprintf("log %s (%s): answers from %s at size %d, %s", l.Name, l.Origin, from, l.Size, age)
	if l.Mirror != "" {
		s += ", as its mirror " + l.Mirror + " shows it"
	}
	if l.Ignored > 0 {
		s += fmt.Sprintf("; %s with a wrong signature not counted", plural(l.Ignored, "statement"))
	}
	if by := l.Complete.By; by == BasisLog || by == BasisAuditors {
		s += "; " + l.Complete.Words()
	}
	if l.Problem != "" {
		s += "; " + l.Problem
	}
	return s
}

// IndexWords is the sentence about evidence that is held against the log's index, ""
// if there is none.
func (l *LogReport) IndexWords() string {
	if l.IndexFault == nil {
		return ""
	}
	return faultWords(l.Name, l.IndexFault)
}

// Find returns the paths that what names: a store path, its base name, or its
// name without the hash.
func (r *Report) Find(what string) []*PathReport {
	var found []*PathReport
	for i := range r.Paths {
		switch p := r.Paths[i].Subject.Info.Path; what {
		case p.String(), p.Base(), p.Name():
			found = append(found, &r.Paths[i])
		}
	}
	return found
}
