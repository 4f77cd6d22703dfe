package rebuild

import (
	"context"
	"errors"
	"fmt"

	"github.com/firn-log/firn/internal/bincache"
	"github.com/firn-log/firn/internal/nix"
)

// fetchNarInfo asks the cache that outputs are compared with for a path; nil if it does not
// have it. Its signatures are not looked at: it is only compared.
func (r *Rebuilder) fetchNarInfo(ctx context.Context, p nix.StorePath) (*nix.NarInfo, error) {
	c, err := r.cache(ctx)
	if err != nil {
		return nil, err
	}
	info, err := c.NarInfo(ctx, p.HashPart())
	switch {
	case errors.Is(err, bincache.ErrMissing):
		return nil, nil
	case err != nil:
		return nil, fmt.Errorf("asking %s for %s: %w", c.URL(), p.Base(), err)
	case info.Path != p:
		return nil, fmt.Errorf("what %s says about %s is about %s", c.URL(), p.Base(), info.Path)
	}
	return info, nil
}

// cache returns the cache that outputs are compared with, which is asked for what it is
// when it is first needed.
func (r *Rebuilder) cache(ctx context.Context) (*bincache.Client, error) {
	r.opening.Lock()
	defer r.opening.Unlock()
	if r.against == nil {
		c, err := bincache.Open(ctx, r.conf.Against, bincache.ClientOptions{UserAgent: "firn-rebuild"})
		if err != nil {
			return nil, err
		}
		r.against = c
	}
	return r.against, nil
}
