// Package admission decides which well-formed statements a log takes: it knows
// from the log's own entries who answers for which key, and counts what each
// may still add today.
//
// It does no I/O and verifies no statement's signature; [Registry.Key] says
// with which key the caller must verify. The document is spec/log.md#admission.
package admission

import (
	"sync"

	"github.com/firn-log/firn/log/statement"
)

// Key is a registered key.
type Key struct {
	Public    statement.PublicKey
	Operator  statement.ID
	Role      statement.Role
	CacheName string // as in the key-add; "" if there is none
	Revoked   bool
}

// operator is what the registry knows of one operator.
type operator struct {
	identities []statement.KeyID // identity keys, revoked ones too
	vouches    map[statement.ID]vouch
}

// vouch is one vouch for an operator that was not retracted, by its id.
type vouch struct {
	voucher statement.ID    // operator
	signer  statement.KeyID // identity key that signed it
}

// Registry knows the operators, keys and rules of one log: it is what its
// statements about people and itself, applied in the order of their indexes,
// add up to. It may be used concurrently.
type Registry struct {
	mu        sync.RWMutex // guards everything below
	origin    string
	logKey    statement.PublicKey
	rules     statement.Rules
	keys      map[statement.KeyID]*Key
	operators map[statement.ID]*operator
	people    map[statement.ID]statement.ID // statement about people → its operator
	vouched   map[statement.ID]bool
}

// NewRegistry returns the registry of a log without entries.
func NewRegistry(origin string, logKey statement.PublicKey) *Registry {
	return &Registry{
		origin:    origin,
		logKey:    logKey,
		keys:      make(map[statement.KeyID]*Key),
		operators: make(map[statement.ID]*operator),
		people:    make(map[statement.ID]statement.ID),
		vouched:   make(map[statement.ID]bool),
	}
}

// Rules returns the rules in force.
func (r *Registry) Rules() statement.Rules {
	r.mu.RLock()
	defer r.mu.RUnlock()
	return r.rules
}

// Len returns the numbers of operators, of vouched operators and of keys.
func (r *Registry) Len() (operators, vouched, keys int) {
	r.mu.RLock()
	defer r.mu.RUnlock()
	return len(r.operators), len(r.vouched), len(r.keys)
}

// Key returns the key that must verify s: the one its leaf carries, or the
// registered one with the signer's id ("unknown-key").
func (r *Registry) Key(s *statement.Statement) (statement.PublicKey, error) {
	if s.SignerKey != nil {
		return *s.SignerKey, nil
	}
	if s.Signer == r.logKey.ID() {
		return r.logKey, nil
	}
	r.mu.RLock()
	defer r.mu.RUnlock()
	if k, ok := r.keys[s.Signer]; ok {
		return k.Public, nil
	}
	return statement.PublicKey{}, unknownKey(s.Signer)
}

func unknownKey(id statement.KeyID) *Error {
	return errf(CodeUnknownKey, "no operator has registered the key %s in this log", id)
}

// Apply takes in an entry of the log; entries must come in order. Claims
// change nothing. What Check would have refused changes nothing either, so
// that a log cannot be led astray by what it admitted under older rules.
func (r *Registry) Apply(s *statement.Statement) {
	r.mu.Lock()
	defer r.mu.Unlock()
	switch b := s.Body.(type) {
	case *statement.Genesis:
		r.setRules(b.Rules)
		return
	case *statement.LogConfig:
		r.setRules(b.Rules)
		return
	}
	if s.Kind.Class() != statement.People || r.check(s) != nil {
		return
	}
	id := s.ID()
	switch b := s.Body.(type) {
	case *statement.Operator:
		if b.OperatorID == nil {
			r.operators[id] = &operator{vouches: make(map[statement.ID]vouch)}
			r.people[id] = id
			r.addKey(&Key{Public: b.Identity, Operator: id, Role: statement.RoleIdentity})
			r.revouch()
			return
		}
		r.people[id] = *b.OperatorID
	case *statement.KeyAdd:
		r.people[id] = b.OperatorID
		r.addKey(&Key{Public: b.Key, Operator: b.OperatorID, Role: b.Role, CacheName: b.CacheName})
		r.revouch()
	case *statement.KeyRevoke:
		r.people[id] = b.OperatorID
		r.keys[b.KeyID].Revoked = true
		r.revouch()
	case *statement.Vouch:
		r.people[id] = b.OperatorID
		r.operators[b.For].vouches[id] = vouch{b.OperatorID, s.Signer}
		r.revouch()
	case *statement.Retract:
		r.people[id] = b.OperatorID
		r.retract(b)
	case *statement.Peer:
		r.people[id] = b.OperatorID
	}
}

func (r *Registry) setRules(rules statement.Rules) {
	r.rules = rules
	r.revouch()
}

func (r *Registry) addKey(k *Key) {
	id := k.Public.ID()
	r.keys[id] = k
	if k.Role == statement.RoleIdentity {
		r.operators[k.Operator].identities = append(r.operators[k.Operator].identities, id)
	}
}

// retract takes a vouch back. Other retracted statements are for those who
// read the log.
func (r *Registry) retract(b *statement.Retract) {
	for _, op := range r.operators {
		if v, ok := op.vouches[b.Statement]; ok && v.voucher == b.OperatorID {
			delete(op.vouches, b.Statement)
			r.revouch()
		}
	}
}
