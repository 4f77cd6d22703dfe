package federation

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"

	"github.com/firn-log/firn/log/evidence"
)

// Bounds of what is read of a peer's evidence.
const (
	maxList    = 1 << 20 // bytes of the list
	maxPull    = 16      // files fetched with one question
	maxUseless = 4096    // hashes remembered of what convicts nobody here
)

// An evidenceList is the answer to GET /evidence (spec/federation.md#evidence).
// New fields do not change the schema.
type evidenceList struct {
	Schema   int            `json:"schema"`
	Evidence []evidenceItem `json:"evidence"`
}

type evidenceItem struct {
	SHA256 string `json:"sha256"` // of the file, in hexadecimal
	Size   int    `json:"size"`   // in bytes
	Kind   string `json:"kind"`
	Origin string `json:"origin"`
	Key    string `json:"key"` // vkey that it convicts
}

// pullEvidence fetches evidence that a peer has and this hub has not. What its
// list says beside the hashes is for people.
func (p *Poller) pullEvidence(ctx context.Context, base, from string, useless map[string]bool) error {
	url := base + "/evidence"
	b, err := p.fetch.get(ctx, url, maxList)
	if err != nil {
		return fmt.Errorf("%s: %w", url, err)
	}
	var list evidenceList
	if err := json.Unmarshal(b, &list); err != nil || list.Schema != 1 {
		return fmt.Errorf("%s: %w: not a list of evidence", url, errGarbage)
	}
	held, err := p.o.Hub.Evidence()
	if err != nil {
		return err
	}
	have := make(map[string]bool)
	for _, e := range held {
		have[e.Hash] = true
	}
	fetched := 0
	for _, i := range rand.Perm(len(list.Evidence)) {
		hash := list.Evidence[i].SHA256
		if have[hash] || useless[hash] {
			continue
		}
		if sum, err := hex.DecodeString(hash); err != nil || len(sum) != sha256.Size || hash != hex.EncodeToString(sum) {
			return fmt.Errorf("%s: %w: %q is not a SHA-256", url, errGarbage, hash)
		}
		if fetched++; fetched > maxPull {
			return nil // the rest next time
		}
		if err := p.pullOne(ctx, url+"/"+hash, hash, from, useless); err != nil {
			return err
		}
	}
	return nil
}

func (p *Poller) pullOne(ctx context.Context, url, hash, from string, useless map[string]bool) error {
	b, err := p.fetch.get(ctx, url, evidence.MaxSize)
	if err != nil {
		return fmt.Errorf("%s: %w", url, err)
	}
	if sum := sha256.Sum256(b); hex.EncodeToString(sum[:]) != hash {
		return fmt.Errorf("%s: %w: its SHA-256 is %x", url, errGarbage, sum)
	}
	added, err := p.o.Hub.AddEvidence(b, from)
	if added && err == nil {
		return nil
	}
	bad := errors.Is(err, evidence.ErrMalformed) || errors.Is(err, evidence.ErrNotEvidence)
	if err == nil || bad || errors.Is(err, evidence.ErrUnknownKey) || errors.Is(err, evidence.ErrReserved) || errors.Is(err, evidence.ErrSetAside) {
		// Nothing for us: enough is held, it was set aside, or it convicts nobody here.
		if len(useless) >= maxUseless {
			clear(useless)
		}
		useless[hash] = true
	}
	if bad {
		return fmt.Errorf("%s: %w: %w", url, errGarbage, err)
	}
	if useless[hash] {
		return nil
	}
	return err
}
