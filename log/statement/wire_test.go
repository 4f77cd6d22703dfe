package statement

import (
	"bytes"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/fxamacker/cbor/v2"
)

// models are the bodies that another decoder reads.
var models = map[Kind]func() any{
	KindBuild: func() any { return new(wireBuild) }, KindBuildFailed: func() any { return new(wireBuildFailed) },
	KindCacheSig: func() any { return new(wireCacheSig) }, KindClosure: func() any { return new(wireClosure) },
	KindOperator: func() any { return new(wireOperator) }, KindKeyAdd: func() any { return new(wireKeyAdd) },
	KindKeyRevoke: func() any { return new(wireKeyRevoke) }, KindVouch: func() any { return new(wireVouch) },
	KindRetract: func() any { return new(wireRetract) }, KindPeer: func() any { return new(wirePeer) },
	KindGenesis: func() any { return new(wireGenesis) }, KindLogConfig: func() any { return new(wireLogConfig) },
	KindFreeze: func() any { return new(wireFreeze) }, KindEvidence: func() any { return new(wireEvidence) },
	KindObserved: func() any { return new(wireObserved) }, KindRealisation: func() any { return new(wireRealisation) },
	KindPath: func() any { return new(wirePathClaim) }, KindDiff: func() any { return new(wireDiff) }, KindEval: func() any { return new(wireEval) },
	KindRevision: func() any { return new(wireRevision) }, KindIndexReset: func() any { return new(wireIndexReset) },
}

// modelAccepts reports whether the other decoder reads a payload into its structs and encodes
// them to the same bytes again.
func modelAccepts(t testing.TB, payload []byte, kind Kind) bool {
	t.Helper()
	var p wirePayload
	if decodeWire("payload", payload, &p) != nil {
		return false
	}
	if Kind(p.Kind) != kind || p.Version != Version {
		t.Errorf("%x is of kind %q here and of %q, version %d, there", payload, kind, p.Kind, p.Version)
	}
	body := models[kind]()
	return decodeWire("body", p.Body, body) == nil
}

// checkModel compares what is read of a payload with what another decoder reads, and
// reports whether it is accepted.
func checkModel(t testing.TB, payload []byte) bool {
	t.Helper()
	if checkCanonical(payload) != nil {
		return false
	}
	kind, err := peekKind(payload)
	if err != nil || models[kind] == nil {
		return false
	}
	s := &Statement{Payload: payload}
	err = s.parsePayload()
	accepts := modelAccepts(t, payload, kind)
	switch {
	case err == nil && !accepts:
		t.Errorf("%x is accepted here and not there", payload)
	case err != nil && accepts && CodeOf(err) == CodeBadShape && !shapeOfValue(err):
		t.Errorf("%x is refused here and not there: %v", payload, err)
	case err != nil && !accepts && CodeOf(err) != CodeBadShape:
		t.Errorf("%x has a wrong shape there, and is refused with another code: %v", payload, err)
	}
	if err != nil {
		return false
	}
	var any any
	if err := decMode.Unmarshal(payload, &any); err != nil {
		t.Errorf("%x: %v", payload, err)
	} else if again, err := encMode.Marshal(any); err != nil || !bytes.Equal(again, payload) {
		t.Errorf("%x is encoded as %x there (%v)", payload, again, err)
	}
	if again, err := EncodePayload(s.Body, s.For, s.Prev); err != nil || !bytes.Equal(again, payload) {
		t.Errorf("%x is encoded as %x (%v)", payload, again, err)
	}
	return true
}

// shapeOfValue reports whether err is about more than types and presence of fields, which is all
// that the structs know.
func shapeOfValue(err error) bool {
	for _, s := range []string{"bytes instead of", "neither references", "both references", "both an origin", "needs its references", "and not both", "or neither"} {
		if strings.Contains(err.Error(), s) {
			return true
		}
	}
	return false
}

// What is read and written is what another implementation of CBOR reads and writes: of every vector,
// and of every vector with one field left out, added or of another type.
func TestAnotherDecoderReadsTheSame(t *testing.T) {
	accepted, changed := 0, 0
	for name, v := range readVectors(t, "accept") {
		s, err := Parse(unhex(t, v.Leaf))
		if err != nil {
			t.Fatal(err)
		}
		if checkModel(t, s.Payload) {
			accepted++
		}
		eachChange(t, s.Payload, func(p []byte) {
			changed++
			if checkModel(t, p) {
				accepted++
			}
		})
		if t.Failed() {
			t.Fatalf("vector %s", name)
		}
	}
	if accepted < 20 || changed < 2000 {
		t.Errorf("only %d payloads were accepted, %d changed ones tried", accepted, changed)
	}
	for _, v := range readVectors(t, "reject") {
		if s := new(Statement); s.splitLeaf(unhex(t, v.Leaf)) == nil {
			checkModel(t, s.Payload)
		}
	}
}

// eachChange calls f with a payload in which one thing of one map, or item of a list, was changed.
func eachChange(t testing.TB, payload []byte, f func([]byte)) {
	t.Helper()
	var p any
	if err := cbor.Unmarshal(payload, &p); err != nil {
		t.Fatal(err)
	}
	try := func() {
		b, err := encMode.Marshal(p)
		if err != nil {
			t.Fatal(err)
		}
		f(b)
	}
	others := []any{uint64(0), uint64(1 << 40), -1, "", "x", []byte{}, make([]byte, 32), []any{}, []any{"x"}, []any{uint64(1)}, map[any]any{}, map[any]any{"x": 1}, true, false}
	var visit func(v any)
	visit = func(v any) {
		switch v := v.(type) {
		case map[any]any:
			for _, extra := range []any{uint64(0), uint64(22), uint64(24), -1, "x"} {
				v[extra] = uint64(1)
				try()
				delete(v, extra)
			}
			for _, k := range slices.Collect(maps.Keys(v)) {
				old := v[k]
				delete(v, k)
				try()
				for _, other := range others {
					v[k] = other
					try()
				}
				v[k] = old
				visit(old)
			}
		case []any:
			for i, old := range v {
				for _, other := range others {
					v[i] = other
					try()
				}
				v[i] = old
				visit(old)
			}
		}
	}
	visit(p)
}

func FuzzAnotherDecoderReadsTheSame(f *testing.F) {
	for _, dir := range []string{"accept", "reject"} {
		for _, v := range readVectors(f, dir) {
			if s := new(Statement); s.splitLeaf(unhex(f, v.Leaf)) == nil {
				f.Add(s.Payload)
			}
		}
	}
	f.Fuzz(func(t *testing.T, payload []byte) { checkModel(t, payload) })
}

// A later version is called so whatever else it has, and so is an unknown kind.
func TestVersionAndKindComeFirst(t *testing.T) {
	for _, tt := range []struct{ payload, code string }{
		{"\xa1\x01\x02", CodeVersion},
		{"\xa2\x00\x00\x01\x02", CodeVersion},
		{"\xa2\x01\x02\x61x\x80", CodeVersion},
		{"\xa3\x00\x81\xa1\x01\x02\x01\x01\x02\x61x", CodeUnknownKind},
		{"\xa2\x01\x01\x02\x66triage", CodeNotYet},
		{"\xa2\x01\x01\x02\x65vouch", CodeBadShape},
		{"\xa3\x01\x01\x02\x65vouch\x03\x80", CodeBadShape},
		{"\x81\x01", CodeBadShape},
		{"\xa1\x02\x65vouch", CodeBadShape},
		{"\xa2\x01\x20\x02\x65vouch", CodeBadShape},
		{"\xa2\x01\x01\x02\x45vouch", CodeBadShape},
	} {
		err := (&Statement{Payload: []byte(tt.payload)}).parsePayload()
		if CodeOf(err) != tt.code {
			t.Errorf("%x: %v, want %s", tt.payload, err, tt.code)
		}
	}
}

// A refusal says which field.
func TestShapeNamesTheField(t *testing.T) {
	for want, change := range map[string]func(_, body anyMap){
		"build: field 4 is missing":                                            func(_, b anyMap) { delete(b, uint64(4)) },
		"build: field 0 is unknown":                                            func(_, b anyMap) { b[uint64(0)] = 1 },
		"build: field 14 is unknown":                                           func(_, b anyMap) { b[uint64(14)] = 1 },
		"build: a field whose key is not a small number":                       func(_, b anyMap) { b["x"] = 1 },
		"build: field 2 is text where a byte string belongs":                   func(_, b anyMap) { b[uint64(2)] = "x" },
		"build: field 8 is a number where true or false belongs":               func(_, b anyMap) { b[uint64(8)] = 1 },
		"build: output: field 4 is true or false where a number belongs":       func(_, b anyMap) { b[uint64(6)].([]any)[0].(anyMap)[uint64(4)] = true },
		"build: output: a negative number instead of a map":                    func(_, b anyMap) { b[uint64(6)].([]any)[0] = -1 },
		"payload: field 7 is unknown":                                          func(p, _ anyMap) { p[uint64(7)] = 1 },
		"payload: field 5 is a list where a byte string belongs":               func(p, _ anyMap) { p[uint64(5)] = []any{} },
		"build: builder: field 3 is a byte string where true or false belongs": func(_, b anyMap) { b[uint64(10)].(anyMap)[uint64(3)] = []byte{1} },
	} {
		payload := edit(t, payloadOf(t, sampleBuild(), nil), change)
		err := (&Statement{Payload: payload}).parsePayload()
		if CodeOf(err) != CodeBadShape || err.Error() != want {
			t.Errorf("%v, want %q", err, want)
		}
	}
}

// Deterministic encoding orders the keys of a map by their encodings.
func TestCountsAreWrittenInOrder(t *testing.T) {
	m := make(map[string]uint64)
	for i := range 30 {
		m[strings.Repeat("b", i+1)], m["a"+strings.Repeat("z", i)], m[strings.Repeat("a", 30-i)+"c"] = uint64(i), 1<<40, 24
	}
	var w writer
	w.open()
	w.counts(4, m)
	want, err := encMode.Marshal(map[uint64]any{4: m})
	if err != nil || !slices.Equal(w.b, want) {
		t.Errorf("%x instead of %x (%v)", w.b, want, err)
	}
}
