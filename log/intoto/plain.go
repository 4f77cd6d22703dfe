package intoto

import (
	"encoding/hex"
	"fmt"
	"reflect"
	"unicode"
	"unicode/utf8"

	"github.com/firn-log/firn/internal/nix"
	"github.com/firn-log/firn/log/statement"
)

// maxExact is the largest integer that every reader of JSON keeps (RFC 8259 §6).
const maxExact = 1<<53 - 1

// number returns n as JSON may hold it: as text, if it is too large for a number.
func number(n uint64) any {
	if n > maxExact {
		return fmt.Sprint(n)
	}
	return n
}

// plain returns a body as values that JSON has (spec/intoto.md#bodies): the names
// of the fields in Go with a small initial, hashes, ids and bytes in hexadecimal, paths and text
// as they are; fields without a value are left out.
func plain(v any) any { return plainValue(reflect.ValueOf(v)) }

func plainValue(v reflect.Value) any {
	if v.CanInterface() {
		switch x := v.Interface().(type) {
		case nix.StorePath:
			return x.String()
		case nix.Hash:
			return "sha256:" + x.Hex()
		case statement.PublicKey:
			return map[string]any{"id": x.ID().String(), "preimage": hex.EncodeToString(x.Preimage())}
		case statement.DiffFile: // names are bytes, and nearly always text
			if utf8.Valid(x.Name) {
				return map[string]any{"name": string(x.Name), "what": string(x.What)}
			}
			return map[string]any{"nameBytes": hex.EncodeToString(x.Name), "what": string(x.What)}
		}
	}
	switch v.Kind() {
	case reflect.Pointer, reflect.Interface:
		if v.IsNil() {
			return nil
		}
		return plainValue(v.Elem())
	case reflect.Struct:
		return plainStruct(v)
	case reflect.Slice, reflect.Array:
		return plainList(v)
	case reflect.Map:
		m := make(map[string]any)
		for it := v.MapRange(); it.Next(); {
			m[it.Key().String()] = plainValue(it.Value())
		}
		return m
	case reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		return number(v.Uint())
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		return v.Int()
	case reflect.Bool:
		return v.Bool()
	case reflect.String:
		return v.String()
	}
	panic(fmt.Sprintf("intoto: a body has a field of type %s", v.Type())) // a test has every kind
}

func plainStruct(v reflect.Value) any {
	m := make(map[string]any)
	for i := range v.NumField() {
		f := v.Type().Field(i)
		if !f.IsExported() {
			continue
		}
		x := v.Field(i)
		if x.Kind() == reflect.String && x.Len() == 0 || (x.Kind() == reflect.Pointer || x.Kind() == reflect.Slice) && x.IsNil() {
			continue
		}
		if f.Anonymous {
			for name, value := range plainStruct(x).(map[string]any) {
				m[name] = value
			}
			continue
		}
		m[smallInitial(f.Name)] = plainValue(x)
	}
	return m
}

// plainList returns bytes in hexadecimal and other lists as lists.
func plainList(v reflect.Value) any {
	if v.Type().Elem().Kind() == reflect.Uint8 {
		b := make([]byte, v.Len())
		reflect.Copy(reflect.ValueOf(b), v)
		return hex.EncodeToString(b)
	}
	list := make([]any, v.Len())
	for i := range list {
		list[i] = plainValue(v.Index(i))
	}
	return list
}

// smallInitial turns NarHash into narHash, CA into ca, URL into url and OperatorID
// into operatorID.
func smallInitial(name string) string {
	runes := []rune(name)
	for i := range runes {
		if i > 0 && i+1 < len(runes) && unicode.IsLower(runes[i+1]) || unicode.IsLower(runes[i]) {
			break
		}
		runes[i] = unicode.ToLower(runes[i])
	}
	return string(runes)
}
