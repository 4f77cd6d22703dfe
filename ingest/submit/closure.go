package submit

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/firn-log/firn/ingest/hook"
	"github.com/firn-log/firn/internal/nix"
	"github.com/firn-log/firn/log/statement"
)

// A Claim is a statement that is not signed yet, as it is put into a spool.
type Claim struct {
	ID      [16]byte // the same whenever the same claim is made
	Payload []byte   // of [statement.EncodePayload]
	Blobs   [][]byte // that the claim names and that go along with it
}

// ErrTooLarge is matched by the error about a set of paths of which no statement can
// be made with its list.
var ErrTooLarge = errors.New("too large")

// ClosureClaim is the claim that paths, which are sorted and of the store dir, are what is
// called name. The list is in the statement if it fits there, and its blob otherwise
// (spec/statement.md#closure). A list of more than [statement.MaxBlob] bytes is an error
// matching [ErrTooLarge]; what breaks a rule of the kind is a *[statement.Error].
func ClosureClaim(name string, dir nix.StoreDir, paths []nix.StorePath) (*Claim, error) {
	b := &statement.Closure{Name: name, StoreDir: dir, Digest: statement.PathsDigest(paths), Count: uint64(len(paths)), Paths: paths}
	if err := b.Check(); err != nil {
		return nil, err
	}
	c := &Claim{}
	payload, err := statement.EncodePayload(b, "", nil)
	if err != nil || len(payload) > b.Kind().MaxLeaf()-statement.MaxEnvelope {
		list := statement.PathsBlob(paths)
		if len(list) > statement.MaxBlob {
			return nil, fmt.Errorf("a list of %d paths has %d bytes, and a log keeps at most %d: %w", len(paths), len(list), statement.MaxBlob, ErrTooLarge)
		}
		b.Paths, c.Blobs = nil, [][]byte{list}
		if payload, err = statement.EncodePayload(b, "", nil); err != nil {
			return nil, err
		}
	}
	sum := sha256.Sum256(append([]byte("closure "), payload...))
	copy(c.ID[:], sum[:])
	c.Payload = payload
	return c, nil
}

// PutNow is [Put] for a claim that is about the present. One that waits in the spool already is
// not put again; one that was sent before is, because only the log knows whether it has it from
// this key, and then it is a duplicate there. It returns the claim's name in the spool.
func PutNow(dir string, c *Claim, now time.Time) (string, error) {
	return putNow(spool{dir: dir}, c, now)
}

func putNow(s spool, c *Claim, now time.Time) (string, error) {
	names, err := s.list(unsignedDir)
	if err != nil {
		return "", err
	}
	name := Name(now, c.ID)
	_, id, _ := strings.Cut(name, "-")
	for _, waits := range names {
		if strings.HasSuffix(waits, "-"+id) {
			name = waits
		}
	}
	return name, s.put(name, c.Payload, c.Blobs)
}

// StatusOf returns what became of one build or claim of a spool, nil if the spool does not
// have it. It needs no lock.
func StatusOf(conf *Config, name string) (*Build, error) {
	if !hook.ValidName(name) {
		return nil, fmt.Errorf("%q is no name in a spool", name)
	}
	st, err := readStatus(conf, func(s spool, dir string) ([]string, error) {
		if !s.exists(dir, name) {
			return nil, nil
		}
		return []string{name}, nil
	})
	if err != nil || len(st.Builds) == 0 {
		return nil, err
	}
	return &st.Builds[0], nil
}
