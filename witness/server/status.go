package server

import (
	"bytes"
	_ "embed"
	"fmt"
	"html/template"
	"net/http"
	"time"

	"github.com/firn-log/firn/log/policy"
	"github.com/firn-log/firn/witness"
)

// maxShown bounds the logs on the status page.
const maxShown = 500

// status is what the status page shows, and its JSON form
// (spec/witness.md#status).
type status struct {
	Schema     int         `json:"schema"`
	Name       string      `json:"name"`
	VKey       string      `json:"vkey"`
	State      string      `json:"state"` // cosigning, reads-only, moved
	Doubt      string      `json:"doubt,omitempty"`
	Started    int64       `json:"started"`
	Logs       int         `json:"logs"`
	Shown      []statusLog `json:"shown"`
	Submission string      `json:"submission"`
	Monitoring string      `json:"monitoring"`
	Version    string      `json:"version"`
}

type statusLog struct {
	Origin   string `json:"origin"`
	Hash     string `json:"hash"`
	Size     uint64 `json:"size"`
	Cosigned int64  `json:"cosigned,omitempty"` // unix seconds of the cosignature
	State    string `json:"state"`              // following, waiting, refused
	QPD      uint64 `json:"qpd,omitempty"`
	Audit    any    `json:"audit,omitempty"` // of Extra.Status
}

func (s *Server) status() *status {
	c := s.o.Config
	st := &status{
		Schema: 1, Name: c.Name, VKey: s.VKey(), State: "cosigning", Started: s.started.Unix(), Version: version(),
		Submission: c.SubmissionPrefix + "/add-checkpoint", Monitoring: c.MonitoringPrefix, Shown: []statusLog{},
	}
	if err := s.witness.Doubt(); err != nil {
		st.State, st.Doubt = "reads-only", err.Error()
		if s.store.Moved() {
			st.State = "moved"
		}
	}
	logs := s.witness.Logs()
	st.Logs = len(logs)
	for _, l := range logs[:min(len(logs), maxShown)] {
		st.Shown = append(st.Shown, s.statusLog(l))
	}
	return st
}

func (s *Server) statusLog(l witness.Log) statusLog {
	now := s.witness.State(l.Origin)
	out := statusLog{Origin: l.Origin, Hash: witness.OriginHash(l.Origin), Size: now.Size, State: "following", QPD: l.QPD}
	switch {
	case now.Refused != "":
		out.State = "refused"
	case now.Note == nil:
		out.State = "waiting"
	}
	if n, err := policy.ParseNote(now.Note); err == nil {
		for _, sig := range n.Signatures {
			if at, ok := s.witness.CosignedAt(n.Text, sig); ok {
				out.Cosigned = at.Unix()
			}
		}
	}
	if s.o.Extra.Status != nil {
		out.Audit = s.o.Extra.Status(l.Origin)
	}
	return out
}

//go:embed status.html
var statusText string

// PageFuncs are what templates of status pages may call: ago and utc write a time in
// unix seconds for people.
var PageFuncs = template.FuncMap{
	"ago": func(unix int64) string { return ago(time.Since(time.Unix(unix, 0))) },
	"utc": func(unix int64) string { return time.Unix(unix, 0).UTC().Format("2006-01-02 15:04:05 UTC") },
}

var statusTemplate = template.Must(template.New("status").Funcs(PageFuncs).Parse(statusText))

// ago says how long ago something was, for people.
func ago(d time.Duration) string {
	switch {
	case d < 0:
		return "in the future"
	case d < time.Minute:
		return fmt.Sprintf("%d s ago", int(d.Seconds()))
	case d < time.Hour:
		return fmt.Sprintf("%d min ago", int(d.Minutes()))
	case d < 48*time.Hour:
		return fmt.Sprintf("%d h ago", int(d.Hours()))
	}
	return fmt.Sprintf("%d days ago", int(d.Hours()/24))
}

// statusPage is for people; it has no script and loads nothing.
func (s *Server) statusPage(w http.ResponseWriter, _ *http.Request) {
	var b bytes.Buffer
	page := statusTemplate
	if s.o.Extra.Page != nil {
		page = s.o.Extra.Page
	}
	if err := page.Execute(&b, s.status()); err != nil {
		s.log.Error("making the status page failed", "error", err)
		refuse(w, http.StatusInternalServerError, "the page could not be made", 0)
		return
	}
	h := w.Header()
	h.Set("Content-Type", "text/html; charset=utf-8")
	h.Set("Content-Security-Policy", "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Referrer-Policy", "no-referrer")
	h.Set("Cache-Control", "no-cache")
	_, _ = w.Write(b.Bytes())
}
