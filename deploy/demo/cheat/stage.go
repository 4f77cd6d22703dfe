package main

import (
	"fmt"
	"os"
	"testing"
)

// stage is what a logtest.Log wants of a test: a folder, and somebody to tell what
// cannot happen.
type stage struct {
	testing.TB // nil: what is not below is not called
	dirs       []string
}

// Helper does nothing.
func (s *stage) Helper() {}

// TempDir makes a folder that clear removes.
func (s *stage) TempDir() string {
	dir, err := os.MkdirTemp("", "cheat")
	if err != nil {
		s.Fatalf("%v", err)
	}
	s.dirs = append(s.dirs, dir)
	return dir
}

// Errorf ends the program, as Fatalf does: a log that is not as it was meant to be
// shows nothing.
func (s *stage) Errorf(format string, args ...any) { s.Fatalf(format, args...) }

// Fatalf ends the program.
func (s *stage) Fatalf(format string, args ...any) {
	fmt.Fprintf(os.Stderr, "cheat: "+format+"\n", args...)
	s.clear()
	os.Exit(1)
}

// clear removes the folders.
func (s *stage) clear() {
	for _, dir := range s.dirs {
		_ = os.RemoveAll(dir)
	}
}
