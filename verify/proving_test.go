package verify

import (
	"context"
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/firn-log/firn/log"
	"github.com/firn-log/firn/log/index"
	"github.com/firn-log/firn/log/logtest"
	"github.com/firn-log/firn/log/policy"
)

// proving is a log whose answers are proven whole. It is honest and has every
// auditor's cosignature unless it is told otherwise.
type proving struct {
	Log
	t        testing.TB
	auditors []string // who cosign

	mu         sync.Mutex
	lag        uint64          // entries that are not yet in the revision
	hide       map[uint64]bool // entries that the lists leave out
	unread     bool            // the tail is not read, whatever the policy says
	incomplete string
	changed    bool             // every list has another root than before
	convicted  []string         // auditors that evidence is held against
	faults     []log.IndexFault // held against the index
	found      []log.IndexFault // becomes held when the log is asked
	err        error            // what asking ends with
	queries    []log.Query
}

// prove makes log n of the world prove its answers and returns it.
func (w *world) prove(n int, auditors ...string) *proving {
	if w.proving == nil {
		w.proving = make(map[string]*proving)
	}
	p := &proving{t: w.t, auditors: auditors}
	w.proving[w.logs[n].Origin()] = p
	return p
}

func auditorKey(t testing.TB, name string) (ed25519.PrivateKey, policy.Key) {
	seed := sha256.Sum256([]byte("firn test auditor " + name))
	key := ed25519.NewKeyFromSeed(seed[:])
	k, err := policy.NewKey("auditor.example/"+name, policy.TypeCosignature, key.Public().(ed25519.PublicKey))
	if err != nil {
		t.Fatal(err)
	}
	return key, k
}

// indexPolicy is an index policy for a log: k of the named auditors.
func indexPolicy(t testing.TB, l *logtest.Log, k int, names string) string {
	text := "log " + l.VKey() + "\n"
	for _, n := range strings.Fields(names) {
		_, key := auditorKey(t, n)
		text += fmt.Sprintf("witness %s %s\n", n, key)
	}
	return text + fmt.Sprintf("group quorum-of-auditors %d %s\nquorum quorum-of-auditors\n", k, names)
}

// audited makes a world with one log and an index policy: 2 of x, y and z.
func audited(t testing.TB, options string, cosign ...string) (*world, *proving) {
	w := newWorld(t, logtest.New(t, logtest.Witnesses(1, 1)))
	w.files = map[string]string{"ix": indexPolicy(t, w.logs[0], 2, "x y z")}
	w.lines = []string{"index ix " + options}
	return w, w.prove(0, cosign...)
}

func (p *proving) IndexTrust(auditors *policy.Policy) (*log.IndexTrust, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, name := range p.convicted {
		if _, key := auditorKey(p.t, name); auditors != nil {
			auditors = auditors.Ignoring(key)
		}
	}
	return &log.IndexTrust{Auditors: auditors, Faults: p.faults}, nil
}

func (p *proving) LookupProven(ctx context.Context, q log.Query) (*log.Proven, error) {
	a, err := p.Lookup(ctx, q.Keys, q.Signers, 0)
	if err != nil {
		return nil, err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.queries = append(p.queries, q)
	p.faults = append(p.faults, p.found...)
	p.found = nil
	if p.err != nil {
		return nil, p.err
	}
	mapped := a.Checkpoint.Size - min(p.lag, a.Checkpoint.Size)
	out := &log.Proven{
		Checkpoint: a.Checkpoint, Lists: make(map[string][]log.Found), Heads: make(map[string]log.Known),
		Read: a.Checkpoint.Size, Vouched: [][]byte{p.cosigned(a.Checkpoint.Note)}, Incomplete: p.incomplete,
	}
	if p.lag > 0 && (p.lag <= q.Tail || p.unread) {
		out.Read = mapped
	}
	for _, key := range a.Keys {
		var items []index.Item
		var tail []log.Found
		list := slices.DeleteFunc(slices.Clone(a.Of(key)), func(f log.Found) bool { return p.hide[f.Index] })
		for _, f := range list {
			if f.Index < mapped {
				items = append(items, index.Item{Index: f.Index, Signer: f.Signer})
			} else if out.Read > mapped {
				tail = append(tail, f)
			}
		}
		known := q.Known[key]
		if known.Count > uint64(len(items)) || known.Head != p.head(items[:known.Count]) {
			return nil, &log.PrefixError{Origin: a.Checkpoint.Origin, Key: key}
		}
		out.Lists[key] = append(slices.Clone(list[known.Count:len(items)]), tail...)
		out.Heads[key] = log.Known{Head: p.head(items), Size: mapped}
	}
	return out, nil
}

func (p *proving) head(items []index.Item) index.Head {
	if len(items) == 0 {
		return index.Head{}
	}
	h := index.ListHead(items)
	if p.changed {
		h.Root[0] ^= 1
	}
	return h
}

// cosigned adds the cosignatures of the auditors to a note.
func (p *proving) cosigned(note []byte) []byte {
	n, err := policy.ParseNote(note)
	if err != nil {
		p.t.Error(err)
		return nil
	}
	for _, name := range p.auditors {
		key, k := auditorKey(p.t, name)
		at := uint64(time.Now().Unix())
		sig := append(binary.BigEndian.AppendUint64(nil, at), ed25519.Sign(key, policy.CosignatureMessage(n.Text, at))...)
		n.Signatures = append(n.Signatures, policy.Signature{Name: k.Name, ID: k.ID, Sig: sig})
	}
	return n.Marshal()
}

// asked is the queries about a key since the last call.
func (p *proving) asked(key string) (qs []log.Query) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, q := range p.queries {
		if slices.Contains(q.Keys, key) {
			qs = append(qs, q)
		}
	}
	p.queries = nil
	return qs
}
