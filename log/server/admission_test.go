package server

import (
	"bytes"
	"slices"
	"testing"
	"time"

	"github.com/firn-log/firn/log/server/sample"
	"github.com/firn-log/firn/log/server/store"
	"github.com/firn-log/firn/log/statement"
)

// newQuickLog is a log on a tree in memory.
func newQuickLog(t *testing.T, change func(*Config)) *testLog {
	t.Helper()
	l := &testLog{t: t, dir: t.TempDir(), o: Options{openStore: new(store.Memory).Open}}
	l.init(change)
	l.open()
	t.Cleanup(l.close)
	return l
}

// code submits one leaf and returns its error code, "" if it was accepted.
func (l *testLog) code(leaf []byte) string {
	l.t.Helper()
	_, a := l.post("?wait=0s", leaf)
	r := a.Results[0]
	if (r.Status == statusRejected) != (r.Error != "") || (r.Error != "") != (r.Message != "") {
		l.t.Errorf("%+v", r)
	}
	return r.Error
}

func TestRefusedStatementsHaveDistinctCodes(t *testing.T) {
	t.Parallel()
	l := newQuickLog(t, func(c *Config) { c.Admission.CacheKeys = []string{sample.CacheKey("cache.example-1")} })
	alice, bob := l.operator("alice"), l.operator("bob")
	stranger := sample.NewOperator("stranger", l.Origin())
	logSigner := l.key.statement
	revoked := sample.Signer("revoked")
	l.must(alice.AddKey(revoked, statement.RoleBuild))
	l.must(alice.Revoke(revoked.PublicKey().ID()))
	sign := func(s statement.Signer, body statement.Body, prev *statement.ID) []byte {
		return want(statement.Sign(t.Context(), s, body, "", prev))(t).Leaf()
	}
	addKey := func(key statement.Signer) []byte {
		return sign(alice.Identity, want(statement.ProveKey(t.Context(), key, alice.ID, statement.RoleBuild))(t), &alice.ID)
	}
	someID := statement.ID{1}
	vouch := &statement.Vouch{OperatorID: alice.ID, For: bob.ID}
	forged := slices.Clone(alice.Claim(sample.Build(900)))
	forged[len(forged)-1] ^= 1
	taken := want(statement.ProveKey(t.Context(), alice.Build, bob.ID, statement.RoleBuild))(t)
	badProof := want(statement.ProveKey(t.Context(), sample.Signer("new"), alice.ID, statement.RoleBuild))(t)
	badProof.Proof = slices.Clone(badProof.Proof)
	badProof.Proof[0] ^= 1

	for _, tt := range []struct {
		name string
		leaf []byte
		code string
	}{
		{"not CBOR", []byte("hello"), "bad-form"},
		{"altered signature", forged, "bad-signature"},
		{"unregistered key", stranger.Builds(0, 1)[0], "unknown-key"},
		{"identity key makes a claim", sign(alice.Identity, sample.Build(1), nil), "wrong-role"},
		{"build key vouches", sign(alice.Build, vouch, &someID), "wrong-role"},
		{"revoked key", sign(revoked, sample.Build(1), nil), "revoked-key"},
		{"operator statement by a registered key", sign(alice.Identity, &statement.Operator{Name: "mallory", Contact: "m", HomeLog: l.Origin(), Identity: alice.Identity.PublicKey()}, nil), "key-taken"},
		{"key of another operator", bob.People(taken), "key-taken"},
		{"own key again", alice.AddKey(alice.Build, statement.RoleBuild), "key-taken"},
		{"revoked key again", addKey(revoked), "key-taken"},
		{"in another operator's name", sign(bob.Identity, vouch, &alice.ID), "wrong-operator"},
		{"prev that is not here", sign(alice.Identity, vouch, &someID), "unknown-prev"},
		{"prev of another operator", sign(alice.Identity, vouch, &bob.ID), "unknown-prev"},
		{"vouch for nobody", sign(alice.Identity, &statement.Vouch{OperatorID: alice.ID, For: someID}, &alice.ID), "unknown-operator"},
		{"revocation of another's key", sign(alice.Identity, &statement.KeyRevoke{OperatorID: alice.ID, KeyID: bob.Build.PublicKey().ID(), Reason: statement.Retired, Elsewhere: statement.Keep}, &alice.ID), "unknown-target"},
		{"key-add with a false proof", signRaw(t, alice.Identity, badProof, &alice.ID), "bad-proof"},
		{"genesis from outside", sign(logSigner, &statement.Genesis{Origin: l.Origin(), LogKey: logSigner.PublicKey(), Rules: l.registry.Rules()}, nil), "log-only"},
		{"log-config from outside", sign(logSigner, &statement.LogConfig{Origin: l.Origin(), Rules: l.registry.Rules()}, nil), "log-only"},
		{"claim by the log key", sign(logSigner, sample.Build(1), nil), "log-only"},
		{"log key as a build key", addKey(logSigner), "log-only"},
		{"unlisted cache", sample.CacheSig("other.example-1", 1), "unlisted-cache"},
		{"listed cache", sample.CacheSig("cache.example-1", 1), ""},
		{"output path that does not follow", withPath(t, alice, 901, 902), "path-does-not-follow"},
	} {
		size := l.db.State().Size
		if got := l.code(tt.leaf); got != tt.code {
			t.Errorf("%s: %q, want %q", tt.name, got, tt.code)
		}
		if grew := l.db.State().Size != size; grew != (tt.code == "") {
			t.Errorf("%s: the tree grew: %v", tt.name, grew)
		}
	}
}

// signRaw signs a body whose Check only looks at its shape.
func signRaw(t *testing.T, s statement.Signer, body statement.Body, prev *statement.ID) []byte {
	t.Helper()
	payload, err := statement.EncodePayload(body, "", prev)
	if err != nil {
		t.Fatal(err)
	}
	return want(s.Sign(t.Context(), payload))(t)
}

// withPath is a signed build with its output path exchanged for another. No
// Signer would sign it; but what a log says about the path comes first.
func withPath(t *testing.T, o *sample.Operator, n, other int) []byte {
	t.Helper()
	leaf := o.Claim(sample.Build(n))
	good, bad := sample.Build(n).Outputs[0].Path.Base(), sample.Build(other).Outputs[0].Path.Base()
	if len(good) != len(bad) || !bytes.Contains(leaf, []byte(good)) {
		t.Fatal("the path is not in the leaf")
	}
	return bytes.ReplaceAll(leaf, []byte(good), []byte(bad))
}

func TestCacheKeyRegisteredByPossession(t *testing.T) {
	t.Parallel()
	l := newQuickLog(t, nil)
	alice := l.operator("alice")
	leaf := sample.CacheSig("cache.example-1", 1)
	if got := l.code(leaf); got != "unlisted-cache" {
		t.Fatalf("before: %q", got)
	}
	l.must(alice.AddCacheKey("cache.example-1", "cache.example-1"))
	if got := l.code(leaf); got != "" {
		t.Errorf("after its key-add: %q", got)
	}
}

// A cache's signature does not cover the name of its key: whoever has one
// could make ids without end of it.
func TestCacheKeyMakesStatementsUnderOneNameOnly(t *testing.T) {
	t.Parallel()
	l := newQuickLog(t, func(c *Config) {
		c.Admission.CacheKeys = []string{sample.CacheKey("listed-1"), sample.CacheKey("both-1")}
	})
	alice := l.operator("alice")
	l.must(alice.AddCacheKey("registered-1", "registered-1"))
	l.must(alice.AddCacheKey("both-1", "other-1"))
	l.must(alice.AddCacheKey("nameless-1", ""))
	for _, tt := range []struct {
		what, key, name, code string
	}{
		{"listed key, other name", "listed-1", "listed-2", "wrong-cache-name"},
		{"listed key", "listed-1", "listed-1", ""},
		{"registered key, other name", "registered-1", "registered-2", "wrong-cache-name"},
		{"registered key", "registered-1", "registered-1", ""},
		{"listed and registered key, name of the key-add", "both-1", "other-1", "wrong-cache-name"},
		{"listed and registered key", "both-1", "both-1", ""},
		{"key registered without a name", "nameless-1", "nameless-1", "wrong-cache-name"},
	} {
		for n := range 3 {
			if got := l.code(sample.CacheSigAs(tt.key, tt.name, n)); got != tt.code {
				t.Errorf("%s: %q, want %q", tt.what, got, tt.code)
			}
		}
	}
}

// A request may register an operator, its keys, and use them.
func TestOneRequestMayRegisterAndUseAKey(t *testing.T) {
	t.Parallel()
	l := newQuickLog(t, nil)
	o := sample.NewOperator("alice", l.Origin())
	second := sample.Signer("second")
	leaves := append(o.Registration(), o.Builds(0, 2)...)
	leaves = append(leaves, o.AddKey(second, statement.RoleBuild), want(statement.Sign(t.Context(), second, sample.Build(7), "", nil))(t).Leaf())
	l.must(leaves...)
	// In the wrong order only what came too early is refused.
	p := sample.NewOperator("bob", l.Origin())
	reg := p.Registration()
	_, a := l.post("", p.Builds(0, 1)[0], reg[0], reg[1], p.Builds(1, 2)[0])
	got := []string{a.Results[0].Error, a.Results[1].Error, a.Results[2].Error, a.Results[3].Error}
	if want := []string{"unknown-key", "", "", ""}; !slices.Equal(got, want) {
		t.Errorf("errors %q, want %q", got, want)
	}
}

func TestUnvouchedKeysShareOneBudget(t *testing.T) {
	t.Parallel()
	boss := sample.Signer("boss identity")
	l := newQuickLog(t, func(c *Config) {
		c.Admission.UnvouchedStatements = 10
		c.Admission.KeyStatements = 5
		c.Admission.OperatorKeys = []string{boss.PublicKey().ID().String()}
	})
	bossOp := l.operator("boss") // has a listed key: own budgets
	alice, bob := l.operator("alice"), l.operator("bob")
	for _, b := range alice.Builds(0, 4) {
		l.must(b)
	}
	l.must(bob.Builds(0, 2)...) // 2 + 2 registering, 4 + 2 building: 10
	for _, o := range []*sample.Operator{alice, bob} {
		if got := l.code(o.Builds(50, 51)[0]); got != "budget-unvouched" {
			t.Errorf("the eleventh: %q", got)
		}
	}
	l.must(bossOp.Vouch(alice.ID))
	l.must(alice.Builds(100, 105)...)
	if got := l.code(alice.Builds(105, 106)[0]); got != "budget-key" {
		t.Errorf("alice's sixth: %q", got)
	}
	if got := l.code(bob.Builds(50, 51)[0]); got != "budget-unvouched" {
		t.Errorf("bob, whom nobody vouched for: %q", got)
	}
	// What was refused took nothing, and a restart gives nothing back.
	l.close()
	l.open()
	if got := l.code(bob.Builds(50, 51)[0]); got != "budget-unvouched" {
		t.Errorf("after a restart: %q", got)
	}
	if got := l.code(alice.Builds(106, 107)[0]); got != "budget-key" {
		t.Errorf("after a restart: %q", got)
	}
}

func TestBudgetOfBytes(t *testing.T) {
	t.Parallel()
	l := newQuickLog(t, func(c *Config) { c.Admission.UnvouchedBytes = 4000 })
	alice := l.operator("alice")
	if got := l.code(alice.Builds(0, 1)[0]); got != "" {
		t.Fatal(got)
	}
	for i := range 10 {
		if got := l.code(alice.Builds(i+1, i+2)[0]); got == "budget-unvouched" {
			return
		}
	}
	t.Error("ten more kilobytes went into a budget of 4000 bytes")
}

func TestBudgetsBeginAnewAtMidnight(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 3, 1, 23, 59, 0, 0, time.UTC)
	l := &testLog{t: t, dir: t.TempDir(), o: Options{openStore: new(store.Memory).Open, now: func() time.Time { return now }}}
	l.init(func(c *Config) { c.Admission.UnvouchedStatements = 3 })
	l.open()
	t.Cleanup(l.close)
	alice := l.operator("alice")
	l.must(alice.Builds(0, 1)...)
	if got := l.code(alice.Builds(1, 2)[0]); got != "budget-unvouched" {
		t.Fatal(got)
	}
	now = now.Add(2 * time.Minute)
	if got := l.code(alice.Builds(1, 2)[0]); got != "" {
		t.Errorf("after midnight: %q", got)
	}
}

// Setting the clock back gives no second budget, running or restarted.
func TestAClockSetBackGivesNoNewBudget(t *testing.T) {
	t.Parallel()
	const day = 24 * time.Hour
	now := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	l := &testLog{t: t, dir: t.TempDir(), o: Options{openStore: new(store.Memory).Open, now: func() time.Time { return now }}}
	l.init(func(c *Config) { c.Admission.UnvouchedStatements = 3 })
	l.open()
	t.Cleanup(l.close)
	alice := l.operator("alice")
	next := 0
	use := func(when, want string) {
		t.Helper()
		if got := l.code(alice.Builds(next, next+1)[0]); got != want {
			t.Errorf("%s: %q, want %q", when, got, want)
		}
		next++
	}
	restart := func() { l.close(); l.open() }
	use("the third", "")
	use("the fourth", "budget-unvouched")
	now = now.Add(-day)
	use("a day back", "budget-unvouched")
	restart()
	use("a day back, restarted", "budget-unvouched")
	now = now.Add(day)
	restart()
	use("the same day again", "budget-unvouched")
	now = now.Add(day)
	restart() // nothing is used of this day
	now = now.Add(-day)
	restart()
	for range 3 {
		use("the next day's, with the clock back", "")
	}
	use("all of the next day's", "budget-unvouched")
	now = now.Add(day)
	use("the next day, by the clock too", "budget-unvouched")
	now = now.Add(day)
	use("the day after", "")
}

func TestVouchesOfVouchedOperatorsAddUp(t *testing.T) {
	t.Parallel()
	boss := sample.Signer("boss identity")
	l := newQuickLog(t, func(c *Config) {
		c.Admission.OperatorKeys = []string{boss.PublicKey().ID().String()}
		c.Admission.VouchThreshold = 2
	})
	bossOp := l.operator("boss")
	ops := make(map[string]*sample.Operator)
	for _, name := range []string{"a", "b", "c", "x", "y"} {
		ops[name] = l.operator(name)
	}
	vouched := func() (n int) { _, n, _ = l.registry.Len(); return n }
	l.must(ops["x"].Vouch(ops["y"].ID), ops["y"].Vouch(ops["x"].ID), ops["a"].Vouch(ops["c"].ID))
	if n := vouched(); n != 1 {
		t.Fatalf("%d vouched, want only the boss: a ring lifts nobody", n)
	}
	l.must(bossOp.Vouch(ops["a"].ID))
	l.must(ops["a"].Vouch(ops["c"].ID)) // a has one voice, however often it speaks
	if n := vouched(); n != 2 {
		t.Fatalf("%d vouched, want the boss and a", n)
	}
	vouch := bossOp.Vouch(ops["b"].ID)
	l.must(vouch)
	l.must(ops["b"].Vouch(ops["c"].ID))
	if n := vouched(); n != 4 {
		t.Fatalf("%d vouched, want the boss, a, b, c", n)
	}
	id := want(statement.ParseID(idOf(t, vouch)))(t)
	l.must(bossOp.People(&statement.Retract{OperatorID: bossOp.ID, Statement: id, Reason: "a mistake"}))
	if n := vouched(); n != 2 {
		t.Errorf("%d vouched after b's vouch was retracted, want the boss and a", n)
	}
}

// Where an operator's peer is, is said in its chain like everything about people.
func TestPeerStatementsAreChained(t *testing.T) {
	t.Parallel()
	l := newQuickLog(t, func(*Config) {})
	alice := l.operator("alice")
	peer := statement.Peer{OperatorID: alice.ID, PeerID: "12D3KooWD3eckifWpRn9wQpMG9R9hX3sD158z7EqHWmweQAJU5SA"}
	moved := peer
	moved.Addrs = []string{"/dns/peer.example/tcp/8491"}
	first, second := alice.People(&peer), alice.People(&moved)
	if got := l.code(second); got != "unknown-prev" {
		t.Errorf("the second before the first: %q", got)
	}
	l.must(first)
	l.must(second)
}

func TestListedModeTakesClaimsOfListedOnly(t *testing.T) {
	t.Parallel()
	boss := sample.Signer("boss identity")
	l := newQuickLog(t, func(c *Config) {
		c.Admission.Mode = statement.ModeListed
		c.Admission.OperatorKeys = []string{boss.PublicKey().ID().String()}
		c.Admission.VouchThreshold = 1
	})
	bossOp, a, b := l.operator("boss"), l.operator("a"), l.operator("b")
	if got := l.code(a.Builds(0, 1)[0]); got != "not-listed" {
		t.Errorf("before the vouch: %q", got)
	}
	l.must(bossOp.Vouch(a.ID))
	l.must(a.Builds(0, 1)...)
	l.must(a.Vouch(b.ID))
	if got := l.code(b.Builds(0, 1)[0]); got != "not-listed" {
		t.Errorf("vouched for by somebody who is only listed: %q", got)
	}
}

func TestClaimsPerKeyAndSubject(t *testing.T) {
	t.Parallel()
	l := newQuickLog(t, func(c *Config) { c.Admission.ClaimsPerSubject = 3 })
	alice, bob := l.operator("alice"), l.operator("bob")
	l.must(alice.Claim(sample.Again(1, 0)))
	_, a := l.post("", alice.Claim(sample.Again(1, 1)), alice.Claim(sample.Again(1, 2)), alice.Claim(sample.Again(1, 3)), alice.Claim(sample.Again(2, 0)))
	var got []string
	for _, r := range a.Results {
		got = append(got, r.Error)
	}
	if want := []string{"", "", "too-many-claims", ""}; !slices.Equal(got, want) {
		t.Errorf("errors %q, want %q: those in flight count too", got, want)
	}
	if got := l.code(bob.Claim(sample.Again(1, 9))); got != "" {
		t.Errorf("another key about the same path: %q", got)
	}
}

// An entry is in the index a moment before it is out of flight, and counts once.
func TestClaimsOnTheirWayCountOnce(t *testing.T) {
	t.Parallel()
	l := newQuickLog(t, func(c *Config) { c.Admission.ClaimsPerSubject = 2 })
	alice := l.operator("alice")
	first := alice.Claim(sample.Again(1, 0))
	l.must(first)
	e := newEntry(want(statement.Parse(first))(t), first)
	l.seq.mu.Lock()
	l.seq.inflight[e.id] = e
	for _, subject := range subjectsOf(e.s) {
		l.seq.claims[claimKey{e.s.Signer, subject}]++
	}
	l.seq.mu.Unlock()
	subs := submissionsOf([][]byte{alice.Claim(sample.Again(1, 1))})
	l.verifyAll(subs)
	if n, before, err := l.admitSome(t.Context(), subs); n != 0 || before != e || err != nil || subs[0].err != nil {
		t.Fatalf("%d judged, %v, %v; want it to wait for the entry on its way", n, subs[0].err, err)
	}
	l.seq.forget([]*entry{e})
	e.resolve(0, nil)
	if got := l.code(alice.Claim(sample.Again(1, 1))); got != "" {
		t.Errorf("the second of two: %q", got)
	}
	if got := l.code(alice.Claim(sample.Again(1, 2))); got != "too-many-claims" {
		t.Errorf("the third of two: %q", got)
	}
}

// Concurrent requests may not share one place in a budget.
func TestBudgetHoldsUnderConcurrency(t *testing.T) {
	t.Parallel()
	l := newQuickLog(t, func(c *Config) { c.Admission.UnvouchedStatements = 30 })
	alice := l.operator("alice")
	results := make(chan int)
	for i := range 8 {
		go func() {
			_, a := l.post("?wait=0s", alice.Builds(100*i, 100*i+20)...)
			n := 0
			for _, r := range a.Results {
				if r.Status == statusAccepted {
					n++
				}
			}
			results <- n
		}()
	}
	total := 0
	for range 8 {
		total += <-results
	}
	if total != 28 {
		t.Errorf("%d accepted, want 28: 30 less two for registering", total)
	}
}

func TestIdentityKeyMayBeSecond(t *testing.T) {
	t.Parallel()
	l := newQuickLog(t, nil)
	alice, bob := l.operator("alice"), l.operator("bob")
	second := sample.Signer("alice second identity")
	l.must(alice.AddKey(second, statement.RoleIdentity))
	last := alice.Vouch(bob.ID)
	l.must(last)
	prev := want(statement.ParseID(idOf(t, last)))(t)
	leaf := want(statement.Sign(t.Context(), second, &statement.Vouch{OperatorID: alice.ID, For: bob.ID}, "", &prev))(t).Leaf()
	if got := l.code(leaf); got != "" {
		t.Errorf("a second identity key: %q", got)
	}
}
