package blobs

import (
	"strings"
	"testing"
)

// Uploads at the same time do not count on the same room.
func TestRoomIsReserved(t *testing.T) {
	d, err := Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	d.Free = func(string) (uint64, error) { return spare + 100, nil }
	first, err := d.Reserve(60)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := d.Reserve(41); err == nil || !strings.Contains(err.Error(), "others that are on their way need 60") {
		t.Errorf("41 beside 60 of 100: %v", err)
	}
	second, err := d.Reserve(40)
	if err != nil {
		t.Fatal(err)
	}
	first()
	second()
	if _, err := d.Reserve(100); err != nil {
		t.Errorf("after all are done: %v", err)
	}
	d.Free = func(string) (uint64, error) { return 10, nil }
	if _, err := d.Reserve(1); err == nil {
		t.Error("1 byte on a disk with less than what is spared")
	}
}
