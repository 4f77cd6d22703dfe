package witness

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/firn-log/firn/log/policy"
	"github.com/firn-log/firn/witness/sample"
)

var (
	alpha = sample.New("alpha.example/log")
	beta  = sample.New("beta.example/key")

	goodList = `#
# List: a test
#
logs/v0

vkey ` + alpha.Key.String() + `
origin none
qpd 86400
bastion none
contact alpha (at) example.org

vkey ` + beta.Key.String() + `
origin beta.example/other
qpd 24
contact https://beta.example/
`
)

func TestALogListIsRead(t *testing.T) {
	logs, skipped, err := ParseLogList([]byte(goodList))
	if err != nil || len(skipped) > 0 || len(logs) != 2 {
		t.Fatalf("%v, %v, %v", logs, skipped, err)
	}
	if l := logs[0]; l.Origin != "alpha.example/log" || l.QPD != 86400 || l.Contact != "alpha (at) example.org" {
		t.Errorf("%+v", l)
	}
	if l := logs[1]; l.Origin != "beta.example/other" || l.Keys[0].Name != "beta.example/key" || l.QPD != 24 {
		t.Errorf("%+v", l)
	}
}

func TestABrokenLogListIsRefusedWithItsLine(t *testing.T) {
	for name, tt := range map[string]struct{ list, want string }{
		"empty":              {"", "no line logs/v0"},
		"another form":       {strings.Replace(goodList, "logs/v0", "logs/v1", 1), `line 4: "logs/v1"`},
		"a page of HTML":     {"<!doctype html>\n", "line 1"},
		"a word before vkey": {"logs/v0\nqpd 3\n", `line 2: "qpd" before a vkey`},
		"a word twice":       {strings.Replace(goodList, "bastion none", "qpd 3", 1), `line 9: a second "qpd"`},
		"qpd no number":      {strings.Replace(goodList, "86400", "many", 1), "line 8: qpd"},
		"qpd with a sign":    {strings.Replace(goodList, "86400", "+3", 1), "line 8: qpd"},
		"CRLF":               {strings.ReplaceAll(goodList, "\n", "\r\n"), "line 1: a control character"},
		"not UTF-8":          {goodList + "\xff", "not UTF-8"},
		"too long":           {goodList + strings.Repeat("#", MaxList), "longer than"},
	} {
		logs, _, err := ParseLogList([]byte(tt.list))
		if err == nil || !strings.Contains(err.Error(), tt.want) || logs != nil {
			t.Errorf("%s: %v, %v; want %q", name, logs, err, tt.want)
		}
	}
}

func TestLogsThatCannotBeServedAreLeftOut(t *testing.T) {
	witnessKey := want(policy.NewKey("w", policy.TypeCosignature, alpha.Key.Public))(t)
	list := strings.Replace(goodList, alpha.Key.String(), "alpha.example/log+00000000+AAAA", 1)
	list += "\nvkey " + witnessKey.String() + "\nqpd 1\n\nvkey " + sample.New("gamma").Key.String() + "\nqpd 0\n\nvkey " + beta.Key.String() + "\norigin beta.example/other\n"
	logs, skipped, err := ParseLogList([]byte(list))
	if err != nil || len(logs) != 1 || len(skipped) != 4 {
		t.Errorf("%v, %v, %v; want one log and four left out", logs, skipped, err)
	}
}

func TestListsAddAndNeverChange(t *testing.T) {
	w := newWorld(t)
	added, differ, err := w.UpdateLogs(want3(ParseLogList([]byte(goodList)))(t))
	if err != nil || len(added) != 2 || len(differ) != 0 {
		t.Fatalf("%v, %v, %v", added, differ, err)
	}
	alpha.Grow(5)
	if status, _, err := w.AddCheckpoint(t.Context(), alpha.Request(0, 5)); status != 200 {
		t.Fatalf("status %d, %v", status, err)
	}
	thief := sample.New("thief.example/key")
	other := []Log{
		{Origin: testOrigin, Keys: []policy.Key{thief.Key}},
		{Origin: alpha.Origin, Keys: []policy.Key{thief.Key}, QPD: 1},
	}
	check := func() {
		t.Helper()
		added, differ, err = w.UpdateLogs(other)
		if err != nil || len(added) != 0 || len(differ) != 2 {
			t.Fatalf("%v, %v, %v; want two that differ", added, differ, err)
		}
		w.must(403, sample.Body(5, alpha.Proof(5, 5), thief.SignedNote(alpha.Text(5))))
		if got := w.known(alpha.Origin).QPD; got != 86400 {
			t.Errorf("qpd %d", got)
		}
	}
	check()
	// Not after a restart either, and an empty list takes nothing away.
	w.again()
	check()
	if _, _, err := w.UpdateLogs(nil); err != nil || len(w.Logs()) != 3 {
		t.Errorf("%d logs, %v; want 3", len(w.Logs()), err)
	}
	if _, _, err := w.UpdateLogs([]Log{{Origin: "x"}}); err == nil {
		t.Error("a log without a key was added")
	}
	twice := Log{Origin: "twice.example", Keys: []policy.Key{thief.Key}}
	if added, _, err := w.UpdateLogs([]Log{twice, twice}); err != nil || len(added) != 1 {
		t.Errorf("%v, %v; want it added once", added, err)
	}
	w.again()
}

func TestAListThatCannotBeKeptAddsNothing(t *testing.T) {
	w := newWorld(t)
	if err := os.Mkdir(filepath.Join(w.dir, listsName), 0o755); err != nil {
		t.Fatal(err)
	}
	if added, _, err := w.UpdateLogs(want3(ParseLogList([]byte(goodList)))(t)); err == nil || len(added) > 0 || len(w.Logs()) != 1 {
		t.Errorf("%v, %v", added, err)
	}
}

// want3 is want for three values of which the second must be empty.
func want3[T any](v T, skipped []error, err error) func(testing.TB) T {
	return func(t testing.TB) T {
		t.Helper()
		if err != nil || len(skipped) > 0 {
			t.Fatal(skipped, err)
		}
		return v
	}
}

func TestBudgetOfALog(t *testing.T) {
	w := newWorld(t)
	w.logs[0].QPD = 4
	w.again()
	w.cosigned(w.log.Request(0, 3))
	for range 3 {
		w.must(409, w.log.Request(0, 3))
	}
	w.must(429, w.log.Request(3, 5))
	_, _, err := w.AddCheckpoint(t.Context(), w.log.Request(3, 5))
	if r := refusalOf(err); r.RetryAfter < 5*time.Hour || r.RetryAfter > 7*time.Hour {
		t.Errorf("come back in %v, want about six hours", r.RetryAfter)
	}
	// What the log has not signed takes nothing from it.
	w.pass(6*time.Hour + time.Second)
	for range 10 {
		w.must(403, sample.Body(3, nil, beta.SignedNote(w.log.Text(5))))
	}
	w.cosigned(w.log.Request(3, 5))
	w.must(429, w.log.Request(5, 6))
	w.pass(-100 * time.Hour)
	w.must(429, w.log.Request(5, 6))
	w.pass(30 * time.Hour)
	w.cosigned(w.log.Request(5, 6))
}

func TestAnotherLogsBudgetIsItsOwn(t *testing.T) {
	w := newWorld(t)
	w.logs[0].QPD = 1
	beta.Grow(3)
	w.logs = append(w.logs, Log{Origin: beta.Origin, Keys: []policy.Key{beta.Key}, QPD: 1})
	w.again()
	w.cosigned(w.log.Request(0, 3))
	w.must(429, w.log.Request(3, 5))
	w.must(200, beta.Request(0, 3))
	if fmt.Sprint(w.Logs()[0].Origin) != beta.Origin {
		t.Error("logs are not in order")
	}
}
