package main

import (
	_ "embed"
	"html/template"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"

	"github.com/firn-log/firn/log/evidence"
	"github.com/firn-log/firn/witness/server"
)

//go:embed page.html
var pageText string

// page is the status page: that of a witness, with the audit of each log.
var page = template.Must(template.New("status").Funcs(server.PageFuncs).Funcs(template.FuncMap{
	"inc": func(n int) int { return n + 1 },
}).Parse(pageText))

// fileName is how files of evidence are called.
var fileName = regexp.MustCompile(`^[0-9a-f]{64}-[0-9a-f]{16}\` + evidence.Suffix + `$`)

// evidenceFiles serves the evidence in dir below /evidence/, for reading only, and
// leaves all else to the witness.
func evidenceFiles(dir string) func(http.Handler) http.Handler {
	dir = filepath.Join(dir, "evidence")
	return func(witness http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			name, ok := strings.CutPrefix(r.URL.Path, "/evidence/")
			switch {
			case !ok || r.Method != http.MethodGet && r.Method != http.MethodHead:
				witness.ServeHTTP(w, r)
			case name == "":
				listEvidence(w, dir)
			case fileName.MatchString(name):
				showEvidence(w, r, filepath.Join(dir, name))
			default:
				http.NotFound(w, r)
			}
		})
	}
}

// listEvidence writes the names of the files, one a line.
func listEvidence(w http.ResponseWriter, dir string) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	entries, _ := os.ReadDir(dir) // there is none before there is evidence
	for _, e := range entries {
		if fileName.MatchString(e.Name()) {
			_, _ = w.Write([]byte(e.Name() + "\n"))
		}
	}
}

func showEvidence(w http.ResponseWriter, r *http.Request, path string) {
	b, err := evidence.ReadFile(path)
	if err != nil {
		http.NotFound(w, r)
		return
	}
	w.Header().Set("Content-Type", evidence.ContentType)
	w.Header().Set("Access-Control-Allow-Origin", "*")
	_, _ = w.Write(b)
}
