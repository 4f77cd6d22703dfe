// Command torchtrie measures torchwood's prefix tree in memory, which is somebody
// else's map with proofs, beside firn's:
//
//	torchtrie KEYS
//
// It inserts so many keys and looks some of them up, and prints the nanoseconds of an
// insertion, those of a look-up with its proof, and the bytes of memory a key takes.
package main

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"runtime"
	"strconv"
	"time"

	"filippo.io/torchwood/prefix"
)

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "torchtrie:", err)
		os.Exit(1)
	}
}

func key(i int) [32]byte { return sha256.Sum256(binary.BigEndian.AppendUint64(nil, uint64(i))) }

func run(args []string) error {
	if len(args) != 1 {
		return errors.New("usage: torchtrie KEYS")
	}
	keys, err := strconv.Atoi(args[0])
	if err != nil || keys < 1 {
		return fmt.Errorf("%q is no number of keys", args[0])
	}
	ctx := context.Background()
	before := heap()
	storage := prefix.NewMemoryStorage()
	if err := prefix.InitStorage(ctx, sha256.Sum256, storage); err != nil {
		return err
	}
	tree := prefix.NewTree(sha256.Sum256, storage)
	begin := time.Now()
	for i := range keys {
		if err := tree.Insert(ctx, key(i), key(-i)); err != nil {
			return err
		}
	}
	insert := time.Since(begin) / time.Duration(keys)
	memory := (heap() - before) / uint64(keys)
	begin = time.Now()
	const lookups = 10_000
	for i := range lookups {
		if found, _, err := tree.Lookup(ctx, key(i*7919%keys)); err != nil || !found {
			return fmt.Errorf("key %d is not found: %w", i*7919%keys, err)
		}
	}
	fmt.Println(insert.Nanoseconds(), (time.Since(begin) / lookups).Nanoseconds(), memory)
	runtime.KeepAlive(tree)
	return nil
}

// heap is the number of bytes in use.
func heap() uint64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}
