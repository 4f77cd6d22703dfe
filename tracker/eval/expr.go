package eval

import (
	_ "embed"
	"encoding/json"
	"strings"
)

//go:embed stream.nix
var streamNix string

// settings are the arguments that a tree is called with, and members of config, as far as it knows them. The
// first is left out where aliases are wanted.
var settings = []string{"allowAliases", "allowBroken", "allowUnfree", "allowUnsupportedSystem", "allowInsecurePredicate", "checkMeta", "inHydra", "system", "config", "overlays"}

// item is an attribute path that is asked for.
type item struct {
	Path []string `json:"path"`
	// Open asks for the names in it, whatever it says about itself.
	Open bool `json:"open"`
	// Superset is a file that lists attribute paths, to be asked in place of an attribute.
	Superset string `json:"superset"`
}

func (i item) attr() string { return strings.Join(i.Path, ".") }

// expression returns the program of one process, which it gets on standard input.
func (o *Options) expression(word string, tier Tier, items []item) (string, error) {
	list, err := json.Marshal(items)
	if err != nil {
		return "", err
	}
	set, err := json.Marshal(o.settings)
	if err != nil {
		return "", err
	}
	var b strings.Builder
	b.WriteString("(\n" + streamNix + "\n) {\n")
	for _, arg := range [][2]string{{"word", word}, {"system", o.System}, {"tier", string(tier)}, {"settings", string(set)}, {"items", string(list)}} {
		b.WriteString("  " + arg[0] + " = " + nixString(arg[1]) + ";\n")
	}
	// A path, and not a text: then nothing of it is copied.
	b.WriteString("  tree = /. + " + nixString(o.Tree) + ";\n}\n")
	return b.String(), nil
}

var nixEscape = strings.NewReplacer(`\`, `\\`, `"`, `\"`, "${", `\${`)

// nixString returns s as a string of the Nix language.
func nixString(s string) string { return `"` + nixEscape.Replace(s) + `"` }
