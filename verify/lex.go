package verify

import (
	"fmt"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Bounds of a policy file (spec/policy.md#bounds).
const (
	maxPolicyBytes = 1 << 20
	maxNameBytes   = 64
)

// field is one word of a line and where it starts; col counts bytes from 1.
type field struct {
	text string
	col  int
}

// line is the words of one line; n counts from 1.
type line struct {
	n      int
	fields []field
}

// end is the column just after the last word, where something is missing.
func (l line) end() int {
	last := l.fields[len(l.fields)-1]
	return last.col + len(last.text)
}

// lex splits a policy into lines of words: words are separated by spaces and
// tabs, a line whose first word starts with # is a comment, and only the
// octets of C2SP tlog-policy are allowed. report is called for every octet
// that is not; such a line is dropped.
func lex(data string, report func(n, col int, msg string)) []line {
	var lines []line
	for i, text := range strings.Split(data, "\n") {
		n := i + 1
		bad := strings.IndexFunc(text, func(r rune) bool { return r != '\t' && (r < 0x20 || r == 0x7f) })
		if bad >= 0 {
			msg := fmt.Sprintf("octet 0x%02x is not allowed in a policy", text[bad])
			if text[bad] == '\r' {
				msg += "; save the file with plain line feeds"
			}
			report(n, bad+1, msg)
			continue
		}
		if fields := words(text); len(fields) > 0 && fields[0].text[0] != '#' {
			lines = append(lines, line{n: n, fields: fields})
		}
	}
	return lines
}

func words(text string) []field {
	var fields []field
	start := -1
	for i := 0; i <= len(text); i++ {
		gap := i == len(text) || text[i] == ' ' || text[i] == '\t'
		switch {
		case !gap && start < 0:
			start = i
		case gap && start >= 0:
			fields = append(fields, field{text: text[start:i], col: start + 1})
			start = -1
		}
	}
	return fields
}

// reserved words cannot be names: a line that used one would read two ways.
var reserved = []string{
	"all", "any", "default", "distinct", "else", "group", "id", "key", "log", "need", "none", "nothing",
	"operator", "optional", "refuse", "required", "rule", "signed", "veto", "warn",
}

// checkName says what is wrong with a name, or nothing.
func checkName(s string) string {
	switch {
	case len(s) > maxNameBytes:
		return fmt.Sprintf("a name has at most %d bytes, this one has %d", maxNameBytes, len(s))
	case !utf8.ValidString(s):
		return "the name is not UTF-8"
	case strings.ContainsFunc(s, invisible):
		return fmt.Sprintf("the name %q holds a character that cannot be seen", s)
	case strings.HasPrefix(s, "#"):
		return "a name cannot start with #"
	case strings.Trim(s, "0123456789") == "":
		return fmt.Sprintf("the name %q is a number", s)
	case slices.Contains(reserved, s):
		return fmt.Sprintf("%q is a word of the policy language and cannot be a name", s)
	}
	return ""
}

// invisible reports whether a character of a name cannot be seen.
func invisible(r rune) bool {
	return !unicode.IsGraphic(r) || unicode.IsSpace(r) || r == utf8.RuneError
}
