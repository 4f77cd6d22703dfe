package cache

import (
	"context"
	"crypto/sha256"
	"errors"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/firn-log/firn/internal/bincache"
	"github.com/firn-log/firn/internal/bincache/cachetest"
	"github.com/firn-log/firn/internal/nix"
	"github.com/firn-log/firn/internal/testreq"
	"github.com/firn-log/firn/log/logtest"
	"github.com/firn-log/firn/log/statement"
)

// small is a closure of four paths: app needs lib and doc, both need base.
func small(t testing.TB) *cachetest.Cache {
	f := cachetest.New(t)
	f.Add("app", "app", "lib", "doc")
	f.Add("lib", "base")
	f.Add("doc", "base")
	f.Add("base")
	return f
}

func TestWholeClosureIsLoggedOnceAndNotAskedForAgain(t *testing.T) {
	w, f := newWorld(t), small(t)
	sum := w.must(open(t, f), Options{}, "app")
	if sum.Paths != 4 || sum.Fetched != 4 || sum.Accepted != 4 || sum.Proven == 0 || len(sum.Problems) != 0 {
		t.Errorf("first run: %+v", sum)
	}
	if n := f.Requests(); n != 4 {
		t.Errorf("%d requests for 4 paths", n)
	}
	var got []string
	for _, s := range w.logged(statement.KindCacheSig) {
		b := s.Body.(*statement.CacheSig)
		if err := s.Verify(*s.SignerKey); err != nil {
			t.Error(err)
		}
		got = append(got, b.Path.Name())
	}
	slices.Sort(got)
	if !slices.Equal(got, []string{"app", "base", "doc", "lib"}) {
		t.Errorf("logged %v", got)
	}
	sum = w.must(open(t, f), Options{}, "app", "lib")
	if sum.Paths != 4 || sum.Known != 4 || sum.Fetched+sum.Accepted+sum.Duplicates != 0 || f.Requests() != 0 {
		t.Errorf("second run: %+v", sum)
	}
	sum = w.must(open(t, f), Options{Recheck: true}, "app")
	if sum.Fetched != 4 || sum.Accepted+sum.Duplicates != 0 || f.Requests() != 4 {
		t.Errorf("run with recheck: %+v", sum)
	}
}

// Every narinfo of the corpus comes into the log whole, and verifies there again.
func TestCorpusIsImportedWhole(t *testing.T) {
	b, err := os.ReadFile(filepath.Join(testreq.Corpus(t), "narinfo", "signed.txt"))
	if err != nil {
		t.Fatal(err)
	}
	f := cachetest.New(t)
	var roots Roots
	for _, text := range strings.Split(strings.TrimRight(string(b), "\n"), "\n\n") {
		n, err := nix.ParseNarInfo(nix.DefaultStoreDir, []byte(text+"\n"))
		if err != nil {
			t.Fatal(err)
		}
		f.Files[cachetest.FileOf(n.Path)] = []byte(text + "\n")
		roots.Paths = append(roots.Paths, n.Path)
	}
	keys, err := ParseKeys([]string{"cache.nixos.org-1:6NCHdD59X431o0gWypbMrAURkbJ16ZPMQFGspcDShjY="})
	if err != nil {
		t.Fatal(err)
	}
	w := newWorld(t)
	sum, err := w.runRoots(open(t, f), Options{Keys: keys}, roots)
	if err != nil {
		t.Fatal(err)
	}
	if sum.Fetched != 499 || sum.Accepted != 499 || sum.Troubles[Lie]+sum.Troubles[Failed]+sum.Troubles[SetAside] != 0 {
		t.Errorf("%+v", sum)
	}
	logged := w.logged(statement.KindCacheSig)
	if len(logged) != 499 {
		t.Errorf("%d statements are logged", len(logged))
	}
	for _, s := range logged {
		if err := s.Verify(*s.SignerKey); err != nil {
			t.Errorf("%v: %v", s.Body.(*statement.CacheSig).Path, err)
		}
	}
}

func TestNothingIsSentThatWasNotVerified(t *testing.T) {
	other := cachetest.Secret("other.example-1")
	stranger := cachetest.Secret("cache.example-1") // the same name
	stranger.Key = other.Key
	f := cachetest.New(t)
	f.Add("app", "forged", "unlisted", "unsigned", "swapped", "both")
	f.Put(cachetest.NarInfo(t, "forged", nil, stranger))
	f.Put(cachetest.NarInfo(t, "unlisted", nil, other))
	f.Put(cachetest.NarInfo(t, "unsigned", nil))
	f.Put(cachetest.NarInfo(t, "both", nil, cachetest.Mine, other, cachetest.Mine))
	swapped := cachetest.NarInfo(t, "swapped", nil, cachetest.Mine)
	swapped.NarHash[0] ^= 1
	f.Put(swapped)
	w := newWorld(t)
	sum := w.must(open(t, f), Options{}, "app")
	wantTroubles(t, sum, map[Trouble]string{Lie: "the signature by cache.example-1 is wrong"})
	if sum.Troubles[Lie] != 2 || sum.Accepted != 2 || sum.NoSignature != 4 || sum.Unlisted["other.example-1"] != 2 {
		t.Errorf("%+v", sum)
	}
	var got []string
	for _, s := range w.logged(statement.KindCacheSig) {
		got = append(got, s.Body.(*statement.CacheSig).Path.Name())
	}
	slices.Sort(got)
	if !slices.Equal(got, []string{"app", "both"}) {
		t.Errorf("logged %v", got)
	}
	// What was wrong is looked at again, what was only not listed is not.
	f.Requests()
	w.must(open(t, f), Options{}, "app")
	if n := f.Requests(); n != 2 {
		t.Errorf("%d requests in the second run, want the 2 that were wrong", n)
	}
	// A key that is listed now has its say.
	both := Keys{cachetest.Mine.Name: {cachetest.Mine.Public()}, other.Name: {other.Public()}}
	sum = w.must(open(t, f), Options{Keys: both}, "app")
	if sum.Accepted != 2 || f.Requests() != 4 {
		t.Errorf("with another key: %+v", sum)
	}
}

func TestAnswersThatAreNotWhatWasAskedFor(t *testing.T) {
	page := func(w http.ResponseWriter, _ *http.Request) {
		w.Write([]byte("\n<!DOCTYPE html><html>Log in here</html>\n"))
	}
	tests := []struct {
		name    string
		lie     http.HandlerFunc
		trouble Trouble
		want    string
	}{
		{"another path", func(w http.ResponseWriter, _ *http.Request) {
			w.Write(cachetest.NarInfo(t, "evil", nil, cachetest.Mine).Marshal())
		}, Lie, "the cache answered about"},
		{"the same hash with another name", func(w http.ResponseWriter, _ *http.Request) {
			n := cachetest.NarInfo(t, "lib", nil)
			n.Path, _ = nix.DefaultStoreDir.FromBase(n.Path.HashPart() + "-evil")
			n.Sigs = []string{cachetest.Mine.Sign(n.Fingerprint())}
			w.Write(n.Marshal())
		}, Lie, "-evil"},
		{"half a file", func(w http.ResponseWriter, _ *http.Request) {
			w.Write(cachetest.NarInfo(t, "lib", nil, cachetest.Mine).Marshal()[:200])
		}, Failed, "the last line does not end"},
		{"a page", page, Failed, "web page in place of a narinfo"},
		{"10 GiB announced", func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", "10737418240")
			w.WriteHeader(200)
		}, Failed, "announces 10737418240 bytes"},
		{"no end", func(w http.ResponseWriter, _ *http.Request) {
			for chunk := []byte(strings.Repeat("Sig: a:b\n", 10000)); ; {
				if _, err := w.Write(chunk); err != nil {
					return
				}
			}
		}, Failed, "sends more than the 4194304 bytes"},
		{"a loop", func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, r.URL.Path, http.StatusFound) }, Failed, "redirects in a loop"},
		{"a long way", func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, r.URL.Path+"?"+r.URL.RawQuery+"x", http.StatusFound)
		}, Failed, "redirects more than 5 times"},
		{"a file", func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Location", "file:///etc/passwd")
			w.WriteHeader(http.StatusFound)
		}, Failed, "not http or https"},
		{"nothing", http.NotFound, Missing, "the cache does not have it, and /nix/store/"},
		{"a closed bucket", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusForbidden) }, Missing, "does not have it"},
		{"a refusal", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusTeapot) }, Failed, "answers 418"},
		{"no content", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNoContent) }, Failed, "answers 204"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			w, f := newWorld(t), small(t)
			f.Lie("lib", tt.lie)
			sum := w.must(open(t, f), Options{}, "app")
			wantTroubles(t, sum, map[Trouble]string{tt.trouble: tt.want})
			if n := f.Requests(); n > 4+5 {
				t.Errorf("%d requests", n)
			}
			if sum.Accepted != 3 || sum.Paths != 4 {
				t.Errorf("the rest of the closure was not brought: %+v", sum)
			}
			// The next run asks for what is missing, and for nothing else.
			f.Requests()
			delete(f.Lies, cachetest.FileOf(cachetest.Path(t, "lib")))
			if sum = w.must(open(t, f), Options{}, "app"); sum.Accepted != 1 || f.Requests() != 1 {
				t.Errorf("after the cache was mended: %+v", sum)
			}
		})
	}
}

func TestRootThatIsNotThereFails(t *testing.T) {
	w, f := newWorld(t), small(t)
	sum := w.must(open(t, f), Options{}, "nothing", "app")
	wantTroubles(t, sum, map[Trouble]string{Failed: cachetest.Path(t, "nothing").String() + ": the cache does not have it"})
	if sum.Accepted != 4 {
		t.Errorf("%+v", sum)
	}
}

func TestWhatIsNoCache(t *testing.T) {
	for name, tt := range map[string]struct {
		info http.HandlerFunc
		want string
	}{
		"no nix-cache-info": {http.NotFound, "is not a binary cache: it has no nix-cache-info"},
		"a page":            {func(w http.ResponseWriter, _ *http.Request) { w.Write([]byte("<html>")) }, "it answered with a web page"},
		"prose":             {func(w http.ResponseWriter, _ *http.Request) { w.Write([]byte("hello\n")) }, `"hello" is not "Name: value"`},
		"a bad store":       {func(w http.ResponseWriter, _ *http.Request) { w.Write([]byte("StoreDir: /nix/../etc\n")) }, "not a store directory"},
		"two stores":        {func(w http.ResponseWriter, _ *http.Request) { w.Write([]byte("StoreDir: /a/b\nStoreDir: /a/c\n")) }, "more than one StoreDir"},
	} {
		t.Run(name, func(t *testing.T) {
			f := cachetest.New(t)
			f.Lies["nix-cache-info"] = tt.info
			if _, err := bincache.Open(t.Context(), f.URL, bincache.ClientOptions{}); err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got %v, want %q", err, tt.want)
			}
		})
	}
	for _, url := range []string{"", "cache.example", "ftp://cache.example", "file://elsewhere/cache", "http://", "s3://bucket"} {
		if err := bincache.CheckURL(url); err == nil {
			t.Errorf("%q is an address of a cache", url)
		}
	}
	w, f := newWorld(t), cachetest.New(t)
	f.Files["nix-cache-info"] = []byte("StoreDir: /gnu/store\n")
	if _, err := w.run(open(t, f), Options{}, "app"); err == nil || !strings.Contains(err.Error(), "is not in /gnu/store") {
		t.Errorf("a path of another store: %v", err)
	}
}

// A key that signs two contents for one path is shown, and both are logged.
func TestKeyThatContradictsItself(t *testing.T) {
	w, f := newWorld(t), small(t)
	w.must(open(t, f), Options{}, "app")
	n := cachetest.NarInfo(t, "base", nil)
	n.NarHash = sha256.Sum256([]byte("other content"))
	n.Sigs = []string{cachetest.Mine.Sign(n.Fingerprint())}
	other := cachetest.New(t)
	other.Put(n)
	sum := w.must(open(t, other), Options{}, "base")
	wantTroubles(t, sum, map[Trouble]string{Contradiction: "the key cache.example-1 contradicts itself: it signed sha256:"})
	if sum.Accepted != 1 || sum.Contradictions != 1 {
		t.Errorf("%+v", sum)
	}
	both := 0
	for _, s := range w.logged(statement.KindCacheSig) {
		if s.Body.(*statement.CacheSig).Path.Name() == "base" {
			both++
		}
	}
	if both != 2 {
		t.Errorf("%d statements about the path are logged", both)
	}
	// It is told once, and not forgotten.
	sum = w.must(open(t, other), Options{Recheck: true}, "base")
	if sum.Contradictions != 1 || len(sum.Problems) != 0 {
		t.Errorf("later: %+v", sum)
	}
}

// A run that ends at any point is resumed: nothing is lost, and nothing twice.
func TestInterruptedRunIsResumed(t *testing.T) {
	for after := 1; after <= 4; after++ {
		w, f := newWorld(t), small(t)
		ctx, cancel := context.WithCancel(t.Context())
		asked := 0
		f.Before = func(name string) {
			if strings.HasSuffix(name, ".narinfo") {
				if asked++; asked == after {
					cancel()
				}
			}
		}
		c, st := open(t, f), openState(t, w.state)
		_, err := Import(ctx, c, st, Roots{Paths: []nix.StorePath{cachetest.Path(t, "app")}}, Options{Keys: w.keys, Log: w.to, Jobs: 1})
		if err2 := st.Close(); err == nil || err2 != nil {
			t.Fatalf("interrupted: %v, %v", err, err2)
		}
		f.Before = nil
		sum := w.must(c, Options{}, "app")
		if logged := w.logged(statement.KindCacheSig); len(logged) != 4 || sum.Paths != 4 {
			t.Errorf("interrupted after %d: %d statements, %+v", after, len(logged), sum)
		}
	}
}

// What the log acknowledged and nobody remembered is sent again, and found there.
func TestLostStateCostsOnlyTime(t *testing.T) {
	w, f := newWorld(t), small(t)
	w.must(open(t, f), Options{}, "app")
	if err := os.RemoveAll(w.state); err != nil {
		t.Fatal(err)
	}
	sum := w.must(open(t, f), Options{}, "app")
	if sum.Duplicates != 4 || sum.Accepted != 0 || len(w.logged(statement.KindCacheSig)) != 4 {
		t.Errorf("%+v", sum)
	}
}

func TestLogThatDoesNotListTheKey(t *testing.T) {
	w, f := newWorld(t), small(t)
	w.log.Lie(func(l *logtest.Lies) {
		l.Edit = func(path string, status int, body []byte) (int, []byte) {
			if path != "v1/statements" {
				return status, body
			}
			n := strings.Count(string(body), `"status"`)
			one := `{"status":"rejected","error":"unlisted-cache","message":"The key is not listed."}`
			return http.StatusOK, []byte(`{"schema":1,"results":[` + strings.TrimSuffix(strings.Repeat(one+",", n), ",") + `]}`)
		}
	})
	sum, err := w.run(open(t, f), Options{}, "app")
	var refused *RefusedError
	if !errors.As(err, &refused) || refused.Code != "unlisted-cache" {
		t.Fatalf("got %v", err)
	}
	if sum.Troubles[Rejected] == 0 {
		t.Errorf("%+v", sum)
	}
	w.log.Lie(func(l *logtest.Lies) { l.Edit = nil })
	if sum := w.must(open(t, f), Options{}, "app"); sum.Paths != 4 || sum.Known != 0 {
		t.Errorf("after the log lists it: %+v", sum)
	}
}

// A log that acknowledges and does not publish is noticed.
func TestLogThatDoesNotProve(t *testing.T) {
	w, f := newWorld(t), small(t)
	w.log.Lie(func(l *logtest.Lies) {
		l.Edit = func(path string, status int, body []byte) (int, []byte) {
			if path == "v1/proof" {
				return http.StatusNotFound, []byte(`{"schema":1,"error":"not-found","message":"There is no such statement."}`)
			}
			return status, body
		}
	})
	if _, err := w.run(open(t, f), Options{}, "app"); err == nil || !strings.Contains(err.Error(), "the log does not prove it") {
		t.Errorf("got %v", err)
	}
}

func TestObservedIsTheImportersOwnStatement(t *testing.T) {
	w, f := newWorld(t), cachetest.New(t)
	n := cachetest.NarInfo(t, "app", nil, cachetest.Mine)
	n.Deriver = cachetest.Path(t, "app.drv")
	f.Put(n)
	signer, err := statement.NewEd25519Signer(cachetest.Secret("importer").Key)
	if err != nil {
		t.Fatal(err)
	}
	w.must(open(t, f), Options{Observer: signer}, "app")
	list := w.logged(statement.KindObserved)
	if len(list) != 1 {
		t.Fatalf("%d observed statements", len(list))
	}
	b := list[0].Body.(*statement.Observed)
	if b.Cache != f.URL || *b.Deriver != n.Deriver || b.NarHash != n.NarHash || b.Seen == 0 || list[0].Signer != signer.PublicKey().ID() {
		t.Errorf("%+v", b)
	}
	sum := w.must(open(t, f), Options{Observer: signer}, "app")
	if sum.Accepted+sum.Duplicates != 0 {
		t.Errorf("observed twice: %+v", sum)
	}
	// A run that ended before it remembered makes the same statement again.
	st := openState(t, w.state+"2")
	at := st.seenAt(st.cache(f.URL, nix.DefaultStoreDir), st.path(n.Path), 1_700_000_000)
	if err := st.Close(); err != nil || at != 1_700_000_000 {
		t.Fatal(err)
	}
	w.state += "2"
	w.must(open(t, f), Options{Observer: signer}, "app")
	list = w.logged(statement.KindObserved)
	if len(list) != 2 || list[1].Body.(*statement.Observed).Seen != 1_700_000_000 {
		t.Errorf("the time of the first try is forgotten: %+v", list[len(list)-1].Body)
	}
}

func TestFolderIsListed(t *testing.T) {
	dir := t.TempDir()
	write := func(name string, b []byte) {
		if err := os.WriteFile(filepath.Join(dir, name), b, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	write("nix-cache-info", []byte("StoreDir: /nix/store\n"))
	for _, n := range []*nix.NarInfo{cachetest.NarInfo(t, "app", []string{"lib"}, cachetest.Mine), cachetest.NarInfo(t, "lib", nil, cachetest.Mine), cachetest.NarInfo(t, "alone", nil, cachetest.Mine)} {
		write(cachetest.FileOf(n.Path), n.Marshal())
	}
	write("README.narinfo", []byte("not one"))
	c, err := bincache.Open(t.Context(), "file://"+dir+"/?compression=zstd", bincache.ClientOptions{})
	if err != nil {
		t.Fatal(err)
	}
	w := newWorld(t)
	sum, err := w.runRoots(c, Options{}, Roots{All: true})
	if err != nil || sum.Paths != 3 || sum.Fetched != 3 || sum.Accepted != 3 || len(sum.Problems) != 0 {
		t.Errorf("%+v, %v", sum, err)
	}
	if sum, err = w.runRoots(c, Options{}, Roots{All: true}); err != nil || sum.Known != 3 || sum.Fetched != 0 {
		t.Errorf("again: %+v, %v", sum, err)
	}
	// A file that is about another path than its name says is told of.
	write(cachetest.FileOf(cachetest.Path(t, "moved")), cachetest.NarInfo(t, "elsewhere", nil, cachetest.Mine).Marshal())
	sum, err = w.runRoots(c, Options{}, Roots{All: true})
	if err != nil || sum.Accepted != 0 {
		t.Errorf("a file with another name: %+v, %v", sum, err)
	}
	wantTroubles(t, sum, map[Trouble]string{Lie: cachetest.Path(t, "moved").HashPart() + ": asked for"})
	// A link out of the folder is not followed.
	if err := os.Symlink("/etc/passwd", filepath.Join(dir, cachetest.FileOf(cachetest.Path(t, "out")))); err != nil {
		t.Fatal(err)
	}
	if sum = w.must(c, Options{}, "out"); sum.Troubles[Failed] != 1 {
		t.Errorf("a link out of the folder: %+v", sum)
	}
	if _, err := w.runRoots(open(t, cachetest.New(t)), Options{}, Roots{All: true}); err == nil || !strings.Contains(err.Error(), "cannot be listed") {
		t.Errorf("listing a cache over HTTP: %v", err)
	}
}

func TestKeysAreReadStrictly(t *testing.T) {
	good := cachetest.Mine.Public().String()
	for _, bad := range []string{"", "nothing", "x:AAAA", "a/b" + strings.TrimPrefix(good, cachetest.Mine.Name)} {
		if _, err := ParseKeys([]string{good, bad}); err == nil {
			t.Errorf("%q is a key", bad)
		}
	}
	keys, err := ParseKeys([]string{good, good})
	if err != nil || len(keys[cachetest.Mine.Name]) != 1 {
		t.Errorf("%v, %v", keys, err)
	}
}
