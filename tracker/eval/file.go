package eval

import "time"

// Schema is the version of evaluation files.
const Schema = 1

// A Tier says how deep an evaluation went.
type Tier string

// The two tiers. Metadata is evaluated for every revision of a channel;
// derivations, which cost several times as much, follow behind it.
const (
	Meta Tier = "meta"
	Drvs Tier = "drvs"
)

// A Header is the first line of an evaluation file.
type Header struct {
	Schema   int       `json:"schema"`
	Channel  string    `json:"channel"`  // a name of 1..64 bytes of [A-Za-z0-9._-]
	Seq      int64     `json:"seq"`      // of the revision in its channel, from 1; both tiers of one revision share it
	Tier     Tier      `json:"tier"`     //
	Revision string    `json:"revision"` // of the tree: a commit or a name, at most 128 bytes
	Time     time.Time `json:"time"`     // of the revision, UTC, whole seconds; not before that of Seq-1
	System   string    `json:"system"`   // such as x86_64-linux
	// Full says that the file holds every attribute. Otherwise it holds those that
	// changed since the last file of this tier, whose digest is Base, and those that are gone.
	Full bool   `json:"full"`
	Base string `json:"base,omitempty"` // SHA-256 of the uncompressed file before, in hexadecimal; "" if Full
}

// An Attribute is a further line of a file; they are sorted by Attr, bytewise,
// each at most once. A file of tier Drvs sets Attr, Name, System, Drv, FOD and Outputs, or
// Attr and Error; one of tier Meta everything but Drv, FOD and Outputs, or Attr and Error. What is
// Gone has nothing but Attr. A new member needs a new Schema (spec/tracker.md#evaluation-files).
type Attribute struct {
	Attr        string            `json:"attr"` // attribute path, such as "python3Packages.requests", at most 256 bytes
	Gone        bool              `json:"gone,omitempty"`
	Error       string            `json:"error,omitempty"` // why it does not evaluate, one line of at most 512 bytes
	Name        string            `json:"name,omitempty"`  // of the derivation, with version
	Pname       string            `json:"pname,omitempty"`
	Version     string            `json:"version,omitempty"`
	System      string            `json:"system,omitempty"`
	Position    string            `json:"position,omitempty"` // file:line, relative to the tree
	Description string            `json:"description,omitempty"`
	Homepage    string            `json:"homepage,omitempty"`
	Maintainers []Maintainer      `json:"maintainers,omitempty"` // in the order of the package
	Teams       []string          `json:"teams,omitempty"`
	Licences    []string          `json:"licences,omitempty"` // SPDX ids where there are, else names
	Patches     []string          `json:"patches,omitempty"`  // file names
	Identifiers map[string]string `json:"identifiers,omitempty"`
	KnownVulns  []string          `json:"knownVulnerabilities,omitempty"`
	Broken      bool              `json:"broken,omitempty"`
	Unfree      bool              `json:"unfree,omitempty"`
	Insecure    bool              `json:"insecure,omitempty"`
	Drv         string            `json:"drv,omitempty"`     // base name
	FOD         bool              `json:"fod,omitempty"`     // the derivation itself is fixed-output
	Outputs     map[string]string `json:"outputs,omitempty"` // name -> base name of the store path; "" if only the build tells (content-addressed)
}

// A Maintainer is who answers for a package. Login is their name at the forge, or
// their name in the maintainer list.
type Maintainer struct {
	Login string `json:"login"`
	Name  string `json:"name,omitempty"`
	Email string `json:"email,omitempty"`
}
