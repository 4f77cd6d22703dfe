// Package intoto shows firn statements as in-toto Statements, so that tools that know
// these can read what is in a log: a build as SLSA provenance, everything
// else as a predicate of firn's own (spec/intoto.md).
//
// It is a view. What is exported is not signed again: it carries the leaf, whose
// signature and proof say as much as they did before. Nothing here may fail on a statement that was parsed, and
// everything may be used concurrently.
package intoto

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"time"

	"github.com/firn-log/firn/internal/nix"
	"github.com/firn-log/firn/log/statement"
)

// Names of types (spec/intoto.md#types).
const (
	StatementType  = "https://in-toto.io/Statement/v1"
	ProvenanceType = "https://slsa.dev/provenance/v1"
	BuildType      = "https://github.com/firn-log/firn/spec/intoto/build@v1"
	PredicateBase  = "https://github.com/firn-log/firn/spec/intoto/" // + kind + "@v1"

	narMediaType   = "application/x-nix-nar"
	proofMediaType = "text/plain; charset=utf-8"
)

// A Statement is an in-toto Statement of layer version 1.
type Statement struct {
	Type          string     `json:"_type"`
	Subject       []Resource `json:"subject"`
	PredicateType string     `json:"predicateType"`
	Predicate     any        `json:"predicate"` // *Provenance or *Predicate
}

// A Resource is an in-toto ResourceDescriptor.
type Resource struct {
	Name        string            `json:"name,omitempty"`
	URI         string            `json:"uri,omitempty"`
	Digest      map[string]string `json:"digest,omitempty"`
	Content     []byte            `json:"content,omitempty"`
	MediaType   string            `json:"mediaType,omitempty"`
	Annotations map[string]any    `json:"annotations,omitempty"`
}

// A Provenance is SLSA provenance of version 1.
type Provenance struct {
	BuildDefinition BuildDefinition `json:"buildDefinition"`
	RunDetails      RunDetails      `json:"runDetails"`
}

// BuildDefinition says what was built from what.
type BuildDefinition struct {
	BuildType            string         `json:"buildType"`
	ExternalParameters   map[string]any `json:"externalParameters"`
	InternalParameters   map[string]any `json:"internalParameters"`
	ResolvedDependencies []Resource     `json:"resolvedDependencies"`
}

// RunDetails says who built it, and when by its clock.
type RunDetails struct {
	Builder    Builder    `json:"builder"`
	Metadata   Metadata   `json:"metadata"`
	Byproducts []Resource `json:"byproducts"`
}

// Builder is the key that says so, and the program that built.
type Builder struct {
	ID      string            `json:"id"`
	Version map[string]string `json:"version"`
}

// Metadata is about one execution.
type Metadata struct {
	InvocationID string `json:"invocationId"`
	StartedOn    string `json:"startedOn"`
	FinishedOn   string `json:"finishedOn"`
}

// A Predicate is what is exported of a statement that is no build.
type Predicate struct {
	Kind      statement.Kind `json:"kind"`
	Signer    string         `json:"signer"`    // firn:key:<key id>
	Statement string         `json:"statement"` // firn:statement:<statement id>
	For       string         `json:"for,omitempty"`
	Prev      string         `json:"prev,omitempty"` // firn:statement:<statement id>
	Body      any            `json:"body"`
	Entry     []Resource     `json:"entry"` // the leaf, and the proof if there is one
}

// Of returns the in-toto Statement of s, which was parsed from leaf. proof is the
// text of a .tlog-proof file about the leaf, or nil.
func Of(s *statement.Statement, leaf, proof []byte) *Statement {
	entry := []Resource{{
		Name: "leaf", MediaType: statement.ContentType, Content: leaf, Digest: digest(sha256.Sum256(leaf)),
		Annotations: map[string]any{"statement": s.ID().String(), "signer": s.Signer.String(), "form": s.Form.String()},
	}}
	if proof != nil {
		entry = append(entry, Resource{Name: "tlog-proof", MediaType: proofMediaType, Content: proof, Digest: digest(sha256.Sum256(proof))})
	}
	out := &Statement{Type: StatementType, Subject: subjects(s)}
	if b, ok := s.Body.(*statement.Build); ok {
		out.PredicateType, out.Predicate = ProvenanceType, provenance(s, b, entry)
		return out
	}
	out.PredicateType = PredicateBase + string(s.Kind) + "@v1"
	p := &Predicate{
		Kind: s.Kind, Signer: keyURI(s.Signer), Statement: statementURI(s.ID()), For: s.For, Body: plain(s.Body), Entry: entry,
	}
	if s.Prev != nil {
		p.Prev = statementURI(*s.Prev)
	}
	out.Predicate = p
	return out
}

func keyURI(id statement.KeyID) string    { return "firn:key:" + id.String() }
func statementURI(id statement.ID) string { return "firn:statement:" + id.String() }
func digest(h nix.Hash) map[string]string {
	return map[string]string{"sha256": hex.EncodeToString(h[:])}
}

func rfc3339(seconds uint64) string { return time.Unix(int64(seconds), 0).UTC().Format(time.RFC3339) }

func nar(name string, hash nix.Hash, size uint64) Resource {
	r := Resource{Name: name, Digest: digest(hash), MediaType: narMediaType}
	if size > 0 {
		r.Annotations = map[string]any{"narSize": number(size)}
	}
	return r
}

// subjects returns what a statement is about, in so far as it has a SHA-256; a
// statement about people or logs is about itself.
func subjects(s *statement.Statement) []Resource {
	switch b := s.Body.(type) {
	case *statement.Build:
		var list []Resource
		for _, o := range b.Outputs {
			list = append(list, nar(o.Path.Base(), o.NarHash, o.NarSize))
		}
		return list
	case *statement.BuildFailed:
		return []Resource{{Name: b.DrvPath.Base(), Digest: digest(b.DrvHash)}}
	case *statement.CacheSig:
		return []Resource{nar(b.Path.Base(), b.NarHash, b.NarSize)}
	case *statement.Observed:
		return []Resource{nar(b.Path.Base(), b.NarHash, b.NarSize)}
	case *statement.PathClaim:
		return []Resource{nar(b.Path.Base(), b.NarHash, b.NarSize)}
	case *statement.Diff:
		return []Resource{nar(b.Path.Base()+" (a)", b.A, 0), nar(b.Path.Base()+" (b)", b.B, 0)}
	case *statement.Closure:
		return []Resource{{Name: b.Name, Digest: digest(b.Digest)}}
	case *statement.Eval:
		return []Resource{{Name: b.Name, Digest: digest(b.Digest)}}
	case *statement.Evidence:
		return []Resource{{Name: "evidence", Digest: digest(sha256.Sum256(b.Bytes))}}
	}
	return []Resource{{Name: statementURI(s.ID()), Digest: digest(sha256.Sum256(s.Payload))}}
}

func provenance(s *statement.Statement, b *statement.Build, entry []Resource) *Provenance {
	names := make([]any, len(b.Outputs))
	for i, o := range b.Outputs {
		names[i] = o.Name
	}
	internal := map[string]any{
		"storeDir": string(b.StoreDir), "hashModulo": "sha256:" + b.Modulo.Hex(), "how": string(b.How), "partial": b.Partial, "sandbox": b.Builder.Sandbox,
	}
	if s.For != "" {
		internal["for"] = s.For
	}
	if in := b.Inputs; in != nil {
		internal["inputs"] = map[string]any{
			"digest": "sha256:" + in.Digest.Hex(), "count": number(in.Count), "built": number(in.Built), "substituted": number(in.Substituted),
		}
	}
	return &Provenance{
		BuildDefinition: BuildDefinition{
			BuildType:          BuildType,
			ExternalParameters: map[string]any{"derivation": b.DrvPath.String(), "system": b.System, "outputs": names},
			InternalParameters: internal,
			ResolvedDependencies: []Resource{
				{Name: b.DrvPath.Base(), Digest: digest(b.DrvHash)},
			},
		},
		RunDetails: RunDetails{
			Builder:    Builder{ID: keyURI(s.Signer), Version: map[string]string{b.Builder.Implementation: b.Builder.Version}},
			Metadata:   Metadata{InvocationID: fmt.Sprintf("%x", b.BuildID), StartedOn: rfc3339(b.Started), FinishedOn: rfc3339(b.Finished)},
			Byproducts: entry,
		},
	}
}
