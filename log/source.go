package log

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"
)

// source is where a log is read from. Paths are relative to the log's prefix.
// get and post return at most limit bytes, after decompression; errors match
// ErrUnreachable, ErrNotFound or ErrTooLarge, or are a *RequestError.
type source interface {
	get(ctx context.Context, path string, limit int64) ([]byte, error)
	// call makes a request of the firn API and also returns the HTTP status,
	// which is below 300.
	call(ctx context.Context, r request) (body []byte, status int, err error)
}

// request is one request of the firn API.
type request struct {
	method, path string
	contentType  string
	body         []byte
	wait         time.Duration // how long the log was asked to wait
	limit        int64         // bytes of the answer
}

// maxHeader bounds the header of an answer in bytes.
const maxHeader = 64 << 10

// transport is that of clients which are given none. A program may have put its own in place of the
// default one.
var transport = sync.OnceValue(func() http.RoundTripper { return withHeaderBound(http.DefaultTransport) })

func withHeaderBound(rt http.RoundTripper) http.RoundTripper {
	t, ok := rt.(*http.Transport)
	if !ok {
		return rt
	}
	t = t.Clone()
	t.MaxResponseHeaderBytes = maxHeader
	return t
}

var errNoAPI = errors.New("a folder of files cannot be asked; this needs the log's http URL")

func newSource(logURL string, o Options) (source, error) {
	u, err := url.Parse(logURL)
	if err != nil {
		return nil, fmt.Errorf("URL of the log: %w", err)
	}
	switch u.Scheme {
	case "file":
		dir, err := filePath(u)
		if err != nil {
			return nil, err
		}
		return fileSource{dir}, nil
	case "http", "https":
		if u.Host == "" || u.RawQuery != "" || u.Fragment != "" {
			return nil, fmt.Errorf("%q is not the URL of a log", logURL)
		}
		s := &httpSource{prefix: strings.TrimSuffix(u.String(), "/") + "/", client: o.HTTP, timeout: o.Timeout, agent: o.UserAgent}
		if s.client == nil {
			s.client = &http.Client{Transport: transport()}
		}
		if s.timeout == 0 {
			s.timeout = DefaultTimeout
		}
		if s.agent == "" {
			s.agent = "firn"
		}
		return s, nil
	}
	return nil, fmt.Errorf("%q is not the URL of a log: want http://, https:// or file://", logURL)
}

// fileSource reads the static tree in a folder.
type fileSource struct{ dir string }

func (s fileSource) get(_ context.Context, path string, limit int64) ([]byte, error) {
	f, err := openFile(filepath.Join(s.dir, filepath.FromSlash(path)))
	switch {
	case errors.Is(err, fs.ErrNotExist) && s.present():
		return nil, fmt.Errorf("%w: %w", ErrNotFound, err)
	case err != nil:
		return nil, fmt.Errorf("%w: %w", ErrUnreachable, err)
	}
	defer f.Close()
	return readBounded(f, limit, 0)
}

// openFile opens a file to read it. What is none, and may never come to an end, is an error.
func openFile(path string) (*os.File, error) {
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	if st, err := f.Stat(); err != nil || !st.Mode().IsRegular() {
		return nil, errors.Join(fmt.Errorf("%s is not a file", path), err, f.Close())
	}
	return f, nil
}

// present reports whether the folder can be read at all.
func (s fileSource) present() bool {
	_, err := os.ReadDir(s.dir)
	return err == nil
}

func (s fileSource) call(context.Context, request) ([]byte, int, error) { return nil, 0, errNoAPI }

// readBounded reads all of r, which said that it has so many bytes: room for them is made at
// once. It may be wrong; less than 1 is unknown.
func readBounded(r io.Reader, limit, said int64) ([]byte, error) {
	var b bytes.Buffer
	b.Grow(int(min(max(said, 0), limit)) + bytes.MinRead)
	if _, err := b.ReadFrom(io.LimitReader(r, limit+1)); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrUnreachable, err)
	}
	if int64(b.Len()) > limit {
		return nil, fmt.Errorf("%w: more than %d bytes", ErrTooLarge, limit)
	}
	return b.Bytes(), nil
}

// httpSource reads a log over HTTP.
type httpSource struct {
	prefix  string // ends in a slash
	client  *http.Client
	timeout time.Duration
	agent   string
}

func (s *httpSource) get(ctx context.Context, path string, limit int64) ([]byte, error) {
	b, _, err := s.call(ctx, request{method: http.MethodGet, path: path, limit: limit})
	return b, err
}

func (s *httpSource) call(ctx context.Context, r request) ([]byte, int, error) {
	ctx, cancel := context.WithTimeout(ctx, s.timeout+r.wait)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, r.method, s.prefix+r.path, bytes.NewReader(r.body))
	if err != nil {
		return nil, 0, err
	}
	req.Header.Set("User-Agent", s.agent)
	req.Header.Set("Accept-Encoding", "gzip, identity")
	if r.contentType != "" {
		req.Header.Set("Content-Type", r.contentType)
	}
	resp, err := s.client.Do(req)
	if err != nil {
		return nil, 0, fmt.Errorf("%w: %w", ErrUnreachable, &visibleError{s.brief(err)})
	}
	defer resp.Body.Close()
	body, err := decoded(resp, r.limit)
	if err != nil {
		return nil, 0, fmt.Errorf("%w: %s: %w", ErrUnreachable, r.path, err)
	}
	if resp.StatusCode < 200 || resp.StatusCode > 299 {
		return nil, resp.StatusCode, refusal(s.prefix+r.path, resp, body)
	}
	b, err := readBounded(body, r.limit, resp.ContentLength)
	return b, resp.StatusCode, err
}

// visibleError is an error whose text may quote what a server said.
type visibleError struct{ error }

func (e *visibleError) Error() string { return words(e.error.Error()) }
func (e *visibleError) Unwrap() error { return e.error }

// brief shortens an error of package http to what a person can use: where, once,
// and why.
func (s *httpSource) brief(err error) error {
	var u *url.Error
	if errors.As(err, &u) {
		err = u.Err
	}
	if op, ok := err.(*net.OpError); ok {
		if sys, ok := op.Err.(*os.SyscallError); ok { // "connect", after "dial"
			shorter := *op
			shorter.Err = sys.Err
			err = &shorter
		}
	}
	if base, e := url.Parse(s.prefix); e == nil && !strings.Contains(err.Error(), base.Hostname()) {
		return fmt.Errorf("%s: %w", base.Host, err)
	}
	return err
}

// decoded undoes gzip, which a log may use without having been asked. It reads not much more than
// limit bytes of it: one member, and members without end, can go on for ever and come to nothing.
func decoded(resp *http.Response, limit int64) (io.Reader, error) {
	switch enc := resp.Header.Get("Content-Encoding"); enc {
	case "", "identity":
		return resp.Body, nil
	case "gzip":
		return gzip.NewReader(io.LimitReader(resp.Body, limit+limit/64+maxRefusal))
	default:
		return nil, fmt.Errorf("answered in content encoding %q", enc)
	}
}

// maxRefusal bounds the body of an error answer in bytes.
const maxRefusal = 16 << 10

// refusal reads the JSON of an error answer, if it is one.
func refusal(url string, resp *http.Response, body io.Reader) error {
	e := &RequestError{URL: url, Status: resp.StatusCode}
	if n, err := strconv.Atoi(resp.Header.Get("Retry-After")); err == nil && n > 0 && n < 1<<20 {
		e.RetryAfter = time.Duration(n) * time.Second
	}
	var answer struct {
		Error   string `json:"error"`
		Message string `json:"message"`
	}
	if b, err := readBounded(body, maxRefusal, 0); err == nil && json.Unmarshal(b, &answer) == nil {
		e.Code, e.Message = words(answer.Error), words(answer.Message)
	}
	return e
}
