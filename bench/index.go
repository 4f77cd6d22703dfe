package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/firn-log/firn/log/index"
	"github.com/firn-log/firn/log/index/triedb"
	"github.com/firn-log/firn/log/statement"
)

const (
	indexOrigin      = "bench.example/3f9a01bc"
	indexStep        = 200 // statements between two checkpoints 200 ms apart at 1,000/s
	indexCheckpoints = 500
	indexLookups     = 20_000
	indexBatch       = 2_000
	indexBatches     = 20
)

// benchIndex builds the verifiable index of a made-up log with about so many keys and
// asks it. What the peers are asked for is the same: which entries a key has.
func benchIndex(ctx context.Context, dir, torchtrie string, keys int) ([]row, error) {
	dir = filepath.Join(dir, "index")
	defer os.RemoveAll(dir)
	m := &indexMeasure{keys: keys, dir: dir, statements: indexStatements(keys)}
	stop := m.watchMemory()
	var rows []row
	for _, part := range []func(context.Context) ([]row, error){m.rebuild, m.lookups, m.batches, m.steady, m.reopen} {
		r, err := part(ctx)
		if err != nil {
			stop()
			return nil, err
		}
		rows = append(rows, r...)
	}
	most := stop()
	rows = append(rows, row{
		what: "  memory that is not of files (RssAnon), at most", value: fmt.Sprintf("%.0f MiB", most/(1<<20)),
		target: "< 512 MiB", fraction: fmt.Sprintf("%.0f bytes a key", most/float64(keys)), met: most < 512<<20,
	})
	peers, err := m.peers(ctx, torchtrie)
	return append(rows, peers...), errors.Join(err, m.db.Close())
}

// indexMeasure is one run of benchIndex.
type indexMeasure struct {
	keys, statements int
	dir              string
	db               *triedb.DB
	lookup           time.Duration // median
}

// rebuild appends everything to an empty index, as after a loss.
func (m *indexMeasure) rebuild(ctx context.Context) ([]row, error) {
	var err error
	if m.db, err = triedb.Open(m.dir, indexOrigin, triedb.Options{}); err != nil {
		return nil, err
	}
	leaves, err := sixLeaves(ctx, 1000)
	if err != nil {
		return nil, err
	}
	var took, parsing time.Duration
	const together = 20_000
	for i := 0; i < m.statements; i += together {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		rows := indexRows(i, min(i+together, m.statements))
		begin := time.Now()
		if err := parseLeaves(leaves, len(rows)); err != nil {
			return nil, err
		}
		parsing += time.Since(begin)
		if err := m.db.Append(rows); err != nil {
			return nil, err
		}
		took += time.Since(begin)
	}
	begin := time.Now()
	if _, err := m.db.Commit(); err != nil {
		return nil, err
	}
	commit := time.Since(begin)
	took += commit
	rate := float64(m.statements) / took.Seconds()
	return []row{{
		what:  fmt.Sprintf("index of %s keys from %s statements of 6 keys", count(float64(m.keys)), count(float64(m.statements))),
		value: fmt.Sprintf("%s statements/s; reading leaves %.1f s, hashing all %.1f s", count(rate), parsing.Seconds(), commit.Seconds()), target: "≥ 30,000/s",
		fraction: fmt.Sprintf("%.1f × the target", rate/30_000), met: rate >= 30_000,
	}}, nil
}

// sixLeaves returns n builds that are found under six keys.
func sixLeaves(ctx context.Context, n int) ([][]byte, error) {
	op, err := newOperator(ctx, "bench", indexOrigin)
	if err != nil {
		return nil, err
	}
	leaves := make([][]byte, n)
	for i := range leaves {
		if leaves[i], _, err = op.sixKeys(ctx, i); err != nil {
			return nil, err
		}
	}
	return leaves, nil
}

// parseLeaves does with n leaves, the given ones again and again, what a log does
// before it appends their keys.
func parseLeaves(leaves [][]byte, n int) error {
	var g errgroup.Group
	g.SetLimit(runtime.GOMAXPROCS(0))
	for i := 0; i < n; i += len(leaves) {
		g.Go(func() error {
			for _, leaf := range leaves[:min(len(leaves), n-i)] {
				s, err := statement.Parse(leaf)
				if err != nil {
					return err
				}
				if k := index.StatementKeys(s); len(k) != 6 {
					return fmt.Errorf("%d keys", len(k))
				}
			}
			return nil
		})
	}
	return g.Wait()
}

// anyKeyHash is that of a key of the log, mostly; one in twenty is absent and one
// in twenty has very many entries.
func (m *indexMeasure) anyKeyHash(rng *rand.Rand) index.Hash {
	keys := indexRow(rng.IntN(m.statements)).Keys
	switch rng.IntN(20) {
	case 0:
		return index.KeyHash(fmt.Sprint("absent ", rng.Uint64()))
	case 1:
		return index.KeyHash(keys[0]) // the signer's
	}
	return index.KeyHash(keys[1+rng.IntN(len(keys)-1)])
}

// lookups asks for one key at a time: the pruned trie and the first entries.
func (m *indexMeasure) lookups(ctx context.Context) ([]row, error) {
	v, err := m.db.View(ctx, m.db.Size())
	if err != nil {
		return nil, err
	}
	rng := rand.New(rand.NewPCG(1, 1))
	var took []time.Duration
	bytes := 0
	for range indexLookups {
		kh := m.anyKeyHash(rng)
		begin := time.Now()
		n, err := v.Prove([]index.Hash{kh})
		if err != nil {
			return nil, err
		}
		_, items, _, err := v.List(kh, 0, 100)
		if err != nil {
			return nil, err
		}
		took = append(took, time.Since(begin))
		h, present, err := n.Find(kh)
		if err != nil || n.Hash() != v.Root() || present != (len(items) > 0) || h.Count > 0 && len(items) == 0 {
			return nil, fmt.Errorf("a wrong answer about %s: %w", kh, err)
		}
		b, err := n.AppendBinary(nil)
		if err != nil {
			return nil, err
		}
		bytes += len(b)
	}
	p50, p99 := rate{latency: took}.quantile(.5), rate{latency: took}.quantile(.99)
	m.lookup = p50
	return []row{{
		what:  "  one key: proof and first 100 entries",
		value: fmt.Sprintf("p50 %s, p99 %s, %d bytes", micros(p50), micros(p99), bytes/indexLookups), target: "p99 ≤ 5 ms",
		fraction: fmt.Sprintf("%.3f of the target", p99.Seconds()/0.005), met: p99 <= 5*time.Millisecond,
	}}, nil
}

// batches asks for as many keys as a closure has.
func (m *indexMeasure) batches(ctx context.Context) ([]row, error) {
	v, err := m.db.View(ctx, m.db.Size())
	if err != nil {
		return nil, err
	}
	rng := rand.New(rand.NewPCG(2, 2))
	var took []time.Duration
	size := 0
	for range indexBatches {
		khs := make([]index.Hash, indexBatch)
		for i := range khs {
			khs[i] = m.anyKeyHash(rng)
		}
		begin := time.Now()
		n, err := v.Prove(khs)
		if err != nil {
			return nil, err
		}
		b, err := n.AppendBinary(nil)
		if err != nil {
			return nil, err
		}
		took = append(took, time.Since(begin))
		size = len(b)
		if back, _, err := index.ParsePruned(b); err != nil || back.Hash() != v.Root() {
			return nil, fmt.Errorf("a wrong proof of %d keys: %w", indexBatch, err)
		}
	}
	p50, worst := rate{latency: took}.quantile(.5), slices.Max(took)
	return []row{{
		what:  fmt.Sprintf("  one proof of %s keys", count(indexBatch)),
		value: fmt.Sprintf("p50 %s, max %s, %d KiB", millis(p50), millis(worst), size>>10), target: "p50 ≤ 150 ms",
		fraction: fmt.Sprintf("%.2f of the target", p50.Seconds()/0.150), met: p50 <= 150*time.Millisecond,
	}}, nil
}

// steady adds what comes between two checkpoints and commits, again and again.
func (m *indexMeasure) steady(ctx context.Context) ([]row, error) {
	var took []time.Duration
	var cpu time.Duration
	for range indexCheckpoints {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		rows := indexRows(m.statements, m.statements+indexStep)
		m.statements += indexStep
		before, begin := ownCPU(), time.Now()
		if err := m.db.Append(rows); err != nil {
			return nil, err
		}
		if _, err := m.db.Commit(); err != nil {
			return nil, err
		}
		took = append(took, time.Since(begin))
		cpu += ownCPU() - before
	}
	begin := time.Now()
	if _, err := m.db.View(ctx, m.db.Size()-indexCheckpoints*indexStep+1); err != nil {
		return nil, err
	}
	view := time.Since(begin)
	cores := cpu.Seconds() / indexCheckpoints / 0.2
	return []row{{
		what:  fmt.Sprintf("  %d more statements and the new root", indexStep),
		value: fmt.Sprintf("p50 %s, p99 %s", millis(rate{latency: took}.quantile(.5)), millis(rate{latency: took}.quantile(.99))), target: "< 0.5 cores at 1,000/s",
		fraction: fmt.Sprintf("%.2f cores at 1,000/s", cores), met: cores < 0.5,
	}, {
		what: fmt.Sprintf("  the state of %s statements ago, forgotten and computed", count(indexCheckpoints*indexStep)), value: millis(view),
	}}, nil
}

// reopen closes the index and opens it, which reads and hashes everything.
func (m *indexMeasure) reopen(ctx context.Context) ([]row, error) {
	root, err := m.db.Commit()
	if err != nil {
		return nil, err
	}
	if err := m.db.Close(); err != nil {
		return nil, err
	}
	m.db = nil
	debug.FreeOSMemory() // as in a process that starts
	begin := time.Now()
	if m.db, err = triedb.Open(m.dir, indexOrigin, triedb.Options{}); err != nil {
		return nil, err
	}
	took := time.Since(begin)
	v, err := m.db.View(ctx, m.db.Size())
	if err != nil || v.Root() != root {
		return nil, fmt.Errorf("another root after opening: %w", err)
	}
	disk, err := folderBytes(m.dir)
	if err != nil {
		return nil, err
	}
	return []row{
		{what: "  opening: everything is read, checked and hashed", value: fmt.Sprintf("%.1f s", took.Seconds())},
		{what: "  on disk", value: count(disk) + "B", fraction: fmt.Sprintf("%.0f bytes a key", disk/float64(m.keys))},
	}, nil
}

func folderBytes(dir string) (n float64, err error) {
	err = filepath.WalkDir(dir, func(_ string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		st, err := d.Info()
		if err == nil {
			n += float64(st.Size())
		}
		return err
	})
	return n, err
}

// watchMemory notes how much anonymous memory this process has; the returned function
// ends that and returns the most, in bytes.
func (m *indexMeasure) watchMemory() func() float64 {
	stop, done := make(chan struct{}), make(chan struct{})
	most := 0.0
	go func() {
		defer close(done)
		for tick := time.NewTicker(50 * time.Millisecond); ; {
			most = max(most, rssAnon())
			select {
			case <-tick.C:
			case <-stop:
				tick.Stop()
				return
			}
		}
	}()
	return sync.OnceValue(func() float64 {
		close(stop)
		<-done
		return most
	})
}

// rssAnon is the memory of this process that is not of files, in bytes.
func rssAnon() float64 {
	b, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return 0
	}
	for line := range strings.Lines(string(b)) {
		var kib float64
		if _, err := fmt.Sscanf(line, "RssAnon: %f kB", &kib); err == nil {
			return kib * 1024
		}
	}
	return 0
}

func micros(d time.Duration) string { return fmt.Sprintf("%d µs", d.Microseconds()) }
