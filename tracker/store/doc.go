// Package store keeps what the tracker shows in a relational database: SQLite
// embedded, or PostgreSQL (spec/tracker.md). The database is a view: it is a
// pure function of the entries of the logs, of the kept evaluation files and of
// the configuration, and may be dropped at any time.
//
// Read methods of DB, all with a context first, all safe for concurrent use;
// what is not there is ErrNotFound:
//
//	Overview() (*Overview, error)
//	Channel(name) (*ChannelView, error)
//	Trend(kind, key, channel string) ([]TrendPoint, error)       // kind: channel, maintainer, team; oldest first, ≤ 400 points
//	Attributes(f Filter, p Page) (Listing[AttributeRow], error)   // by channel, maintainer, team, state; worst first or by name
//	Changes(channel string, seq int64, onlyWorse bool, p Page) (Listing[Change], error) // seq 0: the newest evaluation
//	Attribute(attr string) (*AttributeView, error)
//	Output(path string) (*OutputView, []AttributeRow, error)      // a store path by base name, and the attributes it belongs to
//	Maintainer(login string) / Team(name string) (*PersonView, error)
//	Operators(p Page) (Listing[OperatorView], error)              // without Keys, Recent
//	Operator(id string) (*OperatorView, error)
//	OperatorOutputs(id string, s State, p Page) (Listing[PathRow], error)
//	Closures(p Page) (Listing[ClosureView], error)
//	Closure(id string) (*ClosureView, error)
//	ClosurePaths(id string, s State, p Page) (Listing[PathRow], error)
//	Queue(channel string, p Page) (Listing[PathRow], error)
//	Statement(id string) (*StatementView, error)
//	Logs() ([]LogView, error)
//	Search(q string, limit int) ([]SearchHit, error)
//
// Besides, Progress and Evaluated say where to go on, and Keys which public keys are known.
//
// Writing: AddEntries and AddEvaluation note what is dirty, and the end of the transaction
// computes, in this order, outputs (outputs.go, judge.go), derivations and what shows them (spread.go,
// moves.go, changes.go), and sums (sums.go). What differs by database is in sqlite.go and postgres.go.
package store

import "errors"

// ErrNotFound says that the database does not hold what was asked for.
var ErrNotFound = errors.New("not found")

// Filter picks attribute rows. Channel is required unless Maintainer or Team is set.
type Filter struct {
	Channel, Maintainer, Team string
	State                     State // 0: all
	Order                     Order
}

// Order is the order of attribute rows.
type Order uint8

// Orders. Worst is by state, then by name.
const (
	ByName Order = iota
	Worst
)
