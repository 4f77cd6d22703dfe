package federation

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"slices"
	"sync"
	"time"

	"github.com/firn-log/firn/log"
	"github.com/firn-log/firn/log/policy"
)

const userAgent = "firn-peer"

// DefaultTimeout bounds one request unless Options say otherwise.
const DefaultTimeout = 10 * time.Second

// A Hub compares the checkpoints of logs. It may be used concurrently: one
// checkpoint of a log is compared at a time, and logs do not wait for each other.
type Hub struct {
	o       Options
	origins []*origin
	byName  map[string]*origin

	judging sync.Mutex // held from reading evidence until what follows from it is set

	mu       sync.Mutex
	evidence chan struct{} // closed when new evidence is held
	// list is what Evidence returns as long as the channel is listed: to judge it all anew
	// for whoever asks would be work that a log can make a peer do.
	list   []Evidence
	listed chan struct{}
}

var _ Sink = (*Hub)(nil)

// NewHub returns a hub that goes on from the state in o.Dir. State that the
// policies do not verify any more is dropped: it is a cache of what others
// signed, and only evidence must never be lost.
func NewHub(o Options) (*Hub, error) {
	if o.Evidence == nil {
		return nil, errors.New("a hub needs a place for evidence")
	}
	o = withDefaults(o)
	h := &Hub{o: o, byName: make(map[string]*origin), evidence: make(chan struct{})}
	for _, l := range o.Logs {
		if h.byName[l.Origin] != nil {
			return nil, fmt.Errorf("the log %s is named twice", l.Origin)
		}
		src, err := newSources(l, l.URLs, o)
		if err != nil {
			return nil, err
		}
		org := newOrigin(l, src)
		h.origins = append(h.origins, org)
		h.byName[l.Origin] = org
		if err := h.load(org); err != nil {
			return nil, err
		}
	}
	return h, h.judge()
}

func withDefaults(o Options) Options {
	if o.Timeout == 0 {
		o.Timeout = DefaultTimeout
	}
	if o.HTTP == nil {
		o.HTTP = &http.Client{}
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.Metrics == nil {
		o.Metrics = NewMetrics(nil)
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	return o
}

// Origins implements [Sink].
func (h *Hub) Origins() []string {
	names := make([]string, len(h.origins))
	for i, o := range h.origins {
		names[i] = o.Origin
	}
	return names
}

// Log returns what the hub was told of a log.
func (h *Hub) Log(origin string) (Log, bool) {
	o := h.byName[origin]
	if o == nil {
		return Log{}, false
	}
	return o.Log, true
}

// Best implements [Sink]: the largest checkpoint that was compared and that the
// quorum of the log's policy has cosigned, witnesses that are convicted not
// counted; with the union of the cosignatures that were seen.
func (h *Hub) Best(name string) []byte {
	return h.show(name, func(o *origin) *signed { return o.best })
}

// Latest implements [Sink]: the checkpoint of the largest tree that was compared,
// however few have cosigned it.
func (h *Hub) Latest(name string) []byte {
	return h.show(name, func(o *origin) *signed { return o.latest })
}

// CosignedBy returns the largest checkpoint that was seen under a cosignature of
// a witness, by its vkey: also one that nobody could prove, because it is the
// witness's own word. A witness that lost its state asks for this.
func (h *Hub) CosignedBy(name, vkey string) []byte {
	return h.show(name, func(o *origin) *signed {
		for _, w := range o.Policy.Witnesses {
			if w.Key.String() == vkey {
				return o.byWitness[w.Name]
			}
		}
		return nil
	})
}

func (h *Hub) show(name string, choose func(*origin) *signed) []byte {
	o := h.byName[name]
	if o == nil {
		return nil
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	if s := choose(o); s != nil {
		return s.note
	}
	return nil
}

// Changed returns a channel that is closed when Best or Latest of a log change
// the next time, or nil if the log is not followed.
func (h *Hub) Changed(origin string) <-chan struct{} {
	o := h.byName[origin]
	if o == nil {
		return nil
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.changed
}

// Convicted reports whether evidence is held against a log.
func (h *Hub) Convicted(origin string) bool {
	o := h.byName[origin]
	if o == nil {
		return false
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.convicted
}

// Check implements [Sink]. Errors are those of [policy.Policy.VerifyLog], or
// match ErrUnknownOrigin.
func (h *Hub) Check(note []byte) (*policy.Verified, error) {
	_, _, v, err := h.read(note)
	return v, err
}

func (h *Hub) read(note []byte) (*origin, *signed, *policy.Verified, error) {
	n, err := policy.ParseNote(note)
	if err != nil {
		return nil, nil, nil, err
	}
	head, err := policy.ParseCheckpoint(n.Text)
	if err != nil {
		return nil, nil, nil, err
	}
	o := h.byName[head.Origin]
	if o == nil {
		return nil, nil, nil, fmt.Errorf("checkpoint of %q: %w", head.Origin, ErrUnknownOrigin)
	}
	s, v, err := readSigned(o.Policy, note, h.o.Now())
	return o, s, v, err
}

// Offer implements [Sink]. It waits for tiles, and for another comparison of the
// same log, twice the Timeout each at most; what was not compared by then is
// Unproven and compared by Retry. from says who had the note, for people. The error is
// nil for every outcome but Refused, Unproven (matching log.ErrUnproven) and
// Forked (a [*ForkError]); nothing that the note claims is an error of the hub.
func (h *Hub) Offer(ctx context.Context, note []byte, from string) (Outcome, error) {
	o, s, _, err := h.read(note)
	if err != nil {
		h.o.Metrics.offer(Refused)
		return Refused, err
	}
	out, err := h.offer(ctx, o, s, from)
	h.o.Metrics.offer(out)
	return out, err
}

func (h *Hub) offer(ctx context.Context, o *origin, s *signed, from string) (Outcome, error) {
	if s.head.Size == 0 {
		return Stale, nil // says nothing: every tree begins with the empty one
	}
	h.doubt(o, s, from)
	if other := o.excludes(s); other != nil {
		// Two roots of one size need no tile: nobody who is slow delays this.
		return h.fork(ctx, o, other, s, relation{}, from)
	}
	patience, cancel := context.WithTimeout(ctx, h.patience())
	defer cancel()
	select {
	case o.turn <- struct{}{}:
		defer func() { <-o.turn }()
	case <-patience.Done():
		if ctx.Err() != nil {
			return Refused, ctx.Err()
		}
		return h.unproven(o, s, from, fmt.Errorf("%w: another checkpoint of %s is being compared all the time", log.ErrUnproven, o.Origin))
	}
	now := h.o.Now()
	o.mu.Lock()
	convicted, latest := o.convicted, o.latest
	known, news := o.absorb(s, now)
	compared := convicted && o.compared(s, now)
	o.mu.Unlock()
	switch {
	case known && !news:
		return Known, nil
	case known:
		return Merged, h.commit(o)
	case compared:
		return Refused, fmt.Errorf("%s: %w", o.Origin, ErrConvicted)
	case convicted:
		return Refused, h.againstWitnesses(ctx, o, s)
	case latest == nil:
		o.mu.Lock()
		o.proven(s, now)
		o.mu.Unlock()
		h.o.Logger.Info("first checkpoint", "origin", o.Origin, "size", s.head.Size, "from", from)
		return Larger, h.commit(o)
	}
	return h.compare(ctx, o, s, latest, from)
}

// patience bounds how long a comparison keeps those waiting who have something
// else to do: a log whose tiles are slow on purpose delays only itself.
func (h *Hub) patience() time.Duration { return 2 * h.o.Timeout }

// compare holds s against the largest tree. The caller has the turn.
func (h *Hub) compare(ctx context.Context, o *origin, s, latest *signed, from string) (Outcome, error) {
	patience, cancel := context.WithTimeout(ctx, h.patience())
	defer cancel()
	rel, err := o.src.relate(patience, latest, s, h.wrongTile(o))
	if ctx.Err() != nil {
		return Refused, ctx.Err()
	}
	if err != nil {
		return h.unproven(o, s, from, err)
	}
	if !rel.same {
		return h.fork(ctx, o, latest, s, rel, from)
	}
	o.mu.Lock()
	s, proven := o.decided(s, h.o.Now())
	larger := o.latest == s
	pending := slices.Clone(o.pending)
	o.mu.Unlock()
	if !proven {
		return Refused, fmt.Errorf("%s: %w", o.Origin, ErrConvicted)
	}
	if err := h.commit(o); err != nil {
		return Refused, err
	}
	if !larger {
		return Stale, nil
	}
	// What nobody could prove against the tree before may be decided by this one.
	patience, stop := context.WithTimeout(ctx, h.patience())
	defer stop()
	for _, p := range pending {
		if _, err := h.again(patience, o, p); err != nil && !errors.Is(err, log.ErrUnproven) && patience.Err() == nil {
			return Larger, err
		}
	}
	return Larger, nil
}

func (h *Hub) unproven(o *origin, s *signed, from string, err error) (Outcome, error) {
	if !errors.Is(err, log.ErrUnproven) {
		err = fmt.Errorf("%w: %w", log.ErrUnproven, err) // it took too long
	}
	o.mu.Lock()
	if known, _ := o.absorb(s, h.o.Now()); !known {
		o.postpone(s, h.o.Now())
	}
	o.mu.Unlock()
	h.o.Logger.Warn("checkpoint is not proven", "origin", o.Origin, "size", s.head.Size, "from", from, "error", err)
	return Unproven, errors.Join(err, h.commit(o))
}

// again compares a checkpoint that waits. The caller has the turn.
func (h *Hub) again(ctx context.Context, o *origin, p *signed) (Outcome, error) {
	o.mu.Lock()
	latest, convicted := o.latest, o.convicted
	i, waits := find(o.pending, p.text)
	if waits {
		p = o.pending[i] // with what was merged since
	}
	o.mu.Unlock()
	if convicted || !waits || latest == nil {
		return Known, nil
	}
	rel, err := o.src.relate(ctx, latest, p, h.wrongTile(o))
	if err != nil {
		return Unproven, err
	}
	if !rel.same {
		return h.fork(ctx, o, latest, p, rel, "before")
	}
	o.mu.Lock()
	p, proven := o.decided(p, h.o.Now())
	larger := o.latest == p
	o.mu.Unlock()
	out := Stale
	if !proven {
		return Known, nil
	}
	if larger {
		out = Larger
	}
	return out, h.commit(o)
}

// Retry compares checkpoints that nobody could prove yet, a few of each log.
// It returns forks that it found; what stays unproven is no error.
func (h *Hub) Retry(ctx context.Context) error {
	var errs []error
	for _, o := range h.origins {
		errs = append(errs, h.retry(ctx, o))
	}
	return errors.Join(errs...)
}

// retry is Retry for one log. Between two of them others have their turn.
func (h *Hub) retry(ctx context.Context, o *origin) error {
	var errs []error
	for _, p := range o.some() {
		select {
		case o.turn <- struct{}{}:
		case <-ctx.Done():
			return ctx.Err()
		}
		if _, err := h.again(ctx, o, p); err != nil && !errors.Is(err, log.ErrUnproven) {
			errs = append(errs, err)
		}
		<-o.turn
	}
	return errors.Join(errs...)
}

// wrongTile counts and reports a source whose tiles do not hash up.
func (h *Hub) wrongTile(o *origin) func(string, error) {
	return func(url string, err error) {
		h.o.Metrics.wrongTile(o.Origin)
		h.o.Logger.Warn("tiles are wrong, or of another tree", "origin", o.Origin, "url", url, "error", err)
	}
}

// doubt names witnesses whose clock is ahead.
func (h *Hub) doubt(o *origin, s *signed, from string) {
	limit := h.o.Now().Add(maxAhead)
	for name, line := range s.cosigned {
		if t := cosignedAt(line); t.After(limit) {
			h.o.Metrics.clock(name)
			h.o.Logger.Warn("cosignature from the future: one of two clocks is wrong", "witness", name, "origin", o.Origin, "time", t.UTC(), "from", from)
		}
	}
}

// commit writes the state of a log and wakes who waits for it.
func (h *Hub) commit(o *origin) error {
	err := h.save(o)
	o.mu.Lock()
	defer o.mu.Unlock()
	h.o.Metrics.sizes(o)
	o.announce()
	return err
}
