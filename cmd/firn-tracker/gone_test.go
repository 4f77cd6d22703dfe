package main

import (
	"database/sql"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	_ "github.com/jackc/pgx/v5/stdlib" // the driver "pgx"

	"github.com/firn-log/firn/internal/pgtest"
)

// proxy is a way to a PostgreSQL that can be cut.
type proxy struct {
	dsn string // of the database through it

	mu    sync.Mutex
	down  bool
	conns []net.Conn
}

// newProxy makes a way to the database at dsn, which ends when the test does.
func newProxy(t *testing.T, dsn string) *proxy {
	t.Helper()
	u, err := url.Parse(dsn)
	if err != nil {
		t.Fatal(err)
	}
	dir, err := os.MkdirTemp("", "firn-way-") // the name of a socket is short
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	const name = ".s.PGSQL.5432"
	q := u.Query()
	to := filepath.Join(q.Get("host"), name)
	q.Set("host", dir)
	u.RawQuery = q.Encode()
	ln, err := net.Listen("unix", filepath.Join(dir, name))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ln.Close() })
	p := &proxy{dsn: u.String()}
	go func() {
		for {
			near, err := ln.Accept()
			if err != nil {
				return
			}
			p.carry(near, to)
		}
	}()
	return p
}

func (p *proxy) carry(near net.Conn, to string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	far, err := net.Dial("unix", to)
	if err != nil || p.down {
		near.Close()
		return
	}
	p.conns = append(p.conns, near, far)
	for _, way := range [][2]net.Conn{{near, far}, {far, near}} {
		go func() {
			io.Copy(way[0], way[1])
			near.Close()
			far.Close()
		}()
	}
}

// cut breaks what is connected, and lets nobody connect while down is set.
func (p *proxy) cut(down bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, c := range p.conns {
		c.Close()
	}
	p.conns, p.down = nil, down
}

// However PostgreSQL goes away in the middle of a replay, pages say so, the replay goes on by itself
// when it is back, and nothing is left out.
func TestHoweverAPostgresGoesAway(t *testing.T) {
	pg := pgtest.New(t)
	dsn := pg.Database(t)
	admin, err := sql.Open("pgx", dsn+"&application_name=admin")
	if err != nil {
		t.Fatal(err)
	}
	defer admin.Close()
	do := func(q string) {
		t.Helper()
		if _, err := admin.Exec(q); err != nil {
			t.Fatalf("%s: %v", q, err)
		}
	}
	do("CREATE ROLE tracker LOGIN")
	do("GRANT ALL ON SCHEMA public TO tracker")
	way := newProxy(t, strings.Replace(dsn, "user=firn", "user=tracker", 1))
	w := newWorld(t)
	w.register("alice")
	w.builds("alice", 0, 100)
	w.Publish()
	dir := filepath.Join(t.TempDir(), "tracker")
	logsConfig(t, dir, fmt.Sprintf("database = %q\n", way.dsn), w)
	r := start(t, dir)
	r.awaitReady()
	n := 100
	for _, c := range []struct {
		name       string
		begin, end func()
		says       string // what the tracker comes to say of it
		readable   bool
	}{
		{"the connection is cut", func() { way.cut(true) }, func() { way.cut(false) }, "", false},
		{"it is killed", pg.Kill, func() {
			if err := pg.Start(); err != nil {
				t.Fatal(err)
			}
		}, "", false},
		{"it lets the tracker in no more", func() { do("ALTER ROLE tracker NOLOGIN"); way.cut(false) }, func() { do("ALTER ROLE tracker LOGIN") }, "not permitted to log in", false},
		{"it only reads", func() { do("ALTER ROLE tracker SET default_transaction_read_only = on"); way.cut(false) }, func() { do("ALTER ROLE tracker RESET default_transaction_read_only") }, "read-only transaction", true},
		{"the tracker may not write", func() { do("REVOKE INSERT, UPDATE ON ALL TABLES IN SCHEMA public FROM tracker") }, func() { do("GRANT INSERT, UPDATE ON ALL TABLES IN SCHEMA public TO tracker") }, "permission denied", true},
	} {
		t.Log(c.name)
		c.begin()
		w.builds("alice", n, 300)
		w.Publish()
		for line := ""; line == "" || !strings.Contains(line, c.says); {
			line = r.until(`msg="the log is not followed"`)
			if !strings.Contains(line, "the database does not take what the log holds, which is tried again: ") {
				t.Errorf("%s: %s", c.name, line)
			}
		}
		for page, status := range map[string]int{"/healthz": http.StatusServiceUnavailable, "/operators": http.StatusServiceUnavailable, "/metrics": http.StatusOK} {
			if c.readable {
				status = http.StatusOK
			}
			if got, body := r.get(page); got != status {
				t.Errorf("%s: %s: status %d: %.200s", c.name, page, got, body)
			}
		}
		c.end()
		r.until("the log is followed again")
		n += 300
		r.await("/metrics", func(_ int, body string) bool {
			return strings.Contains(body, fmt.Sprintf("firn_tracker_log_replayed{origin=%q} %d\n", w.Origin(), n+2))
		})
	}
	if err := r.stop(); err != nil {
		t.Error(err)
	}
	got := output(t, "dump", dir)
	fresh := filepath.Join(t.TempDir(), "fresh")
	logsConfig(t, fresh, "", w)
	output(t, "rebuild", fresh)
	if want := output(t, "dump", fresh); got != want {
		t.Errorf("another database: %s", difference(got, want))
	}
}
