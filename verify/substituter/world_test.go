package substituter

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/klauspost/compress/zstd"

	"github.com/firn-log/firn/internal/nix"
	"github.com/firn-log/firn/log/logtest"
	"github.com/firn-log/firn/log/statement"
	"github.com/firn-log/firn/verify"
)

func secret(name string) nix.SecretKey {
	seed := sha256.Sum256([]byte("seed of " + name))
	return nix.SecretKey{Name: name, Key: ed25519.NewKeyFromSeed(seed[:])}
}

var (
	cacheKey = secret("cache.example-1")
	localKey = secret("this-machine-1")
)

func signer(t testing.TB, what string) statement.Signer {
	t.Helper()
	seed := sha256.Sum256([]byte("firn test key " + what))
	s, err := statement.NewEd25519Signer(ed25519.NewKeyFromSeed(seed[:]))
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// operator is somebody who builds.
type operator struct {
	id       statement.ID
	last     statement.ID
	identity statement.Signer
	build    statement.Signer
}

// world is a log, operators in it, caches, and a substituter between them and Nix.
type world struct {
	t      testing.TB
	log    *logtest.Log
	people map[string]*operator
	caches []*cache
	s      *Substituter
	url    string
	o      Options
	// private keeps upstreams from being called public.
	private bool
	logURL  string // in the policy, if it is not that of log
	logLine string // what the log line has beside

	mu  sync.Mutex
	now time.Time
}

func newWorld(t testing.TB, opts ...logtest.Option) *world {
	w := &world{t: t, log: logtest.New(t, opts...), people: make(map[string]*operator), now: time.Now()}
	w.o = Options{Key: localKey, State: t.TempDir(), Now: w.time, NoSubmit: true}
	w.caches = []*cache{newCache(t)}
	for _, name := range []string{"a", "b", "c"} {
		w.register(name)
	}
	return w
}

func (w *world) time() time.Time {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.now
}

// later moves the clock.
func (w *world) later(d time.Duration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.now = w.now.Add(d)
}

// put logs a statement and states a revision of the index.
func (w *world) put(s *statement.Statement) {
	w.log.Add(s.Leaf())
	w.log.Publish()
	w.log.Revise()
}

func (w *world) sign(s statement.Signer, body statement.Body, prev *statement.ID) *statement.Statement {
	w.t.Helper()
	st, err := statement.Sign(context.Background(), s, body, "", prev)
	if err != nil {
		w.t.Fatal(err)
	}
	return st
}

// say chains a statement of people.
func (w *world) say(o *operator, body statement.Body) {
	var prev *statement.ID
	if !o.last.IsZero() {
		prev = &o.last
	}
	s := w.sign(o.identity, body, prev)
	o.last = s.ID()
	w.put(s)
}

func (w *world) register(name string) {
	o := &operator{identity: signer(w.t, name+" identity"), build: signer(w.t, name+" build")}
	w.say(o, &statement.Operator{Name: name, Contact: name + "@example.org", HomeLog: w.log.Origin(), Identity: o.identity.PublicKey()})
	o.id = o.last
	body, err := statement.ProveKey(context.Background(), o.build, o.id, statement.RoleBuild)
	if err != nil {
		w.t.Fatal(err)
	}
	w.say(o, body)
	w.people[name] = o
}

// modulo is that of the derivation of a name.
func modulo(name string) nix.Hash { return sha256.Sum256([]byte("modulo of " + name)) }

func pathOf(t testing.TB, name string) nix.StorePath {
	t.Helper()
	p, err := nix.OutputPath(storeDir, modulo(name), name, "out")
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// narOf is the NAR of a file with a text.
func narOf(t testing.TB, text string) []byte {
	t.Helper()
	var b bytes.Buffer
	n := nix.NewNarWriter(&b)
	err := n.WriteHeader(&nix.NarHeader{Type: nix.Regular, Size: int64(len(text))})
	if err == nil {
		_, err = n.Write([]byte(text))
	}
	if err == nil {
		err = n.Close()
	}
	if err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// info is what a path of this name with this text is, to those who built it.
func info(t testing.TB, name, text string, refs ...string) *nix.NarInfo {
	t.Helper()
	nar := narOf(t, text)
	n := &nix.NarInfo{}
	n.Path, n.NarHash, n.NarSize = pathOf(t, name), sha256.Sum256(nar), uint64(len(nar))
	for _, r := range refs {
		n.References = append(n.References, pathOf(t, r))
	}
	slices.SortFunc(n.References, nix.StorePath.Compare)
	return n
}

// builds logs that operators got what n says.
func (w *world) builds(names string, n *nix.NarInfo) {
	w.t.Helper()
	w.logBuilds(names, n)
	w.log.Publish()
	w.log.Revise()
}

// logBuilds is builds without publishing it.
func (w *world) logBuilds(names string, n *nix.NarInfo) {
	w.t.Helper()
	w.logBody(names, buildBody(w.t, n))
}

func (w *world) logBody(names string, b *statement.Build) {
	w.t.Helper()
	for _, name := range strings.Fields(names) {
		w.log.Add(w.sign(w.people[name].build, b, nil).Leaf())
	}
}

func buildBody(t testing.TB, n *nix.NarInfo) *statement.Build {
	t.Helper()
	drv, err := storeDir.FromBase("00000000000000000000000000000000-" + n.Path.Name() + ".drv")
	if err != nil {
		t.Fatal(err)
	}
	return &statement.Build{
		DrvPath: drv, DrvHash: nix.Hash{1}, Modulo: modulo(n.Path.Name()), System: "x86_64-linux", StoreDir: storeDir,
		Outputs: []statement.BuildOutput{{Name: "out", Path: n.Path, NarHash: n.NarHash, NarSize: n.NarSize, References: n.References}},
		How:     statement.HowBuilt, Builder: statement.Builder{Implementation: "nix", Version: "2.8.0", Sandbox: true},
		Started: 1_700_000_000, Finished: 1_700_000_001,
	}
}

// cache is an upstream over HTTP that can be told to lie.
type cache struct {
	t   testing.TB
	url string

	mu     sync.Mutex
	files  map[string][]byte
	asked  map[string]int
	down   bool
	before func(file string) // called with mu held
	breaks bool              // NARs end in the middle
}

func newCache(t testing.TB) *cache {
	c := &cache{t: t, files: map[string][]byte{"nix-cache-info": []byte("StoreDir: /nix/store\n")}, asked: make(map[string]int)}
	srv := httptest.NewServer(c)
	t.Cleanup(srv.Close)
	c.url = srv.URL
	return c
}

func (c *cache) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	name := strings.TrimPrefix(r.URL.Path, "/")
	c.mu.Lock()
	c.asked[name]++
	if c.before != nil {
		c.before(name)
	}
	b, down, breaks := c.files[name], c.down, c.breaks && strings.HasPrefix(name, "nar/")
	c.mu.Unlock()
	switch {
	case down:
		http.Error(w, "down", http.StatusTeapot)
	case b == nil:
		http.NotFound(w, r)
	case breaks:
		_, _ = w.Write(b[:len(b)/2])
		panic(http.ErrAbortHandler)
	default:
		_, _ = w.Write(b)
	}
}

func (c *cache) times(name string) int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.asked[name]
}

func (c *cache) set(name string, b []byte) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.files[name] = b
}

func zstdOf(b []byte) []byte {
	e, _ := zstd.NewWriter(nil)
	return e.EncodeAll(b, nil)
}

// pack gives a narinfo a file, and returns that.
func pack(n *nix.NarInfo, nar []byte) []byte {
	file := zstdOf(nar)
	n.Compression, n.URL, n.FileSize = "zstd", "nar/"+n.Path.Name()+".nar.zst", uint64(len(file))
	n.FileHash = nix.Hash(sha256.Sum256(file)).String()
	return file
}

// has makes the cache have a path as n says, signed by keys, with this text in its NAR.
func (c *cache) has(n *nix.NarInfo, text string, keys ...nix.SecretKey) {
	c.t.Helper()
	file := pack(n, narOf(c.t, text))
	n.Sigs = nil
	for _, k := range keys {
		n.Sigs = append(n.Sigs, k.Sign(n.Fingerprint()))
	}
	c.set(n.URL, file)
	c.set(n.Path.HashPart()+".narinfo", n.Marshal())
}

// policy is a text with the operators of the world, its log, its caches, and lines.
func (w *world) policy(lines string) (*verify.Policy, []byte) {
	w.t.Helper()
	var b strings.Builder
	url := w.logURL
	if url == "" {
		url = w.log.URL()
	}
	fmt.Fprintf(&b, "log main file main.policy url %s required max-age 24h %s\n", url, w.logLine)
	for _, name := range []string{"a", "b", "c"} {
		fmt.Fprintf(&b, "operator %s id %s\n", name, w.people[name].id)
	}
	key, err := statement.NewCacheSig(&info(w.t, "x", "x").PathInfo, cacheKey.Public(), cacheKey.Sign(info(w.t, "x", "x").Fingerprint()))
	if err != nil {
		w.t.Fatal(err)
	}
	fmt.Fprintf(&b, "operator cache key %s\n", key.Signer)
	public := ""
	if !w.private {
		public = " public"
	}
	for _, c := range w.caches {
		fmt.Fprintf(&b, "upstream %s key %s%s\n", c.url, cacheKey.Public(), public)
	}
	b.WriteString(lines)
	text := strings.Replace(b.String(), " max-age 24h", map[bool]string{true: " max-age 24h"}[strings.Contains(w.log.PolicyText(), "witness ")], 1)
	pol, err := verify.ParsePolicy("firn.policy", []byte(text), func(name string) ([]byte, error) {
		if name == "index.policy" {
			return []byte(w.log.IndexPolicyText()), nil
		}
		return []byte(w.log.PolicyText()), nil
	})
	if err != nil {
		w.t.Fatalf("%v\n%s", err, text)
	}
	return pol, []byte(text)
}

const (
	rebuildRule = "group two 2 a b c\nrule default need two else rebuild\n"
	refuseRule  = "group two 2 a b c\nrule default need two else refuse\n"
	allowRule   = "group two 2 a b c\nrule default need two else allow\n"
)

// start serves with these lines in the policy.
func (w *world) start(lines string) {
	w.t.Helper()
	pol, text := w.policy(lines)
	s, err := New(pol, text, w.o)
	if err != nil {
		w.t.Fatal(err)
	}
	srv := httptest.NewServer(s.Handler())
	w.s, w.url = s, srv.URL
	w.t.Cleanup(func() { srv.Close(); s.Close() })
}

// get asks the substituter.
func (w *world) get(name string) (status int, body string, err error) {
	w.t.Helper()
	resp, err := http.Get(w.url + "/" + name)
	if err != nil {
		return 0, "", err
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	return resp.StatusCode, string(b), err
}

// narInfo is the answer about a path, which must have that status.
func (w *world) narInfo(p nix.StorePath, want int) string {
	w.t.Helper()
	status, body, err := w.get(p.HashPart() + ".narinfo")
	if err != nil || status != want {
		w.t.Errorf("%s: status %d, want %d: %s%v", p.Name(), status, want, body, err)
	}
	return body
}

// served requires that a path is served, as n says, and returns its narinfo.
func (w *world) served(n *nix.NarInfo) *nix.NarInfo {
	w.t.Helper()
	body := w.narInfo(n.Path, http.StatusOK)
	got, err := nix.ParseNarInfo(storeDir, []byte(body))
	if err != nil {
		w.t.Fatalf("%v: %s", err, body)
	}
	if got.Fingerprint() != n.Fingerprint() || len(got.Sigs) != 1 || !localKey.Public().Verify(n.Fingerprint(), got.Sigs[0]) {
		w.t.Errorf("served %s", body)
	}
	return got
}

// refused requires one line with words.
func (w *world) refused(p nix.StorePath, status int, words ...string) {
	w.t.Helper()
	body := w.narInfo(p, status)
	for _, text := range append(words, "firn: ") {
		if !strings.Contains(body, text) || strings.Count(body, "\n") != 1 {
			w.t.Errorf("%s: %q, want %q", p.Name(), body, text)
		}
	}
}

// cacheKeyText is the key of the cache as Nix reads it.
func cacheKeyText() string {
	return cacheKey.Name + ":" + base64.StdEncoding.EncodeToString(cacheKey.Key)
}
