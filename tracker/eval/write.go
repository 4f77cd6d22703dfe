package eval

import (
	"compress/gzip"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"iter"
	"maps"
	"reflect"
	"slices"
)

// Write writes an evaluation file to w and returns the SHA-256 of its uncompressed
// form. The same header and attributes give the same bytes. Attributes must be
// sorted and within the bounds, otherwise nothing that was written is of use.
func Write(w io.Writer, h Header, attrs iter.Seq[Attribute]) (digest string, err error) {
	z, err := gzip.NewWriterLevel(w, gzip.BestCompression)
	if err != nil {
		return "", err
	}
	sum := sha256.New()
	if err := write(io.MultiWriter(z, sum), h, attrs); err != nil {
		return "", err
	}
	return hex.EncodeToString(sum.Sum(nil)), z.Close()
}

// write writes the uncompressed file.
func write(w io.Writer, h Header, attrs iter.Seq[Attribute]) error {
	if err := h.Check(); err != nil {
		return err
	}
	size, count, last := 0, 0, ""
	put := func(v any) error {
		b, err := encode(v)
		if err != nil {
			return err
		}
		if size += len(b) + 1; len(b) > MaxLine || size > MaxFile {
			return errors.New("a line or the file is too long")
		}
		_, err = w.Write(append(b, '\n'))
		return err
	}
	if err := put(h); err != nil {
		return err
	}
	for a := range attrs {
		if err := a.Check(&h); err != nil {
			return fmt.Errorf("%.300q: %w", a.Attr, err)
		}
		if count++; a.Attr <= last || count > MaxAttributes {
			return fmt.Errorf("%s is out of order, or one of more than %d", a.Attr, MaxAttributes)
		}
		last = a.Attr
		if err := put(a); err != nil {
			return fmt.Errorf("%s: %w", a.Attr, err)
		}
	}
	return nil
}

// sorted yields the attributes of m in order.
func sorted(m map[string]Attribute) iter.Seq[Attribute] {
	return func(yield func(Attribute) bool) {
		for _, k := range slices.Sorted(maps.Keys(m)) {
			if !yield(m[k]) {
				return
			}
		}
	}
}

// delta returns what a file must hold that leads from one state to the next.
func delta(before, after map[string]Attribute) map[string]Attribute {
	d := make(map[string]Attribute)
	for k, a := range after {
		if b, there := before[k]; !there || !reflect.DeepEqual(a, b) {
			d[k] = a
		}
	}
	for k := range before {
		if _, there := after[k]; !there {
			d[k] = Attribute{Attr: k, Gone: true}
		}
	}
	return d
}
