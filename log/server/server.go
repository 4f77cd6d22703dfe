// Package server is a firn log: the sequencer and its HTTP API.
package server

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"net/http"

	"github.com/prometheus/client_golang/prometheus"
)

// Options is what New needs beside the log's directory.
type Options struct {
	Dir            string
	NoWitnessCheck bool
	Logger         *slog.Logger
	Metrics        *prometheus.Registry
}

// Server is an open log.
type Server struct{}

// New opens the log in o.Dir.
func New(ctx context.Context, o Options) (*Server, error) {
	return nil, errors.New("log/server: not there yet")
}

// VKey returns the verifier key of the log.
func (s *Server) VKey() string { return "" }

// Handler returns the HTTP API.
func (s *Server) Handler() http.Handler { return http.NotFoundHandler() }

// Serve answers on ln until ctx ends, then stops in order.
func (s *Server) Serve(ctx context.Context, ln net.Listener) error { return nil }

// Close stops the log.
func (s *Server) Close(ctx context.Context) error { return nil }

// InitOptions is what Init makes a log from.
type InitOptions struct {
	Name         string
	Mode         string
	OperatorKeys []string
}

// Init makes a new log in dir and returns its verifier key.
func Init(dir string, o InitOptions) (vkey string, err error) { return "", errors.New("log/server: not there yet") }
