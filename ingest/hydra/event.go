package hydra

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"syscall"

	"github.com/firn-log/firn/internal/bincache"
	"github.com/firn-log/firn/internal/durable"
	"github.com/firn-log/firn/internal/nix"
)

// maxEventLen bounds the file of an event, in bytes.
const maxEventLen = 4 << 20

// maxEventOutputs bounds the outputs of one build.
const maxEventOutputs = 1000

// Event is a build that has succeeded, as it waits in a spool to be imported
// (spec/import.md#events).
type Event struct {
	Schema  int      `json:"schema"` // 1
	Build   uint64   `json:"build"`
	Jobset  string   `json:"jobset,omitempty"` // PROJECT/JOBSET
	Drv     string   `json:"drv"`
	Outputs []string `json:"outputs"` // store paths, sorted
}

// ReadEvent reads the file that a Hydra names to a RunCommand program. It returns
// nil if that is not about a build that has succeeded.
func ReadEvent(path string) (*Event, error) {
	b, err := readPlain(path, maxEventLen)
	if err != nil {
		return nil, err
	}
	e, err := parseEvent(b)
	if err != nil {
		return nil, fmt.Errorf("%s %w", path, err)
	}
	return e, nil
}

// readPlain reads a file of at most max bytes. It does not wait for a pipe.
func readPlain(path string, max int64) ([]byte, error) {
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	if st, err := f.Stat(); err != nil || !st.Mode().IsRegular() {
		return nil, errors.Join(fmt.Errorf("%s is not a plain file", path), err)
	}
	b, err := io.ReadAll(io.LimitReader(f, max+1))
	if err == nil && int64(len(b)) > max {
		err = fmt.Errorf("%s is longer than %d bytes", path, max)
	}
	return b, err
}

func decodeWhole(b []byte, v any) error {
	d, err := newDecoder(newReader(b), int64(len(b))+1)
	if err == nil {
		err = d.value(v)
	}
	if err == nil {
		err = d.end()
	}
	return err
}

func parseEvent(b []byte) (*Event, error) {
	var w struct {
		Event   *string `json:"event"`
		Build   *uint64 `json:"build"`
		Project *string `json:"project"`
		Jobset  *string `json:"jobset"`
		Status  *int64  `json:"buildStatus"`
		Drv     *string `json:"drvPath"`
		Outputs []struct {
			Path *string `json:"path"`
		} `json:"outputs"`
	}
	if err := decodeWhole(b, &w); err != nil {
		return nil, err
	}
	switch {
	case w.Event == nil:
		return nil, errors.New("has no event, so it is not by a Hydra")
	case *w.Event != "buildFinished":
		return nil, nil
	case w.Status == nil:
		return nil, errors.New("has no buildStatus")
	case *w.Status != 0:
		return nil, nil
	case w.Build == nil || w.Drv == nil:
		return nil, errors.New("has no build or no drvPath")
	}
	e := &Event{Schema: 1, Build: *w.Build, Drv: *w.Drv}
	if w.Project != nil && w.Jobset != nil {
		if j, err := ParseJobsetName(*w.Project + "/" + *w.Jobset); err == nil {
			e.Jobset = j.String()
		}
	}
	for _, out := range w.Outputs {
		if out.Path == nil {
			return nil, errors.New("has an output without path")
		}
		e.Outputs = append(e.Outputs, *out.Path)
	}
	slices.Sort(e.Outputs)
	e.Outputs = slices.Compact(e.Outputs)
	_, err := e.paths()
	return e, err
}

// paths checks an event, and returns its outputs.
func (e *Event) paths() ([]nix.StorePath, error) {
	drv, err := nix.ParseStorePath(e.Drv)
	if err != nil || !drv.IsDerivation() {
		return nil, fmt.Errorf("names %q as the derivation, which it is not", bincache.Clip(e.Drv))
	}
	if len(e.Outputs) == 0 || len(e.Outputs) > maxEventOutputs {
		return nil, fmt.Errorf("has %d outputs instead of 1 to %d", len(e.Outputs), maxEventOutputs)
	}
	paths := make([]nix.StorePath, len(e.Outputs))
	for i, text := range e.Outputs {
		if paths[i], err = drv.Dir().Parse(text); err != nil || paths[i].IsDerivation() {
			return nil, fmt.Errorf("has the output %q, which is none in %s", bincache.Clip(text), drv.Dir())
		}
	}
	return paths, nil
}

// Put leaves an event in the spool dir, which must exist, durably. The same event
// twice is one.
func (e *Event) Put(dir string) error {
	b, err := json.Marshal(e)
	if err != nil {
		return err
	}
	b = append(b, '\n')
	id := sha256.Sum256(b)
	return durable.WriteFile(filepath.Join(dir, hex.EncodeToString(id[:16])+eventSuffix), b, 0o644)
}
