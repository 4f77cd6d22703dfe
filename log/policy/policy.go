// Package policy decides whether a checkpoint is to be believed.
//
// It implements, strictly and by itself, the C2SP documents signed-note,
// tlog-checkpoint, tlog-cosignature and tlog-policy (versions and deviations:
// spec/CONFORMANCE.md). A checkpoint is believed if a log of the policy signed
// it and witnesses of the policy cosigned it as the quorum demands. There is no
// way to get a checkpoint out of this package that was not held against a
// policy, except [ParseCheckpoint], which reads a text and says nothing about
// who signed it.
//
// golang.org/x/mod/sumdb/note is not used to open notes: it takes signatures
// that RFC 8032 implementations disagree about (small-order keys), base64 that
// is not canonical, any number of repeated lines of which it checks one, and it
// drops all but the first cosignature of a witness.
//
// Nothing in this package does input or output. A *Policy is not changed after
// [Parse] and may be used from several goroutines.
package policy

import (
	"bytes"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
)

// A Log is a log line of a policy.
type Log struct {
	Key Key    // Key.Name is the origin
	URL string // empty if the policy gives none
}

// A Witness is a witness line of a policy.
type Witness struct {
	Name string // the policy's own name, not the name of the key
	Key  Key
	URL  string // submission prefix, empty if the policy gives none
}

// A Group is satisfied when at least K of its members are.
type Group struct {
	Name    string
	K       int // 1 ≤ K ≤ len(Members)
	Members []string
}

// None is the quorum of a policy that asks for no cosignature.
const None = "none"

// A Policy is a parsed c2sp.org/tlog-policy file.
type Policy struct {
	Logs      []Log
	Witnesses []Witness
	Groups    []Group // in an order where each follows its members
	Quorum    string  // the name of a witness or a group, or None

	logs      map[keyName]*Log
	witnesses map[keyName]*Witness
	ignored   []string // names of witnesses whose keys do not count
}

// Ignoring returns a copy of the policy that treats the keys of some of its
// witnesses as unknown keys: neither are their signatures verified, nor do they
// count. The quorum stays as it is, so that it is harder to satisfy, or cannot be.
// It is for witnesses that evidence is held against (spec/evidence.md#consequences).
// Keys are compared by type and public key; those of no witness change nothing.
func (p *Policy) Ignoring(keys ...Key) *Policy {
	q := *p
	q.witnesses = maps.Clone(p.witnesses)
	q.ignored = slices.Clone(p.ignored)
	for _, w := range p.Witnesses {
		name := keyName{w.Key.Name, w.Key.ID}
		same := func(k Key) bool { return k.Type == w.Key.Type && bytes.Equal(k.Public, w.Key.Public) }
		if q.witnesses[name] != nil && slices.ContainsFunc(keys, same) {
			delete(q.witnesses, name)
			q.ignored = append(q.ignored, w.Name)
		}
	}
	return &q
}

// Ignored returns the names of the witnesses that [Policy.Ignoring] has ignored.
func (p *Policy) Ignored() []string { return slices.Clone(p.ignored) }

// keyName is what names a key in a signature line.
type keyName struct {
	name string
	id   uint32
}

// Origins returns the origins of the policy's logs, each once, in their order.
func (p *Policy) Origins() []string {
	var origins []string
	seen := make(map[string]bool)
	for _, l := range p.Logs {
		if !seen[l.Key.Name] {
			seen[l.Key.Name] = true
			origins = append(origins, l.Key.Name)
		}
	}
	return origins
}

// LogURL returns the first URL that the policy gives for origin, or "".
func (p *Policy) LogURL(origin string) string {
	for _, l := range p.Logs {
		if l.Key.Name == origin && l.URL != "" {
			return l.URL
		}
	}
	return ""
}

// String returns the policy in tlog-policy form, without comments: parsing it
// gives the same policy.
func (p *Policy) String() string {
	var b strings.Builder
	for _, l := range p.Logs {
		writeLine(&b, "log", l.Key.String(), l.URL)
	}
	for _, w := range p.Witnesses {
		writeLine(&b, "witness", w.Name, w.Key.String(), w.URL)
	}
	for _, g := range p.Groups {
		writeLine(&b, append([]string{"group", g.Name, strconv.Itoa(g.K)}, g.Members...)...)
	}
	writeLine(&b, "quorum", p.Quorum)
	return b.String()
}

func writeLine(b *strings.Builder, words ...string) {
	if words[len(words)-1] == "" {
		words = words[:len(words)-1]
	}
	fmt.Fprintln(b, strings.Join(words, " "))
}

// Satisfied reports whether the named witnesses of the policy make up the quorum.
// Those that [Policy.Ignoring] has ignored do not count.
func (p *Policy) Satisfied(witnesses []string) bool {
	set := make(map[string]bool)
	for _, w := range p.Witnesses {
		if slices.Contains(witnesses, w.Name) && !slices.Contains(p.ignored, w.Name) {
			set[w.Name] = true
		}
	}
	return p.satisfied(set)
}

// satisfied reports whether the witnesses of the set, by policy name, make up
// the quorum.
func (p *Policy) satisfied(set map[string]bool) bool {
	if p.Quorum == None {
		return true
	}
	met := make(map[string]bool, len(set)+len(p.Groups))
	for name := range set {
		met[name] = true
	}
	for _, g := range p.Groups {
		n := 0
		for _, m := range g.Members {
			if met[m] {
				n++
			}
		}
		met[g.Name] = n >= g.K
	}
	return met[p.Quorum]
}
