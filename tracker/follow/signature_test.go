package follow

import (
	"bytes"
	"crypto/ed25519"
	"errors"
	"fmt"
	"testing"

	"github.com/firn-log/firn/internal/nix"
	"github.com/firn-log/firn/log"
	"github.com/firn-log/firn/log/logtest"
	"github.com/firn-log/firn/log/statement"
)

// What is signed inside a statement counts too: the proof of a new key, and what a Nix key said.
func TestWhatIsSignedInsideIsVerified(t *testing.T) {
	w := newWorld(t)
	w.register()
	body, err := statement.ProveKey(t.Context(), logtest.Signer(t, "another"), statement.ID{1}, statement.RoleBuild) // for somebody else
	if err != nil {
		t.Fatal(err)
	}
	body.OperatorID = w.id
	w.people(body)
	modulo := nix.Hash{1}
	path, err := nix.OutputPath(nix.DefaultStoreDir, modulo, "x", "out")
	if err != nil {
		t.Fatal(err)
	}
	r := &statement.Realisation{
		StoreDir: nix.DefaultStoreDir, Modulo: &modulo, Output: "out", Path: path, Builder: statement.Builder{Implementation: "nix", Version: "2.8.0"},
		NixSigs: []statement.NixSig{{KeyName: "k-1", Key: [32]byte(logtest.Signer(t, "nix").PublicKey().Ed25519()), Sig: [64]byte{1}, Form: statement.SigByModulo}},
	}
	w.Add(logtest.Leaf(t, logtest.Signer(t, "alice"), r))
	w.Publish()
	store := newFake()
	f := follow(t, t.TempDir(), store, w.log())
	replay(t, f)
	if s := f.Status()[0]; s.Left != 2 || s.Unverified != 0 {
		t.Errorf("%+v", s)
	}
	for _, e := range store.entries[w.Origin()] {
		if e.Verified != (e.Index < 2) {
			t.Errorf("entry %d: verified %v", e.Index, e.Verified)
		}
	}
}

// The list that a signature of a cache covers is read where the leaf has only its digest.
func TestAListOfReferencesIsReadFromTheLog(t *testing.T) {
	key := nix.SecretKey{Name: "cache-1", Key: ed25519.NewKeyFromSeed(make([]byte, 32))}
	path := func(name string) nix.StorePath {
		p, err := nix.DefaultStoreDir.FromBase("00000000000000000000000000000000-" + name)
		if err != nil {
			t.Fatal(err)
		}
		return p
	}
	info := &nix.PathInfo{Path: path("hello"), NarSize: 1}
	for i := range 1500 {
		info.References = append(info.References, path(fmt.Sprintf("dependency-number-%04d", i)))
	}
	long, err := statement.NewCacheSig(info, key.Public(), key.Sign(info.Fingerprint()))
	if err != nil {
		t.Fatal(err)
	}
	body := long.Body.(*statement.CacheSig)
	forged := *body
	forged.NarSize = 2
	payload, err := statement.EncodePayload(&forged, "", nil)
	if err != nil {
		t.Fatal(err)
	}
	other := bytes.Clone(long.Leaf())
	if i := bytes.Index(other, long.Payload); i < 0 || len(payload) != len(long.Payload) {
		t.Fatal("the payload is elsewhere")
	} else {
		copy(other[i:], payload)
	}
	list := statement.PathsBlob(info.References)
	for _, there := range []bool{true, false} {
		w := newWorld(t)
		w.Add(long.Leaf())
		w.Add(other)
		w.Publish()
		w.Lie(func(l *logtest.Lies) {
			l.Edit = func(path string, status int, b []byte) (int, []byte) {
				if there && path == log.BlobPath(*body.RefsDigest) {
					return 200, list
				}
				return status, b
			}
		})
		store := newFake()
		f := follow(t, t.TempDir(), store, w.log())
		replay(t, f)
		got := store.entries[w.Origin()]
		s := f.Status()[0]
		switch {
		case there && (!got[0].Verified || got[1].Verified || s.Left != 1):
			t.Errorf("with the list: %v, %v, %+v", got[0].Verified, got[1].Verified, s)
		case !there && (got[0].Verified || got[1].Verified || s.Unverified != 2):
			t.Errorf("without it: %+v", s)
		}
	}
}

// While a log does not give a list of references, nothing behind it is added: what the
// database holds must not depend on when the log answered.
func TestAListThatIsAwayIsWaitedFor(t *testing.T) {
	long, at, list := longClaim(t)
	w := newWorld(t)
	w.register()
	w.Add(long)
	w.Publish()
	away := true
	w.Lie(func(l *logtest.Lies) {
		l.Edit = func(path string, status int, b []byte) (int, []byte) {
			switch {
			case path != at:
				return status, b
			case away:
				return 503, []byte("later")
			}
			return 200, list
		}
	})
	store := newFake()
	f := follow(t, t.TempDir(), store, w.log())
	if err := f.Replay(t.Context()); !errors.Is(err, log.ErrUnreachable) {
		t.Errorf("%v", err)
	}
	if n := len(store.entries[w.Origin()]); n > 2 {
		t.Errorf("%d entries", n)
	}
	away = false
	replay(t, f)
	if got := store.entries[w.Origin()]; len(got) != 3 || !got[2].Verified {
		t.Errorf("%d entries", len(got))
	}
}
