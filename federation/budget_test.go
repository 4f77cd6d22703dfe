package federation

import (
	"compress/gzip"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"testing"
)

// All answers of a log together are bounded, as they are after decompression.
func TestAnswersOfALogAreBoundedTogether(t *testing.T) {
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Encoding", "gzip")
		z := gzip.NewWriter(w)
		defer z.Close()
		z.Write(make([]byte, 1000))
	}))
	defer srv.Close()
	client := http.Client{Transport: newBudget(nil, 2500)}
	for i := range 3 {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, srv.URL, nil)
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Accept-Encoding", "gzip, identity") // as log.Client asks
		resp, err := client.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		b, err := io.ReadAll(resp.Body)
		resp.Body.Close()
		if i < 2 && (err != nil || len(b) != 1000) || i == 2 && !errors.Is(err, errTooMuch) {
			t.Errorf("answer %d: %d bytes, %v", i, len(b), err)
		}
	}
}
