package audit

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/firn-log/firn/log"
	"github.com/firn-log/firn/witness"
)

// rule names the refusals of an auditor beside the steps of a witness.
const rule = "audit"

// Gates is the gate of a witness that cosigns for these auditors only, each about
// its own log: a key of an auditor says nothing about others (spec/index.md#auditors).
func Gates(auditors []*Auditor) witness.Gate {
	by := make(map[string]*Auditor)
	for _, a := range auditors {
		by[a.Origin()] = a
	}
	return func(ctx context.Context, req *witness.Request) error {
		a := by[req.Head.Origin]
		if a == nil {
			return &witness.Refusal{Status: 404, Rule: rule, Reason: "this auditor does not compute the index of this log"}
		}
		return a.Gate(ctx, req)
	}
}

// Gate is the [witness.Gate] of this log: nil if every revision in the tree of the
// checkpoint is right, or withdrawn in it. It waits for a few entries; for many it
// refuses at once.
func (a *Auditor) Gate(ctx context.Context, req *witness.Request) error {
	if req.Head.Size == 0 {
		return nil
	}
	size := req.Head.Size
	ctx, cancel := context.WithTimeout(ctx, a.o.Wait)
	defer cancel()
	a.mu.Lock()
	a.asked = time.Now()
	a.mu.Unlock()
	if err := a.belongs(ctx, req); err != nil {
		return err
	}
	for {
		a.mu.Lock()
		checked, changed, trouble, sp := a.state.checked, a.changed, a.trouble(), a.state.refuses(size)
		a.mu.Unlock()
		switch {
		case checked >= size && sp != nil:
			return a.refuse(403, 0, fmt.Sprintf("the index of this log is wrong: the revision at index %d is not what its entries give, or is one that must not be there", sp.from))
		case checked >= size:
			return nil
		case size-checked > nearby:
			return a.behind(size, checked, trouble, 10*time.Second)
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return a.behind(size, checked, trouble, time.Second)
		}
	}
}

// belongs checks that the checkpoint is of the history that is replayed, and has it
// replayed.
func (a *Auditor) belongs(ctx context.Context, req *witness.Request) error {
	cp, err := a.client.Accept(ctx, req.Note.Marshal())
	var stale *log.StaleError
	var fork *log.ForkError
	switch {
	case err == nil:
		a.aim(cp)
		return nil
	case errors.As(err, &stale):
		return nil // of the same history, as was proven
	case errors.As(err, &fork):
		return a.refuse(403, 0, "this log has shown two histories")
	}
	r := a.refuse(503, time.Second, "the auditor could not read what shows that this checkpoint goes on from what it knows")
	r.Err = err
	return r
}

func (a *Auditor) behind(size, checked uint64, trouble error, after time.Duration) error {
	r := a.refuse(503, after, fmt.Sprintf("the auditor has computed the index of %d entries of %d", checked, size))
	r.Err = trouble
	return r
}

func (a *Auditor) refuse(status int, after time.Duration, reason string) *witness.Refusal {
	return &witness.Refusal{Status: status, Rule: rule, Origin: a.o.Key.Name, Reason: reason, RetryAfter: after}
}
