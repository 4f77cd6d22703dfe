package api

import "time"

// PackagePage is an attribute over all channels.
type PackagePage struct {
	Schema      int          `json:"schema"`
	Attr        string       `json:"attr"`
	Verdict     string       `json:"verdict"` // one sentence for people
	State       State        `json:"state"`   // the worst of all channels
	Policy      Policy       `json:"policy"`
	Derivations []Derivation `json:"derivations"` // what it is in the channels, worst first
	History     []Version    `json:"history"`     // newest first, at most 100
}

// Derivation is what an attribute is in one or more channels.
type Derivation struct {
	Channels []string    `json:"channels"`
	Rows     []Attribute `json:"rows"` // one for each channel, in their order
	Version  string      `json:"version,omitempty"`
	Drv      string      `json:"drv,omitempty"`
	State    State       `json:"state"`
	Verdict  string      `json:"verdict"`
	Outputs  []Output    `json:"outputs"`
	Meta     Meta        `json:"meta"`
}

// Meta is what an attribute says about itself.
type Meta struct {
	Name        string            `json:"name,omitempty"`
	Pname       string            `json:"pname,omitempty"`
	Version     string            `json:"version,omitempty"`
	Description string            `json:"description,omitempty"`
	Homepage    string            `json:"homepage,omitempty"`
	Position    string            `json:"position,omitempty"`
	Maintainers []string          `json:"maintainers,omitempty"`
	Teams       []string          `json:"teams,omitempty"`
	Licences    []string          `json:"licences,omitempty"`
	Patches     []string          `json:"patches,omitempty"`
	KnownVulns  []string          `json:"known_vulnerabilities,omitempty"`
	Identifiers map[string]string `json:"identifiers,omitempty"`
	Broken      bool              `json:"broken,omitempty"`
	Unfree      bool              `json:"unfree,omitempty"`
	Insecure    bool              `json:"insecure,omitempty"`
	Error       string            `json:"error,omitempty"`
}

// Output is one output and everything said about it.
type Output struct {
	Output   string    `json:"output,omitempty"`
	Path     string    `json:"path,omitempty"` // base name
	State    State     `json:"state"`
	Fixed    bool      `json:"fixed,omitempty"`
	Since    time.Time `json:"since,omitzero"`
	Agreeing int       `json:"agreeing"` // size of the largest camp of counted operators
	Against  int       `json:"against"`  // counted operators outside it
	Reason   string    `json:"reason,omitempty"`
	Camps    []Camp    `json:"camps,omitempty"`
	Claims   []Claim   `json:"claims,omitempty"`
	More     bool      `json:"more,omitempty"` // there are claims that are not listed
}

// Camp is one content that somebody claims, the most counted operators first.
type Camp struct {
	Letter    string `json:"letter"` // A, B, … within the output
	NarHash   string `json:"nar_hash"`
	NarSize   int64  `json:"nar_size"`
	Operators int    `json:"operators"` // counted ones
}

// Operator names an operator, or a key that nobody registered (without ID).
type Operator struct {
	ID   string `json:"id,omitempty"`
	Name string `json:"name,omitempty"`
	Key  string `json:"key,omitempty"`
}

// Place is where a log holds a statement.
type Place struct {
	Origin string `json:"origin"`
	Index  uint64 `json:"index"`
}

// Claim is what one statement says about an output.
type Claim struct {
	Operator   Operator  `json:"operator"`
	Path       string    `json:"path,omitempty"` // base name; on the page of a statement
	Camp       string    `json:"camp,omitempty"` // letter of the camp
	Kind       string    `json:"kind"`
	Class      string    `json:"class"` // built or signed
	How        string    `json:"how,omitempty"`
	NarHash    string    `json:"nar_hash"`
	NarSize    int64     `json:"nar_size"`
	References int       `json:"references"` // -1 if only a digest is known
	Finished   time.Time `json:"finished,omitzero"`
	Counts     bool      `json:"counts"`
	Why        string    `json:"why,omitempty"` // why it does not count
	Statement  string    `json:"statement"`
	Places     []Place   `json:"places"`
	Builder    string    `json:"builder,omitempty"`
	Diff       string    `json:"diff,omitempty"` // id of a diff statement
}

// Version is one derivation that an attribute had.
type Version struct {
	Channel  string              `json:"channel"`
	Version  string              `json:"version,omitempty"`
	Drv      string              `json:"drv,omitempty"`
	FromSeq  int64               `json:"from_seq"`
	ToSeq    int64               `json:"to_seq,omitempty"` // 0: still
	From     time.Time           `json:"from,omitzero"`
	Revision string              `json:"revision,omitempty"`
	State    State               `json:"state"`
	Outputs  []Output            `json:"outputs"`
	Hashes   map[string][]string `json:"hashes,omitempty"` // by output, distinct hashes of counted operators
}

// OutputPage is the page of one store path.
type OutputPage struct {
	Schema     int         `json:"schema"`
	Path       string      `json:"path"`
	Verdict    string      `json:"verdict"`
	Policy     Policy      `json:"policy"`
	Output     Output      `json:"output"`
	Attributes []Attribute `json:"attributes"`
}
