package federation

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// Server serves what a peer knows (spec/federation.md#http).
type Server struct {
	Hub     *Hub
	Poller  *Poller   // for the status page; may be nil
	Mirrors []*Mirror // at most one of a log
	// For the status page; each may be nil.
	Operators *Operators
	Submitter *Submitter
	Gossip    func() *Gossip
	Metrics   http.Handler
	Name      string // of the peer, for people
	Version   string
}

// Handler returns the HTTP interface. Everything is GET; nothing changes anything.
func (s *Server) Handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /{$}", s.page)
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { text(w, "ok\n") })
	mux.HandleFunc("GET /readyz", s.ready)
	if s.Metrics != nil {
		mux.Handle("GET /metrics", s.Metrics)
	}
	mux.HandleFunc("GET /evidence", s.list)
	mux.HandleFunc("GET /{first}/{second}", s.two)
	mux.HandleFunc("GET /witness/{key}/{hash}/checkpoint", s.cosigned)
	mux.HandleFunc("GET /mirror/{hash}/{path...}", s.tree)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("X-Content-Type-Options", "nosniff")
		mux.ServeHTTP(w, r)
	})
}

func text(w http.ResponseWriter, body string) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.Write([]byte(body))
}

// refuse answers with one sentence.
func refuse(w http.ResponseWriter, status int, sentence string) {
	w.Header().Set("Cache-Control", "no-store")
	http.Error(w, sentence, status)
}

// two dispatches paths of two parts.
func (s *Server) two(w http.ResponseWriter, r *http.Request) {
	first, second := r.PathValue("first"), r.PathValue("second")
	switch {
	case first == "evidence":
		s.file(w, second)
	case first == "logs" && second == "v0":
		s.logs(w)
	case second == "checkpoint" || second == "latest":
		s.checkpoint(w, first, second)
	default:
		refuse(w, http.StatusNotFound, "There is nothing here.")
	}
}

// origin returns the log whose origin has this hash, or nil.
func (s *Server) origin(hash string) *origin {
	for _, o := range s.Hub.origins {
		if o.hash == hash {
			return o
		}
	}
	return nil
}

// checkpoint serves the best cosigned checkpoint, in the form of a witness's
// monitoring interface (c2sp.org/tlog-witness), or the largest verified one.
func (s *Server) checkpoint(w http.ResponseWriter, hash, which string) {
	o := s.origin(hash)
	if o == nil {
		refuse(w, http.StatusNotFound, "This peer does not follow such a log.")
		return
	}
	note := s.Hub.Latest(o.Origin)
	if which == "checkpoint" {
		note = s.Hub.Best(o.Origin)
	}
	s.note(w, note)
}

func (s *Server) note(w http.ResponseWriter, note []byte) {
	if note == nil {
		refuse(w, http.StatusNotFound, "This peer has seen no such checkpoint.")
		return
	}
	w.Header().Set("Cache-Control", "no-cache")
	text(w, string(note))
}

// WitnessHash names a witness in paths: the SHA-256 of its vkey, in lower-case
// hexadecimal.
func WitnessHash(vkey string) string { return OriginHash(vkey) }

// cosigned serves the largest checkpoint that one witness has cosigned. 404 says
// that none was seen; 403 that this peer would not know, because it does not
// follow that log with that witness.
func (s *Server) cosigned(w http.ResponseWriter, r *http.Request) {
	if o := s.origin(r.PathValue("hash")); o != nil {
		for _, x := range o.Policy.Witnesses {
			if vkey := x.Key.String(); WitnessHash(vkey) == r.PathValue("key") {
				s.note(w, s.Hub.CosignedBy(o.Origin, vkey))
				return
			}
		}
	}
	refuse(w, http.StatusForbidden, "This peer does not follow such a log with such a witness.")
}

// list serves what evidence is held.
func (s *Server) list(w http.ResponseWriter, _ *http.Request) {
	all, err := s.Hub.Evidence()
	if err != nil {
		s.failed(w, "evidence", err)
		return
	}
	list := evidenceList{Schema: 1, Evidence: []evidenceItem{}}
	for _, e := range all {
		list.Evidence = append(list.Evidence, evidenceItem{SHA256: e.Hash, Size: len(e.Bytes), Kind: string(e.Kind), Origin: e.Origin, Key: e.Key.String()})
	}
	b, err := json.Marshal(list)
	if err != nil {
		s.failed(w, "evidence", err)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-cache")
	w.Write(append(b, '\n'))
}

// file serves one piece of evidence by its SHA-256.
func (s *Server) file(w http.ResponseWriter, hash string) {
	all, err := s.Hub.Evidence()
	if err != nil {
		s.failed(w, "evidence", err)
		return
	}
	i := slices.IndexFunc(all, func(e Evidence) bool { return e.Hash == hash })
	if i < 0 {
		refuse(w, http.StatusNotFound, "No such evidence is held.")
		return
	}
	w.Header().Set("Cache-Control", immutable)
	text(w, string(all[i].Bytes))
}

// logs serves the logs that are followed in the form logs/v0 of the witness
// network. A log that evidence is held against is left out.
func (s *Server) logs(w http.ResponseWriter) {
	var b strings.Builder
	b.WriteString("# The logs that this peer follows.\nlogs/v0\n")
	for _, o := range s.Hub.origins {
		if s.Hub.Convicted(o.Origin) {
			continue
		}
		for _, l := range o.Policy.Logs {
			if l.Key.Name == o.Origin {
				fmt.Fprintf(&b, "\nvkey %s\n", l.Key)
			}
		}
	}
	w.Header().Set("Cache-Control", "no-cache")
	text(w, b.String())
}

const immutable = "public, max-age=604800, immutable"

// treePath matches the names that a tlog-tiles tree has (c2sp.org/tlog-tiles), and those of
// lists of paths (spec/federation.md#lists): nothing else of a mirror's folder is served.
var treePath = regexp.MustCompile(`^(checkpoint|v1/blob/[0-9a-f]{64}|tile/(entries|[0-9]|[1-5][0-9]|6[0-3])/(x[0-9]{3}/)*[0-9]{3}(\.p/[1-9][0-9]{0,2})?)$`)

// tree serves the static tree of a mirror.
func (s *Server) tree(w http.ResponseWriter, r *http.Request) {
	path := r.PathValue("path")
	i := slices.IndexFunc(s.Mirrors, func(m *Mirror) bool { return OriginHash(m.o.Origin) == r.PathValue("hash") })
	if i < 0 || !treePath.MatchString(path) {
		refuse(w, http.StatusNotFound, "There is nothing here.")
		return
	}
	f, err := os.Open(s.Mirrors[i].file(path))
	if errors.Is(err, fs.ErrNotExist) {
		refuse(w, http.StatusNotFound, "The mirror does not have this.")
		return
	}
	if err != nil {
		s.failed(w, "mirror", err)
		return
	}
	defer f.Close()
	st, err := f.Stat()
	if err != nil || !st.Mode().IsRegular() {
		refuse(w, http.StatusNotFound, "The mirror does not have this.")
		return
	}
	w.Header().Set("Content-Type", "application/octet-stream")
	w.Header().Set("Cache-Control", immutable)
	w.Header().Set("Content-Security-Policy", "default-src 'none'; sandbox")
	if path == "checkpoint" {
		w.Header().Set("Content-Type", "text/plain; charset=utf-8")
		w.Header().Set("Cache-Control", "no-cache")
	}
	http.ServeContent(w, r, "", st.ModTime(), f)
}

// ready is 200 when every log has a verified checkpoint.
func (s *Server) ready(w http.ResponseWriter, _ *http.Request) {
	var missing []string
	for _, o := range s.Hub.Origins() {
		if s.Hub.Latest(o) == nil {
			missing = append(missing, strconv.Quote(o))
		}
	}
	if missing != nil {
		refuse(w, http.StatusServiceUnavailable, "No checkpoint yet of "+strings.Join(missing, ", ")+".")
		return
	}
	text(w, "ok\n")
}

func (s *Server) failed(w http.ResponseWriter, what string, err error) {
	s.Hub.o.Logger.Error("answering", "what", what, "error", err)
	refuse(w, http.StatusInternalServerError, "This peer cannot read what it holds.")
}
