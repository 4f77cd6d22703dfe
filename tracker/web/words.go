package web

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"

	"github.com/firn-log/firn/tracker/api"
)

// maxShown is how many characters of a stranger's name are shown. Links are complete.
const maxShown = 160

// visible writes control characters, and those that change the direction or
// place of what is around them, as \u escapes, so that a text is read as it is.
func visible(s string) string {
	if !strings.ContainsFunc(s, hidden) {
		return s
	}
	var b strings.Builder
	for _, r := range s {
		switch {
		case !hidden(r):
			b.WriteRune(r)
		case r > 0xffff:
			fmt.Fprintf(&b, `\U%08x`, r)
		default:
			fmt.Fprintf(&b, `\u%04x`, r)
		}
	}
	return b.String()
}

// hidden is whether r shows nothing itself: controls, format characters (bidi
// overrides and isolates, zero width, tags) and separators of lines.
func hidden(r rune) bool {
	if r < 0x80 {
		return r < ' ' || r == 0x7f
	}
	return unicode.In(r, unicode.Cc, unicode.Cf, unicode.Zl, unicode.Zp, unicode.Variation_Selector) || r == 0x034f || r == 0x115f || r == 0x1160 || r == 0x3164 || r == 0xffa0
}

// clip shortens s to n characters.
func clip(s string, n int) string {
	if len(s) <= n {
		return s
	}
	for i := range s {
		if n == 0 {
			return s[:i] + "…"
		}
		n--
	}
	return s
}

// show is a name as people see it: short enough, and nothing hidden.
func show(s string) string { return visible(clip(s, maxShown)) }

// hashPart is the hash of a base name of a store path, and namePart what follows it.
func hashPart(base string) string { return show(base[:len(base)-len(afterHash(base))]) }
func namePart(base string) string { return show(afterHash(base)) }

func afterHash(base string) string {
	if i := strings.IndexByte(base, '-'); i == 32 {
		return base[i:]
	}
	return base
}

// prose is a longer text.
func prose(s string) string { return visible(clip(strings.Join(strings.Fields(s), " "), 600)) }

// short is the start of an id or a hash.
func short(s string) string { return visible(clip(s, 12)) }

// num writes n in groups of three digits.
func num(n any) string {
	s := fmt.Sprint(n)
	for i := len(s) - 3; i > 0 && s[i-1] != '-'; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}

// size writes a number of bytes.
func size(n int64) string {
	switch {
	case n < 1<<10:
		return strconv.FormatInt(n, 10) + " B"
	case n < 1<<20:
		return fmt.Sprintf("%.1f KiB", float64(n)/(1<<10))
	case n < 1<<30:
		return fmt.Sprintf("%.1f MiB", float64(n)/(1<<20))
	}
	return fmt.Sprintf("%.2f GiB", float64(n)/(1<<30))
}

// percent writes a share; 100 % and 0 % only if it is exactly so.
func percent(share float64) string {
	switch {
	case share > 0 && share < 0.001:
		return "< 0.1 %"
	case share < 1 && share > 0.999:
		return "> 99.9 %"
	case share == 0 || share == 1:
		return strconv.Itoa(int(share*100)) + " %"
	}
	return fmt.Sprintf("%.1f %%", 100*share)
}

func day(t time.Time) string { return t.UTC().Format("2006-01-02") }
func utc(t time.Time) string { return t.UTC().Format("2006-01-02 15:04 UTC") }
func iso(t time.Time) string { return t.UTC().Format(time.RFC3339) }

// ago says how long before now t was, roughly.
func ago(now, t time.Time) string {
	d := now.Sub(t)
	switch {
	case d < -time.Minute:
		return "in the future"
	case d < time.Minute:
		return "just now"
	case d < time.Hour:
		return plural(int64(d/time.Minute), "minute") + " ago"
	case d < 48*time.Hour:
		return plural(int64(d/time.Hour), "hour") + " ago"
	}
	return plural(int64(d/(24*time.Hour)), "day") + " ago"
}

// plural writes n and a noun.
func plural(n int64, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return num(n) + " " + noun + "s"
}

// list writes words as a sentence does: a, b and c; at most n of them.
func list(words []string, n int) string {
	all := len(words)
	words = slices.Clone(words[:min(n, all)])
	for i := range words {
		words[i] = show(words[i])
	}
	if all > n {
		words = append(words, num(all-n)+" more")
	}
	if len(words) < 2 {
		return strings.Join(words, "")
	}
	return strings.Join(words[:len(words)-1], ", ") + " and " + words[len(words)-1]
}

// decides names what decides states.
func decides(p api.Policy) string {
	if p.Name == "" {
		return "two registered operators built it"
	}
	return show(p.Name)
}

// worst is the order of states for people: differ outranks what is only missing.
func worst(s api.State) int {
	switch s {
	case api.Copying:
		return 4
	case api.Differ:
		return 3
	case api.Missing:
		return 2
	case api.Agree:
		return 1
	}
	return 0
}

// operatorName is what an operator is called on pages.
func operatorName(o api.Operator) string {
	switch {
	case o.Name != "":
		return show(o.Name)
	case o.ID != "":
		return "operator " + short(o.ID)
	case o.Key != "":
		return "unregistered key " + short(o.Key)
	}
	return "somebody"
}

// shellWord quotes s for a POSIX shell.
func shellWord(s string) string {
	if s != "" && !strings.ContainsFunc(s, func(r rune) bool {
		return !strings.ContainsRune("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789+-._/:@%=,", r)
	}) {
		return s
	}
	return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
}
