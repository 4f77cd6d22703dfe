package verify

import (
	"fmt"
	"math/bits"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/firn-log/firn/internal/testreq"
	"github.com/firn-log/firn/log/policy"
)

// The sets of witnesses and auditors have the sizes that the lint of a quorum computes.
func TestSmallestSetsOfWitnessesAgreeWithTheLintOfAQuorum(t *testing.T) {
	files, err := filepath.Glob(filepath.Join(testreq.Root(), "spec/vectors/policy/accept-*.policy"))
	if err != nil {
		t.Fatal(err)
	}
	shipped, err := filepath.Glob(filepath.Join(testreq.Root(), "docs/policies/*/*.policy"))
	if err != nil {
		t.Fatal(err)
	}
	asked := 0
	for _, file := range append(files, shipped...) {
		data, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		pol, err := policy.Parse(data)
		if err != nil { // a firn.policy
			continue
		}
		lint := pol.Lint()
		overlaps, ok := SmallestOverlaps(pol, 3)
		quorums, _ := SmallestQuorums(pol, 3)
		if ok != lint.Satisfiable || ok && (overlaps.Size != lint.Overlap || quorums.Size != lint.Needed) {
			t.Errorf("%s: %+v and %+v, and lint says %+v", file, overlaps, quorums, lint)
		}
		for _, set := range quorums.Examples {
			asked++
			if len(set) != lint.Needed {
				t.Errorf("%s: %v has not %d members", file, set, lint.Needed)
			}
		}
	}
	if asked < 8 {
		t.Errorf("only %d sets", asked)
	}
}

// oracle tries all sets of operators with the judge and returns the smallest that it trusts.
func oracle(rule *Rule) (sets [][]string) {
	voters := rule.Need.Voters()
	for n := 0; n <= len(voters) && sets == nil; n++ {
		for chosen := range 1 << len(voters) {
			if bits.OnesCount(uint(chosen)) != n {
				continue
			}
			c := Case{Rule: rule, About: theFingerprint}
			var names []string
			for i, o := range voters {
				if chosen>>i&1 == 1 {
					names = append(names, o.Name)
					c.Claims = append(c.Claims, Claim{Operator: o.Name, Class: Built, About: theFingerprint}, Claim{Operator: o.Name, Class: Signed, About: theFingerprint})
				}
			}
			if Judge(c).Verdict == Trusted {
				slices.Sort(names)
				sets = append(sets, names)
			}
		}
	}
	return sets
}

// What lint says is what trying everything finds: the size, how many there are, and which.
func TestSmallestSetsAreWhatTryingAllFinds(t *testing.T) {
	r := rand.New(rand.NewPCG(21, 22))
	many, distinct, nested := 0, 0, 0
	for range 1500 {
		var group func(ops []*Operator, depth int) *Group
		n := 0
		group = func(ops []*Operator, depth int) *Group {
			n++
			g := &Group{Name: fmt.Sprint("g", n), Signed: r.IntN(3) == 0}
			for len(ops) > 0 {
				k := 1 + r.IntN(min(4, len(ops)))
				if k > 1 && depth > 0 && r.IntN(2) == 0 {
					g.Members = append(g.Members, Member{Group: group(ops[:k], depth-1)})
					nested++
				} else {
					k = 1
					g.Members = append(g.Members, Member{Operator: ops[0]})
				}
				ops = ops[k:]
			}
			g.K = 1 + r.IntN(len(g.Members))
			values := make(map[string]bool)
			for _, m := range g.Members {
				if m.Group != nil {
					return g
				}
				values[m.Operator.Attribute("org")] = true
			}
			delete(values, "")
			if most := min(g.K, len(values)); most >= 2 && r.IntN(2) == 0 {
				g.Distinct, g.Values = "org", 2+r.IntN(most-1)
				distinct++
			}
			return g
		}
		var ops []*Operator
		for i := range 1 + r.IntN(9) {
			o := &Operator{Name: fmt.Sprint("op", i)}
			if v := r.IntN(4); v > 0 {
				o.Attributes = []Attribute{{"org", fmt.Sprint(v)}}
			}
			ops = append(ops, o)
		}
		rule := &Rule{Name: "default", Need: group(ops, 2), Else: Refuse}
		got, want := SmallestSets(rule.Need, 1000), oracle(rule)
		for _, set := range got.Examples {
			slices.Sort(set)
		}
		for _, sets := range [][][]string{got.Examples, want} {
			slices.SortFunc(sets, slices.Compare)
		}
		if got.Count != fmt.Sprint(len(want)) || got.Size != len(want[0]) || !slices.EqualFunc(got.Examples, want, slices.Equal) {
			t.Fatalf("%s: %+v, and trying all finds %v", rule.Need.words(), got, want)
		}
		if len(want) > 3 {
			many++
		}
	}
	if many < 300 || distinct < 100 || nested < 300 {
		t.Errorf("too few cases: %d with many sets, %d distinct, %d nested", many, distinct, nested)
	}
}
