package witness

import "github.com/firn-log/firn/log/policy"

// A Key is the private key of a witness.
type Key struct{ verifier policy.Key }

// GenerateKey makes a key of a name and returns it with its text.
func GenerateKey(name string) (k *Key, text string, err error) { return nil, "", errSkeleton }

// ParseKey reads the text of a key.
func ParseKey(text string) (*Key, error) { return nil, errSkeleton }

// Verifier returns the verifier key.
func (k *Key) Verifier() policy.Key { return k.verifier }
