package audit

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/firn-log/firn/log/evidence"
	"github.com/firn-log/firn/log/index"
	"github.com/firn-log/firn/log/logtest"
	"github.com/firn-log/firn/log/statement"
	"github.com/firn-log/firn/witness"
)

func TestWhatIsRightPasses(t *testing.T) {
	l := logtest.New(t)
	a := startAudit(t, l, nil)
	for i := range 12 {
		a.want(fill(t, l, string(rune('a'+i)), 40), 200)
		a.want(revise(l), 200)
		if i%5 == 4 {
			a.restart()
		}
	}
	if got := a.counts.revisions; got == 0 {
		t.Error("no revision was compared")
	}
	if s := a.Status(); s.State() != "current" || s.Computed != l.Size() || a.Ready() != nil {
		t.Errorf("status %+v, ready %v", s, a.Ready())
	}
}

// edits are what a log may do to its map, with a word of what convicts it.
var edits = map[string]struct {
	edit func(*logtest.Log, *logtest.Lies)
	why  string
}{
	"a key is hidden": {func(_ *logtest.Log, l *logtest.Lies) {
		l.Hide = map[string]bool{logtest.ClosureKey("bd"): true}
	}, logtest.ClosureKey("bd")},
	"an item is hidden from a long list": {func(_ *logtest.Log, l *logtest.Lies) {
		l.Index = func(key string, it index.Item) (index.Item, bool) {
			return it, !(strings.HasPrefix(key, "key:") && it.Index == 30)
		}
	}, "lacks the entry 30"},
	"another signer": {func(_ *logtest.Log, l *logtest.Lies) {
		l.Index = func(key string, it index.Item) (index.Item, bool) {
			if key == logtest.ClosureKey("bd") {
				it.Signer[0] ^= 1
			}
			return it, true
		}
	}, "under another key than its signer's"},
	"an entry that does not belong there": {func(_ *logtest.Log, l *logtest.Lies) {
		l.Extra = map[string][]index.Item{"out:/nix/store/nothing": {{Index: 7}}}
	}, "has the entry 7, which does not belong there"},
	"an entry in the list of another": {func(_ *logtest.Log, l *logtest.Lies) {
		l.Extra = map[string][]index.Item{logtest.ClosureKey("ba"): {{Index: 49}}}
	}, "has the entry 49, which does not belong there"},
	"an index twice": {func(_ *logtest.Log, l *logtest.Lies) {
		l.Extra = map[string][]index.Item{logtest.ClosureKey("ba"): {{Index: 41}}}
	}, "after"},
	"an entry from beyond": {func(_ *logtest.Log, l *logtest.Lies) {
		l.Index = func(key string, it index.Item) (index.Item, bool) {
			if key == logtest.ClosureKey("bd") {
				it.Index = 1 << 40
			}
			return it, true
		}
	}, "beyond size"},
	"everything is hidden": {func(_ *logtest.Log, l *logtest.Lies) {
		l.Index = func(_ string, it index.Item) (index.Item, bool) { return it, false }
	}, "the map has no"},
	"leaves on the wrong side": {func(_ *logtest.Log, l *logtest.Lies) {
		l.Trie = func(n *index.Node) *index.Node {
			d, a, b, _ := n.AsBranch()
			return index.Branch(d, b, a)
		}
	}, "where its key does not lead"},
}

func TestWhatIsWrongIsRefusedAndConvicted(t *testing.T) {
	for name, tt := range edits {
		t.Run(name, func(t *testing.T) {
			l := logtest.New(t)
			a := startAudit(t, l, nil)
			a.want(fill(t, l, "a", 40), 200)
			good := revise(l)
			a.want(good, 200)
			before := fill(t, l, "b", 20)
			l.Lie(func(lies *logtest.Lies) { tt.edit(l, lies) })
			bad := revise(l)
			a.want(bad, 403)
			a.want(good, 200)
			a.want(before, 200)
			if why := a.convicted(); !strings.Contains(why, tt.why) {
				t.Errorf("convicted because %q, want %q", why, tt.why)
			}
			a.want(fill(t, l, "c", 3), 403)
			l.Lie(func(lies *logtest.Lies) { *lies = logtest.Lies{} })
			a.want(revise(l), 403)
			a.restart()
			a.want(bad, 403)
			a.want(fill(t, l, "d", 3), 403)
			if a.Ready() == nil || a.Status().State() != "wrong" {
				t.Error("it says that all is well")
			}
		})
	}
}

func TestAFirstRevisionThatIsWrong(t *testing.T) {
	l := logtest.New(t)
	l.Lie(func(lies *logtest.Lies) { lies.Hide = map[string]bool{logtest.ClosureKey("ab"): true} })
	fill(t, l, "a", 5)
	note := revise(l)
	a := startAudit(t, l, nil)
	a.want(note, 403)
	a.convicted()
}

func TestResetEndsRefusal(t *testing.T) {
	l := logtest.New(t)
	a := startAudit(t, l, nil)
	fill(t, l, "a", 10)
	size := l.Size()
	l.Lie(func(lies *logtest.Lies) { lies.Hide = map[string]bool{logtest.ClosureKey("ab"): true} })
	bad := revise(l)
	a.want(bad, 403)
	l.Lie(func(lies *logtest.Lies) { *lies = logtest.Lies{} })
	a.want(reset(l, size-1), 403) // withdraws nothing of it

	stranger := logtest.Signer(t, "stranger")
	l.Add(logtest.Leaf(t, stranger, &statement.IndexReset{Origin: l.Origin(), MapVersion: index.MapVersion, Size: size}))
	a.want(l.Publish(), 403)
	l.Add(l.State(&statement.IndexReset{Origin: l.Origin(), MapVersion: 2, Size: size}))
	a.want(l.Publish(), 403)
	l.Add(l.State(&statement.IndexReset{Origin: "log.example/89abcdef", MapVersion: index.MapVersion, Size: size}))
	a.want(l.Publish(), 403)
	l.Add(l.State(&statement.IndexReset{Origin: l.Origin(), MapVersion: index.MapVersion, Size: 1 << 30}))
	last := l.Publish()
	a.want(last, 403)

	a.want(reset(l, size), 200)
	a.want(last, 403) // does not hold the reset
	a.want(revise(l), 200)
	a.convicted()
	a.restart()
	a.want(last, 403)
	a.want(fill(t, l, "b", 3), 200)
	if a.Ready() != nil {
		t.Error(a.Ready())
	}
}

func TestWithheldNodesAreNoEvidence(t *testing.T) {
	for name, edit := range map[string]func(path string, status int, body []byte) (int, []byte){
		"refused": func(path string, status int, body []byte) (int, []byte) {
			if strings.HasPrefix(path, "v1/index/") {
				return http.StatusServiceUnavailable, nil
			}
			return status, body
		},
		"spoilt": func(path string, status int, body []byte) (int, []byte) {
			if strings.HasPrefix(path, "v1/index/") {
				body[len(body)-1] ^= 1
			}
			return status, body
		},
		"empty": func(path string, status int, body []byte) (int, []byte) {
			if strings.HasPrefix(path, "v1/index/") {
				body = []byte{0}
			}
			return status, body
		},
		"lists": func(path string, status int, body []byte) (int, []byte) {
			if strings.HasSuffix(path, "/list") {
				return http.StatusNotFound, nil
			}
			return status, body
		},
	} {
		t.Run(name, func(t *testing.T) {
			l := logtest.New(t)
			a := startAudit(t, l, nil)
			fill(t, l, "a", 10)
			l.Lie(func(lies *logtest.Lies) {
				lies.Edit = edit
				lies.Index = func(key string, it index.Item) (index.Item, bool) { return it, it.Index != 3 || key[:4] != "key:" }
			})
			a.want(revise(l), 403)
			a.until("the alarm", func() bool { return a.Status().Withheld != "" })
			if why := a.Status().Withheld; !strings.Contains(why, errWithheld.Error()) {
				t.Errorf("withheld: %s", why)
			}
			if a.Ready() == nil || !strings.Contains(a.Ready().Error(), "does not show how") {
				t.Errorf("ready: %v", a.Ready())
			}
			if n := len(a.held()); n > 0 {
				t.Errorf("%d pieces of evidence", n)
			}
			// It is tried again, and a reset does not end that the log is refused meanwhile.
			l.Lie(func(lies *logtest.Lies) { lies.Edit = nil })
			signal(a.hunts)
			a.convicted()
			a.until("the end of the alarm", func() bool { return a.Status().Withheld == "" })
		})
	}
}

// A revision of one size with two roots convicts whatever the log shows.
func TestTwoRootsOfOneSize(t *testing.T) {
	for name, rightFirst := range map[string]bool{"the right one first": true, "the wrong one first": false} {
		t.Run(name, func(t *testing.T) {
			l := logtest.New(t)
			a := startAudit(t, l, nil)
			note := fill(t, l, "a", 10)
			a.want(note, 200)
			l.Lie(func(lies *logtest.Lies) {
				lies.Edit = func(path string, status int, body []byte) (int, []byte) {
					if strings.HasPrefix(path, "v1/index/") {
						return 404, nil
					}
					return status, body
				}
			})
			size := l.Size()
			wrong := l.State(&statement.Revision{Origin: l.Origin(), Size: size, Root: [32]byte{1}, MapVersion: index.MapVersion})
			if !rightFirst {
				l.Add(wrong)
			}
			l.Revise()
			if rightFirst {
				l.Add(wrong)
			}
			a.want(l.Publish(), 403)
			if why := a.convicted(); !strings.Contains(why, "have different roots") {
				t.Error(why)
			}
		})
	}
}

// Leaves that look like revisions and count for nothing.
func TestWhatDoesNotCountStopsNothing(t *testing.T) {
	l := logtest.New(t)
	a := startAudit(t, l, nil)
	fill(t, l, "a", 10)
	size := l.Size()
	rev := statement.Revision{Origin: l.Origin(), Size: size, Root: [32]byte{1}, MapVersion: index.MapVersion}
	future, later, other := rev, rev, rev
	future.Size, later.MapVersion, other.Origin = 1000, 2, "log.example/89abcdef"
	l.Add(l.State(&future))
	l.Add(l.State(&later))
	l.Add(l.State(&other))
	l.Add(logtest.Leaf(t, logtest.Signer(t, "stranger"), &rev))
	good := l.State(&rev)
	good[len(good)-1] ^= 1 // the signature
	l.Add(good)
	l.Add([]byte("no statement"))
	a.want(l.Publish(), 200)
	a.want(revise(l), 200)
	l.Add(l.State(&later))
	a.want(l.Publish(), 200)
	if n := len(a.held()); n > 0 || a.counts.wrong > 0 {
		t.Errorf("%d pieces of evidence, %d wrong revisions", n, a.counts.wrong)
	}
}

// A revision of an old size is compared, if it is not too far behind; a second one of that
// size convicts.
func TestOldSizesAreCompared(t *testing.T) {
	l := logtest.New(t)
	a := startAudit(t, l, nil)
	var m index.Memory
	state := func(size uint64, root index.Hash) []byte {
		l.Add(l.State(&statement.Revision{Origin: l.Origin(), Size: size, Root: root, MapVersion: index.MapVersion}))
		return l.Publish()
	}
	s := logtest.Signer(t, "somebody")
	for i := range 5 {
		leaf := logtest.Leaf(t, s, logtest.Closure(string(rune('a'+i))))
		m.Add(l.Add(leaf), leaf)
	}
	a.want(fill(t, l, "n", 300), 200)
	a.restart()
	a.want(state(5, m.Root()), 200)
	a.restart()
	a.want(state(5, index.Hash{9}), 403)
	if why := a.convicted(); !strings.Contains(why, "different roots") {
		t.Error(why)
	}
}

func TestALateRevisionIsCompared(t *testing.T) {
	l := logtest.New(t)
	a := startAudit(t, l, nil)
	a.want(fill(t, l, "n", 300), 200)
	a.restart()
	l.Add(l.State(&statement.Revision{Origin: l.Origin(), Size: 7, Root: [32]byte{9}, MapVersion: index.MapVersion}))
	a.want(l.Publish(), 403)
	if s := a.Status(); s.State() != "wrong" || s.Wrong != 1 {
		t.Errorf("%+v", s)
	}
}

func TestGateRefusesWhatItCannotRead(t *testing.T) {
	l := logtest.New(t)
	a := startAudit(t, l, func(o *Options) { o.Wait = 50 * time.Millisecond })
	note := fill(t, l, "a", 10)
	l.Lie(func(lies *logtest.Lies) { lies.NoTiles = true })
	a.want(note, 503)
	if a.Ready() == nil {
		t.Error("it is ready")
	}
	l.Lie(func(lies *logtest.Lies) { lies.NoTiles = false })
	a.until("the entries", func() bool { return a.Status().Computed == l.Size() })
	a.want(note, 200)
	if a.Ready() != nil {
		t.Error(a.Ready())
	}
	other := logtest.New(t, logtest.Origin("log.example/89abcdef"))
	err := Gates([]*Auditor{a.Auditor})(context.Background(), &witness.Request{Head: headOf(t, other.Publish())})
	if err == nil || err.(*witness.Refusal).Status != 404 {
		t.Errorf("a checkpoint of another log: %v", err)
	}
}

func TestMirrorIsRead(t *testing.T) {
	l := logtest.New(t)
	a := startAudit(t, l, func(o *Options) { o.Mirrors = []string{l.FileURL()} })
	note := fill(t, l, "a", 10)
	l.Lie(func(lies *logtest.Lies) { lies.NoTiles = true })
	a.want(note, 200)
}

func TestForkedLogIsRefused(t *testing.T) {
	l, m := logtest.New(t), logtest.New(t)
	a := startAudit(t, l, nil)
	a.want(fill(t, l, "a", 10), 200)
	fill(t, m, "b", 12)
	l.Lie(func(lies *logtest.Lies) { lies.Down = true })
	other := startAuditAt(a, m)
	other.want(m.Publish(), 403)
	if vs := other.held(); len(vs) != 1 || vs[0].Kind != evidence.KindLog {
		t.Errorf("held: %+v", vs)
	}
}

// startAuditAt stops a and starts it again with another log's URL.
func startAuditAt(a *testAudit, l *logtest.Log) *testAudit {
	a.close()
	a.o.URL = l.URL()
	a.open()
	return a
}

// What is lost or damaged is computed again, and nothing wrong passes meanwhile.
func TestDamagedFilesAreMadeAgain(t *testing.T) {
	for name, damage := range map[string]func(t *testing.T, a *testAudit){
		"state":    func(t *testing.T, a *testAudit) { write(t, a.file, "firn-auditor state v1\nchecked 99999\n") },
		"no state": func(t *testing.T, a *testAudit) { remove(t, a.file) },
		"no map":   func(t *testing.T, a *testAudit) { remove(t, a.mapDir()) },
		"no memory": func(t *testing.T, a *testAudit) {
			remove(t, a.o.Dir+"/checkpoints")
		},
		"map": func(t *testing.T, a *testAudit) { write(t, a.mapDir()+"/manifest", "nonsense") },
	} {
		t.Run(name, func(t *testing.T) {
			l := logtest.New(t)
			a := startAudit(t, l, nil)
			fill(t, l, "a", 30)
			a.want(revise(l), 200)
			fill(t, l, "b", 5)
			l.Lie(func(lies *logtest.Lies) { lies.Hide = map[string]bool{logtest.ClosureKey("bb"): true} })
			bad := revise(l)
			a.want(bad, 403)
			a.convicted()
			a.close()
			damage(t, a)
			a.open()
			a.want(bad, 403)
			a.want(fill(t, l, "c", 5), 403)
		})
	}
}

func write(t *testing.T, path, text string) {
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

func remove(t *testing.T, path string) {
	if err := os.RemoveAll(path); err != nil {
		t.Fatal(err)
	}
}

// A difference early in a list of which the log shows 10,000 items at once.
func TestLongListsAreReadFromTheirEnd(t *testing.T) {
	l := logtest.New(t)
	a := startAudit(t, l, nil)
	s := logtest.Signer(t, "somebody")
	for i := range 10_020 {
		l.Add(logtest.Leaf(t, s, logtest.Closure(fmt.Sprint("n", i))))
	}
	l.Publish()
	l.Lie(func(lies *logtest.Lies) {
		lies.Index = func(key string, it index.Item) (index.Item, bool) { return it, it.Index != 3 || key[:4] != "key:" }
	})
	a.want(revise(l), 403)
	if why := a.convicted(); !strings.Contains(why, "lacks the entry 3") {
		t.Error(why)
	}
}
