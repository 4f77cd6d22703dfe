package server

import (
	"context"
	"errors"
	"fmt"
	"html/template"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/sync/semaphore"

	"github.com/firn-log/firn/log/evidence"
	"github.com/firn-log/firn/witness"
)

// Bounds of a connection, and of what the witness asks others.
const (
	readHeaderTimeout = 10 * time.Second
	readTimeout       = 15 * time.Second
	writeTimeout      = 60 * time.Second
	idleTimeout       = 5 * time.Minute
	maxHeaderBytes    = 16 << 10
	stopTimeout       = 10 * time.Second
	askTimeout        = 10 * time.Second // one question to a peer or for a list
	startTimeout      = 15 * time.Second // all questions to peers before serving
	retryPeers        = 10 * time.Second
)

// Options is what New makes a server from.
type Options struct {
	Dir    string
	Config *Config
	Logger *slog.Logger
	// NoPeerCheck goes on at once although the state is missing or in another
	// place.
	NoPeerCheck bool
	Now         func() time.Time // nil is time.Now
	// Extra is what makes the witness more than one; the zero value is a plain one.
	Extra Extra
}

// Extra is what a program adds that is a witness and more.
type Extra struct {
	Gate witness.Gate
	// Wrap adds to the HTTP interface of the witness; nil adds nothing.
	Wrap func(http.Handler) http.Handler
	// Page is the status page instead of that of a witness, and Status what it and the
	// JSON form say about a log in addition; both may be nil.
	Page   *template.Template
	Status func(origin string) any
	// Ready says why the program is not ready although the witness is; nil is always.
	Ready func() error
	// Collectors are metrics.
	Collectors []prometheus.Collector
}

// A Server is a running witness.
type Server struct {
	o         Options
	log       *slog.Logger
	store     *witness.Store
	witness   *witness.Witness
	client    *http.Client
	hooks     *evidence.Hooks
	metrics   *metrics
	bodies    *semaphore.Weighted
	started   time.Time
	loops     sync.WaitGroup
	stopLoops context.CancelFunc
}

// Check says whether a server could start with o, without asking anybody and
// without changing anything but temporary files.
func Check(o Options) (doubt string, err error) {
	if _, err := ReadKey(o.Dir, o.Config); err != nil {
		return "", err
	}
	store, err := witness.OpenStore(o.Dir)
	if err != nil {
		return "", err
	}
	return store.Doubt(), store.Close()
}

// New opens the witness in o.Dir. If peers are configured they are asked once
// before it returns, so that an older copy is noticed before it signs.
func New(ctx context.Context, o Options) (*Server, error) {
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	key, err := ReadKey(o.Dir, o.Config)
	if err != nil {
		return nil, err
	}
	logs, err := o.Config.logs()
	if err != nil {
		return nil, err
	}
	hooks, err := evidence.NewHooks(o.Config.Evidence, o.Logger)
	if err != nil {
		return nil, err
	}
	store, err := witness.OpenStore(o.Dir)
	if err != nil {
		return nil, err
	}
	s := &Server{
		o: o, log: o.Logger, store: store, hooks: hooks, started: o.Now(),
		client: &http.Client{Timeout: askTimeout}, bodies: semaphore.NewWeighted(o.Config.Budgets.BodyMemory),
	}
	s.witness, err = witness.New(witness.Options{
		Store: store, Key: key, Logs: logs, Logger: o.Logger, Now: o.Now, Convicted: hooks.Run,
		Gate: o.Extra.Gate,
	})
	if err != nil {
		return nil, errors.Join(err, store.Close())
	}
	s.metrics = newMetrics(s)
	if err := s.startup(ctx); err != nil {
		return nil, errors.Join(err, store.Close())
	}
	background, cancel := context.WithCancel(context.WithoutCancel(ctx))
	s.stopLoops = cancel
	s.loops.Go(func() { s.keepLists(background) })
	s.loops.Go(func() { s.keepPeers(background) })
	return s, nil
}

// startup says what is doubtful, reads the lists, and asks the peers once.
func (s *Server) startup(ctx context.Context) error {
	if s.store.Moved() {
		s.log.Error("this witness has been moved to another place: it serves reads only, for good")
		return nil
	}
	doubt := s.store.Doubt()
	if doubt != "" && s.o.NoPeerCheck {
		s.log.Warn("going on in spite of doubt, as --no-peer-check says", "doubt", doubt)
		if err := s.store.Confirm(false); err != nil {
			return err
		}
		doubt = ""
	}
	if doubt != "" {
		s.log.Error("nothing is cosigned until a peer has answered", "doubt", doubt)
	}
	s.readLists(ctx)
	if len(s.o.Config.Peers) == 0 {
		s.log.Warn("no peers are configured: if this directory is a restored snapshot, nobody here can notice")
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	s.askPeers(ctx)
	return nil
}

// VKey returns the verifier key of the witness.
func (s *Server) VKey() string { return s.witness.Key().String() }

// Serve answers on ln until ctx ends, and then stops in order: listener,
// requests, store. It closes the witness.
func (s *Server) Serve(ctx context.Context, ln net.Listener) error {
	srv := &http.Server{
		Handler: s.Handler(), ReadHeaderTimeout: readHeaderTimeout, ReadTimeout: readTimeout,
		WriteTimeout: writeTimeout, IdleTimeout: idleTimeout, MaxHeaderBytes: maxHeaderBytes,
		ErrorLog: slog.NewLogLogger(s.log.Handler(), slog.LevelDebug),
	}
	failed := make(chan error, 1)
	go func() { failed <- srv.Serve(ln) }()
	var err error
	select {
	case err = <-failed:
	case <-ctx.Done():
		s.log.Info("stopping")
		stop, cancel := context.WithTimeout(context.WithoutCancel(ctx), stopTimeout)
		defer cancel()
		if e := srv.Shutdown(stop); e != nil {
			err = errors.Join(err, fmt.Errorf("stopping the listener: %w", e), srv.Close())
		}
	}
	return errors.Join(err, s.Close())
}

// Close ends what runs in the background and releases the store.
func (s *Server) Close() error {
	s.stopLoops()
	s.loops.Wait()
	ctx, cancel := context.WithTimeout(context.Background(), stopTimeout)
	defer cancel()
	s.hooks.Wait(ctx)
	return s.store.Close()
}
