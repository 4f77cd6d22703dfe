package main

import (
	"context"
	"fmt"
	"strings"

	"github.com/firn-log/firn/log"
	"github.com/firn-log/firn/log/statement"
	"github.com/firn-log/firn/verify"
)

// history is what one log tells about one operator.
type history struct {
	*verify.History
	// fault is "", or says in a clause what evidence is held against the index that
	// proves that nothing is left out.
	fault string
}

// codeNoRevision is the refusal of a log without an index (spec/log.md#errors).
const codeNoRevision = "no-revision"

// readHistory asks the log for an operator; nil if the log does not know it.
func readHistory(ctx context.Context, client *log.Client, id statement.ID) (*history, error) {
	told, err := verify.ReadHistory(ctx, client, id)
	if err != nil {
		return nil, logFailure("asking the log about the operator", err)
	}
	if told == nil {
		return nil, nil
	}
	h := &history{History: told}
	trust, err := client.IndexTrust(ctx, nil)
	if err != nil {
		return nil, err
	}
	if len(trust.Faults) > 0 {
		f := trust.Faults[0]
		h.fault = fmt.Sprintf("the index of log %s is wrong: %s; the evidence is in %s", client.Origin(), f.What, f.File)
	}
	return h, nil
}

func (h *history) keyOf(id statement.KeyID) *verify.HistoryKey {
	for i := range h.Keys {
		if h.Keys[i].Key.ID() == id {
			return &h.Keys[i]
		}
	}
	return nil
}

// operatorOfKey asks the log whose key this is; the zero id if nobody's.
func operatorOfKey(ctx context.Context, client *log.Client, id statement.KeyID) (statement.ID, error) {
	key := "key:" + id.String()
	answers, err := client.Lookup(ctx, log.Query{Keys: []string{key}})
	if err != nil {
		return statement.ID{}, logFailure("asking the log about the key "+id.String(), err)
	}
	for _, f := range answers.Of(key) {
		if f.Leaf == nil {
			continue
		}
		var op statement.ID
		switch b := f.Leaf.Statement.Body.(type) {
		case *statement.Operator:
			if b.OperatorID == nil && b.Identity.ID() == id {
				op = f.Leaf.Statement.ID()
			}
		case *statement.KeyAdd:
			if b.Key.ID() == id {
				op = b.OperatorID
			}
		}
		if op.IsZero() {
			continue
		}
		h, err := readHistory(ctx, client, op)
		if err != nil {
			return statement.ID{}, err
		}
		if h != nil && h.keyOf(id) != nil {
			return op, nil
		}
	}
	return statement.ID{}, nil
}

// ownHistory returns the history of the operator whose identity key signs its next
// statement in this log.
func ownHistory(ctx context.Context, client *log.Client, identity statement.KeyID) (*history, error) {
	op, err := operatorOfKey(ctx, client, identity)
	if err != nil {
		return nil, err
	}
	if op.IsZero() {
		return nil, failf(exitFailed, "`firn operator register` introduces an operator to a log", "the log does not know the identity key %s", identity)
	}
	h, err := readHistory(ctx, client, op)
	if err != nil {
		return nil, err
	}
	return h, h.mayGoOn(identity, client.Origin(), h.Profile.HomeLog)
}

// mayGoOn returns an error if identity cannot sign the operator's next statement in
// the log with that origin. Two logs that are each given another next statement
// have a fork between them, so it is given to the home log only.
func (h *history) mayGoOn(identity statement.KeyID, origin, home string) error {
	k := h.keyOf(identity)
	switch {
	case h.Incomplete != "":
		return failf(exitInconclusive, "a statement that does not follow your newest one forks your chain; try again later", "%s, so your newest statement is not known for certain", h.Incomplete)
	case h.Fork != nil:
		return failf(exitFailed, "`firn operator show "+h.ID.String()+"` shows where; if you did not sign both statements, your identity key is not yours alone", "two statements follow one in the operator's chain, so nothing can follow")
	case k == nil || k.Role != statement.RoleIdentity:
		return failf(exitUsage, "name the identity key with --identity", "the key %s is not an identity key of the operator %s", identity, h.ID)
	case len(k.Revokes) > 0:
		return failf(exitFailed, "use another identity key of yours", "the key %s was revoked (%s)", identity, k.Revokes[0].Reason)
	case home != origin:
		return failf(exitUsage, "say it there and bring it here with `firn operator copy`; if that log is gone, `firn operator register --home "+origin+"` makes this one your home first",
			"what follows your newest statement is said in your home log, %s, or your chain forks; this is %s", home, origin)
	}
	return nil
}

// describe says in a few words what a statement of people says.
func describe(b statement.Body) string {
	switch b := b.(type) {
	case *statement.Operator:
		return fmt.Sprintf("%s, %s, home log %s", b.Name, b.Contact, b.HomeLog)
	case *statement.KeyAdd:
		s := fmt.Sprintf("%s key %s (%s)", b.Role, b.Key.ID(), b.Key.Type())
		if b.CacheName != "" {
			s += ", of the cache " + b.CacheName
		}
		return s
	case *statement.KeyRevoke:
		return fmt.Sprintf("key %s, %s", b.KeyID, describeCuts(b))
	case *statement.Vouch:
		return fmt.Sprintf("%s vouches for %s", b.OperatorID, b.For)
	case *statement.Retract:
		return fmt.Sprintf("statement %s: %s", b.Statement, b.Reason)
	case *statement.Peer:
		if len(b.Addrs) == 0 {
			return fmt.Sprintf("peer %s, which only dials", b.PeerID)
		}
		return fmt.Sprintf("peer %s at %s", b.PeerID, strings.Join(b.Addrs, ", "))
	case *statement.Evidence:
		return fmt.Sprintf("evidence against the key %s", b.Convicted().ID())
	}
	return ""
}
