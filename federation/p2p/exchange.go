package p2p

import (
	"context"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/firn-log/firn/log/evidence"
	"github.com/firn-log/firn/log/policy"
)

const (
	exchangeTimeout = 30 * time.Second
	maxFetches      = 16   // pieces of evidence that one exchange leads to
	maxUseless      = 4096 // hashes of evidence that convicts nobody here
	rounds          = 2    // peers that are asked in one round
	maxAsking       = 16   // exchanges under way that this node began
	maxServing      = 16   // and that others began
	maxServingOne   = 2    // of those, by one peer
	maxOfLog        = 2    // checkpoints of one log in an answer: the latest and the best
)

// exchanges asks peers what they know: each when it connects, and some at random
// all the time, so that what a partition has kept apart comes together.
func (n *Node) exchanges(ctx context.Context) {
	var wg sync.WaitGroup
	defer wg.Wait()
	room := make(chan struct{}, maxAsking)
	round := time.NewTimer(jitter(n.o.AntiEntropy))
	defer round.Stop()
	for {
		var ids []peer.ID
		select {
		case id := <-n.asks.next:
			ids = append(ids, id)
		case <-round.C:
			ids = n.host.Network().Peers()
			rand.Shuffle(len(ids), func(i, j int) { ids[i], ids[j] = ids[j], ids[i] })
			ids = ids[:min(rounds, len(ids))]
			round.Reset(jitter(n.o.AntiEntropy))
		case <-ctx.Done():
			return
		}
		for _, id := range ids {
			select {
			case room <- struct{}{}:
			case <-ctx.Done():
				return
			}
			if !n.asks.begin(id) {
				<-room
				continue
			}
			wg.Go(func() {
				defer func() { n.asks.end(id); <-room }()
				n.exchange(ctx, id)
			})
		}
	}
}

func (n *Node) exchange(ctx context.Context, id peer.ID) {
	ctx, cancel := context.WithTimeout(ctx, exchangeTimeout)
	defer cancel()
	outcome := "done"
	if err := n.askLatest(ctx, id); err != nil {
		outcome = "failed"
		n.o.Logger.Debug("exchange failed", "peer", id.String(), "error", err)
	}
	n.o.Metrics.exchanges.WithLabelValues("asked", outcome).Inc()
}

// askLatest asks one peer for what is different there.
func (n *Node) askLatest(ctx context.Context, id peer.ID) error {
	s, err := n.stream(ctx, id, LatestProtocol)
	if err != nil {
		return err
	}
	defer s.Close()
	defer context.AfterFunc(ctx, func() { s.Reset() })()
	if err := s.SetDeadline(time.Now().Add(exchangeTimeout)); err != nil {
		return err
	}
	request := &exchange{evidence: n.hashes()}
	origins := n.o.Hub.Origins()
	rand.Shuffle(len(origins), func(i, j int) { origins[i], origins[j] = origins[j], origins[i] })
	for _, origin := range origins[:min(maxLogs, len(origins))] {
		request.logs = append(request.logs, stateOf(origin, n.o.Hub.Latest(origin), n.o.Hub.Best(origin)))
	}
	if _, err := s.Write(request.marshal()); err != nil {
		return err
	}
	if err := s.CloseWrite(); err != nil {
		return err
	}
	answer, err := readExchange(s, false)
	if err != nil {
		return err
	}
	of := make(map[string]int)
	for _, note := range answer.notes {
		if err := n.receive(id, note, of); err != nil {
			return err
		}
	}
	return n.fetch(ctx, id, answer.evidence)
}

// receive has the hub compare a note of an answer. of counts those of each log.
func (n *Node) receive(id peer.ID, note []byte, of map[string]int) error {
	parsed, err := policy.ParseNote(note)
	if err != nil {
		n.strike(id, "malformed checkpoints")
		return err
	}
	head, err := policy.ParseCheckpoint(parsed.Text)
	if err != nil {
		n.strike(id, "malformed checkpoints")
		return err
	}
	in := n.intakes[head.Origin]
	if in == nil {
		return fmt.Errorf("a checkpoint of %q, which was not asked for", head.Origin)
	}
	if of[head.Origin]++; of[head.Origin] > maxOfLog {
		return fmt.Errorf("more than %d checkpoints of %s", maxOfLog, head.Origin)
	}
	c, v := n.read(head.Origin, note, parsed)
	if v.result == reject("").result {
		n.strike(id, "bad signatures")
		return fmt.Errorf("a checkpoint of %s: %s", head.Origin, v.why)
	}
	if c == nil {
		return nil
	}
	c.owner, c.from = id, "exchange with "+id.String()
	if !in.put(c) {
		n.o.Metrics.surplus.WithLabelValues("intake").Inc()
	}
	return nil
}

// hashes returns the hashes of the evidence that is held, as many as a message
// holds; of more, some.
func (n *Node) hashes() [][32]byte {
	var all [][32]byte
	for _, e := range n.held.all(n.o.Logger.Warn) {
		if h, err := hex.DecodeString(e.Hash); err == nil && len(h) == 32 {
			all = append(all, [32]byte(h))
		}
	}
	rand.Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
	return all[:min(maxHashes, len(all))]
}

// fetch gets evidence that is not held here.
func (n *Node) fetch(ctx context.Context, id peer.ID, hashes [][32]byte) error {
	left := maxFetches
	var errs []error
	for _, h := range hashes {
		hash := hexHash(h)
		if _, held := n.find(hash); held || n.isUseless(hash) {
			continue
		}
		if left--; left < 0 {
			break
		}
		b, err := n.askEvidence(ctx, id, h)
		if err != nil {
			return errors.Join(append(errs, err)...)
		}
		if b == nil {
			continue
		}
		_, err = n.o.Hub.AddEvidence(b, "exchange with "+id.String())
		switch {
		case errors.Is(err, evidence.ErrMalformed), errors.Is(err, evidence.ErrNotEvidence):
			n.strike(id, "false evidence")
			fallthrough
		case errors.Is(err, evidence.ErrReserved), errors.Is(err, evidence.ErrUnknownKey), errors.Is(err, evidence.ErrSetAside):
			n.markUseless(hash)
		case err != nil:
			errs = append(errs, err)
		default:
			if _, held := n.find(hash); !held {
				n.markUseless(hash) // there are enough others against that key
			}
		}
	}
	return errors.Join(errs...)
}

func (n *Node) isUseless(hash string) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.useless[hash]
}

func (n *Node) markUseless(hash string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if len(n.useless) >= maxUseless {
		clear(n.useless)
	}
	n.useless[hash] = true
}

// askEvidence gets one piece of evidence, or nil if the peer does not have it.
func (n *Node) askEvidence(ctx context.Context, id peer.ID, hash [32]byte) ([]byte, error) {
	s, err := n.stream(ctx, id, EvidenceProtocol)
	if err != nil {
		return nil, err
	}
	defer s.Close()
	defer context.AfterFunc(ctx, func() { s.Reset() })()
	if err := s.SetDeadline(time.Now().Add(exchangeTimeout)); err != nil {
		return nil, err
	}
	if _, err := s.Write(hash[:]); err != nil {
		return nil, err
	}
	var head [4]byte
	if _, err := io.ReadFull(s, head[:]); err != nil {
		return nil, err
	}
	size := binary.BigEndian.Uint32(head[:])
	if size > evidence.MaxSize {
		return nil, fmt.Errorf("evidence of %d bytes is too long", size)
	}
	if size == 0 {
		return nil, nil
	}
	b := make([]byte, size)
	if _, err := io.ReadFull(s, b); err != nil {
		return nil, err
	}
	if hashOf(b) != hexHash(hash) {
		n.strike(id, "evidence other than asked for")
		return nil, errors.New("evidence is not what was asked for")
	}
	return b, nil
}

// serve runs an answer within the limits, and closes the stream.
func (n *Node) serve(s network.Stream, p pace, what string, answer func() error) {
	id := s.Conn().RemotePeer()
	outcome := "done"
	defer func() { n.o.Metrics.exchanges.WithLabelValues("answered", outcome).Inc() }()
	if !n.beginServing(id) {
		outcome = "busy"
		s.Reset()
		return
	}
	defer n.endServing(id)
	if !n.rates.allow(p, bucketName{peer: id, what: what}, 1) {
		outcome = "surplus"
		s.Reset()
		return
	}
	err := s.SetDeadline(time.Now().Add(exchangeTimeout))
	if err == nil {
		err = answer()
	}
	if err != nil {
		outcome = "failed"
		n.o.Logger.Debug("exchange was not answered", "peer", id.String(), "error", err)
		s.Reset()
		return
	}
	s.Close()
}

// beginServing takes one of the places for answers, of which one peer has only a
// few, however slowly it writes and reads. endServing gives it back.
func (n *Node) beginServing(id peer.ID) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.served[id] >= maxServingOne {
		return false
	}
	select {
	case n.serving <- struct{}{}:
		n.served[id]++
		return true
	default:
		return false
	}
}

func (n *Node) endServing(id peer.ID) {
	n.mu.Lock()
	defer n.mu.Unlock()
	<-n.serving
	if n.served[id]--; n.served[id] == 0 {
		delete(n.served, id)
	}
}

// serveLatest answers which checkpoints and what evidence are different here.
func (n *Node) serveLatest(s network.Stream) {
	n.serve(s, paceExchange, "exchange", func() error {
		request, err := readExchange(s, true)
		if err != nil {
			return err
		}
		has := make(map[[32]byte]bool)
		news := false
		for _, h := range request.evidence {
			has[h] = true
			if _, held := n.find(hexHash(h)); !held && !n.isUseless(hexHash(h)) {
				news = true
			}
		}
		if news {
			n.ask(s.Conn().RemotePeer())
		}
		_, err = s.Write(n.answer(request, has).marshal())
		return err
	})
}

// answer collects what an asker does not have, up to the size of a message.
func (n *Node) answer(request *exchange, has map[[32]byte]bool) *exchange {
	x := &exchange{}
	byHash := make(map[[32]byte]string)
	for _, origin := range n.o.Hub.Origins() {
		byHash[stateOf(origin, nil, nil).origin] = origin
	}
	for _, h := range n.hashes() {
		if !has[h] {
			x.evidence = append(x.evidence, h)
		}
	}
	room := maxExchange - len(x.evidence)*(5+32) - 5
	add := func(note []byte, have ...[32]byte) {
		h := noteHash(note)
		for _, x := range have {
			if x == h {
				return
			}
		}
		if room -= 5 + len(note); note == nil || room < 0 || len(x.notes) >= maxNotes {
			return
		}
		x.notes = append(x.notes, note)
	}
	for _, l := range request.logs {
		origin, ok := byHash[l.origin]
		if !ok {
			continue
		}
		delete(byHash, l.origin) // once
		latest, best := n.o.Hub.Latest(origin), n.o.Hub.Best(origin)
		add(latest, l.latest, l.best)
		add(best, l.latest, l.best, noteHash(latest))
	}
	return x
}

// serveEvidence answers with one piece of evidence.
func (n *Node) serveEvidence(s network.Stream) {
	n.serve(s, paceFetch, "fetch", func() error {
		var hash [32]byte
		if _, err := io.ReadFull(s, hash[:]); err != nil {
			return err
		}
		b, _ := n.find(hexHash(hash))
		head := binary.BigEndian.AppendUint32(nil, uint32(len(b)))
		_, err := s.Write(append(head, b...))
		return err
	})
}
