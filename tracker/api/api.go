// Package api has the JSON forms of the tracker's pages
// (spec/tracker.md#pages-and-json): what tracker/web writes and `firn repro`
// reads. It holds data only.
//
// Rules for changing it: a field may be added. A field that changes its meaning
// or goes away takes a new Schema. Times are RFC 3339 in UTC and left out if
// unknown. Texts are as strangers wrote them: whoever shows them escapes them.
package api

import "time"

// Schema is the number of this form, in every answer.
const Schema = 1

// A State is what the claims about an output come to (spec/tracker.md#states);
// "" if nothing is known, such as the state of an attribute without derivation.
type State string

// The states, worst last.
const (
	Unknown State = ""
	Agree   State = "agree"
	Missing State = "missing"
	Differ  State = "differ"
	Copying State = "copying"
)

// Counts are numbers of outputs by state.
type Counts struct {
	Agree   int64 `json:"agree"`
	Missing int64 `json:"missing"`
	Differ  int64 `json:"differ"`
	Copying int64 `json:"copying"`
	Fixed   Fixed `json:"fixed"`            // fixed-output derivations, which are not in the others
	Errors  int64 `json:"errors,omitempty"` // attributes that do not evaluate
}

// Fixed are numbers of outputs of fixed-output derivations.
type Fixed struct {
	Agree   int64 `json:"agree"`
	Missing int64 `json:"missing"`
	Differ  int64 `json:"differ"`
}

// Total is the number of outputs that could be reproduced: fixed ones are not in it.
func (c Counts) Total() int64 { return c.Agree + c.Missing + c.Differ + c.Copying }

// Of is the number of outputs in a state.
func (c Counts) Of(s State) int64 {
	switch s {
	case Agree:
		return c.Agree
	case Missing:
		return c.Missing
	case Differ:
		return c.Differ
	case Copying:
		return c.Copying
	}
	return 0
}

// Share is the part of all outputs that is in a state, from 0 to 1.
func (c Counts) Share(s State) float64 {
	if c.Total() == 0 {
		return 0
	}
	return float64(c.Of(s)) / float64(c.Total())
}

// Policy is what decides states.
type Policy struct {
	Name string `json:"name"` // "" if it is "two registered operators built it"
}

// Front is the front page.
type Front struct {
	Schema   int       `json:"schema"`
	Policy   Policy    `json:"policy"`
	Totals   Totals    `json:"totals"`
	Channels []Summary `json:"channels"`
	Logs     []Log     `json:"logs"`
}

// Totals are sizes of what the tracker holds.
type Totals struct {
	Statements  int64 `json:"statements"`
	Claims      int64 `json:"claims"`
	Outputs     int64 `json:"outputs"`
	Attributes  int64 `json:"attributes"`
	Operators   int64 `json:"operators"`
	Maintainers int64 `json:"maintainers"`
	Evaluations int64 `json:"evaluations"`
}

// Summary is a channel on the front page, with what got worse.
type Summary struct {
	Channel
	Worse []Change `json:"worse"` // at most 5
}

// Channel is the newest evaluation of a channel and what it comes to.
type Channel struct {
	Name       string    `json:"name"`
	Revision   string    `json:"revision"`
	System     string    `json:"system"`
	Seq        int64     `json:"seq"`
	DrvSeq     int64     `json:"drv_seq"` // newest evaluation whose derivations are known
	Time       time.Time `json:"time,omitzero"`
	Attributes int64     `json:"attributes"`
	Counts     Counts    `json:"counts"`
	Before     Counts    `json:"before"` // at the evaluation before, with today's knowledge
}

// TrendPoint is one evaluation.
type TrendPoint struct {
	Seq      int64     `json:"seq"`
	Time     time.Time `json:"time,omitzero"`
	Revision string    `json:"revision"`
	Counts   Counts    `json:"counts"`
}

// Attribute is a line of a list of attributes.
type Attribute struct {
	Channel  string    `json:"channel"`
	Attr     string    `json:"attr"`
	Pname    string    `json:"pname,omitempty"`
	Version  string    `json:"version,omitempty"`
	State    State     `json:"state"`
	Counts   Counts    `json:"counts"`
	Builders int       `json:"builders"`
	Drv      string    `json:"drv,omitempty"` // base name
	Error    string    `json:"error,omitempty"`
	Since    time.Time `json:"since,omitzero"`
	Seq      int64     `json:"seq,omitempty"` // evaluation that brought this derivation
}

// Change is an attribute whose state, version or existence changed between two evaluations.
type Change struct {
	Channel     string    `json:"channel"`
	Attr        string    `json:"attr"`
	Seq         int64     `json:"seq"`
	Time        time.Time `json:"time,omitzero"`
	FromVersion string    `json:"from_version,omitempty"`
	ToVersion   string    `json:"to_version,omitempty"`
	From        State     `json:"from"`
	To          State     `json:"to"`
	Worse       bool      `json:"worse"`
}

// ChannelPage is a channel with its trend, what got worse, and its attributes.
// Pages after the first have neither trend nor worse.
type ChannelPage struct {
	Schema     int          `json:"schema"`
	Channel    Channel      `json:"channel"`
	Trend      []TrendPoint `json:"trend,omitempty"`
	Worse      []Change     `json:"worse,omitempty"` // at most 20
	Attributes []Attribute  `json:"attributes"`
	Next       string       `json:"next,omitempty"` // value of after= for the next page
}

// ChangesPage lists what changed in one evaluation of a channel.
type ChangesPage struct {
	Schema  int      `json:"schema"`
	Channel string   `json:"channel"`
	Seq     int64    `json:"seq"`
	Worse   bool     `json:"worse"` // only what got worse
	Changes []Change `json:"changes"`
	Next    string   `json:"next,omitempty"`
}

// QueuePage lists what to rebuild next.
type QueuePage struct {
	Schema   int      `json:"schema"`
	Channel  string   `json:"channel,omitempty"`
	Channels []string `json:"channels"`
	Paths    []Path   `json:"paths"`
	Next     string   `json:"next,omitempty"`
}

// Path is a line of a closure, of the queue, or of what an operator built.
type Path struct {
	Path     string `json:"path,omitempty"` // base name
	Attr     string `json:"attr,omitempty"`
	Channel  string `json:"channel,omitempty"`
	Drv      string `json:"drv,omitempty"` // base name
	Output   string `json:"output,omitempty"`
	State    State  `json:"state"`
	Agreeing int    `json:"agreeing"`
	Against  int    `json:"against"`
	Priority int64  `json:"priority,omitempty"`
}

// PersonPage is a maintainer or a team.
type PersonPage struct {
	Schema   int         `json:"schema"`
	Kind     string      `json:"kind"` // maintainer or team
	Login    string      `json:"login"`
	Name     string      `json:"name,omitempty"`
	Channels []Share     `json:"channels"`
	Packages []PersonPkg `json:"packages"` // worst first
	Next     string      `json:"next,omitempty"`
}

// Share is what somebody's attributes in one channel come to.
type Share struct {
	Channel    string       `json:"channel"`
	Attributes int64        `json:"attributes"`
	Counts     Counts       `json:"counts"`
	Trend      []TrendPoint `json:"trend,omitempty"`
}

// PersonPkg are the attributes of one package, by pname.
type PersonPkg struct {
	Name       string      `json:"name"`
	State      State       `json:"state"` // worst of the attributes
	Attributes []Attribute `json:"attributes"`
}

// SearchPage are the answers to a question.
type SearchPage struct {
	Schema int         `json:"schema"`
	Query  string      `json:"query"`
	Hits   []SearchHit `json:"hits"`           // best first, at most 30
	More   bool        `json:"more,omitempty"` // there are answers that are not listed
}

// SearchHit is one answer. Kind is attribute, maintainer, team, operator, path,
// statement, channel or closure. Match says how it was found: by its name, in the text that
// describes it, or as similar, if nothing is called as was asked.
type SearchHit struct {
	Kind    string `json:"kind"`
	Match   string `json:"match"`
	Key     string `json:"key"`
	Text    string `json:"text,omitempty"`
	Channel string `json:"channel,omitempty"`
	State   State  `json:"state"`
}

// AboutPage says how states come about.
type AboutPage struct {
	Schema int    `json:"schema"`
	Policy Policy `json:"policy"`
}

// Problem is the answer where there is no page.
type Problem struct {
	Schema int    `json:"schema"`
	Error  string `json:"error"`
}
