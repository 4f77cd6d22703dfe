package cache

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/firn-log/firn/internal/bincache"
	"github.com/firn-log/firn/internal/nix"
	"github.com/firn-log/firn/log"
	"github.com/firn-log/firn/log/statement"
)

// ImportRealisations brings what listed keys signed about realisations into the log of
// o, in statements that signer signs, and adds what became of them to sum. Which Nix
// made them nobody knows, so their builder is unknown. Nothing of it is remembered:
// what the log has is a duplicate. Errors are as those of [Import].
func ImportRealisations(ctx context.Context, c *bincache.Client, ids []bincache.RealisationID, signer statement.Signer, o Options, sum *Summary) error {
	problem := func(id bincache.RealisationID, trouble Trouble, what string) {
		p := Problem{trouble, id.String(), what}
		sum.add(p)
		if o.OnProblem != nil {
			o.OnProblem(p)
		}
	}
	var sent []bincache.RealisationID
	var made []*statement.Statement
	var leaves [][]byte
	for _, id := range ids {
		r, err := c.Realisation(ctx, id)
		var stop *bincache.StopError
		if errors.As(err, &stop) || ctx.Err() != nil {
			return errors.Join(err, context.Cause(ctx))
		}
		if err != nil {
			problem(id, Failed, err.Error())
			continue
		}
		body, err := o.Keys.realisation(r, func(name string) {
			problem(id, Lie, "the signature by "+name+" is wrong")
		})
		if err != nil {
			problem(id, SetAside, err.Error())
			continue
		}
		s, err := statement.Sign(ctx, signer, body, "", nil)
		if err != nil {
			return err
		}
		sent, made, leaves = append(sent, id), append(made, s), append(leaves, s.Leaf())
	}
	var newest *statement.Statement
	for len(leaves) > 0 {
		n := min(len(leaves), log.MaxSubmitLeaves, log.MaxSubmitBytes/(statement.MaxLeaf+2))
		res, err := o.Log.Submit(ctx, leaves[:n], 0)
		if err != nil {
			return err
		}
		for i := range res.Results {
			a := &res.Results[i]
			switch {
			case a.Status == log.Rejected:
				problem(sent[i], Rejected, fmt.Sprintf("the log rejects a statement: %s: %s", a.Code, a.Message))
			case a.Status == log.Duplicate:
				newest, sum.Duplicates = made[i], sum.Duplicates+1
			default:
				newest, sum.Accepted = made[i], sum.Accepted+1
			}
		}
		sent, made, leaves = sent[n:], made[n:], leaves[n:]
	}
	if newest == nil {
		return nil
	}
	size, err := o.Log.Prove(ctx, newest)
	sum.Proven = max(sum.Proven, size)
	return err
}

// realisation makes the body that holds the signatures by listed keys. It calls wrong
// with the name of each listed key whose signature does not verify.
func (keys Keys) realisation(r *nix.Realisation, wrong func(name string)) (*statement.Realisation, error) {
	var listed []nix.PublicKey
	var unlisted []string
	for _, sig := range r.Sigs {
		name, _, _ := strings.Cut(sig, ":")
		under := keys[name]
		fingerprint := string(r.Fingerprint())
		switch {
		case len(under) == 0:
			unlisted = append(unlisted, bincache.Clip(name))
		case !slices.ContainsFunc(under, func(k nix.PublicKey) bool { return k.Verify(fingerprint, sig) }):
			wrong(name)
		default:
			listed = append(listed, under...)
		}
	}
	if len(listed) == 0 {
		if len(unlisted) > 0 {
			return nil, fmt.Errorf("it is signed by no listed key, but by %s", strings.Join(unlisted, ", "))
		}
		return nil, errors.New("it is signed by no listed key")
	}
	unknown := statement.Builder{Implementation: statement.UnknownImplementation, Version: statement.UnknownImplementation}
	return statement.NewRealisation(r, unknown, listed)
}
