package verify

import (
	"math/big"
	"slices"

	"github.com/firn-log/firn/log/policy"
)

// Sets are the smallest sets of operators, witnesses or auditors that can do something
// together.
type Sets struct {
	Size     int        // members of each; 0 if it takes nobody
	Count    string     // how many such sets there are, decimal
	Examples [][]string // the first of them, by name
}

// SmallestSets returns the smallest sets of operators who, if they lie together and nobody who vetoes
// claims something else, make any path trusted by a rule that needs g (spec/policy.md#lint). It
// is exact: operators vote once in a group, so a group is a tree. At most examples
// sets are listed. Of a nil group, which never trusts, there is none: Count is "0".
func SmallestSets(g *Group, examples int) Sets {
	if g == nil {
		return Sets{Count: "0"}
	}
	t := treeOf(g)
	return Sets{Size: t.size(), Count: t.count().String(), Examples: t.sets(examples)}
}

// SmallestQuorums returns the smallest sets of the witnesses, or auditors, of p that satisfy its
// quorum; of auditors these can vouch for a wrong index. ok is false if none does.
func SmallestQuorums(p *policy.Policy, examples int) (Sets, bool) {
	return quorumSets(p, examples, func(k, _ int) int { return k })
}

// SmallestOverlaps returns the smallest sets of witnesses of p who, together with the log, can show
// two people two histories: two quorums have at least such a set in common (spec/proofs.md#quorums). ok is
// false if no quorum can be satisfied.
func SmallestOverlaps(p *policy.Policy, examples int) (Sets, bool) {
	return quorumSets(p, examples, func(k, n int) int { return max(0, 2*k-n) })
}

func quorumSets(p *policy.Policy, examples int, need func(k, n int) int) (Sets, bool) {
	lint := p.Lint()
	if !lint.Satisfiable {
		return Sets{Count: "0"}, false
	}
	trees := make(map[string]*tree)
	for _, w := range p.Witnesses {
		if !slices.Contains(lint.Uncounted, w.Name) {
			trees[w.Name] = &tree{name: w.Name}
		}
	}
	for _, g := range p.Groups {
		t := &tree{}
		for _, name := range g.Members {
			if m := trees[name]; m != nil {
				t.members = append(t.members, m)
			}
		}
		if len(t.members) >= g.K {
			t.k = need(g.K, len(t.members))
			trees[g.Name] = t
		}
	}
	t := trees[p.Quorum]
	if t == nil { // `quorum none`
		return Sets{Count: "1"}, true
	}
	return Sets{Size: t.size(), Count: t.count().String(), Examples: t.sets(examples)}, true
}

// tree is a threshold over others that share no leaf, or a leaf with a name.
type tree struct {
	name    string
	value   string // of the attribute in which the leaves of the tree above must differ
	k       int
	members []*tree
	values  int // how many different values the chosen leaves need; 0 asks for none
}

func treeOf(g *Group) *tree {
	t := &tree{k: g.K}
	if g.Distinct != "" {
		t.values = g.Values
	}
	for _, m := range g.Members {
		if m.Group != nil {
			t.members = append(t.members, treeOf(m.Group))
			continue
		}
		t.members = append(t.members, &tree{name: m.Operator.Name, value: m.Operator.Attribute(g.Distinct)})
	}
	return t
}

// size is the size of the smallest sets. Values do not change it: the parser sees to it that k
// leaves can differ as they must.
func (t *tree) size() int {
	if t.name != "" {
		return 1
	}
	sizes := make([]int, len(t.members))
	for i, m := range t.members {
		sizes[i] = m.size()
	}
	slices.Sort(sizes)
	n := 0
	for _, s := range sizes[:t.k] {
		n += s
	}
	return n
}

// split returns the members that are in every smallest set, those of which any rest
// members are, in the order of the file. A tree that differs in values is flat: all its
// members are of the second sort.
func (t *tree) split() (always, some []*tree, rest int) {
	sizes := make([]int, len(t.members))
	for i, m := range t.members {
		sizes[i] = m.size()
	}
	sorted := slices.Sorted(slices.Values(sizes))
	if t.k == 0 {
		return nil, nil, 0
	}
	last := sorted[t.k-1]
	for i, m := range t.members {
		switch {
		case sizes[i] < last:
			always = append(always, m)
		case sizes[i] == last:
			some = append(some, m)
		}
	}
	return always, some, t.k - len(always)
}

// count is the number of smallest sets.
func (t *tree) count() *big.Int {
	if t.name != "" {
		return big.NewInt(1)
	}
	if t.values > 0 {
		return t.countDistinct()
	}
	always, some, rest := t.split()
	// ways[i] is in how many ways i of the members seen so far can be chosen.
	ways := []*big.Int{big.NewInt(1)}
	for _, m := range some {
		ways = append(ways, new(big.Int))
		for i := len(ways) - 1; i > 0; i-- {
			ways[i] = new(big.Int).Add(ways[i], new(big.Int).Mul(ways[i-1], m.count()))
		}
	}
	n := ways[rest]
	for _, m := range always {
		n = new(big.Int).Mul(n, m.count())
	}
	return n
}

// countDistinct counts the sets of k leaves with enough values: ways[i][v] is in how many
// ways i leaves with v different values can be chosen, one value after the other.
func (t *tree) countDistinct() *big.Int {
	byValue := make(map[string]int64)
	for _, m := range t.members {
		byValue[m.value]++
	}
	ways := make([][]*big.Int, t.k+1)
	for i := range ways {
		ways[i] = make([]*big.Int, len(byValue)+1)
		for v := range ways[i] {
			ways[i][v] = new(big.Int)
		}
	}
	ways[0][0].SetInt64(1)
	for value, n := range byValue {
		more := 1
		if value == "" {
			more = 0 // leaves without the attribute add no value
		}
		for i := t.k; i > 0; i-- {
			for v := len(byValue); v >= more; v-- {
				for take := int64(1); take <= min(n, int64(i)); take++ {
					add := new(big.Int).Mul(ways[i-int(take)][v-more], new(big.Int).Binomial(n, take))
					ways[i][v].Add(ways[i][v], add)
				}
			}
		}
	}
	sum := new(big.Int)
	for v := t.values; v <= len(byValue); v++ {
		sum.Add(sum, ways[t.k][v])
	}
	return sum
}

// maxTries bounds the search for examples with different values.
const maxTries = 10_000

// sets returns up to max smallest sets, in the order of the file.
func (t *tree) sets(max int) [][]string {
	if t.name != "" {
		return [][]string{{t.name}}[:min(max, 1)]
	}
	always, some, rest := t.split()
	var out [][]string
	tries := 0
	var choose func(i, left int, chosen []*tree)
	choose = func(i, left int, chosen []*tree) {
		if len(out) >= max || tries > maxTries || len(some)-i < left {
			return
		}
		if left == 0 {
			tries++
			if t.differ(chosen) {
				out = append(out, product(append(slices.Clone(always), chosen...), max-len(out))...)
			}
			return
		}
		choose(i+1, left-1, append(slices.Clone(chosen), some[i]))
		choose(i+1, left, chosen)
	}
	choose(0, rest, nil)
	return out
}

func (t *tree) differ(chosen []*tree) bool {
	values := make(map[string]bool)
	for _, m := range chosen {
		if m.value != "" {
			values[m.value] = true
		}
	}
	return len(values) >= t.values
}

// product returns up to max unions of a smallest set of each tree.
func product(trees []*tree, max int) [][]string {
	out := [][]string{nil}
	for _, t := range trees {
		var next [][]string
		for _, before := range out {
			for _, set := range t.sets(max) {
				if len(next) < max {
					next = append(next, append(slices.Clone(before), set...))
				}
			}
		}
		out = next
	}
	return out
}
