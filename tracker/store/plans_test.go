package store

import (
	"encoding/json"
	"maps"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/firn-log/firn/internal/pgtest"
)

// plan is a node of what EXPLAIN (FORMAT JSON) says.
type plan struct {
	Type     string `json:"Node Type"`
	Relation string `json:"Relation Name"`
	Index    string `json:"Index Name"`
	Cond     string `json:"Index Cond"`
	Plans    []plan `json:"Plans"`
}

func (p *plan) walk(f func(*plan)) {
	f(p)
	for i := range p.Plans {
		p.Plans[i].walk(f)
	}
}

// few are tables that have so few rows in this test that no plan is better than another.
var few = []string{"closure", "closure_output", "operator"}

// PostgreSQL finds the rows of every query through an index too, also of tables whose statistics it has.
func TestPostgresFindsRowsThroughIndexes(t *testing.T) {
	seen := make(map[string]bool)
	server := pgtest.Shared(t)
	db := openAt(t, server.Database(t), Options{Random: []string{"set03.*"}})
	db.seen = func(q string) { seen[q] = true }
	s := fill(t, db, 3000, 600, "a", "b", "c")
	world := openAt(t, server.Database(t), Options{})
	world.seen = db.seen
	makeWorld(t, 3).shuffled(t, world, 3)
	callEverything(t, s, newPerson(t, "alice"))
	for _, stmt := range []string{"ANALYZE", "SET plan_cache_mode = force_generic_plan"} {
		if _, err := db.conn.ExecContext(t.Context(), stmt); err != nil {
			t.Fatal(err)
		}
	}
	for _, q := range slices.Sorted(maps.Keys(seen)) {
		if loading.MatchString(q) || strings.HasPrefix(q, "INSERT") {
			continue
		}
		db.explainPostgres(t, q).walk(func(p *plan) {
			whole := p.Type == "Seq Scan" || strings.Contains(p.Type, "Index") && p.Cond == ""
			if whole && !slices.Contains(small, p.Relation) && !slices.Contains(few, p.Relation) && p.Index != "place_unchecked" {
				t.Errorf("%s of %s %s\n\tin %s", p.Type, p.Relation, p.Index, q)
			}
		})
	}
	if len(seen) < 100 {
		t.Errorf("only %d queries were seen", len(seen))
	}
}

// explainPostgres returns the plan of a query for any arguments.
func (db *DB) explainPostgres(t *testing.T, q string) *plan {
	t.Helper()
	highest := 0
	for _, m := range placeholder.FindAllStringSubmatch(q, -1) {
		n, _ := strconv.Atoi(m[1])
		highest = max(highest, n)
	}
	if _, err := db.conn.ExecContext(t.Context(), "PREPARE explained AS "+q); err != nil {
		t.Fatalf("%v in %s", err, q)
	}
	defer db.conn.ExecContext(t.Context(), "DEALLOCATE explained")
	args := ""
	if highest > 0 {
		args = "(" + strings.Repeat("NULL,", highest-1) + "NULL)"
	}
	var text string
	if err := db.conn.QueryRowContext(t.Context(), "EXPLAIN (FORMAT JSON) EXECUTE explained"+args).Scan(&text); err != nil {
		t.Fatalf("%v in %s", err, q)
	}
	var plans []struct{ Plan plan }
	if err := json.Unmarshal([]byte(text), &plans); err != nil {
		t.Fatal(err)
	}
	return &plans[0].Plan
}
