package federation

import (
	"bytes"
	_ "embed"
	"encoding/base64"
	"fmt"
	"html/template"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/firn-log/firn/log/evidence"
)

//go:embed page.html
var pageText string

var pageTemplate = template.Must(template.New("page").Funcs(template.FuncMap{
	"ago": func(now, at time.Time) string { return ago(now.Sub(at)) },
	"utc": func(at time.Time) string { return at.UTC().Format("2006-01-02 15:04:05 UTC") },
}).Parse(pageText))

// ago says how long ago something was, for people.
func ago(d time.Duration) string {
	switch {
	case d < -maxAhead:
		return "in the future"
	case d < time.Second:
		return "now"
	case d < time.Minute:
		return fmt.Sprintf("%d s ago", int(d.Seconds()))
	case d < time.Hour:
		return fmt.Sprintf("%d min ago", int(d.Minutes()))
	case d < 48*time.Hour:
		return fmt.Sprintf("%d h ago", int(d.Hours()))
	}
	return fmt.Sprintf("%d days ago", int(d.Hours()/24))
}

// A Gossip is what the status page shows of gossip, which package p2p does.
type Gossip struct {
	ID    string // of this peer
	Peers []GossipPeer
	// Accepted, Ignored and Rejected are messages of others since the start,
	// Published are its own.
	Accepted, Ignored, Rejected, Published uint64
}

// A GossipPeer is a peer that is admitted.
type GossipPeer struct {
	ID        string
	Connected bool
	ShutOut   bool // because of what it sent
	Bad       bool // sent messages that no honest peer sends, not long ago
}

// Connected returns how many peers are connected.
func (g *Gossip) Connected() int { return g.count(func(p GossipPeer) bool { return p.Connected }) }

// ShutOut returns how many peers are shut out.
func (g *Gossip) ShutOut() int { return g.count(func(p GossipPeer) bool { return p.ShutOut }) }

func (g *Gossip) count(is func(GossipPeer) bool) int {
	n := 0
	for _, p := range g.Peers {
		if is(p) {
			n++
		}
	}
	return n
}

// pageLog is one log on the status page.
type pageLog struct {
	Origin, Hash, Root string
	Convicted, Mirror  bool
	WrongIndex         bool // committed to; its checkpoints are believed
	Latest, Best       uint64
	HasBest            bool
	Witnesses          string
	Pending            int
	Mirrored           uint64
	Seen               []pageWitness
	MirrorError        string
}

// pageWitness is what one witness was seen to have cosigned last.
type pageWitness struct {
	Name, Hash   string
	Size, Behind uint64
	Time         time.Time
	Convicted    bool
}

// page shows people what this peer knows.
func (s *Server) page(w http.ResponseWriter, _ *http.Request) {
	held, err := s.Hub.Evidence()
	if err != nil {
		s.failed(w, "status page", err)
		return
	}
	data := struct {
		Name, Version string
		Now           time.Time
		Logs          []pageLog
		Targets       []TargetStatus
		Evidence      []Evidence
		Submitted     []SubmissionStatus
		Operators     []OperatorStatus
		OperatorLogs  []OperatorLog
		Gossip        *Gossip
		// What there is evidence of.
		Histories, WrongIndex bool
	}{Name: s.Name, Version: s.Version, Now: s.Hub.o.Now().UTC(), Evidence: held}
	for _, e := range held {
		data.Histories = data.Histories || e.Kind != evidence.KindIndex
		data.WrongIndex = data.WrongIndex || e.Kind == evidence.KindIndex
	}
	for _, o := range s.Hub.origins {
		data.Logs = append(data.Logs, s.pageLog(o, held))
	}
	if s.Gossip != nil {
		data.Gossip = s.Gossip()
	}
	if s.Poller != nil {
		data.Targets = s.Poller.Status()
	}
	if s.Operators != nil {
		data.Operators, data.OperatorLogs = s.Operators.Status(), s.Operators.Logs()
	}
	if s.Submitter != nil && len(held) > 0 {
		if data.Submitted, err = s.Submitter.Status(); err != nil {
			s.failed(w, "status page", err)
			return
		}
		data.Submitted = slices.DeleteFunc(data.Submitted, func(x SubmissionStatus) bool {
			return x == SubmissionStatus{Origin: x.Origin} // it is the one that is convicted
		})
	}
	var b bytes.Buffer
	if err := pageTemplate.Execute(&b, data); err != nil {
		s.failed(w, "status page", err)
		return
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.Header().Set("Cache-Control", "no-cache")
	w.Header().Set("Content-Security-Policy", "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'")
	w.Header().Set("Referrer-Policy", "no-referrer")
	w.Write(b.Bytes())
}

func (s *Server) pageLog(o *origin, held []Evidence) pageLog {
	o.mu.Lock()
	l := pageLog{Origin: o.Origin, Hash: o.hash, Convicted: o.convicted, Pending: len(o.pending)}
	if o.latest != nil {
		l.Latest, l.Root = o.latest.head.Size, base64.StdEncoding.EncodeToString(o.latest.head.Root[:])
	}
	if o.best != nil {
		names := o.best.witnesses()
		slices.Sort(names)
		l.HasBest, l.Best, l.Witnesses = true, o.best.head.Size, strings.Join(names, ", ")
	}
	for _, w := range o.Policy.Witnesses {
		x := pageWitness{Name: w.Name, Hash: WitnessHash(w.Key.String())}
		if c := o.byWitness[w.Name]; c != nil {
			x.Size, x.Time = c.head.Size, cosignedAt(c.cosigned[w.Name]).UTC()
			if x.Size < l.Latest {
				x.Behind = l.Latest - x.Size
			}
		}
		x.Convicted = slices.ContainsFunc(held, func(e Evidence) bool {
			return e.Kind == evidence.KindWitness && bytes.Equal(e.Key.Public, w.Key.Public)
		})
		l.Seen = append(l.Seen, x)
	}
	o.mu.Unlock()
	l.WrongIndex = slices.ContainsFunc(held, func(e Evidence) bool { return e.Kind == evidence.KindIndex && e.Origin == o.Origin })
	for _, m := range s.Mirrors {
		if m.o.Origin == o.Origin {
			size, err := m.Size()
			l.Mirror, l.Mirrored = true, size
			if err != nil {
				l.MirrorError = err.Error()
			}
		}
	}
	return l
}
