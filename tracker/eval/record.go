package eval

import (
	"encoding/json"
	"fmt"
	"maps"
	"path"
	"slices"
	"strings"
)

// told is one answer of stream.nix.
type told struct {
	Pkg    *toldPkg   `json:"pkg"`
	Set    []string   `json:"set"`    // names in a set that is to be looked into
	Paths  [][]string `json:"paths"`  // of a superset
	Gone   bool       `json:"gone"`   // there is no such attribute
	Other  bool       `json:"other"`  // it is nothing that is evaluated
	Throws bool       `json:"throws"` // it failed in a way that can be caught, without words
}

type toldPkg struct {
	Name        *string            `json:"name"`
	System      *string            `json:"system"`
	Pname       *string            `json:"pname"`
	Version     *string            `json:"version"`
	Position    *string            `json:"position"`
	Description *string            `json:"description"`
	Homepage    *string            `json:"homepage"`
	Maintainers []toldPerson       `json:"maintainers"`
	Teams       []string           `json:"teams"`
	Licences    []string           `json:"licences"`
	Patches     []string           `json:"patches"`
	Identifiers map[string]*string `json:"identifiers"`
	KnownVulns  []string           `json:"knownVulns"`
	Broken      bool               `json:"broken"`
	Unfree      bool               `json:"unfree"`
	Insecure    bool               `json:"insecure"`
	Drv         *string            `json:"drv"`
	FOD         bool               `json:"fod"`
	Outputs     map[string]*string `json:"outputs"`
}

type toldPerson struct {
	Login *string `json:"login"`
	Name  *string `json:"name"`
	Email *string `json:"email"`
	Text  *string `json:"text"` // "Name <address>"
}

// The sentences of what does not evaluate; the others are the evaluator's own.
const (
	saysThrows = "it throws, or an assertion in it fails"
	saysLong   = "what it says about itself is longer than 8 MiB"
	saysDeep   = "it is nested in more than 8 attribute sets"
	saysMany   = "the tree has more than 500000 attributes; those in this set are left out"
	saysName   = "it has no name"
)

func text0(s *string, n int) string {
	if s == nil {
		return ""
	}
	return clean(*s, n)
}

func list0(list []string, n int) []string {
	var out []string
	for _, s := range list {
		if s = clean(s, maxShort); s != "" && len(out) < n {
			out = append(out, s)
		}
	}
	return out
}

// attribute returns what a file says about a package.
func (o *Options) attribute(attr string, tier Tier, p *toldPkg) Attribute {
	a := Attribute{Attr: attr, Name: text0(p.Name, maxName), System: text0(p.System, maxName)}
	if a.Name == "" {
		return Attribute{Attr: attr, Error: saysName}
	}
	if tier == Drvs {
		return o.derivation(a, p)
	}
	a.Pname, a.Version = text0(p.Pname, maxName), text0(p.Version, maxName)
	a.Description, a.Homepage = text0(p.Description, maxText), text0(p.Homepage, maxText)
	a.Position = clean(o.relative(text0(p.Position, 1<<20)), maxText)
	for _, m := range p.Maintainers {
		if m := m.maintainer(); m.Login != "" && len(a.Maintainers) < maxList {
			a.Maintainers = append(a.Maintainers, m)
		}
	}
	a.Teams, a.Licences = list0(p.Teams, maxList), list0(p.Licences, maxList)
	a.Patches, a.KnownVulns = list0(p.Patches, maxPatches), list0(p.KnownVulns, maxList)
	for i, name := range a.Patches {
		a.Patches[i] = withoutHash(name)
	}
	a.Broken, a.Unfree, a.Insecure = p.Broken, p.Unfree, p.Insecure || len(a.KnownVulns) > 0
	for _, k := range slices.Sorted(maps.Keys(p.Identifiers)) {
		if v := text0(p.Identifiers[k], maxText); v != "" && tokenForm.MatchString(k) && len(a.Identifiers) < maxIDs {
			if a.Identifiers == nil {
				a.Identifiers = make(map[string]string)
			}
			a.Identifiers[k] = v
		}
	}
	return a
}

// derivation adds to a what the tier of derivations tells.
func (o *Options) derivation(a Attribute, p *toldPkg) Attribute {
	a.FOD, a.Outputs = p.FOD, make(map[string]string)
	a.Drv = path.Base(text0(p.Drv, 1<<10))
	for name, out := range p.Outputs {
		a.Outputs[name] = ""
		if s := text0(out, 1<<10); strings.HasPrefix(s, o.storeDir+"/") { // otherwise it stands for one that only the build tells
			a.Outputs[name] = path.Base(s)
		}
	}
	if err := a.Check(&Header{Tier: Drvs}); err != nil {
		return Attribute{Attr: a.Attr, Error: clean("it is no derivation: "+err.Error(), maxError)}
	}
	return a
}

// relative returns a position without the tree.
func (o *Options) relative(pos string) string { return strings.TrimPrefix(pos, o.Tree+"/") }

func (p toldPerson) maintainer() Maintainer {
	m := Maintainer{Login: text0(p.Login, maxShort), Name: text0(p.Name, maxShort), Email: text0(p.Email, maxShort)}
	if p.Text != nil {
		name, address, _ := strings.Cut(*p.Text, "<")
		m.Name, m.Email = clean(name, maxShort), clean(strings.TrimSuffix(strings.TrimSpace(address), ">"), maxShort)
	}
	for _, s := range []string{m.Name, m.Email} {
		if m.Login == "" {
			m.Login = s
		}
	}
	return m
}

// withoutHash returns a file name without the hash of a store path.
func withoutHash(name string) string {
	if hash, rest, ok := strings.Cut(name, "-"); ok && len(hash) == 32 && rest != "" && strings.Trim(hash, "0123456789abcdfghijklmnpqrsvwxyz") == "" {
		return rest
	}
	return name
}

func parseAnswer(b []byte) (told, error) {
	var t told
	if err := json.Unmarshal(b, &t); err != nil {
		return t, fmt.Errorf("the evaluator's answer is not JSON: %w", err)
	}
	return t, nil
}

// failure returns the sentence about an attribute whose process ended, and the kind of
// failure for the summary.
func (o *Options) failure(e end) (string, Kind) {
	switch e.why {
	case overMemory:
		return fmt.Sprintf("it needs more than %s of memory", size(o.Memory)), OverMemory
	case overTime:
		return fmt.Sprintf("it did not end within %v", o.Timeout), OverTime
	case tooLong:
		return saysLong, Crashed
	}
	words := strings.ReplaceAll(e.words, o.Tree+"/", "")
	words = strings.ReplaceAll(words, o.Tree, ".")
	return clean(words, maxError), Crashed
}
