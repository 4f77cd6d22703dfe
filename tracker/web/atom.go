package web

import (
	"encoding/xml"
	"strings"
	"time"
)

// maxEntries bounds a feed.
const maxEntries = 100

// feed is an Atom feed (RFC 4287).
type feed struct {
	XMLName xml.Name    `xml:"http://www.w3.org/2005/Atom feed"`
	Title   string      `xml:"title"`
	ID      string      `xml:"id"`
	Updated string      `xml:"updated"`
	Links   []atomLink  `xml:"link"`
	Author  *atomAuthor `xml:"author"`
	Entries []atomEntry `xml:"entry"`

	base string
	seen map[string]bool
}

type atomLink struct {
	Rel  string `xml:"rel,attr"`
	Type string `xml:"type,attr"`
	Href string `xml:"href,attr"`
}

type atomAuthor struct {
	Name string `xml:"name"`
}

type atomEntry struct {
	Title   string   `xml:"title"`
	ID      string   `xml:"id"`
	Link    atomLink `xml:"link"`
	Updated string   `xml:"updated"`
	Summary string   `xml:"summary"`
}

// add adds an entry whose page is at path. what tells entries of one page apart.
func (f *feed) add(path, what string, at time.Time, title, summary string) {
	id := path
	if what != "" {
		id += "?" + segment(what)
	}
	f.addID(id, path, at, title, summary)
}

// addID adds an entry with an id of its own, from the root of the site, unless
// the feed has it.
func (f *feed) addID(id, path string, at time.Time, title, summary string) {
	if f.seen[id] || len(f.Entries) >= maxEntries {
		return
	}
	f.seen[id] = true
	f.Entries = append(f.Entries, atomEntry{
		Title: visible(title), ID: f.base + id, Updated: atomTime(at), Summary: visible(summary),
		Link: atomLink{Rel: "alternate", Type: "text/html", Href: f.base + path},
	})
}

// atomTime is a date as Atom has it; what is not known is the beginning of time.
func atomTime(t time.Time) string {
	if t.IsZero() || t.Year() < 1970 || t.Year() > 9999 {
		t = time.Unix(0, 0)
	}
	return strings.Replace(t.UTC().Format(time.RFC3339), "+00:00", "Z", 1)
}
