package main

import (
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"time"

	"github.com/firn-log/firn/internal/nix"
	"github.com/firn-log/firn/log/index"
	"github.com/firn-log/firn/log/index/triedb"
	"github.com/firn-log/firn/log/statement"
)

const (
	indexKeysEach = 5 // keys of a build beside that of the signer
	indexSigners  = 12
	sampleBundles = 16 // of 256 entries each
)

// indexStatements is how many statements of indexRow have about so many keys: every sixth
// is about a build that somebody stated before.
func indexStatements(keys int) int { return keys / indexKeysEach * 6 / 5 }

// indexRow is what the map holds of the i-th statement of a made-up log: five keys
// of a build and the key of the signer, who is one of a few.
func indexRow(i int) triedb.Row {
	rng := rand.New(rand.NewPCG(uint64(i), 6))
	signer := min(rng.IntN(indexSigners), rng.IntN(indexSigners))
	build := i - i/6
	if i%6 == 5 {
		build = rng.IntN(build + 1)
	}
	rng = rand.New(rand.NewPCG(uint64(build), 5))
	row := triedb.Row{Keys: make([]string, 0, indexKeysEach+1)}
	binary.BigEndian.PutUint64(row.Signer[:], uint64(signer))
	row.Keys = append(row.Keys, index.Key(row.Signer), indexKey("drv:", rng, ".drv"))
	for _, output := range []string{"", "-bin", "-dev", "-doc"} {
		row.Keys = append(row.Keys, indexKey("out:", rng, output))
	}
	return row
}

func indexKey(kind string, rng *rand.Rand, suffix string) string {
	var hash [20]byte
	binary.BigEndian.PutUint64(hash[:], rng.Uint64())
	binary.BigEndian.PutUint64(hash[8:], rng.Uint64())
	return kind + "/nix/store/" + nix.EncodeBase32(hash[:]) + "-package-1.0" + suffix
}

func indexRows(from, to int) []triedb.Row {
	rows := make([]triedb.Row, 0, to-from)
	for i := from; i < to; i++ {
		rows = append(rows, indexRow(i))
	}
	return rows
}

// peers are the other ways to know that an answer is complete.
func (m *indexMeasure) peers(ctx context.Context, torchtrie string) ([]row, error) {
	entry, err := m.filter(ctx)
	if err != nil {
		return nil, err
	}
	all := time.Duration(m.statements) * entry
	rows := []row{{
		what:     "peer: every entry downloaded and filtered by the client, one core",
		value:    fmt.Sprintf("%s an entry, %s for all", micros(entry), all.Round(time.Second)),
		fraction: fmt.Sprintf("%s × one key of the index", count(all.Seconds()/m.lookup.Seconds())),
	}}
	if torchtrie == "" {
		return rows, nil
	}
	const inserted = 200_000
	out, err := exec.CommandContext(ctx, torchtrie, strconv.Itoa(inserted)).Output()
	if err != nil {
		return nil, fmt.Errorf("running torchtrie: %w", err)
	}
	var insert, lookup time.Duration
	var bytes int
	if _, err := fmt.Sscan(string(out), &insert, &lookup, &bytes); err != nil {
		return nil, fmt.Errorf("torchtrie says %q: %w", out, err)
	}
	return append(rows, row{
		what:     fmt.Sprintf("peer: torchwood's prefix tree in memory, %s keys", count(inserted)),
		value:    fmt.Sprintf("%s an insertion, %s a proof", micros(insert), micros(lookup)),
		fraction: fmt.Sprintf("%d bytes of memory a key", bytes),
	}), nil
}

// filter downloads bundles of entries over loopback, computes the keys of each, as
// whoever trusts no index must, and returns the time for one entry.
func (m *indexMeasure) filter(ctx context.Context) (time.Duration, error) {
	dir := filepath.Join(m.dir, "entries")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return 0, err
	}
	defer os.RemoveAll(dir)
	o, err := newOperator(ctx, "index", indexOrigin)
	if err != nil {
		return 0, err
	}
	leaves, err := o.buildLeaves(ctx, 100, 256)
	if err != nil {
		return 0, err
	}
	var bundle []byte
	for _, l := range leaves {
		bundle = append(binary.BigEndian.AppendUint16(bundle, uint16(len(l))), l...)
	}
	for i := range sampleBundles {
		if err := os.WriteFile(filepath.Join(dir, strconv.Itoa(i)), bundle, 0o644); err != nil {
			return 0, err
		}
	}
	server := httptest.NewServer(http.FileServer(http.Dir(dir)))
	defer server.Close()
	begin, entries := time.Now(), 0
	for i := range sampleBundles {
		n, err := filterBundle(ctx, fmt.Sprintf("%s/%d", server.URL, i))
		if err != nil {
			return 0, err
		}
		entries += n
	}
	return time.Since(begin) / time.Duration(entries), nil
}

func filterBundle(ctx context.Context, url string) (entries int, err error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return 0, err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return 0, err
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		return 0, err
	}
	for len(b) >= 2 {
		n := int(binary.BigEndian.Uint16(b))
		if slices.Contains(index.Keys(b[2:2+n]), index.Key(statement.KeyID{})) {
			return 0, fmt.Errorf("a key of nobody")
		}
		b, entries = b[2+n:], entries+1
	}
	return entries, nil
}
