package rebuild

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/firn-log/firn/internal/nix"
	"github.com/firn-log/firn/log"
	"github.com/firn-log/firn/log/logtest"
	"github.com/firn-log/firn/log/statement"
)

// A fixed-output derivation gets any variable of Nix that it asks for, and a network.
func TestARoomHasNoSecretsOfItsUser(t *testing.T) {
	n := &program{env: []string{
		"PATH=/bin", "LC_ALL=C", "https_proxy=http://proxy", "NIX_CONF_DIR=/etc/nix", "NIX_SSL_CERT_FILE=/ca",
		"AWS_SECRET_ACCESS_KEY=s", "GITHUB_TOKEN=s", "SSH_AUTH_SOCK=/s", "CREDENTIALS_DIRECTORY=/s", "NIX_REMOTE=daemon", "NIX_STORE_DIR=/s", "HOME=/s", "TMPDIR=/s",
		"XDG_RUNTIME_DIR=/s", insideEnv + "=s",
	}}
	want := []string{"USER=firn", "PATH=/bin", "LC_ALL=C", "https_proxy=http://proxy", "NIX_CONF_DIR=/etc/nix", "NIX_SSL_CERT_FILE=/ca"}
	if got := n.environ(); !slices.Equal(got, want) {
		t.Errorf("%q", got)
	}
}

func TestWordsOfABuilderAreVisible(t *testing.T) {
	if got := plain("\x1b[31mred\x1b[0m \x1b]0;owned\x07 \u009b2J \u202etxt\r\nline\ttwo\n"); got != "red ?]0;owned? ?2J ?txt?\nline\ttwo" {
		t.Errorf("%q", got)
	}
}

// blobLog serves a log with blobs, and counts how often they are asked for and how many bytes go out.
func blobLog(t *testing.T, v *vouching, blobs func(nix.Hash) []byte) (c *log.Client, asked, sent *atomic.Int64) {
	t.Helper()
	asked, sent = new(atomic.Int64), new(atomic.Int64)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		hex, ok := strings.CutPrefix(r.URL.Path, "/v1/blob/")
		if !ok {
			v.l.Handler().ServeHTTP(w, r)
			return
		}
		asked.Add(1)
		h, err := nix.ParseHex(hex)
		b := blobs(h)
		if err != nil || b == nil {
			http.NotFound(w, r)
			return
		}
		sent.Add(int64(len(b)))
		_, _ = w.Write(b)
	}))
	t.Cleanup(server.Close)
	c, err := log.NewClient(server.URL, v.l.Policy(), log.Options{Memory: log.NewMemory("")})
	if err != nil {
		t.Fatal(err)
	}
	return c, asked, sent
}

// Of the lists of an operator only those are fetched that work is taken from.
func TestListsAreFetchedWhenWorkIsTakenFromThem(t *testing.T) {
	root := t.TempDir()
	s := newDrvStore(t, root)
	v := newVouching(t)
	v.operator("alice")
	lists := make(map[nix.Hash][]byte)
	var drvs []nix.StorePath
	for i := range 5 {
		p := s.add(fmt.Sprintf("app%d", i))
		s.write(p)
		drvs = append(drvs, p)
		digest := statement.PathsDigest([]nix.StorePath{p})
		lists[digest] = statement.PathsBlob([]nix.StorePath{p})
		v.l.Add(logtest.Leaf(t, logtest.Signer(t, "alice"), &statement.Eval{
			Name: "jobset", StoreDir: nix.DefaultStoreDir, Digest: digest, Count: 1, Inputs: []statement.EvalInput{}, Evaluated: uint64(i),
		}))
	}
	offer, err := v.offered("alice")
	if err != nil {
		t.Fatal(err)
	}
	c, asked, _ := blobLog(t, v, func(h nix.Hash) []byte { return lists[h] })
	r := taker(t, root)
	for _, tt := range []struct {
		only []nix.StorePath
		n    int
		want string
		asks int64
	}{{nil, 1, "app4", 1}, {nil, 50, "app0 app1 app2 app3 app4", 5}, {[]nix.StorePath{drvs[3]}, 1, "app3", 2}} {
		asked.Store(0)
		got, err := r.Take(t.Context(), c, offer, tt.only, tt.n)
		if err != nil || names(got) != tt.want || asked.Load() != tt.asks {
			t.Errorf("%d: taken %s with %d lists: %v", tt.n, names(got), asked.Load(), err)
		}
	}
	delete(lists, statement.PathsDigest(drvs[4:]))
	if got, err := r.Take(t.Context(), c, offer, nil, 1); err != nil || names(got) != "app3" || len(offer.Passed) != 1 {
		t.Errorf("without a list: %s, %q, %v", names(got), offer.Passed, err)
	}
}

// Anybody may name a text for a derivation; few wrong ones are read.
func TestWrongTextsOfADerivationAreReadWithinABound(t *testing.T) {
	root := t.TempDir()
	s := newDrvStore(t, root)
	app := s.add("app")
	v := newVouching(t)
	v.operator("alice")
	v.eval("alice", app)
	m, err := s.cache.Modulo(s.known[app], nix.Merge)
	if err != nil {
		t.Fatal(err)
	}
	wrong := make(map[nix.Hash][]byte)
	for i := range 7 {
		text := bytes.Repeat([]byte{byte(i)}, maxList)
		hash := nix.Hash(sha256.Sum256(text))
		wrong[hash] = text
		v.l.Add(logtest.Leaf(t, logtest.Signer(t, fmt.Sprint("stranger ", i)), &statement.BuildFailed{
			DrvPath: app, DrvHash: hash, Modulo: m, System: "x86_64-linux", StoreDir: nix.DefaultStoreDir, Outputs: []string{"out"},
			Reason: statement.ReasonExit, Builder: statement.Builder{Implementation: "nix", Version: "2.8.0"}, BuildID: [16]byte{byte(i)},
		}))
	}
	offer, err := v.offered("alice")
	if err != nil {
		t.Fatal(err)
	}
	c, _, sent := blobLog(t, v, func(h nix.Hash) []byte { return wrong[h] })
	got, err := taker(t, root).Take(t.Context(), c, offer, nil, 50)
	if err != nil || len(got) != 0 {
		t.Errorf("taken %s: %v", names(got), err)
	}
	if sent.Load() != maxWrong {
		t.Errorf("%d bytes were read", sent.Load())
	}
}

// What a cache says in place of an answer does not reach a terminal as it is.
func TestStatusOfACacheIsVisible(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			_, _ = io.WriteString(conn, "HTTP/1.1 400 \x1b]0;owned\x07\r\nContent-Length: 0\r\n\r\n")
			conn.Close()
		}
	}()
	p, err := nix.ParseStorePath("/nix/store/0j66c4adj7fp5a53zcj7qm2ghbs9c1vi-app-2.3")
	if err != nil {
		t.Fatal(err)
	}
	r := &Rebuilder{conf: Config{Against: "http://" + l.Addr().String()}}
	if _, err = r.fetchNarInfo(t.Context(), p); err == nil || strings.ContainsRune(err.Error(), 0x1b) {
		t.Errorf("%q", err)
	}
}
