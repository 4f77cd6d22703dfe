package index_test

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/firn-log/firn/internal/testreq"
	"github.com/firn-log/firn/log/index"
	"github.com/firn-log/firn/log/statement"
)

// The vectors of spec/index.md#vectors. Hashes and bytes are in hexadecimal.
type (
	hashVectors struct {
		Key    []keyHash    `json:"key"`
		Item   []itemHash   `json:"item"`
		Leaf   []leafHash   `json:"leaf"`
		Branch []branchHash `json:"branch"`
		Empty  string       `json:"empty"`
		Lists  []listHash   `json:"lists"`
	}
	keyHash struct {
		Text string `json:"text"`
		Hash string `json:"hash"`
	}
	itemHash struct {
		Item itemVector `json:"item"`
		Hash string     `json:"hash"`
	}
	leafHash struct {
		Key   string `json:"key"`
		Count uint64 `json:"count"`
		Root  string `json:"root"`
		Hash  string `json:"hash"`
	}
	branchHash struct {
		Depth uint8  `json:"depth"`
		Left  string `json:"left"`
		Right string `json:"right"`
		Hash  string `json:"hash"`
	}
	listHash struct {
		Items    []itemVector `json:"items"`
		Root     string       `json:"root"`
		Frontier string       `json:"frontier"` // as in a list section: u64(position) and hashes
	}
	itemVector struct {
		Index  uint64 `json:"index"`
		Signer string `json:"key_id"`
	}
	mapVector struct {
		Size uint64 `json:"size"`
		Keys int    `json:"keys"`
		Root string `json:"root"`
	}
	prunedVector struct {
		Name    string       `json:"name"`
		Rules   []int        `json:"rules"`
		Trie    string       `json:"trie"`
		Refused string       `json:"refused,omitempty"`
		Root    string       `json:"root,omitempty"` // if it was accepted, or refused as a shape
		Find    []findVector `json:"find,omitempty"`
	}
	findVector struct {
		Key    string `json:"key"`
		Result string `json:"result"` // present, absent, not-covered
		Count  uint64 `json:"count,omitempty"`
		Root   string `json:"root,omitempty"`
	}
	listVector struct {
		Name     string       `json:"name"`
		Rules    []int        `json:"rules"`
		Count    uint64       `json:"count"` // of the head
		Root     string       `json:"root"`  // of the head
		Size     uint64       `json:"size"`  // of the revision
		Section  string       `json:"section"`
		Refused  string       `json:"refused,omitempty"`
		Position uint64       `json:"position,omitempty"`
		Items    []itemVector `json:"items,omitempty"`
	}
	answerVector struct {
		Name    string       `json:"name"`
		Rules   []int        `json:"rules"`
		Key     string       `json:"key"`  // text
		Root    string       `json:"root"` // of the revision
		Size    uint64       `json:"size"` // of the revision
		Trie    string       `json:"trie"`
		Section *string      `json:"section,omitempty"`
		Refused string       `json:"refused,omitempty"`
		Items   []itemVector `json:"items,omitempty"`
	}
	prefixVector struct {
		Name    string   `json:"name"`
		Rules   []int    `json:"rules"`
		Bits    int      `json:"bits"`
		Prefix  string   `json:"prefix"`
		Root    string   `json:"root"` // of the revision
		Trie    string   `json:"trie"`
		Refused string   `json:"refused,omitempty"`
		Keys    []string `json:"keys,omitempty"`
	}
)

func vectorPath(name string) string {
	return filepath.Join(testreq.Root(), "spec", "vectors", "index", name)
}

func decode(t testing.TB, name string, into any) {
	t.Helper()
	b, err := os.ReadFile(vectorPath(name))
	if err != nil {
		t.Fatal(err)
	}
	dec := json.NewDecoder(bytes.NewReader(b))
	dec.DisallowUnknownFields()
	if err := dec.Decode(into); err != nil {
		t.Fatalf("%s: %v", name, err)
	}
}

func readJSON[V any](t testing.TB, name string) (vectors []V) {
	t.Helper()
	if decode(t, name, &vectors); len(vectors) == 0 {
		t.Fatalf("%s has no vectors", name)
	}
	return vectors
}

func readHashes(t testing.TB) (v hashVectors) {
	t.Helper()
	decode(t, "hashes.json", &v)
	return v
}

// current writes vectors with -update, and compares the file with them.
func current[V any](t *testing.T, name string, want V) {
	t.Helper()
	b, err := json.MarshalIndent(want, "", " ")
	if err != nil {
		t.Fatal(err)
	}
	b = append(b, '\n')
	if *update {
		if err := os.WriteFile(vectorPath(name), b, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	var got V
	decode(t, name, &got)
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("spec/vectors/index/%s differs; run go test ./log/index -run Vectors -update\n%s", name, diff)
	}
}

func unhex(t testing.TB, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(s)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func hash(t testing.TB, s string) index.Hash {
	t.Helper()
	b := unhex(t, s)
	if len(b) != 32 {
		t.Fatalf("a hash of %d bytes", len(b))
	}
	return index.Hash(b)
}

func hexOf(h index.Hash) string { return hex.EncodeToString(h[:]) }

func itemsOf(t testing.TB, vectors []itemVector) (items []index.Item) {
	t.Helper()
	for _, v := range vectors {
		items = append(items, index.Item{Index: v.Index, Signer: statement.KeyID(hash(t, v.Signer))})
	}
	return items
}

func itemVectors(items []index.Item) (vectors []itemVector) {
	for _, it := range items {
		vectors = append(vectors, itemVector{it.Index, it.Signer.String()})
	}
	return vectors
}

// refusal names an error as the vectors do.
func refusal(err error) string {
	for name, e := range map[string]error{
		"malformed": index.ErrMalformed, "shape": index.ErrShape, "mismatch": index.ErrMismatch,
		"not-covered": index.ErrNotCovered, "root": errRoot, "section": errSection, "part": errPart,
	} {
		if errors.Is(err, e) {
			return name
		}
	}
	if err != nil {
		return err.Error()
	}
	return ""
}

func TestVectorsOfHashes(t *testing.T) {
	current(t, "hashes.json", makeHashes(t))
	v := readHashes(t)
	for _, k := range v.Key {
		if index.KeyHash(k.Text) != hash(t, k.Hash) {
			t.Errorf("the hash of %q is not %s", k.Text, k.Hash)
		}
	}
	for _, it := range v.Item {
		if got := index.ItemHash(itemsOf(t, []itemVector{it.Item})[0]); got != hash(t, it.Hash) {
			t.Errorf("item %d: hash %x", it.Item.Index, got)
		}
	}
	for _, l := range v.Leaf {
		if got := index.LeafHash(hash(t, l.Key), index.Head{Count: l.Count, Root: hash(t, l.Root)}); got != hash(t, l.Hash) {
			t.Errorf("leaf %s: hash %x", l.Key, got)
		}
	}
	for _, b := range v.Branch {
		if got := index.BranchHash(b.Depth, hash(t, b.Left), hash(t, b.Right)); got != hash(t, b.Hash) {
			t.Errorf("branch %d: hash %x", b.Depth, got)
		}
	}
	if index.EmptyRoot != hash(t, v.Empty) {
		t.Errorf("the empty map has root %x", index.EmptyRoot)
	}
	for _, l := range v.Lists {
		items := itemsOf(t, l.Items)
		if got := index.ListHead(items); got != (index.Head{Count: uint64(len(items)), Root: hash(t, l.Root)}) {
			t.Errorf("list of %d items: head %v", len(items), got)
		}
		var f index.Frontier
		if err := f.UnmarshalBinary(unhex(t, l.Frontier)); err != nil || f.Root() != index.ListHead(items) {
			t.Errorf("list of %d items: frontier with head %v, %v", len(items), f.Root(), err)
		}
	}
}

func TestVectorsOfTheMap(t *testing.T) {
	current(t, "map.json", makeMaps(t))
}

func TestVectorsOfPrunedTries(t *testing.T) {
	current(t, "pruned.json", makePruned(t))
	for _, v := range readJSON[prunedVector](t, "pruned.json") {
		b := unhex(t, v.Trie)
		n, rest, err := index.ParsePruned(b)
		if err == nil && len(rest) > 0 {
			err = index.ErrMalformed
		}
		if got := refusal(err); got != v.Refused {
			t.Errorf("%s: refused as %q (%v), want %q", v.Name, got, err, v.Refused)
			continue
		}
		if (v.Refused == "" || v.Refused == "shape") && n.Hash() != hash(t, v.Root) {
			t.Errorf("%s: root %v", v.Name, n.Hash())
		}
		if v.Refused != "" {
			continue
		}
		if again, err := n.AppendBinary(nil); err != nil || !bytes.Equal(again, b) {
			t.Errorf("%s: encodes to other bytes, %v", v.Name, err)
		}
		for _, f := range v.Find {
			if got := find(n, hash(t, f.Key)); got != f {
				t.Errorf("%s: %v, want %v", v.Name, got, f)
			}
		}
	}
}

func find(n *index.Node, kh index.Hash) findVector {
	switch h, present, err := n.Find(kh); {
	case err != nil:
		return findVector{Key: hexOf(kh), Result: refusal(err)}
	case present:
		return findVector{hexOf(kh), "present", h.Count, hexOf(h.Root)}
	}
	return findVector{Key: hexOf(kh), Result: "absent"}
}

func TestVectorsOfLists(t *testing.T) {
	current(t, "lists.json", makeLists(t))
	for _, v := range readJSON[listVector](t, "lists.json") {
		b := unhex(t, v.Section)
		l, rest, err := index.ParseList(b)
		if err == nil && len(rest) > 0 {
			err = index.ErrMalformed
		}
		if err == nil {
			err = l.Check(index.Head{Count: v.Count, Root: hash(t, v.Root)}, v.Size)
		}
		if got := refusal(err); got != v.Refused {
			t.Errorf("%s: refused as %q (%v), want %q", v.Name, got, err, v.Refused)
			continue
		}
		if v.Refused != "" {
			continue
		}
		if again, err := l.AppendBinary(nil); err != nil || !bytes.Equal(again, b) {
			t.Errorf("%s: encodes to other bytes, %v", v.Name, err)
		}
		if l.Prefix.Count() != v.Position || !slices.Equal(l.Items, itemsOf(t, v.Items)) {
			t.Errorf("%s: %v from %d", v.Name, l.Items, l.Prefix.Count())
		}
	}
}

func TestVectorsOfAnswers(t *testing.T) {
	current(t, "answers.json", makeAnswers(t))
	for _, v := range readJSON[answerVector](t, "answers.json") {
		a := answer{trie: unhex(t, v.Trie)}
		if v.Section != nil {
			a.section = append([]byte{}, unhex(t, *v.Section)...)
		}
		items, from, err := a.check(hash(t, v.Root), v.Size, index.KeyHash(v.Key))
		if err == nil && from > 0 {
			err = errPart
		}
		if got := refusal(err); got != v.Refused {
			t.Errorf("%s: refused as %q (%v), want %q", v.Name, got, err, v.Refused)
		} else if err == nil && !slices.Equal(items, itemsOf(t, v.Items)) {
			t.Errorf("%s: %v", v.Name, items)
		}
	}
}

func TestVectorsOfPrefixes(t *testing.T) {
	current(t, "prefixes.json", makePrefixes(t))
	for _, v := range readJSON[prefixVector](t, "prefixes.json") {
		n, rest, err := index.ParsePruned(unhex(t, v.Trie))
		if err != nil || len(rest) > 0 || n.Hash() != hash(t, v.Root) {
			t.Errorf("%s: root %v, %v", v.Name, n.Hash(), err)
			continue
		}
		found, err := n.FindPrefix(v.Bits, hash(t, v.Prefix))
		var keys []string
		for _, f := range found {
			keys = append(keys, hexOf(f.Key))
		}
		if got := refusal(err); got != v.Refused || !slices.Equal(keys, v.Keys) {
			t.Errorf("%s: refused as %q (%v), want %q; keys %v", v.Name, got, err, v.Refused, keys)
		}
	}
}

// What logs, clients and auditors do, and no byte of a proof shows: rule 23 needs
// a vector of 16 MiB (TestSizesAreBounded).
var rulesWithoutVectors = []int{4, 23, 25, 26, 27, 28, 29, 30, 35, 38, 40, 41, 42, 43, 48}

var (
	ruleText = regexp.MustCompile(`(?m)^([0-9]+)\. ((?:.|\n  )*)`)
	must     = regexp.MustCompile(`\bMUST\b`)
)

// Every rule with a MUST that bytes can break is the reason of a refusal in a vector.
func TestEveryRuleOfBytesHasAVectorThatIsRefused(t *testing.T) {
	b, err := os.ReadFile(filepath.Join(testreq.Root(), "spec", "index.md"))
	if err != nil {
		t.Fatal(err)
	}
	refused := map[int]bool{1: false, 2: false}
	for _, v := range readVectors(t) { // leaves without keys
		if _, err := statement.Parse(unhex(t, v.Leaf)); len(v.Keys) == 0 {
			refused[1] = refused[1] || err != nil
			refused[2] = refused[2] || err == nil
		}
	}
	add := func(why string, rules []int) {
		for _, n := range rules {
			refused[n] = refused[n] || why != ""
		}
	}
	for _, v := range readJSON[prunedVector](t, "pruned.json") {
		add(v.Refused, v.Rules)
	}
	for _, v := range readJSON[listVector](t, "lists.json") {
		add(v.Refused, v.Rules)
	}
	for _, v := range readJSON[answerVector](t, "answers.json") {
		add(v.Refused, v.Rules)
	}
	for _, v := range readJSON[prefixVector](t, "prefixes.json") {
		add(v.Refused, v.Rules)
	}
	last := 0
	for _, m := range ruleText.FindAllStringSubmatch(string(b), -1) {
		n, _ := strconv.Atoi(m[1])
		if n != last+1 {
			t.Errorf("rule %d follows rule %d", n, last)
		}
		last = n
		switch exempt := slices.Contains(rulesWithoutVectors, n); {
		case must.MatchString(m[2]) && !refused[n] && !exempt:
			t.Errorf("rule %d has a MUST and no refused vector: %s", n, strings.Join(strings.Fields(m[2]), " "))
		case exempt && refused[n]:
			t.Errorf("rule %d has a vector", n)
		}
	}
	for n := range refused {
		if n > last {
			t.Errorf("vectors name rule %d; the last one is %d", n, last)
		}
	}
	if last < 40 {
		t.Errorf("%d rules were found", last)
	}
}

func TestSizesAreBounded(t *testing.T) {
	// Nested as deep as allowed, over and over, up to the bound and one node above it.
	var build func(n, depth int) *index.Node
	build = func(n, depth int) *index.Node {
		if n == 1 {
			return index.Stub(index.Hash{})
		}
		return index.Branch(uint8(depth), build(n/2, depth+1), build(n-n/2, depth+1))
	}
	n := (index.MaxPruned + 2) / 35 // n stubs of 33 bytes, n − 1 branches of 2
	for stubs, want := range map[int]string{n: "", n + 1: "malformed"} {
		b, err := build(stubs, 0).AppendBinary(nil)
		if err != nil {
			t.Fatal(err)
		}
		if _, _, err := index.ParsePruned(b); refusal(err) != want {
			t.Errorf("%d bytes: %v", len(b), err)
		}
	}
	for items, want := range map[int]string{index.MaxItems: "", index.MaxItems + 1: "malformed"} {
		b := make([]byte, 8+4+40*items)
		copy(b[8:], []byte{byte(items >> 24), byte(items >> 16), byte(items >> 8), byte(items)})
		if _, _, err := index.ParseList(b); refusal(err) != want {
			t.Errorf("%d items: %v", items, err)
		}
	}
	if _, err := (index.List{Items: make([]index.Item, index.MaxItems+1)}).AppendBinary(nil); err == nil {
		t.Error("a section that nobody reads is written")
	}
}
