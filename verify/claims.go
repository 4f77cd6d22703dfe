package verify

import (
	"bytes"
	"slices"
	"strings"

	"github.com/firn-log/firn/internal/nix"
	"github.com/firn-log/firn/log/statement"
)

// Subject is one path that is to be judged.
type Subject struct {
	Info *nix.PathInfo
	// Realisations are the index keys "real:sha256:<modulo>!<output>" and, if the
	// derivation is a resolved one, "real:<drv path>!<output>", under which other
	// paths may be claimed for the same content-addressed output.
	Realisations []string
	// Differs is set if the content on disk is not what the database says: one
	// clause that says how. Such a path is contradicted, whatever the logs say.
	Differs string
	// Unbuilt is set if the path is not there yet: Info has only its path, and judged is what
	// the logs say it is. The report has that hash and size in Info.
	Unbuilt bool
	// Absent is set if nobody who was asked has the path: one clause that says so. Such a
	// path is inconclusive, whatever the logs say.
	Absent string
	// Mapping is set if judged is not what is in the path, but that it is the output that Realisations
	// are about: of what is claimed there, and nowhere else, only the path counts
	// (spec/substituter.md#realisations).
	Mapping bool
	// Named is set beside Mapping if the path has the name that the derivation gives it.
	Named bool
	// Facts are what rules look at. Path is taken from Info.
	Facts Facts

	found *Fingerprint // of an unbuilt path: what the verdict is about
}

// facts returns what is known about the path.
func (s Subject) facts() Facts {
	f := s.Facts
	f.Path = s.Info.Path
	f.PathUnknown, f.NameUnknown = s.Mapping, s.Mapping && !s.Named
	if s.Mapping { // from which nothing follows
		f.FOD, f.FODKnown = false, true
	}
	if !f.FODKnown && s.Info.CA != "" {
		f.FOD = Fixes(s.Info)
		f.FODKnown = f.FOD
	}
	return f
}

// Fixes reports whether the path of info follows from the content that its CA names, which
// nobody signs; and its NAR hash too, where the CA is that of the NAR.
func Fixes(info *nix.PathInfo) bool {
	ca, err := nix.ParseContentAddress(info.CA)
	if err != nil {
		return false
	}
	var refs nix.Refs
	for _, r := range info.References {
		if r == info.Path {
			refs.Self = true
		} else {
			refs.Others = append(refs.Others, r)
		}
	}
	if ca.Method == nix.Recursive && ca.Algo == "sha256" && !refs.Self && !bytes.Equal(ca.Hash, info.NarHash[:]) {
		return false
	}
	path, err := nix.FixedOutputPath(info.Path.Dir(), info.Path.Name(), ca, refs)
	return err == nil && path == info.Path
}

// Fingerprint returns what is judged.
func (s Subject) Fingerprint() Fingerprint {
	if s.found != nil {
		return *s.found
	}
	if s.Mapping {
		return Fingerprint{Path: s.Info.Path}
	}
	return Fingerprint{
		Path:       s.Info.Path,
		NarHash:    s.Info.NarHash,
		NarSize:    s.Info.NarSize,
		References: [32]byte(statement.PathsDigest(s.Info.References)),
	}
}

// keys returns the index keys to look up.
func (s Subject) keys() []string {
	if s.Mapping {
		return s.Realisations
	}
	return append([]string{"out:" + s.Info.Path.String()}, s.Realisations...)
}

// mappings are claims about outputs as claims of which path they are.
func mappings(claims []Claim) []Claim {
	out := slices.Clone(claims)
	for i := range out {
		out[i].About = Fingerprint{Path: out[i].About.Path}
		if out[i].Class == Realised {
			out[i].Class = Built
		}
	}
	return out
}

// record is what one leaf claims under one index key, signature checked. It is
// what is remembered: it holds nothing that depends on a policy.
type record struct {
	Index          uint64
	Signer         statement.KeyID
	ID             statement.ID
	Class          Class
	Implementation string
	About          Fingerprint
}

// recordsUnder returns what s claims about the subject of an index key; none
// if s is not a claim that counts in verdicts.
func recordsUnder(key string, s *statement.Statement, index uint64) []record {
	base := record{Index: index, Signer: s.Signer, ID: s.ID()}
	var out []record
	switch b := s.Body.(type) {
	case *statement.Build:
		base.Class, base.Implementation = Built, b.Builder.Implementation
		for _, o := range b.Outputs {
			if !isUnder(key, b, o) {
				continue
			}
			r := base
			r.About = Fingerprint{Path: o.Path, NarHash: o.NarHash, NarSize: o.NarSize, References: refs(o.References, o.RefsDigest)}
			out = append(out, r)
		}
	case *statement.PathClaim:
		if key == "out:"+b.Path.String() {
			base.Class = Addressed
			base.About = Fingerprint{Path: b.Path, NarHash: b.NarHash, NarSize: b.NarSize, References: refs(b.References, nil)}
			out = append(out, base)
		}
	case *statement.CacheSig:
		if key == "out:"+b.Path.String() {
			base.Class = Signed
			base.About = Fingerprint{Path: b.Path, NarHash: b.NarHash, NarSize: b.NarSize, References: refs(b.References, b.RefsDigest)}
			out = append(out, base)
		}
	case *statement.Realisation:
		if key == "real:"+b.ID() && b.Builder.Implementation != statement.UnknownImplementation {
			base.Class, base.Implementation = Realised, b.Builder.Implementation
			base.About = Fingerprint{Path: b.Path}
			out = append(out, base)
		}
	}
	return out
}

func isUnder(key string, b *statement.Build, o statement.BuildOutput) bool {
	if path, ok := strings.CutPrefix(key, "out:"); ok {
		return o.Path.String() == path
	}
	return o.CA != "" && key == RealisationKey(b.Modulo, o.Name)
}

// RealisationKey is the index key of a content-addressed output
// (spec/index.md).
func RealisationKey(modulo nix.Hash, output string) string {
	return "real:sha256:" + modulo.Hex() + "!" + output
}

func refs(paths []nix.StorePath, digest *nix.Hash) [32]byte {
	if digest != nil {
		return [32]byte(*digest)
	}
	return [32]byte(statement.PathsDigest(paths))
}

// assemble turns the records of several logs into live claims: the same
// statement in two logs is one claim, with both places.
func assemble(d *directory, logs []string, records [][]record) []Claim {
	type what struct {
		id    statement.ID
		about Fingerprint
	}
	var claims []Claim
	at := make(map[what]int)
	for i, log := range logs {
		for _, r := range records[i] {
			place := Place{Log: log, Index: r.Index}
			name := d.live(r.Signer, r.ID, place)
			if name == "" {
				continue
			}
			if n, ok := at[what{r.ID, r.About}]; ok {
				if !slices.Contains(claims[n].Places, place) {
					claims[n].Places = append(claims[n].Places, place)
				}
				continue
			}
			at[what{r.ID, r.About}] = len(claims)
			claims = append(claims, Claim{
				Operator: name, Class: r.Class, About: r.About, Implementation: r.Implementation,
				Key: r.Signer, ID: r.ID, Places: []Place{place},
			})
		}
	}
	return claims
}
