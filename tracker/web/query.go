package web

import (
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/firn-log/firn/tracker/store"
)

// What a question may be.
const (
	maxQuery  = 64 << 10 // bytes; a cursor may hold the longest name
	maxSearch = 200      // characters
)

// badRequest is an error whose sentence is shown; status 400.
type badRequest string

func (e badRequest) Error() string { return string(e) }

func badRequestf(format string, args ...any) error { return badRequest(fmt.Sprintf(format, args...)) }

// query are the parameters of a page, each at most once.
type query map[string]string

// parseQuery reads the parameters that a page knows, and refuses others: a
// filter that is spelled wrong must not show everything.
func parseQuery(raw string, known []string) (query, error) {
	if len(raw) > maxQuery {
		return nil, badRequestf("The query string has %d bytes, and at most %d are read.", len(raw), maxQuery)
	}
	values, err := url.ParseQuery(raw)
	if err != nil {
		return nil, badRequest("The query string is not well-formed.")
	}
	q := make(query, len(values))
	for key, v := range values {
		switch {
		case !slices.Contains(known, key) && len(known) == 0:
			return nil, badRequestf("This page has no parameter %s; it has none at all.", quoted(key))
		case !slices.Contains(known, key):
			return nil, badRequestf("This page has no parameter %s; it knows %s.", quoted(key), strings.Join(known, ", "))
		case len(v) != 1:
			return nil, badRequestf("The parameter %s is there %d times.", key, len(v))
		case !utf8.ValidString(v[0]):
			return nil, badRequestf("The parameter %s is not UTF-8.", key)
		}
		q[key] = v[0]
	}
	return q, nil
}

// quoted is a stranger's word inside a sentence.
func quoted(s string) string { return "“" + clip(strings.ToValidUTF8(s, "\ufffd"), 40) + "”" }

func (q query) state() (store.State, error) {
	switch q["state"] {
	case "":
		return 0, nil
	case "agree":
		return store.Agree, nil
	case "missing":
		return store.Missing, nil
	case "differ":
		return store.Differ, nil
	case "copying":
		return store.Copying, nil
	}
	return 0, badRequestf("There is no state %s; states are agree, missing, differ and copying.", quoted(q["state"]))
}

func (q query) order() (store.Order, error) {
	switch q["order"] {
	case "", "worst":
		return store.Worst, nil
	case "name":
		return store.ByName, nil
	}
	return 0, badRequestf("There is no order %s; orders are worst and name.", quoted(q["order"]))
}

func (q query) seq() (int64, error) {
	if q["seq"] == "" {
		return 0, nil
	}
	n, err := strconv.ParseUint(q["seq"], 10, 53)
	if err != nil || strconv.FormatUint(n, 10) != q["seq"] {
		return 0, badRequestf("%s is no number of an evaluation.", quoted(q["seq"]))
	}
	return int64(n), nil
}

// worse is whether only what got worse is asked for, which is so unless it is "0".
func (q query) worse() (bool, error) {
	switch q["worse"] {
	case "", "1":
		return true, nil
	case "0":
		return false, nil
	}
	return false, badRequestf("worse is 1 or 0, not %s.", quoted(q["worse"]))
}

func (q query) page(limit int) store.Page { return store.Page{After: q["after"], Limit: limit} }

// hexID refuses what cannot be the id of an operator, a statement or a closure.
func hexID(r *http.Request) (string, error) {
	id := r.PathValue("id")
	if !isID(id) {
		return "", badRequestf("%s is not an id: it has 64 hexadecimal digits, in lower case.", quoted(id))
	}
	return id, nil
}

func isID(s string) bool {
	if len(s) != 64 {
		return false
	}
	for _, c := range []byte(s) {
		if (c < '0' || c > '9') && (c < 'a' || c > 'f') {
			return false
		}
	}
	return true
}
