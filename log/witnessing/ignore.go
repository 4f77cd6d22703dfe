package witnessing

import (
	"slices"

	"github.com/firn-log/firn/log/policy"
)

// Ignore goes on under pol, which is the policy with more of its witnesses ignored
// ([policy.Policy.Ignoring]): they are asked no more, except for what is on its
// way; they do not count, and none of their lines is kept. The newest checkpoint is put before the
// others again. What is public loses their lines if it has its quorum without them;
// if not, [Collector.Public] has nothing until a checkpoint has.
func (c *Collector) Ignore(pol *policy.Policy) {
	c.mu.Lock()
	defer c.mu.Unlock()
	gone := slices.DeleteFunc(pol.Ignored(), func(name string) bool { return slices.Contains(c.pol.Ignored(), name) })
	if len(gone) == 0 {
		return
	}
	c.pol = pol
	for _, name := range gone {
		delete(c.status, name)
		if c.public != nil {
			delete(c.public.lines, name)
		}
	}
	if c.public != nil {
		if _, err := pol.Verify(c.public.note(pol), c.o.Client.Now()); err != nil {
			c.public = nil
		} else {
			c.version++
		}
	}
	if !pol.Satisfied(c.names()) {
		c.o.Log.Error("without the witnesses that evidence is held against no quorum is left: nothing becomes public", "ignored", pol.Ignored(), "quorum", pol.Quorum)
	}
	c.round = nil // it may have counted them
	c.advance(c.o.Client.Now())
	if c.o.Changed != nil {
		c.o.Changed()
	}
}

// ignores reports whether none of the witnesses of a client is asked any more. The
// caller holds mu.
func (c *Collector) ignores(client *Client) bool {
	return !slices.ContainsFunc(client.witnesses, func(w policy.Witness) bool { return c.status[w.Name] != nil })
}
