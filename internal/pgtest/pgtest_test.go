package pgtest

import (
	"os"
	"testing"
)

func TestAServerStartsStopsAndIsRemoved(t *testing.T) {
	var dir string
	t.Run("server", func(t *testing.T) {
		s := New(t)
		dir = s.dir
		s.Database(t)
		s.Stop()
		if err := s.Start(); err != nil {
			t.Fatal(err)
		}
		s.Database(t)
	})
	if dir == "" {
		t.Skip("there was no server")
	}
	if _, err := os.Stat(dir); !os.IsNotExist(err) {
		t.Errorf("%s is still there: %v", dir, err)
	}
}

func TestADatabaseOfItsOwn(t *testing.T) {
	if New(t).Database(t) == "" {
		t.Error("it has no address")
	}
}
