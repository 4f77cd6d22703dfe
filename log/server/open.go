package server

import (
	"context"
	"errors"
	"fmt"

	"github.com/firn-log/firn/log/policy"
	"github.com/firn-log/firn/log/server/store"
	"github.com/firn-log/firn/log/statement"
	"github.com/firn-log/firn/log/witnessing"
)

// start goes from a locked directory to a log that takes statements.
func (s *Server) start(ctx context.Context, o Options) error {
	if err := makeFolders(s.dir); err != nil {
		return err
	}
	swept, err := sweep(s.dir)
	if err != nil {
		return fmt.Errorf("removing temporary files: %w", err)
	}
	if swept > 0 {
		s.log.Info("removed temporary files of an interrupted run", "files", swept)
	}
	rec, err := s.checkRecord(o.NoWitnessCheck)
	if err != nil {
		return err
	}
	if s.db, err = s.openIndex(ctx); err != nil {
		return err
	}
	open := o.openStore
	if open == nil {
		open = store.OpenPOSIX
	}
	if s.store, err = open(ctx, store.POSIXConfig{
		Dir: s.path(treeName), Signer: s.signer,
		Interval: s.config.interval(), BatchAge: s.config.BatchAge.Duration,
	}); err != nil {
		return err
	}
	s.tree = store.NewTree(s.store)
	size, err := s.store.Size(ctx)
	if err != nil {
		return err
	}
	if err := s.checkTree(ctx, rec, size); err != nil {
		return err
	}
	show := s.findSigned(rec)
	var silent []*witnessing.Client
	if s.convicted == nil {
		if silent, err = s.openGate(ctx, size); err != nil {
			return err
		}
	}
	if err := s.loadState(ctx); err != nil {
		return err
	}
	if err := s.checkGenesis(ctx, size); err != nil {
		return err
	}
	if err := s.openBlobs(ctx); err != nil {
		return err
	}
	if err := s.openMap(); err != nil {
		return err
	}
	if err := s.findBrought(ctx); err != nil {
		return err
	}
	s.stopWatching = s.watchEvidence()
	if s.convicted != nil {
		s.startReading(ctx)
		s.startFollowing(ctx)
		return nil
	}
	if err := s.startSigning(ctx, rec, show, size); err != nil {
		return err
	}
	s.startFollowing(ctx)
	if s.witnesses == nil {
		return s.speakAsLog(ctx, size)
	}
	return s.startWitnesses(ctx, silent, size, o.NoWitnessCheck)
}

// loadState brings index, registry and budgets to the size of the tree.
func (s *Server) loadState(ctx context.Context) error {
	err := s.db.People(ctx, func(i uint64, leaf []byte) error {
		if st, err := statement.Parse(leaf); err == nil {
			s.apply(i, st)
		}
		return nil
	})
	if err != nil {
		return err
	}
	if err := s.restoreBudget(ctx); err != nil {
		return err
	}
	s.publisher.ingested(s.db.State().Size)
	s.metrics.size.Set(float64(s.db.State().Size))
	if err := s.catchUp(ctx); err != nil {
		return err
	}
	s.heedLastWord()
	return nil
}

// checkGenesis checks that the first entry is this log's.
func (s *Server) checkGenesis(ctx context.Context, size uint64) error {
	if size == 0 {
		return nil
	}
	leaf, err := s.tree.Entry(ctx, size, 0)
	if err != nil {
		return err
	}
	st, err := statement.Parse(leaf)
	if err == nil {
		err = st.Verify(s.key.statement.PublicKey())
	}
	if err == nil {
		if g, ok := st.Body.(*statement.Genesis); !ok || g.Origin != s.config.Origin {
			err = errors.New("it is not the genesis statement of this origin")
		}
	}
	if err != nil {
		return fmt.Errorf("the first entry of the tree in %s does not belong to the log %s: %w", s.dir, s.config.Origin, err)
	}
	return nil
}

// startSigning makes the record durable as it is now, and begins to sequence,
// sign and publish.
func (s *Server) startSigning(ctx context.Context, rec record, show published, size uint64) error {
	ours := rec.head.Size > 0
	if !ours && size > 0 {
		// A record that was missing: what is here is the least that may have
		// been signed.
		root, err := s.tree.Root(ctx, size)
		if err != nil {
			return err
		}
		rec.head = policy.Head{Origin: s.config.Origin, Size: size, Root: root}
	}
	if s.doubt == "" {
		if err := writeRecord(s.path(recordName), &rec); err != nil {
			return err
		}
	}
	if s.witnesses == nil {
		s.log.Warn("no witnesses are configured: if this directory is a restored snapshot, nobody here can notice", "record_size", rec.head.Size)
	} else {
		s.signer.hold(ours)
	}
	s.signer.start(rec, s.tree)
	s.run(ctx)
	if !ours && s.witnesses != nil {
		if show.head.Size > 0 {
			s.publisher.offer(show.head, show.note)
		}
		return nil
	}
	if rec.head.Size == 0 {
		return nil
	}
	// The last run may have ended between signing and publishing.
	_, err := s.signer.Sign([]byte(rec.head.Text()))
	return err
}

// run begins to sequence and to publish.
func (s *Server) run(ctx context.Context) {
	background := context.WithoutCancel(ctx)
	var sequencing, publishing context.Context
	sequencing, s.sequencing = context.WithCancel(background)
	publishing, s.publishing = context.WithCancel(background)
	s.publisherDone = make(chan struct{})
	go s.sequence(sequencing)
	go func() {
		defer close(s.publisherDone)
		s.publisher.run(publishing)
	}()
}

// startFollowing begins to keep the map at the public checkpoint.
func (s *Server) startFollowing(ctx context.Context) {
	ctx, s.stopFollowing = context.WithCancel(context.WithoutCancel(ctx))
	s.followerDone = make(chan struct{})
	go func() {
		defer close(s.followerDone)
		s.follow(ctx)
	}()
}
