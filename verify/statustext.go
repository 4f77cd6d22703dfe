package verify

import (
	"fmt"
	"io"
	"path"
	"slices"
	"strings"
	"time"
	"unicode/utf8"
)

// A status fits on a terminal of these, with a line for the prompt.
const (
	screenLines   = 24
	screenColumns = 80
)

// WriteScreen writes the status of the report for people, on one screen: the counts, what is reproduced
// and by whom, the worst paths as far as there is room, what has changed since before, and
// on whose word completeness rests. before may be nil. more is the command that lists everything.
func (s *Status) WriteScreen(w io.Writer, r *Report, before *Status, more string) error {
	head := s.head()
	var tail []string
	for i, sentence := range s.since(before) {
		tail = append(tail, wrap(sentence, 3-i)...)
	}
	tail = append(tail, wrap(r.Completeness(), 3)...)
	lines := append(head, s.worst(r, screenLines-1-len(head)-len(tail), more)...)
	_, err := io.WriteString(w, strings.Join(append(lines, tail...), "\n")+"\n")
	return err
}

func (s *Status) head() []string {
	lines := wrap(fmt.Sprintf("%s: %s, %s trusted", s.Of, plural(s.Paths, "path"), share(s.Trusted, s.Paths)), 2)
	for _, v := range []struct {
		verdict Verdict
		n       int
	}{{Trusted, s.Trusted}, {Contradicted, s.Contradicted}, {Untrusted, s.Untrusted}, {Inconclusive, s.Inconclusive}} {
		lines = append(lines, fmt.Sprintf("  %-12s %7d  %6s", v.verdict, v.n, share(v.n, s.Paths)))
	}
	of := s.Paths - s.Fixed
	reproduced := fmt.Sprintf("Reproduced: %d of %d (%s) built the same by two or more, %d by at least one.", s.Reproduced, of, share(s.Reproduced, of), s.Built)
	if s.Fixed > 0 {
		reproduced += fmt.Sprintf(" Not counted: %s fixed by the hash of the content.", plural(s.Fixed, "path"))
	}
	lines = append(lines, wrap(reproduced, 2)...)
	lines = append(lines, wrap("By: "+s.byWords(), 2)...)
	return append(lines, wrap(fmt.Sprintf("Coverage: the logs say something about %d of %d (%s).", s.Covered, s.Paths, share(s.Covered, s.Paths)), 1)...)
}

func (s *Status) byWords() string {
	const most = 5
	var words []string
	for i, o := range s.By {
		if i == most {
			words = append(words, plural(len(s.By)-most, "other"))
			break
		}
		what := fmt.Sprintf("%s built %d", o.Name, o.Built)
		if o.Signed > 0 {
			what = fmt.Sprintf("%s signed %d", o.Name, o.Signed)
			if o.Built > 0 {
				what = fmt.Sprintf("%s built %d, signed %d", o.Name, o.Built, o.Signed)
			}
		}
		if o.Dissent > 0 {
			what += fmt.Sprintf(" (%d otherwise)", o.Dissent)
		}
		words = append(words, what)
	}
	if len(words) == 0 {
		return "nobody"
	}
	return strings.Join(words, "; ")
}

// worst lists the worst paths in at most that many lines.
func (s *Status) worst(r *Report, room int, more string) []string {
	paths := r.Worst()
	if len(paths) == 0 || room < 2 {
		return nil
	}
	lines := []string{"Worst first:"}
	shown := min(len(paths), room-1)
	if shown < len(paths) {
		shown--
	}
	for _, p := range paths[:shown] {
		lines = append(lines, clip(fmt.Sprintf("  %-12s  %s: %s", p.Verdict, p.Subject.Info.Path.Name(), p.Words())))
	}
	if rest := len(paths) - shown; rest > 0 {
		lines = append(lines, clip(fmt.Sprintf("  and %d more; list them with %s", rest, more)))
	}
	return lines
}

// since is what has changed, in at most two sentences.
func (s *Status) since(before *Status) []string {
	if before == nil {
		return []string{"This is the first time; the next one says what has changed."}
	}
	var parts []string
	for _, c := range []struct {
		what     string
		was, now int
	}{
		{"trusted", before.Trusted, s.Trusted},
		{"contradicted", before.Contradicted, s.Contradicted},
		{"untrusted", before.Untrusted, s.Untrusted},
		{"inconclusive", before.Inconclusive, s.Inconclusive},
	} {
		if d := c.now - c.was; d > 0 {
			parts = append(parts, fmt.Sprintf("%d more %s", d, c.what))
		} else if d < 0 {
			parts = append(parts, fmt.Sprintf("%d fewer %s", -d, c.what))
		}
	}
	if was, now := share(before.Reproduced, before.Paths-before.Fixed), share(s.Reproduced, s.Paths-s.Fixed); was != now {
		parts = append(parts, fmt.Sprintf("reproduced %s, was %s", now, was))
	}
	if len(parts) == 0 {
		parts = []string{"nothing has changed"}
	}
	words := []string{fmt.Sprintf("Since %s (%s before): %s.", before.Time.Format(time.DateOnly+" 15:04"), span(max(s.Time.Sub(before.Time), 0)), strings.Join(parts, ", "))}
	if fresh := newIn(s.Bad, before.Bad); len(fresh) > 0 {
		words = append(words, "Newly contradicted: "+strings.Join(fresh, ", ")+".")
	}
	return words
}

// newIn returns the names of the paths that are in now and not in before.
func newIn(now, before []string) []string {
	var names []string
	for _, p := range now {
		if _, ok := slices.BinarySearch(before, p); !ok {
			_, name, _ := strings.Cut(path.Base(p), "-")
			names = append(names, name)
		}
	}
	return names
}

// share is n of all in percent, and 100% and 0% only if they are exact.
func share(n, all int) string {
	switch {
	case all <= 0 || n <= 0:
		return "0%"
	case n >= all:
		return "100%"
	}
	return fmt.Sprintf("%.1f%%", min(99.9, max(0.1, float64(n)*100/float64(all))))
}

// wrap breaks a text into at most that many lines of the screen; what is too long ends in "…".
func wrap(text string, most int) []string {
	var lines []string
	line := ""
	for _, word := range strings.Fields(text) {
		if line != "" && utf8.RuneCountInString(line)+1+utf8.RuneCountInString(word) > screenColumns-1 {
			lines, line = append(lines, line), " "
		}
		if line != "" {
			line += " "
		}
		line += word
	}
	lines = append(lines, line)
	if len(lines) > most {
		lines = lines[:most]
		lines[most-1] += " …"
	}
	for i := range lines {
		lines[i] = clip(lines[i])
	}
	return lines
}

// clip cuts a line at the edge of the screen.
func clip(line string) string {
	if runes := []rune(line); len(runes) > screenColumns-1 {
		return string(runes[:screenColumns-2]) + "…"
	}
	return line
}
