package main

import (
	_ "embed"
	"html/template"
	"net/http"
	"os"
	"path/filepath"
	"regexp"

	"github.com/firn-log/firn/log/evidence"
	"github.com/firn-log/firn/witness/server"
)

//go:embed page.html
var pageText string

// page is the status page: that of a witness, with the audit of each log.
var page = template.Must(template.New("status").Funcs(server.PageFuncs).Parse(pageText))

// fileName is how files of evidence are called.
var fileName = regexp.MustCompile(`^[0-9a-f]{64}-[0-9a-f]{16}\` + evidence.Suffix + `$`)

// evidenceFiles serves the evidence in dir, for reading only.
func evidenceFiles(dir string) func(*http.ServeMux) {
	dir = filepath.Join(dir, "evidence")
	return func(mux *http.ServeMux) {
		mux.HandleFunc("GET /evidence/{$}", func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "text/plain; charset=utf-8")
			entries, _ := os.ReadDir(dir) // there is none before there is evidence
			for _, e := range entries {
				if fileName.MatchString(e.Name()) {
					_, _ = w.Write([]byte(e.Name() + "\n"))
				}
			}
		})
		mux.HandleFunc("GET /evidence/{name}", func(w http.ResponseWriter, r *http.Request) {
			name := r.PathValue("name")
			if !fileName.MatchString(name) {
				http.NotFound(w, r)
				return
			}
			b, err := evidence.ReadFile(filepath.Join(dir, name))
			if err != nil {
				http.NotFound(w, r)
				return
			}
			w.Header().Set("Content-Type", evidence.ContentType)
			w.Header().Set("Access-Control-Allow-Origin", "*")
			_, _ = w.Write(b)
		})
	}
}
