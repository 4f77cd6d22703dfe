// Package logtest is a log for tests: it builds the static tree of a C2SP
// tlog-tiles log in a temporary folder from leaves that a test gives it, signs
// and cosigns its checkpoints with keys of its own, and serves the HTTP API of a
// firn log from memory. It can be told to lie.
//
// It is written for being readable and for misbehaving, not for speed or
// durability, and checks no signature, budget or admission rule. A Log may be
// used from several goroutines once it is made.
package logtest

import (
	"context"
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/mod/sumdb/tlog"

	"github.com/firn-log/firn/log"
	"github.com/firn-log/firn/log/policy"
	"github.com/firn-log/firn/log/statement"
)

// DefaultOrigin is the origin of a log that was given none.
const DefaultOrigin = "log.example/0123abcd"

// A Log is a log under a test's control.
type Log struct {
	t         testing.TB
	dir       string
	origin    string
	key       ed25519.PrivateKey
	witnesses []ed25519.PrivateKey
	quorum    int
	auditors  []ed25519.PrivateKey
	vouching  int // how many auditors are the quorum of the index

	mu     sync.Mutex
	now    time.Time // of cosignatures; zero is the present
	leaves [][]byte
	ids    map[statement.ID]uint64
	hashes []tlog.Hash // stored hashes of all leaves
	size   uint64      // published
	note   []byte      // published checkpoint
	lies   Lies
	maps   []*revised // of the revisions that were stated, oldest first
	server *httptest.Server
}

// An Option changes a log that New makes.
type Option func(*Log)

// Origin sets the origin.
func Origin(origin string) Option { return func(l *Log) { l.origin = origin } }

// OtherKey makes the log sign with another key than its origin has by default.
func OtherKey() Option { return func(l *Log) { l.key = seeded("other key of " + l.origin) } }

// SignedBy makes the log sign with this key.
func SignedBy(key ed25519.PrivateKey) Option { return func(l *Log) { l.key = key } }

// Witnesses makes n witnesses, w1 to wn, all of which cosign, and a quorum of k
// of them. Without it the policy says `quorum none`.
func Witnesses(n, k int) Option {
	return func(l *Log) {
		l.quorum = k
		for i := range n {
			l.witnesses = append(l.witnesses, seeded(fmt.Sprintf("witness %d", i+1)))
		}
	}
}

// Auditors makes n auditors of the index, a1 to an, all of which cosign, and an index
// quorum of k of them.
func Auditors(n, k int) Option {
	return func(l *Log) {
		l.vouching = k
		for i := range n {
			l.auditors = append(l.auditors, seeded(fmt.Sprintf("auditor %d", i+1)))
		}
	}
}

// New makes an empty log with a published checkpoint of size 0. Its keys follow
// from its origin, so that two logs of one origin are one log with two
// histories. Options apply in order.
func New(t testing.TB, opts ...Option) *Log {
	t.Helper()
	l := &Log{t: t, dir: t.TempDir(), origin: DefaultOrigin, ids: make(map[statement.ID]uint64)}
	for _, o := range opts {
		o(l)
	}
	if l.key == nil {
		l.key = seeded("log " + l.origin)
	}
	l.Publish()
	return l
}

func seeded(what string) ed25519.PrivateKey {
	seed := sha256.Sum256([]byte("firn test key of " + what))
	return ed25519.NewKeyFromSeed(seed[:])
}

// Key returns the key that the log signs with.
func (l *Log) Key() ed25519.PrivateKey { return l.key }

// Origin returns the origin of the log.
func (l *Log) Origin() string { return l.origin }

// Dir returns the folder with the static tree: checkpoint and tile.
func (l *Log) Dir() string { return l.dir }

// FileURL returns the URL of the folder.
func (l *Log) FileURL() string { return "file://" + l.dir }

// URL returns the HTTP URL of the log, served until the test ends.
func (l *Log) URL() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.server == nil {
		l.server = httptest.NewServer(l.Handler())
		l.t.Cleanup(l.server.Close)
	}
	return l.server.URL
}

// SetTime sets the time of the cosignatures of checkpoints to come.
func (l *Log) SetTime(now time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.now = now
}

// Lie changes how the log misbehaves from now on.
func (l *Log) Lie(change func(*Lies)) {
	l.mu.Lock()
	defer l.mu.Unlock()
	change(&l.lies)
}

// VKey returns the verifier key of the log.
func (l *Log) VKey() string { return l.logKey().String() }

func (l *Log) logKey() policy.Key { return newKey(l.t, l.origin, policy.TypeEd25519, l.key) }

func newKey(t testing.TB, name string, typ byte, key ed25519.PrivateKey) policy.Key {
	k, err := policy.NewKey(name, typ, key.Public().(ed25519.PublicKey))
	if err != nil {
		t.Fatalf("logtest: key of %s: %v", name, err)
	}
	return k
}

func (l *Log) witnessKey(i int) policy.Key {
	return newKey(l.t, fmt.Sprintf("witness.example/w%d", i+1), policy.TypeCosignature, l.witnesses[i])
}

func (l *Log) auditorKey(i int) policy.Key {
	return newKey(l.t, fmt.Sprintf("auditor.example/a%d", i+1), policy.TypeCosignature, l.auditors[i])
}

// IndexPolicyText returns a tlog-policy file with the auditors of the log's index.
func (l *Log) IndexPolicyText() string {
	var b strings.Builder
	fmt.Fprintf(&b, "log %s\n", l.VKey())
	members := ""
	for i := range l.auditors {
		fmt.Fprintf(&b, "witness a%d %s\n", i+1, l.auditorKey(i))
		members += fmt.Sprintf(" a%d", i+1)
	}
	fmt.Fprintf(&b, "group all-auditors %d%s\nquorum all-auditors\n", l.vouching, members)
	return b.String()
}

// PolicyText returns a tlog-policy file for the log.
func (l *Log) PolicyText() string {
	var b strings.Builder
	fmt.Fprintf(&b, "log %s\n", l.VKey())
	members := ""
	for i := range l.witnesses {
		fmt.Fprintf(&b, "witness w%d %s\n", i+1, l.witnessKey(i))
		members += fmt.Sprintf(" w%d", i+1)
	}
	if l.quorum == 0 {
		return b.String() + "quorum none\n"
	}
	fmt.Fprintf(&b, "group all-witnesses %d%s\nquorum all-witnesses\n", l.quorum, members)
	return b.String()
}

// Policy returns the parsed policy for the log.
func (l *Log) Policy() *policy.Policy {
	p, err := policy.Parse([]byte(l.PolicyText()))
	if err != nil {
		l.t.Fatalf("logtest: %v", err)
	}
	return p
}

// Client returns a client of the log over HTTP that remembers in dir, or in
// itself if dir is "".
func (l *Log) Client(dir string) *log.Client {
	l.t.Helper()
	c, err := log.NewClient(l.URL(), l.Policy(), log.Options{Memory: log.NewMemory(dir)})
	if err != nil {
		l.t.Fatalf("logtest: %v", err)
	}
	return c
}

// Add appends a leaf, which need not be a statement, and returns its index. It
// is not in a checkpoint before Publish.
func (l *Log) Add(leaf []byte) uint64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.add(leaf)
}

func (l *Log) add(leaf []byte) uint64 {
	index := uint64(len(l.leaves))
	stored, err := tlog.StoredHashes(int64(index), leaf, l.reader())
	if err != nil {
		l.t.Errorf("logtest: %v", err)
	}
	l.hashes = append(l.hashes, stored...)
	l.leaves = append(l.leaves, slices.Clone(leaf))
	if s, err := statement.Parse(leaf); err == nil {
		if _, ok := l.ids[s.ID()]; !ok {
			l.ids[s.ID()] = index
		}
	}
	return index
}

func (l *Log) reader() tlog.HashReader {
	return tlog.HashReaderFunc(func(indexes []int64) ([]tlog.Hash, error) {
		out := make([]tlog.Hash, len(indexes))
		for i, x := range indexes {
			out[i] = l.hashes[x]
		}
		return out, nil
	})
}

// Consistency proves that the first old leaves are a prefix of the first size ones, as a
// witnessing.Prover does.
func (l *Log) Consistency(_ context.Context, old, size uint64) ([]tlog.Hash, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.ConsistencyInLies(old, size)
}

// ConsistencyInLies is Consistency for the functions in Lies. There is none between equal sizes.
func (l *Log) ConsistencyInLies(old, size uint64) ([]tlog.Hash, error) {
	if old == size {
		return nil, nil
	}
	return tlog.ProveTree(int64(size), int64(old), l.reader())
}

// Size returns the size of the published checkpoint.
func (l *Log) Size() uint64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.size
}

// Publish writes the tiles, bundles and the checkpoint of all leaves so far and
// returns the signed checkpoint.
func (l *Log) Publish() []byte {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.publish()
}

func (l *Log) publish() []byte {
	size := len(l.leaves)
	for _, tile := range tlog.NewTiles(8, int64(l.size), int64(size)) {
		data, err := tlog.ReadTileData(tile, l.reader())
		if err != nil {
			l.t.Errorf("logtest: %v", err)
		}
		l.write(strings.Replace(tile.Path(), "tile/8/", "tile/", 1), data)
		if tile.L == 0 {
			bundle, err := log.MarshalLeaves(l.leaves[tile.N*256 : tile.N*256+int64(tile.W)])
			if err != nil {
				l.t.Errorf("logtest: %v", err)
			}
			l.write(strings.Replace(tile.Path(), "tile/8/0/", "tile/entries/", 1), bundle)
		}
	}
	root, err := tlog.TreeHash(int64(size), l.reader())
	if err != nil {
		l.t.Errorf("logtest: %v", err)
	}
	l.size = uint64(size)
	l.note = l.sign(policy.Head{Origin: l.origin, Size: l.size, Root: root})
	l.write("checkpoint", l.note)
	return l.note
}

func (l *Log) write(path string, data []byte) {
	path = filepath.Join(l.dir, path)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		l.t.Errorf("logtest: %v", err)
	}
	if err := os.WriteFile(path, data, 0o644); err != nil {
		l.t.Errorf("logtest: %v", err)
	}
}

// Sign signs any head with the log's key and all witnesses' keys.
func (l *Log) Sign(head policy.Head) []byte {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.sign(head)
}

func (l *Log) sign(head policy.Head) []byte {
	n := policy.Note{Text: head.Text()}
	k := l.logKey()
	n.Signatures = append(n.Signatures, policy.Signature{Name: k.Name, ID: k.ID, Sig: ed25519.Sign(l.key, []byte(n.Text))})
	now := l.now
	if now.IsZero() {
		now = time.Now()
	}
	cosign := func(k policy.Key, key ed25519.PrivateKey) {
		t := uint64(now.Unix())
		sig := binary.BigEndian.AppendUint64(nil, t)
		sig = append(sig, ed25519.Sign(key, policy.CosignatureMessage(n.Text, t))...)
		n.Signatures = append(n.Signatures, policy.Signature{Name: k.Name, ID: k.ID, Sig: sig})
	}
	for i, w := range l.witnesses {
		cosign(l.witnessKey(i), w)
	}
	for i, a := range l.auditors {
		if !l.lies.NoAuditors && !l.lies.Absent[fmt.Sprintf("a%d", i+1)] {
			cosign(l.auditorKey(i), a)
		}
	}
	return n.Marshal()
}
