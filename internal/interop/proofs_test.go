package interop

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

// A .tlog-proof that firn wrote, under a 2-of-3 policy, verifies with torchwood,
// and no longer with another entry, a witness less, or a changed proof.
func TestTorchwoodVerifiesProofs(t *testing.T) {
	check := peer(t, "torchcheck")
	l := initLog(t)
	var witnesses []string
	for _, name := range []string{"w1", "w2", "w3"} {
		witnesses = append(witnesses, startWitness(t, "witness.example/"+name, l.vkey).policyLine(name))
	}
	l.serve(t, 2, witnesses...)
	id := l.register(t, "alice", "30s").Operator

	proof, leaf := filepath.Join(l.home, "p.tlog-proof"), filepath.Join(l.home, "leaf")
	if _, err := l.firn(t, "log", "prove", id, "--output", proof, "--leaf-output", leaf); err != nil {
		t.Fatal(err)
	}
	run(t, check, "policy", l.policy)
	run(t, check, "proof", l.policy, proof, leaf)
	run(t, ours(t, "firn"), "log", "verify-proof", proof, "--leaf", leaf, "--log-policy", l.policy)

	cp, err := get(l.url + "/checkpoint")
	if err != nil {
		t.Fatal(err)
	}
	run(t, check, "checkpoint", l.policy, write(t, "checkpoint", string(cp)))

	p, err := os.ReadFile(proof)
	if err != nil {
		t.Fatal(err)
	}
	for what, change := range map[string]func() (policy, proof, leaf string){
		"another entry": func() (string, string, string) { return l.policy, proof, l.policy },
		"another index": func() (string, string, string) {
			return l.policy, write(t, "p", nextIndex(string(p))), leaf
		},
		"one cosignature": func() (string, string, string) {
			head, note, _ := strings.Cut(string(p), "\n\n")
			text, sigs, _ := strings.Cut(note, "\n\n")
			var kept []string
			cosigned := 0
			for line := range strings.Lines(sigs) {
				if strings.HasPrefix(line, "— witness.example/") {
					if cosigned++; cosigned > 1 {
						continue
					}
				}
				kept = append(kept, line)
			}
			return l.policy, write(t, "p", head+"\n\n"+text+"\n\n"+strings.Join(kept, "")), leaf
		},
	} {
		pol, pr, lf := change()
		if _, err := try(check, "proof", pol, pr, lf); err == nil {
			t.Errorf("%s: torchwood still verifies the proof", what)
		}
		_, err := try(ours(t, "firn"), "log", "verify-proof", pr, "--leaf", lf, "--log-policy", pol)
		if exit := new(exec.ExitError); !errors.As(err, &exit) || exit.ExitCode() != 3 && exit.ExitCode() != 4 {
			t.Errorf("%s: %v, want firn to refuse the proof", what, err)
		}
	}
}

// nextIndex returns a proof with the index of the entry after the one that it is about.
func nextIndex(proof string) string {
	head, rest, _ := strings.Cut(proof, "\nindex ")
	n, rest, _ := strings.Cut(rest, "\n")
	i, _ := strconv.Atoi(n)
	return fmt.Sprintf("%s\nindex %d\n%s", head, i+1, rest)
}
