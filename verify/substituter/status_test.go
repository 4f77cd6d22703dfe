package substituter

import (
	"net/http"
	"strings"
	"testing"
)

// The page has words for each decision, and shows what Nix asked five times once.
func TestStatusPageSaysEachThingOnce(t *testing.T) {
	w := newWorld(t)
	one, gone := info(t, "app", "text"), info(t, "gone", "text")
	w.caches[0].has(one, "text", cacheKey)
	w.caches[0].set(gone.Path.HashPart()+".narinfo", []byte("nonsense"))
	w.start("group two 2 a b c\nrule default need two else warn\n")
	for range 3 {
		w.narInfo(one.Path, http.StatusOK)
		w.narInfo(gone.Path, http.StatusInternalServerError)
	}
	status, body, err := w.get("")
	if err != nil || status != http.StatusOK {
		t.Fatal(status, err)
	}
	for text, want := range map[string]int{
		"<strong>app</strong>":                   1,
		"/nix/store/" + one.Path.Base():          1,
		`<td class="fit warn">let in, with a`:    1,
		"untrusted: 2 of 3 needed, 0 found":      1,
		"judging " + gone.Path.HashPart() + ": ": 1,
		`<dd class="bad">3</dd>`:                 1, // failures
		"each for 10m.":                          1,
	} {
		if got := strings.Count(body, text); got != want {
			t.Errorf("%q stands %d times on the page, want %d", text, got, want)
		}
	}
	if t.Failed() {
		t.Log(body)
	}
}
