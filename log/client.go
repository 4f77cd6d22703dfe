package log

import (
	"context"
	"errors"
	"fmt"
	"math"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/firn-log/firn/log/policy"
)

// DefaultTimeout is how long one request may take unless Options say otherwise.
const DefaultTimeout = 30 * time.Second

// Options are what a Client may be told. The zero value is good.
type Options struct {
	// Origin names the log among several of the policy; it may be empty if the
	// policy has one.
	Origin string
	// Mirrors are URLs of copies of the log's tree, of the same forms as the
	// log's own. They are asked for checkpoints, tiles and entries when the log
	// does not give what is believed (spec/proofs.md#mirrors).
	Mirrors []string
	// OnTrouble is called with a *PlaceError when a place is passed over, once
	// until its checkpoint is believed again; nil is silent. Calls may be concurrent.
	OnTrouble func(error)
	// Memory keeps remembered checkpoints. Nil remembers for the life of the
	// client only.
	Memory *Memory
	// CacheDir is a folder for verified full tiles; "" keeps none on disk.
	CacheDir string
	// HTTP makes the requests; nil is a client of its own.
	HTTP *http.Client
	// Timeout bounds one request, with its body; 0 is DefaultTimeout. The
	// wait that a caller asks for is added to it.
	Timeout time.Duration
	// Now is the clock for ages; nil is time.Now.
	Now func() time.Time
	// UserAgent is sent with requests.
	UserAgent string
}

// A Client reads one log and its mirrors, over HTTP or from a folder, and submits
// to the log over HTTP. It may be used from several goroutines.
type Client struct {
	pol    *policy.Policy
	origin string
	mem    *Memory
	src    source   // the log itself, which alone answers the firn API
	places []*place // the log, then its mirrors
	tiles  *tileCache
	now    func() time.Time

	onTrouble func(error)
	patience  time.Duration // see mirrorPatience

	batch   int           // keys of one lookup
	offline *bundleSource // if that is the source; nil otherwise
}

// NewClient returns a client for the log at a URL: http://, https://, or file://
// for a folder that holds the static tree. The policy decides which checkpoints
// are believed; without one there is no client.
func NewClient(logURL string, pol *policy.Policy, o Options) (*Client, error) {
	if pol == nil {
		return nil, fmt.Errorf("reading the log at %s: a log policy is needed", logURL)
	}
	origin, err := chooseOrigin(pol, o.Origin)
	if err != nil {
		return nil, err
	}
	places, err := newPlaces(logURL, origin, o)
	if err != nil {
		return nil, err
	}
	c := &Client{
		pol: pol, origin: origin, mem: o.Memory, src: places[0].source, places: places, tiles: newTileCache(o.CacheDir, origin), now: o.Now,
		onTrouble: o.OnTrouble, patience: mirrorPatience, batch: lookupBatch,
	}
	c.defaults()
	return c, nil
}

func (c *Client) defaults() {
	if c.mem == nil {
		c.mem = NewMemory("")
	}
	if c.now == nil {
		c.now = time.Now
	}
}

func chooseOrigin(pol *policy.Policy, want string) (string, error) {
	origins := pol.Origins()
	for _, o := range origins {
		if o == want {
			return o, nil
		}
	}
	switch {
	case want != "":
		return "", fmt.Errorf("the log policy has no log %q", want)
	case len(origins) == 0:
		return "", fmt.Errorf("the log policy has no log line")
	case len(origins) > 1:
		return "", fmt.Errorf("the log policy has %d logs (%s): one of them must be named", len(origins), strings.Join(origins, ", "))
	}
	return origins[0], nil
}

// Origin returns the origin of the log.
func (c *Client) Origin() string { return c.origin }

// Policy returns the policy that the client was made with. See
// [Client.Believed] for the one that decides at this moment.
func (c *Client) Policy() *policy.Policy { return c.pol }

// Believed returns the policy that checkpoints are held against: that of the
// client, without the witnesses that evidence is held against. If it is held
// against the log, it is a *ForkError.
func (c *Client) Believed() (*policy.Policy, error) {
	if err := c.mem.convicted(c.pol, c.origin); err != nil {
		return nil, err
	}
	return c.mem.store.Apply(c.pol)
}

// Accept does with a note that came with an answer, or from somewhere else,
// what [Client.Checkpoint] does with a fetched one, and fails as it does.
func (c *Client) Accept(ctx context.Context, note []byte) (*Checkpoint, error) {
	pol, err := c.Believed()
	if err != nil {
		return nil, err
	}
	cp, err := VerifyCheckpoint(pol, note, c.now())
	var quorum *policy.QuorumError
	switch {
	case errors.As(err, &quorum) && quorum.Origin == c.origin:
		return nil, err // says whose checkpoint it is
	case err != nil:
		return nil, fmt.Errorf("checkpoint of %s: %w", c.origin, err)
	}
	if cp.Origin != c.origin {
		return nil, fmt.Errorf("checkpoint of %s: it is that of %q", c.origin, cp.Origin)
	}
	if err := c.mem.admit(ctx, c, cp); err != nil {
		return nil, err
	}
	return cp, nil
}

// seen returns the size of the remembered checkpoint, to be told to acceptSince after a
// request; 0 if nothing is remembered.
func (c *Client) seen() uint64 {
	note, err := c.mem.read(c.origin)
	if err == nil && note == nil {
		return 0
	}
	if v, err2 := c.pol.VerifyLog(note); err == nil && err2 == nil {
		return v.Size
	}
	return math.MaxUint64 // no answer is as new as what cannot be read
}

// acceptSince is Accept for the answer to a request before which a checkpoint of a size
// was remembered. One that is not smaller is not stale: requests overtake each other,
// and what was remembered since came with another one.
func (c *Client) acceptSince(ctx context.Context, note []byte, before uint64) (*Checkpoint, error) {
	cp, err := c.Accept(ctx, note)
	var stale *StaleError
	if errors.As(err, &stale) && stale.Shown.Size >= before {
		return stale.Shown, nil
	}
	return cp, err
}

// filePath returns the folder that a file URL names.
func filePath(u *url.URL) (string, error) {
	if u.Host != "" && u.Host != "localhost" {
		return "", fmt.Errorf("%s: a file URL names no other machine", u)
	}
	return u.Path, nil
}
