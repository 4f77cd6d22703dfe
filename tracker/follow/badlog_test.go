package follow

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"context"
	"crypto/ed25519"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/firn-log/firn/internal/nix"
	"github.com/firn-log/firn/log"
	"github.com/firn-log/firn/log/logtest"
	"github.com/firn-log/firn/log/statement"
)

// longClaim is a claim that has only the digest of its references, with their list.
func longClaim(t *testing.T) (leaf []byte, path string, list []byte) {
	t.Helper()
	key := nix.SecretKey{Name: "cache-1", Key: ed25519.NewKeyFromSeed(make([]byte, 32))}
	info := &nix.PathInfo{NarSize: 1}
	for i := range 1500 {
		p, err := nix.DefaultStoreDir.FromBase(fmt.Sprintf("00000000000000000000000000000000-dependency-number-%04d", i))
		if err != nil {
			t.Fatal(err)
		}
		info.Path, info.References = p, append(info.References, p)
	}
	s, err := statement.NewCacheSig(info, key.Public(), key.Sign(info.Fingerprint()))
	if err != nil {
		t.Fatal(err)
	}
	return s.Leaf(), log.BlobPath(*s.Body.(*statement.CacheSig).RefsDigest), statement.PathsBlob(info.References)
}

// hostile is a log behind a connection that needs no network: an honest one, but for answers about
// some paths while it is bad.
type hostile struct {
	honest http.Handler
	about  string // prefix of the paths
	answer func(c io.Writer, r *http.Request)
	bad    atomic.Bool
	asked  atomic.Int64 // how often it was bad
}

func (h *hostile) client() *http.Client {
	return &http.Client{Transport: &http.Transport{MaxResponseHeaderBytes: 64 << 10, DialContext: func(context.Context, string, string) (net.Conn, error) {
		near, far := net.Pipe()
		go h.serve(far)
		return near, nil
	}}}
}

func (h *hostile) serve(c net.Conn) {
	defer c.Close()
	for in := bufio.NewReader(c); ; {
		r, err := http.ReadRequest(in)
		if err != nil {
			return
		}
		if h.bad.Load() && strings.HasPrefix(r.URL.Path, h.about) {
			h.asked.Add(1)
			h.answer(c, r)
			return
		}
		w := httptest.NewRecorder()
		h.honest.ServeHTTP(w, r)
		a := w.Result()
		if a.ContentLength = int64(w.Body.Len()); a.Write(c) != nil {
			return
		}
	}
}

// endless writes b again and again, every so often, until the other side hangs up.
func endless(c io.Writer, b []byte, every time.Duration) {
	for {
		if _, err := c.Write(b); err != nil {
			return
		}
		time.Sleep(every)
	}
}

func says(text string) func(io.Writer, *http.Request) {
	return func(c io.Writer, _ *http.Request) { io.WriteString(c, text) }
}

// then says text, and goes on with more.
func then(text string, more func(io.Writer)) func(io.Writer, *http.Request) {
	return func(c io.Writer, _ *http.Request) {
		if _, err := io.WriteString(c, text); err == nil {
			more(c)
		}
	}
}

func silence(c io.Writer) { io.Copy(io.Discard, c.(io.Reader)) }

const head = "HTTP/1.1 200 OK\r\n"

// Answers of a log that do nobody any good.
var badAnswers = map[string]func(io.Writer, *http.Request){
	"nothing":             then("", silence),
	"it hangs up":         says(""),
	"another protocol":    says("SSH-2.0-OpenSSH_9.6\r\n"),
	"a header that drips": then(head+"X: ", func(c io.Writer) { endless(c, []byte("x"), time.Second) }),
	"a header for ever":   then(head, func(c io.Writer) { endless(c, []byte("X-More: "+strings.Repeat("x", 1000)+"\r\n"), 0) }),
	"interim answers forever": then("", func(c io.Writer) {
		endless(c, []byte("HTTP/1.1 103 Early Hints\r\nLink: <x>\r\n\r\n"), time.Millisecond)
	}),
	"a body that drips": then(head+"Content-Length: 100000\r\n\r\n", func(c io.Writer) { endless(c, []byte("x"), time.Second) }),
	"a body for ever":   then(head+"\r\n", func(c io.Writer) { endless(c, make([]byte, 1<<16), 0) }),
	"chunks for ever": then(head+"Transfer-Encoding: chunked\r\n\r\n", func(c io.Writer) {
		endless(c, append(append([]byte("10000\r\n"), make([]byte, 1<<16)...), "\r\n"...), 0)
	}),
	"small chunks for ever": then(head+"Transfer-Encoding: chunked\r\n\r\n", func(c io.Writer) { endless(c, []byte("1\r\nx\r\n"), time.Second/2) }),
	"a chunk of any size":   says(head + "Transfer-Encoding: chunked\r\n\r\nffffffffffffffff\r\nx"),
	"a length that is huge": then(head+"Content-Length: 9223372036854775807\r\n\r\nx", silence),
	"a length below zero":   says(head + "Content-Length: -1\r\n\r\nx"),
	"less than it says":     says(head + "Content-Length: 1000\r\n\r\nx"),
	"an empty body":         says(head + "Content-Length: 0\r\n\r\n"),
	"no content":            says("HTTP/1.1 204 No Content\r\n\r\n"),
	"a page":                says(head + "Content-Type: text/html\r\nContent-Length: 43\r\n\r\n<html><title>Welcome to the hotel</title>\n\n\n"),
	"a proxy's page":        says("HTTP/1.1 403 Forbidden\r\nContent-Type: text/html\r\nContent-Length: 6\r\n\r\n<html>"),
	"its own address": func(c io.Writer, r *http.Request) {
		fmt.Fprintf(c, "HTTP/1.1 302 Found\r\nLocation: %s\r\nContent-Length: 0\r\n\r\n", r.URL)
	},
	"ever other addresses": func(c io.Writer, r *http.Request) {
		fmt.Fprintf(c, "HTTP/1.1 307 Elsewhere\r\nLocation: %s?%dx\r\nContent-Length: 0\r\n\r\n", r.URL.Path, len(r.URL.RawQuery))
	},
	"a file": says("HTTP/1.1 302 Found\r\nLocation: file:///etc/passwd\r\nContent-Length: 0\r\n\r\n"),
	"a gzip bomb": then(head+"Content-Encoding: gzip\r\n\r\n", func(c io.Writer) {
		endless(gzip.NewWriter(c), make([]byte, 1<<20), 0)
	}),
	"gzip of nothing for ever": then(head+"Content-Encoding: gzip\r\n\r\n\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\xff", func(c io.Writer) {
		endless(c, bytes.Repeat([]byte{0, 0, 0, 0xff, 0xff}, 1000), 0)
	}),
	"gzip of nothing again and again": then(head+"Content-Encoding: gzip\r\n\r\n", func(c io.Writer) {
		var b bytes.Buffer
		gzip.NewWriter(&b).Close()
		endless(c, bytes.Repeat(b.Bytes(), 1000), 0)
	}),
	"gzip that is none":     says(head + "Content-Encoding: gzip\r\nContent-Length: 3\r\n\r\nabc"),
	"a coding unheard of":   says(head + "Content-Encoding: br\r\nContent-Length: 3\r\n\r\nabc"),
	"come back in 30 years": says("HTTP/1.1 429 Too Many Requests\r\nRetry-After: 999999999\r\nContent-Length: 0\r\n\r\n"),
	"come back never":       says("HTTP/1.1 503 Later\r\nRetry-After: 99999999999999999999999\r\nContent-Length: 0\r\n\r\n"),
	"come back yesterday":   says("HTTP/1.1 503 Later\r\nRetry-After: -5\r\nContent-Length: 0\r\n\r\n"),
	"come back one day":     says("HTTP/1.1 503 Later\r\nRetry-After: Fri, 31 Dec 9999 23:59:59 GMT\r\nContent-Length: 0\r\n\r\n"),
	"an error for ever":     then("HTTP/1.1 500 Broken\r\n\r\n", func(c io.Writer) { endless(c, make([]byte, 1<<16), 0) }),
}

// Whatever a log answers, another one is followed meanwhile, nothing wrong is added, one sentence says
// why it does not go on, it is followed as soon as it behaves, and the program can end at any moment.
func TestALogThatAnswersBadly(t *testing.T) {
	leaf, blob, list := longClaim(t)
	for _, about := range []string{"checkpoint", "tile/0/", "tile/entries/", blob} {
		t.Run(strings.SplitN(about, "/00", 2)[0][:min(len(about), 12)], func(t *testing.T) {
			for name, answer := range badAnswers {
				t.Run(name, func(t *testing.T) {
					synctest.Test(t, func(t *testing.T) {
						w, other := newWorld(t), newWorld(t, logtest.Origin("other.example/00000000"))
						w.register()
						w.claims("alice", 0, 3)
						w.Add(leaf)
						w.Publish()
						w.Lie(func(l *logtest.Lies) {
							l.Edit = func(path string, status int, b []byte) (int, []byte) {
								if path == blob {
									return http.StatusOK, list
								}
								return status, b
							}
						})
						other.register()
						other.Publish()
						badly(t, w, other, &hostile{honest: w.Handler(), about: "/" + about, answer: answer})
					})
				})
			}
		})
	}
}

func badly(t *testing.T, w, other *world, h *hostile) {
	whole := newFake()
	replay(t, follow(t, t.TempDir(), whole, w.folder()))
	if whole.entries[w.Origin()][5].Verified {
		t.Fatal("the folder has the list")
	}
	whole.entries[w.Origin()][5].Verified = true
	h.bad.Store(true)
	hc := h.client()
	defer hc.CloseIdleConnections()
	l := w.folder()
	l.URL = "http://log.example"
	store, dir := newFake(), t.TempDir()
	run := func() (*Follower, func()) {
		f, err := New(t.Context(), Options{Logs: []Log{l, other.folder()}, Store: store, Dir: dir, HTTP: hc})
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() { f.Run(ctx); close(done) }()
		return f, func() {
			t.Helper()
			begin := time.Now()
			cancel()
			<-done
			if d := time.Since(begin); d > 0 {
				t.Errorf("it took %v to end", d)
			}
			_ = f.Close()
		}
	}
	await := func(d time.Duration) { time.Sleep(d); synctest.Wait() }
	_, stop := run()
	await(7 * time.Second) // in the middle of what drips
	stop()
	f, stop := run()
	await(100 * time.Second) // a list is asked for three times

	other.claims("alice", 0, 4)
	other.Publish()
	await(DefaultPoll)
	s := f.Status()
	if s[1].Replayed != 6 || s[1].Error != "" {
		t.Errorf("the other log: %+v", s[1])
	}
	if why := s[0].Error; why == "" || strings.ContainsAny(why, "\n\r") || len(why) > 400 {
		t.Errorf("it says %q", why)
	}
	if n := h.asked.Load(); n == 0 || n > 500 {
		t.Errorf("it was asked %d times", n)
	}
	for i, e := range store.entries[w.Origin()] {
		if want := whole.entries[w.Origin()][i]; e.Index != want.Index || e.Verified != want.Verified || !bytes.Equal(e.Leaf, want.Leaf) {
			t.Errorf("entry %d is added as something else", i)
		}
	}
	h.bad.Store(false)
	await(longestWait)
	delete(store.next, other.Origin()) // of the dump
	if s := f.Status()[0]; s.Error != "" || store.dump() != whole.dump() {
		t.Errorf("when it behaves: %+v\n%s", s, store.dump())
	}
	stop()
}
