package verify

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/firn-log/firn/internal/nix"
	"github.com/firn-log/firn/internal/testreq"
	"github.com/firn-log/firn/log/statement"
)

var vectorDir = filepath.Join(testreq.Root(), "spec", "vectors", "verdict")

type verdictCase struct {
	Name     string            `json:"name"`
	Policy   []string          `json:"policy"`
	Claims   []vectorClaim     `json:"claims"`
	Output   bool              `json:"output"`
	Open     map[string]string `json:"open"`
	Verdict  string            `json:"verdict"`
	Action   string            `json:"action"` // "" is not compared
	Supports []string          `json:"supports"`
	Dissent  []string          `json:"dissent"`
	Reason   string            `json:"reason"`
}

type vectorClaim struct {
	By             string `json:"by"`
	Class          string `json:"class"`
	Says           string `json:"says"`
	Implementation string `json:"implementation"`
	Statement      int    `json:"statement"`
	Key            int    `json:"key"`
}

func verdictCases(t *testing.T) []verdictCase {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(vectorDir, "verdicts.json"))
	if err != nil {
		t.Fatal(err)
	}
	var v struct{ Cases []verdictCase }
	if err := json.Unmarshal(data, &v); err != nil {
		t.Fatal(err)
	}
	return v.Cases
}

// theFingerprint is f of the vectors.
var theFingerprint = Fingerprint{Path: mustPath("/nix/store/00000000000000000000000000000000-f"), NarHash: nix.Hash{1}, NarSize: 1}

func mustPath(s string) nix.StorePath {
	p, err := nix.ParseStorePath(s)
	if err != nil {
		panic(err)
	}
	return p
}

func (v vectorClaim) claim(t *testing.T, n int) Claim {
	t.Helper()
	c := Claim{
		Operator: v.By, Class: Built, About: theFingerprint, Implementation: v.Implementation,
		Key: statement.KeyID{v.By[0], byte(v.Key)}, Places: []Place{{Log: "main", Index: uint64(n)}},
	}
	copy(c.ID[:], fmt.Sprintf("%s %d", v.By, v.Statement))
	switch v.Class {
	case "signed":
		c.Class = Signed
	case "addressed":
		c.Class = Addressed
	case "realised":
		c.Class = Realised
	}
	what, which, _ := strings.Cut(v.Says, ":")
	k, _ := strconv.Atoi(which)
	switch what {
	case "f":
	case "hash":
		c.About.NarHash = nix.Hash{2, byte(k)}
	case "size":
		c.About.NarSize++
	case "references":
		c.About.References[0]++
	case "path":
		c.About.Path = mustPath("/nix/store/11111111111111111111111111111111-f")
	case "path2":
		c.About.Path = mustPath("/nix/store/22222222222222222222222222222222-f")
	default:
		t.Fatalf("a vector claim says %q", v.Says)
	}
	if c.Class == Realised {
		c.About = Fingerprint{Path: c.About.Path}
	}
	return c
}

func (v verdictCase) parse(t *testing.T) Case {
	t.Helper()
	pol := parseIn(t, vectorDir, strings.Join(v.Policy, "\n")+"\n")
	c := Case{Rule: pol.RuleFor(Facts{Path: theFingerprint.Path}), About: theFingerprint, Output: v.Output, Open: v.Open}
	for i, cl := range v.Claims {
		c.Claims = append(c.Claims, cl.claim(t, i))
	}
	return c
}

func parseIn(t testing.TB, dir, text string) *Policy {
	t.Helper()
	pol, err := ParsePolicy("firn.policy", []byte(text), func(file string) ([]byte, error) {
		return os.ReadFile(filepath.Join(dir, file))
	})
	if err != nil {
		t.Fatal(err)
	}
	return pol
}

func TestVerdictVectors(t *testing.T) {
	for _, v := range verdictCases(t) {
		t.Run(v.Name, func(t *testing.T) {
			j := Judge(v.parse(t))
			var dissent []string
			for _, d := range j.Dissent {
				dissent = append(dissent, d.Words())
			}
			got := verdictCase{Verdict: j.Verdict.String(), Supports: list(j.Supports), Dissent: list(dissent), Reason: j.Reason}
			if v.Action != "" {
				got.Action = j.Action.String()
			}
			want := verdictCase{Verdict: v.Verdict, Action: v.Action, Supports: v.Supports, Dissent: v.Dissent, Reason: v.Reason}
			if want.Reason == "" {
				got.Reason = ""
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// randomVetoes are up to two vetoes by some of ops.
func randomVetoes(r *rand.Rand, ops []*Operator) []*Veto {
	var vetoes []*Veto
	for range r.IntN(3) {
		g := &Group{}
		for _, i := range r.Perm(len(ops))[:1+r.IntN(len(ops))] {
			g.Members = append(g.Members, Member{Operator: ops[i]})
		}
		g.K = 1 + r.IntN(len(g.Members))
		vetoes = append(vetoes, &Veto{Group: g, Action: []Action{Warn, Refuse}[r.IntN(2)]})
	}
	return vetoes
}

// randomCase makes a case with operators that support, dissent, contradict
// themselves, are silent, or of whom something is missing.
func randomCase(r *rand.Rand) (Case, []*Operator) {
	var ops []*Operator
	for i := range 2 + r.IntN(6) {
		ops = append(ops, &Operator{Name: fmt.Sprintf("op%d", i)})
	}
	spare := ops[len(ops)-1]
	members := func(os []*Operator) []Member {
		var ms []Member
		for _, o := range os {
			ms = append(ms, Member{Operator: o})
		}
		return ms
	}
	g := &Group{Name: "g", Members: members(ops), Signed: r.IntN(4) == 0}
	if len(ops) > 4 && r.IntN(2) == 0 {
		inner := &Group{Name: "inner", Members: members(ops[:3]), K: 1 + r.IntN(3), Signed: r.IntN(4) == 0}
		g.Members = append(members(ops[3:]), Member{Group: inner})
	}
	g.K = 1 + r.IntN(len(g.Members))
	c := Case{Rule: &Rule{Need: g, Else: Refuse}, About: theFingerprint, Output: r.IntN(2) == 0, Open: make(map[string]string)}
	for _, o := range ops[:len(ops)-1] {
		for range r.IntN(3) {
			c.Claims = append(c.Claims, randomClaim(r, o.Name))
		}
		if r.IntN(5) == 0 {
			c.Open[o.Name] = "missing"
		}
	}
	return c, []*Operator{spare}
}

func randomClaim(r *rand.Rand, by string) Claim {
	c := Claim{Operator: by, Class: Class(1 + r.IntN(3)), About: theFingerprint, Implementation: []string{"nix", "lix"}[r.IntN(2)]}
	for i := range c.ID {
		c.ID[i] = byte(r.Uint32())
	}
	switch r.IntN(6) {
	case 0:
		c.About.NarHash = nix.Hash{9, byte(r.IntN(2))}
	case 1:
		c.About.Path = mustPath("/nix/store/22222222222222222222222222222222-f")
	}
	return c
}

func TestPermutingClaimsChangesNothing(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for range 2000 {
		c, _ := randomCase(r)
		want := Judge(c)
		shuffled := c
		shuffled.Claims = slices.Clone(c.Claims)
		r.Shuffle(len(shuffled.Claims), func(i, k int) {
			shuffled.Claims[i], shuffled.Claims[k] = shuffled.Claims[k], shuffled.Claims[i]
		})
		if got := Judge(shuffled); !reflect.DeepEqual(got, want) {
			t.Fatalf("order matters:\n%+v\n%+v", want, got)
		}
	}
}

func TestANewSupporterNeverMakesATrustedPathUntrusted(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	trusted := 0
	for range 5000 {
		c, spare := randomCase(r)
		before := Judge(c)
		support := randomClaim(r, spare[0].Name)
		support.About = theFingerprint
		c.Claims = append(slices.Clone(c.Claims), support)
		after := Judge(c)
		if after.Found < before.Found {
			t.Fatalf("support took support away: %d, then %d", before.Found, after.Found)
		}
		if before.Verdict == Trusted {
			trusted++
			if after.Verdict != Trusted {
				t.Fatalf("trusted, and with one more supporter %v", after.Verdict)
			}
		}
	}
	if trusted < 500 {
		t.Errorf("only %d of the cases were trusted: the property is hardly tested", trusted)
	}
}

func TestManyKeysAndStatementsOfOneOperatorCountOnce(t *testing.T) {
	r := rand.New(rand.NewPCG(5, 6))
	for range 2000 {
		c, _ := randomCase(r)
		want := Judge(c)
		var many []Claim
		for _, cl := range c.Claims {
			for k := range 3 {
				again := cl
				again.ID[31] = byte(k)
				again.Key[31] = byte(k)
				many = append(many, again)
			}
		}
		c.Claims = many
		got := Judge(c)
		if got.Verdict != want.Verdict || got.Found != want.Found || !slices.Equal(got.Supports, want.Supports) {
			t.Fatalf("repeating claims changed %v (%d found) to %v (%d found)", want.Verdict, want.Found, got.Verdict, got.Found)
		}
	}
}

// What is missing is decided first: whatever an open operator turns out to
// say, a verdict that is not inconclusive stays what it is.
func TestNoCompletionChangesAVerdictThatIsNotInconclusive(t *testing.T) {
	r := rand.New(rand.NewPCG(7, 8))
	for range 3000 {
		c, _ := randomCase(r)
		before := Judge(c)
		if before.Verdict == Inconclusive {
			continue
		}
		done := Case{Rule: c.Rule, About: c.About, Output: c.Output}
		for _, cl := range c.Claims {
			if _, open := c.Open[cl.Operator]; !open || r.IntN(2) == 0 {
				done.Claims = append(done.Claims, cl)
			}
		}
		for name := range c.Open {
			for range r.IntN(3) {
				done.Claims = append(done.Claims, randomClaim(r, name))
			}
		}
		after := Judge(done)
		if after.Verdict != before.Verdict {
			t.Fatalf("%v became %v when what was missing came\n%+v\n%+v", before.Verdict, after.Verdict, before, after)
		}
	}
}
