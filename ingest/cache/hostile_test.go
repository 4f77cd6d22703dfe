package cache

import (
	"context"
	"crypto/ed25519"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	stdlog "log"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
	"unicode"

	"github.com/firn-log/firn/internal/nix"
	"github.com/firn-log/firn/log/statement"
)

// insider is a server that only this machine reaches, beside a cache that is taken for
// one on the open internet.
func insider(t *testing.T, f *fakeCache) (c *Client, url string, asked *atomic.Int64) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.2:0")
	if err != nil {
		t.Skip("this machine has no second loopback address: ", err)
	}
	asked = new(atomic.Int64)
	srv := &httptest.Server{Listener: l, Config: &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		asked.Add(1)
		w.Write(lines)
	})}}
	srv.Start()
	t.Cleanup(srv.Close)
	src, name, err := newSource(f.url, ClientOptions{})
	if err != nil {
		t.Fatal(err)
	}
	src.(*web).guard.open = func(a netip.Addr) bool { return a == netip.MustParseAddr("127.0.0.1") }
	return &Client{url: name, dir: nix.DefaultStoreDir, src: src}, srv.URL, asked
}

func TestCacheCannotSendItsReaderInside(t *testing.T) {
	f := newFakeCache(t)
	c, inside, asked := insider(t, f)
	f.add("app", "lib")
	f.lie("lib", func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, inside+"/latest/meta-data", http.StatusFound)
	})
	w := newWorld(t)
	sum := w.must(c, Options{}, "app")
	wantTroubles(t, sum, map[Trouble]string{Failed: "leads to 127.0.0.2:"})
	f.lie("lib", nil)
	n := narInfo(t, "lib", nil, mine)
	n.URL = inside + "/nar"
	f.put(n)
	sum = w.must(c, Options{CheckNars: true, Recheck: true}, "lib")
	wantTroubles(t, sum, map[Trouble]string{Failed: "which only machines in this network can reach"})
	if asked.Load() > 0 {
		t.Errorf("the server inside was asked %d times", asked.Load())
	}
	// From one that is inside itself it is no secret.
	c, inside, asked = insider(t, f)
	c.src.(*web).guard.open = func(netip.Addr) bool { return false }
	f.lie("lib", func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, inside, http.StatusFound) })
	if _, err := c.NarInfo(t.Context(), path(t, "lib").HashPart()); err == nil || asked.Load() != 1 {
		t.Errorf("asked %d times: %v", asked.Load(), err)
	}
}

func TestOpenAddresses(t *testing.T) {
	for text, want := range map[string]bool{
		"1.1.1.1": true, "2606:4700::1111": true,
		"127.0.0.1": false, "::1": false, "::ffff:127.0.0.1": false, "10.1.2.3": false, "172.16.0.1": false, "192.168.1.1": false,
		"169.254.169.254": false, "fe80::1%eth0": false, "fd00:ec2::254": false, "100.100.100.200": false, "0.0.0.0": false, "0.1.2.3": false,
		"::": false, "64:ff9b::7f00:1": false, "224.0.0.1": false, "255.255.255.255": false,
	} {
		if got := isOpen(netip.MustParseAddr(text)); got != want {
			t.Errorf("%s: %v", text, got)
		}
	}
}

// A cache that makes paths up without end costs no more than a bound.
func TestMadeUpClosureEnds(t *testing.T) {
	f := newFakeCache(t)
	made := make(map[string]string) // by file
	name := func(s string) string { made[fileOf(path(t, s))] = s; return s }
	f.put(narInfo(t, "app", []string{name("a")}, mine))
	handler := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		f.mu.Lock()
		s, ok := made[strings.TrimPrefix(r.URL.Path, "/")]
		var n *nix.NarInfo
		if ok {
			n = narInfo(t, s, []string{name(s + "a"), name(s + "b")}, secret("key-of-"+s))
		}
		f.mu.Unlock()
		if !ok {
			f.ServeHTTP(w, r)
			return
		}
		w.Write(n.Marshal())
	})
	srv := httptest.NewServer(handler)
	defer srv.Close()
	c, err := Open(t.Context(), srv.URL, ClientOptions{})
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
	f := newFakeCache(t)
	n := narInfo(t, "app", nil, mine)
	for i := range 200_000 {
		n.Sigs = append(n.Sigs, fmt.Sprintf("k%d:AAAA", i))
	}
	f.put(n)
	w := newWorld(t)
	sum := w.must(f.open(t), Options{}, "app")
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
	f := newFakeCache(t)
	n := narInfo(t, "app", nil, secret("other.example-1"))
	n.NarSize = 1 << 60
	f.put(n)
	asked := false
	f.before = func(name string) { asked = asked || strings.HasPrefix(name, "nar/") }
	w := newWorld(t)
	wantTroubles(t, w.must(f.open(t), Options{CheckNars: true}, "app"), nil)
	if asked {
		t.Error("the NAR was asked for")
	}
}

type drip struct{ ctx context.Context }

func (d drip) Read(b []byte) (int, error) {
	select {
	case <-d.ctx.Done():
		return 0, d.ctx.Err()
	case <-time.After(stallTimeout - time.Second):
		b[0] = 0
		return 1, nil
	}
}

func (drip) Close() error { return nil }

// dripping answers with a body that has no end and no speed.
type dripping struct{}

func (dripping) RoundTrip(r *http.Request) (*http.Response, error) {
	return &http.Response{StatusCode: 200, Header: http.Header{}, Body: drip{r.Context()}, ContentLength: -1, Request: r}, nil
}

func TestNarThatComesTooSlowly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		src, name, err := newSource("https://cache.example", ClientOptions{Transport: dripping{}})
		if err != nil {
			t.Fatal(err)
		}
		c := &Client{url: name, dir: nix.DefaultStoreDir, src: src}
		start := time.Now()
		n := narInfo(t, "app", nil, mine)
		n.NarSize = 1 << 20
		if err := c.checkNar(t.Context(), n); !errors.Is(err, errSlow) {
			t.Errorf("%v", err)
		}
		if took := time.Since(start); took > narPatience+time.Minute+stallTimeout {
			t.Errorf("it was read for %v", took)
		}
	})
}

// What a server says in its certificate does not reach a terminal as it is.
func TestTextOfACacheIsVisible(t *testing.T) {
	_, private, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	cert := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour), DNSNames: []string{"\x1b]0;owned\x07\x1b[31m"}}
	der, err := x509.CreateCertificate(nil, cert, cert, private.Public(), private)
	if err != nil {
		t.Fatal(err)
	}
	srv := httptest.NewUnstartedServer(http.NotFoundHandler())
	srv.Config.ErrorLog = stdlog.New(io.Discard, "", 0)
	srv.TLS = &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: private}}}
	srv.StartTLS()
	defer srv.Close()
	_, port, _ := net.SplitHostPort(srv.Listener.Addr().String())
	_, err = Open(t.Context(), "https://localhost:"+port, ClientOptions{OnTrouble: func(err error, _ time.Duration) { isVisible(t, err) }})
	isVisible(t, err)
}

func isVisible(t *testing.T, err error) {
	t.Helper()
	if err == nil || strings.ContainsFunc(err.Error(), func(r rune) bool { return !unicode.IsPrint(r) }) {
		t.Errorf("%q", err)
	}
}

// What a cache makes up is nothing that the importer signs and pays for.
func TestOnlyWhatIsSignedIsObserved(t *testing.T) {
	f := newFakeCache(t)
	f.add("app", "lib", "forged")
	f.put(narInfo(t, "lib", nil))
	forged := narInfo(t, "forged", nil, mine)
	forged.NarSize++
	f.put(forged)
	signer, err := statement.NewEd25519Signer(secret("importer").Key)
	if err != nil {
		t.Fatal(err)
	}
	w := newWorld(t)
	w.must(f.open(t), Options{Observer: signer}, "app")
	if list := w.logged(statement.KindObserved); len(list) != 1 || list[0].Body.(*statement.Observed).Path != path(t, "app") {
		t.Errorf("%d observed statements", len(list))
	}
}
