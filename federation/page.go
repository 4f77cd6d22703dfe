package federation

import (
	"bytes"
	_ "embed"
	"encoding/base64"
	"html/template"
	"net/http"
	"slices"
	"strings"
	"time"
)

//go:embed page.html
var pageText string

var pageTemplate = template.Must(template.New("page").Parse(pageText))

// pageLog is one log on the status page.
type pageLog struct {
	Origin, Hash, Root string
	Convicted, Mirror  bool
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
	Name, Hash string
	Size       uint64
	Time       time.Time
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
	}{Name: s.Name, Version: s.Version, Now: s.Hub.o.Now().UTC(), Evidence: held}
	for _, o := range s.Hub.origins {
		data.Logs = append(data.Logs, s.pageLog(o))
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
	}
	var b bytes.Buffer
	if err := pageTemplate.Execute(&b, data); err != nil {
		s.failed(w, "status page", err)
		return
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.Header().Set("Cache-Control", "no-cache")
	w.Header().Set("Content-Security-Policy", "default-src 'none'; style-src 'unsafe-inline'")
	w.Write(b.Bytes())
}

func (s *Server) pageLog(o *origin) pageLog {
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
		}
		l.Seen = append(l.Seen, x)
	}
	o.mu.Unlock()
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
