// Package nixdb reads the database of a local Nix store and never writes it.
//
// There are two ways in behind one interface, [Source]. [Open] reads Nix's own
// db.sqlite, which answers everything. [DumpDB] asks `nix-store --dump-db`, for
// users who may not read that file; it knows paths, hashes and references, but
// not what was built here ([Records] says so, and nobody should read a false
// Ultimate there as "substituted").
//
// Columns are found by name and the schema is checked when the database is
// opened, because vendors of Nix add columns. Any store prefix works.
package nixdb

import (
	"context"
	"errors"
	"fmt"

	"github.com/firn-log/firn/internal/nix"
)

// Source is a read-only view of a store's metadata. Its methods may be called
// concurrently. Each call sees one consistent state of the store; two calls may
// see different ones.
type Source interface {
	// StoreDir returns the store's prefix, for instance /nix/store.
	StoreDir() nix.StoreDir
	// Records says which facts this source has at all.
	Records() Records
	// PathInfo returns what is known about a valid path, or an error
	// matching ErrNotValid.
	PathInfo(ctx context.Context, p nix.StorePath) (*nix.PathInfo, error)
	// Closure returns the paths reachable from roots through references,
	// roots included, sorted by path. A root that is not valid is an error
	// matching ErrNotValid.
	Closure(ctx context.Context, roots []nix.StorePath) ([]*nix.PathInfo, error)
	// DerivationOutputs returns the output paths recorded for a derivation,
	// by output name, whether or not they are valid. It is empty for a
	// derivation whose outputs are content-addressed and for one that is not
	// in the store.
	DerivationOutputs(ctx context.Context, drv nix.StorePath) (map[string]nix.StorePath, error)
	// Realisations returns the outputs realised for a derivation, by output
	// name: under its hash modulo (Nix up to 2.34) or its path (later). It is
	// empty where content-addressed derivations were never used.
	Realisations(ctx context.Context, drv nix.StorePath, modulo nix.Hash) (map[string]nix.StorePath, error)
	// RealisationRecords returns all that is recorded of these realisations, with
	// signatures, which are not verified, and what they rest on; sorted by output.
	RealisationRecords(ctx context.Context, drv nix.StorePath, modulo nix.Hash) ([]*nix.Realisation, error)
	// ValidDerivers returns the valid derivations recorded as producing p,
	// sorted.
	ValidDerivers(ctx context.Context, p nix.StorePath) ([]nix.StorePath, error)
	// Close frees what the source holds.
	Close() error
}

// Records says which facts a Source has. A fact that it does not have is zero in
// every answer.
type Records struct {
	Ultimate bool // PathInfo.Ultimate: built here
	Sigs     bool // PathInfo.Sigs
	CA       bool // PathInfo.CA
	Outputs  bool // DerivationOutputs, Realisations
}

var (
	// ErrNotValid says that the store does not hold a path.
	ErrNotValid = errors.New("not a valid path in the store")
	// ErrSchema says that a database is not one of Nix's, or of a version
	// that this package does not know.
	ErrSchema = errors.New("not a Nix database this program knows")
	// ErrUnreadable says that a database may hold changes that this user
	// cannot read.
	ErrUnreadable = errors.New("the database cannot be read safely by this user")
	// ErrNotRecorded is returned for a question that a source has no facts for.
	ErrNotRecorded = errors.New("not recorded by this source")
)

func notValid(p nix.StorePath) error { return fmt.Errorf("%s: %w", p, ErrNotValid) }
