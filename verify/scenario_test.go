package verify

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/firn-log/firn/internal/testreq"
)

// The policies that are shipped are right, and do what their cases say. No case is there for nothing:
// each rule and each veto of them decides one.
func TestShippedPolicies(t *testing.T) {
	dirs, err := filepath.Glob(filepath.Join(testreq.Root(), "docs/policies/*/firn.policy"))
	if err != nil || len(dirs) < 3 {
		t.Fatalf("%v: %v", dirs, err)
	}
	for _, file := range dirs {
		t.Run(filepath.Base(filepath.Dir(file)), func(t *testing.T) {
			pol, err := LoadPolicy(file)
			if err != nil {
				t.Fatal(err)
			}
			data, err := os.ReadFile(file + ".test")
			if err != nil {
				t.Fatal(err)
			}
			cases, err := ParseScenarios(file+".test", data, pol)
			if err != nil {
				t.Fatal(err)
			}
			rules, vetoed := make(map[string]bool), false
			for _, s := range cases {
				j, problem := s.Run(pol)
				if problem != "" {
					t.Errorf("line %d, %s: %s", s.Line, s.Name, problem)
				}
				rules[pol.RuleFor(s.Facts).Name] = true
				vetoed = vetoed || j.Veto != nil
			}
			for _, r := range pol.Rules {
				if !rules[r.Name] {
					t.Errorf("no case is about rule %s", r.Name)
				}
			}
			if !vetoed {
				t.Error("no case is vetoed")
			}
			set, err := PackPolicy(file)
			if err != nil {
				t.Fatal(err)
			}
			if again, err := set.Policy("p"); err != nil || again.String() != pol.String() {
				t.Errorf("packed, it is another policy: %v", err)
			}
		})
	}
}

func TestScenariosRefuse(t *testing.T) {
	pol := parsed(t, richPolicy)
	const head, end = "case x\npath " + hello + "\n", "expect untrusted refuse\n"
	for what, c := range map[string]struct{ text, want string }{
		"nothing":               {"", "p:1:1: no case: nothing would be tested"},
		"no case":               {"path " + hello + "\n", "p:1:1: a file of tests begins with `case NAME`"},
		"no name":               {"case\n", "p:1:5: the line is `case NAME`"},
		"a name twice":          {head + end + head + end, "p:4:6: the case in line 1 has that name already"},
		"no path":               {"case x\n" + end, "p:1:1: this case is about no path"},
		"no expectation":        {head, "p:1:1: this case has no expect line: it would test nothing"},
		"lines after it":        {head + end + "fod no\n", "p:4:1: the case in line 1 has ended with its expect line"},
		"an unknown line":       {head + "claims a\n" + end, `p:3:1: "claims" is not a line of a test`},
		"a line twice":          {head + "fod no\nfod yes\n" + end, `p:4:1: "fod" is said twice in one case`},
		"fod of something else": {head + "fod perhaps\n" + end, "p:3:12: the line is `fod yes|no`"},
		"an unknown operator":   {head + "claim z built same\n" + end, `p:3:7: the policy has no operator "z"`},
		"an unknown class":      {head + "claim a made same\n" + end, "p:3:9: the line is `claim OPERATOR"},
		"an unknown content":    {head + "claim a built size:1\n" + end, "p:3:9: the line is `claim OPERATOR"},
		"a root of no rule":     {head + "closure /x\n" + end, "p:3:9: no rule of the policy says `closure /x`"},
		"an unknown verdict":    {head + "expect good serve\n", "p:3:8: the line is `expect "},
		"an unknown action":     {head + "expect trusted run\n", "p:3:8: the line is `expect "},
		"an unknown rule":       {head + "expect trusted serve rule nothing\n", `p:3:27: the policy has no rule "nothing"`},
		"cut off":               {head + "expect untrusted refuse", "p:3:24: the last line does not end"},
		"a path that is none":   {"case x\npath /tmp\n" + end, "p:2:6: path needs a store path"},
	} {
		_, err := ParseScenarios("p", []byte(c.text), pol)
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: got %v, want %s", what, err, c.want)
		}
	}
}

func FuzzScenarios(f *testing.F) {
	pol := parsed(f, richPolicy)
	f.Add("case x\npath " + hello + "\nsystem x\nfod no\nclosure none\noutput\nclaim a built hash:3 by nix\nopen b why not\nexpect contradicted refuse rule default\n")
	f.Fuzz(func(t *testing.T, text string) {
		cases, err := ParseScenarios("p", []byte(text), pol)
		var all PolicyErrors
		if err != nil && (!errors.As(err, &all) || len(all) == 0) {
			t.Fatalf("%T: %v", err, err)
		}
		for _, s := range cases {
			s.Run(pol)
		}
	})
}

func TestPolicySetsRefuse(t *testing.T) {
	for text, want := range map[string]string{
		"":                                      "does not begin with `-- firn.policy --`",
		"log\n":                                 "does not begin with `-- firn.policy --`",
		"-- log.policy --\n-- firn.policy --\n": "does not begin with `-- firn.policy --`",
		"-- firn.policy --\n-- ../x --\n":       "line 2 of the policy set begins a file, and its name is not",
		"-- firn.policy --\n-- .x --\n":         "line 2 of the policy set begins a file, and its name is not",
		"-- firn.policy --\n-- x\n":             "line 2 of the policy set begins a file",
		"-- firn.policy --\n-- x --\n-- x --\n": "line 3 of the policy set begins x a second time",
		"-- firn.policy --\nlog":                "line 2 of the policy set does not end",
		"-- firn.policy --\n" + strings.Repeat("\n", maxSetBytes): "at most",
	} {
		if _, err := ParsePolicySet([]byte(text)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%.40q: %v, want %s", text, err, want)
		}
	}
	main, err := readVector("main.policy")
	if err != nil {
		t.Fatal(err)
	}
	whole := "-- firn.policy --\nlog main file main.policy url https://log.example\noperator a id " + idA + "\ngroup g 1 a\nrule default need g\n-- main.policy --\n" + string(main)
	for text, want := range map[string]string{
		whole:                           "",
		whole + "-- more --\n":          "more is in the policy set, and nothing in firn.policy names it",
		whole[:len(whole)-len(main)-18]: "p:1:15: the log policy of main cannot be read",
	} {
		set, err := ParsePolicySet([]byte(text))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := set.Policy("p"); (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %q", err, want)
		}
	}
}

func FuzzPolicySet(f *testing.F) {
	f.Add([]byte("-- firn.policy --\nlog\n-- main.policy --\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		set, err := ParsePolicySet(b)
		if err != nil {
			return
		}
		if !bytes.Equal(set.Bytes(), b) {
			t.Fatalf("%q is written as %q", b, set.Bytes())
		}
	})
}
