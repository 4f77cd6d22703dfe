package hydra

import (
	"context"
	"fmt"
	"maps"
	"net/url"
	"regexp"
	"slices"
	"strings"

	"github.com/firn-log/firn/ingest/send"
	"github.com/firn-log/firn/internal/nix"
	"github.com/firn-log/firn/log/statement"
)

// sorted returns paths in order, each once.
func sorted(paths []nix.StorePath) []nix.StorePath {
	slices.SortFunc(paths, nix.StorePath.Compare)
	return slices.Compact(paths)
}

// maxInline bounds how many paths are tried to fit in a leaf: each takes more than
// 34 bytes of it.
const maxInline = statement.MaxLargeLeaf / 34

// evalItem is the statement of what an evaluation asked for.
func evalItem(ctx context.Context, s statement.Signer, b *statement.Eval, drvs []nix.StorePath) (send.Item, error) {
	b.Digest, b.Count = statement.PathsDigest(drvs), uint64(len(drvs))
	return itemOf(ctx, s, b, &b.Drvs, drvs)
}

// closureItem is the statement of what came out of it.
func closureItem(ctx context.Context, s statement.Signer, b *statement.Closure, outs []nix.StorePath) (send.Item, error) {
	b.Digest, b.Count = statement.PathsDigest(outs), uint64(len(outs))
	return itemOf(ctx, s, b, &b.Paths, outs)
}

// itemOf signs body with the list in it if that fits, and beside it otherwise. Of a
// list that no log takes there is only the digest.
func itemOf(ctx context.Context, s statement.Signer, body statement.Body, list *[]nix.StorePath, paths []nix.StorePath) (send.Item, error) {
	var blobs [][]byte
	if *list = paths; !fits(body, len(paths)) {
		*list = nil
		if blob := statement.PathsBlob(paths); len(blob) <= statement.MaxBlob {
			blobs = [][]byte{blob}
		}
	}
	st, err := statement.Sign(ctx, s, body, "", nil)
	if err != nil {
		return send.Item{}, err
	}
	return send.Item{Leaf: st.Leaf(), Blobs: blobs, Of: st}, nil
}

func fits(body statement.Body, n int) bool {
	if n > maxInline {
		return false
	}
	payload, err := statement.EncodePayload(body, "", nil)
	return err == nil && len(payload) <= body.Kind().MaxLeaf()-statement.MaxEnvelope
}

// maxInputs is how many inputs an eval statement has at most.
const maxInputs = 32

// inputsOf returns what an evaluation was an evaluation of, without what may be
// secret and without what no statement holds (spec/import.md#what-is-stated).
func inputsOf(w *wireEval) []statement.EvalInput {
	var list []statement.EvalInput
	add := func(name, typ, uri, revision string) {
		in := statement.EvalInput{Name: name, Type: typ, URI: bareURI(uri), Revision: revision}
		if !holds(statement.EvalInput{Name: name, Type: typ, URI: in.URI}) {
			in.URI = ""
		}
		if !holds(statement.EvalInput{Name: name, Type: typ, Revision: revision}) {
			in.Revision = ""
		}
		if (in.URI != "" || in.Revision != "") && holds(in) {
			list = append(list, in)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(w.Inputs)) {
		in := w.Inputs[name]
		add(name, text(in.Type), text(in.URI), text(in.Revision))
	}
	if _, has := w.Inputs["flake"]; w.Flake != nil && !has {
		add("flake", "flake", *w.Flake, revisionOf(*w.Flake))
	}
	slices.SortFunc(list, func(a, b statement.EvalInput) int { return strings.Compare(a.Name, b.Name) })
	return list[:min(len(list), maxInputs)]
}

func text(s *string) string {
	if s == nil {
		return ""
	}
	return *s
}

// holds reports whether an eval statement may have this input.
func holds(in statement.EvalInput) bool {
	b := &statement.Eval{Name: "x", StoreDir: nix.DefaultStoreDir, Count: 1, Inputs: []statement.EvalInput{in}}
	return b.Check() == nil
}

// bareURI is an address without user, password, query and fragment, any of which
// may be a secret. The user git, which everybody has, stays.
func bareURI(s string) string {
	// Some inputs have a branch behind a space, and nothing behind that is an address.
	s, _, _ = strings.Cut(strings.TrimSpace(s), " ")
	if i := strings.IndexAny(s, "?#"); i >= 0 {
		s = s[:i]
	}
	scheme, rest, ok := strings.Cut(s, "://")
	if !ok {
		scheme, rest = "", s
	} else {
		scheme += "://"
	}
	authority, path, slash := strings.Cut(rest, "/")
	if i := strings.LastIndexByte(authority, '@'); i >= 0 && authority[:i] != "git" {
		authority = authority[i+1:]
	}
	if strings.Contains(path, "@") && (authority == "" || strings.Contains(path, "://")) {
		return "" // an address in an address, or in no form that is known
	}
	if slash {
		path = "/" + path
	}
	return scheme + authority + path
}

var gitRevision = regexp.MustCompile(`^([0-9a-f]{40}|[0-9a-f]{64})$`)

// revisionOf returns the revision in the address of a flake, "" if it is none that
// looks like one.
func revisionOf(flake string) string {
	if _, query, ok := strings.Cut(flake, "?"); ok {
		query, _, _ = strings.Cut(query, "#")
		if v, err := url.ParseQuery(query); err == nil && gitRevision.MatchString(v.Get("rev")) {
			return v.Get("rev")
		}
	}
	bare := bareURI(flake)
	if rev := bare[strings.LastIndexByte(bare, '/')+1:]; gitRevision.MatchString(rev) {
		return rev
	}
	return ""
}

// closureName names the closure of an evaluation.
func closureName(j JobsetName, id uint64) string { return fmt.Sprintf("%s-%d", j.name(), id) }
