package hydra

import (
	"context"
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/firn-log/firn/ingest/cache"
	"github.com/firn-log/firn/ingest/send"
	"github.com/firn-log/firn/internal/bincache"
	"github.com/firn-log/firn/internal/nix"
	"github.com/firn-log/firn/log/logtest"
	"github.com/firn-log/firn/log/statement"
)

// evaluated is when the evaluations of tests were: the day on which tests are.
const evaluated = 1_700_000_000

func storePath(t testing.TB, name string) nix.StorePath {
	t.Helper()
	h := sha256.Sum256([]byte(name))
	p, err := nix.DefaultStoreDir.FromBase(nix.EncodeBase32(h[:20]) + "-" + name)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func secret(name string) nix.SecretKey {
	seed := sha256.Sum256([]byte("seed of " + name))
	return nix.SecretKey{Name: name, Key: ed25519.NewKeyFromSeed(seed[:])}
}

var mine = secret("cache.example-1")

// world is a Hydra with the jobset nixpkgs/trunk, a binary cache, a log, and a
// state to import into.
type world struct {
	t          testing.TB
	hydra, url string
	log        *logtest.Log
	to         *send.Log
	state      string
	now        time.Time

	mu      sync.Mutex
	size    int      // of a page
	evals   []uint64 // newest first
	builds  map[uint64][]map[string]any
	inputs  map[string]any
	files   map[string][]byte // of the cache
	before  func(r *http.Request)
	lies    map[string]http.HandlerFunc // by path and query of a request to the Hydra
	asked   []string
	answers []int
}

func newWorld(t testing.TB) *world {
	l := logtest.New(t)
	w := &world{
		t: t, log: l, state: filepath.Join(t.TempDir(), "state"), now: time.Unix(evaluated+3600, 0), size: 3,
		builds: make(map[uint64][]map[string]any), files: map[string][]byte{"/nix-cache-info": []byte("StoreDir: /nix/store\n")}, lies: make(map[string]http.HandlerFunc),
		inputs: map[string]any{
			"nixpkgs":      map[string]any{"uri": "https://hydra:hunter2@git.example/nixpkgs.git?token=1", "type": "git", "revision": "0123456789012345678901234567890123456789", "value": nil, "dependency": nil},
			"officialOnly": map[string]any{"uri": nil, "type": "boolean", "revision": nil, "value": "false", "dependency": nil},
		},
	}
	w.to = send.Open(&send.Config{}, send.Options{Client: l.Client(""), Signer: func(context.Context, string) (statement.Signer, error) { return logtest.Signer(t, "importer"), nil }})
	h := httptest.NewServer(http.HandlerFunc(w.serveHydra))
	t.Cleanup(h.Close)
	c := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		w.mu.Lock()
		b := w.files[r.URL.Path]
		w.mu.Unlock()
		if b == nil {
			http.NotFound(rw, r)
			return
		}
		rw.Write(b)
	}))
	t.Cleanup(c.Close)
	w.hydra, w.url = h.URL, c.URL
	return w
}

// serveHydra answers in the shapes that a Hydra's JSON API has.
func (w *world) serveHydra(rw http.ResponseWriter, r *http.Request) {
	w.mu.Lock()
	before := w.before
	lie := w.lies[r.URL.RequestURI()]
	w.mu.Unlock()
	if before != nil {
		before(r)
	}
	rec := httptest.NewRecorder()
	if lie != nil {
		lie(rec, r)
	} else {
		w.answer(rec, r)
	}
	w.mu.Lock()
	w.asked, w.answers = append(w.asked, r.URL.RequestURI()), append(w.answers, rec.Code)
	w.mu.Unlock()
	for k, v := range rec.Header() {
		rw.Header()[k] = v
	}
	rw.WriteHeader(rec.Code)
	rw.Write(rec.Body.Bytes())
}

func (w *world) answer(rw *httptest.ResponseRecorder, r *http.Request) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if r.Header.Get("Accept") != "application/json" {
		rw.WriteString("<!DOCTYPE html>")
		return
	}
	var v any
	var id uint64
	switch n, _ := fmt.Sscanf(r.URL.Path, "/eval/%d", &id); {
	case r.URL.Path == "/jobset/nixpkgs/trunk/evals":
		page, _ := strconv.Atoi(r.URL.Query().Get("page"))
		v = w.page(page)
	case n == 1 && strings.HasSuffix(r.URL.Path, "/builds"):
		v = w.builds[id]
	case n == 1 && slices.Contains(w.evals, id):
		v = w.eval(id)
	default:
		http.NotFound(rw, r)
		return
	}
	b, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	tag := fmt.Sprintf(`"%x"`, sha256.Sum256(b))
	rw.Header().Set("ETag", tag)
	if r.Header.Get("If-None-Match") == tag {
		rw.WriteHeader(http.StatusNotModified)
		return
	}
	rw.Write(b)
}

func (w *world) page(n int) any {
	at := min((n-1)*w.size, len(w.evals))
	end := min(at+w.size, len(w.evals))
	list := []any{}
	for _, id := range w.evals[at:end] {
		list = append(list, w.eval(id))
	}
	v := map[string]any{"first": "?page=1", "last": fmt.Sprintf("?page=%d", (len(w.evals)+w.size-1)/w.size), "evals": list}
	if end < len(w.evals) {
		v["next"] = fmt.Sprintf("?page=%d", n+1)
	}
	return v
}

func (w *world) eval(id uint64) any {
	ids := []any{}
	for _, b := range w.builds[id] {
		ids = append(ids, b["id"])
	}
	return map[string]any{
		"id": id, "timestamp": evaluated, "checkouttime": 3, "evaltime": 40, "hasnewbuilds": 1, "flake": nil, "builds": ids, "jobsetevalinputs": w.inputs,
	}
}

// build is a build that has ended; status 0 has outputs that the cache has too.
func (w *world) build(name string, status int) map[string]any {
	out := storePath(w.t, name)
	if status == 0 {
		w.cached(name, mine)
	}
	h := sha256.Sum256([]byte(name))
	return map[string]any{
		"id": int(h[0])<<16 | int(h[1])<<8 | int(h[2]), "finished": 1, "timestamp": evaluated, "starttime": evaluated, "stoptime": evaluated + 60, "project": "nixpkgs", "jobset": "trunk",
		"job": name + ".x86_64-linux", "nixname": name, "system": "x86_64-linux", "priority": 100, "buildstatus": status, "releasename": nil,
		"drvpath": storePath(w.t, name+".drv").String(), "jobsetevals": []int{1, 2}, "buildmetrics": map[string]any{},
		"buildoutputs":  map[string]any{"out": map[string]any{"path": out.String()}},
		"buildproducts": map[string]any{"1": map[string]any{"name": "x", "type": "nix-build", "subtype": "", "path": out.String(), "defaultpath": "", "filesize": nil, "sha256hash": nil}},
	}
}

// cached makes the cache have a path that needs glibc, signed by keys.
func (w *world) cached(name string, keys ...nix.SecretKey) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, n := range []string{name, "glibc"} {
		info := &nix.NarInfo{URL: "nar/x.nar", Compression: "none"}
		info.Path, info.NarHash, info.NarSize = storePath(w.t, n), sha256.Sum256([]byte("nar of "+n)), 1000
		if n != "glibc" {
			info.References = []nix.StorePath{storePath(w.t, "glibc")}
		}
		for _, k := range keys {
			info.Sigs = append(info.Sigs, k.Sign(info.Fingerprint()))
		}
		w.files["/"+info.Path.HashPart()+".narinfo"] = info.Marshal()
	}
}

// add adds an evaluation as the newest, with one build of its own.
func (w *world) add(id uint64, more ...map[string]any) {
	b := append([]map[string]any{w.build(fmt.Sprintf("hello-%d", id), 0)}, more...)
	w.mu.Lock()
	defer w.mu.Unlock()
	w.evals = slices.Insert(w.evals, 0, id)
	w.builds[id] = b
}

func (w *world) run(o Options) (*Summary, error) {
	w.t.Helper()
	j, err := ParseJobsetName("nixpkgs/trunk")
	if err != nil {
		w.t.Fatal(err)
	}
	h, err := Open(w.hydra, bincache.ClientOptions{})
	if err != nil {
		w.t.Fatal(err)
	}
	c, cs, o := w.open(o)
	st, err := OpenState(filepath.Join(w.state, "hydra"), h, j)
	if err != nil {
		w.t.Fatal(err)
	}
	sum, err := Import(w.t.Context(), h, j, c, cs, st, o)
	return sum, errors.Join(err, cs.Close())
}

func (w *world) open(o Options) (*bincache.Client, *cache.State, Options) {
	w.t.Helper()
	c, err := bincache.Open(w.t.Context(), w.url, bincache.ClientOptions{})
	if err != nil {
		w.t.Fatal(err)
	}
	cs, err := cache.OpenState(w.state)
	if err != nil {
		w.t.Fatal(err)
	}
	o.Cache.Log, o.Now = w.to, func() time.Time { return w.now }
	if o.Cache.Keys == nil {
		o.Cache.Keys = cache.Keys{mine.Name: {mine.Public()}}
	}
	return c, cs, o
}

func (w *world) must(o Options) *Summary {
	w.t.Helper()
	sum, err := w.run(o)
	if err != nil {
		w.t.Fatal(err)
	}
	return sum
}

// requests returns what the Hydra was asked since the last call.
func (w *world) requests() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	asked := w.asked
	w.asked, w.answers = nil, nil
	return asked
}

// logged returns the bodies in the log of a kind.
func logged[B statement.Body](w *world) []B {
	w.t.Helper()
	client := w.log.Client("")
	cp, err := client.Checkpoint(w.t.Context())
	if err != nil {
		w.t.Fatal(err)
	}
	var list []B
	for e, err := range client.Entries(w.t.Context(), cp, 0, cp.Size) {
		if err != nil {
			w.t.Fatal(err)
		}
		s, err := statement.Parse(e.Leaf)
		if err != nil {
			w.t.Fatal(err)
		}
		if b, ok := s.Body.(B); ok {
			list = append(list, b)
		}
	}
	return list
}

// numbers returns the evaluations that are stated, in the order of the log.
func (w *world) numbers() []uint64 {
	w.t.Helper()
	var list []uint64
	for _, e := range logged[*statement.Eval](w) {
		list = append(list, e.Number)
	}
	return list
}

// wantStated requires these evaluations to be stated, each once.
func (w *world) wantStated(want ...uint64) {
	w.t.Helper()
	got := w.numbers()
	slices.Sort(got)
	slices.Sort(want)
	if !slices.Equal(got, want) {
		w.t.Errorf("stated are %v, want %v", got, want)
	}
}
