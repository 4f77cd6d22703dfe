package admission

import (
	"maps"
	"sync"
	"time"

	"github.com/firn-log/firn/log/statement"
)

// Unvouched is the name under which all unvouched keys are counted.
const Unvouched = "unvouched"

const daySeconds = 24 * 60 * 60

// Use is what somebody has used of a day's budget.
type Use struct {
	Statements, Bytes uint64
}

// Budget counts what is added on one UTC day, by the log's clock; the day never
// goes back, whatever the clock does. It may be used concurrently.
type Budget struct {
	now func() time.Time

	mu   sync.Mutex // guards what follows
	day  int64
	used map[string]Use
}

// NewBudget returns a Budget for the day that now tells, beginning with what
// was used of it already.
func NewBudget(now func() time.Time) *Budget {
	b := &Budget{now: now, used: make(map[string]Use)}
	b.day = b.Today()
	return b
}

// Today returns the number of days since 1970, UTC.
func (b *Budget) Today() int64 { return b.now().Unix() / daySeconds }

// Restore sets the counters as they were before a restart. day is the latest
// that was ever counted, and may be after today if the clock was set back.
func (b *Budget) Restore(day int64, used map[string]Use) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.advance(day)
	if day == b.day {
		maps.Copy(b.used, used)
	}
}

// advance begins day, if it is later. The caller holds mu.
func (b *Budget) advance(day int64) {
	if day > b.day {
		b.day = day
		clear(b.used)
	}
}

// A Reservation is a part of a day's budget that a statement takes.
type Reservation struct {
	day  int64
	name string
	size uint64
}

// Name returns under which name it is counted.
func (r Reservation) Name() string { return r.name }

// Reserve takes one statement of size bytes from the budget that s counts
// against, or returns an *Error ("budget-unvouched", "budget-key") and takes
// nothing. s may be nil if it is not vouched for: what nobody answers for counts
// against the shared budget.
func (b *Budget) Reserve(s *statement.Statement, vouched bool, size uint64, limits statement.Budgets) (Reservation, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	name, err := b.room(s, vouched, size, limits)
	if err != nil {
		return Reservation{}, err
	}
	u := b.used[name]
	b.used[name] = Use{u.Statements + 1, u.Bytes + size}
	return Reservation{b.day, name, size}, nil
}

// Room is Reserve that takes nothing: it tells whether there is room now.
func (b *Budget) Room(s *statement.Statement, vouched bool, size uint64, limits statement.Budgets) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	_, err := b.room(s, vouched, size, limits)
	return err
}

// room returns the name of the budget that s counts against, if that has room. The
// caller holds mu.
func (b *Budget) room(s *statement.Statement, vouched bool, size uint64, limits statement.Budgets) (string, error) {
	name, code, whose := Unvouched, CodeBudgetUnvouched, "all keys that nobody has vouched for together"
	limit := Use{limits.UnvouchedStatements, limits.UnvouchedBytes}
	if vouched {
		name, code, whose = s.Signer.String(), CodeBudgetKey, "this key"
		limit = Use{limits.KeyStatements, limits.KeyBytes}
	}
	b.advance(b.Today())
	u := b.used[name]
	if u.Statements+1 > limit.Statements || u.Bytes+size > limit.Bytes {
		return "", errf(code, "today's budget of %s (%d statements, %d bytes) is used up; it begins anew at midnight UTC%s",
			whose, limit.Statements, limit.Bytes, b.late())
	}
	return name, nil
}

// late says which midnight, if it is not the next one of the log's clock. The
// caller holds mu.
func (b *Budget) late() string {
	if b.Today() >= b.day {
		return ""
	}
	return " after " + time.Unix(b.day*daySeconds, 0).UTC().Format(time.DateOnly) + ", because the log's clock was set back"
}

// Release gives a reservation back: the statement was not added after all.
func (b *Budget) Release(r Reservation) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if r.day != b.day || r.name == "" {
		return
	}
	u := b.used[r.name]
	b.used[r.name] = Use{u.Statements - 1, u.Bytes - r.size}
}

// Used returns the day that is being counted and its counters of these names.
func (b *Budget) Used(names map[string]bool) (day int64, used map[string]Use) {
	b.mu.Lock()
	defer b.mu.Unlock()
	used = make(map[string]Use, len(names))
	for name := range names {
		used[name] = b.used[name]
	}
	return b.day, used
}
