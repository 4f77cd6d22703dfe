package store

import (
	"strings"
	"testing"
	"unsafe"
)

// A path is a part of the statement that names it; a cache of paths keeps no statements.
func TestACacheKeepsOnlyItsKeys(t *testing.T) {
	c := newCache[outKey, int64](1, outKey.own)
	text := strings.Repeat("a statement ", 100)
	k := outKey{path: text[:11]}
	other := func(m map[outKey]int64) {
		for has := range m {
			if has == k && unsafe.StringData(has.path) == unsafe.StringData(text) {
				t.Error("the cache keeps the text that a key is a part of")
			}
		}
	}
	c.put(k, 1)
	other(c.now)
	c.put(outKey{path: "another"}, 2)
	if v, ok := c.get(k); !ok || v != 1 { // which it puts among the newest again
		t.Fatal(v, ok)
	}
	other(c.now)
}
