package web

import (
	"net/url"
	"strconv"
	"strings"
	"unicode"

	"github.com/firn-log/firn/tracker/api"
)

// formats are what a page may end in. Whatever ends so is a form of the page
// before it, so a name that does is written with .html behind it.
var formats = []string{".json", ".atom", ".html"}

// segment writes s as one segment of a path that comes back as s.
func segment(s string) string {
	if s == "." || s == ".." || hasFormat(s) != "" {
		s += ".html"
	}
	return url.PathEscape(s)
}

func hasFormat(path string) string {
	for _, f := range formats {
		if strings.HasSuffix(path, f) {
			return f
		}
	}
	return ""
}

// urls are the permalinks of all pages. They never change.
type urls struct {
	prefix string // path of Options.BaseURL, escaped
}

func (u urls) Channel(name string) string     { return u.prefix + "/channel/" + segment(name) }
func (u urls) Package(attr string) string     { return u.prefix + "/package/" + segment(attr) }
func (u urls) Path(base string) string        { return u.prefix + "/path/" + segment(base) }
func (u urls) Maintainer(login string) string { return u.prefix + "/maintainer/" + segment(login) }
func (u urls) Team(name string) string        { return u.prefix + "/team/" + segment(name) }
func (u urls) Operator(id string) string      { return u.prefix + "/operator/" + segment(id) }
func (u urls) Closure(id string) string       { return u.prefix + "/closure/" + segment(id) }
func (u urls) Statement(id string) string     { return u.prefix + "/statement/" + segment(id) }

func (u urls) Changes(channel string, seq int64) string {
	return u.prefix + "/channel/" + segment(channel) + "/changes?seq=" + strconv.FormatInt(seq, 10)
}

func (u urls) Badge(channel, attr string) string {
	return u.prefix + "/badge/" + segment(channel) + "/" + url.PathEscape(attr) + ".svg"
}

func (u urls) Asset(file string) string {
	return u.prefix + "/assets/" + assetVersion + "/" + file
}

// To is the path of a page without a name, such as /logs.
func (u urls) To(path string) string { return u.prefix + path }

// Hit is where the answer to a search is.
func (u urls) Hit(h api.SearchHit) string {
	switch h.Kind {
	case "attribute":
		return u.Package(h.Key)
	case "maintainer":
		return u.Maintainer(h.Key)
	case "team":
		return u.Team(h.Key)
	case "operator":
		return u.Operator(h.Key)
	case "path":
		return u.Path(h.Key)
	case "statement":
		return u.Statement(h.Key)
	case "channel":
		return u.Channel(h.Key)
	case "closure":
		return u.Closure(h.Key)
	}
	return u.To("/search?q=" + url.QueryEscape(h.Key))
}

// weblink returns s if it is a link to a web page, or "".
func weblink(s string) string {
	u, err := url.Parse(s)
	if err != nil || (u.Scheme != "https" && u.Scheme != "http") || u.Host == "" || u.User != nil {
		return ""
	}
	return s
}

// anchor makes a name for a place in a page of s.
func anchor(s string) string {
	return strings.Map(func(r rune) rune {
		if r < 0x80 && (r == '.' || r == '-' || r == '_' || unicode.IsLetter(r) || unicode.IsDigit(r)) {
			return r
		}
		return '-'
	}, clip(s, 80))
}
