// Command torchcheck reads what firn writes with torchwood, which is somebody
// else's reading of the same documents:
//
//	torchcheck policy POLICY
//	torchcheck checkpoint POLICY NOTE
//	torchcheck proof POLICY PROOF LEAF
//
// Arguments are files. What torchwood refuses ends it with status 1.
package main

import (
	"errors"
	"fmt"
	"os"

	"filippo.io/torchwood"
	"golang.org/x/mod/sumdb/tlog"
)

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "torchcheck:", err)
		os.Exit(1)
	}
}

func run(args []string) error {
	wants := map[string]int{"policy": 2, "checkpoint": 3, "proof": 4}
	if len(args) == 0 || wants[args[0]] != len(args) {
		return errors.New("usage: torchcheck policy POLICY | checkpoint POLICY NOTE | proof POLICY PROOF LEAF")
	}
	files := make([][]byte, len(args))
	for i, name := range args[1:] {
		var err error
		if files[i+1], err = os.ReadFile(name); err != nil {
			return err
		}
	}
	policy, err := torchwood.ParsePolicy(files[1])
	if err != nil {
		return fmt.Errorf("policy: %w", err)
	}
	switch args[0] {
	case "checkpoint":
		checkpoint, _, err := torchwood.VerifyCheckpoint(files[2], policy)
		if err != nil {
			return err
		}
		fmt.Println(checkpoint.Origin, checkpoint.N)
	case "proof":
		return torchwood.VerifyProof(policy, tlog.RecordHash(files[3]), files[2])
	}
	return nil
}
