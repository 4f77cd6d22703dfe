package closure

import (
	"context"
	"crypto/ed25519"
	"crypto/sha256"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/firn-log/firn/internal/bincache"
	"github.com/firn-log/firn/internal/nix"
	"github.com/firn-log/firn/log/logtest"
	"github.com/firn-log/firn/verify"
)

// shelf is a cache in memory.
type shelf struct {
	mu    sync.Mutex
	infos map[string]*nix.NarInfo // by hash part
	asked map[string]int
	next  func(hashPart string) *nix.NarInfo // makes what is not there; nil makes nothing
}

func newShelf() *shelf { return &shelf{infos: map[string]*nix.NarInfo{}, asked: map[string]int{}} }

func (s *shelf) NarInfo(_ context.Context, part string) (*nix.NarInfo, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.asked[part]++
	if info := s.infos[part]; info != nil {
		return info, nil
	}
	if s.next != nil {
		return s.next(part), nil
	}
	return nil, bincache.ErrMissing
}

func pathOf(t *testing.T, name string) nix.StorePath {
	t.Helper()
	sum := sha256.Sum256([]byte(name))
	p, err := nix.DefaultStoreDir.FromBase(nix.EncodeBase32(sum[:20]) + "-" + name)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func (s *shelf) put(t *testing.T, name string, refs ...string) *nix.NarInfo {
	t.Helper()
	info := &nix.NarInfo{FileSize: 100}
	info.Path, info.NarHash, info.NarSize = pathOf(t, name), sha256.Sum256([]byte(name)), 1000
	for _, r := range refs {
		info.References = append(info.References, pathOf(t, r))
	}
	slices.SortFunc(info.References, nix.StorePath.Compare)
	s.infos[info.Path.HashPart()] = info
	return info
}

func TestTheClosureOfACacheIsWalkedAndEachNarinfoReadOnce(t *testing.T) {
	s := newShelf()
	s.put(t, "app", "app", "lib", "doc")
	s.put(t, "doc", "lib")
	s.put(t, "lib", "lib", "app") // a cycle of two, which a cache can claim
	s.put(t, "stranger")
	progressed := 0
	got, err := WalkCache(t.Context(), s, []nix.StorePath{pathOf(t, "app"), pathOf(t, "app")}, func(done, known int) { progressed = max(progressed, done) })
	if err != nil || names(got.Subjects()) != "app doc lib" || len(got.Absent) != 0 {
		t.Fatalf("%+v, %v", got, err)
	}
	if progressed != 3 {
		t.Errorf("progress says %d of 3", progressed)
	}
	for part, n := range s.asked {
		if n != 1 {
			t.Errorf("%s was asked for %d times", part, n)
		}
	}
	if !slices.IsSortedFunc(got.Infos, func(a, b *nix.NarInfo) int { return a.Path.Compare(b.Path) }) {
		t.Error("not sorted")
	}
}

func TestWhatACacheLacksIsNamed(t *testing.T) {
	s := newShelf()
	s.put(t, "app", "gone")
	got, err := WalkCache(t.Context(), s, []nix.StorePath{pathOf(t, "app")}, nil)
	if err != nil || len(got.Absent) != 1 || got.Absent[0] != (Absent{pathOf(t, "gone"), pathOf(t, "app")}) {
		t.Fatalf("%+v, %v", got, err)
	}
	if sub := got.Subjects()[1]; sub.Absent != "the cache does not have it, and app refers to it" {
		t.Errorf("%+v", sub)
	}
	if _, err := WalkCache(t.Context(), s, []nix.StorePath{pathOf(t, "gone")}, nil); !errors.Is(err, bincache.ErrMissing) {
		t.Errorf("a root that is not there: %v", err)
	}
}

func TestACacheThatGivesAPathAnotherNameLies(t *testing.T) {
	s := newShelf()
	info := s.put(t, "app")
	other, err := nix.DefaultStoreDir.FromBase(info.Path.HashPart() + "-other")
	if err != nil {
		t.Fatal(err)
	}
	info.Path = other
	var lie *bincache.LieError
	if _, err := WalkCache(t.Context(), s, []nix.StorePath{pathOf(t, "app")}, nil); !errors.As(err, &lie) {
		t.Errorf("%v", err)
	}
}

// A cache can claim references without end.
func TestAClosureWithoutEndIsRefused(t *testing.T) {
	s := newShelf()
	n := 0
	s.next = func(part string) *nix.NarInfo {
		info := &nix.NarInfo{}
		info.Path, _ = nix.DefaultStoreDir.FromBase(part + "-x")
		for range 5000 {
			n++
			sum := sha256.Sum256(fmt.Append(nil, n))
			p, _ := nix.DefaultStoreDir.FromBase(nix.EncodeBase32(sum[:20]) + "-x")
			info.References = append(info.References, p)
		}
		return info
	}
	root, _ := nix.DefaultStoreDir.FromBase("00000000000000000000000000000000-x")
	if _, err := WalkCache(t.Context(), s, []nix.StorePath{root}, nil); err == nil || !strings.Contains(err.Error(), "more than 200000 paths") {
		t.Errorf("%v", err)
	}
}

func TestTheReportSaysWhatADownloadWouldBeAndWhoSigned(t *testing.T) {
	s := newShelf()
	seed := sha256.Sum256([]byte("cache"))
	key := nix.SecretKey{Name: "cache-1", Key: ed25519.NewKeyFromSeed(seed[:])}
	public := nix.PublicKey{Name: "cache-1", Key: key.Key.Public().(ed25519.PublicKey)}
	app, lib, doc := s.put(t, "app", "lib", "doc"), s.put(t, "lib"), s.put(t, "doc")
	app.Sigs = []string{key.Sign(app.Fingerprint()), "other-1:\x1b[31m", "other-1:x"}
	lib.Sigs = []string{key.Sign(app.Fingerprint())} // of another path
	doc.FileSize = 0
	got, err := WalkCache(t.Context(), s, []nix.StorePath{app.Path}, nil)
	if err != nil {
		t.Fatal(err)
	}
	here := func(p nix.StorePath) bool { return p == lib.Path }
	r := got.Report("https://cache.example", []nix.PublicKey{public}, here)
	if r.Here != 1 || r.Download != 2 || r.DownloadBytes != 100 || r.UnpackedBytes != 2000 || r.Unsized != 1 ||
		r.Valid != 1 || r.Unsigned != 1 || r.Signed["cache-1"] != 2 || r.Signed["other-1"] != 1 {
		t.Errorf("%+v", r)
	}
	want := `Nothing was downloaded from https://cache.example. The download would be 2 paths, 100 bytes and 1 file whose size the cache does not say (2.0 KiB unpacked); 1 path here already.
Signed in the name of cache-1 (2), other-1 (1); 1 path not signed; 1 of 3 by a key of the policy's upstream line. Verdicts do not rest on that.`
	if words := r.Words(); words != want {
		t.Errorf("got  %s\nwant %s", words, want)
	}
	r = got.Report("https://cache.example", nil, func(nix.StorePath) bool { return true })
	if words := r.Words(); !strings.Contains(words, "All that it has of this is here already.") || !strings.Contains(words, "Nobody checked that") {
		t.Error(words)
	}
}

func TestFactsComeFromDerivationsAndRoots(t *testing.T) {
	f, s := newFake(t)
	lib := f.add(t, "lib")
	app := f.add(t, "app", lib)
	other := f.add(t, "other")
	drv := f.write(t, "ca", floating)
	f.derivers[lib] = []nix.StorePath{drv}
	text := "log l file l url https://log.example\noperator a key " + strings.Repeat("0", 64) + "\ngroup g any a\n" +
		"rule s system x86_64-linux need g\nrule f fod need g\nrule c closure " + app.String() + " need g\nrule default need g\n"
	pol, err := verify.ParsePolicy("firn.policy", []byte(text), func(string) ([]byte, error) {
		return []byte(logtest.New(t).PolicyText()), nil
	})
	if err != nil {
		t.Fatal(err)
	}
	got, err := s.Subjects(t.Context(), []string{app.String(), other.String()})
	if err == nil {
		err = s.AddFacts(t.Context(), pol, got)
	}
	if err != nil {
		t.Fatal(err)
	}
	for _, sub := range got {
		facts := sub.Facts
		if inApp := sub.Info.Path != other; (len(facts.Roots) == 1) != inApp || !facts.RootsKnown {
			t.Errorf("%s: roots %v", sub.Info.Path.Name(), facts.Roots)
		}
		if facts.SystemKnown != (sub.Info.Path == lib) || facts.SystemKnown && facts.System != "x86_64-linux" {
			t.Errorf("%s: system %q", sub.Info.Path.Name(), facts.System)
		}
		if facts.FOD || !facts.FODKnown {
			t.Errorf("%s: fod %v", sub.Info.Path.Name(), facts.FOD)
		}
	}
}

// A derivation that fixes its output says nothing for content that is another, and what it fixes
// goes along, so that Nix holds what it gets against it.
func TestFixedContentIsHeldAgainstItsDerivation(t *testing.T) {
	f, s := newFake(t)
	pol, err := verify.ParsePolicy("firn.policy", []byte("log l file l url https://log.example\noperator a key "+strings.Repeat("0", 64)+"\ngroup g any a\n"+
		"rule s system x86_64-linux need g\nrule f fod need nothing else allow\nrule default need g\n"), func(string) ([]byte, error) {
		return []byte(logtest.New(t).PolicyText()), nil
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, method := range []nix.Method{nix.Flat, nix.Recursive} {
		hash := nix.Hash{7, byte(method)}
		ca := nix.ContentAddress{Method: method, Algo: "sha256", Hash: hash[:]}
		p, err := nix.FixedOutputPath(nix.DefaultStoreDir, "source", ca, nix.Refs{})
		if err != nil {
			t.Fatal(err)
		}
		for _, system := range []string{"x86_64-linux", "aarch64-linux"} {
			f.derivers[p] = append(f.derivers[p], f.write(t, "source", fmt.Sprintf(`Derive([("out","%s","%s","%s")],[],[],"%s","/bin/sh",[],[("out","%[1]s")])`, p, ca.MethodAlgo(), hash.Hex(), system)))
		}
		for name, c := range map[string]struct {
			info  nix.PathInfo
			fixed bool
		}{
			"what it fixes":         {nix.PathInfo{NarHash: hash, NarSize: 1}, true},
			"another NAR":           {nix.PathInfo{NarHash: nix.Hash{8}, NarSize: 1}, method == nix.Flat}, // which Nix sees
			"references":            {nix.PathInfo{NarHash: hash, NarSize: 1, References: []nix.StorePath{pathOf(t, "lib")}}, false},
			"a made-up address":     {nix.PathInfo{NarHash: hash, NarSize: 1, CA: "fixed:sha256:" + nix.EncodeBase32(make([]byte, 32))}, false},
			"an honest address":     {nix.PathInfo{NarHash: hash, NarSize: 1, CA: ca.String()}, true},
			"a reference to itself": {nix.PathInfo{NarHash: hash, NarSize: 1, References: []nix.StorePath{p}}, false},
		} {
			info := c.info
			info.Path = p
			got := []verify.Subject{{Info: &info}}
			if err := s.AddFactsAhead(t.Context(), pol, got); err != nil {
				t.Fatal(err)
			}
			facts := got[0].Facts
			if facts.FOD && !facts.FODKnown || !facts.FOD && facts.FODKnown || facts.SystemKnown {
				t.Errorf("method %d, %s: %+v", method, name, facts)
			}
			facts.Path = p
			rule := pol.RuleFor(facts)
			if got := verify.Fixes(&info); got != c.fixed || c.info.CA == "" && facts.FOD != c.fixed || !c.fixed && rule.Else != verify.Refuse {
				t.Errorf("method %d, %s: fixed %v, %+v, %q, rule %s", method, name, got, facts, info.CA, rule.Name)
			}
		}
	}
}
