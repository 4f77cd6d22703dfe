package hydra

import (
	"bytes"
	"encoding/json"
	"testing"

	"github.com/firn-log/firn/internal/nix"
	"github.com/firn-log/firn/log/statement"
)

// FuzzAnswers reads anything as each of the answers of a Hydra, and as an event.
// What is read holds what whoever uses it relies on.
func FuzzAnswers(f *testing.F) {
	for _, seed := range []string{
		`{"first":"?page=1","next":"?page=2","last":"?page=3","evals":[{"id":7,"builds":[1,2]}]}`,
		`{"id":7,"timestamp":1,"flake":"git+https://u:p@h/x?rev=0123456789012345678901234567890123456789","jobsetevalinputs":{"n":{"uri":"ssh://git@h/x","type":"git","revision":"1"}}}`,
		`[{"id":3,"finished":1,"buildstatus":0,"drvpath":"/nix/store/7rjj86a15146vq1bxajzbfl90mn7vk2j-x.drv","buildoutputs":{"out":{"path":"/nix/store/7rjj86a15146vq1bxajzbfl90mn7vk2j-x"}}}]`,
		`{"event":"buildFinished","build":1,"buildStatus":0,"drvPath":"/nix/store/7rjj86a15146vq1bxajzbfl90mn7vk2j-x.drv","outputs":[{"path":"/nix/store/7rjj86a15146vq1bxajzbfl90mn7vk2j-x"}]}`,
		"<html>", "[[[[", `{"evals":`,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, in []byte) {
		open := func() *decoder {
			d, err := newDecoder(bytes.NewReader(in), 1<<16)
			if err != nil {
				t.Skip()
			}
			return d
		}
		if p, err := parsePage(open()); err == nil {
			for _, id := range p.evals {
				if id == 0 || id > maxNumber {
					t.Errorf("evaluation %d", id)
				}
			}
		}
		if e, err := parseEval(open(), 7); err == nil {
			b := &statement.Eval{Name: "x", StoreDir: nix.DefaultStoreDir, Count: 1, Inputs: e.inputs, Evaluated: e.timestamp}
			if err := b.Check(); err != nil {
				t.Error(err)
			}
		}
		if b, err := parseBuilds(open(), nix.DefaultStoreDir); err == nil && len(b.drvs) > 0 {
			body := &statement.Eval{Name: "x", StoreDir: nix.DefaultStoreDir, Count: uint64(len(b.drvs)), Digest: statement.PathsDigest(b.drvs), Drvs: b.drvs}
			if err := body.Check(); err != nil {
				t.Error(err)
			}
		}
		if e, err := parseEvent(in); err == nil && e != nil {
			b, err := json.Marshal(e)
			if err != nil {
				t.Fatal(err)
			}
			var again Event
			if err := decodeWhole(b, &again); err != nil {
				t.Fatal(err)
			}
			if _, err := again.paths(); err != nil {
				t.Error(err)
			}
		}
	})
}
