package store

import "time"

// A State is what the claims about an output, or about all outputs of an
// attribute, come to (spec/tracker.md#states). Larger is worse.
type State uint8

// The states.
const (
	Agree   State = 1
	Missing State = 2
	Differ  State = 3
	Copying State = 4
)

// Counts count outputs by state; of fixed-output derivations apart, because a
// fixed output agrees by construction.
type Counts struct {
	Agree, Differ, Missing, Copying int64
	FODAgree, FODDiffer, FODMissing int64
	Errors                          int64 // attributes that do not evaluate
}

// A Page bounds a listing: at most Limit rows (1..500) after the row whose Next was After.
type Page struct {
	After string
	Limit int
}

// A Listing is one page of rows; Next is "" at the end.
type Listing[T any] struct {
	Rows []T
	Next string
}

// Overview is the front page: who is followed and how far.
type Overview struct {
	Channels                            []ChannelView
	Logs                                []LogView
	Statements, Claims, Outputs, Attrs  int64
	Operators, Maintainers, Evaluations int64
	Policy                              string // name of the policy that decides states; "" is "two registered operators built it"
}

// ChannelView is the newest evaluation of a channel and what it comes to.
type ChannelView struct {
	Name, Revision, System string
	Seq                    int64 // newest evaluated revision
	DrvSeq                 int64 // newest whose derivations are known, ≤ Seq
	Time                   time.Time
	Attrs                  int64
	Counts                 Counts
	Before                 Counts // at the evaluation before, with today's knowledge
}

// TrendPoint is one evaluation of a channel.
type TrendPoint struct {
	Seq      int64
	Time     time.Time
	Revision string
	Counts   Counts
}

// AttributeRow is a line of a channel, maintainer or team.
type AttributeRow struct {
	Channel, Attr, Pname, Version string
	State                         State // worst of its outputs; 0 if its derivation is not known
	Counts                        Counts
	Builders                      int    // counted operators who built the output that most built
	Drv                           string // base name
	Error                         string
	Since                         time.Time // since when the state holds, by what signers and evaluations say
	Seq                           int64     // evaluation that brought this derivation
}

// Change is an attribute whose state, version or existence changed between two evaluations.
type Change struct {
	Channel, Attr          string
	Seq                    int64
	Time                   time.Time
	FromVersion, ToVersion string
	From, To               State // 0: not there, or its derivation is not known
	Worse                  bool
}

// OperatorRef names an operator, or a key that nobody registered.
type OperatorRef struct {
	ID   string // operator id, 64 hexadecimal digits; "" for a key without operator
	Name string
	Key  string // key id of the claim
}

// Place is where a log holds a statement.
type Place struct {
	Origin string
	Index  uint64
}

// ClaimView is what one statement says about an output.
type ClaimView struct {
	By         OperatorRef
	Kind       string // statement kind
	Class      string // "built" or "signed"
	How        string // built, checked, rebuilt; "" if signed
	Content    string // what it claims, opaque: equal for claims that agree, references included
	NarHash    string // sha256:<nix base32>
	NarSize    int64
	References int // number, -1 if only a digest is known
	Finished   time.Time
	Counts     bool
	Why        string // why it does not count, one clause
	Statement  string // id
	Places     []Place
	Builder    string // implementation and version
	Diff       string // id of a diff statement about it, or ""
}

// OutputView is one output of a derivation and everything said about it.
type OutputView struct {
	Output, Path string // path: base name; "" if not known
	State        State
	FOD          bool
	Since        time.Time
	Agreeing     int         // size of the largest camp of counted operators
	Against      int         // counted operators outside it
	Claims       []ClaimView // those that count first, at most 200
	More         bool        // there are claims that are not listed
	Reason       string      // one sentence for people: why this state
}

// VersionRow is one derivation that an attribute had.
type VersionRow struct {
	Channel         string
	FromSeq, ToSeq  int64 // ToSeq 0: still
	From            time.Time
	Version, Drv    string
	State           State
	Outputs         []OutputView // without claims
	FromRevision    string
	NarHashByOutput map[string][]string // distinct hashes claimed by counted operators
}

// MetaView is what an attribute says about itself.
type MetaView struct {
	Name, Pname, Version, Description, Homepage, Position string
	Maintainers                                           []string // logins
	Teams, Licences, Patches, KnownVulns                  []string
	Identifiers                                           map[string]string
	Broken, Unfree, Insecure                              bool
	Error                                                 string
}

// AttributeView is the page of one attribute.
type AttributeView struct {
	Attr     string
	Channels []struct {
		Row     AttributeRow
		Meta    MetaView
		Outputs []OutputView
	}
	History []VersionRow // newest first, at most 100
}

// PersonView is a maintainer or a team over all channels.
type PersonView struct {
	Login, Name string
	Team        bool
	Channels    []struct {
		Channel string
		Attrs   int64
		Counts  Counts
	}
}

// OperatorView is an operator's page.
type OperatorView struct {
	ID, Name, Contact, URL, Home string
	Fork                         string        // a sentence if its chain forks
	Keys                         []OperatorKey // at most 100, live ones first
	MoreKeys                     int64         // that are not listed
	Claims                       int64         // live claims about outputs
	Agreed, Differed, Alone      int64         // outputs where it is in the largest camp of ≥ 2, against it, or the only one
	Copied                       int64         // outputs random by construction on which it agrees with somebody
	Recent                       []StatementRow
}

// OperatorKey is a key of an operator.
type OperatorKey struct {
	Key, Role, State string // state: "live", or why not
	CacheName        string
}

// StatementRow is a line of a list of statements.
type StatementRow struct {
	ID, Kind, Subject string
	By                OperatorRef
	Time              time.Time
	Places            []Place
}

// StatementView is the page of one statement.
type StatementView struct {
	StatementRow
	Claims []struct {
		Path  string
		Claim ClaimView
	}
	Says map[string]string // fields of the body for people, by name
}

// ClosureView is a named set of store paths that somebody stated.
type ClosureView struct {
	ID, Name   string
	By         OperatorRef
	Count      int64 // members stated
	Known      int64 // members that are listed (the rest only by digest)
	Counts     Counts
	Places     []Place
	Statements string
	Before     *StatedView  // stated before it under this name by this operator; only in lists
	History    []StatedView // the newest of its name, the newest first; only of one closure
}

// StatedView is a closure as one of several of its name.
type StatedView struct {
	ID           string
	Count, Known int64
	Counts       Counts
	Places       []Place
}

func (c *ClosureView) stated() StatedView {
	return StatedView{ID: c.ID, Count: c.Count, Known: c.Known, Counts: c.Counts, Places: c.Places}
}

// PathRow is a line of a closure or of the queue.
type PathRow struct {
	Path, Attr, Channel, Drv, Output string
	State                            State
	Agreeing, Against                int
	Priority                         int64
}

// LogView is the health of a followed log.
type LogView struct {
	Origin, URL      string
	Size             uint64 // of the newest verified checkpoint
	Replayed         uint64
	CheckpointTime   time.Time // of the cosignatures that satisfy the quorum; zero if none
	Frozen           bool
	Witnesses        []CosignerView
	Auditors         []CosignerView
	Error            string // why it does not go on, one sentence, or ""
	Checked, Updated time.Time
}

// CosignerView is a witness or an auditor of a log's policy.
type CosignerView struct {
	Name   string
	Time   time.Time // of its newest cosignature seen; zero if none
	Behind uint64    // entries between what it cosigned and the newest checkpoint
}

// SearchHit is an answer of the search.
type SearchHit struct {
	Kind, Key, Text string // kind: attribute, maintainer, team, operator, path, statement, channel, closure
	Match           string // MatchName, MatchText or MatchSimilar
	Channel         string
	State           State
}
