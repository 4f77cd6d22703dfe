// Package web serves what the tracker knows: pages for people, each also as
// JSON, where it changes as Atom, and badges (spec/tracker.md#pages-and-json).
//
// It reads through Source and writes nothing. A page is what its JSON says, in
// HTML: both are made from one value of package tracker/api. Every text may come
// from strangers: html/template escapes it, and control and bidi characters are
// shown as \u escapes. Pages need no script; what is allowed to load is said by
// a Content-Security-Policy that starts from nothing.
package web
