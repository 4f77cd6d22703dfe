package verify

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strconv"
	"sync"
	"testing"

	"github.com/firn-log/firn/log/logtest"
	"github.com/firn-log/firn/log/statement"
)

// benchPaths and benchOperators are a large closure: 2,000 paths
// with 4 statements each.
const (
	benchPaths     = 2000
	benchOperators = 4
)

// ready answers each lookup once from the log and then again without work, so that
// a benchmark measures the asking side and loopback HTTP.
func ready(l *logtest.Log) http.Handler {
	handler := l.Handler()
	var mu sync.Mutex
	answers := make(map[string]*httptest.ResponseRecorder)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/v1/lookup" {
			handler.ServeHTTP(w, r)
			return
		}
		body, err := io.ReadAll(r.Body)
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		mu.Lock()
		defer mu.Unlock()
		a := answers[string(body)]
		if a == nil {
			r.Body = io.NopCloser(bytes.NewReader(body))
			r.Header.Del("Accept-Encoding")
			a = httptest.NewRecorder()
			handler.ServeHTTP(a, r)
			answers[string(body)] = a
		}
		w.WriteHeader(a.Code)
		w.Write(a.Body.Bytes())
	})
}

// BenchmarkVerify2000 verifies a closure of 2,000 paths with 4 statements each
// over loopback HTTP: cold, and with everything remembered. The third part is
// the limit beside it: the signature checks of the cold run alone, on one core.
func BenchmarkVerify2000(b *testing.B) {
	w := newWorld(b)
	ps := make(map[string]*person)
	var leaves [][]byte
	say := func(s *statement.Statement) { leaves = append(leaves, s.Leaf()) }
	for i := range benchOperators {
		p := w.stranger(string(rune('a' + i)))
		first := w.sign(p.identity, &statement.Operator{Name: p.name, Contact: "x", HomeLog: w.logs[0].Origin(), Identity: p.identity.PublicKey()}, nil)
		p.id, p.last = first.ID(), first.ID()
		say(first)
		say(p.next(p.proven(p.build, statement.RoleBuild)))
		ps[p.name] = p
	}
	var subjects []Subject
	var claims []*statement.Statement
	for i := range benchPaths {
		name := fmt.Sprintf("package-%d", i)
		subjects = append(subjects, subject(b, name, name))
		for _, p := range ps {
			s := w.sign(p.build, buildOf(b, name, name), nil)
			claims = append(claims, s)
			say(s)
		}
	}
	for _, leaf := range leaves {
		w.logs[0].Add(leaf)
	}
	w.logs[0].Publish()
	w.logs[0].Revise()
	server := httptest.NewServer(ready(w.logs[0]))
	b.Cleanup(server.Close)
	pol := w.policy(ps, "group g 2 a b c d")
	pol.Logs[0].URL = server.URL
	run := func(b *testing.B, state string) {
		r, err := Verify(context.Background(), pol, subjects, Options{StateDir: state})
		if err != nil {
			b.Fatal(err)
		}
		if n := r.Counts()[Trusted]; n != benchPaths {
			b.Fatalf("%d trusted: %s", n, r.Paths[0].Reason)
		}
	}
	b.Run("cold", func(b *testing.B) {
		dir := b.TempDir()
		for i := 0; b.Loop(); i++ {
			run(b, filepath.Join(dir, strconv.Itoa(i)))
		}
	})
	b.Run("remembered", func(b *testing.B) {
		dir := b.TempDir()
		run(b, dir)
		for b.Loop() {
			run(b, dir)
		}
	})
	b.Run("signatures", func(b *testing.B) {
		keys := make(map[statement.KeyID]statement.PublicKey)
		for _, p := range ps {
			keys[p.build.PublicKey().ID()] = p.build.PublicKey()
		}
		for b.Loop() {
			for _, s := range claims {
				if err := s.Verify(keys[s.Signer]); err != nil {
					b.Fatal(err)
				}
			}
		}
	})
}
