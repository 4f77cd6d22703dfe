package log_test

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
	"os"
	"strings"
	"syscall"
	"testing"
	"time"
	"unicode"

	"github.com/firn-log/firn/log"
	"github.com/firn-log/firn/log/logtest"
)

type failingTransport struct{ err error }

func (f failingTransport) RoundTrip(*http.Request) (*http.Response, error) { return nil, f.err }

// lengthTransport answers with a body, and says another length.
type lengthTransport struct {
	body string
	said int64
}

func (l lengthTransport) RoundTrip(req *http.Request) (*http.Response, error) {
	return &http.Response{StatusCode: http.StatusOK, Header: http.Header{}, Body: io.NopCloser(strings.NewReader(l.body)), ContentLength: l.said, Request: req}, nil
}

// How long an answer says it is changes neither what is read of it nor how much.
func TestTheLengthOfAnAnswerIsNotBelieved(t *testing.T) {
	l := logtest.New(t)
	l.Publish()
	for _, said := range []int64{-1, 0, 1, 1 << 20, 1 << 60} {
		for body, want := range map[string]bool{"": false, string(l.Publish()): true, strings.Repeat("x", 4<<20): false} {
			client, err := log.NewClient("http://log.example", l.Policy(), log.Options{HTTP: &http.Client{Transport: lengthTransport{body, said}}})
			if err != nil {
				t.Fatal(err)
			}
			_, err = client.Checkpoint(t.Context())
			if (err == nil) != want || errors.Is(err, log.ErrTooLarge) != (len(body) == 4<<20) {
				t.Errorf("%d bytes, said to be %d: %v", len(body), said, err)
			}
		}
	}
}

// An error of the network says where, once, and why, and fits on a line.
func TestUnreachableSaysTheAddressOnce(t *testing.T) {
	l := logtest.New(t)
	refused := &net.OpError{
		Op: "dial", Net: "tcp", Addr: &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 1},
		Err: os.NewSyscallError("connect", syscall.ECONNREFUSED),
	}
	noHost := &net.OpError{Op: "dial", Net: "tcp", Err: &net.DNSError{Err: "no such host", Name: "log.example", IsNotFound: true}}
	for _, c := range []struct {
		url  string
		err  error
		is   error
		want string

		columns int
	}{
		{"http://127.0.0.1:1", refused, syscall.ECONNREFUSED, "dial tcp 127.0.0.1:1: connection refused", 120},
		{"http://localhost:1/log", refused, syscall.ECONNREFUSED, "localhost:1: dial tcp 127.0.0.1:1: connection refused", 140},
		{"https://log.example", noHost, noHost, "dial tcp: lookup log.example: no such host", 120},
		{"https://log.example", context.DeadlineExceeded, context.DeadlineExceeded, "log.example: context deadline exceeded", 120},
		{"https://log.example", &tls.CertificateVerificationError{Err: errors.New("x509: expired")}, nil, "log.example: tls: failed to verify certificate: x509: expired", 140},
	} {
		client, err := log.NewClient(c.url, l.Policy(), log.Options{HTTP: &http.Client{Transport: failingTransport{c.err}}})
		if err != nil {
			t.Fatal(err)
		}
		_, err = client.Checkpoint(t.Context())
		if !errors.Is(err, log.ErrUnreachable) || c.is != nil && !errors.Is(err, c.is) {
			t.Errorf("%s: %v is not what it was", c.url, err)
			continue
		}
		if _, got, _ := strings.Cut(err.Error(), "log is unreachable: "); got != c.want || len("firn: error: "+err.Error()) > c.columns {
			t.Errorf("%s: got %q, want %q", c.url, err, c.want)
		}
		_, err = client.Submit(t.Context(), [][]byte{{1}}, 0)
		if _, got, _ := strings.Cut(err.Error(), "log is unreachable: "); got != c.want {
			t.Errorf("%s: submit: got %q, want %q", c.url, err, c.want)
		}
	}
}

// What a server says in its certificate does not reach a terminal as it is.
func TestWordsOfAServerAreVisible(t *testing.T) {
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
	c, err := log.NewClient("https://localhost:"+port, logtest.New(t).Policy(), log.Options{Memory: log.NewMemory("")})
	if err != nil {
		t.Fatal(err)
	}
	_, err = c.Checkpoint(t.Context())
	if !errors.Is(err, log.ErrUnreachable) || strings.ContainsFunc(err.Error(), func(r rune) bool { return !unicode.IsPrint(r) }) {
		t.Errorf("%q", err)
	}
}
