package witnessing

import (
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/firn-log/firn/log/policy"
)

// CollectorOptions is what a Collector is made of.
type CollectorOptions struct {
	Origin string
	// Policy names the witnesses. All that have a URL and a key that can be
	// verified are asked; its quorum decides about a checkpoint.
	Policy *policy.Policy
	Prove  Prover
	// Client is for every witness; Monitoring and QueriesPerDay, by the policy's
	// names, go before what is in it.
	Client        Options
	Monitoring    map[string]string
	QueriesPerDay map[string]uint64
	// Republish is after how long without a newer checkpoint the public one is
	// cosigned again, so that readers see that it is fresh. 0 is never.
	Republish time.Duration
	Log       *slog.Logger
	// Asked, if not nil, is told how every request for a cosignature ended, once
	// for each witness behind the URL. Cosigs are those that verified. It may
	// be called concurrently.
	Asked func(witness string, cp Checkpoint, cosig *Cosignature, err error)
	// Changed, if not nil, is called when [Collector.Public] has something new.
	Changed func()
}

// giveUp is how long a checkpoint without a quorum holds up a newer one.
const giveUp = 10 * time.Second

// A Collector has the witnesses of one log cosign its checkpoints. One checkpoint
// is before them at a time, so that they all cosign the same text: the newest when
// the one before had its quorum, or could not get it. It may be used concurrently.
type Collector struct {
	o       CollectorOptions
	clients []*Client

	mu      sync.Mutex     // guards what follows
	pol     *policy.Policy // o.Policy, or what Ignore made of it
	newest  Checkpoint
	round   *round
	rounds  uint64 // how many there were
	public  *cosigned
	version uint64        // of public
	wake    chan struct{} // closed and replaced with each round
	status  map[string]*Status
}

// cosigned is a text with the newest cosignature of each witness.
type cosigned struct {
	cp    Checkpoint
	text  string
	lines map[string]policy.Signature // by the policy's name of the witness
	carry map[string]policy.Signature // ML-DSA lines, the same; they count for nothing
}

// round is one checkpoint before the witnesses.
type round struct {
	number uint64
	*cosigned
	again bool            // its text is public already; this is for fresh times
	fresh map[string]bool // who cosigned in this round
	began time.Time
	done  time.Time // when those who did met the quorum
}

// Status is how a witness is doing.
type Status struct {
	Witness string
	URL     string
	// Size is the largest that it cosigned since start, At when it did last.
	Size uint64
	At   time.Time
	// Clock is how far the time in its last cosignature was from ours.
	Clock time.Duration
	// Err is why the last request failed; nil if it did not. Failures counts
	// those in a row.
	Err      error
	Failures int
}

// NewCollector returns a Collector. Witnesses that the policy ignores are not asked
// and nothing of theirs is kept. It is an error if those that can be asked cannot make up
// the quorum, unless some are ignored: then nothing becomes public, and the log says so.
func NewCollector(o CollectorOptions) (*Collector, error) {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	o.Client = withDefaults(o.Client)
	c := &Collector{o: o, pol: o.Policy, wake: make(chan struct{}), status: make(map[string]*Status)}
	var urls []string
	at := make(map[string][]policy.Witness)
	for _, w := range o.Policy.Witnesses {
		if w.URL == "" || w.Key.Type != policy.TypeCosignature && w.Key.Type != policy.TypeMLDSA || slices.Contains(o.Policy.Ignored(), w.Name) {
			continue
		}
		u, err := prefix(w.URL)
		if err != nil {
			return nil, fmt.Errorf("witness %s: %w", w.Name, err)
		}
		at[u] = append(at[u], w)
		if w.Key.Type == policy.TypeMLDSA {
			continue
		}
		if !slices.Contains(urls, u) {
			urls = append(urls, u)
		}
		c.status[w.Name] = &Status{Witness: w.Name, URL: u}
	}
	for _, u := range urls {
		client, err := c.client(u, at[u])
		if err != nil {
			return nil, err
		}
		c.clients = append(c.clients, client)
	}
	if !o.Policy.Satisfied(c.names()) {
		if ignored := o.Policy.Ignored(); len(ignored) > 0 {
			o.Log.Error("without the witnesses that evidence is held against no quorum is left: nothing becomes public", "ignored", ignored, "quorum", o.Policy.Quorum)
			return c, nil
		}
		return nil, fmt.Errorf("the witnesses of the policy that have a URL and an Ed25519 key cannot make up the quorum %q", o.Policy.Quorum)
	}
	return c, nil
}

// client makes the client of a URL.
func (c *Collector) client(u string, witnesses []policy.Witness) (*Client, error) {
	o := c.o.Client
	for _, w := range witnesses {
		if m := c.o.Monitoring[w.Name]; m != "" {
			o.Monitoring = m
		}
		if n, ok := c.o.QueriesPerDay[w.Name]; ok {
			o.QueriesPerDay = n
		}
	}
	return NewClient(u, witnesses, o)
}

// Clients returns one client for each URL.
func (c *Collector) Clients() []*Client { return slices.Clone(c.clients) }

// Names returns the witnesses that are asked, by the policy's names.
func (c *Collector) Names() []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.names()
}

// names is Names for a caller that holds mu.
func (c *Collector) names() []string {
	var names []string
	for _, w := range c.pol.Witnesses {
		if c.status[w.Name] != nil {
			names = append(names, w.Name)
		}
	}
	return names
}

// Policy returns the policy that decides now.
func (c *Collector) Policy() *policy.Policy {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.pol
}

// Restore makes a note public that was so before a restart. It must satisfy the
// policy.
func (c *Collector) Restore(note []byte) error {
	pol := c.Policy()
	if _, err := pol.Verify(note, c.o.Client.Now()); err != nil {
		return err
	}
	cp, err := NewCheckpoint(note)
	if err != nil {
		return err
	}
	n, err := policy.ParseNote(note)
	if err != nil {
		return err
	}
	own := &policy.Note{Text: n.Text}
	p := newCosigned(n.Text)
	for _, s := range n.Signatures {
		switch w := witness(pol, s); {
		case w != nil && slices.Contains(pol.Ignored(), w.Name):
			// Nobody has verified it.
		case w != nil && w.Key.Type == policy.TypeMLDSA:
			if _, ok := w.Key.Carried(s.Sig); ok {
				p.carry[w.Name] = s
			}
		case w != nil:
			p.keep(w, Cosignature{Witness: w.Name, Line: s})
		case s.Name == c.o.Origin:
			own.Signatures = append(own.Signatures, s)
		}
	}
	p.cp = Checkpoint{Head: cp.Head, Note: own.Marshal()}
	for _, client := range c.clients {
		for _, w := range client.witnesses {
			if _, ok := p.lines[w.Name]; ok {
				client.Knows(c.o.Origin, cp.Head.Size)
			}
		}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.publish(p)
	return nil
}

func witness(pol *policy.Policy, s policy.Signature) *policy.Witness {
	for i := range pol.Witnesses {
		if w := &pol.Witnesses[i]; w.Key.Name == s.Name && w.Key.ID == s.ID {
			return w
		}
	}
	return nil
}

func newCosigned(text string) *cosigned {
	return &cosigned{text: text, lines: make(map[string]policy.Signature), carry: make(map[string]policy.Signature)}
}

// keep keeps the newer of two cosignatures of a witness.
func (p *cosigned) keep(w *policy.Witness, cosig Cosignature) {
	if old, ok := p.lines[w.Name]; ok {
		was, _ := w.Key.VerifyCosignature(p.text, old.Sig)
		is, _ := w.Key.VerifyCosignature(p.text, cosig.Line.Sig)
		if was.After(is) {
			return
		}
	}
	p.lines[w.Name] = cosig.Line
}

// note returns the signed note: the log's line first, the witnesses' in the order
// of the policy, then those of ML-DSA keys in that order.
func (p *cosigned) note(pol *policy.Policy) []byte {
	b := slices.Clone(p.cp.Note)
	var carried []policy.Signature
	for _, w := range pol.Witnesses {
		if line, ok := p.lines[w.Name]; ok {
			b = append(b, line.String()...)
		}
		if line, ok := p.carry[w.Name]; ok {
			carried = append(carried, line)
		}
	}
	return policy.AppendCarried(b, carried)
}

// Public returns the checkpoint that the quorum cosigned last, with every
// cosignature of it so far, and a version that grows with each change; 0 if there
// is none. The note satisfies the policy.
func (c *Collector) Public() (Checkpoint, uint64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.public == nil {
		return Checkpoint{}, 0
	}
	return Checkpoint{Head: c.public.cp.Head, Note: c.public.note(c.pol)}, c.version
}

// Waiting returns the checkpoint that is before the witnesses without a quorum
// for longer than limit, and who has not cosigned it; size 0 if there is none.
func (c *Collector) Waiting(limit time.Duration) (size uint64, missing []Status) {
	c.mu.Lock()
	defer c.mu.Unlock()
	r := c.round
	if r == nil || !r.done.IsZero() || r.again || time.Since(r.began) < limit {
		return 0, nil
	}
	for _, s := range c.status {
		if !r.fresh[s.Witness] {
			missing = append(missing, *s)
		}
	}
	slices.SortFunc(missing, func(a, b Status) int { return slices.Compare([]byte(a.Witness), []byte(b.Witness)) })
	return r.cp.Head.Size, missing
}

// Statuses returns how each witness is doing, in the order of the policy.
func (c *Collector) Statuses() []Status {
	c.mu.Lock()
	defer c.mu.Unlock()
	var out []Status
	for _, w := range c.pol.Witnesses {
		if s := c.status[w.Name]; s != nil {
			out = append(out, *s)
		}
	}
	return out
}
