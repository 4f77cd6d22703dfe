package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"path/filepath"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/firn-log/firn/federation"
	"github.com/firn-log/firn/federation/p2p"
	"github.com/firn-log/firn/log/evidence"
	"github.com/firn-log/firn/log/index/fraud"
)

// peer is the parts of a running peer.
type peer struct {
	config    *config
	logger    *slog.Logger
	registry  *prometheus.Registry
	hooks     *evidence.Hooks
	hub       *federation.Hub
	poller    *federation.Poller
	feeder    *federation.Feeder // nil if nobody is fed
	mirrors   []*federation.Mirror
	gossips   *p2p.Options          // nil if it does not
	node      *p2p.Node             // made of gossips when it begins to serve
	operators *federation.Operators // nil if none is followed
	submitter *federation.Submitter // nil if nothing is submitted
}

// newPeer puts a peer together and reads its state. Nothing is asked yet.
func newPeer(ctx context.Context, dir string, c *config, logs []federation.Log, logger *slog.Logger) (*peer, error) {
	p := &peer{config: c, logger: logger, registry: prometheus.NewRegistry()}
	p.registry.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	var err error
	if p.hooks, err = evidence.NewHooks(c.Evidence, logger); err != nil {
		return nil, err
	}
	dir, err = filepath.Abs(dir)
	if err != nil {
		return nil, err
	}
	others := make(map[string][]string) // where tiles are, the own mirror aside
	for i := range logs {
		l := &logs[i]
		if l.URL = l.Policy.LogURL(l.Origin); l.URL == "" && len(c.special(l.Origin).URLs) > 0 {
			l.URL = c.special(l.Origin).URLs[0]
		}
		l.URLs = p.places(l)
		others[l.Origin] = l.URLs
		if c.special(l.Origin).Mirror {
			own := (&url.URL{Scheme: "file", Path: mirrorDir(dir, l.Origin)}).String()
			l.URLs = append([]string{own}, l.URLs...)
		}
	}
	client := newHTTP()
	p.hub, err = federation.NewHub(federation.Options{
		Dir: filepath.Join(dir, "hub"), Logs: logs, Evidence: evidence.NewStore(filepath.Join(dir, "evidence"), evidence.WithJudge(fraud.Judge)),
		Hooks: p.hooks, HTTP: client, Logger: logger, Metrics: federation.NewMetrics(p.registry),
	})
	if err != nil {
		return nil, err
	}
	for _, l := range logs {
		if !c.special(l.Origin).Mirror {
			continue
		}
		m, err := federation.NewMirror(ctx, federation.MirrorOptions{Hub: p.hub, Origin: l.Origin, Dir: mirrorDir(dir, l.Origin), URLs: others[l.Origin]})
		if err != nil {
			return nil, err
		}
		p.mirrors = append(p.mirrors, m)
	}
	if c.Feed.Enabled {
		if p.feeder, err = federation.NewFeeder(p.hub, c.Feed.QueriesPerDay); err != nil {
			return nil, err
		}
	}
	if c.P2P.Enabled {
		if p.gossips, err = p.gossip(dir); err != nil {
			return nil, err
		}
		if len(c.P2P.Operators) > 0 {
			if p.operators, err = p.newOperators(dir); err != nil {
				return nil, err
			}
		}
	}
	if c.Submit.Enabled {
		if p.submitter, err = p.newSubmitter(ctx, dir); err != nil {
			return nil, err
		}
	}
	p.poller = federation.NewPoller(federation.PollerOptions{Hub: p.hub, Targets: p.targets(logs, others), Interval: c.Interval.Duration})
	return p, nil
}

func mirrorDir(dir, origin string) string {
	return filepath.Join(dir, "mirror", federation.OriginHash(origin))
}

// places returns where the tiles of a log are: as configured, as the policy says,
// and in the mirrors of peers.
func (p *peer) places(l *federation.Log) []string {
	urls := append(p.config.special(l.Origin).URLs[:0:0], p.config.special(l.Origin).URLs...)
	urls = append(urls, l.URLs...)
	for _, x := range p.config.Peers {
		urls = append(urls, strings.TrimSuffix(x.URL, "/")+"/mirror/"+federation.OriginHash(l.Origin))
	}
	return urls
}

// targets returns everybody who is asked.
func (p *peer) targets(logs []federation.Log, others map[string][]string) []federation.Target {
	var all []federation.Target
	for _, l := range logs {
		own := len(others[l.Origin]) - len(p.config.Peers)
		for i, u := range others[l.Origin][:own] {
			name := l.Origin
			if i > 0 {
				name = fmt.Sprintf("%s (%s)", l.Origin, u)
			}
			all = append(all, federation.Target{Kind: federation.TargetLog, Name: name, URL: u, Origin: l.Origin})
		}
		if own == 0 {
			p.logger.Warn("no URL says where this log is; only witnesses and peers are asked", "origin", l.Origin)
		}
	}
	for _, w := range p.config.Witnesses {
		all = append(all, federation.Target{Kind: federation.TargetWitness, Name: w.Name, URL: w.Monitoring})
	}
	for _, x := range p.config.Peers {
		all = append(all, federation.Target{Kind: federation.TargetPeer, Name: x.Name, URL: x.URL})
	}
	return all
}

// workers returns what runs beside the HTTP interface.
func (p *peer) workers() []func(context.Context) {
	all := []func(context.Context){p.poller.Run}
	if p.feeder != nil {
		all = append(all, p.feeder.Run)
	}
	if p.operators != nil {
		all = append(all, p.operators.Run)
	}
	if p.submitter != nil {
		all = append(all, p.submitter.Run)
	}
	for _, m := range p.mirrors {
		all = append(all, m.Run)
	}
	return all
}

func (p *peer) handler() http.Handler {
	s := &federation.Server{
		Hub: p.hub, Poller: p.poller, Mirrors: p.mirrors, Operators: p.operators, Submitter: p.submitter, Name: p.config.Name, Version: version(),
		Metrics: promhttp.HandlerFor(p.registry, promhttp.HandlerOpts{}),
	}
	if p.node != nil {
		s.Gossip = p.node.Status
	}
	return s.Handler()
}

func (p *peer) summary() string {
	return fmt.Sprintf("logs %d, mirrors %d, witnesses asked %d, peers %d", len(p.hub.Origins()), len(p.mirrors), len(p.config.Witnesses), len(p.config.Peers))
}

// maxRedirects bounds how far an answer may point elsewhere.
const maxRedirects = 3

// newHTTP returns the client for everything that others serve.
func newHTTP() *http.Client {
	return &http.Client{
		Transport: &http.Transport{
			Proxy:             http.ProxyFromEnvironment,
			DialContext:       (&net.Dialer{Timeout: 5 * time.Second, KeepAlive: 30 * time.Second}).DialContext,
			ForceAttemptHTTP2: true, MaxIdleConns: 100, MaxIdleConnsPerHost: 8, IdleConnTimeout: 90 * time.Second,
			TLSHandshakeTimeout: 5 * time.Second, ResponseHeaderTimeout: 10 * time.Second, MaxResponseHeaderBytes: 64 << 10,
		},
		CheckRedirect: func(_ *http.Request, via []*http.Request) error {
			if len(via) > maxRedirects {
				return errors.New("too many redirects")
			}
			return nil
		},
	}
}
