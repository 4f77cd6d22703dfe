package send

import (
	"slices"
	"testing"
)

// A leaf with blobs shares its request with no other, and the order is kept.
func TestLeafWithBlobsGoesAlone(t *testing.T) {
	in, out := make(chan Item), make(chan []Item)
	go func() {
		defer close(in)
		for _, blobs := range [][][]byte{nil, nil, {{1}}, {{2}}, nil} {
			in <- Item{Leaf: []byte("leaf"), Blobs: blobs}
		}
	}()
	go func() {
		defer close(out)
		if err := collect(t.Context(), in, out); err != nil {
			t.Error(err)
		}
	}()
	total, alone := 0, 0
	for batch := range out {
		total += len(batch)
		if slices.ContainsFunc(batch, func(i Item) bool { return i.Blobs != nil }) {
			alone++
			if len(batch) != 1 {
				t.Errorf("a leaf with blobs is sent with %d others", len(batch)-1)
			}
		}
	}
	if total != 5 || alone != 2 {
		t.Errorf("%d leaves, %d of them with blobs", total, alone)
	}
}
