package api

import "time"

// OperatorsPage lists operators.
type OperatorsPage struct {
	Schema    int            `json:"schema"`
	Operators []OperatorInfo `json:"operators"`
	Next      string         `json:"next,omitempty"`
}

// OperatorInfo is what an operator says about itself and what it did.
type OperatorInfo struct {
	ID       string `json:"id"`
	Name     string `json:"name,omitempty"`
	Contact  string `json:"contact,omitempty"`
	URL      string `json:"url,omitempty"`
	Home     string `json:"home,omitempty"` // origin of its home log
	Fork     string `json:"fork,omitempty"`
	Claims   int64  `json:"claims"`
	Agreed   int64  `json:"agreed"`   // outputs on which it is in the largest camp of two or more
	Differed int64  `json:"differed"` // outputs on which it is against that camp
	Alone    int64  `json:"alone"`    // outputs that only it claims
	Copied   int64  `json:"copied"`   // outputs random by construction on which it agrees with somebody
}

// OperatorPage is the page of an operator.
type OperatorPage struct {
	Schema   int           `json:"schema"`
	Operator OperatorInfo  `json:"operator"`
	Verdict  string        `json:"verdict"`
	Keys     []OperatorKey `json:"keys"` // at most 100, live ones first
	MoreKeys int64         `json:"more_keys,omitempty"`
	Recent   []Statement   `json:"recent"`
	State    State         `json:"state"` // of the outputs listed
	Outputs  []Path        `json:"outputs"`
	Next     string        `json:"next,omitempty"`
}

// OperatorKey is a key of an operator.
type OperatorKey struct {
	Key       string `json:"key"`
	Role      string `json:"role"`
	State     string `json:"state"` // live, or why not
	CacheName string `json:"cache_name,omitempty"`
}

// Statement is a line of a list of statements.
type Statement struct {
	ID       string    `json:"id"`
	Kind     string    `json:"kind"`
	Subject  string    `json:"subject,omitempty"`
	Operator Operator  `json:"operator"`
	Time     time.Time `json:"time,omitzero"`
	Places   []Place   `json:"places"`
}

// StatementPage is the page of one statement.
type StatementPage struct {
	Schema    int               `json:"schema"`
	Statement Statement         `json:"statement"`
	Says      map[string]string `json:"says"`
	Claims    []Claim           `json:"claims"`
	Proofs    []Proof           `json:"proofs"` // one for each place
	Commands  []string          `json:"commands"`
	Closure   bool              `json:"closure,omitempty"` // it is a closure that counts, and has a page
}

// Proof is where a statement's proof is.
type Proof struct {
	Place
	URL string `json:"url,omitempty"` // of a .tlog-proof; "" if the log is not followed any more
}

// ClosuresPage lists closures.
type ClosuresPage struct {
	Schema   int       `json:"schema"`
	Closures []Closure `json:"closures"`
	Next     string    `json:"next,omitempty"`
}

// Closure is a named set of store paths that somebody stated.
type Closure struct {
	ID        string   `json:"id"`
	Name      string   `json:"name"`
	Operator  Operator `json:"operator"`
	Count     int64    `json:"count"` // members stated
	Known     int64    `json:"known"` // members that are listed
	Counts    Counts   `json:"counts"`
	Places    []Place  `json:"places"`
	Statement string   `json:"statement,omitempty"`
	Before    *Stated  `json:"before,omitempty"` // in lists: what was stated before it under this name
}

// Stated is a closure as one of several of its name.
type Stated struct {
	ID     string  `json:"id"`
	Count  int64   `json:"count"`
	Known  int64   `json:"known"`
	Counts Counts  `json:"counts"`
	Places []Place `json:"places"`
}

// ClosurePage is the page of one closure.
type ClosurePage struct {
	Schema  int      `json:"schema"`
	Closure Closure  `json:"closure"`
	Verdict string   `json:"verdict"`
	History []Stated `json:"history"` // what its operator stated under this name, newest first
	State   State    `json:"state"`   // of the paths listed; "" is all
	Paths   []Path   `json:"paths"`
	Next    string   `json:"next,omitempty"`
}

// LogsPage is the health of all followed logs.
type LogsPage struct {
	Schema int   `json:"schema"`
	Logs   []Log `json:"logs"`
}

// Log is the health of a followed log.
type Log struct {
	Origin     string     `json:"origin"`
	URL        string     `json:"url"`
	Size       uint64     `json:"size"`
	Replayed   uint64     `json:"replayed"`
	Checkpoint time.Time  `json:"checkpoint_time,omitzero"`
	Frozen     bool       `json:"frozen,omitempty"`
	Healthy    bool       `json:"healthy"`
	Verdict    string     `json:"verdict"`
	Witnesses  []Cosigner `json:"witnesses"`
	Auditors   []Cosigner `json:"auditors"`
	Error      string     `json:"error,omitempty"`
	Checked    time.Time  `json:"checked,omitzero"`
	Updated    time.Time  `json:"updated,omitzero"`
}

// Behind is the number of entries that are not replayed yet.
func (l Log) Behind() uint64 {
	if l.Replayed >= l.Size {
		return 0
	}
	return l.Size - l.Replayed
}

// Cosigner is a witness or an auditor.
type Cosigner struct {
	Name   string    `json:"name"`
	Time   time.Time `json:"time,omitzero"`
	Behind uint64    `json:"behind"`
}
