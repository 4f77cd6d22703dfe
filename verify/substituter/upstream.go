package substituter

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/firn-log/firn/internal/bincache"
	"github.com/firn-log/firn/internal/nix"
	"github.com/firn-log/firn/verify"
)

// maxFetches bounds the narinfos that are asked for at the same time.
const maxFetches = 64

// maxNars bounds the NARs that are unpacked at the same time: each costs the window of its
// compression, mostly 8 MiB and 128 MiB at most.
const maxNars = 16

// compressions are those of which NARs are unpacked.
var compressions = []string{"none", "xz", "zstd", "bzip2"}

// maxSigs bounds the signatures that are looked at in one narinfo.
const maxSigs = 100

// upstream is one cache that paths come from.
type upstream struct {
	*verify.Upstream
	s *Substituter

	mu     sync.Mutex // guards what follows
	client *bincache.Client
	err    error // why there is no client, or why it was not asked
	until  time.Time
}

const (
	// upstreamPause is how long an upstream that cannot be asked is left alone.
	upstreamPause = 10 * time.Second
	// upstreamPatience is how long one has to answer about one path, unless Options say otherwise: another may
	// know.
	upstreamPatience = 30 * time.Second
)

// ask returns the client of the cache. One that is not there is asked again after a pause.
func (u *upstream) ask(ctx context.Context) (*bincache.Client, error) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.err != nil && u.s.o.Now().Before(u.until) {
		return nil, u.err
	}
	if u.client != nil {
		u.err = nil
		return u.client, nil
	}
	c, err := bincache.Open(ctx, u.URL, bincache.ClientOptions{UserAgent: "firn-substituter", Transport: u.s.o.Transport})
	if err == nil && c.StoreDir() != storeDir {
		err = fmt.Errorf("the cache %s is for %s, this machine for %s", u.URL, c.StoreDir(), storeDir)
	}
	if err != nil {
		u.fail(err)
		return nil, err
	}
	u.client, u.err = c, nil
	return c, nil
}

// fail leaves the cache alone for a while. The caller holds mu.
func (u *upstream) fail(err error) {
	if errors.Is(err, context.Canceled) {
		return
	}
	u.err, u.until = err, u.s.o.Now().Add(upstreamPause)
}

// narInfo asks the cache for a path. An error that matches bincache.ErrMissing says that it has
// it not.
func (u *upstream) narInfo(ctx context.Context, h hashPart) (*nix.NarInfo, error) {
	var info *nix.NarInfo
	err := u.briefly(ctx, func(ctx context.Context, c *bincache.Client) (err error) {
		info, err = c.NarInfo(ctx, h.String())
		return err
	})
	if err == nil && !slices.Contains(compressions, info.Compression) {
		return nil, fmt.Errorf("%s: the compression %q of %s is not xz, zstd, bzip2 or none", u.URL, bincache.Clip(info.Compression), info.Path.Base())
	}
	return info, err
}

// briefly asks the cache for a small file. One that does not answer in time is left alone for a while,
// so that there is time for the next.
func (u *upstream) briefly(ctx context.Context, ask func(context.Context, *bincache.Client) error) error {
	if err := u.s.enter(ctx); err != nil {
		return err
	}
	defer u.s.leave()
	silent := &bincache.StopError{URL: u.URL, Err: fmt.Errorf("does not answer within %v", u.s.o.upstreamPatience)}
	ctx, cancel := context.WithTimeoutCause(ctx, u.s.o.upstreamPatience, silent)
	defer cancel()
	c, err := u.ask(ctx)
	if err != nil {
		return err
	}
	err = ask(ctx, c)
	u.stopped(err)
	return err
}

// enter waits for a place among those who ask caches; leave frees it.
func (s *Substituter) enter(ctx context.Context) error {
	select {
	case s.fetches <- struct{}{}:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

func (s *Substituter) leave() { <-s.fetches }

// stopped leaves the cache alone for a while if an error says that it cannot be asked any more.
func (u *upstream) stopped(err error) {
	var stop *bincache.StopError
	if !errors.As(err, &stop) {
		return
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	u.client = nil
	u.fail(err)
}

// take is what is believed to be worth judging in a narinfo: the fields that signatures cover, the
// content address if the path follows from it, where the NAR is, and the first signature by a key
// of the upstream. However often a key signed, it is one (spec/substituter.md#narinfos).
func (u *upstream) take(info *nix.NarInfo) *nix.NarInfo {
	out := &nix.NarInfo{URL: info.URL, Compression: info.Compression, FileHash: info.FileHash, FileSize: info.FileSize}
	out.Path, out.NarHash, out.NarSize, out.References = info.Path, info.NarHash, info.NarSize, info.References
	if verify.Fixes(&info.PathInfo) {
		out.CA = info.CA
	}
	fingerprint := info.Fingerprint()
	for i, sig := range info.Sigs {
		if i == maxSigs {
			break
		}
		if _, ok := u.signer(fingerprint, sig); ok {
			out.Sigs = []string{sig}
			break
		}
	}
	return out
}

// signer returns the key of the upstream that made a signature.
func (u *upstream) signer(fingerprint, sig string) (nix.PublicKey, bool) {
	for _, k := range u.Keys {
		if k.Verify(fingerprint, sig) {
			return k, true
		}
	}
	return nix.PublicKey{}, false
}

// blame is a path whose NAR an upstream has wrong.
type blame struct {
	url string
	h   hashPart
}

// blameFor is how long such a path is not taken from there.
const blameFor = 10 * time.Minute

func (s *Substituter) blame(url string, h hashPart) {
	now := s.o.Now()
	s.mu.Lock()
	defer s.mu.Unlock()
	for b, until := range s.blamed {
		if now.After(until) {
			delete(s.blamed, b)
		}
	}
	if len(s.blamed) < 10_000 {
		s.blamed[blame{url, h}] = now.Add(blameFor)
	}
}

func (s *Substituter) isBlamed(url string, h hashPart) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	until, ok := s.blamed[blame{url, h}]
	return ok && s.o.Now().Before(until)
}
