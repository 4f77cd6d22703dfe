package server

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/firn-log/firn/log"
	"github.com/firn-log/firn/log/index"
	"github.com/firn-log/firn/log/lookup"
	"github.com/firn-log/firn/log/policy"
	"github.com/firn-log/firn/log/server/sample"
	"github.com/firn-log/firn/log/statement"
)

// However little fits in one answer, a client that goes on asking gets all of it.
func TestAnswersThatAreCutShortAddUp(t *testing.T) {
	t.Parallel()
	l := newQuickLog(t, nil)
	alice, bob := l.operator("alice"), l.operator("bob")
	for i := range 6 {
		l.must(alice.Claim(sample.Again(1, i)), bob.Claim(sample.Again(1, 10+i)), alice.Claim(sample.Build(2+i)))
	}
	pol := want(policy.Parse([]byte("log " + l.VKey() + "\nquorum none\n")))(t)
	key := alice.Build.PublicKey().ID()
	keys := []string{index.Out(sample.Build(1).Outputs[0].Path), "out:/nix/store/nothing", "key:" + key.String(), index.Out(sample.Build(3).Outputs[0].Path)}
	l.settle()
	ask := func(signers []statement.KeyID) (found []string) {
		a, err := want(log.NewClient(l.http.URL, pol, log.Options{}))(t).Lookup(t.Context(), log.Query{Keys: keys, Signers: signers})
		if err != nil {
			t.Fatal(err)
		}
		for _, k := range keys {
			for _, f := range a.Of(k) {
				found = append(found, fmt.Sprint(k, f.Index, f.Leaf != nil))
			}
		}
		return found
	}
	for _, signers := range [][]statement.KeyID{nil, {key}, {}} {
		l.room.entries, l.room.bytes = lookup.MaxItems, lookup.MaxLeaves
		all := ask(signers)
		if len(all) != 12+13+1 { // the key-add names alice's key
			t.Fatalf("%d entries: %q", len(all), all)
		}
		for _, room := range []struct{ entries, bytes int }{{1, lookup.MaxLeaves}, {5, lookup.MaxLeaves}, {lookup.MaxItems, 1}, {lookup.MaxItems, 3000}, {12, 1}} {
			l.room = room
			if got := ask(signers); fmt.Sprint(got) != fmt.Sprint(all) {
				t.Errorf("%d signers, room for %+v: %q, want %q", len(signers), room, got, all)
			}
		}
	}
}

// A question about the index is limited before anything waits for an answer to it.
func TestQuestionsAboutTheIndexAreLimitedBeforeTheyWait(t *testing.T) {
	t.Parallel()
	l := newQuickLog(t, nil)
	l.grow("alice", 2)
	l.settle()
	at, _, _ := l.mapper.answer()
	hash := strings.Repeat("0", 64)
	ask := func(size uint64, f func(http.ResponseWriter, *http.Request) error) error {
		r := httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/?key="+hash+"&prefix="+hash, nil)
		r.RemoteAddr = "192.0.2.1:1"
		r.SetPathValue("size", strconv.FormatUint(size, 10))
		return f(httptest.NewRecorder(), r)
	}
	code := func(err error) string {
		var e *httpError
		if errors.As(err, &e) {
			return e.code
		}
		return fmt.Sprint(err)
	}
	now := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	limit := func(perMinute int) {
		l.limits = newLimits(LimitsConfig{LeavesPerMinute: uint64(perMinute)}, func() time.Time { return now })
	}
	for name, f := range map[string]func(http.ResponseWriter, *http.Request) error{"trie": l.getTrie, "list": l.getList} {
		limit(olderCost + 2*newestCost)
		for i, c := range []struct {
			size uint64
			want string
		}{
			{at.revision.size, ""},
			{at.revision.size - 1, "no-such-revision"}, // an older one costs more
			{at.revision.size, ""},
			{at.revision.size, "too-many-requests"},
		} {
			if got := code(ask(c.size, f)); got != c.want && !(c.want == "" && (got == "<nil>" || got == "no-such-key")) {
				t.Errorf("%s: question %d: %q, want %q", name, i, got, c.want)
			}
		}
		l.mapper.set(nil, nil) // nothing to answer with: it would be waited for
		if got := code(ask(at.revision.size, f)); got != "too-many-requests" {
			t.Errorf("%s without an index: %q", name, got)
		}
		l.mapper.set(at, nil)
	}
}

// A prefix below which there are too many keys is refused with the length that is not, and that is answered.
func TestPrefixesThatAreTooShortAreRefusedWithALengthThatIsNot(t *testing.T) {
	t.Parallel()
	l := newQuickLog(t, nil)
	o := l.operator("alice")
	const n = index.MaxPrefixKeys/2 + 20 // builds with a path and a derivation each
	for i := 0; i < n; i += 200 {
		l.must(o.Builds(i, min(i+200, n))...)
	}
	l.settle()
	ask := func(bits int) (int, string) {
		body := fmt.Sprintf(`{"prefix":{"bits":%d,"prefix":"%s"},"signers":[]}`, bits, strings.Repeat("0", 64))
		resp := want(http.Post(l.http.URL+"/v1/lookup", "application/json", strings.NewReader(body)))(t)
		defer resp.Body.Close()
		return resp.StatusCode, string(want(io.ReadAll(resp.Body))(t))
	}
	at, _, _ := l.mapper.answer()
	enough := index.MinPrefixBits(at.revision.size)
	status, body := ask(0)
	if status != http.StatusBadRequest || !strings.Contains(body, `"prefix-too-short"`) || !strings.Contains(body, fmt.Sprintf("at least %d", enough)) {
		t.Errorf("0 bits: %d %s", status, body)
	}
	if status, body := ask(enough); status != http.StatusOK {
		t.Errorf("%d bits: %d %.200s", enough, status, body)
	}
}

// What is no question is refused as one, whatever it is; what is one is within its bounds.
func FuzzReadLookup(f *testing.F) {
	f.Add([]byte(`{"keys":[{"key":"a","from":1,"to":2},{"key":"b"}],"signers":["` + strings.Repeat("0a", 32) + `"],"tail":true}`))
	f.Add([]byte(`{"prefix":{"bits":4,"prefix":"` + strings.Repeat("0", 64) + `"},"signers":[]}`))
	f.Add([]byte(`{"keys":[]}{}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		r := httptest.NewRequest(http.MethodPost, "/v1/lookup", bytes.NewReader(b))
		q, err := readLookup(httptest.NewRecorder(), r)
		if err != nil {
			var e *httpError
			if !errors.As(err, &e) || e.status != http.StatusBadRequest || e.code != "bad-lookup" {
				t.Fatal(err)
			}
			return
		}
		if q.byPrefix == (len(q.keys) > 0) || len(q.keys) > lookup.MaxKeys || index.CheckPrefix(q.bits, q.prefix) != nil {
			t.Fatalf("%+v", q)
		}
		for _, k := range q.keys {
			if len(k.Key) > lookup.MaxKeyBytes || k.To != 0 && k.To <= k.From {
				t.Fatalf("%+v", k)
			}
		}
	})
}
