package store

import (
	"fmt"
	"testing"

	"github.com/firn-log/firn/log/logtest"
	"github.com/firn-log/firn/tracker/eval"
	"github.com/firn-log/firn/verify"
)

// testPolicy names three operators of the worlds, one of them by a cache key, and both logs.
func testPolicy(t testing.TB) *verify.Policy {
	t.Helper()
	return policyOf(t, "rule fod fod need either else refuse\nrule default need both else refuse\n")
}

// policyOf is testPolicy with other rules.
func policyOf(t testing.TB, rules string) *verify.Policy {
	t.Helper()
	key := cacheSig(t, "cache0", spec{name: "x"}).Signer
	text := "log a file a.policy url https://a.example\nlog b file b.policy url https://b.example optional\n"
	for i := range 2 {
		text += fmt.Sprintf("operator op%d id %s\n", i, newPerson(t, fmt.Sprint("op", i)).id)
	}
	text += fmt.Sprintf("operator cache key %s\n", key)
	text += "group both all op0 op1\ngroup either any op0 op1\n" + rules
	p, err := verify.ParsePolicy("firn.policy", []byte(text), func(file string) ([]byte, error) {
		l := logtest.New(t, logtest.Origin(map[string]string{"a.policy": logA, "b.policy": logB}[file]))
		return []byte(l.PolicyText()), nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// Which rule is that of an output depends on its name, also if only the build tells its path, and on its
// system only if all evaluations say the same of that.
func TestTheRuleOfAnOutput(t *testing.T) {
	const strictNames = "rule c name glibc* need both\nrule default need either\n"
	const laxSystem = "rule s system aarch64-linux need either\nrule default need both\n"
	plain, ca := spec{name: "glibc-2", what: "same"}, spec{name: "glibc-3", what: "same", ca: true}
	tests := []struct {
		name, rules string
		of          spec
		systems     []string
		want        State
	}{
		{"by name", strictNames, plain, []string{"x86_64-linux"}, Missing},
		{"by name, of a content-addressed output", strictNames, ca, []string{"x86_64-linux"}, Missing},
		{"by another name, of a content-addressed output", "rule c name hello* need both\nrule default need either\n", ca, []string{"x86_64-linux"}, Agree},
		{"by path, of a content-addressed output", "rule p path " + ca.body(t).Outputs[0].Path.String() + " need both\nrule default need either\n", ca, []string{"x86_64-linux"}, Missing},
		{"by system", laxSystem, plain, []string{"aarch64-linux"}, Agree},
		{"by system, which no evaluation has", laxSystem, plain, nil, Missing},
		{"by system, of which evaluations differ", laxSystem, plain, []string{"aarch64-linux", "x86_64-linux"}, Missing},
		{"by system, of which three evaluations differ", laxSystem, plain, []string{"x86_64-linux", "aarch64-linux", "aarch64-linux"}, Missing},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			op := newPerson(t, "op0")
			db := openSQLite(t, Options{Policy: policyOf(t, tt.rules), PolicyName: "test"})
			add(t, db, logA, entries(0, op.first, op.add, op.builds(tt.of)))
			for i, system := range tt.systems {
				evaluate(t, db, evaluation{header(fmt.Sprint("c", i), 1, eval.Drvs, true), []eval.Attribute{
					{Attr: "a", Drv: tt.of.drv(), System: system, Outputs: tt.of.paths(t)},
				}})
			}
			if o := stateOf(t, db, tt.of); o.State != tt.want {
				t.Errorf("state %d, want %d: %s", o.State, tt.want, o.Reason)
			}
		})
	}
}
