package main

import (
	"fmt"
	"io"
	"strconv"
	"strings"
	"text/tabwriter"

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
		showReproPackage(&b, p, ans)
	case *api.ChannelPage:
		showReproChannel(&b, p)
	case *api.PersonPage:
		showReproPerson(&b, p)
	}
	if checked {
		showReproProofs(&b, ans)
	} else {
		fmt.Fprintf(&b, "\nSo says %s; --policy FILE looks up the proofs.\n", shown(ans.Tracker))
	}
	if _, err := io.WriteString(a.Stdout, b.String()); err != nil {
		return failf(exitFailed, "", "writing the answer: %w", err)
	}
	return nil
}

func showReproPackage(b *strings.Builder, p *api.PackagePage, ans *reproAnswer) {
	fmt.Fprintf(b, "%s\n", shown(p.Verdict))
	for _, d := range p.Derivations {
		channels := make([]string, 0, len(d.Channels))
		for _, c := range d.Channels {
			channels = append(channels, shown(c))
		}
		fmt.Fprintf(b, "\n%s in %s: %s\n", reproCell(d.Version), strings.Join(channels, ", "), reproState(d.State))
		w := tabwriter.NewWriter(b, 0, 0, 2, ' ', 0)
		fmt.Fprintln(w, "OUTPUT\tSTATE\tAGREE\tAGAINST\tPATH")
		for _, o := range d.Outputs {
			fmt.Fprintf(w, "%s\t%s\t%5d\t%7d\t%s\n", reproCell(o.Output), reproState(o.State), o.Agreeing, o.Against, reproCell(o.Path))
		}
		_ = w.Flush() // a builder does not fail
		for _, o := range d.Outputs {
			showReproCamps(b, o)
		}
	}
}

// showReproCamps names who says what about an output on which not all say the same.
func showReproCamps(b *strings.Builder, o api.Output) {
	if len(o.Camps) < 2 {
		return
	}
	for _, c := range o.Camps {
		var who []string
		for _, claim := range o.Claims {
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
		fmt.Fprintf(b, "  %s %s: %s\n", reproCell(o.Output), shown(c.NarHash), strings.Join(who, ", "))
	}
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
	fmt.Fprintln(w, "PACKAGE\tVERSION\tSTATE\tBUILDERS")
	for _, r := range p.Attributes[:min(maxReproPackages, len(p.Attributes))] {
		fmt.Fprintf(w, "%s\t%s\t%s\t%8d\n", reproCell(r.Attr), reproCell(r.Version), reproState(r.State), r.Builders)
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
	fmt.Fprintln(w, "PACKAGE\tATTRIBUTE\tCHANNEL\tVERSION\tSTATE\tBUILDERS")
	for _, pkg := range p.Packages {
		for i, r := range pkg.Attributes {
			name := shown(pkg.Name)
			if i > 0 {
				name = ""
			}
			fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%8d\n", name, reproCell(r.Attr), reproCell(r.Channel), reproCell(r.Version), reproState(r.State), r.Builders)
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
	fmt.Fprintln(w, "PATH\tTRACKER\tVERDICT\tWHY")
	wrong, open := 0, 0
	for _, p := range ans.Proofs {
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\n", reproCell(p.Path), reproState(p.State), p.Verdict, reproCell(p.Reason))
		wrong += len(p.Disagreements)
		if p.Verdict == verify.Inconclusive.String() {
			open++
		}
	}
	_ = w.Flush()
	for _, p := range ans.Proofs {
		for _, d := range p.Disagreements {
			fmt.Fprintf(b, "%s: %s\n", shown(p.Path), shown(d))
		}
	}
	switch {
	case wrong > 0:
	case open > 0:
		fmt.Fprintf(b, "No disagreement was found, but of %d of these paths the logs do not prove everything.\n", open)
	default:
		fmt.Fprintf(b, "What %s shows of the operators of the policy is what the logs prove.\n", shown(ans.Tracker))
	}
}
