// Package server is a firn log: it admits signed statements, orders them into
// a Merkle tree, publishes signed checkpoints of it, and answers who said what
// about which path.
//
// What it promises: an acknowledged statement (status "accepted" with an
// index) is durable and is found at that index for ever; the log key never
// signs two checkpoints that no single tree can hold, whatever is killed,
// restored or full; and the public checkpoint never runs ahead of what lookups
// answer.
//
// The document is spec/log.md. The tree is kept by package store, the index by
// package indexdb, and who may add what is decided by package admission.
package server

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/semaphore"
	"golang.org/x/sys/unix"

	"github.com/firn-log/firn/internal/durable"
	"github.com/firn-log/firn/log/evidence"
	"github.com/firn-log/firn/log/lookup"
	"github.com/firn-log/firn/log/policy"
	"github.com/firn-log/firn/log/server/admission"
	"github.com/firn-log/firn/log/server/indexdb"
	"github.com/firn-log/firn/log/server/store"
	"github.com/firn-log/firn/log/statement"
	"github.com/firn-log/firn/log/witnessing"
)

// Options is what New needs beside the log's directory.
type Options struct {
	Dir string
	// NoWitnessCheck starts although the record is missing or the directory is
	// in another place. It never overrides a checkpoint that is known.
	// It also signs before witnesses have answered.
	NoWitnessCheck bool
	Logger         *slog.Logger // nil discards
	// Config replaces the file firn-log.toml; nil reads it.
	Config *Config

	// openStore replaces the POSIX driver in tests.
	openStore func(context.Context, store.POSIXConfig) (store.Store, error)
	// witnessTransport replaces the network to witnesses in tests.
	witnessTransport http.RoundTripper
	// now replaces the clock of budgets and limits in tests.
	now func() time.Time
}

// Server is an open log. Its Handler may be used concurrently.
type Server struct {
	dir     string
	config  *Config
	log     *slog.Logger
	key     *logKey
	tileTag string // part of the ETag of tiles

	lock      *durable.Lock
	store     store.Store
	tree      *store.Tree
	db        *indexdb.DB
	registry  *admission.Registry
	now       func() time.Time // the clock; what is measured follows its monotonic reading
	budget    *admission.Budget
	limits    *limits
	signer    *checkpointSigner
	seq       *sequencer
	publisher *publisher
	mapper    *mapper
	vouching  *vouching
	resets    resets
	recent    recent
	metrics   *metrics
	working   chan struct{}       // a token for each submission worked on
	bodies    *semaphore.Weighted // bytes of their bodies
	looking   chan struct{}       // a token for each lookup worked on
	older     chan struct{}       // a token for computing an older state of the index
	blobs     blobKeeper
	watches   watches
	room      struct{ entries, bytes int }                        // of one answer to a lookup
	shares    struct{ working, bodies, looking, uploads *shares } // what one address may hold of these

	// Without witnesses witnesses and gate are nil. The policy is witnesses.Policy().
	witnesses      *witnessing.Collector
	gate           *gate
	evidence       *evidence.Store
	own            *policy.Policy         // names this log alone
	brought        brought                // evidence that leaves have brought
	convicted      error                  // evidence against this log, found at the start
	indexConvicted atomic.Pointer[string] // evidence against its index that stands; "" if there is none
	lastWord       *statement.Statement   // a freeze that is to be added, or nil
	doubt          string                 // why this may be an older copy, or ""
	canShow        bool                   // there is a checkpoint that this log has signed
	speak          func() error           // speakAsLog, put off until there is no doubt
	background     sync.WaitGroup         // what stopWitnesses ends

	sequencing, publishing context.CancelFunc
	stopWitnesses          context.CancelFunc
	stopWatching           func() // the folder with evidence
	publisherDone          chan struct{}
	stopFollowing          context.CancelFunc
	followerDone           chan struct{}
}

// New opens the log in o.Dir, checks that this is the newest copy as far as it
// can tell (a *RollbackError if not), and begins to sequence and publish. A
// second New on the same directory, by any process, is refused with a
// *durable.LockedError. Close it.
func New(ctx context.Context, o Options) (*Server, error) {
	s, err := prepare(o)
	if err != nil {
		return nil, err
	}
	if s.lock, err = durable.Acquire(s.path(lockName)); err != nil {
		var locked *durable.LockedError
		if errors.As(err, &locked) {
			return nil, fmt.Errorf("another firn-log (process %d) is running on %s: %w", locked.PID, s.dir, err)
		}
		return nil, err
	}
	if err := s.start(ctx, o); err != nil {
		return nil, errors.Join(err, s.release(ctx))
	}
	return s, nil
}

// Check checks what New would, as far as that can be seen without opening the
// tree: configuration, key, folders, and the record with its place.
func Check(o Options) error {
	s, err := prepare(o)
	if err != nil {
		return err
	}
	rec, recErr := s.checkRecord(o.NoWitnessCheck)
	for _, name := range []string{"", treeName, publicName} {
		err := unix.Access(s.path(name), unix.W_OK|unix.X_OK)
		made := name == publicName || name == treeName && rec.head.Size == 0 // at start, if it is missing
		if err != nil && !(made && errors.Is(err, os.ErrNotExist)) {
			return fmt.Errorf("writing to %s: %w", s.path(name), err)
		}
	}
	if err = recErr; err == nil && s.doubt != "" {
		s.log.Warn("this may be an older copy of the log: nothing will be signed or taken until all witnesses have answered", "why", s.doubt)
	}
	return err
}

// prepare makes a Server of what can be known without the lock.
func prepare(o Options) (*Server, error) {
	s := &Server{dir: o.Dir, config: o.Config, log: o.Logger, seq: newSequencer()}
	if s.log == nil {
		s.log = slog.New(slog.DiscardHandler)
	}
	if o.now == nil {
		o.now = time.Now
	}
	var err error
	if s.config == nil {
		if s.config, err = LoadConfig(o.Dir); err != nil {
			return nil, err
		}
	}
	if s.key, err = readKey(inDir(s.dir, s.config.Key), s.config.Origin); err != nil {
		return nil, err
	}
	tag := sha256.Sum256([]byte(s.key.vkey))
	s.tileTag = hex.EncodeToString(tag[:8])
	s.registry = admission.NewRegistry(s.config.Origin, s.key.statement.PublicKey())
	s.now = o.now
	s.budget = admission.NewBudget(o.now)
	s.limits = newLimits(s.config.Limits, o.now)
	s.working = make(chan struct{}, s.config.Limits.RequestsAtOnce)
	s.bodies = semaphore.NewWeighted(maxBodies)
	s.looking = make(chan struct{}, lookupsAtOnce)
	s.older = make(chan struct{}, 1)
	s.watches = newWatches(s.limits.sender)
	s.room.entries, s.room.bytes = lookup.MaxItems, lookup.MaxLeaves
	s.shares.working = newShares(int64(s.config.Limits.RequestsAtOnce)/shareOfOne, s.limits.sender)
	s.shares.bodies = newShares(maxBodies/shareOfOne, s.limits.sender)
	s.shares.looking = newShares(lookupsAtOnce/shareOfOne, s.limits.sender)
	s.shares.uploads = newShares(uploadsAtOnce/shareOfOne, s.limits.sender)
	s.blobs = newBlobKeeper()
	s.metrics = newMetrics(s)
	s.publisher = newPublisher(filepath.Join(s.dir, publicName, checkpointName), s.log, s.metrics)
	s.signer = &checkpointSigner{Signer: s.key.note, path: s.path(recordName), signed: s.publisher.offer, failed: s.publisher.refuse}
	if err := s.openEvidence(); err != nil {
		return nil, err
	}
	if err := s.readLastWord(); err != nil {
		return nil, err
	}
	if err := s.readReset(); err != nil {
		return nil, err
	}
	s.vouching = newVouching(o.now)
	if name := s.config.Witnessing.Index; name != "" {
		if err := s.vouching.open(inDir(s.dir, name), s.key.vkey); err != nil {
			return nil, err
		}
	}
	if err := s.openWitnesses(o); err != nil {
		return nil, err
	}
	s.warnOfUnasked()
	return s, nil
}

func (s *Server) path(name string) string { return filepath.Join(s.dir, name) }

// VKey returns the verifier key of the log.
func (s *Server) VKey() string { return s.key.vkey }

// Origin returns the origin of the log.
func (s *Server) Origin() string { return s.config.Origin }

// Listen returns the configured address and port.
func (s *Server) Listen() string { return s.config.Listen }

// Serve answers on ln until ctx ends, and then stops in order: listener,
// intake, batch, checkpoint, store. It closes the log.
func (s *Server) Serve(ctx context.Context, ln net.Listener) error {
	srv := &http.Server{
		Handler: s.Handler(), ReadHeaderTimeout: readHeaderTimeout, ReadTimeout: readTimeout,
		WriteTimeout: writeTimeout, IdleTimeout: idleTimeout, MaxHeaderBytes: maxHeaderBytes,
		ErrorLog: slog.NewLogLogger(s.log.Handler(), slog.LevelDebug),
	}
	srv.RegisterOnShutdown(s.watches.stop)
	failed := make(chan error, 1)
	go func() { failed <- srv.Serve(ln) }()
	var err error
	select {
	case err = <-failed:
	case <-ctx.Done():
		s.log.Info("stopping")
		stop, cancel := context.WithTimeout(context.WithoutCancel(ctx), stopListener)
		defer cancel()
		if e := srv.Shutdown(stop); e != nil {
			err = errors.Join(err, fmt.Errorf("stopping the listener: %w", e), srv.Close())
		}
	}
	return errors.Join(err, s.Close(context.WithoutCancel(ctx)))
}
