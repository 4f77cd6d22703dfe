package admission

import (
	"slices"

	"github.com/firn-log/firn/log/statement"
)

// revouch computes anew who is vouched for (spec/log.md#vouching). People
// statements are few, and only those that can change the answer call it.
//
// An operator is vouched for if one of its identity keys is listed by the log,
// if a listed key vouched for it, or if as many vouched operators as the
// threshold says did. A ring of operators that only vouch for each other
// never begins to count, because the set grows from the listed keys.
func (r *Registry) revouch() {
	vouched := make(map[statement.ID]bool)
	for grown := true; grown; {
		grown = false
		for id, op := range r.operators {
			if !vouched[id] && r.isVouched(op, vouched) {
				vouched[id] = true
				grown = true
			}
		}
	}
	r.vouched = vouched
}

func (r *Registry) isVouched(op *operator, vouched map[statement.ID]bool) bool {
	if slices.ContainsFunc(op.identities, r.listed) {
		return true
	}
	voices := make(map[statement.ID]bool) // an operator has one voice, however often it speaks
	for _, v := range op.vouches {
		if r.listed(v.signer) {
			return true
		}
		if vouched[v.voucher] && r.rules.Mode != statement.ModeListed {
			voices[v.voucher] = true
		}
	}
	return r.rules.VouchThreshold > 0 && uint64(len(voices)) >= r.rules.VouchThreshold
}

// listed reports whether the log's rules list this identity key and it was not
// revoked.
func (r *Registry) listed(id statement.KeyID) bool {
	k, ok := r.keys[id]
	return ok && !k.Revoked && k.Role == statement.RoleIdentity && slices.Contains(r.rules.OperatorKeys, id)
}

// vouchedSigner reports whether the signer of s has a budget of its own.
func (r *Registry) vouchedSigner(s *statement.Statement) bool {
	if r.rules.Mode == statement.ModeOpen {
		return true
	}
	if k, ok := r.keys[s.Signer]; ok {
		return r.vouched[k.Operator]
	}
	if c, ok := s.Body.(*statement.CacheSig); ok {
		_, ok := r.listedName(c)
		return ok
	}
	return slices.Contains(r.rules.OperatorKeys, s.Signer) // registering right now
}

// listedName returns the name under which the log lists the cache's key.
func (r *Registry) listedName(c *statement.CacheSig) (name string, ok bool) {
	for _, k := range r.rules.CacheKeys {
		if k.Key == c.Key {
			return k.Name, true
		}
	}
	return "", false
}
