package federation

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"slices"
	"sync"
	"time"

	"github.com/firn-log/firn/log/policy"
)

// Bounds of what is kept of one log.
const (
	maxRecent  = 64   // proven checkpoints between the best cosigned and the largest
	maxPending = 64   // checkpoints that nobody could prove yet
	maxOlder   = 4096 // hashes of texts that were found to be of this history
	// maxBytes bounds the notes of either list, because all are written whenever
	// one changes. A note may have 128 KiB, an honest one has about one.
	maxBytes = 1 << 20
	// compareAgain is after what time a checkpoint of a convicted log is held once
	// more against what its witnesses cosigned.
	compareAgain = 10 * time.Minute
)

// An origin is what a hub knows of one log.
type origin struct {
	Log
	hash string // of the origin, as paths name it
	src  *sources
	turn chan struct{} // holds a token while a checkpoint is compared

	saving sync.Mutex // held while the state is read and written: the file is never older than what was written before

	mu        sync.Mutex     // guards what follows; nobody waits while it is held
	counted   *policy.Policy // Policy without convicted witnesses
	convicted bool
	latest    *signed
	best      *signed                // satisfies counted
	recent    []*signed              // by size; holds latest and best
	pending   []*signed              // by size
	byWitness map[string]*signed     // the largest that each witness cosigned, proven or not
	older     map[[32]byte]bool      // texts of this history that are not in recent
	against   map[[32]byte]time.Time // notes that were held against the witnesses, if convicted
	changed   chan struct{}          // closed at the next change
}

// OriginHash returns the name of an origin in paths: the SHA-256 in lower-case
// hexadecimal (c2sp.org/tlog-witness, monitoring).
func OriginHash(origin string) string {
	sum := sha256.Sum256([]byte(origin))
	return hex.EncodeToString(sum[:])
}

func newOrigin(l Log, src *sources) *origin {
	return &origin{
		Log: l, hash: OriginHash(l.Origin), src: src, turn: make(chan struct{}, 1), counted: l.Policy,
		byWitness: make(map[string]*signed), older: make(map[[32]byte]bool),
		against: make(map[[32]byte]time.Time), changed: make(chan struct{}),
	}
}

// find returns the checkpoint of a list with this text.
func find(list []*signed, text string) (int, bool) {
	i := slices.IndexFunc(list, func(s *signed) bool { return s.text == text })
	return i, i >= 0
}

func bySize(a, b *signed) int { return cmp.Compare(a.head.Size, b.head.Size) }

// absorb merges s into what is held under the same text. known is false if
// nothing is. The caller holds mu.
func (o *origin) absorb(s *signed, now time.Time) (known, news bool) {
	for _, list := range []*[]*signed{&o.recent, &o.pending} {
		i, ok := find(*list, s.text)
		if !ok {
			continue
		}
		m, changed := (*list)[i].merge(o.Policy, s, now)
		if changed {
			if o.latest != nil && o.latest.text == m.text {
				o.latest = m
			}
			(*list)[i] = m
			o.noteWitnesses(m, now)
			o.chooseBest()
		}
		return true, changed
	}
	if o.older[sha256.Sum256([]byte(s.text))] {
		return true, o.noteWitnesses(s, now)
	}
	return false, false
}

// excludes returns what is known to have the size of s and another root, nil if
// there is nothing, or if the log is convicted already.
func (o *origin) excludes(s *signed) *signed {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.convicted {
		return nil
	}
	for _, list := range [][]*signed{o.recent, o.pending} {
		for _, x := range list {
			if x.head.Size == s.head.Size && x.head.Root != s.head.Root {
				return x
			}
		}
	}
	return nil
}

// noteWitnesses remembers s for each witness that cosigned nothing larger, and
// reports whether that was news. The caller holds mu.
func (o *origin) noteWitnesses(s *signed, now time.Time) bool {
	news := false
	for name := range s.cosigned {
		old := o.byWitness[name]
		switch {
		case old == nil || old.head.Size < s.head.Size:
			o.byWitness[name], news = s, true
		case old.text == s.text:
			if m, changed := old.merge(o.Policy, s, now); changed {
				o.byWitness[name], news = m, true
			}
		}
	}
	return news
}

// proven adds a checkpoint of the history of latest. The caller holds mu.
func (o *origin) proven(s *signed, now time.Time) {
	o.noteWitnesses(s, now)
	if o.latest != nil && s.head.Size < o.latest.head.Size && (o.best != nil && s.head.Size < o.best.head.Size) {
		o.remember(s)
		return
	}
	if o.latest == nil || s.head.Size > o.latest.head.Size {
		o.latest = s
	}
	o.recent = append(o.recent, s)
	slices.SortStableFunc(o.recent, bySize)
	o.chooseBest()
}

// remember notes that a text is of this history. The caller holds mu.
func (o *origin) remember(s *signed) {
	if len(o.older) >= maxOlder {
		clear(o.older)
	}
	o.older[sha256.Sum256([]byte(s.text))] = true
}

// chooseBest finds the largest proven checkpoint with a quorum and forgets what
// is smaller. The caller holds mu.
func (o *origin) chooseBest() {
	o.best = nil
	for _, s := range o.recent {
		if o.enough(s) {
			o.best = s
		}
	}
	keep := o.recent[:0:0]
	bytes := size(o.recent)
	for i, s := range o.recent {
		small := o.best != nil && s.head.Size < o.best.head.Size
		if s != o.best && s != o.latest && (small || len(o.recent)-i > maxRecent || bytes > maxBytes) {
			o.remember(s)
			bytes -= len(s.note)
			continue
		}
		keep = append(keep, s)
	}
	o.recent = keep
}

// size returns how many bytes the notes of a list have.
func size(list []*signed) int {
	n := 0
	for _, s := range list {
		n += len(s.note)
	}
	return n
}

// enough reports whether the witnesses of s that count make up the quorum. The
// caller holds mu.
func (o *origin) enough(s *signed) bool {
	return o.counted.Satisfied(s.witnesses())
}

// postpone keeps a checkpoint that nobody could prove. Of too many, the smallest
// and the largest stay. The caller holds mu.
func (o *origin) postpone(s *signed, now time.Time) {
	o.noteWitnesses(s, now)
	if _, waits := find(o.pending, s.text); waits {
		return
	}
	o.pending = append(o.pending, s)
	slices.SortStableFunc(o.pending, bySize)
	for n := len(o.pending); n > maxPending || size(o.pending) > maxBytes; n-- {
		o.pending = slices.Delete(o.pending, n/2, n/2+1)
	}
}

// settled removes a checkpoint from those that wait, and returns it with the
// cosignatures that came while it waited. The caller holds mu.
func (o *origin) settled(s *signed, now time.Time) *signed {
	if i, waits := find(o.pending, s.text); waits {
		s, _ = s.merge(o.Policy, o.pending[i], now)
		o.pending = slices.Delete(o.pending, i, i+1)
	}
	return s
}

// decided takes a checkpoint that was found to be of the history of latest, and
// returns it with what is known of it, unless the log was convicted meanwhile:
// of such a log nothing more is believed. The caller holds mu.
func (o *origin) decided(s *signed, now time.Time) (*signed, bool) {
	if o.convicted {
		return s, false
	}
	s = o.settled(s, now)
	o.proven(s, now)
	return s, true
}

// compared reports whether a note was held against what the witnesses of this
// convicted log cosigned, not long ago, and notes that it is now. The caller
// holds mu.
func (o *origin) compared(s *signed, now time.Time) bool {
	sum := sha256.Sum256(s.note)
	if at, ok := o.against[sum]; ok && now.Sub(at) < compareAgain {
		return true
	}
	if len(o.against) >= maxOlder {
		clear(o.against)
	}
	o.against[sum] = now
	return false
}

// announce wakes who waits for a change. The caller holds mu.
func (o *origin) announce() {
	close(o.changed)
	o.changed = make(chan struct{})
}
