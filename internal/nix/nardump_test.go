package nix

import (
	"bytes"
	"context"
	"errors"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/firn-log/firn/internal/testreq"
)

// sampleTree makes files of many sizes, around the paddings and the buffer.
func sampleTree(t testing.TB) string {
	t.Helper()
	root := filepath.Join(t.TempDir(), "tree")
	r := rand.New(rand.NewPCG(1, 2))
	write := func(name string, size int, perm os.FileMode) {
		b := make([]byte, size)
		for i := range b {
			b[i] = byte(r.Uint32())
		}
		name = filepath.Join(root, name)
		if err := errors.Join(os.MkdirAll(filepath.Dir(name), 0o755), os.WriteFile(name, b, perm)); err != nil {
			t.Fatal(err)
		}
	}
	for i := range 18 {
		write("small/"+strconv.Itoa(i), i, 0o644)
	}
	for _, near := range []int{narBufSize / 4, narBufSize, 2 * narBufSize} {
		for d := -140; d <= 20; d += 20 {
			write("large/"+strconv.Itoa(near+d), near+d, 0o444)
		}
	}
	write("bin/run", 100, 0o555)
	write("bin/group", 100, 0o654)
	write("a-b/x", 1, 0o644)
	write("a/x", 1, 0o644)
	write("a.b/x", 1, 0o644)
	write("Z/\xff\xfe", 1, 0o644)
	write(strings.Repeat("n", 255)+"/x", 1, 0o644)
	for name, target := range map[string]string{"l1": "nowhere", "l2": "a/../a/x", "a/l3": strings.Repeat("t", 4000)} {
		if err := os.Symlink(target, filepath.Join(root, name)); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Mkdir(filepath.Join(root, "empty"), 0o755); err != nil {
		t.Fatal(err)
	}
	return root
}

// TestDumpAgainstNix compares with nix-store --dump and nix-hash.
func TestDumpAgainstNix(t *testing.T) {
	nixStore := testreq.Command(t, "nix", "nix-store")
	nixHash := testreq.Command(t, "nix", "nix-hash")
	root := sampleTree(t)
	for _, path := range []string{root, filepath.Join(root, "bin/run"), filepath.Join(root, "bin/group"), filepath.Join(root, "l2"), filepath.Join(root, "empty")} {
		want, err := exec.Command(nixStore, "--dump", path).Output()
		if err != nil {
			t.Fatal(err)
		}
		var got bytes.Buffer
		if err := DumpPath(&got, path); err != nil || !bytes.Equal(got.Bytes(), want) {
			t.Errorf("%s: dumped differently, %v", path, err)
		}
		if back, err := recode(bytes.NewReader(want)); err != nil || !bytes.Equal(back, want) {
			t.Errorf("%s: read and written again: %v", path, err)
		}
		hash, err := exec.Command(nixHash, "--type", "sha256", "--base32", path).Output()
		if err != nil {
			t.Fatal(err)
		}
		var told int64
		sum, n, err := HashPath(t.Context(), path, func(n int64) { told += n })
		if err != nil || sum.String() != "sha256:"+strings.TrimSpace(string(hash)) || n != uint64(len(want)) || told != int64(n) {
			t.Errorf("%s: %v, %d bytes, told %d, %v", path, sum, n, told, err)
		}
	}
}

func TestDumpRoundTrip(t *testing.T) {
	root := sampleTree(t)
	var nar bytes.Buffer
	if err := DumpPath(&nar, root); err != nil {
		t.Fatal(err)
	}
	dest := filepath.Join(t.TempDir(), "copy")
	if err := UnpackNar(bytes.NewReader(nar.Bytes()), dest); err != nil {
		t.Fatal(err)
	}
	want, n, err := HashPath(t.Context(), root, nil)
	if err != nil || n != uint64(nar.Len()) {
		t.Fatal(n, err)
	}
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			if got, _, err := HashPath(context.Background(), dest, nil); err != nil || got != want {
				t.Errorf("%v, %v, want %v", got, err, want)
			}
		})
	}
	wg.Wait()
}

func TestHashPathRefuses(t *testing.T) {
	dir := t.TempDir()
	if _, _, err := HashPath(t.Context(), filepath.Join(dir, "missing"), nil); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("missing path: %v", err)
	}
	if err := syscall.Mkfifo(filepath.Join(dir, "fifo"), 0o644); err != nil {
		t.Fatal(err)
	}
	if _, _, err := HashPath(t.Context(), dir, nil); err == nil || !strings.Contains(err.Error(), "fifo") {
		t.Errorf("FIFO: %v", err)
	}
	// A file that became a FIFO after it was listed.
	s := newNarSink(t.Context(), &bytes.Buffer{}, nil)
	defer s.release()
	if err := s.dumpFile(filepath.Join(dir, "fifo")); err == nil || !strings.Contains(err.Error(), "regular") {
		t.Errorf("file that became a FIFO: %v", err)
	}
	// Nor is a symlink followed that took a file's place.
	if err := os.Symlink("fifo", filepath.Join(dir, "link")); err != nil {
		t.Fatal(err)
	}
	if err := s.dumpFile(filepath.Join(dir, "link")); !errors.Is(err, syscall.ELOOP) {
		t.Errorf("file that became a symlink: %v", err)
	}
	deep := filepath.Join(t.TempDir(), "d")
	if err := os.MkdirAll(filepath.Join(deep, strings.Repeat("d/", MaxNarDepth)), 0o755); err != nil {
		t.Fatal(err)
	}
	if _, _, err := HashPath(t.Context(), deep, nil); !errors.Is(err, ErrNar) {
		t.Errorf("too deep: %v", err)
	}
}

func TestHashPathStops(t *testing.T) {
	root := sampleTree(t)
	ctx, cancel := context.WithCancel(t.Context())
	calls := 0
	_, _, err := HashPath(ctx, root, func(int64) {
		calls++
		cancel()
	})
	if !errors.Is(err, context.Canceled) || calls != 1 {
		t.Errorf("%v after %d blocks", err, calls)
	}
}

// failing fails after the given number of writes.
type failing int

func (f *failing) Write(p []byte) (int, error) {
	if *f--; *f < 0 {
		return 0, os.ErrClosed
	}
	return len(p), nil
}

func TestDumpPathFailsOnce(t *testing.T) {
	root := sampleTree(t)
	for n := range 4 {
		w := failing(n)
		if err := DumpPath(&w, root); !errors.Is(err, os.ErrClosed) || w != -1 {
			t.Errorf("writer that fails at write %d: %v, then %d more", n, err, -1-w)
		}
	}
}

// BenchmarkHashPath hashes 256 MiB in files of 64 KiB; its peer is
// `openssl dgst -sha256` over the same files. The target is a CPU time of at
// most 1.15 times openssl's (both are reported, in user+system seconds a
// GiB).
func BenchmarkHashPath(b *testing.B) {
	const files, size = 4096, 64 << 10
	root := filepath.Join(b.TempDir(), "tree")
	buf := make([]byte, size)
	r := rand.New(rand.NewPCG(3, 4))
	var args []string
	for i := range files {
		for j := 0; j < size; j += 8 {
			buf[j] = byte(r.Uint32())
		}
		name := filepath.Join(root, strconv.Itoa(i%64), strconv.Itoa(i))
		if err := errors.Join(os.MkdirAll(filepath.Dir(name), 0o755), os.WriteFile(name, buf, 0o644)); err != nil {
			b.Fatal(err)
		}
		args = append(args, name)
	}
	const gib = float64(files*size) / (1 << 30)
	b.SetBytes(files * size)
	start := cpu(b, syscall.RUSAGE_SELF)
	n := 0
	for b.Loop() {
		if _, _, err := HashPath(b.Context(), root, nil); err != nil {
			b.Fatal(err)
		}
		n++
	}
	own := (cpu(b, syscall.RUSAGE_SELF) - start) / float64(n) / gib
	b.ReportMetric(own, "cpu-s/GiB")
	openssl, err := exec.LookPath("openssl")
	if err != nil {
		return
	}
	start = cpu(b, syscall.RUSAGE_CHILDREN)
	for range n {
		if err := exec.Command(openssl, append([]string{"dgst", "-sha256"}, args...)...).Run(); err != nil {
			b.Fatal(err)
		}
	}
	peer := (cpu(b, syscall.RUSAGE_CHILDREN) - start) / float64(n) / gib
	b.ReportMetric(peer, "openssl-cpu-s/GiB")
	b.ReportMetric(own/peer, "of-openssl")
}

// cpu returns user and system seconds so far.
func cpu(b *testing.B, who int) float64 {
	var u syscall.Rusage
	if err := syscall.Getrusage(who, &u); err != nil {
		b.Fatal(err)
	}
	return float64(u.Utime.Nano()+u.Stime.Nano()) / 1e9
}
