package store

import (
	"context"
	"database/sql"
	"slices"

	"github.com/firn-log/firn/log/statement"
	"github.com/firn-log/firn/verify"
)

var operatorTable = newTable("operator", "id ident voter registered name contact url home fork claims agreed differed alone copied",
	upsert("id", "voter registered name contact url home fork"))

// addVoters makes rows for the operators of the policy, whether or not they are registered.
func (tx *Tx) addVoters(ctx context.Context) error {
	p := tx.db.opts.Policy
	if p == nil {
		return nil
	}
	r := operatorTable.rows()
	for _, o := range p.Operators {
		ident := identOf(o)
		if tx.ops[ident] > 0 {
			continue
		}
		id := tx.id("operator")
		tx.ops[ident] = id
		r.add(id, ident[:], o.Name, 0, o.Name, "", "", "", "", 0, 0, 0, 0, 0)
		tx.wordsOf(kindOperator, statement.ID(ident).String(), 1, o.Name)
	}
	tx.nameVoters(p)
	return r.write(ctx, tx)
}

// syncOperators brings the rows of registered operators up to date.
func (tx *Tx) syncOperators(ctx context.Context, ids []statement.ID) error {
	for _, id := range ids {
		o := tx.reg.Registered(id)
		if o == nil {
			continue
		}
		if err := tx.syncOperator(ctx, o); err != nil {
			return err
		}
	}
	return nil
}

func (tx *Tx) syncOperator(ctx context.Context, o *verify.Registered) error {
	row := tx.ops[o.ID]
	if row == 0 {
		row = tx.id("operator")
		tx.ops[o.ID] = row
		tx.stats["operators"]++
	} else {
		var registered int64
		var name string
		if _, err := tx.one(ctx, "SELECT registered, name FROM operator WHERE id = $1", []any{row}, &registered, &name); err != nil {
			return err
		}
		if registered == 0 {
			tx.stats["operators"]++
		}
		tx.wordsOf(kindOperator, o.ID.String(), -1, name)
	}
	if tx.db.opts.Policy == nil {
		name := o.ID.String()
		tx.voters[name], tx.names[row] = row, name
	}
	voter := ""
	if tx.db.opts.Policy != nil {
		voter = tx.names[row]
	}
	fork := ""
	if o.Fork != nil {
		fork = o.Fork.String()
	}
	p := o.Profile
	r := operatorTable.rows()
	r.add(row, o.ID[:], voter, 1, p.Name, p.Contact, p.URL, p.HomeLog, fork, 0, 0, 0, 0, 0)
	tx.wordsOf(kindOperator, o.ID.String(), 1, p.Name)
	if err := r.write(ctx, tx); err != nil {
		return err
	}
	if err := tx.exec(ctx, "DELETE FROM operator_key WHERE op = $1", row); err != nil {
		return err
	}
	keys := operatorKeyTable.rows()
	for _, k := range o.Keys {
		keys.add(row, k.Key[:], string(k.Role), k.State, k.CacheName)
	}
	return keys.write(ctx, tx)
}

var operatorKeyTable = newTable("operator_key", "op kid role state cache", "")

// addPeople gives the register what entries say of people, and recounts older
// statements whose standing that changes.
func (tx *Tx) addPeople(ctx context.Context, origin string, entries []Entry) error {
	tx.db.regMu.Lock()
	tx.reg.AddLog(origin)
	var keys []statement.KeyID
	for _, e := range entries {
		if e.Statement != nil && e.Statement.Kind.Class() == statement.People {
			if k, news := tx.reg.Add(e.Statement, origin, e.Index); news {
				keys = append(keys, k)
			}
		}
	}
	news := tx.reg.Update()
	tx.db.regMu.Unlock()
	if err := tx.syncOperators(ctx, news.Operators); err != nil {
		return err
	}
	for _, k := range keys {
		if err := tx.checkAgain(ctx, k); err != nil {
			return err
		}
	}
	for _, k := range news.Keys {
		if err := tx.recountKey(ctx, k); err != nil {
			return err
		}
	}
	return tx.recountIDs(ctx, news.Statements)
}

// recountKey recounts all statements of a key. Its query has bounds instead of an equation, so that PostgreSQL
// takes the index of signers and not that of ids.
func (tx *Tx) recountKey(ctx context.Context, k statement.KeyID) error {
	signer, err := tx.signer(ctx, k, false)
	if err != nil || signer == 0 {
		return err
	}
	return tx.pages(ctx, "SELECT id FROM stmt WHERE (signer, id) > ($1, $2) AND signer <= $1 ORDER BY signer, id LIMIT $3", signer, tx.recount)
}

// pages calls f for all ids that a query gives for arg, recountChunk at a time.
func (tx *Tx) pages(ctx context.Context, query string, arg int64, f func(context.Context, int64) error) error {
	for last := int64(0); ; {
		var ids []int64
		err := tx.each(ctx, query, []any{arg, last, recountChunk}, func(r *sql.Rows) error {
			var id int64
			err := r.Scan(&id)
			ids = append(ids, id)
			return err
		})
		if err != nil || len(ids) == 0 {
			return err
		}
		for _, id := range ids {
			if err := f(ctx, id); err != nil {
				return err
			}
		}
		if err := tx.flush(ctx); err != nil {
			return err
		}
		last = ids[len(ids)-1]
	}
}

func (tx *Tx) recountIDs(ctx context.Context, sids []statement.ID) error {
	for some := range slices.Chunk(sids, recountChunk) {
		for _, sid := range some {
			id, err := tx.findStatement(ctx, sid)
			if err != nil {
				return err
			}
			if id > 0 {
				if err := tx.recount(ctx, id); err != nil {
					return err
				}
			}
		}
		if err := tx.flush(ctx); err != nil {
			return err
		}
	}
	return nil
}

// recountChunk is how many statements are recounted before what follows is computed: all may be about one output.
const recountChunk = 4000

func (tx *Tx) findStatement(ctx context.Context, sid statement.ID) (id int64, err error) {
	_, err = tx.one(ctx, "SELECT id FROM stmt WHERE h = $1 AND sid = $2", []any{first60(sid[:]), sid[:]}, &id)
	return id, err
}

// checkAgain verifies what could not be verified because the key was not known.
func (tx *Tx) checkAgain(ctx context.Context, k statement.KeyID) error {
	signer, err := tx.signer(ctx, k, false)
	if err != nil || signer == 0 {
		return err
	}
	q := "SELECT p.stmt FROM stmt s JOIN place p ON p.stmt = s.id WHERE (s.signer, s.id) > ($1, $2) AND s.signer <= $1 AND p.sig = 0 ORDER BY s.signer, s.id LIMIT $3"
	return tx.pages(ctx, q, signer, func(ctx context.Context, id int64) error {
		if err := tx.checkPlaces(ctx, id); err != nil {
			return err
		}
		return tx.recount(ctx, id)
	})
}

// checkPlaces verifies the signature at each place of a statement where that was not possible.
func (tx *Tx) checkPlaces(ctx context.Context, id int64) error {
	type at struct{ log, idx, sig int64 }
	var places []at
	q := "SELECT p.log, p.idx, s.leaf, c.leaf FROM stmt s JOIN place p ON p.stmt = s.id LEFT JOIN copy c ON c.stmt = p.stmt AND c.log = p.log AND c.idx = p.idx WHERE s.id = $1 AND p.sig = 0"
	err := tx.each(ctx, q, []any{id}, func(r *sql.Rows) error {
		var p at
		var leaf, other []byte
		if err := r.Scan(&p.log, &p.idx, &leaf, &other); err != nil {
			return err
		}
		if other != nil {
			leaf = other
		}
		s, err := statement.Parse(slices.Clone(leaf))
		if err != nil {
			return err
		}
		p.sig = tx.checkSignature(s, false)
		places = append(places, p)
		return nil
	})
	if err != nil {
		return err
	}
	for _, p := range places {
		if err := tx.exec(ctx, "UPDATE place SET sig = $1 WHERE stmt = $2 AND log = $3 AND idx = $4", p.sig, id, p.log, p.idx); err != nil {
			return err
		}
	}
	return nil
}

// What is known of a signature.
const (
	sigUnknown = 0 // the key, or what it signed, is not known yet
	sigGood    = 1
	sigBad     = 2
)

// checkSignature verifies all that is signed in s if its key is known.
func (tx *Tx) checkSignature(s *statement.Statement, verified bool) int64 {
	if verified {
		return sigGood
	}
	key, ok := tx.reg.Key(s.Signer)
	if s.SignerKey != nil {
		key, ok = *s.SignerKey, true
	}
	if !ok {
		return sigUnknown
	}
	err := s.Verify(key)
	if statement.CodeOf(err) == statement.CodeNeedsBlob {
		return sigUnknown
	}
	if b, ok := s.Body.(*statement.Realisation); ok && err == nil {
		err = b.VerifyNixSigs()
	}
	if b, ok := s.Body.(*statement.KeyAdd); ok && err == nil {
		err = b.VerifyProof()
	}
	if err != nil {
		return sigBad
	}
	return sigGood
}

// signer returns the row of a key; 0 if there is none and add is not set.
func (tx *Tx) signer(ctx context.Context, k statement.KeyID, add bool) (int64, error) {
	if id, ok := tx.signers.get(k); ok {
		return id, nil
	}
	var id int64
	if _, err := tx.one(ctx, "SELECT id FROM signer WHERE kid = $1", []any{k[:]}, &id); err != nil {
		return 0, err
	}
	if id == 0 && add {
		id = tx.id("signer")
		if err := tx.exec(ctx, "INSERT INTO signer (id, kid) VALUES ($1, $2)", id, k[:]); err != nil {
			return 0, err
		}
	}
	if id > 0 {
		tx.signers.put(k, id)
	}
	return id, nil
}
