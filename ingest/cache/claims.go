package cache

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/firn-log/firn/internal/bincache"
	"github.com/firn-log/firn/internal/nix"
	"github.com/firn-log/firn/log/statement"
)

// Keys are the Nix keys whose signatures are brought into a log, by name. There
// is no default.
type Keys map[string][]nix.PublicKey

// ParseKeys reads keys as trusted-public-keys has them, "name:base64".
func ParseKeys(texts []string) (Keys, error) {
	keys := make(Keys)
	for _, text := range texts {
		k, err := nix.ParsePublicKey(strings.TrimSpace(text))
		if err == nil {
			err = nix.CheckName(k.Name)
		}
		if err != nil {
			return nil, fmt.Errorf("%q: %w", bincache.Clip(text), err)
		}
		if !slices.ContainsFunc(keys[k.Name], func(o nix.PublicKey) bool { return o.Key.Equal(k.Key) }) {
			keys[k.Name] = append(keys[k.Name], k)
		}
	}
	return keys, nil
}

// claim is a signature by a listed key, which is verified.
type claim struct {
	key       keyRef
	statement *statement.Statement
}

// verified is what the signatures of a narinfo are worth.
type verified struct {
	claims   []claim
	unlisted []string  // names of keys, each once
	problems []Problem // wrong signatures, and what fits in no statement
}

// maxSigs bounds the signatures that are looked at in one narinfo.
const maxSigs = 100

// claimsOf verifies the signatures of a narinfo. Each listed key gives one claim
// at most, however often it signed.
func (keys Keys) claimsOf(info *nix.NarInfo) verified {
	var v verified
	for i, sig := range info.Sigs {
		if i == maxSigs {
			v.problems = append(v.problems, Problem{Failed, info.Path.String(), fmt.Sprintf("it bears %d signatures, of which %d were looked at", len(info.Sigs), maxSigs)})
			break
		}
		name, _, _ := strings.Cut(sig, ":")
		listed := keys[name]
		if len(listed) == 0 {
			if name = bincache.Clip(name); !slices.Contains(v.unlisted, name) {
				v.unlisted = append(v.unlisted, name)
			}
			continue
		}
		c, err := newClaim(&info.PathInfo, listed, sig)
		var p *Problem
		switch {
		case errors.As(err, &p):
			v.problems = append(v.problems, *p)
		case !slices.ContainsFunc(v.claims, func(o claim) bool { return o.key == c.key }):
			v.claims = append(v.claims, c)
		}
	}
	return v
}

func newClaim(info *nix.PathInfo, listed []nix.PublicKey, sig string) (claim, error) {
	var err error
	for _, k := range listed {
		var s *statement.Statement
		if s, err = statement.NewCacheSig(info, k, sig); err == nil {
			return claim{keyRef{k.Name, [32]byte(k.Key)}, s}, nil
		}
		if statement.CodeOf(err) != statement.CodeBadSignature {
			break
		}
	}
	p := &Problem{Trouble: Lie, Path: info.Path.String(), What: fmt.Sprintf("the signature by %s is wrong", listed[0].Name)}
	if statement.CodeOf(err) != statement.CodeBadSignature {
		p.Trouble, p.What = SetAside, fmt.Sprintf("no statement holds the signature by %s: %v", listed[0].Name, err)
	}
	return claim{}, p
}

// Error makes a problem an error, for its way through this file.
func (p *Problem) Error() string { return p.Path + ": " + p.What }
