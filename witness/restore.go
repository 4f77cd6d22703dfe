package witness

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"net/http"
	"path/filepath"
	"strings"
	"sync"

	"github.com/firn-log/firn/log/evidence"
	"github.com/firn-log/firn/log/policy"
)

// askAtOnce is how many questions are open to peers at a time.
const askAtOnce = 8

// mayBeNew says whether origin may be cosigned although nothing is known about
// it: in a copy that was restored once, only after a peer has been asked about
// this very origin, because the lost part may have held it.
func (w *Witness) mayBeNew(origin string) error {
	if !w.store.Restored() || w.store.Latest(origin).Note != nil {
		return nil
	}
	if _, ok := w.asked.Load(origin); ok {
		return nil
	}
	select {
	case w.doubt <- struct{}{}:
	default:
	}
	return &DoubtError{"no peer has answered about this origin since the witness was restored"}
}

// InDoubt delivers a value when peers have to be asked about an origin that is
// new in a restored copy.
func (w *Witness) InDoubt() <-chan struct{} { return w.doubt }

// A PeerError says that peers have not confirmed that this copy is the newest.
type PeerError struct {
	Newer      int // origins of which a peer had something newer, cosigned by this witness
	Unanswered int // origins about which no peer has answered
	Err        error
}

func (e *PeerError) Error() string {
	if e.Newer > 0 {
		return fmt.Sprintf("peers knew newer checkpoints cosigned by this witness of %d origins; it goes on from those", e.Newer)
	}
	return fmt.Sprintf("no peer has answered about %d origins: %v", e.Unanswered, e.Err)
}

func (e *PeerError) Unwrap() error { return e.Err }

// AskPeers asks the monitoring endpoints at the URLs in peers for the
// checkpoints that this witness has cosigned, of every origin it knows. What is
// newer than its own state and cosigned by its own key becomes its state. It
// returns nil if of every origin some peer answered and nothing was newer, and
// then also ends the [Store.Doubt]; otherwise a *PeerError, and it is to be
// called again. Only signatures count: what this witness has not cosigned, or
// is smaller, changes nothing (spec/witness.md#restore).
func (w *Witness) AskPeers(ctx context.Context, client *http.Client, peers []string) error {
	round := &peerRound{w: w, client: client, result: &PeerError{}, confirmed: make(map[string]bool)}
	for _, p := range peers {
		round.ask(ctx, p)
	}
	logs := w.Logs()
	for _, l := range logs {
		if !round.confirmed[l.Origin] {
			round.result.Unanswered++
		}
	}
	if r := round.result; r.Newer > 0 || r.Unanswered > 0 {
		if r.Err == nil {
			r.Err = errors.New("no peers are configured")
		}
		return r
	}
	for _, l := range logs {
		w.asked.Store(l.Origin, true)
	}
	if w.store.Doubt() == "" {
		return nil
	}
	return w.store.Confirm(true)
}

type peerRound struct {
	w      *Witness
	client *http.Client

	mu        sync.Mutex // guards what follows
	result    *PeerError
	confirmed map[string]bool // origins
}

// ask asks one peer about every origin. Its 404s count only if it knows one of
// the logs: any web server answers 404.
func (r *peerRound) ask(ctx context.Context, peer string) {
	var wg sync.WaitGroup
	var mu sync.Mutex // guards absent and knows
	var absent []string
	knows := false
	slots := make(chan struct{}, askAtOnce)
	for _, l := range r.w.Logs() {
		slots <- struct{}{}
		wg.Go(func() {
			defer func() { <-slots }()
			note, err := fetchCheckpoint(ctx, r.client, peer, l.Origin)
			if err == nil && note != nil {
				err = r.w.compare(ctx, l.Origin, note, r)
			}
			switch {
			case err != nil:
				r.failed(fmt.Errorf("asking %s about %q: %w", peer, l.Origin, err))
			case note == nil:
				mu.Lock()
				absent = append(absent, l.Origin)
				mu.Unlock()
			default:
				r.confirm(l.Origin)
				mu.Lock()
				knows = true
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	if !knows {
		if len(absent) > 0 {
			r.failed(fmt.Errorf("%s has no checkpoint of any log of this witness", peer))
		}
		return
	}
	r.confirm(absent...)
}

func (r *peerRound) confirm(origins ...string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, o := range origins {
		r.confirmed[o] = true
	}
}

func (r *peerRound) failed(err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.result.Err = err
}

func (r *peerRound) newer() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.result.Newer++
}

// fetchCheckpoint returns the checkpoint that a peer has of an origin, or nil
// if it has none.
func fetchCheckpoint(ctx context.Context, client *http.Client, peer, origin string) ([]byte, error) {
	url := strings.TrimSuffix(peer, "/") + "/" + OriginHash(origin) + "/checkpoint"
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return nil, err
	}
	resp, err := client.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	switch resp.StatusCode {
	case http.StatusNotFound:
		return nil, nil
	case http.StatusOK:
		return io.ReadAll(io.LimitReader(resp.Body, policy.MaxNote+1))
	}
	return nil, fmt.Errorf("it answered %s", resp.Status)
}

var errNothingNewer = errors.New("nothing newer")

// compare takes a checkpoint from a peer into the state if this witness has
// cosigned it and it is newer. An error says that the peer has not answered the
// question.
func (w *Witness) compare(ctx context.Context, origin string, note []byte, r *peerRound) error {
	n, err := policy.ParseNote(note)
	if err != nil {
		return err
	}
	head, err := policy.ParseCheckpoint(n.Text)
	if err != nil {
		return err
	}
	if head.Origin != origin {
		return errOtherOrigin
	}
	keep := &policy.Note{Text: n.Text}
	l := w.known(origin)
	if keep.Signatures, err = l.verify(n); err != nil {
		return err
	}
	mine := 0
	for _, s := range n.Signatures {
		if w.key.cosigned(n.Text, s) {
			keep.Signatures = append(keep.Signatures, s)
			mine++
		}
	}
	if mine == 0 {
		return nil // this witness never said so
	}
	_, err = w.store.Update(ctx, origin, func(latest State) ([]byte, error) {
		switch {
		case latest.Note != nil && head.Size == latest.Size && head.Root != latest.Root:
			return nil, &twoRootsError{latest.Note}
		case latest.Note != nil && head.Size <= latest.Size:
			return nil, errNothingNewer
		}
		return keep.Marshal(), nil
	})
	var two *twoRootsError
	switch {
	case errors.Is(err, errNothingNewer):
		return nil
	case errors.As(err, &two):
		return w.contradicted(ctx, origin, two.note, note)
	case err != nil:
		return err
	}
	w.log.Warn("a peer had a newer checkpoint that this witness has cosigned: this was an older copy; going on from there", "origin", origin, "size", head.Size)
	r.newer()
	return nil
}

// twoRootsError says that this witness has cosigned two roots at one size.
type twoRootsError struct{ note []byte }

func (e *twoRootsError) Error() string { return "this witness has cosigned two roots of one size" }

// contradicted keeps evidence against this very witness and refuses the origin:
// nothing that it could sign now would be right.
func (w *Witness) contradicted(ctx context.Context, origin string, a, b []byte) error {
	w.log.Error("this witness has cosigned two roots of one size; the origin is refused", "origin", origin)
	name := "own-contradiction"
	key := w.key.verifier
	if e, err := evidence.New(evidence.KindWitness, key, a, b, [sha256.Size]byte{}, nil); err == nil {
		own := &policy.Policy{Witnesses: []policy.Witness{{Name: key.Name, Key: key}}, Quorum: policy.None}
		if held, _, err := evidence.NewStore(w.store.path(evidenceName)).Add(e, own); err == nil {
			name = filepath.Base(held.Path)
		}
	}
	return w.store.Refuse(ctx, origin, name)
}
