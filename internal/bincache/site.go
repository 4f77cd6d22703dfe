package bincache

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"
)

// ErrUnchanged is matched when an answer would be the one that the caller has.
var ErrUnchanged = errors.New("has not changed")

// DefaultSiteRate is how many requests a second a site elsewhere gets at most.
const DefaultSiteRate = 2

// siteTimeout is how long a site may send nothing: its pages are made when they
// are asked for, which takes longer than reading a file.
const siteTimeout = 3 * time.Minute

// A Site is a web server that is no cache and is asked as politely as one. Its
// methods may be called concurrently.
type Site struct{ w *web }

// NewSite returns the site at an http or https address. It asks nobody. A Rate of
// 0 is [DefaultSiteRate], or no bound on this machine.
func NewSite(rawURL string, o ClientOptions) (*Site, error) {
	u, err := url.Parse(rawURL)
	if err != nil {
		return nil, err
	}
	if u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || u.Opaque != "" || u.RawQuery != "" || u.Fragment != "" {
		return nil, fmt.Errorf("%q is not an http or https address without query", Clip(u.Redacted()))
	}
	u.Path, u.RawPath = strings.TrimRight(u.Path, "/"), ""
	if o.Rate == 0 && !isLoopback(u.Hostname()) {
		o.Rate = DefaultSiteRate
	}
	return &Site{newWeb(u, o)}, nil
}

// URL returns the address without user and password.
func (s *Site) URL() string {
	u := *s.w.base
	u.User = nil
	return u.String()
}

// A Question is one request to a site.
type Question struct {
	Ref    string // relative to the site
	Accept string // what form the answer is to have
	ETag   string // of the answer that the caller has, or ""
	Limit  int64  // of the answer, in bytes
}

// Ask hands the answer to read, again from its beginning if it broke off, and
// returns its ETag, if it has one, also beside an error of read. That one is
// prefixed by the address and ends it. Other errors match [ErrMissing],
// [ErrUnchanged], or are a *StopError if the site cannot be asked any more.
func (s *Site) Ask(ctx context.Context, q Question, read func(io.Reader) error) (etag string, err error) {
	u, err := s.w.at(q.Ref)
	if err != nil {
		return "", err
	}
	header := http.Header{"Accept": {q.Accept}}
	if q.ETag != "" {
		header.Set("If-None-Match", q.ETag)
	}
	err = s.w.try(ctx, u, true, func() (err error) {
		etag, err = s.once(ctx, u, header, q.Limit, read)
		return err
	})
	return etag, err
}

func (s *Site) once(ctx context.Context, u *url.URL, header http.Header, limit int64, read func(io.Reader) error) (string, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	stalled := &answerError{reason: fmt.Sprintf("sends nothing for %v", siteTimeout), again: true}
	timer := time.AfterFunc(siteTimeout, func() { cancel(stalled) })
	resp, err := s.w.request(ctx, u, header)
	if err != nil {
		timer.Stop()
		if context.Cause(ctx) == stalled {
			err = stalled
		}
		cancel(nil)
		return "", err
	}
	body := &siteBody{r: &stallReader{body: resp.Body, ctx: ctx, cancel: cancel, timer: timer, pause: siteTimeout}, left: limit, limit: limit}
	err = read(body)
	_ = body.r.Close()
	if body.err != nil {
		err = unreachable(body.err)
	}
	return resp.Header.Get("ETag"), err
}

// siteBody is a body that keeps why it could not be read.
type siteBody struct {
	r           *stallReader
	left, limit int64
	err         error
}

func (b *siteBody) Read(p []byte) (int, error) {
	if b.err != nil {
		return 0, b.err
	}
	n, err := b.r.Read(p)
	if b.left -= int64(n); b.left < 0 {
		err = &answerError{reason: fmt.Sprintf("sends more than the %d bytes that are believable", b.limit)}
	}
	if err != nil && err != io.EOF {
		b.err = err
	}
	return n, err
}
