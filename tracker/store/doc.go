// Package store keeps what the tracker shows in a relational database: SQLite
// embedded, or PostgreSQL (spec/tracker.md). The database is a view: it is a
// pure function of the entries of the logs, of the kept evaluation files and of
// the configuration, and may be dropped at any time.
//
// The methods of DB that read return [ErrNotFound] for what is not there, and are all
// safe for concurrent use, also while it is written; what they return is in view.go.
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
