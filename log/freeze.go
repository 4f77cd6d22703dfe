package log

import (
	"context"
	"errors"
	"fmt"

	"github.com/firn-log/firn/log/policy"
	"github.com/firn-log/firn/log/statement"
)

// errOtherOrigin is why a freeze statement ends nothing here.
var errOtherOrigin = errors.New("it freezes another log")

// ParseFreeze returns the freeze statement in a leaf if a key that the policy gives
// the log signed it for this origin, and otherwise nil (spec/statement.md#freeze).
func ParseFreeze(pol *policy.Policy, origin string, leaf []byte) *statement.Freeze {
	s, err := statement.Parse(leaf)
	if err != nil {
		return nil
	}
	b, ok := s.Body.(*statement.Freeze)
	if !ok || b.Origin != origin {
		return nil
	}
	for _, k := range logKeys(pol, origin) {
		if s.Verify(k) == nil {
			return b
		}
	}
	return nil
}

// logKeys returns the keys of a log, as keys of statements.
func logKeys(pol *policy.Policy, origin string) []statement.PublicKey {
	var keys []statement.PublicKey
	for _, l := range pol.Logs {
		if l.Key.Name == origin && l.Key.Type == policy.TypeEd25519 {
			if k, err := statement.Ed25519Key(l.Key.Public); err == nil {
				keys = append(keys, k)
			}
		}
	}
	return keys
}

// Freeze returns the statement by which the log has ended, nil if the last entry
// below cp is none. Such a log grows no older: nothing newer is to be expected.
// Errors are those of [Client.Entry].
func (c *Client) Freeze(ctx context.Context, cp *Checkpoint) (*statement.Freeze, error) {
	if cp.Size == 0 {
		return nil, nil
	}
	e, err := c.Entry(ctx, cp, cp.Size-1)
	if err != nil {
		return nil, err
	}
	return ParseFreeze(c.pol, c.origin, e.Leaf), nil
}

// froze notes a verified freeze statement; one of another log is a fault.
func (a *audit) froze(index uint64, b *statement.Freeze) {
	switch {
	case b.Origin != a.origin:
		a.fault(index, errOtherOrigin)
	case a.res.Freeze == nil:
		a.res.Freeze, a.frozen = b, index
	}
}

// end checks that nothing stands after what ended the log.
func (a *audit) end() {
	if a.res.Freeze == nil || a.res.Entries == a.frozen+1 {
		return
	}
	a.fault(a.frozen+1, fmt.Errorf("it stands after the freeze statement at %d, with which the log ended; %d entries do", a.frozen, a.res.Entries-a.frozen-1))
}
