package archtest

import (
	"regexp"
	"strings"
	"testing"
)

// maxLines bounds a Go file; one that reaches it hides a noun to split by.
const maxLines = 500

func TestFilesAreReadInOneSitting(t *testing.T) {
	for _, f := range goFiles(t) {
		if !f.test && f.lines > maxLines {
			t.Errorf("%s has %d lines, more than %d", f.path, f.lines, maxLines)
		}
	}
}

func TestEveryPackageSaysWhatItIsFor(t *testing.T) {
	documented := make(map[string]bool)
	for _, f := range goFiles(t) {
		if !f.test {
			documented[f.pkg] = documented[f.pkg] || f.syntax.Doc != nil
		}
	}
	for pkg, ok := range documented {
		if !ok {
			t.Errorf("package %s has no comment", pkg)
		}
	}
}

// foreign finds what belongs to one machine and not to the project. The
// patterns name kinds of hosts, not hosts.
var foreign = map[string]*regexp.Regexp{
	"a path of somebody's machine": regexp.MustCompile(`(^|[\s"'=(])/(work|root|home/[a-z]+)/`),
	"a package registry's host":    regexp.MustCompile(`\b(proxy|sum|deb|ftp|snapshot|registry|registry-1|index|crates|pypi|npm)\.[a-z0-9-]+\.(org|com|io|net)\b`),
	"a conflict marker":            regexp.MustCompile(`(?m)^(<{7}|>{7}) `),
}

func TestNothingBelongsToOneMachine(t *testing.T) {
	text := regexp.MustCompile(`\.(go|md|sh|toml|nix|service|txtar|cddl|mod)$|^Makefile$|^\.ci/`)
	walk(t, func(name string) {
		if !text.MatchString(name) || strings.HasPrefix(name, "internal/archtest/") {
			return
		}
		src := read(t, name)
		for what, pattern := range foreign {
			if m := pattern.FindString(src); m != "" {
				t.Errorf("%s holds %s: %q", name, what, m)
			}
		}
	})
}
