package nixdb

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/firn-log/firn/internal/nix"
)

// OpenStore opens the store whose state folder is stateDir (for instance
// /nix/var/nix): its database, or, if this user cannot read that and nixStore is
// not empty, the answer of the program nixStore. The error names both reasons.
func OpenStore(ctx context.Context, stateDir string, dir nix.StoreDir, nixStore string) (Source, error) {
	path := filepath.Join(stateDir, "db", "db.sqlite")
	db, err := Open(path, dir)
	if err == nil {
		return db, nil
	}
	if nixStore == "" || !worthAsking(err) {
		return nil, err
	}
	dump, err2 := DumpDB(ctx, nixStore, dir)
	if err2 != nil {
		return nil, fmt.Errorf("%w; and %w", err, err2)
	}
	return dump, nil
}

// worthAsking reports whether Nix may be able to read what we could not. A
// database that is not one of Nix's is not such a case.
func worthAsking(err error) bool {
	return errors.Is(err, ErrUnreadable) || errors.Is(err, fs.ErrPermission) || errors.Is(err, fs.ErrNotExist) || errors.Is(err, ErrSchema) || os.IsPermission(err)
}
