package substituter

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"

	"github.com/firn-log/firn/internal/bincache"
	"github.com/firn-log/firn/internal/nix"
)

// maxMapped bounds the decisions about realisations that are kept; they are few, and in memory.
const maxMapped = 10_000

// mapped is what an upstream says that an output of a content-addressed derivation is.
type mapped struct {
	id     bincache.RealisationID
	keys   []string // of the index, under which it is claimed
	signed bool     // by a key of the upstream
}

// realisation answers which path an output of a content-addressed derivation is, in the form of the
// question: /realisations/sha256:HASH!OUTPUT.doi, or /build-trace-v2/DRV/OUTPUT.doi from Nix 2.35 on
// (spec/substituter.md#realisations).
func (s *Substituter) realisation(w http.ResponseWriter, r *http.Request) {
	name, ok := strings.CutSuffix(r.PathValue("file"), ".doi")
	if drv := r.PathValue("drv"); drv != "" {
		name = string(storeDir) + "/" + drv + "!" + name
	} else if !strings.HasPrefix(name, "sha256:") {
		ok = false
	}
	id, err := bincache.ParseRealisationID(name)
	if !ok || err != nil {
		refuse(w, http.StatusNotFound, "firn: there is nothing of this name")
		return
	}
	d, err := s.mapping(r.Context(), id)
	if s.refused(w, id.String(), d, err) {
		return
	}
	// What it depends on was not judged, and is left out as Nix itself does from 2.34 on.
	out := &nix.Realisation{Modulo: id.Modulo, DrvPath: id.Drv, Output: id.Output, OutPath: d.path()}
	if !id.Drv.IsZero() {
		out.Form = nix.ByDrvPath
	}
	out.Sign(s.o.Key)
	s.tally.realisations.Add(1)
	w.Header().Set("Content-Type", "application/json")
	if out.Form == nix.ByDrvPath {
		_, _ = w.Write(out.MarshalValue())
		return
	}
	_, _ = w.Write(out.Marshal())
}

// mapping returns the decision about a realisation that counts now, as decide does about a path.
func (s *Substituter) mapping(ctx context.Context, id bincache.RealisationID) (*decision, error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	for {
		r := s.rules.Load()
		s.mu.Lock()
		d := s.mapped[id.String()]
		s.mu.Unlock()
		if d != nil && s.fresh(r, d) {
			return d, nil
		}
		d, err := s.makeMapping(ctx, r, id)
		if r != s.rules.Load() {
			continue // by the policy of now
		}
		if err == nil {
			s.told(d)
			s.rememberMapping(d)
		}
		return d, err
	}
}

func (s *Substituter) rememberMapping(d *decision) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.mapped) >= maxMapped {
		clear(s.mapped)
	}
	s.mapped[d.mapped] = d
}

// makeMapping asks the upstreams in their order until one has a realisation that is taken; if none has,
// the answer is about the first.
func (s *Substituter) makeMapping(ctx context.Context, r *rules, id bincache.RealisationID) (*decision, error) {
	keys := []string{"real:" + id.String()}
	if s.o.Store != nil {
		keys = s.o.Store.MappingKeys(id)
	}
	var first *decision
	var trouble error
	for _, u := range r.upstreams {
		real, err := u.realisation(ctx, id)
		if errors.Is(err, bincache.ErrMissing) {
			continue
		}
		if err != nil {
			trouble = errors.Join(trouble, err)
			continue
		}
		if name := outputName(id); name != "" && real.OutPath.Name() != name {
			trouble = errors.Join(trouble, fmt.Errorf("%s says that %s is %s, which has not the name %s", u.URL, id, real.OutPath.Base(), name))
			continue
		}
		q := &question{r: r, u: u, info: &nix.NarInfo{}, mapped: &mapped{id: id, keys: keys}, answer: make(chan error, 1)}
		q.info.Path = real.OutPath
		for _, k := range u.Keys {
			q.mapped.signed = q.mapped.signed || real.Verify(k)
		}
		d, err := s.ask(ctx, q)
		switch {
		case err != nil:
			return nil, err
		case d.action.Taken():
			return d, nil
		case first == nil:
			first = d
		}
	}
	switch {
	case first != nil:
		return first, nil
	case trouble != nil:
		return nil, trouble
	}
	return nil, errAbsent
}

// outputName is the name that the path of an output has, "" if the derivation is not known: then
// whoever says which path it is chooses the name, and no rule goes by it.
func outputName(id bincache.RealisationID) string {
	if id.Drv.IsZero() {
		return ""
	}
	return nix.OutputName(strings.TrimSuffix(id.Drv.Name(), ".drv"), id.Output)
}

// realisation asks the cache which path an output is.
func (u *upstream) realisation(ctx context.Context, id bincache.RealisationID) (r *nix.Realisation, err error) {
	err = u.briefly(ctx, func(ctx context.Context, c *bincache.Client) (err error) {
		r, err = c.Realisation(ctx, id)
		return err
	})
	return r, err
}
