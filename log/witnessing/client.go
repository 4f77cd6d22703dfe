package witnessing

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/firn-log/firn/log/policy"
)

// Options are settings of a Client. The zero value has useful ones.
type Options struct {
	Transport http.RoundTripper // nil is http.DefaultTransport
	Timeout   time.Duration     // of one request; 0 is DefaultTimeout
	UserAgent string            // "" is "firn"
	// Monitoring is the prefix at which the witness shows what it cosigned
	// (tlog-witness, monitoring prefix). "" tries the submission prefix.
	Monitoring string
	// QueriesPerDay is the budget; requests that it does not cover wait. An hour's
	// worth may come at once. 0 is no budget.
	QueriesPerDay uint64
	// BackoffMin and BackoffMax bound the pause after a failure, which doubles
	// each time and is between half of that and that; 0 are DefaultBackoffMin
	// and DefaultBackoffMax.
	BackoffMin, BackoffMax time.Duration
	// Now is the clock; nil is time.Now. Pauses, budgets and rounds follow its
	// monotonic reading, so that they do not notice when it is set; what witnesses
	// sign is held against its time of day.
	Now func() time.Time
}

// Defaults of Options.
const (
	DefaultTimeout    = 5 * time.Second
	DefaultBackoffMin = 250 * time.Millisecond
	DefaultBackoffMax = time.Minute
)

// A Client asks the witness, or the witnesses, behind one URL. It may be used
// concurrently; requests are made one after the other.
type Client struct {
	url, monitoring string
	guessed         bool             // the monitoring prefix
	witnesses       []policy.Witness // with Ed25519 keys
	carry           []policy.Witness // with ML-DSA keys: their lines are carried, and count for nothing
	o               Options
	http            *http.Client
	turn            chan struct{} // holds a token while a request is made

	mu      sync.Mutex // guards what follows
	down    backoff    // of the whole URL
	refused map[string]*backoff
	sizes   map[string]uint64 // by origin: what the witness is thought to have cosigned last
	budget  bucket
}

// NewClient returns a client for witnesses that share the submission prefix
// rawURL. Of those with ML-DSA keys lines are only carried.
func NewClient(rawURL string, witnesses []policy.Witness, o Options) (*Client, error) {
	o = withDefaults(o)
	c := &Client{
		o: o, turn: make(chan struct{}, 1),
		refused: make(map[string]*backoff), sizes: make(map[string]uint64),
	}
	for _, w := range witnesses {
		switch w.Key.Type {
		case policy.TypeCosignature:
			c.witnesses = append(c.witnesses, w)
		case policy.TypeMLDSA:
			c.carry = append(c.carry, w)
		}
	}
	var err error
	if c.url, err = prefix(rawURL); err != nil {
		return nil, err
	}
	c.guessed = o.Monitoring == ""
	if c.monitoring = c.url; !c.guessed {
		if c.monitoring, err = prefix(o.Monitoring); err != nil {
			return nil, err
		}
	}
	c.http = &http.Client{Transport: o.Transport, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	c.budget = newBucket(o.QueriesPerDay)
	return c, nil
}

func withDefaults(o Options) Options {
	if o.Timeout == 0 {
		o.Timeout = DefaultTimeout
	}
	if o.UserAgent == "" {
		o.UserAgent = "firn"
	}
	if o.BackoffMin == 0 {
		o.BackoffMin = DefaultBackoffMin
	}
	if o.BackoffMax == 0 {
		o.BackoffMax = DefaultBackoffMax
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	return o
}

func prefix(s string) (string, error) {
	u, err := url.Parse(s)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || u.RawQuery != "" || u.Fragment != "" {
		return "", fmt.Errorf("%q is not the URL of a witness", s)
	}
	return strings.TrimSuffix(s, "/") + "/", nil
}

// URL returns the submission prefix, with a slash at its end.
func (c *Client) URL() string { return c.url }

// Witnesses returns the witnesses behind the URL whose cosignatures count.
func (c *Client) Witnesses() []policy.Witness { return slices.Clone(c.witnesses) }

// Guessed reports whether the monitoring prefix is only the submission prefix,
// so that 404 there may just mean that the witness has no such interface.
func (c *Client) Guessed() bool { return c.guessed }

// Knows says that the witness has cosigned a checkpoint of this size of origin.
// It saves a request if it is so, and costs one if it is not.
func (c *Client) Knows(origin string, size uint64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.sizes[origin] = size
}

// Wait returns when the pause after a failure is over and the budget has room,
// or with an error when ctx ends.
func (c *Client) Wait(ctx context.Context, origin string) error {
	for {
		c.mu.Lock()
		now := c.o.Now()
		until := c.down.until
		if b := c.refused[origin]; b != nil && b.until.After(until) {
			until = b.until
		}
		if t := c.budget.ready(now); t.After(until) {
			until = t
		}
		c.mu.Unlock()
		d := until.Sub(now)
		if d <= 0 {
			return ctx.Err()
		}
		if err := sleep(ctx, d); err != nil {
			return err
		}
	}
}

// attempts bounds the requests of one Add: the size that is remembered, the one
// that the witness answers, and one more if somebody else was faster.
const attempts = 3

// A Cosignature is a verified signature line of a witness.
type Cosignature struct {
	Witness string // its name in the policy
	Time    time.Time
	Line    policy.Signature
	// Carried are lines by ML-DSA keys of the same URL that came with it, by the policy's
	// names of these. Nobody has verified them. The first of an answer has them.
	Carried map[string]policy.Signature
}

// Add asks for cosignatures of cp and returns those that verify, at least one.
// It waits as [Client.Wait] does, and for its turn. Errors are *Error, or that
// of ctx.
func (c *Client) Add(ctx context.Context, cp Checkpoint, prove Prover) ([]Cosignature, error) {
	if cp.Head.Size == 0 {
		return nil, &Error{URL: c.url, Outcome: Failed, Err: errEmptyTree}
	}
	if err := c.Wait(ctx, cp.Head.Origin); err != nil {
		return nil, err
	}
	release, err := c.take(ctx)
	if err != nil {
		return nil, err
	}
	defer release()
	cosigs, err := c.add(ctx, cp, prove)
	if ctx.Err() != nil && err != nil {
		return nil, ctx.Err() // says nothing about the witness
	}
	c.settle(cp.Head.Origin, err)
	return cosigs, err
}

// take takes the turn.
func (c *Client) take(ctx context.Context) (release func(), err error) {
	select {
	case c.turn <- struct{}{}:
		return func() { <-c.turn }, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

func (c *Client) add(ctx context.Context, cp Checkpoint, prove Prover) ([]Cosignature, error) {
	origin := cp.Head.Origin
	old := min(c.size(origin), cp.Head.Size)
	for range attempts {
		if err := c.spend(ctx); err != nil {
			return nil, err
		}
		body, err := requestBody(ctx, old, cp, prove)
		if err != nil {
			return nil, &Error{URL: c.url, Outcome: Failed, Err: err}
		}
		answer, err := c.post(ctx, body)
		if err != nil {
			return nil, err
		}
		if answer.claimed == nil {
			cosigs, err := c.read(cp, answer.body)
			if err == nil {
				c.Knows(origin, cp.Head.Size)
			}
			return cosigs, err
		}
		// Nobody signed this number: it chooses the next proof and nothing else.
		claimed := *answer.claimed
		if claimed > cp.Head.Size {
			return nil, &Error{
				URL: c.url, Outcome: ClaimsLarger, Status: http.StatusConflict, Claimed: claimed,
				Err: fmt.Errorf("it says that it has cosigned size %d, which nobody signed; the checkpoint here has %d", claimed, cp.Head.Size),
			}
		}
		if claimed == old {
			break
		}
		old = claimed
		c.Knows(origin, old)
	}
	return nil, &Error{URL: c.url, Outcome: Conflict, Status: http.StatusConflict, Err: fmt.Errorf("it refuses the old size %d that it says it has", old)}
}

func (c *Client) size(origin string) uint64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.sizes[origin]
}

// spend takes a request from the budget, when there is room.
func (c *Client) spend(ctx context.Context) error {
	for {
		c.mu.Lock()
		now := c.o.Now()
		ok, at := c.budget.take(now), c.budget.ready(now)
		c.mu.Unlock()
		if ok {
			return nil
		}
		if err := sleep(ctx, at.Sub(now)); err != nil {
			return err
		}
	}
}

// sleep returns after d, or with an error when ctx ends.
func sleep(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// settle notes how a request ended, for the pause before the next.
func (c *Client) settle(origin string, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	var e *Error
	switch {
	case err == nil:
		c.down = backoff{}
		delete(c.refused, origin)
	case errors.As(err, &e) && (e.Outcome == Unreachable || e.Outcome == TimedOut || e.Status == http.StatusTooManyRequests || e.Status >= 500):
		c.down.fail(c.o.Now(), c.o, e.retryAfter)
	default:
		b := c.refused[origin]
		if b == nil {
			b = new(backoff)
			c.refused[origin] = b
		}
		b.fail(c.o.Now(), c.o, 0)
	}
}

// ErrNothing says that a witness shows no checkpoint of an origin.
var ErrNothing = errors.New("the witness shows no checkpoint of this log")

// Latest returns the checkpoint of origin that the witness shows at its
// monitoring prefix, unverified: it proves what its signatures prove. ErrNothing
// if the answer is 404. It takes its turn, spends from the budget, and
// waits for no pause.
func (c *Client) Latest(ctx context.Context, origin string) ([]byte, error) {
	release, err := c.take(ctx)
	if err != nil {
		return nil, err
	}
	defer release()
	if err := c.spend(ctx); err != nil {
		return nil, err
	}
	sum := sha256.Sum256([]byte(origin))
	return c.get(ctx, c.monitoring+hex.EncodeToString(sum[:])+"/checkpoint")
}
