package federation

import (
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"
)

var (
	errNotFound = errors.New("not found")
	errGarbage  = errors.New("answers garbage")
)

// A fetcher reads what others serve. Nothing that it returns is verified; it is at
// most as long as asked for, after decompression.
type fetcher struct {
	client  *http.Client
	timeout time.Duration
}

// get reads an http, https or file URL. Errors match errNotFound, errGarbage if
// the answer is too long or no answer at all, or say why there was none.
func (f fetcher) get(ctx context.Context, url string, limit int64) ([]byte, error) {
	if dir, ok := strings.CutPrefix(url, "file://"); ok {
		return readFile(dir, limit)
	}
	ctx, cancel := context.WithTimeout(ctx, f.timeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return nil, err
	}
	req.Header.Set("User-Agent", userAgent)
	req.Header.Set("Accept-Encoding", "gzip, identity")
	resp, err := f.client.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	switch {
	case resp.StatusCode == http.StatusNotFound:
		return nil, errNotFound
	case resp.StatusCode != http.StatusOK:
		return nil, fmt.Errorf("status %d", resp.StatusCode)
	}
	var body io.Reader = resp.Body
	switch enc := resp.Header.Get("Content-Encoding"); enc {
	case "", "identity":
	case "gzip":
		if body, err = gzip.NewReader(body); err != nil {
			return nil, fmt.Errorf("%w: %w", errGarbage, err)
		}
	default:
		return nil, fmt.Errorf("%w: content encoding %q", errGarbage, enc)
	}
	return readBounded(body, limit)
}

func readFile(path string, limit int64) ([]byte, error) {
	f, err := os.Open(filepath.FromSlash(path))
	if errors.Is(err, os.ErrNotExist) {
		return nil, errNotFound
	}
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return readBounded(f, limit)
}

func readBounded(r io.Reader, limit int64) ([]byte, error) {
	b, err := io.ReadAll(io.LimitReader(r, limit+1))
	if err != nil {
		return nil, err
	}
	if int64(len(b)) > limit {
		return nil, fmt.Errorf("%w: more than %d bytes", errGarbage, limit)
	}
	return b, nil
}
