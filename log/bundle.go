package log

import (
	"encoding/binary"
	"fmt"
	"slices"
	"strings"

	"golang.org/x/mod/sumdb/tlog"

	"github.com/firn-log/firn/log/index"
	"github.com/firn-log/firn/log/lookup"
	"github.com/firn-log/firn/log/policy"
	"github.com/firn-log/firn/log/statement"
)

// A Bundle holds answers of logs to lookups, with everything that proves them, for
// machines that cannot ask (spec/bundle.md). Nothing in it is believed for being there:
// a client made with [NewBundleClient] checks it like answers from the network.
type Bundle struct {
	Parts []BundlePart
}

// BundlePart is one answer of a log (spec/bundle.md#form).
type BundlePart struct {
	Origin string
	// Follows proves that the checkpoint of Answer goes on from that of the part of the same
	// origin before this one; nil for the first, and between equal ones.
	Follows []tlog.Hash
	Asked   []lookup.Asked // what Answer answers, in its order; From is 0
	Answer  []byte         // as lookup.Parse reads it

	parsed *lookup.Answer // Answer
}

const (
	bundleHeader = "firn-bundle@v1\n"
	// MaxBundle bounds a bundle in bytes.
	MaxBundle = 1 << 30
	maxParts  = 1 << 16
	maxOrigin = 128 // statement.CheckOrigin
)

// Marshal returns the bytes of the bundle.
func (b *Bundle) Marshal() []byte {
	out := binary.AppendUvarint([]byte(bundleHeader), uint64(len(b.Parts)))
	add := func(b []byte) { out = append(binary.AppendUvarint(out, uint64(len(b))), b...) }
	for _, p := range b.Parts {
		add([]byte(p.Origin))
		out = binary.AppendUvarint(out, uint64(len(p.Follows)))
		for _, h := range p.Follows {
			out = append(out, h[:]...)
		}
		out = binary.AppendUvarint(out, uint64(len(p.Asked)))
		for _, a := range p.Asked {
			add([]byte(a.Key))
			out = binary.AppendUvarint(out, a.To)
		}
		add(p.Answer)
	}
	return out
}

// ParseBundle reads a bundle. It checks its form and that of the answers, and verifies
// nothing; what it accepts, [Bundle.Marshal] gives back byte by byte. Errors match
// lookup.ErrMalformed.
func ParseBundle(b []byte) (*Bundle, error) {
	if len(b) > MaxBundle || !strings.HasPrefix(string(b[:min(len(b), len(bundleHeader))]), bundleHeader) {
		return nil, fmt.Errorf("%w: it does not begin with %s, or is longer than %d bytes", lookup.ErrMalformed, bundleHeader[:len(bundleHeader)-1], MaxBundle)
	}
	r := &bundleReader{rest: b[len(bundleHeader):]}
	out := new(Bundle)
	seen := make(map[part]bool)
	for n := range r.uint(maxParts) {
		p := r.part()
		if r.bad {
			break
		}
		bad := func(format string, args ...any) error {
			return fmt.Errorf("%w: part %d of the bundle: "+format, append([]any{lookup.ErrMalformed, n + 1}, args...)...)
		}
		if err := statement.CheckOrigin(p.Origin); err != nil {
			return nil, bad("%w", err)
		}
		var err error
		if p.parsed, err = lookup.Parse(p.Answer); err != nil {
			return nil, bad("%w", err)
		}
		if len(p.parsed.Lists) != len(p.Asked) {
			return nil, bad("%d lists for %d keys", len(p.parsed.Lists), len(p.Asked))
		}
		for _, a := range p.Asked {
			at := part{p.Origin, a.Key, a.To}
			if seen[at] {
				return nil, bad("%q is in the bundle twice", a.Key)
			}
			seen[at] = true
		}
		out.Parts = append(out.Parts, p)
	}
	if r.bad || len(r.rest) > 0 {
		return nil, fmt.Errorf("%w: the bundle is cut off, or something follows it", lookup.ErrMalformed)
	}
	return out, nil
}

// part names a part of a list: that up to position to, or all of it if to is 0.
type part struct {
	origin, key string
	to          uint64
}

// bundleReader reads from the front; after a failure everything is zero.
type bundleReader struct {
	rest []byte
	bad  bool
}

func (r *bundleReader) part() BundlePart {
	p := BundlePart{Origin: string(r.bytes(maxOrigin))}
	for range r.uint(maxProof) {
		if len(r.rest) < tlog.HashSize {
			r.fail()
			break
		}
		p.Follows = append(p.Follows, tlog.Hash(r.rest[:tlog.HashSize]))
		r.rest = r.rest[tlog.HashSize:]
	}
	for range r.uint(lookup.MaxKeys) {
		p.Asked = append(p.Asked, lookup.Asked{Key: string(r.bytes(lookup.MaxKeyBytes)), To: r.uint(policy.MaxSize)})
		if r.bad {
			break
		}
	}
	p.Answer = r.bytes(lookup.MaxAnswer)
	return p
}

func (r *bundleReader) fail() { r.bad, r.rest = true, nil }

func (r *bundleReader) uint(limit uint64) uint64 {
	n, size := binary.Uvarint(r.rest)
	if r.bad || size <= 0 || n > limit || size > 1 && r.rest[size-1] == 0 {
		r.fail()
		return 0
	}
	r.rest = r.rest[size:]
	return n
}

func (r *bundleReader) bytes(limit int) []byte {
	n := r.uint(uint64(limit))
	if n > uint64(len(r.rest)) {
		r.fail()
		return nil
	}
	b := r.rest[:n:n]
	r.rest = r.rest[n:]
	return b
}

// Origins returns the logs of which the bundle holds something, sorted.
func (b *Bundle) Origins() []string {
	var origins []string
	for _, p := range b.Parts {
		origins = append(origins, p.Origin)
	}
	slices.Sort(origins)
	return slices.Compact(origins)
}

// last returns the newest part about a log, nil if there is none.
func (b *Bundle) last(origin string) *BundlePart {
	for i := len(b.Parts) - 1; i >= 0; i-- {
		if b.Parts[i].Origin == origin {
			return &b.Parts[i]
		}
	}
	return nil
}

// BundleKeys returns the keys under which people and their operators are found who
// claim something in answers: whoever judges the claims will ask for these. Sorted.
func BundleKeys(answers ...*Answers) []string {
	found := make(map[string]bool)
	for _, a := range answers {
		for _, k := range a.Keys {
			for _, f := range a.Of(k) {
				found[index.Key(f.Signer)] = true
				if f.Leaf == nil {
					continue
				}
				people := f.Leaf.Statement.Kind.Class() == statement.People
				for _, other := range index.StatementKeys(f.Leaf.Statement) {
					if strings.HasPrefix(other, "operator:") || people && strings.HasPrefix(other, "key:") {
						found[other] = true
					}
				}
			}
		}
	}
	keys := make([]string, 0, len(found))
	for k := range found {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}

// A Holding is what a bundle has of one log.
type Holding struct {
	Origin string
	Size   uint64 // of the newest checkpoint in it, whose signatures are not verified here
	Keys   int    // with or without entries
}

// Holdings says what the bundle has of each log, sorted by origin.
func (b *Bundle) Holdings() []Holding {
	var all []Holding
	for _, origin := range b.Origins() {
		h := Holding{Origin: origin}
		for _, p := range b.Parts {
			if p.Origin != origin || p.parsed == nil {
				continue
			}
			for _, a := range p.Asked {
				if a.To == 0 {
					h.Keys++
				}
			}
			if n, err := policy.ParseNote(p.parsed.Note); err == nil {
				if head, err := policy.ParseCheckpoint(n.Text); err == nil {
					h.Size = head.Size
				}
			}
		}
		all = append(all, h)
	}
	return all
}
