package admission

import (
	"github.com/firn-log/firn/log/statement"
)

// Check returns an *Error if the log's entries so far do not let the signer of
// s, whose signature the caller has verified, add s. It says nothing about
// budgets. vouched tells which budget s counts against.
func (r *Registry) Check(s *statement.Statement) (vouched bool, err error) {
	r.mu.RLock()
	defer r.mu.RUnlock()
	if e := r.check(s); e != nil {
		return false, e
	}
	vouched = r.vouchedSigner(s)
	if !vouched && r.rules.Mode == statement.ModeListed && s.Kind.Class() == statement.Claim {
		return false, errf(CodeNotListed, "this log takes claims only from operators that its own operator has vouched for")
	}
	return vouched, nil
}

func (r *Registry) check(s *statement.Statement) *Error {
	if s.Kind.Class() == statement.Log {
		return errf(CodeLogOnly, "a %s statement is made by the log itself and taken from nobody", s.Kind)
	}
	if s.Signer == r.logKey.ID() {
		return errf(CodeLogOnly, "the log's own key signs nothing but statements about the log")
	}
	if c, ok := s.Body.(*statement.CacheSig); ok {
		return r.checkCacheSig(s, c)
	}
	if o, ok := s.Body.(*statement.Operator); ok && o.OperatorID == nil {
		return r.checkNewOperator(s)
	}
	k, ok := r.keys[s.Signer]
	if s.Kind.Class() == statement.Anybody && (!ok || !k.Revoked) {
		return nil // its signature is verified, so the leaf carries the key if nobody registered it
	}
	if !ok {
		return unknownKey(s.Signer)
	}
	if k.Revoked {
		return errf(CodeRevokedKey, "the key %s was revoked by its operator", s.Signer)
	}
	if s.Kind.Class() == statement.People {
		return r.checkPeople(s, k)
	}
	if k.Role != statement.RoleBuild {
		return errf(CodeWrongRole, "the key %s is an identity key; claims are signed by a build key", s.Signer)
	}
	return nil
}

// checkCacheSig lets a cache's key make statements under one name only, because
// its signature does not cover the name.
func (r *Registry) checkCacheSig(s *statement.Statement, c *statement.CacheSig) *Error {
	k, registered := r.keys[s.Signer]
	name, listed := r.listedName(c)
	switch {
	case registered && k.Revoked:
		return errf(CodeRevokedKey, "the key %s was revoked by its operator", s.Signer)
	case !listed && !registered:
		return errf(CodeUnlistedCache, "this log does not list the cache key %s, and no operator has registered it", s.Signer)
	case !listed && k.Role != statement.RoleBuild:
		return errf(CodeWrongRole, "the key %s is an identity key; claims are signed by a build key", s.Signer)
	case !listed && k.CacheName == "":
		return errf(CodeWrongCacheName, "the key %s was registered without a cache key name, so it makes no cache-sig", s.Signer)
	case !listed:
		name = k.CacheName
	}
	if c.KeyName != name {
		return errf(CodeWrongCacheName, "this log knows the cache key %s by the name %s, not %s", s.Signer, name, c.KeyName)
	}
	return nil
}

func (r *Registry) checkNewOperator(s *statement.Statement) *Error {
	if k, ok := r.keys[s.Signer]; ok {
		return errf(CodeKeyTaken, "the key %s is already registered for the operator %s", s.Signer, k.Operator)
	}
	return nil
}

// checkPeople checks a statement about people that is not somebody's first.
func (r *Registry) checkPeople(s *statement.Statement, k *Key) *Error {
	if k.Role != statement.RoleIdentity {
		return errf(CodeWrongRole, "the key %s is a build key; statements about people are signed by an identity key", s.Signer)
	}
	op := statement.OperatorOf(s.Body)
	if _, ok := r.operators[op]; !ok {
		return errf(CodeUnknownOperator, "the operator %s is not registered in this log", op)
	}
	if k.Operator != op {
		return errf(CodeWrongOperator, "the key %s belongs to the operator %s, not to %s", s.Signer, k.Operator, op)
	}
	if s.Prev == nil || r.people[*s.Prev] != op {
		return errf(CodeUnknownPrev, "the statement before this one is not in this log; send the operator's statements in their order")
	}
	switch b := s.Body.(type) {
	case *statement.KeyAdd:
		return r.checkKeyAdd(b)
	case *statement.KeyRevoke:
		if t, ok := r.keys[b.KeyID]; !ok || t.Operator != op {
			return errf(CodeUnknownTarget, "the key %s is not one of this operator's keys", b.KeyID)
		}
	case *statement.Vouch:
		if _, ok := r.operators[b.For]; !ok {
			return errf(CodeUnknownOperator, "the operator %s is not registered in this log", b.For)
		}
	}
	return nil
}

func (r *Registry) checkKeyAdd(b *statement.KeyAdd) *Error {
	id := b.Key.ID()
	if id == r.logKey.ID() {
		return errf(CodeLogOnly, "the log's own key belongs to no operator")
	}
	k, ok := r.keys[id]
	switch {
	case !ok:
		return nil
	case k.Operator != b.OperatorID:
		return errf(CodeKeyTaken, "the key %s is already registered for the operator %s", id, k.Operator)
	case k.Revoked:
		return errf(CodeKeyTaken, "the key %s was revoked and cannot be registered again", id)
	}
	return errf(CodeKeyTaken, "the key %s is already registered for this operator", id)
}
