package log

import (
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"mime"
	"net/http"
	"net/url"
	"time"

	"github.com/firn-log/firn/log/lookup"
	"github.com/firn-log/firn/log/policy"
)

// MaxWatched bounds the keys of one watch (spec/log.md#watching).
const MaxWatched = 64

// watchSilence is how long a log may say nothing before its watch is taken for dead. A log
// says something every 15 seconds.
const watchSilence = time.Minute

// ErrNoWatch is matched when a log cannot be watched, so that it has to be asked from
// time to time.
var ErrNoWatch = errors.New("the log cannot be watched")

// Growth is what a log says while it is watched. It proves nothing: whoever hears of it
// asks with [Client.Lookup].
type Growth struct {
	Size     uint64            // of the checkpoint that lookups are answered with
	Revision uint64            // size of the revision that they are answered with
	Counts   map[string]uint64 // number of entries under some of the watched keys
}

// Watch asks the log to say when something is added under keys, 1 to MaxWatched of them, and
// yields what it says: at once, and whenever a list has grown. It is one connection:
// it ends with an error, which matches ErrUnreachable if another try may succeed, and
// ErrNoWatch if the log has no such thing; or is a *ProofError for what makes no sense.
func (c *Client) Watch(ctx context.Context, keys []string) iter.Seq2[*Growth, error] {
	return func(yield func(*Growth, error) bool) {
		err := c.watch(ctx, keys, func(g *Growth) bool { return yield(g, nil) })
		if err != nil {
			yield(nil, err)
		}
	}
}

// watch is Watch; it returns nil if the caller wants no more.
func (c *Client) watch(ctx context.Context, keys []string, yield func(*Growth) bool) error {
	if len(keys) == 0 || len(keys) > MaxWatched {
		return fmt.Errorf("watching %d keys of %s: 1 to %d can be watched at a time", len(keys), c.origin, MaxWatched)
	}
	src, ok := c.src.(*httpSource)
	if !ok {
		return fmt.Errorf("%w: only over HTTP", ErrNoWatch)
	}
	q := url.Values{"key": keys}
	body, alive, err := src.stream(ctx, "v1/watch?"+q.Encode())
	if err != nil {
		return fmt.Errorf("watching %s: %w", c.origin, err)
	}
	defer body.Close()
	asked := make(map[string]bool, len(keys))
	for _, k := range keys {
		asked[k] = true
	}
	r := newEventReader(body)
	for {
		e, err := r.next(alive)
		switch {
		case errors.Is(err, errEvents):
			return &ProofError{Origin: c.origin, Reason: "what it says while it is watched", Err: err}
		case err != nil:
			return fmt.Errorf("watching %s: %w: %w", c.origin, ErrUnreachable, err)
		case e.name != "entries":
			continue
		}
		g, err := parseGrowth(e.data, asked)
		if err != nil {
			return &ProofError{Origin: c.origin, Reason: "what it says while it is watched", Err: err}
		}
		if !yield(g) {
			return nil
		}
	}
}

// parseGrowth reads the data of an event about keys that were asked for.
func parseGrowth(data []byte, asked map[string]bool) (*Growth, error) {
	var e struct {
		Schema   int               `json:"schema"`
		Size     uint64            `json:"size"`
		Revision uint64            `json:"revision"`
		Keys     map[string]uint64 `json:"keys"`
	}
	if err := unmarshal(data, &e); err != nil {
		return nil, err
	}
	switch {
	case e.Schema != 1:
		return nil, fmt.Errorf("schema %d is not known", e.Schema)
	case e.Size > policy.MaxSize || e.Revision > e.Size:
		return nil, fmt.Errorf("a revision of size %d in a tree of size %d", e.Revision, e.Size)
	}
	for k, n := range e.Keys {
		if !asked[k] || n > e.Size {
			return nil, fmt.Errorf("%d entries under %q", n, words(k[:min(len(k), lookup.MaxKeyBytes)]))
		}
	}
	return &Growth{Size: e.Size, Revision: e.Revision, Counts: e.Keys}, nil
}

// stream begins to read an answer that does not end. alive must be called while
// something comes; the answer is cut off when it was not for watchSilence.
func (s *httpSource) stream(ctx context.Context, path string) (body io.ReadCloser, alive func(), err error) {
	ctx, cancel := context.WithCancelCause(ctx)
	stop := func() { cancel(nil) }
	timer := time.AfterFunc(watchSilence, func() { cancel(fmt.Errorf("it said nothing for %v", watchSilence)) })
	var resp *http.Response
	fail := func(err error) (io.ReadCloser, func(), error) {
		if ctx.Err() != nil {
			err = fmt.Errorf("%w: %w", ErrUnreachable, context.Cause(ctx))
		}
		timer.Stop()
		stop()
		if resp != nil {
			resp.Body.Close()
		}
		return nil, nil, err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, s.prefix+path, nil)
	if err != nil {
		return fail(err)
	}
	req.Header.Set("User-Agent", s.agent)
	req.Header.Set("Accept", eventsType)
	req.Header.Set("Accept-Encoding", "identity")
	if resp, err = s.client.Do(req); err != nil {
		return fail(fmt.Errorf("%w: %w", ErrUnreachable, &visibleError{s.brief(err)}))
	}
	kind, _, _ := mime.ParseMediaType(resp.Header.Get("Content-Type"))
	switch {
	case resp.StatusCode == http.StatusNotFound, resp.StatusCode == http.StatusMethodNotAllowed:
		return fail(fmt.Errorf("%w: it answers %d %s", ErrNoWatch, resp.StatusCode, http.StatusText(resp.StatusCode)))
	case resp.StatusCode != http.StatusOK:
		return fail(refusal(s.prefix+path, resp, resp.Body))
	case kind != eventsType:
		return fail(fmt.Errorf("%w: it answers with %q", ErrNoWatch, words(kind)))
	}
	return &streamBody{ctx, resp.Body, func() { timer.Stop(); stop() }}, func() { timer.Reset(watchSilence) }, nil
}

// streamBody is a body whose error is why it was cut off.
type streamBody struct {
	ctx context.Context
	io.ReadCloser
	stop func()
}

func (b *streamBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	if err != nil && b.ctx.Err() != nil {
		err = context.Cause(b.ctx)
	}
	return n, err
}

func (b *streamBody) Close() error {
	b.stop()
	return b.ReadCloser.Close()
}

// WatchPause is how long to wait before the n-th try in a row, from 1 on, to watch a log
// again: 1 to 2 seconds, then twice as long each time up to 5 minutes. random is in [0,1).
func WatchPause(n int, random float64) time.Duration {
	base := min(time.Second<<min(max(n-1, 0), 16), 150*time.Second)
	return base + time.Duration(random*float64(base))
}
