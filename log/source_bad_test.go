package log_test

import (
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/firn-log/firn/log"
	"github.com/firn-log/firn/log/logtest"
)

// A header is read up to a bound, by the client that is made where none is given.
func TestTheHeaderOfAnAnswerHasABound(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	sent := make(chan int, 1)
	go func() {
		c, err := ln.Accept()
		if err != nil {
			return
		}
		defer c.Close()
		n, _ := io.WriteString(c, "HTTP/1.1 200 OK\r\n")
		for {
			more, err := fmt.Fprintf(c, "X-%d: x\r\n", n)
			if n += more; err != nil {
				sent <- n
				return
			}
		}
	}()
	c, err := log.NewClient("http://"+ln.Addr().String(), logtest.New(t).Policy(), log.Options{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.Checkpoint(t.Context()); !errors.Is(err, log.ErrUnreachable) || !strings.Contains(err.Error(), "headers exceeded 65536 bytes") {
		t.Errorf("%v", err)
	}
	<-sent
}

// A program may have another default transport, which is none of the standard library's: it is used as it is.
func TestAnotherDefaultTransport(t *testing.T) {
	other := failingTransport{io.ErrUnexpectedEOF}
	if got := log.WithHeaderBound(other); got != other {
		t.Errorf("%v", got)
	}
	bound, ok := log.WithHeaderBound(http.DefaultTransport).(*http.Transport)
	if !ok || bound == http.DefaultTransport || bound.MaxResponseHeaderBytes != 64<<10 {
		t.Errorf("%+v", bound)
	}
}

// What is gzipped in several members, as by proxies that put pieces together, is all of them (RFC 1952).
func TestGzipOfSeveralMembers(t *testing.T) {
	l := logtest.New(t)
	l.Add([]byte("an entry"))
	l.Publish()
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		inner := httptest.NewRecorder()
		l.Handler().ServeHTTP(inner, httptest.NewRequestWithContext(r.Context(), r.Method, r.URL.Path, nil))
		w.Header().Set("Content-Encoding", "gzip")
		w.WriteHeader(inner.Code)
		for _, b := range inner.Body.Bytes() {
			z := gzip.NewWriter(w)
			_, err := z.Write([]byte{b})
			if err := errors.Join(err, z.Close()); err != nil {
				t.Error(err)
			}
		}
	}))
	defer srv.Close()
	c, err := log.NewClient(srv.URL, l.Policy(), log.Options{})
	if err != nil {
		t.Fatal(err)
	}
	if cp, err := c.Checkpoint(t.Context()); err != nil || cp.Size != 1 {
		t.Errorf("%+v, %v", cp, err)
	}
}

// Of gzip that comes to nothing not much more is read than the answer may have, however fast it comes.
func TestGzipOfNothingHasABound(t *testing.T) {
	var empty bytes.Buffer
	if err := gzip.NewWriter(&empty).Close(); err != nil {
		t.Fatal(err)
	}
	for name, b := range map[string]struct{ first, again string }{
		"a member without end":  {"\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\xff", "\x00\x00\x00\xff\xff"},
		"members without end":   {"", empty.String()},
		"a header without end":  {"\x1f\x8b\x08\x10\x00\x00\x00\x00\x00\xff", "x"},
		"an answer without end": {"\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\xff", "\x00\x01\x00\xfe\xffx"},
	} {
		body := &repeated{rest: b.first, again: strings.Repeat(b.again, 1000)}
		c, err := log.NewClient("http://log.example", logtest.New(t).Policy(), log.Options{HTTP: &http.Client{Transport: gzipTransport{body}}})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := c.Checkpoint(t.Context()); err == nil || body.read > 10<<20 {
			t.Errorf("%s: %d bytes were read: %v", name, body.read, err)
		}
	}
}

// repeated is a body that says the same again, for 64 MiB.
type repeated struct {
	rest, again string
	read        int
}

func (r *repeated) Read(b []byte) (int, error) {
	if r.rest == "" {
		r.rest = r.again
	}
	n := copy(b, r.rest)
	r.rest = r.rest[n:]
	if r.read += n; r.read > 64<<20 {
		return n, io.EOF
	}
	return n, nil
}

type gzipTransport struct{ body io.Reader }

func (g gzipTransport) RoundTrip(req *http.Request) (*http.Response, error) {
	return &http.Response{StatusCode: http.StatusOK, Header: http.Header{"Content-Encoding": {"gzip"}}, Body: io.NopCloser(g.body), ContentLength: -1, Request: req}, nil
}

// spoil changes the cache of tiles in dir. Names are those of tiles below it.
var spoil = map[string]func(t *testing.T, dir string, tiles []string){
	"wrong bytes": func(t *testing.T, dir string, tiles []string) {
		for _, name := range tiles {
			write(t, name, strings.Repeat("x", 8192))
		}
	},
	"cut off": func(t *testing.T, dir string, tiles []string) {
		for _, name := range tiles {
			if err := os.Truncate(name, 4096); err != nil {
				t.Fatal(err)
			}
		}
	},
	"longer": func(t *testing.T, dir string, tiles []string) {
		for _, name := range tiles {
			write(t, name, read(t, name)+"x")
		}
	},
	"empty": func(t *testing.T, dir string, tiles []string) {
		for _, name := range tiles {
			write(t, name, "")
		}
	},
	"swapped": func(t *testing.T, dir string, tiles []string) {
		a, b := read(t, tiles[0]), read(t, tiles[1])
		write(t, tiles[0], b)
		write(t, tiles[1], a)
	},
	"links in a circle": func(t *testing.T, dir string, tiles []string) {
		replace(t, tiles, func(name string) error { return os.Symlink(name, name) })
	},
	"links to what never ends": func(t *testing.T, dir string, tiles []string) {
		replace(t, tiles, func(name string) error { return os.Symlink("/dev/zero", name) })
	},
	"links to nowhere": func(t *testing.T, dir string, tiles []string) {
		replace(t, tiles, func(name string) error { return os.Symlink("/nowhere/at/all", name) })
	},
	"pipes": func(t *testing.T, dir string, tiles []string) {
		replace(t, tiles, func(name string) error { return syscall.Mkfifo(name, 0o644) })
	},
	"folders": func(t *testing.T, dir string, tiles []string) {
		replace(t, tiles, func(name string) error { return os.Mkdir(name, 0o755) })
	},
	"a file where the folder is": func(t *testing.T, dir string, tiles []string) {
		if err := os.RemoveAll(filepath.Join(dir, "tile")); err != nil {
			t.Fatal(err)
		}
		write(t, filepath.Join(dir, "tile"), "x")
	},
	"gone": func(t *testing.T, dir string, tiles []string) {
		if err := os.RemoveAll(dir); err != nil {
			t.Fatal(err)
		}
	},
}

func replace(t *testing.T, names []string, by func(string) error) {
	t.Helper()
	for _, name := range names {
		if err := errors.Join(os.Remove(name), by(name)); err != nil {
			t.Fatal(err)
		}
	}
}

func write(t *testing.T, name, text string) {
	t.Helper()
	if err := os.WriteFile(name, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

func read(t *testing.T, name string) string {
	t.Helper()
	b, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// Whatever is in the cache of tiles, what is read is what the log holds, and the cache is as it was
// afterwards where it can be. While the log is away a cache that is wrong gives an error and no entry.
func TestACacheOfTilesIsNotBelieved(t *testing.T) {
	l, other := logtest.New(t), logtest.New(t, logtest.Origin("other.example/00000000"))
	leaves := make(map[*logtest.Log][][]byte)
	for _, l := range []*logtest.Log{l, other} {
		for i := range 520 {
			leaves[l] = append(leaves[l], fmt.Appendf(nil, "%s %d", l.Origin(), i))
			l.Add(leaves[l][i])
		}
	}
	l.Publish()
	other.Publish()
	spoil := maps.Clone(spoil)
	spoil["of another log"] = func(t *testing.T, dir string, _ []string) {
		all(t, other, leaves[other], filepath.Dir(dir), true)
		theirs, err := filepath.Glob(filepath.Join(filepath.Dir(dir), "*"))
		if err != nil || len(theirs) != 2 {
			t.Fatal(theirs, err)
		}
		for _, d := range theirs {
			if d != dir {
				if err := errors.Join(os.RemoveAll(dir), os.Rename(d, dir)); err != nil {
					t.Fatal(err)
				}
			}
		}
	}
	for name, spoil := range spoil {
		t.Run(name, func(t *testing.T) {
			cache := t.TempDir()
			all(t, l, leaves[l], cache, true)
			dirs, _ := filepath.Glob(filepath.Join(cache, "*"))
			tiles, _ := filepath.Glob(filepath.Join(cache, "*", "tile", "0", "*"))
			if len(dirs) != 1 || len(tiles) != 2 {
				t.Fatalf("%q, %q", dirs, tiles)
			}
			before := read(t, tiles[0]) + read(t, tiles[1])
			spoil(t, dirs[0], tiles)
			all(t, l, leaves[l], cache, false)
			all(t, l, leaves[l], cache, true)
			if name == "folders" || name == "a file where the folder is" {
				return // what somebody put there is not removed
			}
			if read(t, tiles[0])+read(t, tiles[1]) != before {
				t.Error("the cache is as it was spoiled")
			}
		})
	}
}

// all reads all entries of a log with a cache, while it gives hash tiles or does not.
func all(t *testing.T, l *logtest.Log, leaves [][]byte, cache string, there bool) {
	t.Helper()
	l.Lie(func(lies *logtest.Lies) {
		lies.Edit = func(path string, status int, b []byte) (int, []byte) {
			if !there && strings.HasPrefix(path, "tile/0/") {
				return http.StatusServiceUnavailable, nil
			}
			return status, b
		}
	})
	c, err := log.NewClient(l.URL(), l.Policy(), log.Options{CacheDir: cache})
	if err != nil {
		t.Fatal(err)
	}
	cp, err := c.Checkpoint(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	n := uint64(0)
	for e, err := range c.Entries(t.Context(), cp, 0, cp.Size) {
		if !there && errors.Is(err, log.ErrUnreachable) {
			return
		}
		if err != nil || e.Index != n || string(e.Leaf) != string(leaves[n]) {
			t.Fatalf("entry %d: %v", n, err)
		}
		n++
	}
	if n != cp.Size {
		t.Errorf("%d of %d entries", n, cp.Size)
	}
}
