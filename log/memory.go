package log

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/firn-log/firn/internal/durable"
	"github.com/firn-log/firn/log/evidence"
	"github.com/firn-log/firn/log/index/fraud"
	"github.com/firn-log/firn/log/policy"
)

// A Memory keeps the newest believed checkpoint of each origin, so that a log
// cannot show one person two histories, and the evidence if one did. Only
// checkpoints that satisfied a policy with its quorum enter it
// (spec/proofs.md#remembered-checkpoints). It may be used from several goroutines
// and its folder by several processes.
type Memory struct {
	dir        string // "" keeps everything in this process
	store      *evidence.Store
	onEvidence func(evidence.Held) // nil, or called with new evidence

	mu    sync.Mutex
	notes map[string][]byte // by origin, when dir is ""
}

// NewMemory returns the memory in a folder, which is made when first needed. An
// empty dir keeps checkpoints for as long as the Memory lives, and no evidence.
func NewMemory(dir string) *Memory {
	return &Memory{dir: dir, store: evidence.NewStore(evidenceDir(dir), evidence.WithJudge(fraud.Judge)), notes: make(map[string][]byte)}
}

// DefaultMemoryDir returns the folder of a person's memory: firn in
// XDG_STATE_HOME, or in ~/.local/state.
func DefaultMemoryDir(getenv func(string) string) (string, error) {
	if state := getenv("XDG_STATE_HOME"); filepath.IsAbs(state) {
		return filepath.Join(state, "firn"), nil
	}
	if home := getenv("HOME"); filepath.IsAbs(home) {
		return filepath.Join(home, ".local", "state", "firn"), nil
	}
	return "", errors.New("neither XDG_STATE_HOME nor HOME says where remembered checkpoints are kept")
}

// Remembered returns the remembered checkpoint of origin if it satisfies pol,
// and nil without an error if nothing is remembered. It is a *ForkError if
// evidence is held against the log. The caller decides whether
// it is fresh enough.
func (m *Memory) Remembered(pol *policy.Policy, origin string) (*Checkpoint, error) {
	note, err := m.read(origin)
	if err != nil || note == nil {
		return nil, err
	}
	if err := m.convicted(pol, origin); err != nil {
		return nil, err
	}
	if pol, err = m.store.Apply(pol); err != nil {
		return nil, err
	}
	return VerifyCheckpoint(pol, note, time.Now())
}

// originName is how files about an origin are called.
func originName(origin string) string {
	sum := sha256.Sum256([]byte(origin))
	return hex.EncodeToString(sum[:])
}

func (m *Memory) path(origin string) string {
	return filepath.Join(m.dir, "checkpoints", originName(origin))
}

// read returns the remembered note, nil if there is none.
func (m *Memory) read(origin string) ([]byte, error) {
	if m.dir == "" {
		m.mu.Lock()
		defer m.mu.Unlock()
		return m.notes[origin], nil
	}
	b, err := os.ReadFile(m.path(origin))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("reading remembered checkpoint of %s: %w", origin, err)
	}
	return b, nil
}

// waiting serialises the goroutines of this process, because a lock of package
// durable is refused, not awaited, within one.
var waiting sync.Map // path → *sync.Mutex

// swap replaces the remembered note if it is still old, and reports whether it
// was. A nil note is forgotten. Nobody waits for the network while the lock is held.
func (m *Memory) swap(origin string, old, note []byte) (bool, error) {
	if m.dir == "" {
		m.mu.Lock()
		defer m.mu.Unlock()
		if !bytes.Equal(m.notes[origin], old) {
			return false, nil
		}
		m.notes[origin] = note
		return true, nil
	}
	path := m.path(origin)
	if err := durable.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return false, fmt.Errorf("remembering checkpoint of %s: %w", origin, err)
	}
	v, _ := waiting.LoadOrStore(path, new(sync.Mutex))
	mu := v.(*sync.Mutex)
	mu.Lock()
	defer mu.Unlock()
	lock, err := durable.AcquireWait(path + ".lock")
	if err != nil {
		return false, fmt.Errorf("remembering checkpoint of %s: %w", origin, err)
	}
	defer lock.Unlock()
	now, err := m.read(origin)
	if err != nil || !bytes.Equal(now, old) {
		return false, err
	}
	if note == nil {
		if err = os.Remove(path); err == nil {
			err = durable.SyncDir(filepath.Dir(path))
		}
	} else {
		err = durable.WriteFile(path, note, 0o600)
	}
	if err != nil {
		return false, fmt.Errorf("remembering checkpoint of %s: %w", origin, err)
	}
	return true, nil
}

// admit holds a checkpoint that satisfied the client's policy against the
// remembered one, and remembers it if it is newer. The caller has asked whether
// the log is convicted.
func (m *Memory) admit(ctx context.Context, c *Client, cp *Checkpoint) error {
	if c.offline != nil {
		return m.compare(ctx, c, cp)
	}
	for {
		note, err := m.read(c.origin)
		if err != nil {
			return err
		}
		if note != nil {
			newer, err := c.goesOn(ctx, note, cp)
			if fork := (*ForkError)(nil); errors.As(err, &fork) {
				return m.keep(c.pol, fork)
			}
			if err != nil || !newer {
				return err
			}
		}
		if done, err := m.swap(c.origin, note, cp.Note); done || err != nil {
			return err
		}
	}
}

// goesOn checks that cp and the remembered note are of one history, and reports
// whether cp is to be remembered instead.
func (c *Client) goesOn(ctx context.Context, note []byte, cp *Checkpoint) (newer bool, err error) {
	v, err := c.pol.VerifyLog(note)
	if err != nil || v.Origin != c.origin {
		return false, fmt.Errorf("%w: the remembered checkpoint of %s is not signed by its key in the policy: %w", ErrUnproven, c.origin, err)
	}
	old := newCheckpoint(v, note)
	switch {
	case old.Size == cp.Size && old.Root == cp.Root:
		// The same tree, perhaps cosigned again: keep the fresher signatures.
		return newest(cp.Verified.Cosignatures) > newest(v.Cosignatures), nil
	case old.Size <= cp.Size:
		return true, c.sameHistory(ctx, old, cp, old, cp)
	default:
		if err := c.sameHistory(ctx, cp, old, old, cp); err != nil {
			return false, err
		}
		return false, &StaleError{Remembered: old, Shown: cp}
	}
}

func newest(cs []policy.Cosignature) int64 {
	var t int64
	for _, c := range cs {
		t = max(t, c.Time.Unix())
	}
	return t
}
