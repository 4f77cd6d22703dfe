package main

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"
	"math"
	mrand "math/rand/v2"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"

	"golang.org/x/sync/errgroup"

	"github.com/firn-log/firn/internal/nix"
)

// The sizes of NARs are those that a log-normal distribution has at equal distances: half are
// below medianNar, and the mean is about ten times that. That is how closures of NixOS are, where a
// few compilers, fonts and kernels weigh more than the hundreds of scripts, units and small
// libraries between them; what a path costs and what a byte costs are both seen.
const (
	medianNar = 64 << 10
	sigmaNar  = 2.2
	// meanFile is the mean size of the files in them.
	meanFile = 32 << 10
)

func narSize(i, n int) int {
	p := (float64(i) + .5) / float64(n)
	return int(medianNar * math.Exp(sigmaNar*math.Sqrt2*math.Erfinv(2*p-1)))
}

// packedCache is a binary cache in a folder, as nix copy writes it with xz, whose last path needs
// all others.
type packedCache struct {
	dir   string
	key   nix.PublicKey
	infos []*nix.NarInfo
	bytes uint64 // of all NARs
}

// packCache makes n paths. Their content is pieces of the programs in bin, of which xz leaves
// about a third.
func packCache(ctx context.Context, dir, bin string, n int) (*packedCache, error) {
	pub, secret, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return nil, err
	}
	c := &packedCache{dir: dir, key: nix.PublicKey{Name: "bench-1", Key: pub}, infos: make([]*nix.NarInfo, n)}
	signer := nix.SecretKey{Name: "bench-1", Key: secret}
	programs, err := filepath.Glob(filepath.Join(bin, "firn*"))
	if err != nil || len(programs) == 0 {
		return nil, fmt.Errorf("there are no programs in %s: %w", bin, err)
	}
	var content []byte
	for _, name := range programs {
		b, err := os.ReadFile(name)
		if err != nil {
			return nil, err
		}
		content = append(content, b...)
	}
	if err := os.MkdirAll(filepath.Join(dir, "nar"), 0o755); err != nil {
		return nil, err
	}
	sizes := mrand.New(mrand.NewPCG(3, 4)).Perm(n)
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(runtime.NumCPU())
	for i := range n {
		g.Go(func() (err error) {
			c.infos[i], err = c.pack(ctx, i, narSize(sizes[i], n), content, signer)
			return err
		})
	}
	if err := g.Wait(); err != nil {
		return nil, err
	}
	for _, info := range c.infos {
		c.bytes += info.NarSize
	}
	return c, os.WriteFile(filepath.Join(dir, "nix-cache-info"), []byte("StoreDir: /nix/store\nWantMassQuery: 1\nPriority: 40\n"), 0o644)
}

// pack makes one path, compresses it as nix copy does, but with less effort, and with a dictionary
// of the same size, so that unpacking costs the same.
func (c *packedCache) pack(ctx context.Context, i, size int, content []byte, signer nix.SecretKey) (*nix.NarInfo, error) {
	info, _, err := pathInfo(i, closureRefs)
	if err != nil {
		return nil, err
	}
	tree := filepath.Join(c.dir, fmt.Sprintf("tree-%d", i))
	if err := makeTree(tree, size, mrand.New(mrand.NewPCG(5, uint64(i))), content); err != nil {
		return nil, err
	}
	nar := tree + ".nar"
	f, err := os.Create(nar)
	if err != nil {
		return nil, err
	}
	if err := errors.Join(nix.DumpPath(f, tree), f.Close(), os.RemoveAll(tree)); err != nil {
		return nil, err
	}
	cmd := exec.CommandContext(ctx, "xz", "--check=crc64", "--threads=1", "--lzma2=preset=1,dict=8MiB", nar)
	whole, err := os.ReadFile(nar)
	if err != nil {
		return nil, err
	}
	if out, err := cmd.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("xz: %w: %s", err, out)
	}
	file, err := os.ReadFile(nar + ".xz")
	if err != nil {
		return nil, err
	}
	info.NarHash, info.NarSize = sha256.Sum256(whole), uint64(len(whole))
	hash := nix.Hash(sha256.Sum256(file))
	out := &nix.NarInfo{PathInfo: *info, URL: "nar/" + nix.EncodeBase32(hash[:]) + ".nar.xz", Compression: "xz", FileHash: hash.String(), FileSize: uint64(len(file))}
	out.Sigs = []string{signer.Sign(info.Fingerprint())}
	return out, errors.Join(os.Rename(nar+".xz", filepath.Join(c.dir, out.URL)),
		os.WriteFile(filepath.Join(c.dir, info.Path.HashPart()+".narinfo"), out.Marshal(), 0o644))
}

// makeTree makes a folder with files of about size bytes together.
func makeTree(dir string, size int, rng *mrand.Rand, content []byte) error {
	for n := 0; size > 0 || n == 0; n++ {
		sub := filepath.Join(dir, fmt.Sprintf("share/d%d", n/filesPerDir))
		if n%filesPerDir == 0 {
			if err := os.MkdirAll(sub, 0o755); err != nil {
				return err
			}
		}
		// A large one is mostly one large file.
		part := min(size, max(1+rng.IntN(2*meanFile), size/2))
		at := rng.IntN(len(content) - part)
		if err := os.WriteFile(filepath.Join(sub, fmt.Sprintf("f%d", n)), content[at:at+part], 0o644); err != nil {
			return err
		}
		size -= part
	}
	return nil
}

// serveFolder is a web server of a folder in a process of its own, if this one was started for
// that: bench serve-folder DIR ADDRESS.
func serveFolder() bool {
	if len(os.Args) != 4 || os.Args[1] != "serve-folder" {
		return false
	}
	err := http.ListenAndServe(os.Args[3], http.FileServer(http.Dir(os.Args[2])))
	fmt.Fprintln(os.Stderr, err)
	os.Exit(1)
	return true
}

// serve starts that server and returns its address.
func (c *packedCache) serve(ctx context.Context) (url string, stop func(), err error) {
	self, err := os.Executable()
	if err != nil {
		return "", nil, err
	}
	ports, err := freePorts(1)
	if err != nil {
		return "", nil, err
	}
	address := net.JoinHostPort("127.0.0.1", fmt.Sprint(ports[0]))
	if stop, err = start(exec.CommandContext(ctx, self, "serve-folder", c.dir, address), c.dir+".out"); err != nil {
		return "", nil, err
	}
	return "http://" + address, stop, waitFor(ctx, "http://"+address+"/nix-cache-info", waitAtMost)
}
