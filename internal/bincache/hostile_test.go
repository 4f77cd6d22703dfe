package bincache

import (
	"context"
	"crypto/ed25519"
	"crypto/tls"
	"crypto/x509"
	"errors"
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

	"github.com/firn-log/firn/internal/bincache/cachetest"
	"github.com/firn-log/firn/internal/nix"
)

// insider is a server that only this machine reaches, beside a cache that is taken for
// one on the open internet.
func insider(t *testing.T, f *cachetest.Cache) (c *Client, url string, asked *atomic.Int64) {
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
	src, name, err := newSource(f.URL, ClientOptions{})
	if err != nil {
		t.Fatal(err)
	}
	src.(*web).guard.open = func(a netip.Addr) bool { return a == netip.MustParseAddr("127.0.0.1") }
	return &Client{url: name, dir: nix.DefaultStoreDir, src: src}, srv.URL, asked
}

func TestCacheCannotSendItsReaderInside(t *testing.T) {
	f := cachetest.New(t)
	c, inside, asked := insider(t, f)
	f.Lie("lib", func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, inside+"/latest/meta-data", http.StatusFound)
	})
	if _, err := c.NarInfo(t.Context(), cachetest.Path(t, "lib").HashPart()); err == nil || !strings.Contains(err.Error(), "leads to 127.0.0.2:") {
		t.Errorf("a redirect: %v", err)
	}
	n := cachetest.NarInfo(t, "lib", nil, cachetest.Mine)
	n.URL = inside + "/nar"
	if _, err := c.OpenNar(t.Context(), n); err == nil || !strings.Contains(err.Error(), "which only machines in this network can reach") {
		t.Errorf("the URL of a NAR: %v", err)
	}
	if asked.Load() > 0 {
		t.Errorf("the server inside was asked %d times", asked.Load())
	}
	// From one that is inside itself it is no secret.
	c, inside, asked = insider(t, f)
	c.src.(*web).guard.open = func(netip.Addr) bool { return false }
	f.Lie("lib", func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, inside, http.StatusFound) })
	if _, err := c.NarInfo(t.Context(), cachetest.Path(t, "lib").HashPart()); err == nil || asked.Load() != 1 {
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
		n := cachetest.NarInfo(t, "app", nil, cachetest.Mine)
		n.NarSize = 1 << 20
		if err := c.CheckNar(t.Context(), n); !errors.Is(err, errSlow) {
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
