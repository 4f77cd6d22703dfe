package substituter

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"net"
	"net/http"
	"slices"
	"strings"

	"github.com/firn-log/firn/internal/nix"
	"github.com/firn-log/firn/verify"
)

// A Page is one more thing that a Handler answers.
type Page struct {
	Path    string
	Handler http.Handler
}

// Handler answers Nix, and people who look at the status page (spec/substituter.md#http), and more. It
// answers only requests for a host of this machine.
func (s *Substituter) Handler(more ...Page) http.Handler {
	mux := http.NewServeMux()
	for _, p := range more {
		mux.Handle("GET "+p.Path, p.Handler)
	}
	mux.HandleFunc("GET /nix-cache-info", s.cacheInfo)
	mux.HandleFunc("GET /nar/{file}", s.nar)
	mux.HandleFunc("GET /realisations/{file}", s.realisation)
	mux.HandleFunc("GET /build-trace-v2/{drv}/{file}", s.realisation)
	mux.HandleFunc("GET /{$}", s.statusPage)
	mux.HandleFunc("GET /status.json", s.statusJSON)
	mux.HandleFunc("GET /{file}", s.narInfo)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !s.isOurs(r.Host) {
			// A page that a browser shows may lead here by a name of its own (DNS rebinding).
			refuse(w, http.StatusMisdirectedRequest, fmt.Sprintf("firn: this is the substituter of one machine, and %q is not its name; add it to hosts in firn-substituter.toml if it is to be", clip(r.Host)))
			return
		}
		if site := r.Header.Get("Sec-Fetch-Site"); site == "cross-site" || site == "same-site" {
			// The page cannot read the answer, but asking is enough to make this machine fetch and submit.
			refuse(w, http.StatusForbidden, "firn: a page of another site may not ask this substituter")
			return
		}
		w.Header().Set("X-Content-Type-Options", "nosniff")
		mux.ServeHTTP(w, r)
	})
}

// isOurs reports whether a Host header names this machine.
func (s *Substituter) isOurs(hostport string) bool {
	host := hostport
	if h, _, err := net.SplitHostPort(hostport); err == nil {
		host = h
	}
	host = strings.ToLower(strings.Trim(host, "[]"))
	return host == "localhost" || host == "127.0.0.1" || host == "::1" || slices.Contains(s.o.Hosts, host)
}

func clip(text string) string {
	if len(text) > 100 {
		text = text[:100] + "…"
	}
	return text
}

// refuse answers with one line, which Nix shows.
func refuse(w http.ResponseWriter, status int, sentence string) {
	w.Header().Del("Content-Length")
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.Header().Set("X-Content-Type-Options", "nosniff")
	w.WriteHeader(status)
	fmt.Fprintln(w, strings.ReplaceAll(sentence, "\n", "; "))
}

func (s *Substituter) cacheInfo(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "text/x-nix-cache-info")
	fmt.Fprintf(w, "StoreDir: %s\nWantMassQuery: 1\nPriority: 10\n", storeDir)
}

func (s *Substituter) narInfo(w http.ResponseWriter, r *http.Request) {
	name, ok := strings.CutSuffix(r.PathValue("file"), ".narinfo")
	h, valid := parseHashPart(name)
	if !ok || !valid {
		refuse(w, http.StatusNotFound, "firn: there is nothing of this name")
		return
	}
	d, err := s.decide(r.Context(), h)
	if s.refused(w, h.String(), d, err) {
		return
	}
	s.tally.served.Add(1)
	w.Header().Set("Content-Type", "text/x-nix-narinfo")
	_, _ = w.Write(s.derive(d).Marshal())
}

// refused answers what is not served, and reports whether it did.
func (s *Substituter) refused(w http.ResponseWriter, what string, d *decision, err error) bool {
	switch {
	case err == nil && d.action.Taken():
		return false
	case err == nil && d.action == verify.Rebuild:
		refuse(w, http.StatusNotFound, d.says())
	case err == nil:
		refuse(w, http.StatusInternalServerError, d.says())
	case errors.Is(err, errAbsent):
		refuse(w, http.StatusNotFound, "firn: no upstream of the policy has "+what)
	case errors.Is(err, context.Canceled):
		w.WriteHeader(http.StatusServiceUnavailable) // nobody reads it
	default:
		if errors.Is(err, context.DeadlineExceeded) {
			err = fmt.Errorf("it took longer than %v", patience)
		}
		s.tally.failed(fmt.Errorf("judging %s: %w", what, err))
		refuse(w, http.StatusInternalServerError, fmt.Sprintf("firn: %s cannot be judged now: %v", what, err))
	}
	return true
}

// narName names the NAR of a decision in URLs: hash part and NAR hash.
func narName(info *nix.NarInfo) string {
	return info.Path.HashPart() + "-" + nix.EncodeBase32(info.NarHash[:]) + ".nar"
}

// derive is the narinfo that Nix gets: what was judged, where its NAR is here, not packed, and a
// signature (spec/substituter.md#narinfos).
func (s *Substituter) derive(d *decision) *nix.NarInfo {
	out := &nix.NarInfo{URL: "nar/" + narName(d.info), Compression: "none", FileHash: d.info.NarHash.String(), FileSize: d.info.NarSize}
	out.Path, out.NarHash, out.NarSize, out.References, out.CA = d.info.Path, d.info.NarHash, d.info.NarSize, d.info.References, d.info.CA
	sig, ok := strings.CutPrefix(d.signed, s.keyID)
	if !ok {
		sig = s.o.Key.Sign(out.Fingerprint())
	}
	out.Sigs = []string{sig}
	return out
}

// sign keeps the signature of what is served with a decision, as making it costs more than all else
// of an answer.
func (s *Substituter) sign(d *decision) {
	if d.action.Taken() && d.mapped == "" && !strings.HasPrefix(d.signed, s.keyID) {
		d.signed = ""
		d.signed = s.keyID + s.derive(d).Sigs[0]
	}
}

// keyIDOf names a key in decisions: eight bytes of its hash.
func keyIDOf(k nix.SecretKey) string {
	sum := sha256.Sum256([]byte(k.Public().String()))
	return string(sum[:8])
}

// nar passes a NAR on, if the path is let in now.
func (s *Substituter) nar(w http.ResponseWriter, r *http.Request) {
	file := r.PathValue("file")
	part, _, _ := strings.Cut(file, "-")
	h, ok := parseHashPart(part)
	if !ok {
		refuse(w, http.StatusNotFound, "firn: there is nothing of this name")
		return
	}
	d, err := s.decide(r.Context(), h)
	if s.refused(w, h.String(), d, err) {
		return
	}
	if name := narName(d.info); name != file {
		if strings.HasPrefix(file, name+".") {
			refuse(w, http.StatusInternalServerError, fmt.Sprintf("firn: Nix remembers a packed file of %s, and NARs come unpacked from here: remove binary-cache-v*.sqlite in ~/.cache/nix of whoever runs Nix, also of root, once", d.path().Base()))
			return
		}
		refuse(w, http.StatusInternalServerError, fmt.Sprintf("firn: %s is not what it was when Nix asked about it: the upstream %s has other content now", d.path().Base(), d.upstream))
		return
	}
	if r.Method == http.MethodHead {
		narHeader(w, d.info)
		return
	}
	begun, err := s.passOn(w, r, d)
	switch {
	case err == nil:
		s.tally.nars.Add(1)
	case r.Context().Err() != nil: // who asked is gone
		panic(http.ErrAbortHandler)
	case begun:
		s.wrong(d, err)
		panic(http.ErrAbortHandler) // nothing that was sent may look whole
	default:
		s.wrong(d, err)
		refuse(w, http.StatusInternalServerError, fmt.Sprintf("firn: the NAR of %s from %s is not passed on: %v", d.path().Base(), d.upstream, err))
	}
}

// wrong notes that a NAR did not arrive. If the upstream has it wrong, the next request looks for it
// elsewhere.
func (s *Substituter) wrong(d *decision, err error) {
	s.o.Log.Warn("a NAR is not passed on", "path", d.path().Base(), "upstream", d.upstream, "error", err)
	s.tally.failed(fmt.Errorf("the NAR of %s from %s: %w", d.path().Base(), d.upstream, err))
	if h, ok := parseHashPart(d.path().HashPart()); ok && isWrong(err) {
		s.blame(d.upstream, h)
		s.store.drop(h)
	}
}
