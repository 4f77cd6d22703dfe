package verify

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strconv"
	"testing"

	"golang.org/x/mod/sumdb/tlog"

	"github.com/firn-log/firn/log/index"
	"github.com/firn-log/firn/log/logtest"
	"github.com/firn-log/firn/log/statement"
)

// benchPaths and benchOperators are the closure of issue 2's target: 2,000
// paths with 4 statements each.
const (
	benchPaths     = 2000
	benchOperators = 4
)

// readyLog answers lookups from what it computed beforehand, so that the
// benchmark measures the asking side and loopback HTTP.
type readyLog struct {
	static http.Handler
	note   string
	size   int
	lists  map[string][]listed
	bodies []json.RawMessage // by index
}

type listed struct {
	Index int    `json:"index"`
	KeyID string `json:"key_id"`
}

func newReadyLog(b *testing.B, l *logtest.Log, leaves [][]byte) *readyLog {
	b.Helper()
	for _, leaf := range leaves {
		l.Add(leaf)
	}
	r := &readyLog{static: http.FileServer(http.Dir(l.Dir())), note: string(l.Publish()), size: len(leaves), lists: make(map[string][]listed)}
	var hashes []tlog.Hash
	reader := tlog.HashReaderFunc(func(indexes []int64) ([]tlog.Hash, error) {
		out := make([]tlog.Hash, len(indexes))
		for i, x := range indexes {
			out[i] = hashes[x]
		}
		return out, nil
	})
	for i, leaf := range leaves {
		stored, err := tlog.StoredHashes(int64(i), leaf, reader)
		if err != nil {
			b.Fatal(err)
		}
		hashes = append(hashes, stored...)
	}
	for i, leaf := range leaves {
		s, err := statement.Parse(leaf)
		if err != nil {
			b.Fatal(err)
		}
		for _, k := range index.Keys(leaf) {
			r.lists[k] = append(r.lists[k], listed{i, s.Signer.String()})
		}
		proof, err := tlog.ProveRecord(int64(len(leaves)), int64(i), reader)
		if err != nil {
			b.Fatal(err)
		}
		inclusion := ""
		for _, h := range proof {
			inclusion += `,"` + base64.StdEncoding.EncodeToString(h[:]) + `"`
		}
		r.bodies = append(r.bodies, json.RawMessage(fmt.Sprintf(`{"leaf":"%s","inclusion":[%s]}`, base64.StdEncoding.EncodeToString(leaf), inclusion[1:])))
	}
	return r
}

func (r *readyLog) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	if req.URL.Path != "/v1/lookup" {
		r.static.ServeHTTP(w, req)
		return
	}
	var q struct {
		Keys    []string
		Signers []string
		After   int
	}
	body, err := io.ReadAll(req.Body)
	if err != nil || json.Unmarshal(body, &q) != nil {
		http.Error(w, "bad", http.StatusBadRequest)
		return
	}
	var out, leaves bytes.Buffer
	note, _ := json.Marshal(r.note)
	fmt.Fprintf(&out, `{"schema":1,"size":%d,"checkpoint":%s,"answers":[`, r.size, note)
	sent := make(map[int]bool)
	for i, k := range q.Keys {
		if i > 0 {
			out.WriteByte(',')
		}
		list := []listed{}
		for _, e := range r.lists[k] {
			if e.Index < q.After {
				continue
			}
			list = append(list, e)
			if !sent[e.Index] && (q.Signers == nil || len(q.Signers) > 0) { // every signer of this log is asked for
				sent[e.Index] = true
				if leaves.Len() > 0 {
					leaves.WriteByte(',')
				}
				leaves.WriteString(`"` + strconv.Itoa(e.Index) + `":`)
				leaves.Write(r.bodies[e.Index])
			}
		}
		entries, _ := json.Marshal(list)
		fmt.Fprintf(&out, `{"key":%q,"entries":%s}`, k, entries)
	}
	out.WriteString(`],"leaves":{`)
	out.Write(leaves.Bytes())
	out.WriteString(`}}`)
	w.Write(out.Bytes())
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
	server := httptest.NewServer(newReadyLog(b, w.logs[0], leaves))
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
