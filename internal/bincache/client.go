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

	"github.com/firn-log/firn/internal/nix"
)

// ErrMissing is matched when a cache answered that it does not have a file.
var ErrMissing = errors.New("the cache does not have it")

// ClientOptions say how a cache is asked. The zero value is polite.
type ClientOptions struct {
	// Rate bounds the requests a second; 0 is [DefaultRate], or no bound for a
	// cache on this machine; negative is no bound.
	Rate float64
	// UserAgent is what the cache sees; "firn" if it is empty.
	UserAgent string
	// Transport makes the requests; nil is one of its own.
	Transport http.RoundTripper
	// OnTrouble, if not nil, is told each time that the cache is given a pause.
	// It may be called from several goroutines.
	OnTrouble func(err error, pause time.Duration)
}

// DefaultRate is how many requests a second a cache elsewhere gets at most.
const DefaultRate = 500

// Client reads one binary cache. Its methods may be called concurrently.
type Client struct {
	url string
	dir nix.StoreDir
	src source
}

// source is where the files of a cache are. Names are relative, with slashes, or
// for open also http and https URLs. Errors match ErrMissing, or are a *StopError
// if the cache cannot be asked any more.
type source interface {
	// get returns a file of at most limit bytes. It tries again what may get
	// better, patiently or only a little.
	get(ctx context.Context, name string, limit int64, patient bool) ([]byte, error)
	// open returns a file of any size; the caller bounds it.
	open(ctx context.Context, name string) (io.ReadCloser, error)
}

// A StopError says that asking the cache for more is pointless now.
type StopError struct {
	URL string
	Err error
}

func (e *StopError) Error() string { return fmt.Sprintf("the cache %s: %v", e.URL, e.Err) }
func (e *StopError) Unwrap() error { return e.Err }

// Open returns a client of the cache at rawURL: http, https, or file with the
// path of a folder. It reads nix-cache-info, without which nothing is a cache.
func Open(ctx context.Context, rawURL string, o ClientOptions) (*Client, error) {
	src, name, err := newSource(rawURL, o)
	if err != nil {
		return nil, err
	}
	c := &Client{url: name, src: src}
	b, err := src.get(ctx, infoName, maxInfoLen, false)
	switch {
	case errors.Is(err, ErrMissing):
		return nil, fmt.Errorf("%s is not a binary cache: it has no %s", name, infoName)
	case err != nil:
		return nil, err
	case isPage(b):
		return nil, fmt.Errorf("%s is not a binary cache: it answered with a web page in place of its %s", name, infoName)
	}
	if c.dir, err = ParseInfo(b); err != nil {
		return nil, fmt.Errorf("%s: %s: %w", name, infoName, err)
	}
	return c, nil
}

// CheckURL says what is wrong with the address of a cache, and asks nobody.
func CheckURL(rawURL string) error {
	_, _, err := newSource(rawURL, ClientOptions{})
	return err
}

func newSource(rawURL string, o ClientOptions) (source, string, error) {
	u, err := url.Parse(rawURL)
	if err != nil {
		return nil, "", notAnAddress(rawURL)
	}
	// Nix's own parameters, as in file:///cache?compression=zstd, are for who writes.
	u.RawQuery, u.Fragment = "", ""
	switch {
	case u.Scheme == "file" && (u.Host == "" || u.Host == "localhost") && u.Path != "":
		return &folder{dir: u.Path}, "file://" + strings.TrimRight(u.Path, "/"), nil
	case (u.Scheme == "http" || u.Scheme == "https") && u.Host != "" && u.Opaque == "":
		u.Path = strings.TrimRight(u.Path, "/")
		u.RawPath = ""
		src := newWeb(u, o)
		return src, src.name, nil
	}
	return nil, "", notAnAddress(rawURL)
}

func notAnAddress(rawURL string) error {
	return fmt.Errorf("%q is not the address of a binary cache: want http://, https:// or file:///FOLDER", rawURL)
}

// URL returns the address of the cache without a slash at its end, and without a
// password.
func (c *Client) URL() string { return c.url }

// BareURL is the address as statements name it: without user and password.
func (c *Client) BareURL() string {
	if w, ok := c.src.(*web); ok {
		u := *w.base
		u.User = nil
		return u.String()
	}
	return c.url
}

// StoreDir returns what the cache's store paths begin with.
func (c *Client) StoreDir() nix.StoreDir { return c.dir }

// NarInfo asks for the path with this hash part. What it returns has this hash
// part; nothing of it is verified (spec/import.md#what-is-asked-of-a-cache).
func (c *Client) NarInfo(ctx context.Context, hashPart string) (*nix.NarInfo, error) {
	b, err := c.src.get(ctx, hashPart+narInfoSuffix, nix.MaxNarInfoLen, true)
	if err != nil {
		return nil, err
	}
	if isPage(b) {
		return nil, errors.New("the cache answered with a web page in place of a narinfo")
	}
	info, err := nix.ParseNarInfo(c.dir, b)
	if err != nil {
		return nil, err
	}
	if info.Path.HashPart() != hashPart {
		return nil, &LieError{fmt.Sprintf("asked for %s, the cache answered about %s", hashPart, info.Path.Base())}
	}
	return info, nil
}

// A LieError says that a cache answered what cannot be honest and whole at once:
// about another path than the one asked for, or with a signature that its key did
// not make. A damaged cache looks the same.
type LieError struct{ What string }

func (e *LieError) Error() string { return e.What }

// HashParts lists the hash parts of all paths of a cache that is a folder, in
// order. A cache behind HTTP cannot be listed.
func (c *Client) HashParts() ([]string, error) {
	f, ok := c.src.(*folder)
	if !ok {
		return nil, fmt.Errorf("%s cannot be listed, only a cache in a folder can: name store paths", c.url)
	}
	return f.hashParts()
}
