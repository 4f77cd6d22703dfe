package triedb

import (
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"os"
	"strings"
	"testing"

	"github.com/firn-log/firn/log/index"
)

// soakRow is a leaf with a key that many leaves have and five that no other has.
func soakRow(i int) Row {
	row := Row{Signer: signerID(i % 20), Keys: []string{fmt.Sprint("key:", i%20)}}
	var b [12]byte
	for k := range 5 {
		binary.BigEndian.PutUint64(b[:], uint64(i))
		b[8] = byte(k)
		row.Keys = append(row.Keys, string(b[:]))
	}
	return row
}

// rssAnon is the memory of this process that is not of files, in MiB.
func rssAnon(t *testing.T) int {
	t.Helper()
	b, err := os.ReadFile("/proc/self/status")
	if err != nil {
		t.Skip(err)
	}
	for line := range strings.Lines(string(b)) {
		var kib int
		if _, err := fmt.Sscanf(line, "RssAnon: %d kB", &kib); err == nil {
			return kib >> 10
		}
	}
	t.Skip("no RssAnon in /proc/self/status")
	return 0
}

func TestSoakFiftyMillionKeysInBoundedMemory(t *testing.T) {
	if os.Getenv("FIRN_SOAK") != "1" {
		t.Skip("FIRN_SOAK=1 runs it")
	}
	const leaves, atMost = 10_000_000, 1024
	dir := t.TempDir()
	db := open(t, dir, Options{})
	most := 0
	rows := make([]Row, 0, 10_000)
	for i := 0; i < leaves; {
		for rows = rows[:0]; len(rows) < cap(rows); i++ {
			rows = append(rows, soakRow(i))
		}
		if err := db.Append(rows); err != nil {
			t.Fatal(err)
		}
		most = max(most, rssAnon(t))
	}
	root, err := db.Commit()
	if err != nil {
		t.Fatal(err)
	}
	for i := range 100 {
		if err := db.Append([]Row{soakRow(leaves + i)}); err != nil {
			t.Fatal(err)
		}
		if _, err := db.Commit(); err != nil {
			t.Fatal(err)
		}
		most = max(most, rssAnon(t))
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	db = open(t, dir, Options{Progress: func(int, int) { most = max(most, rssAnon(t)) }})
	v := view(t, db, leaves)
	if v.Root() != root {
		t.Fatalf("root %v after opening, want %v", v.Root(), root)
	}
	checkSome(t, v, leaves)
	if most = max(most, rssAnon(t)); most >= atMost {
		t.Errorf("%d MiB of memory, want less than %d", most, atMost)
	}
	t.Logf("%d MiB of memory at most", most)
}

// checkSome checks proofs of some keys of soakRow.
func checkSome(t *testing.T, v *View, leaves int) {
	t.Helper()
	rng := rand.New(rand.NewPCG(1, 2))
	for range 1000 {
		i := rng.IntN(leaves)
		for _, k := range soakRow(i).Keys {
			kh := index.KeyHash(k)
			n, err := v.Prove([]index.Hash{kh})
			if err != nil || n.Hash() != v.Root() {
				t.Fatalf("a proof with root %v, %v", n.Hash(), err)
			}
			h, present, err := n.Find(kh)
			if err != nil || !present {
				t.Fatalf("a key of leaf %d is absent: %v", i, err)
			}
			before, items, _, err := v.List(kh, h.Count-min(h.Count, 5), 5)
			if err != nil {
				t.Fatal(err)
			}
			if err := (index.List{Prefix: before, Items: items}).Check(h, v.Size()); err != nil {
				t.Fatal(err)
			}
		}
	}
}
