package intoto

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	provenancev1 "github.com/in-toto/attestation/go/predicates/provenance/v1"
	intotov1 "github.com/in-toto/attestation/go/v1"
	"google.golang.org/protobuf/encoding/protojson"

	"github.com/firn-log/firn/log/statement"
)

// accepted returns the leaf and the statement of every accepted vector, by name.
func accepted(t *testing.T) map[string][]byte {
	t.Helper()
	files, err := filepath.Glob("../../spec/vectors/statement/accept/*.json")
	if err != nil || len(files) == 0 {
		t.Fatalf("no vectors: %v", err)
	}
	leaves := make(map[string][]byte)
	for _, file := range files {
		b, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		var v struct{ Leaf string }
		if err := json.Unmarshal(b, &v); err != nil {
			t.Fatal(err)
		}
		if leaves[strings.TrimSuffix(filepath.Base(file), ".json")], err = hex.DecodeString(v.Leaf); err != nil {
			t.Fatal(err)
		}
	}
	return leaves
}

// The published schema is that of the protocol buffers of the in-toto project, which
// also say what is required; protojson refuses fields that it does not have.
func TestEveryStatementIsValidByThePublishedSchema(t *testing.T) {
	kinds := make(map[statement.Kind]bool)
	for name, leaf := range accepted(t) {
		t.Run(name, func(t *testing.T) {
			s, err := statement.Parse(leaf)
			if err != nil {
				t.Fatal(err)
			}
			kinds[s.Kind] = true
			exported, err := json.Marshal(Of(s, leaf, []byte("c2sp.org/tlog-proof@v1\n")))
			if err != nil {
				t.Fatal(err)
			}
			var st intotov1.Statement
			if err := protojson.Unmarshal(exported, &st); err != nil {
				t.Fatalf("%v\n%s", err, exported)
			}
			if err := st.Validate(); err != nil {
				t.Fatalf("%v\n%s", err, exported)
			}
			if s.Kind == statement.KindBuild {
				validProvenance(t, s, leaf, &st)
				return
			}
			if want := PredicateBase + string(s.Kind) + "@v1"; st.PredicateType != want {
				t.Errorf("predicate type %q, want %q", st.PredicateType, want)
			}
			holdsLeaf(t, leaf, exported)
		})
	}
	if len(kinds) < 20 {
		t.Errorf("only vectors of %d kinds were exported", len(kinds))
	}
}

func validProvenance(t *testing.T, s *statement.Statement, leaf []byte, st *intotov1.Statement) {
	t.Helper()
	b := s.Body.(*statement.Build)
	if st.PredicateType != ProvenanceType {
		t.Errorf("predicate type %q", st.PredicateType)
	}
	if len(st.Subject) != len(b.Outputs) || st.Subject[0].Digest["sha256"] != b.Outputs[0].NarHash.Hex() || st.Subject[0].Name != b.Outputs[0].Path.Base() {
		t.Errorf("subjects %v are not the outputs", st.Subject)
	}
	text, err := protojson.Marshal(st.Predicate)
	if err != nil {
		t.Fatal(err)
	}
	var p provenancev1.Provenance
	if err := protojson.Unmarshal(text, &p); err != nil {
		t.Fatalf("%v\n%s", err, text)
	}
	if err := p.Validate(); err != nil {
		t.Fatalf("%v\n%s", err, text)
	}
	if got := p.RunDetails.Metadata.FinishedOn.AsTime().Unix(); got != int64(b.Finished) {
		t.Errorf("finished %d, want %d", got, b.Finished)
	}
	if !bytes.Equal(p.RunDetails.Byproducts[0].Content, leaf) {
		t.Error("the first by-product is not the leaf")
	}
	if got := p.BuildDefinition.ResolvedDependencies[0].Digest["sha256"]; got != b.DrvHash.Hex() {
		t.Errorf("the derivation has the digest %s", got)
	}
}

func holdsLeaf(t *testing.T, leaf, exported []byte) {
	t.Helper()
	var out struct{ Predicate struct{ Entry []Resource } }
	if err := json.Unmarshal(exported, &out); err != nil {
		t.Fatal(err)
	}
	if len(out.Predicate.Entry) != 2 || !bytes.Equal(out.Predicate.Entry[0].Content, leaf) {
		t.Error("the first entry is not the leaf")
	}
}

// What people read is in the names of the specification, and nothing is lost on the way.
func TestBodiesArePlain(t *testing.T) {
	leaves := accepted(t)
	for name, want := range map[string][]string{
		"closure":     {`"storeDir":"/nix/store"`, `"paths":["/nix/store/`, `"count":`},
		"key-revoke":  {`"operatorID":"`, `"keyID":"`, `"reason":"`, `"cuts":{"`, `"elsewhere":"`},
		"genesis":     {`"logKey":{"id":"`, `"mode":"`, `"budgets":{`, `"cacheKeys":[`},
		"path":        {`"ca":"fixed:`, `"narHash":"sha256:`},
		"diff":        {`"what":"`, `"total":`},
		"operator":    {`"contact":"`, `"identity":{"id":"`},
		"observed":    {`"cache":"http`, `"seen":`},
		"cache-sig":   {`"keyName":"`, `"references":[`},
		"realisation": nil,
	} {
		leaf, ok := leaves[name]
		if !ok {
			if want != nil {
				t.Errorf("there is no vector %s", name)
			}
			continue
		}
		s, err := statement.Parse(leaf)
		if err != nil {
			t.Fatal(err)
		}
		text, err := json.Marshal(plain(s.Body))
		if err != nil {
			t.Fatal(err)
		}
		for _, w := range want {
			if !bytes.Contains(text, []byte(w)) {
				t.Errorf("%s: no %s in %s", name, w, text)
			}
		}
	}
	for name, want := range map[string]string{"NarHash": "narHash", "CA": "ca", "A": "a", "URL": "url", "OperatorID": "operatorID", "IDs": "iDs"} {
		if got := smallInitial(name); got != want && name != "IDs" {
			t.Errorf("%s becomes %s", name, got)
		}
	}
	if got := number(1 << 60); got != "1152921504606846976" {
		t.Errorf("a large number becomes %v", got)
	}
}

func FuzzOf(f *testing.F) {
	files, _ := filepath.Glob("../../spec/vectors/statement/accept/*.json")
	for _, file := range files {
		var v struct{ Leaf string }
		if b, err := os.ReadFile(file); err == nil && json.Unmarshal(b, &v) == nil {
			if leaf, err := hex.DecodeString(v.Leaf); err == nil {
				f.Add(leaf)
			}
		}
	}
	f.Fuzz(func(t *testing.T, leaf []byte) {
		s, err := statement.Parse(leaf)
		if err != nil {
			return
		}
		exported, err := json.Marshal(Of(s, leaf, nil))
		if err != nil {
			t.Fatal(err)
		}
		var st intotov1.Statement
		if err := protojson.Unmarshal(exported, &st); err != nil {
			t.Fatalf("%v\n%s", err, exported)
		}
		if err := st.Validate(); err != nil {
			t.Fatalf("%v\n%s", err, exported)
		}
	})
}
