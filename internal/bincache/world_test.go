package bincache

import (
	"testing"

	"github.com/firn-log/firn/internal/bincache/cachetest"
)

func open(t testing.TB, f *cachetest.Cache) *Client {
	t.Helper()
	c, err := Open(t.Context(), f.URL, ClientOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return c
}
