package rebuild

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"time"

	"github.com/firn-log/firn/ingest/submit"
	"github.com/firn-log/firn/internal/durable"
	"github.com/firn-log/firn/internal/nix"
	"github.com/firn-log/firn/log/statement"
)

// Folders of the work folder (spec/rebuild.md#the-work-folder).
const (
	doneDir       = "done"
	logsDir       = "logs"
	drvsDir       = "drvs"
	statementsDir = "statements"
	reportsDir    = "reports"
	roomsDir      = "rooms"
	inputsDir     = "inputs"
)

const recordSchema = 1

// record is what is kept of a rebuild: done/<base name of the derivation>. It is
// written once, when all is known, and once more when its statements were handed over.
type record struct {
	Schema     int            `json:"schema"`
	Drv        string         `json:"drv"`
	How        statement.How  `json:"how"`
	Started    uint64         `json:"started"`
	Finished   uint64         `json:"finished"`
	Outputs    []recordOutput `json:"outputs,omitempty"`
	Failure    *Failure       `json:"failure,omitempty"`
	Diffs      []recordDiff   `json:"diffs,omitempty"`
	Statements []recordClaim  `json:"statements"`
	Handed     bool           `json:"handed"`

	id [16]byte // build id
}

type recordOutput struct {
	Name    string `json:"name"`
	Path    string `json:"path"`
	NarHash string `json:"nar_hash"`
	NarSize uint64 `json:"nar_size"`
	// Differs says that Nix found a difference and what was built is gone (--check).
	Differs bool `json:"differs,omitempty"`
}

// recordDiff is the difference between an output and one other content of its path.
type recordDiff struct {
	Output string     `json:"output"`
	With   string     `json:"with"` // NAR hash of the other
	Files  []FileDiff `json:"files"`
	Total  uint64     `json:"total"`
	Report string     `json:"report,omitempty"` // SHA-256 of the text of diffoscope
}

// recordClaim is the payload of a statement, the name under which it is handed over,
// and what goes with it: lists that it names by their digests, and files of the work
// folder that it names by their hashes.
type recordClaim struct {
	Name    string   `json:"name"`
	Payload []byte   `json:"payload"`
	Lists   [][]byte `json:"lists,omitempty"`
	Files   []string `json:"files,omitempty"`
}

// claim adds a statement. That about the build bears its id; others get their own.
func (rec *record) claim(id [16]byte, c recordClaim) {
	c.Name = submit.Name(time.Unix(int64(rec.Finished), 0), id)
	rec.Statements = append(rec.Statements, c)
}

func (r *Rebuilder) recordFile(drv nix.StorePath) string { return r.work(doneDir, drv.Base()+".json") }

// readRecord returns what is known of a rebuild of drv, nil if there was none.
func (r *Rebuilder) readRecord(drv nix.StorePath) (*record, error) {
	b, err := os.ReadFile(r.recordFile(drv))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	rec := new(record)
	if err := json.Unmarshal(b, rec); err != nil || rec.Schema != recordSchema || rec.Drv != drv.String() {
		return nil, fmt.Errorf("%s is not a record of a rebuild; move it away to rebuild %s again", r.recordFile(drv), drvName(drv))
	}
	return rec, nil
}

// doneBefore returns what is known of drv if that need not be done again: a check in
// the local store does not stand for a rebuild from clean.
func (r *Rebuilder) doneBefore(drv nix.StorePath) (*record, error) {
	rec, err := r.readRecord(drv)
	if err != nil || rec == nil || r.conf.Again || rec.How == statement.HowChecked && !r.conf.Check {
		return nil, err
	}
	return rec, nil
}

func (r *Rebuilder) writeRecord(drv nix.StorePath, rec *record) error {
	b, err := json.MarshalIndent(rec, "", "  ")
	if err != nil {
		return err
	}
	if rec.Failure != nil {
		if err := syncFile(r.logFile(drv)); err != nil {
			return err
		}
	}
	return durable.WriteFile(r.recordFile(drv), append(b, '\n'), 0o644)
}

// hand gives the statements of rec to whoever sends them. A crash before the record
// says so means that they are given again, under the same names. While nobody sends
// them they are kept, and given to whoever does in a later run.
func (r *Rebuilder) hand(drv nix.StorePath, rec *record) error {
	if rec.Handed {
		return nil
	}
	put := r.o.Put
	if put == nil {
		put = r.keep
	}
	for _, c := range rec.Statements {
		blobs, err := r.blobs(&c)
		if err != nil {
			return err
		}
		if err := put(c.Name, c.Payload, blobs...); err != nil {
			return fmt.Errorf("handing over the statements about %s: %w", drvName(drv), err)
		}
	}
	if r.o.Put == nil {
		return nil
	}
	rec.Handed = true
	if err := r.writeRecord(drv, rec); err != nil {
		return err
	}
	for _, c := range rec.Statements { // kept by an earlier run
		if err := os.Remove(r.work(statementsDir, c.Name)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return nil
}

// blobs returns what goes with a statement. Logs and reports may hold what is not for
// everybody, so they go only if Config.Blobs says so, and if they are not too large.
func (r *Rebuilder) blobs(c *recordClaim) ([][]byte, error) {
	blobs := c.Lists
	if !r.conf.Blobs {
		return blobs, nil
	}
	for _, name := range c.Files {
		b, err := os.ReadFile(r.work(name))
		if errors.Is(err, fs.ErrNotExist) || err == nil && (len(b) == 0 || len(b) > statement.MaxBlob) {
			continue
		}
		if err != nil {
			return nil, err
		}
		blobs = append(blobs, b)
	}
	return blobs, nil
}

// keep is where statements go that nobody sends.
func (r *Rebuilder) keep(name string, payload []byte, _ ...[]byte) error {
	err := durable.CreateFile(r.work(statementsDir, name), payload, 0o644)
	if errors.Is(err, fs.ErrExist) {
		return nil
	}
	return err
}

// recover removes what a rebuilder left that was killed.
func (r *Rebuilder) recover() error {
	rooms, err := os.ReadDir(r.work(roomsDir))
	if err != nil {
		return err
	}
	for _, room := range rooms {
		if err := removeRoom(r.work(roomsDir, room.Name())); err != nil {
			return fmt.Errorf("removing what an earlier run left: %w", err)
		}
	}
	for _, dir := range []string{doneDir, statementsDir, drvsDir, reportsDir} {
		if err := durable.SweepTemp(r.work(dir)); err != nil {
			return err
		}
	}
	return nil
}

func (rec *record) setOutputs(outs []statement.BuildOutput) {
	for _, o := range outs {
		rec.Outputs = append(rec.Outputs, recordOutput{Name: o.Name, Path: o.Path.String(), NarHash: o.NarHash.String(), NarSize: o.NarSize})
	}
}

// diffWith returns the difference of an output from the content with this NAR hash.
func (rec *record) diffWith(output string, hash nix.Hash) *recordDiff {
	i := slices.IndexFunc(rec.Diffs, func(d recordDiff) bool { return d.Output == output && d.With == hash.String() })
	if i < 0 {
		return nil
	}
	return &rec.Diffs[i]
}
