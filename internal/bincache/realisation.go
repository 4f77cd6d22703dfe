package bincache

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/firn-log/firn/internal/nix"
)

// A RealisationID names an output of a content-addressed derivation as a cache does:
// by hash modulo, up to Nix 2.34, or by resolved derivation, from 2.35 on.
type RealisationID struct {
	Modulo nix.Hash
	Drv    nix.StorePath // zero with a hash modulo
	Output string
}

// ParseRealisationID reads "sha256:<hexadecimal hash modulo>!<output>" or
// "<drv path in full>!<output>".
func ParseRealisationID(text string) (RealisationID, error) {
	if strings.HasPrefix(text, "sha256:") {
		modulo, output, err := nix.ParseRealisationID(text)
		return RealisationID{Modulo: modulo, Output: output}, err
	}
	drv, output, _ := strings.Cut(text, "!")
	id := RealisationID{Output: output}
	var err error
	if id.Drv, err = nix.ParseStorePath(drv); err == nil && !id.Drv.IsDerivation() {
		err = errors.New("it is no derivation")
	}
	if err == nil {
		err = nix.CheckName(output)
	}
	if err != nil {
		return id, fmt.Errorf("%q is neither sha256:HASH!OUTPUT nor DRV!OUTPUT: %w", Clip(text), err)
	}
	return id, nil
}

// String returns what ParseRealisationID reads.
func (id RealisationID) String() string {
	if id.Drv.IsZero() {
		return "sha256:" + id.Modulo.Hex() + "!" + id.Output
	}
	return id.Drv.String() + "!" + id.Output
}

// Realisation asks for what the cache has under an id. What it returns is about that
// id; nothing of it is verified (spec/import.md#realisations).
func (c *Client) Realisation(ctx context.Context, id RealisationID) (*nix.Realisation, error) {
	name := "realisations/" + id.String() + ".doi"
	if !id.Drv.IsZero() {
		if id.Drv.Dir() != c.dir {
			return nil, fmt.Errorf("it is not in %s, which is the store of the cache", c.dir)
		}
		name = "build-trace-v2/" + id.Drv.Base() + "/" + id.Output + ".doi"
	}
	b, err := c.src.get(ctx, name, nix.MaxRealisationLen, true)
	if err != nil {
		return nil, err
	}
	if isPage(b) {
		return nil, errors.New("the cache answered with a web page in place of a realisation")
	}
	if !id.Drv.IsZero() {
		return nix.ParseRealisationValue(c.dir, id.Drv, id.Output, b)
	}
	r, err := nix.ParseRealisation(c.dir, b)
	if err == nil && r.ID() != id.String() {
		err = fmt.Errorf("the cache answered with another one: %s", r.ID())
	}
	return r, err
}
