package store

import (
	"fmt"
	"testing"

	"github.com/firn-log/firn/log/logtest"
	"github.com/firn-log/firn/verify"
)

// testPolicy names three operators of the worlds, one of them by a cache key, and both logs.
func testPolicy(t testing.TB) *verify.Policy {
	t.Helper()
	key := cacheSig(t, "cache0", spec{name: "x"}).Signer
	text := "log a file a.policy url https://a.example\nlog b file b.policy url https://b.example optional\n"
	for i := range 2 {
		text += fmt.Sprintf("operator op%d id %s\n", i, newPerson(t, fmt.Sprint("op", i)).id)
	}
	text += fmt.Sprintf("operator cache key %s\n", key)
	text += "group both all op0 op1\ngroup either any op0 op1\nrule fod fod need either else refuse\nrule default need both else refuse\n"
	p, err := verify.ParsePolicy("firn.policy", []byte(text), func(file string) ([]byte, error) {
		l := logtest.New(t, logtest.Origin(map[string]string{"a.policy": logA, "b.policy": logB}[file]))
		return []byte(l.PolicyText()), nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return p
}
