package verify

import (
	"cmp"
	"fmt"
	"io"
	"slices"
	"strings"
	"unicode/utf8"
)

// shortList is up to how many paths a table shows all of them.
const shortList = 50

// WriteTable writes the verdicts for people, worst first, with dissent before
// without, then by name: a table, what is missing to decide paths, each thing once, the counts,
// and on whose word completeness rests. Of more than 50 paths it leaves out
// those that are trusted without dissent, unless all is set.
func (r *Report) WriteTable(w io.Writer, all bool) error {
	paths := slices.Clone(r.Paths)
	slices.SortStableFunc(paths, func(a, b PathReport) int {
		return cmp.Or(cmp.Compare(a.Verdict, b.Verdict), cmp.Compare(len(b.Dissent), len(a.Dissent)),
			strings.Compare(a.Subject.Info.Path.Name(), b.Subject.Info.Path.Name()))
	})
	hidden := 0
	names := r.shortNames()
	var missing reasons
	rows := [][]string{{"PATH", "VERDICT", "SUPPORT", "DISSENT", "WHY"}}
	for _, p := range paths {
		if len(paths) > shortList && !all && p.Verdict == Trusted && len(p.Dissent) == 0 {
			hidden++
			continue
		}
		rows = append(rows, []string{names[p.Subject.Info.Path.String()], p.Verdict.String(), orDash(strings.Join(p.Supports, " ")), orDash(p.dissentWords()), p.why(&missing)})
	}
	var b strings.Builder
	if len(rows) > 1 {
		writeRows(&b, rows)
		b.WriteByte('\n')
	}
	missing.write(&b)
	r.expected(&b)
	if hidden > 0 {
		fmt.Fprintf(&b, "%s trusted without dissent not shown; use --all to see them.\n", plural(hidden, "path"))
	}
	fmt.Fprintln(&b, r.Summary())
	if r.Cache != nil {
		fmt.Fprintln(&b, r.Cache.Words())
	}
	fmt.Fprintln(&b, r.Completeness())
	for i := range r.Logs {
		fmt.Fprintln(&b, "- "+r.Logs[i].State())
	}
	for _, o := range r.Operators {
		if len(o.Notes) > 0 {
			fmt.Fprintln(&b, "- operator "+o.Words())
		}
	}
	_, err := io.WriteString(w, b.String())
	return err
}

func orDash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}

// dissentWords is "b c claim another hash, d claims other references".
func (p *PathReport) dissentWords() string {
	var words []string
	for i, d := range p.Dissent {
		if d.What == itself {
			words = append(words, d.Words())
			continue
		}
		same := func(e Dissent) bool { return e.What == d.What }
		if slices.ContainsFunc(p.Dissent[:i], same) {
			continue // said with the first of them
		}
		var names []string
		for _, e := range p.Dissent {
			if same(e) {
				names = append(names, e.Operator)
			}
		}
		verb := " claims "
		if len(names) > 1 {
			verb = " claim "
		}
		words = append(words, strings.Join(names, " ")+verb+d.What)
	}
	return strings.Join(words, ", ")
}

// why is the reason without what the other columns, or --explain, say. What is missing is
// said below the table, and here by its numbers.
func (p *PathReport) why(missing *reasons) string {
	switch {
	case strings.Contains(p.Subject.Differs, "sha256:"): // too wide for a table
		return "content differs from what the database says (--explain has the hashes)"
	case p.Subject.Differs != "":
		return p.Reason
	}
	words := p.count()
	if strings.HasSuffix(p.Reason, twoAnswers) {
		words += "; " + twoAnswers
	}
	for _, m := range p.Missing {
		words += fmt.Sprintf(" [%d]", missing.number(m))
	}
	return words
}

// reasons are what is missing, each numbered from 1 on, with the number of paths that it concerns.
type reasons struct {
	texts []string
	paths []int
}

// number counts one more path and returns the number of a reason.
func (r *reasons) number(text string) int {
	i := slices.Index(r.texts, text)
	if i < 0 {
		i = len(r.texts)
		r.texts, r.paths = append(r.texts, text), append(r.paths, 0)
	}
	r.paths[i]++
	return i + 1
}

func (r *reasons) write(b *strings.Builder) {
	for i, text := range r.texts {
		fmt.Fprintf(b, "[%d] %s: %s\n", i+1, plural(r.paths[i], "path"), text)
	}
	if len(r.texts) > 0 {
		b.WriteByte('\n')
	}
}

// writeRows aligns columns, the last one ragged.
func writeRows(b *strings.Builder, rows [][]string) {
	width := make([]int, len(rows[0]))
	for _, row := range rows {
		for i, cell := range row {
			width[i] = max(width[i], utf8.RuneCountInString(cell))
		}
	}
	for _, row := range rows {
		for i, cell := range row {
			b.WriteString(cell)
			if i < len(row)-1 {
				b.WriteString(strings.Repeat(" ", width[i]-utf8.RuneCountInString(cell)+2))
			}
		}
		b.WriteByte('\n')
	}
}

// shortNames returns the name of each path without its hash, or with the start
// of the hash where several paths have one name.
func (r *Report) shortNames() map[string]string {
	count := make(map[string]int)
	for _, p := range r.Paths {
		count[p.Subject.Info.Path.Name()]++
	}
	names := make(map[string]string, len(r.Paths))
	for _, p := range r.Paths {
		path := p.Subject.Info.Path
		names[path.String()] = path.Name()
		if count[path.Name()] > 1 {
			names[path.String()] = path.HashPart()[:6] + "…-" + path.Name()
		}
	}
	return names
}

// Explain writes everything that the verdict about one path rests on.
func (r *Report) Explain(w io.Writer, p *PathReport) error {
	var b strings.Builder
	info := p.Subject.Info
	fmt.Fprintf(&b, "%s\nis %s: %s.\n", info.Path, p.Verdict, p.Reason)
	switch {
	case p.Subject.Unbuilt:
		fmt.Fprintln(&b, p.expectedWords("It"))
	case p.Subject.Absent == "":
		fmt.Fprintf(&b, "Judged are the NAR hash %s, %d bytes and %s.\n", info.NarHash, info.NarSize, plural(len(info.References), "reference"))
	}
	fmt.Fprintf(&b, "The policy needs %s.\n", p.Rule.Need.words())
	voters := make(map[string]bool)
	for _, o := range p.Rule.Need.Voters() {
		voters[o.Name] = true
		r.explainOperator(&b, p, o)
	}
	if len(p.Missing) > 0 {
		fmt.Fprintf(&b, "Missing, and it could change the answer: %s.\n", strings.Join(p.Missing, "; "))
	}
	for _, c := range p.Claims {
		if !voters[c.Operator] {
			fmt.Fprintf(&b, "Not asked for by the rule: operator %s %s.\n", c.Operator, c.words(p.Subject.Fingerprint()))
		}
	}
	fmt.Fprintln(&b, r.Completeness())
	_, err := io.WriteString(w, b.String())
	return err
}

func (r *Report) explainOperator(b *strings.Builder, p *PathReport, o *Operator) {
	said := false
	for _, c := range p.Claims {
		if c.Operator == o.Name {
			said = true
			fmt.Fprintf(b, "  %s %s\n", o.Name, c.words(p.Subject.Fingerprint()))
		}
	}
	if !said {
		fmt.Fprintf(b, "  %s says nothing about it\n", o.Name)
	}
	for _, s := range r.Operators {
		if s.Name == o.Name {
			for _, note := range s.Notes {
				fmt.Fprintf(b, "    note: %s\n", note)
			}
		}
	}
}

// words is "built exactly this (log main entry 17, statement 1a2b…)".
func (c *Claim) words(f Fingerprint) string {
	verb := c.Class.String()
	what := "exactly this"
	switch {
	case c.got(f) && c.Class == Realised:
		what = "this path"
	case c.About != f:
		what = difference(c.About, f)
		switch what {
		case "another path":
			what = "another path, " + c.About.Path.String()
		case "another hash":
			what = "another hash, " + c.About.NarHash.String()
		case "another size":
			what = fmt.Sprintf("another size, %d bytes", c.About.NarSize)
		}
	}
	places := make([]string, len(c.Places))
	for i, at := range c.Places {
		places[i] = fmt.Sprintf("log %s entry %d", at.Log, at.Index)
	}
	return fmt.Sprintf("%s %s (%s, statement %s)", verb, what, strings.Join(places, ", "), c.ID)
}
