package verify

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

const (
	cacheKeyText = "cache.nixos.org-1:6NCHdD59X431o0gWypbMrAURkbJ16ZPMQFGspcDShjY="
	firefox      = "/nix/store/11111111111111111111111111111111-firefox-140.0"
	hello        = "/nix/store/00000000000000000000000000000000-hello-2.12.1"
)

const richPolicy = `log main file main.policy url https://log.example
completeness off
decision-ttl 1h
operator a id ` + idA + ` org=x country=de
operator b id ` + idB + ` org=x
operator c id ` + idC + ` org=y
operator cache key ` + cacheKeyText + ` org=z
group builders 2 a b c distinct org 2
group caches any cache signed
veto builders warn
veto any 1 a caches
upstream https://cache.example/ key ` + cacheKeyText + ` public
rule browser name firefox-* name chromium-* system x86_64-linux need caches else warn
rule sources fod need nothing else allow
rule one path ` + hello + ` need builders else rebuild
rule system closure /run/current-system need builders
rule default need builders else refuse
`

func parsed(t testing.TB, text string) *Policy {
	t.Helper()
	pol, err := ParsePolicy("firn.policy", []byte(text), readVector)
	if err != nil {
		t.Fatal(err)
	}
	return pol
}

func TestTheWholeLanguageIsParsed(t *testing.T) {
	pol := parsed(t, richPolicy)
	want := strings.NewReplacer(
		"key "+cacheKeyText+" org=z", "key "+pol.Operators[3].Keys[0].String()+" org=z",
		"decision-ttl 1h", "decision-ttl 1h0m0s",
		"group caches any", "group caches 1",
		"veto any 1 a caches", "veto any 1 a caches refuse",
		"cache.example/", "cache.example",
		"current-system need builders", "current-system need builders else refuse",
	).Replace(richPolicy)
	if diff := cmp.Diff(want, pol.String()); diff != "" {
		t.Error(diff)
	}
	if pol.DecisionTTL != time.Hour || len(pol.Default().Vetoes) != 2 || pol.Upstreams[0].Keys[0].Name != "cache.nixos.org-1" || pol.Operator("a").Attribute("country") != "de" {
		t.Errorf("%+v", pol)
	}
	if diff := cmp.Diff([]string{"/run/current-system"}, pol.Roots()); diff != "" {
		t.Error(diff)
	}
}

func TestRulesRefuse(t *testing.T) {
	const head = "log main file main.policy url https://log.example\n" +
		"operator a id " + idA + " org=x\noperator b id " + idB + " org=x\ngroup g 1 a b\n"
	for what, c := range map[string]struct{ line, want string }{
		"a rule after default":             {"rule default need g\nrule x fod need g\n", "6:6: rule x can never fire: `rule default` in line 5 is for everything and comes first"},
		"two defaults":                     {"rule default need g\nrule default need g\n", "6:1: rule default is already said in line 5"},
		"a rule without conditions":        {"rule x need g\n", "5:6: rule x has no condition, so no rule after it could ever fire"},
		"conditions of default":            {"rule default fod need g\n", "5:14: `rule default` is for what no other rule is for"},
		"a rule twice":                     {"rule x fod need g\nrule x name y need g\n", `6:6: "x" is already the name of the rule in line 5`},
		"an unknown condition":             {"rule x arch arm need g\n", `5:8: "arch" is not a condition of a rule`},
		"a condition without value":        {"rule x name need\n", "5:17: name needs a value"},
		"a condition twice":                {"rule x fod fod need g\n", `5:12: "fod" is said twice`},
		"a name that no path has":          {"rule x name a/b need g\n", `5:13: no name of a store path has "/b" in it`},
		"a name in brackets":               {"rule x name a[bc] need g\n", `5:13: no name of a store path has "[bc]" in it`},
		"a system that is none":            {"rule x system x86_64/linux need g\n", `5:15: "x86_64/linux" is not a system`},
		"a path that is none":              {"rule x path /nix/store need g\n", "5:13: path needs a store path: "},
		"a closure of a relative path":     {"rule x closure result need g\n", `5:16: "result" is not an absolute path`},
		"an unknown group":                 {"rule x fod need h\n", `5:17: there is no group "h" before this line`},
		"a later group":                    {"rule x fod need h\ngroup h 1 a\n", `5:17: there is no group "h" before this line; it is defined in line 6, and what a line uses stands before it`},
		"nothing, refused":                 {"rule x fod need nothing else refuse\n", "5:17: a rule that needs nothing cannot ask for more"},
		"nothing, by default refused":      {"rule x fod need nothing\n", "5:17: a rule that needs nothing cannot ask for more"},
		"serve is no answer":               {"rule x fod need g else serve\n", `5:24: after else comes refuse, rebuild, warn or allow, not "serve"`},
		"shadowed by the same":             {"rule x fod need g\nrule y fod system x86_64-linux need g\n", "6:6: rule y can never fire: rule x in line 5 is for everything that it is for, and the first rule counts"},
		"shadowed by a glob":               {"rule x name f*x need g\nrule y name fo?-*x need g\n", "6:6: rule y can never fire: rule x in line 5"},
		"shadowed by two":                  {"rule x system a need g\nrule y system b need g\nrule z system b system a name f need g\n", "7:6: rule z can never fire: rule y in line 6 and rule x in line 5 are for everything"},
		"a path shadowed by a name":        {"rule x name firefox-* need g\nrule y path " + firefox + " need g\n", "6:6: rule y can never fire"},
		"a path in its own closure":        {"rule x closure " + firefox + " need g\nrule y path " + firefox + " need g\n", "6:6: rule y can never fire"},
		"a path without such a name":       {"rule y path " + firefox + " name hello-* need g\n", "5:6: rule y can never fire: none of its paths has one of its names"},
		"a group that is a cycle":          {"group h 1 i\ngroup i 1 h\n", `5:11: there is no operator or group "i" before this line; it is defined in line 6`},
		"a group in itself":                {"group h 1 a h\n", `5:13: there is no operator or group "h" before this line: a group cannot be in itself`},
		"distinct groups":                  {"group h 2 g distinct org 2\n", "5:9: group h can never be satisfied: it needs 2 and has 1 member"},
		"distinct of a group":              {"group h 1 a\ngroup i 2 h b distinct org 2\n", "6:15: distinct compares operators, and h is a group"},
		"distinct that cannot be":          {"group h 2 a b distinct org 2\n", "5:15: group h can never be satisfied: its operators have 1 value of org, and it needs 2"},
		"distinct by what nobody has":      {"group h 2 a b distinct town 2\n", "5:15: group h can never be satisfied: its operators have 0 values of town"},
		"more distinct than members":       {"group h 1 a b distinct org 2\n", "5:15: group h needs 1 member, of whom 2 cannot differ; raise 1 to 2"},
		"distinct by one":                  {"group h 2 a b distinct org 1\n", `5:28: distinct needs a number from 2, not "1"`},
		"an attribute twice":               {"operator c id " + idC + " org=x org=y\n", "5:86: operator c has two values of org"},
		"an attribute without value":       {"operator c id " + idC + " org=\n", "5:80: the value of an attribute"},
		"an attribute in capitals":         {"operator c id " + idC + " Org=x\n", "5:80: the name of an attribute"},
		"an id twice, with an attribute":   {"operator c id " + idA + " org=y\n", "5:15: this id already belongs to operator a"},
		"a key in two spellings":           {"operator c key " + cacheKeyText + "\noperator d key " + idOf(t, cacheKeyText) + "\n", "6:16: this key already belongs to operator c"},
		"a key under another name":         {"operator c key " + cacheKeyText + " x" + cacheKeyText + "\n", "5:79: this key already belongs to operator c"},
		"a veto of an operator":            {"veto a\n", "5:6: a is an operator; a veto needs a group"},
		"a veto of nobody":                 {"veto\n", "5:1: the line is `veto GROUP"},
		"a veto of an unknown group":       {"veto h\n", `5:6: there is no group "h" before this line`},
		"a veto without number":            {"veto any a b\n", `5:10: a group needs a number from 1, all or any, not "a"`},
		"a veto of too many":               {"veto any 3 a b\n", "5:10: group of this veto can never be satisfied: it needs 3 and has 2 members"},
		"a veto that rebuilds":             {"veto g rebuild\n", "5:8: the line is `veto GROUP"},
		"an upstream without key":          {"upstream https://c.example\n", "5:10: the line is `upstream URL key"},
		"an upstream with only public":     {"upstream https://c.example key public\n", "5:32: an upstream needs a key"},
		"an upstream at a bad address":     {"upstream c.example key " + cacheKeyText + "\n", `5:10: "c.example" is not the address of a cache`},
		"an upstream with a bad key":       {"upstream https://c.example key x\n", `5:32: "x" is not the public key of a cache`},
		"an upstream twice":                {"upstream https://c.example key " + cacheKeyText + "\nupstream https://c.example/ key " + cacheKeyText + "\n", "6:10: https://c.example is already the upstream in line 5"},
		"one key of an upstream, two ways": {"upstream https://c.example key " + cacheKeyText + " x" + cacheKeyText + "\n", "5:95: this is the key cache.nixos.org-1 under another name; one key has one name"},
		"an upstream key twice":            {"upstream https://c.example key " + cacheKeyText + " " + cacheKeyText + "\n", "5:95: the key cache.nixos.org-1 is said twice"},
		"a time that is none":              {"decision-ttl 0s\n", `5:14: "0s" is not a time`},
		"a time twice":                     {"decision-ttl 1m\ndecision-ttl 2m\n", "6:1: decision-ttl is already said in line 5"},
		"one log key under two origins":    {"log more file renamed.policy url https://m.example\n", "5:15: the log other.example/renamed has the key of the log in line `log main`"},
		"what this version does not know":  {"public-from /etc/roots\n", `5:1: "public-from" is not yet understood`},
	} {
		t.Run(what, func(t *testing.T) {
			_, err := ParsePolicy("p", []byte(head+c.line), readVector)
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got  %v\nwant %s", err, c.want)
			}
		})
	}
}

func idOf(t *testing.T, key string) string {
	t.Helper()
	return parsed(t, "log main file main.policy url https://log.example\noperator a key "+key+"\ngroup g 1 a\nrule default need g\n").Operators[0].Keys[0].String()
}

// Rules that look alike, but of which the second still fires.
func TestRulesThatCanFireAreAccepted(t *testing.T) {
	for _, lines := range []string{
		"rule x name foo-* need g\nrule y name foo* need g\n",
		"rule x system a need g\nrule y system a system b need g\n",
		"rule x fod system a need g\nrule y fod need g\n",
		"rule x name a?b need g\nrule y name a*b need g\n",
		"rule x path " + firefox + " need g\nrule y closure " + firefox + " need g\n",
		"rule x path " + firefox + " need g\nrule y name firefox-* need g\n",
	} {
		parsed(t, "log main file main.policy url https://log.example\noperator a id "+idA+"\ngroup g 1 a\n"+lines+"rule default need g\n")
	}
}

func TestTheFirstRuleWhoseConditionsHoldCounts(t *testing.T) {
	pol := parsed(t, richPolicy)
	known := func(path, system string, fod bool, roots ...string) Facts {
		return Facts{Path: mustPath(path), System: system, SystemKnown: true, FOD: fod, FODKnown: true, Roots: roots, RootsKnown: true}
	}
	nothing := Facts{Path: mustPath(firefox)}
	for _, c := range []struct {
		facts Facts
		name  string
		does  Action
	}{
		{known(firefox, "x86_64-linux", true), "browser", Warn},
		{known(firefox, "aarch64-linux", true), "sources", Allow},
		{known(firefox, "aarch64-linux", false), "default", Refuse},
		{known(hello, "", false, "/run/current-system"), "one", Rebuild},
		{known("/nix/store/11111111111111111111111111111111-x", "", false, "/run/current-system"), "system", Refuse},
		{nothing, "browser or sources or system or default", Refuse},
		{Facts{Path: mustPath(hello), FODKnown: true, FOD: true}, "sources", Allow},
		{Facts{Path: mustPath(hello)}, "sources or one", Rebuild},
		{Facts{Path: mustPath(hello), FODKnown: true}, "one", Rebuild},
	} {
		r := pol.RuleFor(c.facts)
		if r.Name != c.name || r.Else != c.does {
			t.Errorf("%+v: rule %s else %s, want %s else %s", c.facts, r.Name, r.Else, c.name, c.does)
		}
	}
	if g := pol.RuleFor(nothing).Need; g.K != 2 || g.Name != "caches and builders" {
		t.Errorf("what is not known asks for %d of %s", g.K, g.Name)
	}
}

func TestGlobs(t *testing.T) {
	for _, c := range []struct {
		glob, name string
		want       bool
	}{
		{"", "", true},
		{"*", "", true},
		{"a*", "a", true},
		{"a*c", "abbc", true},
		{"a*c", "abbcd", false},
		{"a?c", "ac", false},
		{"a?c", "abc", true},
		{"*a*b", "xxaxab", true},
		{"*a*b*", "xxba", false},
	} {
		if got := matchGlob(c.glob, c.name); got != c.want {
			t.Errorf("%q on %q: %v", c.glob, c.name, got)
		}
	}
}

// FuzzGlob compares the two ways to look at globs: one that covers another matches what it
// matches, and one without * covers exactly what it matches.
func FuzzGlob(f *testing.F) {
	f.Add("f*x", "fo?-*x", "foo-bax")
	f.Add("*a??????????", "*", "aaaaaaaaaaaaaaa")
	f.Fuzz(func(t *testing.T, wide, narrow, name string) {
		if len(wide)+len(narrow) > 60 {
			return
		}
		covers := coversGlob(wide, narrow)
		if covers && matchGlob(narrow, name) && !matchGlob(wide, name) {
			t.Fatalf("%q covers %q, but not %q", wide, narrow, name)
		}
		if !strings.ContainsAny(narrow, "*?") && !strings.ContainsRune(wide+narrow, 0) && len(wide) < 20 && covers != matchGlob(wide, narrow) {
			t.Fatalf("%q and %q: covers %v, matches %v", wide, narrow, covers, !covers)
		}
	})
}
