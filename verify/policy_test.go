package verify

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/firn-log/firn/log/policy"
)

const (
	idA = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
	idB = "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb"
	idC = "cccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccc"
)

const otherLog = "other.example/00000000+102e67af+ASPQr+RJD8IOtBGiY2DiQYsvlzFSbSNdLxV1uzi+oSfD"

// readVector reads log policies beside the vectors, and two made up here.
func readVector(file string) ([]byte, error) {
	switch file {
	case "two.policy":
		b, err := os.ReadFile(filepath.Join(vectorDir, "main.policy"))
		return append(b, "log other.example/1+82b9d2e0+AfJMmALLNhOqQ44fWrXUKLDmze3lneXtgqv3+umLa0eD\n"...), err
	case "pair.policy":
		b, err := os.ReadFile(filepath.Join(vectorDir, "main.policy"))
		return append(b, "log "+otherLog+"\n"...), err
	case "index.policy", "unaudited.policy", "otherlog.policy":
		b, err := os.ReadFile(filepath.Join(vectorDir, "main.policy"))
		if err != nil {
			return nil, err
		}
		main, err := policy.Parse(b)
		if err != nil {
			return nil, err
		}
		vkey, quorum := main.Logs[0].Key.String(), "a1"
		switch file {
		case "unaudited.policy":
			quorum = "none"
		case "otherlog.policy":
			vkey = otherLog
		}
		return []byte("log " + vkey + "\nwitness a1 witness.example/w2+b50aae41+BFq1jSt8bcN5ew3pMjvAvQxG2uzY6dgIfLVVIhkL9cbD\nquorum " + quorum + "\n"), nil
	case "renamed.policy":
		b, err := os.ReadFile(filepath.Join(vectorDir, "main.policy"))
		if err != nil {
			return nil, err
		}
		main, err := policy.Parse(b)
		if err != nil {
			return nil, err
		}
		key, err := policy.NewKey("other.example/renamed", main.Logs[0].Key.Type, main.Logs[0].Key.Public)
		return []byte("log " + key.String() + "\nquorum none\n"), err
	case "empty.policy":
		return []byte("quorum none\n"), nil
	case "broken.policy":
		return []byte("quorum nobody\n"), nil
	}
	return os.ReadFile(filepath.Join(vectorDir, filepath.Base(file)))
}

const goodPolicy = `# whom I believe
log main file main.policy mirror https://b.example required mirror file:///srv/a url https://log.example/x
completeness off

operator a id ` + idA + `
operator b key ` + idC + ` ` + idB + `
	operator  cache-1	key dddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddd
group builders all a b
group caches any cache-1 signed
group either any builders caches
rule default need either else refuse
`

func TestPolicyIsParsed(t *testing.T) {
	pol, err := ParsePolicy("firn.policy", []byte(goodPolicy), readVector)
	if err != nil {
		t.Fatal(err)
	}
	want := `log main file main.policy url https://log.example/x mirror https://b.example mirror file:///srv/a
completeness off
operator a id ` + idA + `
operator b key ` + idB + ` ` + idC + `
operator cache-1 key dddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddd
group builders 2 a b
group caches 1 cache-1 signed
group either 1 builders caches
rule default need either else refuse
`
	if diff := cmp.Diff(want, pol.String()); diff != "" {
		t.Error(diff)
	}
	if !pol.Logs[0].Required || pol.Logs[0].Origin != "log.example/0123abcd" {
		t.Errorf("log: %+v", pol.Logs[0])
	}
	var names []string
	for _, o := range pol.Default().Need.Voters() {
		names = append(names, o.Name)
	}
	if got := strings.Join(names, " "); got != "a b cache-1" {
		t.Errorf("voters %s", got)
	}
}

func TestIndexPoliciesAreParsed(t *testing.T) {
	const line = "log main file main.policy url https://log.example index index.policy tail 100"
	rest := "operator a id " + idA + "\ngroup g 1 a\nrule default need g else refuse\n"
	pol, err := ParsePolicy("firn.policy", []byte(line+"\n"+rest), readVector)
	if err != nil {
		t.Fatal(err)
	}
	l := pol.Logs[0]
	if l.IndexPolicy == nil || l.IndexPolicy.Quorum != "a1" || l.IndexPolicy.Witnesses[0].Name != "a1" || l.IndexFile != "index.policy" || l.Tail != 100 {
		t.Errorf("%+v", l)
	}
	if got := pol.String(); got != line+"\n"+rest {
		t.Errorf("it is written as\n%s", got)
	}
	pol, err = ParsePolicy("firn.policy", []byte(strings.Replace(line, "index index.policy tail 100", "tail 0", 1)+"\n"+rest), readVector)
	if err != nil || pol.Logs[0].IndexPolicy != nil || pol.Logs[0].Tail != 0 {
		t.Errorf("%v, %+v", err, pol)
	}
}

func TestPolicyRefuses(t *testing.T) {
	const (
		log   = "log main file main.policy url https://log.example\n"
		ops   = "operator a id " + idA + "\noperator b id " + idB + "\n"
		group = "group g 1 a b\n"
		rule  = "rule default need g\n"
	)
	for _, c := range []struct{ name, text, want string }{
		{"nothing", "", "firn.policy:1:1: no required log: a verdict would rest on nobody's answer; write `log NAME file LOGPOLICY url URL`\nfirn.policy:1:1: no rule: write `rule default need GROUP` after the groups"},
		{"a cut-off file", log + ops + group + "rule default need g", "firn.policy:5:20: the last line does not end; the file may be cut off"},
		{"carriage returns", "log main file main.policy\r\n", "1:26: octet 0x0d is not allowed in a policy; save the file with plain line feeds"},
		{"control octets", "log\x00main\n", "1:4: octet 0x00 is not allowed"},
		{"an unknown word", "logs main\n", `1:1: "logs" is not a line of a policy; lines start with log, completeness, decision-ttl, operator, group, veto, upstream or rule`},
		{"a comment after words", log + ops + "group builders 2 a b c d # all of them\n" + rule, "4:26: a comment has a line of its own, which begins with #"},
		{"an unreadable index policy", "log main file main.policy url https://log.example index nowhere.policy\n", "1:57: the index policy of main cannot be read: open "},
		{"a broken index policy", "log main file main.policy index broken.policy url https://log.example\n", `1:33: broken.policy: log policy, line 1: "nobody" is not`},
		{"an index policy without a log", "log main file main.policy url https://log.example index empty.policy\n", "1:57: empty.policy has 0 log lines; an index policy has exactly one, that of main.policy"},
		{"an index policy with two logs", "log main file main.policy url https://log.example index pair.policy\n", "1:57: pair.policy has 2 log lines"},
		{"an index policy of another log", "log main file main.policy url https://log.example index otherlog.policy\n", "1:57: otherlog.policy is about another log than main.policy: its log line must name log.example/0123abcd+"},
		{"an index policy without a quorum", "log main file main.policy url https://log.example index unaudited.policy\n", "1:57: unaudited.policy says `quorum none`, so nobody would vouch for the index; name auditors and a quorum there"},
		{"an index policy twice", "log main file main.policy url https://log.example index index.policy index index.policy\n", `1:70: "index" is said twice`},
		{"an index without a file", "log main file main.policy url https://log.example index\n", "1:56: index needs a value"},
		{"a tail without a number", "log main file main.policy url https://log.example tail\n", "1:55: tail needs a value"},
		{"a tail of no number", "log main file main.policy url https://log.example tail some\n", `1:56: "some" is not a number of entries; write for instance tail 1000`},
		{"a tail in another form", "log main file main.policy url https://log.example tail 010\n", `1:56: "010" is not a number of entries`},
		{"a negative tail", "log main file main.policy url https://log.example tail -1\n", `1:56: "-1" is not a number of entries`},
		{"else something", log + ops + group + "rule default need g else panic\n", `5:26: after else comes refuse, rebuild, warn or allow, not "panic"`},
		{"words after the group", log + ops + group + "rule default need g or h\n", "5:21: after the group comes nothing or `else refuse|rebuild|warn|allow`"},
		{"two default rules", log + ops + group + rule + rule, "6:1: rule default is already said in line 5"},
		{"a rule without group", log + ops + "rule default need\n", "4:18: the line is `rule NAME [name GLOB]"},
		{"a rule for an unknown group", log + ops + "rule default need g\n", `4:19: there is no group "g" before this line`},
		{"a rule for an operator", log + ops + "rule default need a\n", "4:19: a is an operator; a rule needs a group, for instance `group G 1 a`"},
		{"no rule", log + ops + group, "5:1: no rule"},
		{"completeness on", "completeness on\n", "1:1: the line is `completeness off`; without it answers must be proven complete"},
		{"completeness twice", "completeness off\ncompleteness off\n", "2:1: completeness is already said in line 1"},
		{"an unreadable log policy", "log main file nowhere.policy url https://log.example\n", "1:15: the log policy of main cannot be read: open "},
		{"a broken log policy", "log main file broken.policy url https://log.example\n", `1:15: broken.policy: log policy, line 1: "nobody" is not`},
		{"a log policy without a log", "log main file empty.policy url https://log.example\n", "1:15: empty.policy has 0 log lines; a log policy named here has exactly one"},
		{"a log policy with two logs", "log main file two.policy url https://log.example\n", "1:15: two.policy"},
		{"one log twice", log + "log again file main.policy url https://log.example\n", "2:16: log.example/0123abcd is the log that line `log main` already names"},
		{"a log nowhere", "log main file main.policy\n", "1:26: nothing says where log main is; write `url https://…` in this line or the address in main.policy"},
		{"a log at a bad address", "log main file main.policy url ftp://log.example\n", `1:31: "ftp://log.example" is not the address of a log`},
		{"a log with a password", "log main file main.policy url https://u:p@log.example\n", "1:31: the address of a log holds no user name or password"},
		{"a log with a query", "log main file main.policy url https://log.example/?x\n", "1:31: the address of a log has no ? and no #"},
		{"a log option twice", "log main file main.policy url https://log.example required optional\n", `1:60: "optional" is said twice`},
		{"an option without value", "log main file main.policy url\n", "1:30: url needs a value"},
		{"a mirror twice", "log main file main.policy url https://log.example mirror https://m.example mirror https://m.example\n", "1:83: mirror https://m.example is named twice"},
		{"a mirror at a bad address", "log main file main.policy url https://log.example mirror m.example\n", `1:58: "m.example" is not the address of a log`},
		{"a mirror without value", "log main file main.policy url https://log.example mirror\n", "1:57: mirror needs a value"},
		{"a mirror that is the log", "log main file main.policy mirror https://log.example url https://log.example\n", "1:77: https://log.example is where log main itself is; a mirror is another place"},
		{"an unknown option", "log main file main.policy quick\n", `1:27: "quick" is not an option of a log`},
		{"a bad age", "log main file main.policy url https://log.example max-age -3h\n", `1:59: "-3h" is not an age; write for instance 24h or 30m`},
		{"an age that nobody vouches for", "log main file main.policy url https://log.example max-age 24h\n", "1:15: max-age can never be met: main.policy says `quorum none`, and a checkpoint without witnesses has no age; name witnesses there or remove max-age"},
		{"only optional logs", "log main file main.policy url https://log.example optional\n" + ops + group + rule, "6:1: no required log"},
		{"an operator without anything", "operator a\n", "1:11: the line is `operator NAME id ID` or `operator NAME key KEYID...`"},
		{"an operator with a short id", "operator a id abcd\n", "1:15: an operator's id is 64 lower-case hexadecimal digits, as `firn operator show` prints it"},
		{"an operator with two ids", "operator a id " + idA + " " + idB + "\n", "1:80: an operator has one id"},
		{"an operator with an upper-case key", "operator a key " + strings.ToUpper(idA) + "\n", "1:16: a key is named by its id"},
		{"an operator by email", "operator a mail a@example.org\n", "1:12: after its name an operator has `id` or `key`, not \"mail\""},
		{"a name twice", ops + "operator a id " + idC + "\n", `3:10: "a" is already the name of the operator in line 1`},
		{"a group called like an operator", ops + "group a 1 b\n", `3:7: "a" is already the name of the operator in line 1`},
		{"an id under two operators", "operator a id " + idA + "\noperator b id " + idA + "\n", "2:15: this id already belongs to operator a; under two operators it counts for neither"},
		{"a key under two operators", "operator a key " + idA + "\noperator b key " + idB + " " + idA + "\n", "2:81: this key already belongs to operator a; under two operators it counts for neither"},
		{"a reserved name", "operator signed id " + idA + "\n", `1:10: "signed" is a word of the policy language and cannot be a name`},
		{"a number as name", "operator 7 id " + idA + "\n", `1:10: the name "7" is a number`},
		{"an invisible name", "operator a\u202eb id " + idA + "\n", `1:10: the name "a\u202eb" holds a character that cannot be seen`},
		{"a name that is not UTF-8", "operator a\xff id " + idA + "\n", "1:10: the name is not UTF-8"},
		{"a long name", "operator " + strings.Repeat("n", 65) + " id " + idA + "\n", "1:10: a name has at most 64 bytes, this one has 65"},
		{"a group without members", ops + "group g 1\n", "3:10: the line is `group NAME K|all|any MEMBER... [distinct ATTRIBUTE N] [signed]`"},
		{"a group with only signed", ops + "group g 1 signed\n", "3:9: group g has no members"},
		{"a group that can never be satisfied", ops + "group g 3 a b\n", "3:9: group g can never be satisfied: it needs 3 and has 2 members"},
		{"a group that needs nobody", ops + "group g 0 a b\n", `3:9: a group needs a number from 1, all or any, not "0"`},
		{"a group with an odd number", ops + "group g +1 a b\n", `3:9: a group needs a number from 1, all or any, not "+1"`},
		{"a group of an unknown name", ops + "group g 1 a x\n", `3:13: there is no operator or group "x" before this line`},
		{"a group in itself", ops + "group g 1 a g\n", `3:13: there is no operator or group "g" before this line`},
		{"a group of a later group", ops + "group g 1 h\ngroup h 1 a\n", `3:11: there is no operator or group "h" before this line`},
		{"a member twice", ops + "group g 2 a a\n", "3:13: operator a would vote twice in group g, through a and a; one operator has one vote"},
		{"a member twice through groups", ops + "group g 1 a b\ngroup h 1 a\ngroup i 2 g h\n", "5:13: operator a would vote twice in group i, through g and h; one operator has one vote"},
		{"signed in the middle", ops + "group g 1 signed a\n", "3:11: \"signed\" is not a member; `signed` stands at the end of the line"},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := ParsePolicy("firn.policy", []byte(c.text), readVector)
			if err == nil {
				t.Fatal("it was accepted")
			}
			if !strings.Contains(err.Error(), c.want) {
				t.Errorf("got  %s\nwant %s", err, c.want)
			}
		})
	}
}

func TestPolicyReportsEverythingAtOnce(t *testing.T) {
	text := "log main\noperator a id x\ngroup g 2 a nobody\nrule default need g else perhaps\nveto\n"
	_, err := ParsePolicy("p", []byte(text), readVector)
	var all PolicyErrors
	if !errors.As(err, &all) {
		t.Fatalf("%T: %v", err, err)
	}
	var at []string
	for _, e := range all {
		at = append(at, strings.SplitN(e.Error(), ": ", 2)[0])
	}
	if diff := cmp.Diff([]string{"p:1:5", "p:2:15", "p:3:13", "p:4:26", "p:5:1"}, at); diff != "" {
		t.Errorf("%v\n%s", err, diff)
	}
}

func TestLoadPolicy(t *testing.T) {
	dir := t.TempDir()
	if _, err := LoadPolicy(filepath.Join(dir, "firn.policy")); !errors.Is(err, ErrNoPolicy) {
		t.Errorf("a missing policy: %v", err)
	}
	if err := os.WriteFile(filepath.Join(dir, "firn.policy"), []byte(goodPolicy), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := LoadPolicy(filepath.Join(dir, "firn.policy")); err == nil || !strings.Contains(err.Error(), ":2:15: the log policy of main cannot be read") {
		t.Errorf("a policy whose log policy is missing: %v", err)
	}
	b, err := readVector("main.policy")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "main.policy"), b, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := LoadPolicy(filepath.Join(dir, "firn.policy")); err != nil {
		t.Error(err)
	}
	if _, err := ParsePolicy("p", make([]byte, maxPolicyBytes+1), func(string) ([]byte, error) { return nil, fs.ErrNotExist }); err == nil {
		t.Error("an endless policy was accepted")
	}
}

func FuzzPolicy(f *testing.F) {
	f.Add(goodPolicy)
	f.Add("log main file main.policy url https://log.example optional\nrule default need g else warn\n")
	f.Add("log main file main.policy url https://log.example index index.policy tail 7\noperator a id " + idA + "\ngroup g 1 a\nrule default need g\n")
	f.Add("group g all a b signed\nveto x\n")
	f.Add(richPolicy)
	f.Fuzz(func(t *testing.T, text string) {
		pol, err := ParsePolicy("p", []byte(text), readVector)
		if err != nil {
			var all PolicyErrors
			if !errors.As(err, &all) || len(all) == 0 {
				t.Fatalf("%T: %v", err, err)
			}
			return
		}
		again, err := ParsePolicy("p", []byte(pol.String()), readVector)
		if err != nil {
			t.Fatalf("its own form is refused: %v\n%s", err, pol)
		}
		if again.String() != pol.String() {
			t.Fatalf("its own form changes:\n%s\n%s", pol, again)
		}
	})
}

// The bytes of a cosignature do not say whether its key is that of an auditor. A key that a log policy
// asks for as a witness is none (spec/policy.md#index-policies).
func TestAWitnessInTheQuorumIsNoAuditor(t *testing.T) {
	const (
		vkey = "log " + otherLog + "\n"
		key  = "BFq1jSt8bcN5ew3pMjvAvQxG2uzY6dgIfLVVIhkL9cbD"
		w1   = "witness w1 witness.example/w2+b50aae41+" + key + "\n"
		more = "witness w2 auditor.example/a1+19472625+BHnmXTXcJPPKKdmbkuvj3UNzNq0ijAq94LjDA+IOwLcj\n"
	)
	renamed, err := policy.NewKey("auditor.example/other-name", policy.TypeCosignature, mustKey(t, "witness.example/w2+b50aae41+"+key).Public)
	if err != nil {
		t.Fatal(err)
	}
	a1 := "witness a1 witness.example/w2+b50aae41+" + key + "\nquorum a1\n"
	const refused = "1:61: the auditor a1 of index.policy has the key of the witness w1, whom the quorum of log.policy asks for"
	for what, c := range map[string]struct{ log, index, want string }{
		"the witness":                             {w1 + "quorum w1\n", a1, refused},
		"under another name":                      {w1 + "quorum w1\n", "witness a1 " + renamed.String() + "\nquorum a1\n", refused},
		"one of a group":                          {w1 + more + "group g any w1 w2\nquorum g\n", a1, refused},
		"one of a group in a group":               {w1 + more + "group g any w1\ngroup h all g w2\nquorum h\n", a1, refused},
		"outside the quorum of the index policy":  {w1 + "quorum w1\n", strings.Replace(a1, "quorum a1\n", more+"quorum w2\n", 1), refused},
		"a witness outside the quorum":            {w1 + more + "quorum w2\n", a1, ""},
		"a witness in a group outside the quorum": {w1 + more + "group g any w1\nquorum w2\n", a1, ""},
		"a witness where the quorum is none":      {w1 + "quorum none\n", a1, ""},
		"a key of its own":                        {more + "quorum w2\n", a1, ""},
	} {
		read := func(file string) ([]byte, error) {
			return []byte(vkey + map[string]string{"log.policy": c.log, "index.policy": c.index}[file]), nil
		}
		text := "log main file log.policy url https://log.example.org/ index index.policy\noperator a id " + idA + "\ngroup g any a\nrule default need g\n"
		_, err := ParsePolicy("firn.policy", []byte(text), read)
		if (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", what, err, c.want)
		}
	}
}

func mustKey(t *testing.T, vkey string) policy.Key {
	t.Helper()
	k, err := policy.ParseKey(vkey)
	if err != nil {
		t.Fatal(err)
	}
	return k
}
