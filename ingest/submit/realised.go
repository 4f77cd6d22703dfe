package submit

import (
	"context"
	"crypto/sha256"
	"errors"
	"io/fs"
	"time"

	"github.com/firn-log/firn/internal/nix"
	"github.com/firn-log/firn/internal/nixdb"
	"github.com/firn-log/firn/log/statement"
)

// another is a statement that goes into the spool beside one about a build.
type another struct {
	name    string
	payload []byte
}

// realised makes a realisation statement for each output of a build of which Nix
// recorded one: those of a floating content-addressed derivation. What the store has
// lost since, or fits in no statement, is left out.
func (s *Submitter) realised(ctx context.Context, st *store, b *statement.Build) ([]another, error) {
	bodies, err := st.realisations(ctx, b, s.conf)
	var all []another
	for _, r := range bodies {
		payload, err := statement.EncodePayload(r, "", nil)
		if err == nil && len(payload) > statement.MaxLeaf-statement.MaxEnvelope {
			err = errors.New("it is too large")
		}
		if err != nil {
			s.say("no realisation of the output %s of %s is stated: %v", r.Output, b.DrvPath.Name(), err)
			continue
		}
		// Its name is the same whenever this is done again.
		id := sha256.Sum256(append(append([]byte("realisation "), b.BuildID[:]...), r.Output...))
		all = append(all, another{Name(time.Unix(int64(b.Finished), 0), [16]byte(id[:])), payload})
	}
	return all, err
}

// putAll puts statements into the spool that may be there already, perhaps without
// what Nix has recorded since; then they stay as they are.
func (s *Submitter) putAll(all []another) error {
	for _, a := range all {
		if err := s.spool.put(a.name, a.payload, nil); err != nil && !errors.Is(err, fs.ErrExist) {
			return err
		}
	}
	return nil
}

// realisations returns what Nix recorded of the claimed outputs of b.
func (st *store) realisations(ctx context.Context, b *statement.Build, conf *Config) ([]*statement.Realisation, error) {
	d, err := st.load(b.DrvPath)
	if err != nil || d.Kind() != nix.FloatingCA {
		return nil, nil // gone, or without any
	}
	keys, err := conf.nixKeys()
	if err != nil {
		return nil, err
	}
	records, err := st.src.RealisationRecords(ctx, b.DrvPath, b.Modulo)
	if errors.Is(err, nixdb.ErrNotRecorded) {
		return nil, nil
	}
	var bodies []*statement.Realisation
	for _, r := range records {
		if !claims(b, r) || r.Form == nix.ByDrvPath && len(d.InputDrvs) > 0 {
			continue // not built here, or not of a resolved derivation
		}
		if body, bad := statement.NewRealisation(r, b.Builder, keys); bad == nil {
			bodies = append(bodies, body)
		}
	}
	return bodies, err
}

func claims(b *statement.Build, r *nix.Realisation) bool {
	for _, o := range b.Outputs {
		if o.Name == r.Output && o.Path == r.OutPath {
			return true
		}
	}
	return false
}
