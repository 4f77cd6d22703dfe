package federation

import "time"

// NextList returns when the mirror asks for a list again.
func (m *Mirror) NextList() (time.Time, bool) { return m.lists.next() }
