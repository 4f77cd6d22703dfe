package lookup

import (
	"bytes"
	"errors"
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/mod/sumdb/tlog"

	"github.com/firn-log/firn/log/index"
	"github.com/firn-log/firn/log/statement"
)

func hash(n int) tlog.Hash { return index.KeyHash(fmt.Sprint(n)) }

func sample() *Answer {
	var m index.Memory
	var items []index.Item
	for i := range 40 {
		it := index.Item{Index: uint64(3 * i), Signer: statement.KeyID{byte(i % 3)}}
		m.Put(hash(i%7), it)
		if i%7 == 2 {
			items = append(items, it)
		}
	}
	var prefix index.Frontier
	for _, it := range items[:3] {
		prefix.Append(it)
	}
	return &Answer{
		Note: []byte("note"), Vouched: []byte("older note"), Vouch: []tlog.Hash{hash(1), hash(2)},
		Revision: Body{Index: 130, Leaf: []byte("revision"), Inclusion: []tlog.Hash{hash(3), hash(1)}},
		Trie:     m.Prove([]index.Hash{hash(2), hash(99)}),
		Lists:    []List{{Present: true, List: index.List{Prefix: prefix, Items: items[3:]}}, {}},
		Bodies:   []Body{{Index: 6, Leaf: []byte("a leaf"), Inclusion: []tlog.Hash{hash(4), hash(3)}}, {Index: 27, Leaf: []byte("b")}},
		Tail:     &Tail{Peaks: []tlog.Hash{hash(5), hash(6)}, Leaves: [][]byte{[]byte("x"), []byte("revision")}},
	}
}

var equal = cmp.Comparer(func(a, b *index.Node) bool { return a.Hash() == b.Hash() })

func TestAnswerSurvivesItsBytes(t *testing.T) {
	small := &Answer{Note: []byte("n"), Revision: Body{Index: 1, Leaf: []byte("r")}, Lists: []List{{}}}
	nothing := &Answer{Note: []byte("n"), Revision: Body{Index: 1, Leaf: []byte("r")}} // to a prefix
	for _, a := range []*Answer{sample(), small, nothing} {
		b := a.Marshal()
		got, err := Parse(b)
		if err != nil {
			t.Fatal(err)
		}
		if d := cmp.Diff(a, got, equal, cmp.AllowUnexported(index.Frontier{}), cmp.Comparer(func(a, b index.Frontier) bool { return a.Root() == b.Root() })); d != "" {
			t.Errorf("parsed answer differs (-want +got):\n%s", d)
		}
		if !bytes.Equal(got.Marshal(), b) {
			t.Error("it encodes to other bytes")
		}
	}
}

func TestMalformedAnswersAreRefused(t *testing.T) {
	good := sample().Marshal()
	for n := range good {
		if _, err := Parse(good[:n]); !errors.Is(err, ErrMalformed) {
			t.Fatalf("the first %d bytes: %v", n, err)
		}
	}
	head := len(header)
	for name, b := range map[string][]byte{
		"something follows":       append(bytes.Clone(good), 0),
		"another header":          bytes.Replace(good, []byte("@v1"), []byte("@v2"), 1),
		"a number in a long form": append([]byte(header), 0x80, 0x00),
		"more hashes than bytes":  append([]byte(header), 0xff, 0xff, 0xff, 0xff, 0x07),
		"a hash twice":            append(append(append([]byte(header), 2), good[head+1:head+33]...), good[head+1:head+33]...),
		"too long":                make([]byte, MaxAnswer+1),
	} {
		if _, err := Parse(b); !errors.Is(err, ErrMalformed) {
			t.Errorf("%s: %v", name, err)
		}
	}
	for name, change := range map[string]func(*Answer){
		"a proof without a checkpoint":  func(a *Answer) { a.Vouched = nil },
		"bodies out of order":           func(a *Answer) { a.Bodies[0].Index = 28 },
		"a body twice":                  func(a *Answer) { a.Bodies[0].Index = 27 },
		"a tail of too many leaves":     func(a *Answer) { a.Tail.Leaves = make([][]byte, MaxTail+1) },
		"a tail of too many bytes":      func(a *Answer) { a.Tail.Leaves = slicesOf(70, 65535) },
		"a leaf longer than an entry":   func(a *Answer) { a.Bodies[0].Leaf = make([]byte, 1<<16) },
		"a proof deeper than any tree":  func(a *Answer) { a.Bodies[0].Inclusion = make([]tlog.Hash, 64) },
		"a checkpoint longer than any":  func(a *Answer) { a.Note = make([]byte, 128<<10+1) },
		"an index larger than any tree": func(a *Answer) { a.Bodies[1].Index = 1<<60 + 1 },
		"more items than an answer has": func(a *Answer) { a.Lists[0].Items = make([]index.Item, MaxItems+1) },
		"a misplaced leaf in the trie": func(a *Answer) {
			a.Trie = index.Branch(0, index.Leaf(index.Hash{0x80}, index.Head{Count: 1}), index.Stub(hash(1)))
		},
	} {
		a := sample()
		change(a)
		if _, err := Parse(a.Marshal()); !errors.Is(err, ErrMalformed) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func slicesOf(n, size int) [][]byte {
	all := make([][]byte, n)
	for i := range all {
		all[i] = make([]byte, size)
	}
	return all
}

func FuzzParse(f *testing.F) {
	f.Add(sample().Marshal())
	f.Add((&Answer{Lists: []List{{}}}).Marshal())
	f.Fuzz(func(t *testing.T, b []byte) {
		a, err := Parse(b)
		if err != nil {
			if !errors.Is(err, ErrMalformed) {
				t.Fatal(err)
			}
			return
		}
		if !bytes.Equal(a.Marshal(), b) {
			t.Fatal("it encodes to other bytes")
		}
	})
}
