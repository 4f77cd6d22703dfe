package index_test

import (
	"bytes"
	"errors"
	"testing"

	"github.com/firn-log/firn/log/index"
)

func FuzzPruned(f *testing.F) {
	for _, v := range readJSON[prunedVector](f, "pruned.json") {
		f.Add(unhex(f, v.Trie))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		n, rest, err := index.ParsePruned(b)
		if err != nil && !errors.Is(err, index.ErrShape) {
			if !errors.Is(err, index.ErrMalformed) || n != nil {
				t.Errorf("refused with %v and a node %v", err, n)
			}
			return
		}
		again, err2 := n.AppendBinary(nil)
		if err2 != nil || !bytes.Equal(append(again, rest...), b) {
			t.Errorf("%x encodes to %x, %v", b, again, err2)
		}
		h, present, findErr := n.Find(index.Hash{})
		if present && (findErr != nil || h == index.Head{} && err == nil) {
			t.Errorf("present with head %v, %v", h, findErr)
		}
		found, prefixErr := n.FindPrefix(3, index.Hash{})
		for _, k := range found {
			if h, present, err := n.Find(k.Key); err == nil && prefixErr == nil && !(present && h == k.Head) && n.Check() == nil {
				t.Errorf("a key of a prefix is not found: %v", k.Key)
			}
		}
	})
}

func FuzzList(f *testing.F) {
	for _, v := range readJSON[listVector](f, "lists.json") {
		f.Add(unhex(f, v.Section))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		l, rest, err := index.ParseList(b)
		if err != nil {
			if !errors.Is(err, index.ErrMalformed) {
				t.Error(err)
			}
			return
		}
		again, err := l.AppendBinary(nil)
		if err != nil || !bytes.Equal(append(again, rest...), b) {
			t.Errorf("%x encodes to %x, %v", b, again, err)
		}
		f := l.Prefix
		for _, it := range l.Items {
			f.Append(it)
		}
		if err := l.Check(f.Root(), 1<<63); err != nil && !errors.Is(err, index.ErrShape) {
			t.Errorf("below its own head: %v", err)
		}
	})
}

func FuzzFrontier(f *testing.F) {
	for _, l := range readHashes(f).Lists {
		f.Add(unhex(f, l.Frontier))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		var fr index.Frontier
		if err := fr.UnmarshalBinary(b); err != nil {
			if !errors.Is(err, index.ErrMalformed) || fr.Count() != 0 {
				t.Errorf("%v, %d items", err, fr.Count())
			}
			return
		}
		again, err := fr.MarshalBinary()
		if err != nil || !bytes.Equal(again, b) {
			t.Errorf("%x encodes to %x, %v", b, again, err)
		}
		if h := fr.Root(); h.Count != fr.Count() {
			t.Errorf("a head of %d items, want %d", h.Count, fr.Count())
		}
	})
}
