package substituter

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/klauspost/compress/zstd"

	"github.com/firn-log/firn/internal/nix"
)

// Each test is named after what somebody does to a machine, and shows the refusal
// (spec/threats.md).

// nar asks for a NAR and requires that it does not arrive whole.
func (w *world) narRefused(url string, whole []byte) {
	w.t.Helper()
	status, body, err := w.get(url)
	if status == http.StatusOK && err == nil && body == string(whole) {
		w.t.Errorf("%s arrived whole", url)
	}
	if status == http.StatusOK && err == nil {
		w.t.Errorf("%s looks whole: %d bytes", url, len(body))
	}
}

func TestPoisonedNar(t *testing.T) {
	long := strings.Repeat("text of some length ", 50_000)
	for name, honest := range map[string]bool{"with the hash of the honest file": true, "with its own hash": false} {
		for _, text := range []string{"text", long} {
			t.Run(name, func(t *testing.T) {
				w := newWorld(t)
				n := info(t, "app", text)
				w.caches[0].has(n, text, cacheKey)
				w.builds("a b", n)
				poison := narOf(t, strings.Replace(text, "text", "evil", 1))
				if honest {
					w.caches[0].set(n.URL, zstdOf(poison))
				} else {
					w.caches[0].set(n.URL, pack(n, poison))
					w.caches[0].set(n.Path.HashPart()+".narinfo", n.Marshal())
				}
				w.start(refuseRule)
				w.narRefused(w.served(n).URL, poison)
			})
		}
	}
}

// A file that unpacks to the right NAR and is not the one that the narinfo names is none of ours.
func TestFileOfAnotherHash(t *testing.T) {
	w := newWorld(t)
	n := info(t, "app", "text")
	w.caches[0].has(n, "text", cacheKey)
	w.builds("a b", n)
	e, err := zstd.NewWriter(nil, zstd.WithEncoderLevel(zstd.SpeedBestCompression), zstd.WithEncoderCRC(false))
	if err != nil {
		t.Fatal(err)
	}
	other := e.EncodeAll(narOf(t, "text"), nil)
	n.FileSize = uint64(len(other))
	w.caches[0].set(n.Path.HashPart()+".narinfo", n.Marshal())
	w.caches[0].set(n.URL, other)
	w.start(refuseRule)
	w.narRefused(w.served(n).URL, narOf(t, "text"))
}

func TestReplayedOldNarInfo(t *testing.T) {
	w := newWorld(t)
	now, old := info(t, "app", "text"), info(t, "app", "text with a hole")
	w.caches[0].has(old, "text with a hole", cacheKey) // which it signed once
	w.builds("a b", now)
	w.start(rebuildRule)
	w.refused(old.Path, 404, "contradicted", "a claims another hash")
}

func TestNarInfoOfAnotherPath(t *testing.T) {
	w := newWorld(t)
	n, other := info(t, "app", "text"), info(t, "other", "text")
	w.caches[0].has(n, "text", cacheKey)
	w.caches[0].has(other, "text", cacheKey)
	w.builds("a b", n)
	w.builds("a b", other)
	w.caches[0].set(n.Path.HashPart()+".narinfo", other.Marshal())
	w.start(refuseRule)
	w.refused(n.Path, 500, "the cache answered about "+other.Path.Base())
	// The same hash part and another name.
	named := *n
	named.Path, _ = storeDir.FromBase(n.Path.HashPart() + "-app2")
	w.caches[0].has(&named, "text", cacheKey)
	w.refused(named.Path, 500, "untrusted, 2 of 3 needed, 0 found")
}

func TestAlteredReferences(t *testing.T) {
	w := newWorld(t)
	n := info(t, "app", "text", "lib")
	w.builds("a b", n)
	n.References = nil
	w.caches[0].has(n, "text", cacheKey)
	w.start(refuseRule)
	w.refused(n.Path, 500, "contradicted", "a claims other references")
}

func TestAlteredNarSize(t *testing.T) {
	w := newWorld(t)
	n := info(t, "app", "text")
	w.builds("a b", n)
	n.NarSize++
	w.caches[0].has(n, "text", cacheKey)
	w.start(refuseRule)
	w.refused(n.Path, 500, "contradicted", "a claims another size")
}

func TestUpstreamChangesBetweenNarInfoAndNar(t *testing.T) {
	w := newWorld(t)
	n := info(t, "app", "text")
	w.caches[0].has(n, "text", cacheKey)
	w.builds("a b", n)
	w.start(refuseRule)
	url := w.served(n).URL
	evil := info(t, "app", "evil")
	w.caches[0].has(evil, "evil", cacheKey) // under the same names
	w.narRefused(url, narOf(t, "evil"))
	w.refused(n.Path, 500, "had a wrong NAR of it")
	w.later(blameFor)
	w.refused(n.Path, 500, "a claims another hash")
	w.narRefused(url, narOf(t, "evil"))
	if status, body, _ := w.get("nar/" + narName(evil)); status == 200 {
		t.Errorf("served as what it is: %s", body)
	}
}

// Nix asks for a NAR by the name that it remembers; another one is not given in its place.
func TestNarOfAnotherDecision(t *testing.T) {
	w := newWorld(t)
	n := info(t, "app", "text")
	w.caches[0].has(n, "text", cacheKey)
	w.start(allowRule)
	url := w.served(n).URL
	next := info(t, "app", "next")
	w.caches[0].has(next, "next", cacheKey)
	w.s.store.drop(hashOf(t, n.Path))
	if status, body, _ := w.get(url); status != 500 || !strings.Contains(body, "is not what it was when Nix asked about it") {
		t.Errorf("%d %s", status, body)
	}
}

func hashOf(t *testing.T, p nix.StorePath) hashPart {
	h, ok := parseHashPart(p.HashPart())
	if !ok {
		t.Fatal(p)
	}
	return h
}

func TestAllowWithAnUnsignedUpstream(t *testing.T) {
	for name, keys := range map[string][]nix.SecretKey{"no signature": nil, "a key that is not listed": {secret("other.example-1")}} {
		for _, lines := range []string{allowRule, strings.Replace(allowRule, "allow", "warn", 1), "rule default need nothing else allow\n"} {
			t.Run(name, func(t *testing.T) {
				w := newWorld(t)
				n := info(t, "app", "text")
				w.caches[0].has(n, "text", keys...)
				w.start(lines)
				w.refused(n.Path, 500, "only with a signature by a key that the policy lists for "+w.caches[0].url)
			})
		}
	}
	// A signature of something else is none.
	w := newWorld(t)
	n := info(t, "app", "text")
	w.caches[0].has(n, "text", cacheKey)
	n.Sigs = []string{cacheKey.Sign(info(t, "app", "other").Fingerprint())}
	w.caches[0].set(n.Path.HashPart()+".narinfo", n.Marshal())
	w.start(allowRule)
	w.refused(n.Path, 500, "only with a signature")
}

// Nix 2.8 to 2.34 count two signatures by one key as two.
func TestOneKeySignsTwice(t *testing.T) {
	w := newWorld(t)
	n := info(t, "app", "text")
	w.caches[0].has(n, "text", cacheKey, cacheKey)
	again := secret("cache.example-2") // the same key by another name
	again.Key = cacheKey.Key
	n.Sigs = append(n.Sigs, again.Sign(n.Fingerprint()))
	w.caches[0].set(n.Path.HashPart()+".narinfo", n.Marshal())
	w.o.NoSubmit = false
	w.start("group cached 2 cache a signed\nrule default need cached else refuse\n")
	w.refused(n.Path, 500, "2 of 2 needed, 1 found")
	// And what is served bears one signature, whatever the upstream sent.
	w = newWorld(t)
	w.caches[0].set("nix-cache-info", []byte("StoreDir: /nix/store\n"))
	w.caches[0].has(n, "text", cacheKey, cacheKey)
	w.builds("a b", n)
	w.start(refuseRule)
	w.served(n)
}

func TestRevocationAfterAWarmDecision(t *testing.T) {
	w := newWorld(t)
	n := info(t, "app", "text")
	w.caches[0].has(n, "text", cacheKey)
	w.builds("a b", n)
	w.start(refuseRule)
	url := w.served(n).URL
	w.revoke("b")
	w.served(n) // for as long as decisions count
	w.later(10 * time.Minute)
	w.narRefused(url, narOf(t, "text")) // Nix may ask for that alone
	w.refused(n.Path, 500, "2 of 3 needed, 1 found")
	w.narRefused(url, narOf(t, "text"))
}

func TestRebindingHostHeader(t *testing.T) {
	w := newWorld(t)
	n := info(t, "app", "text")
	w.caches[0].has(n, "text", cacheKey)
	w.builds("a b", n)
	w.o.Hosts = []string{"builder.lan"}
	w.start(refuseRule)
	for host, want := range map[string]int{
		"evil.example": 421, "evil.example:80": 421, "": 200, "localhost": 200, "LOCALHOST:1": 200, "[::1]:7": 200, "127.0.0.1": 200, "builder.lan": 200,
		"127.0.0.1.evil.example": 421, "localhost.": 421, "x@localhost": 421,
	} {
		for _, name := range []string{n.Path.HashPart() + ".narinfo", "status.json", ""} {
			req, err := http.NewRequest(http.MethodGet, w.url+"/"+name, nil)
			if err != nil {
				t.Fatal(err)
			}
			if host != "" {
				req.Host = host
			}
			resp, err := http.DefaultClient.Do(req)
			if err != nil {
				t.Fatal(err)
			}
			resp.Body.Close()
			if resp.StatusCode != want {
				t.Errorf("host %q, %q: %d, want %d", host, name, resp.StatusCode, want)
			}
		}
	}
}

// A page in a browser may ask without reading the answer.
func TestPageOfAnotherSiteMakesNothingHappen(t *testing.T) {
	w := newWorld(t)
	n := info(t, "app", "text")
	w.caches[0].has(n, "text", cacheKey)
	w.builds("a b", n)
	w.start(refuseRule)
	for site, want := range map[string]int{"cross-site": 403, "same-site": 403, "same-origin": 200, "none": 200} {
		for _, name := range []string{n.Path.HashPart() + ".narinfo", "status.json", ""} {
			req, err := http.NewRequest(http.MethodGet, w.url+"/"+name, nil)
			if err != nil {
				t.Fatal(err)
			}
			req.Header.Set("Sec-Fetch-Site", site)
			resp, err := http.DefaultClient.Do(req)
			if err != nil {
				t.Fatal(err)
			}
			resp.Body.Close()
			if resp.StatusCode != want {
				t.Errorf("%s, %q: %d, want %d", site, name, resp.StatusCode, want)
			}
		}
	}
}

// A content address that a narinfo names is believed only if the path follows from it.
func TestMadeUpContentAddress(t *testing.T) {
	w := newWorld(t)
	n := info(t, "app", "text")
	n.CA = "fixed:r:sha256:" + nix.EncodeBase32(n.NarHash[:])
	w.caches[0].has(n, "text", cacheKey)
	w.start("group two 2 a b c\nrule fixed fod need nothing else allow\nrule default need two else refuse\n")
	w.refused(n.Path, 500, "2 of 3 needed")
	real := info(t, "source", "text")
	ca := nix.ContentAddress{Method: nix.Recursive, Algo: "sha256", Hash: real.NarHash[:]}
	var err error
	if real.Path, err = nix.FixedOutputPath(storeDir, "source", ca, nix.Refs{}); err != nil {
		t.Fatal(err)
	}
	real.CA = ca.String()
	w.caches[0].has(real, "text", cacheKey)
	if got := w.served(real); got.CA != real.CA {
		t.Errorf("served with %q", got.CA)
	}
	// Where a rule lets it in, it comes without the address.
	pol, text := w.policy(allowRule)
	if err := w.s.SetPolicy(pol, text); err != nil {
		t.Fatal(err)
	}
	if got := w.served(n); got.CA != "" {
		t.Errorf("served with %q", got.CA)
	}
	pol, text = w.policy("group two 2 a b c\nrule fixed fod need nothing else allow\nrule default need two else refuse\n")
	if err := w.s.SetPolicy(pol, text); err != nil {
		t.Fatal(err)
	}
	// The path follows from the address, and the content is another.
	poison := info(t, "source", "poison")
	poison.Path, poison.CA = real.Path, real.CA
	w.caches[0].has(poison, "poison", cacheKey)
	w.s.store.drop(hashOf(t, real.Path))
	w.refused(real.Path, 500, "2 of 3 needed")
}

// A cache that names paths without end costs a bounded number of questions.
func TestMadeUpClosure(t *testing.T) {
	w := newWorld(t)
	names := map[string]string{}
	c := w.caches[0]
	n := func(name string) []byte {
		p := info(t, name, "text", name+"a", name+"b")
		for _, r := range []string{"a", "b"} {
			names[pathOf(t, name+r).HashPart()+".narinfo"] = name + r
		}
		p.URL, p.Compression = "nar/x", "none"
		return p.Marshal()
	}
	c.set(pathOf(t, "p").HashPart()+".narinfo", n("p"))
	c.before = func(file string) {
		if name, ok := names[file]; ok && len(name) < 10 {
			c.files[file] = n(name)
		}
	}
	w.start(refuseRule)
	w.s.ahead = 40
	w.narInfo(pathOf(t, "p"), 500)
	w.s.Close()
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.asked) > 45 {
		t.Errorf("%d files were asked for", len(c.asked))
	}
}

func FuzzDecision(f *testing.F) {
	n := info(f, "app", "text", "lib")
	pack(n, narOf(f, "text"))
	d := &decision{info: n, upstream: "https://cache.example", verdict: 4, reason: "x", rule: "default", at: time.Unix(1, 2), answers: []byte{1}}
	f.Add(d.encode())
	f.Fuzz(func(t *testing.T, b []byte) {
		d, err := decodeDecision(storeDir, b)
		if err != nil {
			return
		}
		again, err := decodeDecision(storeDir, d.encode())
		if err != nil || string(again.encode()) != string(d.encode()) {
			t.Errorf("%q: %v", b, err)
		}
	})
}
