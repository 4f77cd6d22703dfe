package main

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/mod/sumdb/tlog"
	"golang.org/x/sync/errgroup"

	"github.com/firn-log/firn/internal/nix"
	"github.com/firn-log/firn/log"
	"github.com/firn-log/firn/log/policy"
	"github.com/firn-log/firn/log/statement"
)

const (
	trackerOrigin    = "tracker.bench.example/00000000"
	trackerOperators = 4   // who claim each output
	firstOutput      = 16  // before it, outputs refer to fewer others
	trackerClosures  = 5   // of listedPaths each
	listedPaths      = 300 //
	alsoReferences   = 11  // makes a claim of about statementBytes
)

// trackerLog is a log of static tiles, of builds that were made up. Of 8 outputs one has a single
// builder, and of 50 one is not reproducible.
type trackerLog struct {
	dir    string
	name   policy.Key
	key    ed25519.PrivateKey
	hashes []tlog.Hash
	leaves [][]byte // of the bundle that is not full
	size   int64

	operators []*operator // the last one only rebuilds
	outputs   int         // that were claimed

	made
}

// made is what there is to know of a log that was made.
type made struct {
	VKey                          string
	Operators, Closures, Examples []string // ids
	Statements, Further           int      // how many it begins with, and then shows at a time
	Steps, Step                   int      // how often it can show further ones, and has
}

// generate makes a log of n claims, with who makes them and some closures.
func (g *trackerLog) generate(ctx context.Context, n int) error {
	pub, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return err
	}
	if g.name, err = policy.NewKey(trackerOrigin, policy.TypeEd25519, pub); err != nil {
		return err
	}
	g.VKey, g.key, g.Statements = g.name.String(), key, n
	for i := range trackerOperators + 1 {
		o, err := newOperator(ctx, fmt.Sprintf("operator-%d", i), trackerOrigin)
		if err != nil {
			return err
		}
		g.operators, g.Operators = append(g.operators, o), append(g.Operators, o.id.String())
		for _, leaf := range o.people {
			if err := g.add(leaf); err != nil {
				return err
			}
		}
	}
	for i := range trackerClosures {
		if err := g.closure(ctx, i); err != nil {
			return err
		}
	}
	g.outputs = n / trackerOperators
	err = g.claims(n, func(i int) ([]byte, error) {
		return g.claim(ctx, i%trackerOperators, i/trackerOperators)
	})
	if err != nil {
		return err
	}
	return g.publish("checkpoint")
}

// more makes n further claims, of which half are of outputs that are there, by somebody
// who only rebuilds. The log shows them after advance.
func (g *trackerLog) more(ctx context.Context, n int) error {
	had, examples := g.outputs, g.Examples
	g.outputs += n / 2 / trackerOperators
	err := g.claims(n, func(i int) ([]byte, error) {
		if i%2 == 0 {
			return g.claim(ctx, trackerOperators, (g.Steps*n+i)*7919%had)
		}
		return g.claim(ctx, i/2%trackerOperators, had+i/2/trackerOperators)
	})
	if err != nil {
		return err
	}
	g.Examples = examples // the others are not there at first
	g.Steps, g.Further = g.Steps+1, n
	return g.publish(fmt.Sprintf("next-%d", g.Steps))
}

// advance shows further claims.
func (g *trackerLog) advance() error {
	if g.Step == g.Steps {
		return errors.New("the log has no further entries; make another one")
	}
	g.Step++
	return os.Rename(filepath.Join(g.dir, fmt.Sprintf("next-%d", g.Step)), filepath.Join(g.dir, "checkpoint"))
}

// claim is what an operator says of an output.
func (g *trackerLog) claim(ctx context.Context, who, output int) ([]byte, error) {
	info, modulo, err := pathInfo(firstOutput+output, alsoReferences)
	if err != nil {
		return nil, err
	}
	switch {
	case who < trackerOperators && output%8 == 7:
		who = 0
	case who >= trackerOperators-1 && output%50 == 25:
		info.NarHash[0] ^= 1
	}
	return g.operators[who].claimLeaf(ctx, info, modulo, packageName(firstOutput+output))
}

func (g *trackerLog) closure(ctx context.Context, n int) error {
	var paths []nix.StorePath
	for i := range listedPaths {
		info, _, err := pathInfo(firstOutput+n+i*10, 0)
		if err != nil {
			return err
		}
		paths = append(paths, info.Path)
	}
	slices.SortFunc(paths, nix.StorePath.Compare)
	s, err := statement.Sign(ctx, g.operators[0].build, &statement.Closure{
		Name: "system-" + strconv.Itoa(n), StoreDir: nix.DefaultStoreDir, Digest: statement.PathsDigest(paths), Count: listedPaths, Paths: paths,
	}, "", nil)
	if err != nil {
		return err
	}
	g.Closures = append(g.Closures, s.ID().String())
	return g.add(s.Leaf())
}

// claims adds n leaves, made on all processors.
func (g *trackerLog) claims(n int, leaf func(i int) ([]byte, error)) error {
	const piece = 8192
	for from := 0; from < n; from += piece {
		leaves := make([][]byte, min(piece, n-from))
		var work errgroup.Group
		cpus := runtime.NumCPU()
		for c := range cpus {
			work.Go(func() (err error) {
				for i := c; i < len(leaves) && err == nil; i += cpus {
					leaves[i], err = leaf(from + i)
				}
				return err
			})
		}
		if err := work.Wait(); err != nil {
			return err
		}
		for _, l := range leaves {
			if err := g.add(l); err != nil {
				return err
			}
		}
		s, err := statement.Parse(leaves[0])
		if err != nil {
			return err
		}
		g.Examples = append(g.Examples, s.ID().String())
	}
	return nil
}

func (g *trackerLog) ReadHashes(indexes []int64) ([]tlog.Hash, error) {
	out := make([]tlog.Hash, len(indexes))
	for i, x := range indexes {
		out[i] = g.hashes[x]
	}
	return out, nil
}

func (g *trackerLog) add(leaf []byte) error {
	hashes, err := tlog.StoredHashes(g.size, leaf, g)
	if err != nil {
		return err
	}
	g.hashes = append(g.hashes, hashes...)
	g.leaves = append(g.leaves, leaf)
	g.size++
	if len(g.leaves) < 256 {
		return nil
	}
	err = g.bundle()
	g.leaves = nil
	return err
}

// bundle writes the entries of the last bundle.
func (g *trackerLog) bundle() error {
	b, err := log.MarshalLeaves(g.leaves)
	if err != nil {
		return err
	}
	return g.write(tlog.Tile{H: 8, N: (g.size - 1) / 256, W: len(g.leaves)}, "entries", b)
}

func (g *trackerLog) write(tile tlog.Tile, level string, b []byte) error {
	path := filepath.Join(g.dir, strings.Replace(tile.Path(), fmt.Sprintf("tile/8/%d/", tile.L), "tile/"+level+"/", 1))
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	return os.WriteFile(path, b, 0o644)
}

// publish writes what is left, all tiles and the checkpoint.
func (g *trackerLog) publish(checkpoint string) error {
	if len(g.leaves) > 0 {
		if err := g.bundle(); err != nil {
			return err
		}
	}
	for _, tile := range tlog.NewTiles(8, 0, g.size) {
		b, err := tlog.ReadTileData(tile, g)
		if err != nil {
			return err
		}
		if err := g.write(tile, strconv.Itoa(tile.L), b); err != nil {
			return err
		}
	}
	root, err := tlog.TreeHash(g.size, g)
	if err != nil {
		return err
	}
	note := policy.Note{Text: policy.Head{Origin: trackerOrigin, Size: uint64(g.size), Root: root}.Text()}
	note.Signatures = []policy.Signature{{Name: g.name.Name, ID: g.name.ID, Sig: ed25519.Sign(g.key, []byte(note.Text))}}
	return os.WriteFile(filepath.Join(g.dir, checkpoint), note.Marshal(), 0o644)
}

// serve serves the log on loopback until stop is called, and writes the policy that trusts it.
func (g *trackerLog) serve(policyFile string) (stop func(), err error) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	srv := &http.Server{Handler: http.FileServer(http.Dir(g.dir))}
	go srv.Serve(ln)
	return func() { srv.Close() }, os.WriteFile(policyFile, []byte("log "+g.VKey+" http://"+ln.Addr().String()+"\nquorum none\n"), 0o644)
}
