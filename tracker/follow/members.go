package follow

import (
	"context"
	"errors"
	"fmt"

	"github.com/firn-log/firn/log"
	"github.com/firn-log/firn/log/statement"
)

// members returns the list of a closure that has only its digest; nil for anything else, and if
// the log does not have it. That it neither gives it nor says so is an error: what the database
// comes to must not depend on who answered when.
func (r *reader) members(ctx context.Context, s *statement.Statement) ([]byte, error) {
	if s == nil {
		return nil, nil
	}
	b, ok := s.Body.(*statement.Closure)
	if !ok || b.Paths != nil {
		return nil, nil
	}
	list, err := r.blob(ctx, b.Digest)
	if errors.Is(err, log.ErrNotFound) || errors.Is(err, log.ErrDeleted) {
		r.warn("of a closure only the digest is known: the log does not have its list", err)
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("the list of the closure %q: %w", b.Name, err)
	}
	return list, nil
}
