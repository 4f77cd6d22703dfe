package bincache

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"net/url"
	"os"
	"strconv"
	"strings"
	"time"
)

// Bounds of one conversation with a cache (spec/import.md#what-is-asked-of-a-cache).
const (
	maxRedirects  = 5
	smallTimeout  = time.Minute      // of a small file, from request to end
	stallTimeout  = time.Minute      // of a large file, without a byte
	patientTries  = 5                // of one file
	hastyTries    = 2                // of the first file
	maxRetryAfter = 10 * time.Minute // a cache that asks for more is left alone
)

// web is a cache behind HTTP or HTTPS.
type web struct {
	base   *url.URL // without a slash at its end
	name   string   // base without a password
	client *http.Client
	agent  string
	pace   *pacer
	guard  *guard
}

func newWeb(base *url.URL, o ClientOptions) *web {
	w := &web{base: base, name: base.Redacted(), agent: o.UserAgent, guard: newGuard(base), client: &http.Client{Transport: o.Transport, CheckRedirect: checkRedirect}}
	if w.agent == "" {
		w.agent = "firn"
	}
	if w.client.Transport == nil {
		t := http.DefaultTransport.(*http.Transport).Clone()
		t.MaxIdleConns, t.MaxIdleConnsPerHost = 0, 256
		t.DialContext, t.Proxy = w.guard.dial, w.guard.proxy
		w.client.Transport = t
	}
	rate := o.Rate
	if rate == 0 && !isLoopback(base.Hostname()) {
		rate = DefaultRate
	}
	w.pace = newPacer(rate, o.OnTrouble)
	return w
}

func isLoopback(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}

// checkRedirect follows few redirects, over HTTP only, and names a loop.
func checkRedirect(req *http.Request, via []*http.Request) error {
	if s := req.URL.Scheme; s != "http" && s != "https" {
		return &answerError{reason: fmt.Sprintf("redirects to %q, which is not http or https", Clip(req.URL.Redacted()))}
	}
	for _, before := range via {
		if before.URL.String() == req.URL.String() {
			return &answerError{reason: "redirects in a loop, back to " + Clip(req.URL.Redacted())}
		}
	}
	if len(via) > maxRedirects {
		return &answerError{reason: fmt.Sprintf("redirects more than %d times", maxRedirects)}
	}
	return nil
}

// answerError is an answer that is not the file. Another try may give it if again
// is set.
type answerError struct {
	reason string
	again  bool
	after  time.Duration // what the cache asked for
}

func (e *answerError) Error() string { return e.reason }

// at returns the URL of a file.
func (w *web) at(name string) (*url.URL, error) {
	ref, err := url.Parse(name)
	if err != nil {
		return nil, fmt.Errorf("%q is not the name of a file", Clip(name))
	}
	if ref.IsAbs() {
		if ref.Scheme != "http" && ref.Scheme != "https" {
			return nil, fmt.Errorf("%q is neither http nor https", Clip(name))
		}
		return ref, nil
	}
	dir := *w.base
	dir.Path += "/"
	return dir.ResolveReference(ref), nil
}

func (w *web) get(ctx context.Context, name string, limit int64, patient bool) ([]byte, error) {
	u, err := w.at(name)
	if err != nil {
		return nil, err
	}
	var b []byte
	err = w.try(ctx, u, patient, func() error {
		ctx, cancel := context.WithTimeout(ctx, smallTimeout)
		defer cancel()
		resp, err := w.request(ctx, u, nil)
		if err != nil {
			return err
		}
		defer resp.Body.Close()
		b, err = readAnswer(resp, limit)
		return err
	})
	return b, err
}

// readAnswer reads a whole body of at most limit bytes.
func readAnswer(resp *http.Response, limit int64) ([]byte, error) {
	if resp.ContentLength > limit {
		return nil, &answerError{reason: fmt.Sprintf("announces %d bytes where at most %d are believable", resp.ContentLength, limit)}
	}
	b, err := io.ReadAll(io.LimitReader(resp.Body, limit+1))
	if err != nil {
		return nil, unreachable(err)
	}
	if int64(len(b)) > limit {
		return nil, &answerError{reason: fmt.Sprintf("sends more than the %d bytes that are believable", limit)}
	}
	return b, nil
}

func (w *web) open(ctx context.Context, name string) (io.ReadCloser, error) {
	u, err := w.at(name)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancelCause(ctx)
	var resp *http.Response
	err = w.try(ctx, u, true, func() (err error) {
		resp, err = w.request(ctx, u, nil)
		return err
	})
	if err != nil {
		cancel(nil)
		return nil, err
	}
	stalled := fmt.Errorf("the cache sent nothing for %v", stallTimeout)
	return &stallReader{body: resp.Body, cancel: cancel, ctx: ctx, pause: stallTimeout, timer: time.AfterFunc(stallTimeout, func() { cancel(stalled) })}, nil
}

// stallReader is a body that ends when nothing comes any more.
type stallReader struct {
	body   io.ReadCloser
	ctx    context.Context
	cancel context.CancelCauseFunc
	timer  *time.Timer
	pause  time.Duration // without a byte
}

func (r *stallReader) Read(b []byte) (int, error) {
	n, err := r.body.Read(b)
	r.timer.Reset(r.pause)
	if err != nil && err != io.EOF {
		if cause := context.Cause(r.ctx); cause != nil {
			err = cause
		}
	}
	return n, err
}

func (r *stallReader) Close() error {
	r.timer.Stop()
	r.cancel(nil)
	return r.body.Close()
}

// try calls ask until it succeeds, or another try is pointless.
func (w *web) try(ctx context.Context, u *url.URL, patient bool, ask func() error) error {
	tries := hastyTries
	if patient {
		tries = patientTries
	}
	for n := 1; ; n++ {
		turn, err := w.pace.turn(ctx)
		if err != nil {
			return w.stopped(err)
		}
		err = ask()
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		var answer *answerError
		if !errors.As(err, &answer) || !answer.again {
			w.pace.good()
			return w.blame(u, err)
		}
		if err := w.pace.bad(turn, answer); err != nil {
			return w.stopped(err)
		}
		if n == tries {
			return w.blame(u, err)
		}
	}
}

func (w *web) stopped(err error) error {
	var answer *answerError
	if errors.As(err, &answer) {
		return &StopError{w.name, err}
	}
	return err
}

// blame says which file err is about.
func (w *web) blame(u *url.URL, err error) error {
	if err == nil || errors.Is(err, ErrMissing) {
		return err
	}
	return fmt.Errorf("%s %w", u.Redacted(), err)
}

// request makes one request, whose answer has status 200. header may be nil.
func (w *web) request(ctx context.Context, u *url.URL, header http.Header) (*http.Response, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, u.String(), nil)
	if err != nil {
		return nil, err
	}
	maps.Copy(req.Header, header)
	req.Header.Set("User-Agent", w.agent)
	resp, err := w.client.Do(req)
	if err != nil {
		return nil, unreachable(err)
	}
	if resp.StatusCode == http.StatusOK {
		return resp, nil
	}
	// What is left of a short answer is read so that the connection is used again.
	_, _ = io.CopyN(io.Discard, resp.Body, 4<<10)
	resp.Body.Close()
	e := &answerError{reason: fmt.Sprintf("answers %d %s", resp.StatusCode, http.StatusText(resp.StatusCode))}
	switch code := resp.StatusCode; {
	case code == http.StatusNotFound, code == http.StatusGone, code == http.StatusForbidden:
		// 403 is what a bucket says that may not be listed; Nix reads it so too.
		return nil, ErrMissing
	case code == http.StatusNotModified:
		return nil, ErrUnchanged
	case code == http.StatusTooManyRequests, code >= 500:
		e.again, e.after = true, retryAfter(resp.Header.Get("Retry-After"), time.Now())
	}
	return nil, e
}

// unreachable makes an error of the network one that a person can read, and that
// is tried again.
func unreachable(err error) error {
	var answer *answerError
	if errors.As(err, &answer) {
		return answer // of checkRedirect
	}
	var u *url.Error
	if errors.As(err, &u) {
		err = u.Err
	}
	switch {
	case errors.Is(err, context.DeadlineExceeded), os.IsTimeout(err):
		return &answerError{reason: "does not answer in time", again: true}
	case errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, io.EOF):
		return &answerError{reason: "ends in the middle of an answer", again: true}
	}
	return &answerError{reason: "cannot be read: " + Visible(err.Error()), again: true}
}

// retryAfter reads what a cache asks for, in seconds or as a date; 0 if nothing.
func retryAfter(value string, now time.Time) time.Duration {
	value = strings.TrimSpace(value)
	if s, err := strconv.ParseUint(value, 10, 31); err == nil {
		return time.Duration(s) * time.Second
	}
	if t, err := http.ParseTime(value); err == nil {
		return max(0, t.Sub(now))
	}
	return 0
}
