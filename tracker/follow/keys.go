package follow

import (
	"sync"

	"github.com/firn-log/firn/log/policy"
	"github.com/firn-log/firn/log/statement"
)

// keyRing holds public keys by their ids, from which they follow: wherever a key
// was seen, it is the one that the id names, and says nothing about trust. It may be
// used concurrently.
type keyRing struct {
	mu   sync.RWMutex
	keys map[statement.KeyID]statement.PublicKey
}

func (r *keyRing) add(k statement.PublicKey) {
	id := k.ID()
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.keys == nil {
		r.keys = make(map[statement.KeyID]statement.PublicKey)
	}
	r.keys[id] = k
}

func (r *keyRing) of(id statement.KeyID) (statement.PublicKey, bool) {
	r.mu.RLock()
	defer r.mu.RUnlock()
	k, ok := r.keys[id]
	return k, ok
}

// addLog adds the keys that a policy gives a log.
func (r *keyRing) addLog(pol *policy.Policy, origin string) {
	for _, l := range pol.Logs {
		if l.Key.Name != origin || l.Key.Type != policy.TypeEd25519 {
			continue
		}
		if k, err := statement.Ed25519Key(l.Key.Public); err == nil {
			r.add(k)
		}
	}
}

// learn adds the keys that people statements bring, whether or not they verify, as the
// database does. Keys of caches and of SSHSIG leaves are in each leaf that needs them.
func (r *keyRing) learn(s *statement.Statement) {
	switch b := s.Body.(type) {
	case *statement.Operator:
		r.add(b.Identity)
	case *statement.KeyAdd:
		r.add(b.Key)
	}
}
