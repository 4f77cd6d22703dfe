package federation_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/firn-log/firn/federation"
	"github.com/firn-log/firn/log/evidence"
	"github.com/firn-log/firn/log/index/fraud"
	"github.com/firn-log/firn/log/logtest"
	"github.com/firn-log/firn/log/policy"
)

// peer is a hub of one log with its folders.
type peer struct {
	*federation.Hub
	t        testing.TB
	dir      string
	o        federation.Options
	registry *prometheus.Registry
	words    *bytes.Buffer
}

func newPeer(t testing.TB, pol *policy.Policy, urls ...string) *peer {
	t.Helper()
	p := &peer{t: t, dir: t.TempDir(), registry: prometheus.NewRegistry(), words: new(bytes.Buffer)}
	p.o = federation.Options{
		Dir:      filepath.Join(p.dir, "hub"),
		Evidence: evidence.NewStore(filepath.Join(p.dir, "evidence"), evidence.WithJudge(fraud.Judge)),
		Metrics:  federation.NewMetrics(p.registry),
		Timeout:  5 * time.Second,
		Logger:   slog.New(slog.NewTextHandler(&safeWriter{w: p.words}, nil)),
	}
	for _, origin := range pol.Origins() {
		p.o.Logs = append(p.o.Logs, federation.Log{Policy: pol, Origin: origin, URLs: urls})
	}
	p.restart()
	return p
}

// restart makes the hub anew from its folders.
func (p *peer) restart() {
	p.t.Helper()
	h, err := federation.NewHub(p.o)
	if err != nil {
		p.t.Fatal(err)
	}
	p.Hub = h
}

func (p *peer) offer(note []byte) (federation.Outcome, error) {
	return p.Offer(context.Background(), note, "test")
}

// wants offers a note and fails unless it means want.
func (p *peer) wants(want federation.Outcome, note []byte) {
	p.t.Helper()
	got, err := p.offer(note)
	if got != want {
		p.t.Fatalf("outcome %v (%v), want %v", got, err, want)
	}
	var fork *federation.ForkError
	if want == federation.Forked && !errors.As(err, &fork) {
		p.t.Fatalf("error %v, want a fork", err)
	}
}

// holds fails unless exactly this evidence is held, "kind name" each.
func (p *peer) holds(want ...string) {
	p.t.Helper()
	all, err := p.Evidence()
	if err != nil {
		p.t.Fatal(err)
	}
	var got []string
	for _, e := range all {
		got = append(got, fmt.Sprint(e.Kind, " ", e.Key.Name))
	}
	if strings.Join(sorted(got), "; ") != strings.Join(sorted(want), "; ") {
		p.t.Errorf("evidence %q, want %q", got, want)
	}
}

func (p *peer) size(note []byte) uint64 {
	p.t.Helper()
	if note == nil {
		return 0
	}
	return head(p.t, note).Size
}

// counted returns the value of a counter or gauge with these labels, summed.
func (p *peer) counted(name string, labels ...string) float64 {
	p.t.Helper()
	families, err := p.registry.Gather()
	if err != nil {
		p.t.Fatal(err)
	}
	sum := 0.0
	for _, f := range families {
		if f.GetName() != name {
			continue
		}
		for _, m := range f.GetMetric() {
			text := m.String()
			all := true
			for _, l := range labels {
				all = all && strings.Contains(text, l)
			}
			if all {
				sum += m.GetCounter().GetValue() + m.GetGauge().GetValue()
			}
		}
	}
	return sum
}

func head(t testing.TB, note []byte) policy.Head {
	t.Helper()
	n, err := policy.ParseNote(note)
	if err != nil {
		t.Fatal(err)
	}
	h, err := policy.ParseCheckpoint(n.Text)
	if err != nil {
		t.Fatal(err)
	}
	return h
}

// only returns the note with the log's signature and those of the named
// witnesses, "w1" for instance.
func only(t testing.TB, note []byte, witnesses ...string) []byte {
	t.Helper()
	n, err := policy.ParseNote(note)
	if err != nil {
		t.Fatal(err)
	}
	keep := n.Signatures[:1:1]
	for _, s := range n.Signatures[1:] {
		for _, w := range witnesses {
			if s.Name == "witness.example/"+w {
				keep = append(keep, s)
			}
		}
	}
	n.Signatures = keep
	return n.Marshal()
}

// grow adds leaves from to to-1 and publishes.
func grow(l *logtest.Log, from, to int, what string) []byte {
	for i := from; i < to; i++ {
		l.Add(fmt.Appendf(nil, "%s %d", what, i))
	}
	return l.Publish()
}

// fork returns two logs that are one log with two histories, which part at size
// common.
func fork(t testing.TB, common int, opts ...logtest.Option) (a, b *logtest.Log) {
	a, b = logtest.New(t, opts...), logtest.New(t, opts...)
	if common > 0 {
		grow(a, 0, common, "leaf")
		grow(b, 0, common, "leaf")
	}
	return a, b
}

func sorted(s []string) []string {
	out := append([]string(nil), s...)
	for i := range out {
		for j := i; j > 0 && out[j] < out[j-1]; j-- {
			out[j], out[j-1] = out[j-1], out[j]
		}
	}
	return out
}

func copyTree(t testing.TB, from, to string) {
	t.Helper()
	if err := os.CopyFS(to, os.DirFS(from)); err != nil {
		t.Fatal(err)
	}
}
