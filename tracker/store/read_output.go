package store

import (
	"cmp"
	"context"
	"database/sql"
	"encoding/hex"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/firn-log/firn/internal/nix"
	"github.com/firn-log/firn/log/statement"
	"github.com/firn-log/firn/verify"
)

func itoa(n int) string { return strconv.Itoa(n) }

func narText(b []byte) string {
	if len(b) != 32 || nix.Hash(b).IsZero() {
		return ""
	}
	return nix.Hash(b).String()
}

// maxClaims is how many claims are listed of all outputs of a derivation together, and minClaims how many
// of an output in any case.
const (
	maxClaims = 200
	minClaims = 8
)

// Output returns an output by the base name of its path, and the attributes that it belongs to now.
func (db *DB) Output(ctx context.Context, path string) (o *OutputView, attrs []AttributeRow, err error) {
	o = &OutputView{}
	err = db.view(ctx, func(q *view) error {
		id, err := q.findOutput(path)
		if err != nil {
			return err
		}
		if err := q.output(id, o, maxClaims); err != nil {
			return err
		}
		if _, err := q.one("SELECT name FROM drv_output WHERE out = $1 ORDER BY drv LIMIT 1", []any{id}, &o.Output); err != nil {
			return err
		}
		rows, err := q.readRows("SELECT "+rowColumns+" FROM drv_output t JOIN attr_row r ON r.drv = t.drv AND r.drv > 0"+rowJoins+" WHERE t.out = $1 LIMIT 50", []any{id})
		for _, r := range rows {
			attrs = append(attrs, r.AttributeRow)
		}
		slices.SortFunc(attrs, func(a, b AttributeRow) int {
			return cmp.Or(cmp.Compare(a.Channel, b.Channel), cmp.Compare(a.Attr, b.Attr))
		})
		return err
	})
	if err != nil {
		return nil, nil, err
	}
	return o, attrs, nil
}

func (q *view) findOutput(path string) (id int64, err error) {
	ok, err := q.one("SELECT id FROM output WHERE h = $1 AND path = $2", []any{hashPart60(path), path}, &id)
	if err == nil && !ok {
		err = ErrNotFound
	}
	return id, err
}

// output fills in an output and its claims, not many more than limit.
func (q *view) output(id int64, o *OutputView, limit int) error {
	var key outKey
	var real, fod, since int64
	f := flags{}
	var random int64
	if _, err := q.one("SELECT path, real, fod, random, system, state, since, agreeing, against FROM output WHERE id = $1", []any{id}, &key.path, &real, &fod, &random, &f.system, &o.State, &since, &o.Agreeing, &o.Against); err != nil {
		return err
	}
	key.real = real == 1
	if !key.real {
		o.Path = key.path
	}
	f.fod, f.random = fod == 1, random == 1
	o.FOD, o.Since = f.fod, unixTime(since)
	read, more, err := q.claims(id, limit)
	if err != nil {
		return err
	}
	o.More = more
	diffs, err := q.diffs(id)
	if err != nil {
		return err
	}
	for i := range read {
		r := &read[i]
		for _, d := range diffs {
			if slices.Equal(d.a, r.nar[:]) || slices.Equal(d.b, r.nar[:]) {
				r.view.Diff = d.sid
				break
			}
		}
		o.Claims = append(o.Claims, r.view)
	}
	o.Reason = q.reason(o.State, read)
	return nil
}

type readDiff struct {
	sid  string
	a, b []byte
}

func (q *view) diffs(out int64) (diffs []readDiff, err error) {
	err = q.each("SELECT s.sid, d.a, d.b FROM diff d JOIN stmt s ON s.id = d.stmt WHERE d.out = $1 AND d.op > 0 LIMIT 100", []any{out}, func(r *sql.Rows) error {
		var d readDiff
		var sid []byte
		err := r.Scan(&sid, &d.a, &d.b)
		d.sid = hex.EncodeToString(sid)
		diffs = append(diffs, d)
		return err
	})
	slices.SortFunc(diffs, func(a, b readDiff) int { return cmp.Compare(a.sid, b.sid) })
	return diffs, err
}

// readClaim is a claim as pages show it.
type readClaim struct {
	claim
	sid  statement.ID
	kid  statement.KeyID
	view ClaimView
}

// claims returns the claims about an output, those that count first. If there are more than limit, it returns of each
// operator some, and each thing that it says before what it says again, so that nobody who says much keeps others from being seen.
func (q *view) claims(out int64, limit int) (all []readClaim, more bool, err error) {
	if all, err = q.readClaims("claim "+claimJoins+"WHERE c.out = $1 ORDER BY c.op DESC, c.k DESC", limit+1, out); err != nil {
		return nil, false, err
	}
	if len(all) <= limit {
		rest, err := q.readClaims("further "+claimJoins+"WHERE c.out = $1 ORDER BY c.op DESC, c.what DESC, c.time DESC, c.stmt DESC, c.n DESC", limit+1-len(all), out)
		if err != nil {
			return nil, false, err
		}
		all = append(all, rest...)
	}
	if more = len(all) > limit; more {
		if all, err = q.someClaims(out, limit); err != nil {
			return nil, false, err
		}
	}
	var stmts []int64
	for i := range all {
		stmts = append(stmts, all[i].stmt)
	}
	stmts = unique(stmts)
	places, err := q.places(stmts)
	if err != nil {
		return nil, false, err
	}
	if err := q.parse(stmts); err != nil {
		return nil, false, err
	}
	for i := range all {
		c := &all[i]
		q.content(c)
		if c.view, err = q.claimView(c, q.parsed[c.stmt], places[c.stmt]); err != nil {
			return nil, false, err
		}
	}
	slices.SortStableFunc(all, func(a, b readClaim) int {
		return cmp.Or(-cmp.Compare(bit(a.op > 0), bit(b.op > 0)), cmp.Compare(a.view.By.Name, b.view.By.Name), cmp.Compare(a.time, b.time), slices.Compare(a.sid[:], b.sid[:]))
	})
	return all, more, nil
}

// someClaims returns claims of as many operators as fit, and of those whom nobody counts if there is room.
func (q *view) someClaims(out int64, limit int) (all []readClaim, err error) {
	var ops []int64
	for last := int64(0); len(ops) < limit; {
		ok, err := q.one("SELECT op FROM claim WHERE out = $1 AND op > $2 ORDER BY op LIMIT 1", []any{out, last}, &last)
		if err != nil {
			return nil, err
		}
		if !ok {
			break
		}
		ops = append(ops, last)
	}
	each := max(2, limit/(len(ops)+1))
	for _, op := range ops {
		some, err := q.readClaims("claim "+claimJoins+"WHERE c.out = $1 AND c.op = $2 ORDER BY c.k", each, out, op)
		if err != nil {
			return nil, err
		}
		all = append(all, some...)
		if len(some) == each {
			continue
		}
		if some, err = q.readClaims("further "+claimJoins+"WHERE c.out = $1 AND c.op = $2 ORDER BY c.what, c.time, c.stmt, c.n", each-len(some), out, op); err != nil {
			return nil, err
		}
		all = append(all, some...)
	}
	some, err := q.readClaims("further "+claimJoins+"WHERE c.out = $1 AND c.op = 0 ORDER BY c.what DESC, c.time DESC, c.stmt DESC, c.n DESC", each, out)
	return append(all, some...), err
}

const claimJoins = "c JOIN stmt s ON s.id = c.stmt JOIN signer g ON g.id = s.signer "

// readClaims returns the first claims of a query, of which it knows only whose they are.
func (q *view) readClaims(query string, limit int, args ...any) (all []readClaim, err error) {
	args = append(args, limit)
	query = "SELECT c.op, c.stmt, c.n, s.sid, g.kid FROM " + query + " LIMIT CAST($" + itoa(len(args)) + " AS BIGINT)"
	err = q.each(query, args, func(r *sql.Rows) error {
		var c readClaim
		var sid, kid []byte
		if err := r.Scan(&c.op, &c.stmt, &c.n, &sid, &kid); err != nil {
			return err
		}
		c.sid, c.kid = statement.ID(sid), statement.KeyID(kid)
		all = append(all, c)
		return nil
	})
	return all, err
}

// content fills in what a claim says, of a statement that is parsed.
func (q *view) content(c *readClaim) {
	s := q.parsed[c.stmt]
	if s == nil {
		return
	}
	all, ok := q.said[c.stmt]
	if !ok {
		all = claimsOf(s)
		q.said[c.stmt] = all
	}
	if c.n < int64(len(all)) {
		op, stmt := c.op, c.stmt
		c.claim = all[c.n].claim
		c.op, c.stmt = op, stmt
	}
}

// parse reads statements into q.parsed, each once for a page.
func (q *view) parse(stmts []int64) error {
	stmts = slices.DeleteFunc(slices.Clone(stmts), func(id int64) bool { return q.parsed[id] != nil })
	return q.eachIn("SELECT id, leaf FROM stmt WHERE id IN ?", nil, stmts, func(r *sql.Rows) error {
		var id int64
		var leaf []byte
		if err := r.Scan(&id, &leaf); err != nil {
			return err
		}
		s, err := statement.Parse(leaf)
		if err == nil { // it was stored, so it did parse
			q.parsed[id] = s
		}
		return nil
	})
}

// readPlace is a place and what is known of the signature there.
type readPlace struct {
	Place
	sig int64
}

// maxPlaces is how many places of a statement in one log are shown.
const maxPlaces = 20

// places returns the first places of statements in each log.
func (q *view) places(stmts []int64) (map[int64][]readPlace, error) {
	var few, many []int64
	// A log may repeat one a million times.
	err := q.eachIn("SELECT s.id, (SELECT p.idx FROM place p WHERE p.stmt = s.id ORDER BY p.log, p.idx LIMIT 1 OFFSET "+itoa(maxPlaces)+") FROM stmt s WHERE s.id IN ?", nil, stmts, func(r *sql.Rows) error {
		var id int64
		var further sql.NullInt64
		err := r.Scan(&id, &further)
		if further.Valid {
			many = append(many, id)
		} else {
			few = append(few, id)
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	places := make(map[int64][]readPlace)
	read := func(r *sql.Rows) error {
		var id int64
		var p readPlace
		err := r.Scan(&id, &p.Origin, &p.Index, &p.sig)
		places[id] = append(places[id], p)
		return err
	}
	const columns = "SELECT p.stmt, l.origin, p.idx, p.sig FROM place p JOIN log l ON l.id = p.log "
	if err := q.eachIn(columns+"WHERE p.stmt IN ? ORDER BY p.stmt, l.origin, p.idx", nil, few, read); err != nil || len(many) == 0 {
		return places, err
	}
	logs, err := q.logsByOrigin()
	for _, id := range many {
		for _, l := range logs {
			if err == nil {
				err = q.each(columns+"WHERE p.stmt = $1 AND p.log = $2 ORDER BY p.idx LIMIT "+itoa(maxPlaces), []any{id, l}, read)
			}
		}
	}
	return places, err
}

func plain(places []readPlace) (out []Place) {
	for _, p := range places {
		out = append(out, p.Place)
	}
	return out
}

func (q *view) claimView(c *readClaim, s *statement.Statement, places []readPlace) (ClaimView, error) {
	v := ClaimView{Content: fmt.Sprintf("%x%x%s", c.nar[:], c.rest[:], c.path), NarHash: narText(c.nar[:]), References: -1, Finished: unixTime(c.time), Counts: c.op > 0, Statement: c.sid.String(), Places: plain(places)}
	switch c.class {
	case verify.Signed:
		v.Class = "signed"
	default:
		v.Class = "built"
	}
	by, err := q.operatorOf(c.op, c.kid)
	if err != nil {
		return v, err
	}
	v.By = by
	if !v.Counts {
		v.Why = q.why(c.kid, c.sid, places)
	}
	if s != nil {
		v.Kind = string(s.Kind)
		describeClaim(&v, s.Body, c)
	}
	return v, nil
}

// describeClaim fills in what only the statement has.
func describeClaim(v *ClaimView, b statement.Body, c *readClaim) {
	switch b := b.(type) {
	case *statement.Build:
		v.How = string(b.How)
		v.Builder = b.Builder.Implementation + " " + b.Builder.Version
		n := int64(0)
		for i := range b.Outputs {
			for range 1 + bit(b.Outputs[i].CA != "") {
				if n == c.n {
					v.NarSize = int64(b.Outputs[i].NarSize)
					v.References = referencesOf(b.Outputs[i].References, b.Outputs[i].RefsDigest)
				}
				n++
			}
		}
	case *statement.CacheSig:
		v.NarSize, v.References = int64(b.NarSize), referencesOf(b.References, b.RefsDigest)
	case *statement.PathClaim:
		v.NarSize, v.References = int64(b.NarSize), len(b.References)
	case *statement.Realisation:
		v.Builder = b.Builder.Implementation + " " + b.Builder.Version
	}
}

func referencesOf(refs []nix.StorePath, digest *nix.Hash) int {
	if digest != nil {
		return -1
	}
	return len(refs)
}

// why says why a claim does not count.
func (q *view) why(kid statement.KeyID, sid statement.ID, places []readPlace) string {
	q.db.regMu.RLock()
	defer q.db.regMu.RUnlock()
	why := ""
	for _, p := range places {
		switch p.sig {
		case sigBad:
			why = cmp.Or(why, "its signature does not verify")
		case sigUnknown:
			why = cmp.Or(why, "its signature cannot be checked: no followed log shows its key, or what it signed")
		default:
			if w := q.db.reg.Why(kid, sid, p.Origin, p.Index); w != "" {
				return w
			}
		}
	}
	return cmp.Or(why, "it is being recounted")
}

// operatorOf names who made a claim: the operator for whom it counts, or the one that the key belongs to.
func (q *view) operatorOf(op int64, kid statement.KeyID) (OperatorRef, error) {
	k := speaker{op, kid}
	if ref, ok := q.speakers[k]; ok {
		return ref, nil
	}
	ref := OperatorRef{Key: kid.String()}
	var ident []byte
	var ok bool
	var err error
	if op > 0 {
		ok, err = q.one("SELECT ident, name FROM operator WHERE id = $1", []any{op}, &ident, &ref.Name)
	} else {
		ok, err = q.one("SELECT o.ident, o.name FROM operator_key k JOIN operator o ON o.id = k.op WHERE k.kid = $1 ORDER BY o.ident LIMIT 1", []any{kid[:]}, &ident, &ref.Name)
	}
	if ok {
		ref.ID = hex.EncodeToString(ident)
	}
	if err == nil {
		q.speakers[k] = ref
	}
	return ref, err
}

// reason says in one sentence why an output has its state.
func (q *view) reason(s State, all []readClaim) string {
	camps := make(map[fingerprint][]string)
	var builders, signers []string
	var order []fingerprint
	for i := range all {
		c := &all[i]
		if c.op == 0 {
			continue
		}
		name := cmp.Or(c.view.By.Name, c.view.By.ID)
		if fp := c.fingerprint(); !slices.Contains(camps[fp], name) {
			if camps[fp] == nil {
				order = append(order, fp)
			}
			camps[fp] = append(camps[fp], name)
		}
		if c.class == verify.Signed {
			signers = append(signers, name)
		} else {
			builders = append(builders, name)
		}
	}
	builders, signers = uniqueText(builders), uniqueText(signers)
	switch {
	case s == Copying:
		return "It is random by construction, and yet operators agree on it: somebody copied."
	case s == Differ:
		slices.SortStableFunc(order, func(a, b fingerprint) int { return cmp.Compare(len(camps[b]), len(camps[a])) })
		var parts []string
		for _, fp := range order[:min(len(order), 5)] {
			parts = append(parts, namesText(camps[fp]))
		}
		if len(order) < 2 {
			return "Different contents, of which not all are listed here."
		}
		return strconv.Itoa(len(order)) + " different contents: by " + strings.Join(parts, "; by ") + "."
	case s == Agree:
		return namesText(builders) + " built the same" + q.byPolicy() + "."
	case len(builders)+len(signers) == 0:
		return "Nobody who counts has built it."
	case len(builders) == 0:
		return "It is signed by " + namesText(signers) + ", and nobody who counts has built it."
	case q.db.opts.Policy != nil:
		return namesText(builders) + " built it, which is not enough" + q.byPolicy() + "."
	}
	return "Only " + namesText(builders) + " built it."
}

func (q *view) byPolicy() string {
	if q.db.opts.Policy == nil {
		return ""
	}
	return fmt.Sprintf(" for the policy %s", q.db.opts.PolicyName)
}

func uniqueText(s []string) []string {
	slices.Sort(s)
	return slices.Compact(s)
}

// namesText is "a, b and 3 others".
func namesText(names []string) string {
	switch {
	case len(names) > 4:
		return fmt.Sprintf("%s and %d others", strings.Join(names[:3], ", "), len(names)-3)
	case len(names) > 1:
		return strings.Join(names[:len(names)-1], ", ") + " and " + names[len(names)-1]
	}
	return strings.Join(names, "")
}
