package xz

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"hash/crc32"
	"io"
	"math/rand/v2"
	"os/exec"
	"strings"
	"testing"
	"testing/iotest"

	filtered "github.com/mikelolasagasti/xz"

	"github.com/firn-log/firn/internal/testreq"
)

const testDict = 64 << 20

// pack packs with the real program.
func pack(t testing.TB, content []byte, args ...string) []byte {
	t.Helper()
	cmd := exec.Command(testreq.Command(t, "xz", "xz"), append([]string{"-c"}, args...)...)
	cmd.Stdin = bytes.NewReader(content)
	out, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func unpack(r *Reader, file io.Reader) ([]byte, error) {
	r.Reset(bufio.NewReader(file))
	return io.ReadAll(r)
}

// mixed is n bytes of which some repeat soon, some late, some never, and some are all the same.
func mixed(n int) []byte {
	rng := rand.New(rand.NewPCG(1, uint64(n)))
	b := make([]byte, 0, n+1<<16)
	for len(b) < n {
		size := 1 + rng.IntN(1+rng.IntN(1<<12))
		switch kind := rng.IntN(5); {
		case kind == 0 || len(b) == 0:
			for range size {
				b = append(b, byte(rng.Uint32()))
			}
		case kind == 1:
			b = append(b, bytes.Repeat([]byte{byte(rng.Uint32())}, size)...)
		default:
			from := rng.IntN(len(b))
			b = append(b, b[from:min(len(b), from+size)]...)
		}
	}
	return b[:n]
}

func TestReadsWhatXzWrites(t *testing.T) {
	r := NewReader(testDict) // one for all: nothing may stay of the file before
	for _, n := range []int{0, 1, 100, 4096, 70_000, 3 << 20} {
		content := mixed(n)
		for _, args := range [][]string{
			{},
			{"-0"},
			{"--check=none"},
			{"--check=crc32"},
			{"--check=sha256"},
			{"--block-size=65536", "-1"},
			{"-T2", "--block-size=1MiB", "-1"},
			{"--lzma2=preset=1,dict=4KiB"},
			{"--lzma2=preset=1,lc=0,lp=4,pb=0"},
			{"--lzma2=preset=1,lc=4,lp=0,pb=4"},
			{"--lzma2=preset=1,lc=2,lp=2,pb=3,dict=64KiB"},
		} {
			if n > 1<<20 && !strings.HasPrefix(strings.Join(args, " "), "--lzma2") {
				continue // takes long
			}
			file := pack(t, content, args...)
			if !Plain(file[:min(len(file), PeekLen)]) {
				t.Errorf("%v: not plain", args)
			}
			if got, err := unpack(r, bytes.NewReader(file)); err != nil || !bytes.Equal(got, content) {
				t.Errorf("%v, %d bytes: got %d: %v", args, n, len(got), err)
			}
		}
	}
}

func TestReadsSeveralStreamsAndPadding(t *testing.T) {
	a, b := mixed(1000), mixed(2000)
	file := pack(t, a)
	file = append(append(file, make([]byte, 8)...), pack(t, b, "--check=crc32")...)
	file = append(file, make([]byte, 4)...)
	got, err := unpack(NewReader(testDict), iotest.OneByteReader(bytes.NewReader(file)))
	if err != nil || !bytes.Equal(got, append(bytes.Clone(a), b...)) {
		t.Errorf("got %d bytes: %v", len(got), err)
	}
	if _, err := unpack(NewReader(testDict), bytes.NewReader(append(file, 0))); !errors.Is(err, ErrFormat) {
		t.Errorf("padding of five bytes: %v", err)
	}
}

// Whatever bit is wrong and wherever the file ends, it is an error.
func TestRefusesDamage(t *testing.T) {
	content := mixed(3000)
	file := pack(t, content)
	r := NewReader(testDict)
	for i := range file {
		if _, err := unpack(r, bytes.NewReader(file[:i])); err == nil {
			t.Errorf("the first %d of %d bytes are a whole file", i, len(file))
		}
		bad := bytes.Clone(file)
		bad[i] ^= 1 << (i % 8)
		if _, err := unpack(r, bytes.NewReader(bad)); err == nil {
			t.Errorf("byte %d is wrong, and nobody says so", i)
		}
	}
	if _, err := unpack(r, bytes.NewReader(append(bytes.Clone(file), "more"...))); err == nil {
		t.Error("something follows, and nobody says so")
	}
}

func TestFiltersAreNotPlain(t *testing.T) {
	file := pack(t, mixed(5000), "--x86", "--lzma2=preset=1")
	if Plain(file) {
		t.Error("plain")
	}
	if _, err := unpack(NewReader(testDict), bytes.NewReader(file)); !errors.Is(err, ErrUnsupported) {
		t.Error(err)
	}
}

func TestMemoryIsBounded(t *testing.T) {
	content := mixed(2 << 20)
	file := pack(t, content, "--lzma2=preset=1,dict=1MiB")
	if _, err := unpack(NewReader(1<<20-1), bytes.NewReader(file)); !errors.Is(err, ErrMemory) {
		t.Error(err)
	}
	r := NewReader(1 << 20)
	if got, err := unpack(r, bytes.NewReader(file)); err != nil || !bytes.Equal(got, content) || r.Window() > 4<<20 {
		t.Errorf("%d bytes of memory: %v", r.Window(), err)
	}
	small := NewReader(testDict) // whose dictionary is 8 MiB
	if _, err := unpack(small, bytes.NewReader(pack(t, mixed(1000)))); err != nil || small.Window() > 256<<10 {
		t.Errorf("%d bytes of memory for 1,000: %v", small.Window(), err)
	}
}

// What is further back than the dictionary that a file asks for is not in it, though it may be in memory.
func TestRefusesDistancesBehindTheDictionary(t *testing.T) {
	file := pack(t, mixed(200_000), "--lzma2=preset=1,dict=1MiB")
	const header, dict = 12, 16 // size, flags, filter, length of its property
	size := (int(file[header]) + 1) * 4
	if file[header+2] != lzma2ID {
		t.Fatalf("a header of another form: %x", file[header:header+size])
	}
	file[dict] = 0 // 4 KiB
	binary.LittleEndian.PutUint32(file[header+size-4:], crc32.ChecksumIEEE(file[header:header+size-4]))
	if _, err := unpack(NewReader(testDict), bytes.NewReader(file)); !errors.Is(err, ErrFormat) {
		t.Error(err)
	}
}

// FuzzBothDecoders compares with another decoder: what both take is the same.
func FuzzBothDecoders(f *testing.F) {
	for _, n := range []int{0, 10, 5000} {
		for _, args := range [][]string{{}, {"-0", "--check=crc32"}, {"--block-size=4096"}, {"--lzma2=preset=1,lc=1,lp=3,pb=0"}} {
			f.Add(pack(f, mixed(n), args...))
		}
	}
	f.Fuzz(func(t *testing.T, file []byte) {
		const dict, most = 1 << 20, 4 << 20
		r := NewReader(dict)
		r.Reset(bufio.NewReader(bytes.NewReader(file)))
		got, err := io.ReadAll(io.LimitReader(r, most))
		if err != nil || !Plain(file) {
			return
		}
		other, err := filtered.NewReader(bytes.NewReader(file), dict)
		var want []byte
		if err == nil {
			want, err = io.ReadAll(io.LimitReader(other, most))
		}
		if err != nil || !bytes.Equal(got, want) {
			t.Errorf("we read %d bytes, the other %d: %v", len(got), len(want), err)
		}
	})
}

// BenchmarkReader is beside xz and the decoder that has filters, by processor time: 16 MiB in 8 MiB
// of dictionary.
func BenchmarkReader(b *testing.B) {
	content := mixed(16 << 20)
	file := pack(b, content, "--lzma2=preset=1,dict=8MiB")
	r := NewReader(testDict)
	b.Run("ours", func(b *testing.B) {
		b.SetBytes(int64(len(content)))
		for b.Loop() {
			r.Reset(bufio.NewReader(bytes.NewReader(file)))
			if n, err := io.Copy(io.Discard, r); err != nil || n != int64(len(content)) {
				b.Fatal(n, err)
			}
		}
	})
	b.Run("filtered", func(b *testing.B) {
		b.SetBytes(int64(len(content)))
		for b.Loop() {
			o, err := filtered.NewReader(bytes.NewReader(file), testDict)
			if err != nil {
				b.Fatal(err)
			}
			_, _ = io.Copy(io.Discard, o)
		}
	})
}
