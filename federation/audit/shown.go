package audit

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"

	"github.com/firn-log/firn/log/index"
)

// shownIndex reads the index as the log shows it (spec/log.md#http). Nothing that it
// returns is verified but its form.
type shownIndex struct {
	url    string // of the log
	client *http.Client
}

const (
	levels   = 12        // of a trie that are asked for at once
	maxShown = 512 << 10 // bytes of such an answer: 4,096 leaves take 300,000
)

// errWithheld says that the log does not show what hashes to the root that it
// signed: nobody but the log knows what it is.
var errWithheld = errors.New("the log does not show the map that it signed")

// trie returns the trie of the keys with these first bits. The error is
// index.ErrShape, with the node, for what no map has.
func (s *shownIndex) trie(ctx context.Context, size uint64, depth int, prefix index.Hash) (*index.Node, error) {
	b, err := s.get(ctx, fmt.Sprintf("v1/index/%d/trie?depth=%d&prefix=%s&levels=%d", size, depth, hexHash(cut(prefix, depth)), levels), maxShown)
	if err != nil {
		return nil, err
	}
	n, rest, err := index.ParsePruned(b)
	if err != nil && !errors.Is(err, index.ErrShape) || len(rest) > 0 {
		return nil, fmt.Errorf("%w: its answer is not a pruned trie", errWithheld)
	}
	return n, err
}

// list returns the items of a list before a position; 0 is its end. The log may
// answer with the last of them only.
func (s *shownIndex) list(ctx context.Context, size uint64, kh index.Hash, to uint64) (index.List, error) {
	path := fmt.Sprintf("v1/index/%d/list?key=%s&from=0", size, hexHash(kh))
	if to > 0 {
		path += fmt.Sprintf("&to=%d", to)
	}
	b, err := s.get(ctx, path, 64<<20)
	if err != nil {
		return index.List{}, err
	}
	l, rest, err := index.ParseList(b)
	if err != nil || len(rest) > 0 {
		return index.List{}, fmt.Errorf("%w: its answer is not a list", errWithheld)
	}
	return l, nil
}

func hexHash(h index.Hash) string { return fmt.Sprintf("%x", h[:]) }

func (s *shownIndex) get(ctx context.Context, path string, limit int64) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, strings.TrimSuffix(s.url, "/")+"/"+path, nil)
	if err != nil {
		return nil, err
	}
	req.Header.Set("User-Agent", "firn-auditor")
	resp, err := s.client.Do(req)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", errWithheld, err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("%w: %s answered %d", errWithheld, path, resp.StatusCode)
	}
	b, err := io.ReadAll(io.LimitReader(resp.Body, limit+1))
	if err != nil || int64(len(b)) > limit {
		return nil, fmt.Errorf("%w: %s: the answer is cut off or too long", errWithheld, path)
	}
	return b, nil
}

// cut returns h with all bits from depth on 0.
func cut(h index.Hash, depth int) index.Hash {
	for i := range h {
		switch keep := depth - 8*i; {
		case keep <= 0:
			h[i] = 0
		case keep < 8:
			h[i] &= 0xff << (8 - keep)
		}
	}
	return h
}

// with returns h with one bit set to a side.
func with(h index.Hash, bit, side int) index.Hash {
	mask := byte(0x80) >> (bit % 8)
	h[bit/8] &^= mask
	if side == 1 {
		h[bit/8] |= mask
	}
	return h
}
