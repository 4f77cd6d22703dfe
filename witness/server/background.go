package server

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"time"

	"github.com/firn-log/firn/witness"
)

// keepLists reads the lists of logs every now and then.
func (s *Server) keepLists(ctx context.Context) {
	if len(s.o.Config.LogLists) == 0 {
		return
	}
	t := time.NewTicker(s.o.Config.ListInterval.Duration)
	defer t.Stop()
	for {
		select {
		case <-t.C:
			s.readLists(ctx)
		case <-ctx.Done():
			return
		}
	}
}

// readLists adds the logs of every list. A list that cannot be read changes
// nothing.
func (s *Server) readLists(ctx context.Context) {
	for _, from := range s.o.Config.LogLists {
		if err := s.readList(ctx, from); err != nil {
			s.metrics.listFailures.Inc()
			s.log.Warn("a list of logs could not be read; the logs known so far stay", "list", from, "error", err)
		}
	}
}

func (s *Server) readList(ctx context.Context, from string) error {
	b, err := s.fetchList(ctx, from)
	if err != nil {
		return err
	}
	logs, skipped, err := witness.ParseLogList(b)
	if err != nil {
		return err
	}
	for _, why := range skipped {
		s.log.Info("a log of a list is left out", "list", from, "reason", why)
	}
	for i := range logs {
		if logs[i].QPD == 0 {
			logs[i].QPD = s.o.Config.Budgets.QPD
		}
	}
	added, differ, err := s.witness.UpdateLogs(logs)
	for _, origin := range added {
		s.log.Info("a list added a log", "list", from, "origin", origin)
	}
	for _, origin := range differ {
		s.log.Warn("a list has another key for a known log; it changes nothing", "list", from, "origin", origin)
	}
	return err
}

func (s *Server) fetchList(ctx context.Context, from string) ([]byte, error) {
	if !isURL(from) {
		f, err := os.Open(inDir(s.o.Dir, strings.TrimPrefix(from, "file://")))
		if err != nil {
			return nil, err
		}
		defer f.Close()
		return io.ReadAll(io.LimitReader(f, witness.MaxList+1))
	}
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, from, nil)
	if err != nil {
		return nil, err
	}
	resp, err := s.client.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("it answered %s", resp.Status)
	}
	return io.ReadAll(io.LimitReader(resp.Body, witness.MaxList+1))
}

// keepPeers asks the peers as long as there is doubt, and again when there is
// some about a new origin.
func (s *Server) keepPeers(ctx context.Context) {
	if len(s.o.Config.Peers) == 0 {
		return
	}
	t := time.NewTicker(retryPeers)
	defer t.Stop()
	again := s.store.Doubt() != ""
	for {
		select {
		case <-s.witness.InDoubt():
			again = true
		case <-t.C:
			if !again {
				continue
			}
		case <-ctx.Done():
			return
		}
		again = s.askPeers(ctx) != nil
	}
}

// askPeers asks every peer, and again while that brings something newer.
func (s *Server) askPeers(ctx context.Context) error {
	if s.store.Moved() {
		return nil
	}
	var urls []string
	for _, p := range s.o.Config.Peers {
		urls = append(urls, p.URL)
	}
	doubt := s.store.Doubt()
	for {
		err := s.witness.AskPeers(ctx, s.client, urls)
		var peer *witness.PeerError
		switch {
		case errors.As(err, &peer) && peer.Newer > 0 && ctx.Err() == nil:
			s.metrics.adopted.Add(float64(peer.Newer))
			continue
		case err != nil:
			s.log.Warn("peers have not confirmed that this is the newest copy", "error", err)
		case doubt != "":
			s.log.Info("peers have confirmed that this is the newest copy; cosigning", "doubt", doubt)
		}
		return err
	}
}
