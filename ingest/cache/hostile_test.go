package cache

import (
	"crypto/sha256"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	"github.com/firn-log/firn/internal/bincache"
	"github.com/firn-log/firn/internal/bincache/cachetest"
	"github.com/firn-log/firn/internal/nix"
	"github.com/firn-log/firn/log/statement"
)

// A cache that makes paths up without end costs no more than a bound.
func TestMadeUpClosureEnds(t *testing.T) {
	f := cachetest.New(t)
	var mu sync.Mutex
	made := make(map[string]string) // by file; guarded by mu
	name := func(s string) string { made[cachetest.FileOf(cachetest.Path(t, s))] = s; return s }
	f.Put(cachetest.NarInfo(t, "app", []string{name("a")}, cachetest.Mine))
	handler := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		s, ok := made[strings.TrimPrefix(r.URL.Path, "/")]
		var n *nix.NarInfo
		if ok {
			n = cachetest.NarInfo(t, s, []string{name(s + "a"), name(s + "b")}, cachetest.Secret("key-of-"+s))
		}
		mu.Unlock()
		if !ok {
			f.ServeHTTP(w, r)
			return
		}
		w.Write(n.Marshal())
	})
	srv := httptest.NewServer(handler)
	defer srv.Close()
	c, err := bincache.Open(t.Context(), srv.URL, bincache.ClientOptions{})
	if err != nil {
		t.Fatal(err)
	}
	w := newWorld(t)
	sum := w.must(c, Options{mostHearsay: 50, mostNames: 20}, "app")
	if sum.Accepted != 1 || sum.Paths != 52 || len(sum.Unlisted) != 20 {
		t.Errorf("%d accepted, %d paths, %d names", sum.Accepted, sum.Paths, len(sum.Unlisted))
	}
	text := fmt.Sprint(sum.Problems)
	if !strings.Contains(text, "the cache has named 50 paths in this run") || !strings.Contains(text, "more than 20 keys that are not listed") {
		t.Error(text)
	}
}

// A narinfo full of signatures costs little, and leaves a journal that can be read.
func TestNarInfoFullOfSignatures(t *testing.T) {
	f := cachetest.New(t)
	n := cachetest.NarInfo(t, "app", nil, cachetest.Mine)
	for i := range 200_000 {
		n.Sigs = append(n.Sigs, fmt.Sprintf("k%d:AAAA", i))
	}
	f.Put(n)
	w := newWorld(t)
	sum := w.must(open(t, f), Options{}, "app")
	wantTroubles(t, sum, map[Trouble]string{Failed: "it bears 200001 signatures, of which 100 were looked at"})
	if len(sum.Unlisted) != maxSigs-1 || sum.Accepted != 1 {
		t.Errorf("%d names, %d accepted", len(sum.Unlisted), sum.Accepted)
	}
	st, err := OpenState(w.state)
	if err != nil || st.Dropped > 0 {
		t.Fatalf("%v, %d bytes dropped", err, st.Dropped)
	}
	st.Close()
}

// The NAR of what nobody listed has signed is not read: nothing bounds it.
func TestNarsThatNobodySignedAreNotRead(t *testing.T) {
	f := cachetest.New(t)
	n := cachetest.NarInfo(t, "app", nil, cachetest.Secret("other.example-1"))
	n.NarSize = 1 << 60
	f.Put(n)
	asked := false
	f.Before = func(name string) { asked = asked || strings.HasPrefix(name, "nar/") }
	w := newWorld(t)
	wantTroubles(t, w.must(open(t, f), Options{CheckNars: true}, "app"), nil)
	if asked {
		t.Error("the NAR was asked for")
	}
}

// With CheckNars a NAR that is not what was signed is told of, and what was
// signed is sent all the same.
func TestNarsAreChecked(t *testing.T) {
	f := cachetest.New(t)
	good, bad := cachetest.NarInfo(t, "app", nil), cachetest.NarInfo(t, "bad", []string{"app"}, cachetest.Mine)
	good.NarHash = sha256.Sum256(make([]byte, 1000))
	good.Sigs = []string{cachetest.Mine.Sign(good.Fingerprint())}
	f.Put(good)
	f.Put(bad)
	f.Files["nar/app.nar"], f.Files["nar/bad.nar"] = make([]byte, 1000), make([]byte, 1000)
	w := newWorld(t)
	sum := w.must(open(t, f), Options{CheckNars: true}, "bad")
	wantTroubles(t, sum, map[Trouble]string{Lie: "the NAR is not what its narinfo says: its hash is"})
	if sum.Accepted != 2 {
		t.Errorf("%+v", sum)
	}
}

// What a cache makes up is nothing that the importer signs and pays for.
func TestOnlyWhatIsSignedIsObserved(t *testing.T) {
	f := cachetest.New(t)
	f.Add("app", "lib", "forged")
	f.Put(cachetest.NarInfo(t, "lib", nil))
	forged := cachetest.NarInfo(t, "forged", nil, cachetest.Mine)
	forged.NarSize++
	f.Put(forged)
	signer, err := statement.NewEd25519Signer(cachetest.Secret("importer").Key)
	if err != nil {
		t.Fatal(err)
	}
	w := newWorld(t)
	w.must(open(t, f), Options{Observer: signer}, "app")
	if list := w.logged(statement.KindObserved); len(list) != 1 || list[0].Body.(*statement.Observed).Path != cachetest.Path(t, "app") {
		t.Errorf("%d observed statements", len(list))
	}
}
