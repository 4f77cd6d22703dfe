package log

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"sync"

	"golang.org/x/mod/sumdb/tlog"
	"golang.org/x/sync/errgroup"

	"github.com/firn-log/firn/internal/durable"
)

// C2SP tiles are 256 hashes wide.
const (
	tileHeight = 8
	tileWidth  = 1 << tileHeight
)

// fetches is how many tiles or bundles are fetched at a time.
const fetches = 8

// tilePath returns the path of a hash tile, or of an entry bundle if level is
// entriesLevel (c2sp.org/tlog-tiles#merkle-tree).
func tilePath(level int, n int64, width int) string {
	path := fmt.Sprintf("%03d", n%1000)
	for n >= 1000 {
		n /= 1000
		path = fmt.Sprintf("x%03d/%s", n%1000, path)
	}
	if width != tileWidth {
		path += ".p/" + strconv.Itoa(width)
	}
	if level == entriesLevel {
		return "tile/entries/" + path
	}
	return "tile/" + strconv.Itoa(level) + "/" + path
}

const entriesLevel = -1

// hashReader returns the verified hashes of the tree of cp, read from tiles.
// Every hash that it returns is proven to be in that tree.
func (c *Client) hashReader(ctx context.Context, cp *Checkpoint) tlog.HashReader {
	return tlog.HashReaderFunc(func(indexes []int64) ([]tlog.Hash, error) {
		if len(indexes) == 0 {
			return nil, nil
		}
		var hashes []tlog.Hash
		err := c.read(ctx, func(ctx context.Context, p *place) (err error) {
			hashes, err = tlog.TileHashReader(cp.tree(), &tileReader{ctx: ctx, c: c, p: p, cache: true}).ReadHashes(indexes)
			if err == nil || ctx.Err() != nil || errors.Is(err, ErrUnreachable) || errors.Is(err, ErrNotFound) {
				return err
			}
			// A tile kept from before may be the wrong one: ask again without.
			hashes, err = tlog.TileHashReader(cp.tree(), &tileReader{ctx: ctx, c: c, p: p}).ReadHashes(indexes)
			if err != nil {
				err = c.tileError(err)
			}
			return err
		})
		return hashes, err
	})
}

// tileReader implements tlog.TileReader for one call.
type tileReader struct {
	ctx   context.Context
	c     *Client
	p     *place
	cache bool
}

func (r *tileReader) Height() int { return tileHeight }

func (r *tileReader) ReadTiles(tiles []tlog.Tile) ([][]byte, error) {
	data := make([][]byte, len(tiles))
	g, ctx := errgroup.WithContext(r.ctx)
	g.SetLimit(fetches)
	for i, t := range tiles {
		g.Go(func() error {
			if r.cache {
				if data[i] = r.c.tiles.load(t); data[i] != nil {
					return nil
				}
			}
			var err error
			data[i], err = r.c.fetchTile(ctx, r.p, t.L, t.N, t.W)
			return err
		})
	}
	return data, g.Wait()
}

func (r *tileReader) SaveTiles(tiles []tlog.Tile, data [][]byte) {
	for i, t := range tiles {
		r.c.tiles.save(t, data[i])
	}
}

// fetchTile reads a tile, or the full tile that took the place of a partial one.
func (c *Client) fetchTile(ctx context.Context, p *place, level int, n int64, width int) ([]byte, error) {
	path := tilePath(level, n, width)
	b, err := p.get(ctx, path, tileWidth*tlog.HashSize)
	if errors.Is(err, ErrNotFound) && width != tileWidth {
		b, err = p.get(ctx, tilePath(level, n, tileWidth), tileWidth*tlog.HashSize)
		if err == nil && len(b) == tileWidth*tlog.HashSize {
			b = b[:width*tlog.HashSize]
		}
	}
	if err != nil {
		return nil, fmt.Errorf("reading %s of %s: %w", path, c.origin, err)
	}
	if len(b) != width*tlog.HashSize {
		return nil, &ProofError{Origin: c.origin, Reason: fmt.Sprintf("%s has %d bytes, want %d", path, len(b), width*tlog.HashSize)}
	}
	return b, nil
}

// tileCache keeps verified full tiles, in memory and, if it has a folder, on
// disk. What comes from it is verified again with every use.
type tileCache struct {
	dir string

	mu    sync.Mutex
	tiles map[tlog.Tile][]byte
}

// maxCachedTiles bounds the tiles in memory: 32 MiB.
const maxCachedTiles = 4096

func newTileCache(dir, origin string) *tileCache {
	if dir != "" {
		sum := sha256.Sum256([]byte(origin))
		dir = filepath.Join(dir, hex.EncodeToString(sum[:]))
	}
	return &tileCache{dir: dir, tiles: make(map[tlog.Tile][]byte)}
}

func (t *tileCache) load(tile tlog.Tile) []byte {
	t.mu.Lock()
	b := t.tiles[tile]
	t.mu.Unlock()
	if b != nil || t.dir == "" || tile.W != tileWidth {
		return b
	}
	return readTile(t.path(tile))
}

func (t *tileCache) path(tile tlog.Tile) string {
	return filepath.Join(t.dir, filepath.FromSlash(tilePath(tile.L, tile.N, tile.W)))
}

// readTile returns what a file holds that is as long as a full tile, and nil of any other.
func readTile(path string) []byte {
	f, err := openFile(path)
	if err != nil {
		return nil
	}
	defer f.Close()
	b, err := readBounded(f, tileWidth*tlog.HashSize, tileWidth*tlog.HashSize)
	if err != nil || len(b) != tileWidth*tlog.HashSize {
		return nil
	}
	return b
}

// save keeps a tile. A disk that is full costs only the cache.
func (t *tileCache) save(tile tlog.Tile, b []byte) {
	t.mu.Lock()
	_, have := t.tiles[tile]
	if len(t.tiles) >= maxCachedTiles {
		clear(t.tiles)
	}
	t.tiles[tile] = b
	t.mu.Unlock()
	if have || t.dir == "" || tile.W != tileWidth {
		return
	}
	path := t.path(tile)
	if string(readTile(path)) == string(b) {
		return
	}
	if os.MkdirAll(filepath.Dir(path), 0o755) == nil {
		_ = durable.WriteFile(path, b, 0o644)
	}
}
