package rebuild

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/firn-log/firn/internal/nix"
)

// maxNarInfo bounds a narinfo in bytes.
const maxNarInfo = 1 << 20

// fetchNarInfo asks the cache at url, http://, https:// or file://, for a path; nil
// if it does not have it. Its signatures are not looked at: it is only compared.
func fetchNarInfo(ctx context.Context, url string, p nix.StorePath) (*nix.NarInfo, error) {
	url, _, _ = strings.Cut(url, "?") // settings for Nix
	name := p.HashPart() + ".narinfo"
	var b []byte
	var err error
	if dir, ok := strings.CutPrefix(url, "file://"); ok {
		b, err = readBounded(os.Open(filepath.Join(dir, name)))
		if errors.Is(err, fs.ErrNotExist) {
			return nil, nil
		}
	} else {
		b, err = getNarInfo(ctx, strings.TrimSuffix(url, "/")+"/"+name)
	}
	if err != nil {
		return nil, fmt.Errorf("asking %s for %s: %w", url, p.Base(), err)
	}
	if b == nil {
		return nil, nil
	}
	info, err := nix.ParseNarInfo(p.Dir(), b)
	if err == nil && info.Path != p {
		err = fmt.Errorf("it is about %s", info.Path)
	}
	if err != nil {
		return nil, fmt.Errorf("what %s says about %s: %w", url, p.Base(), err)
	}
	return info, nil
}

func readBounded(f *os.File, err error) ([]byte, error) {
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return io.ReadAll(io.LimitReader(f, maxNarInfo))
}

var narInfoClient = &http.Client{Timeout: time.Minute}

// getNarInfo returns nil for a path that the cache does not have.
func getNarInfo(ctx context.Context, url string) ([]byte, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return nil, err
	}
	req.Header.Set("User-Agent", "firn-rebuild")
	resp, err := narInfoClient.Do(req)
	if err != nil {
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		return nil, errors.New(plain(err.Error())) // it may quote what the cache said
	}
	defer resp.Body.Close()
	switch resp.StatusCode {
	case http.StatusOK:
		return io.ReadAll(io.LimitReader(resp.Body, maxNarInfo))
	case http.StatusNotFound, http.StatusForbidden: // how object stores say that they have nothing
		return nil, nil
	}
	return nil, fmt.Errorf("it answers %d %s", resp.StatusCode, http.StatusText(resp.StatusCode)) // not in its own words
}
