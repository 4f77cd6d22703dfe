package log

import (
	"context"
	"fmt"
	"path/filepath"
	"sync"

	"golang.org/x/mod/sumdb/tlog"
	"golang.org/x/sync/errgroup"

	"github.com/firn-log/firn/internal/durable"
)

// Copy writes the tree of cp, every tile and every entry, below dir as tile/…
// (c2sp.org/tlog-tiles). Nothing is written that was not proven to be in the tree, and
// when it returns nil all of it is durable. Partial tiles of smaller sizes are not
// written. progress, if not nil, is called with the number of entries written so far.
// Errors are those of [Client.Entries], or of the disk.
func (c *Client) Copy(ctx context.Context, cp *Checkpoint, dir string, progress func(done, total uint64)) error {
	g, tiles := errgroup.WithContext(ctx)
	g.SetLimit(fetches)
	for level := 0; cp.Size>>(tileHeight*level) > 0; level++ {
		hashes := cp.Size >> (tileHeight * level) // of this level, complete subtrees only
		for n := uint64(0); n*tileWidth < hashes && tiles.Err() == nil; n++ {
			g.Go(func() error { return c.copyTile(tiles, cp, dir, level, n, int(min(hashes-n*tileWidth, tileWidth))) })
		}
	}
	if err := g.Wait(); err != nil {
		return err
	}
	g, bundles := errgroup.WithContext(ctx)
	g.SetLimit(fetches)
	var mu sync.Mutex
	done := uint64(0)
	for n := uint64(0); n*tileWidth < cp.Size && bundles.Err() == nil; n++ {
		g.Go(func() error {
			b := c.bundle(bundles, cp, n)
			if b.err != nil {
				return b.err
			}
			if err := writeBundle(dir, b); err != nil || progress == nil {
				return err
			}
			mu.Lock()
			defer mu.Unlock()
			done += uint64(len(b.leaves))
			progress(done, cp.Size)
			return nil
		})
	}
	if err := g.Wait(); err != nil {
		return err
	}
	return ctx.Err()
}

func (c *Client) copyTile(ctx context.Context, cp *Checkpoint, dir string, level int, n uint64, width int) error {
	indexes := make([]int64, width)
	for i := range indexes {
		indexes[i] = tlog.StoredHashIndex(level*tileHeight, int64(n)*tileWidth+int64(i))
	}
	hashes, err := c.hashReader(ctx, cp).ReadHashes(indexes)
	if err != nil {
		return c.tileError(err)
	}
	b := make([]byte, 0, width*tlog.HashSize)
	for _, h := range hashes {
		b = append(b, h[:]...)
	}
	return writeTree(dir, tilePath(level, int64(n), width), b)
}

func writeBundle(dir string, b bundle) error {
	text, err := MarshalLeaves(b.leaves)
	if err != nil {
		return err
	}
	return writeTree(dir, tilePath(entriesLevel, int64(b.n), len(b.leaves)), text)
}

func writeTree(dir, path string, b []byte) error {
	file := filepath.Join(dir, filepath.FromSlash(path))
	err := durable.MkdirAll(filepath.Dir(file), 0o755)
	if err == nil {
		err = durable.WriteFile(file, b, 0o644)
	}
	if err != nil {
		return fmt.Errorf("writing %s: %w", path, err)
	}
	return nil
}
