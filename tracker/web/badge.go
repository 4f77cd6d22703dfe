package web

import (
	"encoding/xml"
	"errors"
	"fmt"
	"net/http"
	"strings"

	"github.com/firn-log/firn/tracker/api"
	"github.com/firn-log/firn/tracker/store"
)

// badge is a small image with the state of an attribute in a channel. What is
// not known is an image too, with status 404.
func (s *server) badge(w http.ResponseWriter, r *http.Request) {
	attr, ok := strings.CutSuffix(r.PathValue("file"), ".svg")
	channel := strings.TrimSuffix(r.PathValue("channel"), ".html")
	if _, err := parseQuery(r.URL.RawQuery, nil); err != nil || !ok || attr == "" {
		s.show(w, r, s.problem(r, badRequest("A badge is at /badge/CHANNEL/ATTRIBUTE.svg, without parameters.")))
		return
	}
	status, state, words := http.StatusNotFound, api.Unknown, "unknown"
	row, err := s.src.Row(r.Context(), channel, attr)
	switch {
	case errors.Is(err, store.ErrNotFound):
	case err != nil:
		s.show(w, r, s.problem(r, fmt.Errorf("reading an attribute for its badge: %w", err)))
		return
	default:
		status, state = http.StatusOK, stateOf(row.State)
		words = badgeWords(state, *row)
	}
	h := w.Header()
	h.Set("Content-Security-Policy", "default-src 'none'; style-src 'unsafe-inline'")
	h.Set("Cross-Origin-Resource-Policy", "cross-origin")
	h.Set("Cache-Control", "max-age=300")
	send(w, r, "image/svg+xml", status, []byte(badgeSVG("reproducible", words, badgeColour[state])))
}

var badgeColour = map[api.State]string{
	api.Agree: "#18794e", api.Missing: "#5b6875", api.Differ: "#b42318", api.Copying: "#6d3fa0", api.Unknown: "#5b6875",
}

func badgeWords(s api.State, row store.AttributeRow) string {
	switch {
	case row.Error != "":
		return "does not evaluate"
	case s == api.Agree && row.Builders > 1:
		return fmt.Sprintf("agree, %d builders", row.Builders)
	}
	return stateWord(s)
}

// badgeSVG draws two words; text widths are pinned, so that it looks the same in every font.
func badgeSVG(left, right, colour string) string {
	lw, rw := textWidth(left)+14, textWidth(right)+14
	var b strings.Builder
	fmt.Fprintf(&b, `<svg xmlns="http://www.w3.org/2000/svg" width="%d" height="20" role="img" aria-label="%s: %s">`, lw+rw, xmlText(left), xmlText(right))
	fmt.Fprintf(&b, `<title>%s: %s</title><clipPath id="r"><rect width="%d" height="20" rx="3"/></clipPath>`, xmlText(left), xmlText(right), lw+rw)
	fmt.Fprintf(&b, `<g clip-path="url(#r)"><rect width="%d" height="20" fill="#3b434c"/><rect x="%d" width="%d" height="20" fill="%s"/></g>`, lw, lw, rw, colour)
	b.WriteString(`<g fill="#fff" font-family="Verdana,DejaVu Sans,sans-serif" font-size="11">`)
	fmt.Fprintf(&b, `<text x="7" y="14" textLength="%d">%s</text><text x="%d" y="14" textLength="%d">%s</text></g></svg>`+"\n",
		lw-14, xmlText(left), lw+7, rw-14, xmlText(right))
	return b.String()
}

// textWidth is about how wide a text is in 11 pixels of Verdana.
func textWidth(s string) int {
	w := 0.0
	for _, r := range s {
		switch {
		case strings.ContainsRune("ijl.,:' ", r):
			w += 3.9
		case strings.ContainsRune("frt", r):
			w += 4.7
		case strings.ContainsRune("mw", r):
			w += 10
		default:
			w += 6.9
		}
	}
	return int(w + 0.5)
}

func xmlText(s string) string {
	var b strings.Builder
	_ = xml.EscapeText(&b, []byte(s)) // a builder does not fail
	return b.String()
}
