package federation_test

import (
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/firn-log/firn/federation"
	"github.com/firn-log/firn/log/logtest"
	"github.com/firn-log/firn/witness"
)

// fetch returns status, header and body.
func fetch(t testing.TB, url string) (int, http.Header, string) {
	t.Helper()
	resp, err := http.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, resp.Header, string(b)
}

func TestDistributorServesTheBestCheckpoint(t *testing.T) {
	l := logtest.New(t, logtest.Witnesses(2, 2))
	p := newPeer(t, l.Policy(), l.URL())
	url, hash := serve(t, p), federation.OriginHash(l.Origin())
	wants := func(path string, status int, body string) {
		t.Helper()
		got, header, text := fetch(t, url+path)
		if got != status || body != "" && text != body {
			t.Errorf("GET %s: %d\n%s", path, got, text)
		}
		if got == 200 && !strings.HasPrefix(header.Get("Content-Type"), "text/plain; charset=utf-8") {
			t.Errorf("GET %s: %s", path, header.Get("Content-Type"))
		}
	}
	w1, w2 := l.Policy().Witnesses[0].Key.String(), l.Policy().Witnesses[1].Key.String()
	wants("/"+hash+"/checkpoint", 404, "")
	wants("/readyz", 503, "")
	wants("/healthz", 200, "ok\n")
	ten := grow(l, 0, 10, "leaf")
	p.wants(federation.Larger, ten)
	twenty := only(t, grow(l, 10, 20, "leaf"), "w1")
	p.wants(federation.Larger, twenty)
	wants("/"+hash+"/checkpoint", 200, string(ten))
	wants("/"+hash+"/latest", 200, string(twenty))
	wants("/witness/"+federation.WitnessHash(w1)+"/"+hash+"/checkpoint", 200, string(twenty))
	wants("/witness/"+federation.WitnessHash(w2)+"/"+hash+"/checkpoint", 200, string(ten))
	wants("/readyz", 200, "ok\n")
	// A witness must not take "I would not know" for "there is nothing".
	wants("/witness/"+federation.WitnessHash("x")+"/"+hash+"/checkpoint", 403, "")
	wants("/witness/"+federation.WitnessHash(w1)+"/"+federation.OriginHash("x")+"/checkpoint", 403, "")
	for _, path := range []string{
		"/" + strings.ToUpper(hash) + "/checkpoint", "/" + federation.OriginHash("x") + "/checkpoint", "/" + hash + "/x", "/evidence/" + hash,
		"/mirror/" + hash + "/checkpoint", "/logs/v1", "/x",
	} {
		wants(path, 404, "")
	}
	status, _, list := fetch(t, url+"/logs/v0")
	logs, skipped, err := witness.ParseLogList([]byte(list))
	if status != 200 || err != nil || len(skipped) > 0 || len(logs) != 1 || logs[0].Origin != l.Origin() {
		t.Errorf("logs/v0: %d %v %v\n%s", status, logs, err, list)
	}
	status, header, page := fetch(t, url+"/")
	if status != 200 || !strings.Contains(page, l.Origin()) || !strings.Contains(page, "No evidence is held") || header.Get("Content-Security-Policy") == "" {
		t.Errorf("status page: %d\n%s", status, page)
	}
	resp, err := http.Post(url+"/"+hash+"/checkpoint", "text/plain", strings.NewReader(string(ten)))
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if resp.StatusCode != http.StatusMethodNotAllowed {
		t.Errorf("POST: %d", resp.StatusCode)
	}
}

func TestStatusPageShowsGossipAndWitnesses(t *testing.T) {
	a, b := fork(t, 10, logtest.Witnesses(3, 1))
	p := newPeer(t, a.Policy(), a.URL(), b.URL())
	p.wants(federation.Larger, only(t, a.Publish(), "w2"))
	p.wants(federation.Larger, only(t, grow(a, 10, 20, "a"), "w1"))
	s := &federation.Server{Hub: p.Hub, Name: "<peer>"}
	page := func() string {
		rec := httptest.NewRecorder()
		s.Handler().ServeHTTP(rec, httptest.NewRequest(http.MethodGet, "/", nil))
		if csp := rec.Header().Get("Content-Security-Policy"); !strings.HasPrefix(csp, "default-src 'none'; style-src") || strings.Contains(rec.Body.String(), "<script") {
			t.Errorf("policy %q", csp)
		}
		return rec.Body.String()
	}
	shows := func(page string, want ...string) {
		t.Helper()
		for _, w := range want {
			if !strings.Contains(page, w) {
				t.Errorf("the page does not say %q:\n%s", w, page)
			}
		}
	}
	shows(page(), "does not gossip", "10 entries behind", "never", "&lt;peer&gt;")
	s.Gossip = func() *federation.Gossip {
		return &federation.Gossip{ID: "self", Accepted: 5, Ignored: 6, Rejected: 7, Published: 8, Peers: []federation.GossipPeer{
			{ID: "one", Connected: true}, {ID: "two", ShutOut: true}, {ID: "three", Connected: true, Bad: true},
		}}
	}
	p.wants(federation.Forked, only(t, grow(b, 10, 20, "b"), "w1"))
	shows(page(), "Connected with 2 of 3 peers", "1 shut out", "5 passed on, 6 ignored", "7 rejected", "8 of its own", "sent bad messages",
		"Somebody showed two histories.", "cosigned two histories: does not count")
}

func TestEvidenceIsServedAndShown(t *testing.T) {
	a, b := fork(t, 10)
	p := newPeer(t, a.Policy(), a.URL(), b.URL())
	p.wants(federation.Larger, grow(a, 10, 20, "a"))
	p.wants(federation.Forked, grow(b, 10, 30, "b"))
	url := serve(t, p)
	all, err := p.Evidence()
	if err != nil || len(all) != 1 {
		t.Fatal(len(all), err)
	}
	if status, _, text := fetch(t, url+"/evidence/"+all[0].Hash); status != 200 || text != string(all[0].Bytes) {
		t.Errorf("%d\n%s", status, text)
	}
	if status, _, text := fetch(t, url+"/evidence"); status != 200 || !strings.Contains(text, all[0].Hash) || !strings.Contains(text, `"schema":1`) {
		t.Errorf("%d\n%s", status, text)
	}
	if _, _, page := fetch(t, url+"/"); !strings.Contains(page, "showed two histories") || !strings.Contains(page, all[0].Hash) {
		t.Errorf("status page:\n%s", page)
	}
	if _, _, list := fetch(t, url+"/logs/v0"); strings.Contains(list, a.Origin()) {
		t.Errorf("a convicted log is recommended:\n%s", list)
	}
}

func TestMirrorServesOnlyTheTree(t *testing.T) {
	l := logtest.New(t)
	p := newPeer(t, l.Policy(), l.URL())
	m := newMirror(t, p, l.URL())
	p.wants(federation.Larger, grow(l, 0, 300, "leaf"))
	if err := m.Pull(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(m.dir, "tile", "0", ".firn-tmp-1"), []byte("secret"), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(m.dir, "..", "secret"), []byte("secret"), 0o644); err != nil {
		t.Fatal(err)
	}
	base := serve(t, p, m.Mirror) + "/mirror/" + federation.OriginHash(l.Origin())
	for path, kind := range map[string]string{
		"/checkpoint": "text/plain; charset=utf-8", "/tile/0/000": "application/octet-stream", "/tile/0/001.p/44": "application/octet-stream",
		"/tile/entries/000": "application/octet-stream",
	} {
		status, header, body := fetch(t, base+path)
		want, err := os.ReadFile(filepath.Join(l.Dir(), path))
		if status != 200 || err != nil || body != string(want) || header.Get("Content-Type") != kind {
			t.Errorf("%s: %d %s", path, status, header.Get("Content-Type"))
		}
		if immutable := strings.Contains(header.Get("Cache-Control"), "immutable"); immutable == (path == "/checkpoint") {
			t.Errorf("%s: %s", path, header.Get("Cache-Control"))
		}
	}
	for _, path := range []string{
		"/tile/0/.firn-tmp-1", "/..%2fsecret", "/tile/%2e%2e/%2e%2e/secret", "/tile", "/tile/", "/tile/0", "/tile/0/000.p", "/tile/0/000.p/0", "/tile/0/0",
		"/tile/64/000", "/tile/00/000", "/tile/0/x000", "/lock", "",
	} {
		if status, _, body := fetch(t, base+path); status != 404 || strings.Contains(body, "secret") {
			t.Errorf("%s: %d %s", path, status, body)
		}
	}
}

func TestHubRefusesOptionsThatCannotWork(t *testing.T) {
	l := logtest.New(t)
	p := newPeer(t, l.Policy(), l.URL())
	twice := p.o
	twice.Logs = append(twice.Logs, twice.Logs...)
	none := p.o
	none.Evidence = nil
	odd := p.o
	odd.Logs = []federation.Log{{Policy: l.Policy(), Origin: l.Origin(), URLs: []string{"ftp://x"}}}
	for _, o := range []federation.Options{twice, none, odd} {
		if _, err := federation.NewHub(o); err == nil {
			t.Error("no error")
		}
	}
	if _, err := p.AddEvidence([]byte("x"), "test"); err == nil || errors.Is(err, federation.ErrConvicted) {
		t.Errorf("error %v", err)
	}
}
