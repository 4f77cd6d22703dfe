package statement

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strconv"
	"strings"

	"github.com/fxamacker/cbor/v2"

	"github.com/firn-log/firn/internal/nix"
)

// What is here reads and writes bodies by reflection, with a decoder of others, so that
// wire.go is compared with something.

var (
	encMode = must(cbor.EncOptions{
		Sort:          cbor.SortCoreDeterministic,
		IndefLength:   cbor.IndefLengthForbidden,
		TagsMd:        cbor.TagsForbidden,
		NilContainers: cbor.NilContainerAsEmpty,
	}.EncMode())
	decMode = must(cbor.DecOptions{
		DupMapKey:         cbor.DupMapKeyEnforcedAPF,
		IndefLength:       cbor.IndefLengthForbidden,
		TagsMd:            cbor.TagsForbidden,
		ExtraReturnErrors: cbor.ExtraDecErrorUnknownField,
		MaxNestedLevels:   maxDepth,
		UTF8:              cbor.UTF8RejectInvalid,
	}.DecMode())
	// peekMode reads the version and the kind before the fields are judged.
	peekMode = must(cbor.DecOptions{
		DupMapKey:       cbor.DupMapKeyEnforcedAPF,
		IndefLength:     cbor.IndefLengthForbidden,
		TagsMd:          cbor.TagsForbidden,
		MaxNestedLevels: maxDepth,
	}.DecMode())
)

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

// decodeWire decodes b, which is canonical, into the wire struct that w points
// to. b must have exactly the fields of the struct: encoding w again gives b.
func decodeWire(what string, b []byte, w any) error {
	if err := decMode.Unmarshal(b, w); err != nil {
		return errf(CodeBadShape, "%s: %s", what, explain(b, w, err))
	}
	again, err := encMode.Marshal(w)
	if err != nil || !bytes.Equal(again, b) {
		return errf(CodeBadShape, "%s: %s", what, explain(b, w, nil))
	}
	return nil
}

// explain says in which top-level field b differs from the struct that w
// points to.
func explain(b []byte, w any, cause error) string {
	var have map[uint64]cbor.RawMessage
	if peekMode.Unmarshal(b, &have) != nil {
		return "not a map with small whole numbers as keys"
	}
	for _, f := range reflect.VisibleFields(reflect.TypeOf(w).Elem()) {
		if f.Anonymous {
			continue
		}
		num, opts, _ := strings.Cut(f.Tag.Get("cbor"), ",")
		key, _ := strconv.ParseUint(num, 10, 64)
		if _, ok := have[key]; !ok && !strings.Contains(opts, "omitempty") {
			return fmt.Sprintf("field %d is missing", key)
		}
		delete(have, key)
	}
	if len(have) > 0 {
		return fmt.Sprintf("field %d is unknown", slices.Min(slices.Collect(maps.Keys(have))))
	}
	var typ *cbor.UnmarshalTypeError
	if errors.As(cause, &typ) {
		// The name ends in ".wireOutput.4", say.
		where, field, _ := cutLast(typ.StructFieldName, ".")
		_, where, _ = cutLast(where, ".wire")
		return fmt.Sprintf("field %s of %s is a %s", field, strings.ToLower(where), typ.CBORType)
	}
	return "a field, or a field of a field, is missing, unknown or of a wrong type"
}

func cutLast(s, sep string) (before, after string, found bool) {
	if i := strings.LastIndex(s, sep); i >= 0 {
		return s[:i], s[i+len(sep):], true
	}
	return "", s, false
}

type wireBuilder struct {
	Implementation string `cbor:"1,keyasint"`
	Version        string `cbor:"2,keyasint"`
	Sandbox        bool   `cbor:"3,keyasint"`
}

func baseNames(paths []nix.StorePath) []string {
	out := make([]string, len(paths))
	for i, p := range paths {
		out[i] = p.Base()
	}
	return out
}
