package eval

import (
	"maps"
	"path"
	"slices"
	"strings"
)

// aside are the parts of a nixpkgs that no package is made of (spec/tracker.md#what-is-evaluated-again).
var aside = []string{".github/", ".git-blame-ignore-revs", ".editorconfig", ".gitattributes", ".gitignore", ".mailmap", "ci/", "doc/", "nixos/"}

// core are the parts that every package can be made of.
var core = []string{"lib/", "maintainers/", "pkgs/build-support/", "pkgs/stdenv/", "pkgs/top-level/", "pkgs/pkgs-lib/"}

func within(file string, dirs []string) bool {
	return slices.ContainsFunc(dirs, func(d string) bool { return file == d || strings.HasSuffix(d, "/") && strings.HasPrefix(file, d) })
}

// affected returns the attributes that a change of files can have changed, sorted: those that
// stand in one of the files or in the folder around one, those that the files are of by
// their name, and those that did not evaluate. It returns the first file of which it
// cannot tell, if there is one: then it can be any.
func affected(before map[string]Attribute, files []string) (attrs []string, unknown string) {
	byFolder := make(map[string][]string)
	set := make(map[string]bool)
	for name, a := range before {
		if a.Error != "" {
			set[name] = true
		}
		if file, _, _ := strings.Cut(a.Position, ":"); file != "" && !path.IsAbs(file) {
			dir := path.Dir(file)
			byFolder[dir] = append(byFolder[dir], name)
		}
	}
	for _, file := range files {
		if within(file, aside) {
			continue
		}
		if name, ok := byName(file); ok {
			set[name] = true
			// Others may stand there too.
			for _, attr := range byFolder[strings.Join(strings.Split(file, "/")[:4], "/")] {
				set[attr] = true
			}
			continue
		}
		found := around(byFolder, file)
		if within(file, core) || !strings.Contains(file, "/") || found == nil {
			return nil, file
		}
		for _, attr := range found {
			set[attr] = true
		}
	}
	return slices.Sorted(maps.Keys(set)), ""
}

// minNamed is how long a text is that says of which package it is.
const minNamed = 4

// namedAfter returns the attributes, sorted, whose name or version holds the former name or version of one that
// is another now: wrappers are often named after what they wrap, wherever that stands. Those in asked are left out.
func namedAfter(before, found map[string]Attribute, asked []string) []string {
	texts := make(map[string]bool)
	for attr, a := range before {
		if is, there := found[attr]; there && (is.Name != a.Name || is.Version != a.Version) {
			texts[a.Name], texts[a.Version] = true, true
		}
	}
	maps.DeleteFunc(texts, func(s string, _ bool) bool { return len(s) < minNamed })
	known := make(map[string]bool)
	for _, a := range asked {
		known[a] = true
	}
	var more []string
	for attr, a := range before {
		if len(texts) == 0 || covers(known, attr) {
			continue
		}
		for s := range texts {
			if strings.Contains(a.Name, s) || strings.Contains(a.Version, s) {
				more = append(more, attr)
				break
			}
		}
	}
	slices.Sort(more)
	return more
}

// byName returns the attribute whose folder under pkgs/by-name holds file.
func byName(file string) (string, bool) {
	parts := strings.Split(file, "/")
	if len(parts) < 5 || parts[0] != "pkgs" || parts[1] != "by-name" || !ValidAttr(parts[3]) || strings.Contains(parts[3], ".") {
		return "", false
	}
	return parts[3], true
}

// around returns the attributes of the nearest folder around file that has some.
func around(byFolder map[string][]string, file string) []string {
	for dir := path.Dir(file); dir != "." && dir != "/"; dir = path.Dir(dir) {
		if attrs := byFolder[dir]; attrs != nil {
			return attrs
		}
	}
	return nil
}

// merge returns before with what was evaluated again in place of what it replaces: asked and
// everything in them.
func merge(before map[string]Attribute, asked []string, found map[string]Attribute) map[string]Attribute {
	again := make(map[string]bool, len(asked))
	for _, a := range asked {
		again[a] = true
	}
	after := maps.Clone(found)
	for name, a := range before {
		if _, there := after[name]; !there && !covers(again, name) {
			after[name] = a
		}
	}
	return after
}

// covers reports whether set holds attr or a set that attr is in.
func covers(set map[string]bool, attr string) bool {
	for {
		if set[attr] {
			return true
		}
		i := strings.LastIndexByte(attr, '.')
		if i < 0 {
			return false
		}
		attr = attr[:i]
	}
}
