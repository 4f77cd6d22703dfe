package web

import (
	"errors"
	"fmt"
	"net/http"
	"strings"

	"github.com/firn-log/firn/tracker/api"
	"github.com/firn-log/firn/tracker/store"
)

func (s *server) statement(r *http.Request, _ query) (*page, error) {
	id, err := hexID(r)
	if err != nil {
		return nil, err
	}
	v, err := s.src.Statement(r.Context(), id)
	if err != nil {
		return nil, fmt.Errorf("reading a statement: %w", err)
	}
	logs, err := s.src.Logs(r.Context())
	if err != nil {
		return nil, fmt.Errorf("reading where logs are: %w", err)
	}
	out := api.StatementPage{Schema: api.Schema, Statement: statementOf(v.StatementRow), Says: v.Says, Claims: []api.Claim{}, Proofs: []api.Proof{}}
	for _, c := range v.Claims {
		claim := claimOf(c.Claim)
		claim.Path = c.Path
		out.Claims = append(out.Claims, claim)
	}
	for _, pl := range out.Statement.Places {
		out.Proofs = append(out.Proofs, api.Proof{Place: pl, URL: proofURL(logs, pl.Origin, id)})
	}
	out.Commands = commands(out, logs)
	if v.Kind == "closure" {
		switch _, err := s.src.Closure(r.Context(), id); {
		case err == nil:
			out.Closure = true
		case !errors.Is(err, store.ErrNotFound):
			return nil, fmt.Errorf("reading a closure: %w", err)
		}
	}
	return &page{template: "statement", title: "Statement " + short(id), data: out, modified: v.Time}, nil
}

// proofURL is where the log has the proof (spec/log.md#proof).
func proofURL(logs []store.LogView, origin, id string) string {
	if at := logURL(logs, origin); weblink(at) != "" {
		return strings.TrimSuffix(at, "/") + "/v1/proof?id=" + id
	}
	return ""
}

func logURL(logs []store.LogView, origin string) string {
	for _, l := range logs {
		if l.Origin == origin {
			return l.URL
		}
	}
	return ""
}

// commands are how to check a statement without this tracker (spec/cli.md).
func commands(p api.StatementPage, logs []store.LogView) []string {
	var out []string
	id := p.Statement.ID
	name := id[:12]
	for _, pl := range p.Statement.Places {
		at := logURL(logs, pl.Origin)
		if weblink(at) == "" {
			continue
		}
		out = append(out,
			"firn log prove "+id+" --log "+shellWord(at)+" --log-policy log.policy --output "+name+".tlog-proof --leaf-output "+name+".leaf",
			"firn log verify-proof "+name+".tlog-proof --leaf "+name+".leaf --log-policy log.policy")
		break
	}
	for i, c := range p.Claims {
		if i == 3 {
			break
		}
		if c.Path != "" {
			out = append(out, "firn verify "+shellWord("/nix/store/"+c.Path))
		}
	}
	return out
}
