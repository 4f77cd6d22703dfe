package store

import (
	"cmp"
	"context"
	"database/sql"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/firn-log/firn/internal/nix"
	"github.com/firn-log/firn/log/statement"
	"github.com/firn-log/firn/verify"
)

// Statement returns the page of a statement.
func (db *DB) Statement(ctx context.Context, id string) (*StatementView, error) {
	sid, err := statement.ParseID(id)
	if err != nil {
		return nil, ErrNotFound
	}
	v := &StatementView{}
	err = db.view(ctx, func(q *view) error {
		var row, op int64
		var kid, leaf []byte
		ok, err := q.one("SELECT s.id, s.op, g.kid, s.leaf FROM stmt s JOIN signer g ON g.id = s.signer WHERE s.h = $1 AND s.sid = $2", []any{first60(sid[:]), sid[:]}, &row, &op, &kid, &leaf)
		if err != nil || !ok {
			return cmp.Or(err, ErrNotFound)
		}
		rows, err := q.statementRows([]int64{row})
		if err != nil {
			return err
		}
		v.StatementRow = rows[0]
		s, err := statement.Parse(leaf)
		if err != nil {
			return err
		}
		v.Says = saysOf(s)
		places, err := q.places([]int64{row})
		if err != nil {
			return err
		}
		for _, said := range claimsOf(s) {
			if said.about.real && said.class != verify.Realised {
				continue // it is shown as the claim about the path
			}
			c := readClaim{claim: said.claim, sid: sid, kid: statement.KeyID(kid)}
			c.op, c.stmt = op, row
			view, err := q.claimView(&c, s, places[row])
			if err != nil {
				return err
			}
			v.Claims = append(v.Claims, struct {
				Path  string
				Claim ClaimView
			}{cmp.Or(strings.TrimPrefix(said.path, string(storeDir)+"/"), said.about.path), view})
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return v, nil
}

// subjectOf says in a word what a statement is about.
func subjectOf(b statement.Body) string {
	switch b := b.(type) {
	case *statement.Build:
		return b.DrvPath.Base()
	case *statement.BuildFailed:
		return b.DrvPath.Base()
	case *statement.CacheSig:
		return b.Path.Base()
	case *statement.PathClaim:
		return b.Path.Base()
	case *statement.Observed:
		return b.Path.Base()
	case *statement.Realisation:
		return b.ID()
	case *statement.Diff:
		return b.Path.Base()
	case *statement.Closure:
		return b.Name
	case *statement.Eval:
		return b.Name
	case *statement.Operator:
		return b.Name
	case *statement.KeyAdd:
		return b.Key.ID().String()
	case *statement.KeyRevoke:
		return b.KeyID.String()
	case *statement.Retract:
		return b.Statement.String()
	case *statement.Vouch:
		return b.For.String()
	case *statement.Genesis:
		return b.Origin
	case *statement.Revision:
		return b.Origin
	case *statement.Freeze:
		return b.Origin
	}
	return ""
}

// saysOf returns the fields of a statement for people.
func saysOf(s *statement.Statement) map[string]string {
	says := map[string]string{"kind": string(s.Kind), "signer": s.Signer.String(), "form": s.Form.String()}
	if s.For != "" {
		says["for"] = s.For
	}
	if s.Prev != nil {
		says["previous statement"] = s.Prev.String()
	}
	switch b := s.Body.(type) {
	case *statement.Build:
		says["derivation"], says["system"], says["how"] = b.DrvPath.String(), b.System, string(b.How)
		says["builder"] = fmt.Sprintf("%s %s, sandbox %t", b.Builder.Implementation, b.Builder.Version, b.Builder.Sandbox)
		says["started"], says["finished"] = timeText(b.Started), timeText(b.Finished)
		says["hash modulo"], says["sha256 of the derivation"] = b.Modulo.Hex(), b.DrvHash.Hex()
		if b.Partial {
			says["partial"] = "some outputs were there already"
		}
	case *statement.BuildFailed:
		says["derivation"], says["system"], says["reason"], says["finished"] = b.DrvPath.String(), b.System, string(b.Reason), timeText(b.Finished)
	case *statement.CacheSig:
		says["path"], says["key name"] = b.Path.String(), b.KeyName
	case *statement.PathClaim:
		says["path"], says["content address"] = b.Path.String(), b.CA
	case *statement.Observed:
		says["path"], says["cache"], says["NAR hash"], says["seen"] = b.Path.String(), b.Cache, b.NarHash.String(), timeText(b.Seen)
	case *statement.Realisation:
		says["realises"], says["path"], says["builder"] = b.ID(), b.Path.String(), b.Builder.Implementation+" "+b.Builder.Version
	case *statement.Diff:
		says["path"], says["content A"], says["content B"], says["tool"] = b.Path.String(), b.A.String(), b.B.String(), b.Tool
		says["differences"] = strconv.FormatUint(b.Total, 10)
		for i, f := range b.Files[:min(len(b.Files), 20)] {
			says[fmt.Sprintf("difference %02d", i+1)] = fmt.Sprintf("%q: %v", f.Name, f.What)
		}
	case *statement.Closure:
		says["name"], says["members"], says["digest"] = b.Name, strconv.FormatUint(b.Count, 10), b.Digest.Hex()
		if b.Paths == nil {
			says["list"] = "not in the statement"
		}
	case *statement.Eval:
		says["name"], says["derivations"], says["evaluated"] = b.Name, strconv.FormatUint(b.Count, 10), timeText(b.Evaluated)
	default:
		sayOfPeople(says, s.Body)
	}
	return says
}

func sayOfPeople(says map[string]string, b statement.Body) {
	switch b := b.(type) {
	case *statement.Operator:
		says["name"], says["contact"], says["address"], says["home log"] = b.Name, b.Contact, b.URL, b.HomeLog
	case *statement.KeyAdd:
		says["operator"], says["key"], says["role"], says["cache"] = b.OperatorID.String(), b.Key.ID().String(), string(b.Role), b.CacheName
	case *statement.KeyRevoke:
		says["operator"], says["key"], says["reason"], says["elsewhere"] = b.OperatorID.String(), b.KeyID.String(), string(b.Reason), string(b.Elsewhere)
		for origin, cut := range b.Cuts {
			says["from entry in "+origin] = strconv.FormatUint(cut, 10)
		}
	case *statement.Retract:
		says["operator"], says["statement"], says["reason"] = b.OperatorID.String(), b.Statement.String(), b.Reason
	case *statement.Vouch:
		says["operator"], says["vouches for"] = b.OperatorID.String(), b.For.String()
	case *statement.Revision:
		says["origin"], says["size"], says["root"] = b.Origin, strconv.FormatUint(b.Size, 10), nix.Hash(b.Root).Hex()
	case *statement.Freeze:
		says["origin"], says["reason"] = b.Origin, b.Reason
	}
}

func timeText(sec uint64) string {
	if sec == 0 || sec > 1<<40 {
		return ""
	}
	return time.Unix(int64(sec), 0).UTC().Format(time.RFC3339)
}

// Queue lists what to build next in a channel: first what one more builder can settle.
func (db *DB) Queue(ctx context.Context, channel string, p Page) (l Listing[PathRow], err error) {
	err = db.view(ctx, func(q *view) error {
		id, err := q.channelID(channel)
		if err != nil {
			return err
		}
		n, name := p.after(1)
		type row struct {
			PathRow
			queue, drv int64
		}
		var rows []row
		// The range comes before the condition of its index, or SQLite begins at the first row.
		err = q.each("SELECT r.name, r.queue, r.drv, d.base, d.state FROM attr_row r JOIN drv d ON d.id = r.drv WHERE r.channel = $1 AND (r.queue, r.name) > ($2, $3) AND r.queue > 0 ORDER BY r.queue, r.name LIMIT CAST($4 AS BIGINT)", []any{id, n[0], name, p.limit() + 1}, func(r *sql.Rows) error {
			var w row
			err := r.Scan(&w.Attr, &w.queue, &w.drv, &w.Drv, &w.State)
			w.Channel, w.Priority = channel, 5-w.queue
			rows = append(rows, w)
			return err
		})
		if err != nil {
			return err
		}
		listing := page(rows, p, func(r row) string { return cursor(r.Attr, r.queue) })
		l.Next = listing.Next
		var drvs []int64
		for _, r := range listing.Rows {
			drvs = append(drvs, r.drv)
		}
		outs, err := q.outputsWithoutClaims(unique(drvs))
		if err != nil {
			return err
		}
		for _, r := range listing.Rows {
			for _, o := range outs[r.drv] {
				if o.State == r.State {
					r.Path, r.Output, r.Agreeing, r.Against = o.Path, o.Output, o.Agreeing, o.Against
					break
				}
			}
			l.Rows = append(l.Rows, r.PathRow)
		}
		return nil
	})
	return l, err
}
