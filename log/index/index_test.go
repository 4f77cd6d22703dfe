package index_test

import (
	"bytes"
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"flag"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/firn-log/firn/internal/nix"
	"github.com/firn-log/firn/internal/testreq"
	"github.com/firn-log/firn/log/index"
	"github.com/firn-log/firn/log/statement"
)

var update = flag.Bool("update", false, "write spec/vectors/index again from the leaves of spec/vectors/statement")

// A vector is one leaf and its keys (spec/index.md#vectors).
type vector struct {
	Name string   `json:"name"` // of the leaf in spec/vectors/statement
	Leaf string   `json:"leaf"` // hex
	Keys []string `json:"keys"`
}

func vectorFile() string {
	return filepath.Join(testreq.Root(), "spec", "vectors", "index", "keys.json")
}

func TestVectors(t *testing.T) {
	if *update {
		writeVectors(t)
	}
	for _, v := range readVectors(t) {
		leaf, err := hex.DecodeString(v.Leaf)
		if err != nil {
			t.Fatalf("%s: %v", v.Name, err)
		}
		if got := index.Keys(leaf); !slices.Equal(got, v.Keys) {
			t.Errorf("%s: keys\n%s", v.Name, cmp.Diff(v.Keys, got))
		}
	}
}

func readVectors(t testing.TB) []vector {
	t.Helper()
	b, err := os.ReadFile(vectorFile())
	if err != nil {
		t.Fatal(err)
	}
	var vectors []vector
	dec := json.NewDecoder(bytes.NewReader(b))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&vectors); err != nil || len(vectors) == 0 {
		t.Fatalf("%s: %d vectors, %v", vectorFile(), len(vectors), err)
	}
	return vectors
}

func writeVectors(t *testing.T) {
	t.Helper()
	var vectors []vector
	for _, sub := range []string{"accept", "reject"} {
		files, err := filepath.Glob(filepath.Join(testreq.Root(), "spec", "vectors", "statement", sub, "*.json"))
		if err != nil || len(files) == 0 {
			t.Fatalf("no statement vectors: %v", err)
		}
		for _, f := range files {
			b, err := os.ReadFile(f)
			if err != nil {
				t.Fatal(err)
			}
			var s struct{ Leaf string }
			if err := json.Unmarshal(b, &s); err != nil {
				t.Fatal(err)
			}
			if len(s.Leaf) > 16<<10 {
				continue // nothing is to be learnt from long ones
			}
			leaf, err := hex.DecodeString(s.Leaf)
			if err != nil {
				t.Fatal(err)
			}
			keys := index.Keys(leaf)
			if keys == nil {
				keys = []string{}
			}
			vectors = append(vectors, vector{sub + "/" + strings.TrimSuffix(filepath.Base(f), ".json"), s.Leaf, keys})
		}
	}
	b, err := json.MarshalIndent(vectors, "", " ")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(vectorFile(), append(b, '\n'), 0o644); err != nil {
		t.Fatal(err)
	}
}

// The keys of each kind, written by hand from spec/index.md#keys.
func TestKeysOfEachKind(t *testing.T) {
	me := signer(t, 1)
	key := "key:" + me.PublicKey().ID().String()
	other := signer(t, 2).PublicKey()
	op, op2 := statement.ID{1}, statement.ID{2}
	hash := func(b byte) nix.Hash { return nix.Hash(bytes.Repeat([]byte{b}, 32)) }
	hex32 := func(b string) string { return strings.Repeat(b, 32) }
	peer := &statement.Peer{OperatorID: op, PeerID: "12D3KooWD3eckifWpRn9wQpMG9R9hX3sD158z7EqHWmweQAJU5SA"}
	peerKey, err := peer.Key()
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name string
		body statement.Body
		prev *statement.ID
		want []string
	}{
		{"build", build(t), nil, []string{"drv:" + drv, "out:" + outPath(t, "dev"), "out:" + outPath(t, "out"), key}},
		{"build of a fixed output", fixed(t), nil, []string{
			"digest:sha256:" + hex32("07"), "drv:" + drv, "out:" + fixed(t).Outputs[0].Path.String(), "real:sha256:" + hex32("09") + "!out", key,
		}},
		{"build-failed", &statement.BuildFailed{
			DrvPath: storePath(t, drv), StoreDir: nix.DefaultStoreDir, System: "x86_64-linux", Outputs: []string{"out"},
			Reason: statement.ReasonTimeout, Builder: builder,
		}, nil, []string{"drv:" + drv, key}},
		{
			"closure", &statement.Closure{Name: "c", StoreDir: nix.DefaultStoreDir, Digest: hash(5), Count: 3}, nil,
			[]string{"digest:sha256:" + hex32("05"), key},
		},
		{
			"key-revoke", &statement.KeyRevoke{OperatorID: op, KeyID: other.ID(), Reason: statement.Retired, Elsewhere: statement.Keep}, &op2,
			[]string{"operator:" + op.String(), "key:" + other.ID().String(), key},
		},
		{"vouch", &statement.Vouch{OperatorID: op, For: op2}, &op, []string{"operator:" + op.String(), "operator:" + op2.String(), key}},
		{"peer", peer, &op, []string{"operator:" + op.String(), "key:" + peerKey.ID().String(), key}},
		{"retract", &statement.Retract{OperatorID: op, Statement: op2, Reason: "wrong"}, &op, []string{"operator:" + op.String(), key}},
		{
			"genesis", &statement.Genesis{Origin: "log.example/01234567", LogKey: me.PublicKey(), Rules: rules(other)}, nil,
			[]string{key, "key:" + other.ID().String(), "key:" + strings.Repeat("0a", 32)},
		},
		{
			"log-config", &statement.LogConfig{Origin: "log.example/01234567", Rules: rules(other)}, nil,
			[]string{key, "key:" + other.ID().String(), "key:" + strings.Repeat("0a", 32)},
		},
		{
			"freeze", &statement.Freeze{Origin: "log.example/01234567", Successor: &statement.Successor{Origin: "log.example/89abcdef", LogKey: other}}, nil,
			[]string{key, "key:" + other.ID().String()},
		},
		{"freeze, alone", &statement.Freeze{Origin: "log.example/01234567", Reason: "no more"}, nil, []string{key}},
		{"revision", &statement.Revision{Origin: "log.example/01234567", Size: 1, MapVersion: 1}, nil, nil},
		{"index-reset", &statement.IndexReset{Origin: "log.example/01234567", Size: 1, MapVersion: 1}, nil, []string{key}},
		{"operator, later", &statement.Operator{
			Name: "a", Contact: "a", HomeLog: "log.example/01234567", Identity: me.PublicKey(), OperatorID: &op,
		}, &op, []string{"operator:" + op.String(), key}},
	} {
		s, err := statement.Sign(context.Background(), me, tt.body, "", tt.prev)
		if err != nil {
			t.Errorf("%s: %v", tt.name, err)
			continue
		}
		slices.Sort(tt.want)
		if got := index.Keys(s.Leaf()); !slices.Equal(got, tt.want) {
			t.Errorf("%s: keys\n%s", tt.name, cmp.Diff(tt.want, got))
		}
	}
}

// A lookup takes keys of at most 512 bytes (spec/log.md#looking-up): no key of a
// statement may be longer, or nobody could ask for it.
func TestLongestKeyCanBeLookedUp(t *testing.T) {
	for n := nix.MaxStoreDirLen - 1; n <= nix.MaxStoreDirLen; n++ {
		dir := nix.StoreDir("/" + strings.Repeat("d", n-1))
		b := build(t)
		b.StoreDir, b.Outputs = dir, b.Outputs[:1]
		name := strings.Repeat("n", nix.MaxNameLen-len("-dev"))
		var err error
		if b.DrvPath, err = dir.FromBase(strings.Repeat("0", 32) + "-" + name + ".drv"); err != nil {
			t.Fatal(err)
		}
		if b.Outputs[0].Path, err = nix.OutputPath(dir, modulo, name, "dev"); err != nil {
			t.Fatal(err)
		}
		s, err := statement.Sign(context.Background(), signer(t, 1), b, "", nil)
		if err != nil {
			t.Fatal(err)
		}
		for _, k := range index.Keys(s.Leaf()) {
			if len(k) > 512 {
				t.Errorf("a key of %d bytes", len(k))
			}
		}
	}
	if n := len(index.Real(modulo, strings.Repeat("o", nix.MaxNameLen))); n > 512 {
		t.Errorf("a key of %d bytes", n)
	}
}

// What one key may say about one thing is bounded in every list that verdicts
// are read from: out: and real:.
func TestSubjectsOfABuild(t *testing.T) {
	for name, b := range map[string]*statement.Build{"input-addressed": build(t), "fixed": fixed(t)} {
		s, err := statement.Sign(context.Background(), signer(t, 1), b, "", nil)
		if err != nil {
			t.Fatal(err)
		}
		var want []string
		for _, k := range index.Keys(s.Leaf()) {
			if strings.HasPrefix(k, "out:") || strings.HasPrefix(k, "real:") {
				want = append(want, k)
			}
		}
		if got := slices.Sorted(slices.Values(index.Subjects(s))); !slices.Equal(got, want) {
			t.Errorf("%s: subjects\n%s", name, cmp.Diff(want, got))
		}
	}
}

// Evidence against an index is counted apart from that of two histories.
func TestSubjectsOfEvidence(t *testing.T) {
	subjects := make(map[string]string)
	for _, name := range []string{"accept-log-one-size", "index/accept-two-revisions", "accept-witness-one-size"} {
		b, err := os.ReadFile(filepath.Join("..", "..", "spec", "vectors", "evidence", name+".firn-evidence"))
		if err != nil {
			t.Fatal(err)
		}
		s, err := statement.Sign(context.Background(), signer(t, 1), &statement.Evidence{Bytes: b}, "", nil)
		if err != nil {
			t.Fatal(err)
		}
		got := index.Subjects(s)
		if len(got) != 1 || subjects[got[0]] != "" {
			t.Errorf("%s: %q, as %s", name, got, subjects[got[0]])
			continue
		}
		subjects[got[0]] = name
	}
}

func TestFirstOperatorStatementHasItsOwnId(t *testing.T) {
	me := signer(t, 1)
	s, err := statement.Sign(context.Background(), me, &statement.Operator{
		Name: "a", Contact: "a", HomeLog: "log.example/01234567", Identity: me.PublicKey(),
	}, "", nil)
	if err != nil {
		t.Fatal(err)
	}
	want := []string{"key:" + s.Signer.String(), "operator:" + s.ID().String()}
	if got := index.Keys(s.Leaf()); !slices.Equal(got, want) {
		t.Errorf("keys %q, want %q", got, want)
	}
}

// The map verifies nothing: a leaf whose signature is wrong has the same keys.
func TestKeysDoNotDependOnTheSignature(t *testing.T) {
	s, err := statement.Sign(context.Background(), signer(t, 1), build(t), "", nil)
	if err != nil {
		t.Fatal(err)
	}
	forged := slices.Clone(s.Leaf())
	forged[len(forged)-1] ^= 1
	if !slices.Equal(index.Keys(forged), index.Keys(s.Leaf())) {
		t.Error("keys depend on the signature")
	}
}

func FuzzKeys(f *testing.F) {
	for _, v := range readVectors(f) {
		leaf, err := hex.DecodeString(v.Leaf)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(leaf)
	}
	f.Fuzz(func(t *testing.T, leaf []byte) {
		keys := index.Keys(leaf)
		if !slices.IsSorted(keys) || len(slices.Compact(slices.Clone(keys))) != len(keys) {
			t.Errorf("not sorted, or repeated: %q", keys)
		}
		s, err := statement.Parse(leaf)
		if has := err == nil && s.Body.Kind() != statement.KindRevision; has != (len(keys) > 0) {
			t.Errorf("%d keys, and parsing says %v", len(keys), err)
		}
		if err != nil {
			return
		}
		want := []index.Hash{{1}} // stays
		for _, k := range keys {
			want = append(want, index.KeyHash(k))
		}
		slices.SortFunc(want[1:], index.CompareHashes)
		if got := index.AppendKeyHashes([]index.Hash{{1}}, s); !slices.Equal(got, want) {
			t.Errorf("hashes %v of the keys %q", got, keys)
		}
	})
}

// What a log shows may have nothing on one side of a branch: that is looked at like everything else.
func TestABranchWithNothingOnOneSideIsChecked(t *testing.T) {
	leaf := index.Leaf(index.Hash{}, index.ListHead([]index.Item{{}}))
	for _, n := range []*index.Node{index.Branch(3, leaf, nil), index.Branch(3, nil, nil)} {
		if err := n.Check(); err != nil {
			t.Error(err)
		}
		if err := index.Branch(3, n, nil).Check(); !errors.Is(err, index.ErrShape) {
			t.Errorf("%v, want a branch below one of its depth", err)
		}
	}
}
