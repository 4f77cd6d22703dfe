package main

import (
	"context"
	"fmt"
	"strings"

	"github.com/firn-log/firn/log"
	"github.com/firn-log/firn/log/statement"
)

// history is what one log tells about one operator, with every signature
// verified and every statement in its place in the chain.
type history struct {
	id         statement.ID
	profile    *statement.Operator // as last said
	keys       []*operatorKey      // in the order in which they came
	entries    []historyEntry      // in the order of the log
	head       statement.ID        // the newest statement of the chain
	forked     bool                // two statements follow one
	checkpoint *log.Checkpoint
	// Why statements may be missing, two clauses that are "" if there is no reason:
	incomplete string // the answer was not whole
	fault      string // evidence is held against the index that proves it whole
}

type operatorKey struct {
	key     statement.PublicKey
	role    statement.Role
	revoked *statement.KeyRevoke
}

type historyEntry struct {
	index uint64
	s     *statement.Statement
	// counts is whether the statement is part of the operator's chain; why
	// says why not.
	counts bool
	why    string
}

// codeNoRevision is the refusal of a log without an index (spec/log.md#errors).
const codeNoRevision = "no-revision"

// readHistory asks the log for an operator; nil if the log does not know it.
func readHistory(ctx context.Context, client *log.Client, id statement.ID) (*history, error) {
	key := "operator:" + id.String()
	answers, err := client.Lookup(ctx, log.Query{Keys: []string{key}})
	if err != nil {
		return nil, logFailure("asking the log about the operator", err)
	}
	h := &history{id: id, checkpoint: answers.Checkpoint, incomplete: answers.Incomplete}
	trust, err := client.IndexTrust(ctx, nil)
	if err != nil {
		return nil, err
	}
	if len(trust.Faults) > 0 {
		f := trust.Faults[0]
		h.fault = fmt.Sprintf("the index of log %s is wrong: %s; the evidence is in %s", client.Origin(), f.What, f.File)
	}
	after := make(map[statement.ID]bool) // statements that have a successor
	for _, f := range answers.Of(key) {
		if f.Leaf != nil {
			h.add(f.Index, f.Leaf.Statement, after)
		}
	}
	if h.profile == nil {
		return nil, nil
	}
	return h, nil
}

// add puts the next statement of the log's list in its place.
func (h *history) add(index uint64, s *statement.Statement, after map[statement.ID]bool) {
	e := historyEntry{index: index, s: s}
	switch b := s.Body.(type) {
	case *statement.Operator:
		if b.OperatorID == nil && s.ID() == h.id && h.profile == nil {
			if err := s.Verify(b.Identity); err != nil {
				e.why = err.Error()
				break
			}
			e.counts = true
			h.profile, h.head = b, h.id
			h.keys = append(h.keys, &operatorKey{key: b.Identity, role: statement.RoleIdentity})
			break
		}
		e.why = h.follow(s, after)
	case *statement.Vouch:
		if b.OperatorID != h.id {
			e.why = "by another operator" // whose keys are not looked at here
			break
		}
		e.why = h.follow(s, after)
	default:
		e.why = h.follow(s, after)
	}
	e.counts = e.counts || e.why == ""
	h.entries = append(h.entries, e)
}

// follow appends a statement to the chain, or says why it is not part of it.
func (h *history) follow(s *statement.Statement, after map[statement.ID]bool) (why string) {
	signer := h.keyOf(s.Signer)
	switch {
	case h.profile == nil:
		return "before the operator's first statement"
	case s.Prev == nil:
		return "without a predecessor"
	case signer == nil || signer.role != statement.RoleIdentity:
		return "not signed by an identity key of the operator"
	case signer.revoked != nil:
		return "signed by a revoked key"
	}
	if err := s.Verify(signer.key); err != nil {
		return err.Error()
	}
	if add, ok := s.Body.(*statement.KeyAdd); ok {
		if err := add.VerifyProof(); err != nil {
			return err.Error()
		}
	}
	if after[*s.Prev] {
		h.forked = true
		return "a second statement after the same one: the chain is forked"
	}
	after[*s.Prev] = true
	if *s.Prev != h.head {
		return "its predecessor is not the operator's newest statement"
	}
	h.head = s.ID()
	h.apply(s.Body)
	return ""
}

func (h *history) apply(b statement.Body) {
	switch b := b.(type) {
	case *statement.Operator:
		h.profile = b
	case *statement.KeyAdd:
		h.keys = append(h.keys, &operatorKey{key: b.Key, role: b.Role})
	case *statement.KeyRevoke:
		if k := h.keyOf(b.KeyID); k != nil {
			k.revoked = b
		}
	}
}

func (h *history) keyOf(id statement.KeyID) *operatorKey {
	for _, k := range h.keys {
		if k.key.ID() == id {
			return k
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

// ownHistory returns the history of the operator whose identity key signs.
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
	return h, h.mayGoOn(identity)
}

// mayGoOn returns an error if identity cannot sign the operator's next statement.
func (h *history) mayGoOn(identity statement.KeyID) error {
	k := h.keyOf(identity)
	switch {
	case h.incomplete != "":
		return failf(exitInconclusive, "a statement that does not follow your newest one forks your chain; try again later", "%s, so your newest statement is not known for certain", h.incomplete)
	case h.forked:
		return failf(exitFailed, "`firn operator show "+h.id.String()+"` shows where; if you did not sign both statements, your identity key is not yours alone", "two statements follow one in the operator's chain, so nothing can follow")
	case k == nil || k.role != statement.RoleIdentity:
		return failf(exitUsage, "name the identity key with --identity", "the key %s is not an identity key of the operator %s", identity, h.id)
	case k.revoked != nil:
		return failf(exitFailed, "use another identity key of yours", "the key %s was revoked (%s)", identity, k.revoked.Reason)
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
		return fmt.Sprintf("key %s, %s, elsewhere %s", b.KeyID, b.Reason, b.Elsewhere)
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
