package triedb

import (
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"os"
	"runtime/debug"
	"strings"
	"testing"
	"time"

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

// A peak is the most memory that was in use, in MiB.
type peak struct {
	t    *testing.T
	most int
}

// sample looks how much it is now.
func (p *peak) sample() { p.most = max(p.most, rssAnon(p.t)) }

// phase says what it was in a part of the test.
func (p *peak) phase(name string) {
	p.sample()
	p.t.Logf("%s: %d MiB", name, p.most)
}

func TestSoakFiftyMillionKeysInBoundedMemory(t *testing.T) {
	if os.Getenv("FIRN_SOAK") != "1" {
		t.Skip("FIRN_SOAK=1 runs it")
	}
	const atMost = 512
	for _, leaves := range []int{2_000_000, 10_000_000} {
		debug.FreeOSMemory()
		t.Run(fmt.Sprint(5*leaves/1_000_000, " M keys"), func(t *testing.T) {
			if most := soak(t, leaves); most >= atMost {
				t.Errorf("%d MiB of memory, want less than %d", most, atMost)
			}
		})
	}
}

// soak makes a map, adds to it as a log does, opens it again, and returns the memory that this
// took at most.
func soak(t *testing.T, leaves int) (mib int) {
	dir := t.TempDir()
	db := open(t, dir, Options{})
	p := &peak{t: t}
	began := time.Now()
	rows := make([]Row, 0, 10_000)
	for i := 0; i < leaves; {
		for rows = rows[:0]; len(rows) < cap(rows); i++ {
			rows = append(rows, soakRow(i))
		}
		if err := db.Append(rows); err != nil {
			t.Fatal(err)
		}
		p.sample()
	}
	p.phase("appended")
	root, err := db.Commit()
	if err != nil {
		t.Fatal(err)
	}
	p.phase("hashed")
	t.Logf("%.0f leaves a second", float64(leaves)/time.Since(began).Seconds())
	began = time.Now()
	for i := range 100 {
		rows = rows[:0]
		for k := range 200 {
			rows = append(rows, soakRow(leaves+200*i+k))
		}
		if err := db.Append(rows); err != nil {
			t.Fatal(err)
		}
		if _, err := db.Commit(); err != nil {
			t.Fatal(err)
		}
		p.sample()
	}
	p.phase("grown")
	t.Logf("200 leaves and the root in %v", time.Since(began)/100)
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	db = nil
	debug.FreeOSMemory() // as in a process that starts
	began = time.Now()
	db = open(t, dir, Options{Progress: func(int, int) { p.sample() }})
	v := view(t, db, leaves)
	t.Logf("opened in %v", time.Since(began))
	p.phase("opened")
	if v.Root() != root {
		t.Fatalf("root %v after opening, want %v", v.Root(), root)
	}
	began = time.Now()
	checkSome(t, v, leaves)
	t.Logf("a key, its proof and its last items in %v", time.Since(began)/6000)
	p.phase("asked")
	return p.most
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
