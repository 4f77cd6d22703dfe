package store

import (
	"context"
	"database/sql"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/firn-log/firn/log/statement"
)

// small are tables that stay small, or whose whole content a query is for.
var small = []string{"log", "channel", "config", "stat", "migration", "evaluation"}

// loading are queries of the start, which may read a table whole.
var loading = regexp.MustCompile(`^SELECT (MAX\(id\) FROM|id, ident FROM operator$)`)

var placeholder = regexp.MustCompile(`\$(\d+)`)

// Every query that anything makes finds its rows through an index, and its placeholders first appear in
// numeric order, without which SQLite and PostgreSQL would understand different things.
func TestQueriesUseIndexesAndNumberTheirPlaceholders(t *testing.T) {
	seen := make(map[string]bool)
	db := openSQLite(t, Options{Random: []string{"set03.*"}})
	db.seen = func(q string) { seen[q] = true }
	s := fill(t, db, 3000, 600, "a", "b", "c")
	world := openSQLite(t, Options{})
	world.seen = db.seen
	makeWorld(t, 3).shuffled(t, world, 3)
	callEverything(t, s, newPerson(t, "alice"))
	// Without ANALYZE, which nothing here runs, plans follow from the schema alone, whatever the size.
	for _, q := range slices.Sorted(maps.Keys(seen)) {
		highest := 0
		for _, m := range placeholder.FindAllStringSubmatch(q, -1) {
			n, _ := strconv.Atoi(m[1])
			if n > highest+1 {
				t.Errorf("$%d comes before $%d in %s", n, highest+1, q)
			}
			highest = max(highest, n)
		}
		if loading.MatchString(q) {
			continue
		}
		for _, step := range explain(t, db, q, highest) {
			table, ok := strings.CutPrefix(step, "SCAN ")
			if table = aliased(q, table); ok && table != "" && !slices.Contains(small, table) {
				t.Errorf("%s\n\tin %s", step, q)
			}
			if strings.Contains(step, "AUTOMATIC") {
				t.Errorf("%s\n\tin %s", step, q)
			}
		}
	}
	if len(seen) < 100 {
		t.Errorf("only %d queries were seen", len(seen))
	}
}

// aliased is the table that a name in a plan stands for.
func aliased(query, name string) string {
	name, _, _ = strings.Cut(name, " ")
	m := regexp.MustCompile(`(?:FROM|JOIN) (\w+) ` + regexp.QuoteMeta(name) + `\b`).FindStringSubmatch(query)
	switch {
	case m != nil:
		return m[1]
	case strings.HasSuffix(query, ") "+name): // rows of a query whose own steps are beside this one
		return ""
	}
	return name
}

func explain(t *testing.T, db *DB, q string, args int) (steps []string) {
	t.Helper()
	values := make([]any, args)
	for i := range values {
		values[i] = 1
	}
	rows, err := db.conn.QueryContext(context.Background(), db.dialect.explain()+q, values...)
	if err != nil {
		t.Fatalf("%v in %s", err, q)
	}
	err = drain(rows, func(r *sql.Rows) error {
		var a, b, c int
		var text string
		err := r.Scan(&a, &b, &c, &text)
		steps = append(steps, text)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return steps
}

// callEverything reads every page in every way, and follows cursors to the end.
func callEverything(t *testing.T, s *scaled, p *person) {
	t.Helper()
	ctx, db := t.Context(), s.db
	closure := p.closure([]spec{s.spec(0), s.spec(1)})
	add(t, db, logA, entries(s.next, closure))
	for i := range 12 {
		for name, f := range s.pages(i) {
			if err := f(ctx); err != nil {
				t.Errorf("%s: %v", name, err)
			}
		}
	}
	for _, f := range []Filter{{Channel: "a"}, {Channel: "a", Order: Worst}, {Channel: "a", State: Agree}, {Maintainer: "maintainer1"}, {Maintainer: "maintainer1", Order: Worst}, {Maintainer: "maintainer1", Channel: "b", State: Agree}} {
		want, err := db.Attributes(ctx, f, Page{Limit: 500})
		if err != nil {
			t.Fatal(err)
		}
		var got []AttributeRow
		for p := (Page{Limit: 7}); ; {
			l, err := db.Attributes(ctx, f, p)
			if err != nil {
				t.Fatal(err)
			}
			got = append(got, l.Rows...)
			if p.After = l.Next; l.Next == "" || len(got) >= 500 {
				break
			}
		}
		if !slices.Equal(got[:min(len(got), len(want.Rows))], want.Rows) || len(want.Rows) == 0 {
			t.Errorf("%+v: %d rows by sevens, %d at once", f, len(got), len(want.Rows))
		}
	}
	if c, err := db.Closure(ctx, closure.ID().String()); err != nil || c.Known != 3 {
		t.Errorf("%+v, %v", c, err)
	}
	for st, want := range map[State]int{0: 3, Agree: 1, Differ: 2} {
		if l, err := db.ClosurePaths(ctx, closure.ID().String(), st, Page{Limit: 10}); err != nil || len(l.Rows) != want {
			t.Errorf("%+v, %v", l, err)
		}
	}
	for _, origin := range []statement.ID{closure.ID(), p.id} {
		if v, err := db.Statement(ctx, origin.String()); err != nil || len(v.Places) != 1 {
			t.Errorf("%+v, %v", v, err)
		}
	}
	for _, q := range []string{"set01 package000001", "alice", closure.ID().String()[:12], "maintainer12", "a", fmt.Sprint(p.id), "iso"} {
		if hits, err := db.Search(ctx, q, 10); err != nil || len(hits) == 0 {
			t.Errorf("search %q: %v, %v", q, hits, err)
		}
	}
	if _, err := db.Team(ctx, "nobody"); err != ErrNotFound {
		t.Error(err)
	}
	if _, _, err := db.Progress(ctx, logA); err != nil {
		t.Error(err)
	}
}
