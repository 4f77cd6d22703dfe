package main

import (
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"
	"unicode/utf8"

	"github.com/firn-log/firn/tracker/api"
	"github.com/firn-log/firn/verify"
)

// shown is a stranger's text on a terminal: nothing in it moves the cursor or
// turns text around.
func shown(s string) string {
	q := strconv.QuoteToGraphic(s)
	return strings.ReplaceAll(strings.ReplaceAll(q[1:len(q)-1], `\"`, `"`), `\\`, `\`)
}

// cell is shown, and never empty.
func reproCell(s string) string {
	if s == "" {
		return "-"
	}
	return shown(s)
}

func reproDay(t time.Time) string {
	if t.IsZero() {
		return "-"
	}
	return t.UTC().Format(time.DateOnly)
}

func reproState(s api.State) string {
	if s == api.Unknown {
		return "unknown"
	}
	return shown(string(s))
}

func (a *app) showRepro(ans *reproAnswer, checked bool) error {
	var b strings.Builder
	switch p := ans.Page.(type) {
	case *api.PackagePage:
		showReproPackage(&b, p, ans.Tracker)
	case *api.ChannelPage:
		showReproChannel(&b, p)
	case *api.PersonPage:
		showReproPerson(&b, p)
	}
	if checked {
		showReproProofs(&b, ans)
	} else {
		fmt.Fprintf(&b, "\nSo says %s\n--policy FILE looks up the proofs.\n", shown(ans.page()))
	}
	if _, err := io.WriteString(a.Stdout, b.String()); err != nil {
		return failf(exitFailed, "", "writing the answer: %w", err)
	}
	return nil
}

// reproWidth is how many characters a line of prose has at most.
const reproWidth = 80

// writeProse writes a text in lines, each after the first behind as many spaces as indent says; the first
// has so many characters already.
func writeProse(b *strings.Builder, text string, indent int) {
	at := indent
	for i, w := range strings.Fields(text) {
		n := utf8.RuneCountInString(w)
		switch {
		case i == 0:
		case at+1+n > reproWidth:
			b.WriteString("\n" + strings.Repeat(" ", indent))
			at = indent
		default:
			b.WriteByte(' ')
			at++
		}
		b.WriteString(w)
		at += n
	}
	b.WriteByte('\n')
}

func showReproPackage(b *strings.Builder, p *api.PackagePage, tracker string) {
	writeProse(b, shown(p.Verdict), 0)
	for _, d := range p.Derivations {
		channels := make([]string, 0, len(d.Channels))
		for _, c := range d.Channels {
			channels = append(channels, shown(c))
		}
		fmt.Fprintf(b, "\n%s in %s: %s\n", reproCell(d.Version), strings.Join(channels, ", "), reproState(d.State))
		if len(d.Outputs) == 0 {
			for _, r := range d.Rows {
				writeProse(b, shown(r.Error), 0)
			}
			continue
		}
		w := tabwriter.NewWriter(b, 0, 0, 2, ' ', 0)
		fmt.Fprintln(w, "OUTPUT\tSTATE\tAGREE\tAGAINST\tPATH")
		for _, o := range d.Outputs {
			fmt.Fprintf(w, "%s\t%s\t%5d\t%7d\t%s\n", reproCell(o.Output), reproState(o.State), o.Agreeing, o.Against, reproCell(o.Path))
		}
		_ = w.Flush() // a builder does not fail
		for _, o := range d.Outputs {
			showReproCamps(b, o, tracker)
		}
	}
}

// showReproCamps names who says what about an output on which not all say the same, and who says what differs.
func showReproCamps(b *strings.Builder, o api.Output, tracker string) {
	if len(o.Camps) < 2 {
		return
	}
	var diffs []string
	for _, c := range o.Camps {
		var who []string
		for _, claim := range o.Claims {
			if claim.Diff != "" && !slices.Contains(diffs, claim.Diff) {
				diffs = append(diffs, claim.Diff)
			}
			if claim.Camp == c.Letter {
				name := claim.Operator.Name
				if name == "" {
					name = "key " + claim.Operator.Key[:min(12, len(claim.Operator.Key))]
				}
				if !claim.Counts {
					name += " (not counted)"
				}
				who = append(who, shown(name))
			}
		}
		head := fmt.Sprintf("  %s %s %s: ", reproCell(o.Output), shown(c.Letter), shown(shortNar(c.NarHash)))
		b.WriteString(head)
		writeProse(b, strings.Join(who, ", "), utf8.RuneCountInString(head))
	}
	for _, d := range diffs[:min(3, len(diffs))] {
		fmt.Fprintf(b, "  %s: what differs: %s/statement/%s\n", reproCell(o.Output), shown(tracker), shown(d))
	}
}

// shortNar is the beginning of a hash, enough to tell two of one output apart.
func shortNar(hash string) string {
	kind, digest, ok := strings.Cut(hash, ":")
	if !ok || len(digest) <= 16 {
		return hash
	}
	return kind + ":" + digest[:16] + "…"
}

func showReproCounts(b *strings.Builder, what string, c api.Counts) {
	fmt.Fprintf(b, "%s: %.1f %% of %d outputs reproduced (%d agree, %d missing, %d differ, %d copying)\n",
		shown(what), 100*c.Share(api.Agree), c.Total(), c.Agree, c.Missing, c.Differ, c.Copying)
}

func showReproChannel(b *strings.Builder, p *api.ChannelPage) {
	showReproCounts(b, p.Channel.Name, p.Channel.Counts)
	if len(p.Worse) > 0 {
		fmt.Fprintf(b, "\nGot worse since the last evaluation:\n")
		w := tabwriter.NewWriter(b, 0, 0, 2, ' ', 0)
		fmt.Fprintln(w, "PACKAGE\tVERSION\tWAS\tIS")
		for _, c := range p.Worse {
			fmt.Fprintf(w, "%s\t%s\t%s\t%s\n", reproCell(c.Attr), reproCell(c.ToVersion), reproState(c.From), reproState(c.To))
		}
		_ = w.Flush()
	}
	fmt.Fprintf(b, "\nWorst:\n")
	w := tabwriter.NewWriter(b, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "PACKAGE\tVERSION\tSTATE\tBUILDERS\tSINCE")
	for _, r := range p.Attributes[:min(maxReproPackages, len(p.Attributes))] {
		fmt.Fprintf(w, "%s\t%s\t%s\t%8d\t%s\n", reproCell(r.Attr), reproCell(r.Version), reproState(r.State), r.Builders, reproDay(r.Since))
	}
	_ = w.Flush()
}

func showReproPerson(b *strings.Builder, p *api.PersonPage) {
	fmt.Fprintf(b, "%s %s\n", shown(p.Kind), shown(p.Login))
	for _, c := range p.Channels {
		showReproCounts(b, c.Channel, c.Counts)
	}
	fmt.Fprintln(b)
	w := tabwriter.NewWriter(b, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "PACKAGE\tCHANNEL\tVERSION\tSTATE\tBUILDERS\tSINCE")
	for _, pkg := range p.Packages {
		for _, r := range pkg.Attributes {
			fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%8d\t%s\n", reproCell(r.Attr), reproCell(r.Channel), reproCell(r.Version), reproState(r.State), r.Builders, reproDay(r.Since))
		}
	}
	_ = w.Flush()
	if p.Next != "" {
		fmt.Fprintln(b, "More are on the page of the tracker.")
	}
}

func showReproProofs(b *strings.Builder, ans *reproAnswer) {
	fmt.Fprintf(b, "\nProofs:\n")
	w := tabwriter.NewWriter(b, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "PATH\tTRACKER\tVERDICT")
	wrong, open := 0, 0
	for _, p := range ans.Proofs {
		fmt.Fprintf(w, "%s\t%s\t%s\n", reproCell(p.Path), reproState(p.State), p.Verdict)
		wrong += len(p.Disagreements)
		if p.Verdict == verify.Inconclusive.String() {
			open++
		}
	}
	_ = w.Flush()
	showReproReasons(b, ans)
	for _, p := range ans.Proofs {
		for _, d := range p.Disagreements {
			fmt.Fprintf(b, "%s: %s\n", shown(p.Path), shown(d))
		}
	}
	switch {
	case wrong > 0:
	case open > 0:
		writeProse(b, fmt.Sprintf("No disagreement was found, but of %d of these paths the logs do not prove everything.", open), 0)
	default:
		fmt.Fprintln(b, "What the tracker shows of the operators of the policy is what the logs prove.")
	}
	if len(ans.Proofs) > 0 {
		writeProse(b, "That these are the paths of "+shown(ans.name)+" is the word of the tracker.", 0)
	} else {
		writeProse(b, "It shows no path that could be looked up.", 0)
	}
}

// showReproReasons writes each reason once, with the paths that it is of: those of a list are often the same.
func showReproReasons(b *strings.Builder, ans *reproAnswer) {
	of := make(map[string][]string)
	var reasons []string
	for _, p := range ans.Proofs {
		if of[p.Reason] == nil {
			reasons = append(reasons, p.Reason)
		}
		name := p.Path
		if len(name) > 33 {
			name = name[33:]
		}
		of[p.Reason] = append(of[p.Reason], shown(name))
	}
	for _, r := range reasons {
		paths := of[r]
		if n := len(paths); n > 4 {
			paths = append(paths[:3:3], fmt.Sprintf("%d more", n-3))
		}
		writeProse(b, strings.Join(paths, ", ")+": "+reproCell(r), 0)
	}
}
