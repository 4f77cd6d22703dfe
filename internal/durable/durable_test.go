package durable

import (
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

func TestWriteFileReplacesAndLeavesNothing(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "a")
	for _, want := range []string{"one", "two"} {
		if err := WriteFile(path, []byte(want), 0o600); err != nil {
			t.Fatal(err)
		}
		if got, _ := os.ReadFile(path); string(got) != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
	if entries, _ := os.ReadDir(dir); len(entries) != 1 {
		t.Errorf("%d files left, want 1", len(entries))
	}
}

func TestCreateFileRefusesExisting(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a")
	if err := CreateFile(path, []byte("one"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := CreateFile(path, []byte("two"), 0o600); !errors.Is(err, fs.ErrExist) {
		t.Fatalf("second create: %v, want fs.ErrExist", err)
	}
	if got, _ := os.ReadFile(path); string(got) != "one" {
		t.Errorf("got %q, want the first content", got)
	}
}

func TestSweepTempKeepsTheRest(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{tempPrefix + "123", "kept"} {
		if err := os.WriteFile(filepath.Join(dir, name), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := SweepTemp(dir); err != nil {
		t.Fatal(err)
	}
	if entries, _ := os.ReadDir(dir); len(entries) != 1 || entries[0].Name() != "kept" {
		t.Errorf("left %v, want only kept", entries)
	}
}

func TestLockIsRefusedTwiceInOneProcess(t *testing.T) {
	path := filepath.Join(t.TempDir(), "lock")
	l, err := Acquire(path)
	if err != nil {
		t.Fatal(err)
	}
	var locked *LockedError
	if _, err := Acquire(path); !errors.As(err, &locked) || locked.PID != os.Getpid() {
		t.Fatalf("second lock: %v, want LockedError naming this process", err)
	}
	if err := l.Unlock(); err != nil {
		t.Fatal(err)
	}
	l, err = Acquire(path)
	if err != nil {
		t.Fatalf("after Unlock: %v", err)
	}
	l.Unlock()
}

func TestLockIsRefusedToAnotherProcessAndNamesTheHolder(t *testing.T) {
	if path := os.Getenv("DURABLE_TEST_LOCK"); path != "" {
		var locked *LockedError
		if _, err := Acquire(path); errors.As(err, &locked) && locked.PID == os.Getppid() {
			os.Exit(42)
		}
		os.Exit(1)
	}
	path := filepath.Join(t.TempDir(), "lock")
	l, err := Acquire(path)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Unlock()
	cmd := exec.Command(os.Args[0], "-test.run=^TestLockIsRefusedToAnotherProcess")
	cmd.Env = append(os.Environ(), "DURABLE_TEST_LOCK="+path)
	if err := cmd.Run(); cmd.ProcessState.ExitCode() != 42 {
		t.Fatalf("child: %v, want it refused with this process named", err)
	}
}
