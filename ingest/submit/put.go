package submit

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/firn-log/firn/ingest/hook"
	"github.com/firn-log/firn/internal/durable"
	"github.com/firn-log/firn/internal/nix"
	"github.com/firn-log/firn/log/statement"
)

// Name returns the name of a claim in a spool: the time of what it is about and an
// id that is the same whenever this claim is made again, for instance its build id.
func Name(at time.Time, id [16]byte) string {
	return (&hook.Record{Time: at.Unix(), BuildID: id}).Name()
}

// Put hands a claim to whatever `firn submit` works on the spool: it lies durably
// in unsigned/ when Put returns nil, and is signed and sent from there. It is not
// held back: the caller has decided that it may leave this machine. payload is
// that of [statement.EncodePayload], and blobs are those that the claim names and
// that are to be sent with it (spec/spool.md#blobs).
//
// Putting the same claim under the same name again changes nothing, whatever
// became of it since; so a caller that may have died in Put simply does it again.
// Another claim under a name that is taken is an error matching fs.ErrExist. It
// needs no lock and may be called concurrently, by several processes too.
func Put(dir, name string, payload []byte, blobs ...[]byte) error {
	return spool{dir: dir}.put(name, payload, blobs)
}

func (s spool) put(name string, payload []byte, blobs [][]byte) error {
	body, err := parseClaim(payload)
	switch {
	case !hook.ValidName(name):
		err = errors.New("its name is not seconds since 1970, a hyphen and 32 hexadecimal digits")
	case err == nil && len(payload) > body.Kind().MaxLeaf()-statement.MaxEnvelope:
		err = &Reason{CodeTooLarge, fmt.Sprintf("the statement has %d bytes", len(payload))}
	}
	if err == nil {
		err = onlyNamed(body, blobs)
	}
	if err != nil {
		return fmt.Errorf("putting %q into the spool: %w", name, err)
	}
	if err := s.prepare(); err != nil {
		return err
	}
	if there, err := s.holds(name, payload); there || err != nil {
		return err
	}
	for _, blob := range blobs {
		if err := s.writeBlob(blob); err != nil {
			return err
		}
	}
	return s.create(name, payload)
}

// maxTries bounds how often a file is made again that submitters who start took away: each does so once.
const maxTries = 100

// create makes unsigned/<name>. A submitter that starts at this moment removes the
// unfinished file, which it takes for one that a crash left; then it is made again.
func (s spool) create(name string, payload []byte) error {
	for try := 0; ; try++ {
		s.changing()
		err := durable.CreateFile(s.path(unsignedDir, name), payload, spoolFileMode)
		switch {
		case err == nil:
			return nil
		case errors.Is(err, fs.ErrExist):
			if _, err := s.holds(name, payload); err != nil {
				return err
			}
			return durable.SyncDir(filepath.Join(s.dir, unsignedDir))
		case !errors.Is(err, fs.ErrNotExist) || try == maxTries:
			return fmt.Errorf("putting %q into the spool: %w", name, err)
		}
	}
}

// holds reports whether the spool holds the claim under this name, in any state.
// It looks at earlier states first, so that one that moves on is not missed.
func (s spool) holds(name string, payload []byte) (bool, error) {
	for _, dir := range []string{hook.PendingDir, heldDir, unsignedDir, failedDir, sentDir} {
		b, err := s.read(dir, name)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err == nil && dir == sentDir {
			var st *statement.Statement
			if st, err = statement.Parse(b); err == nil {
				b = st.Payload
			}
		}
		if err != nil {
			return false, fmt.Errorf("looking for %s in the spool: %w", name, err)
		}
		if !bytes.Equal(b, payload) {
			return false, fmt.Errorf("%s holds another statement: %w", s.path(dir, name), fs.ErrExist)
		}
		return true, nil
	}
	return false, nil
}

// parseClaim reads the payload of a claim that a build key signs.
func parseClaim(payload []byte) (statement.Body, error) {
	body, err := statement.ParsePayload(payload)
	if err != nil {
		return nil, err
	}
	if k := body.Kind(); k.Class() != statement.Claim || k == statement.KindCacheSig {
		return nil, fmt.Errorf("a statement of the kind %s, which no build key signs", k)
	}
	return body, nil
}

// blobDir holds blobs that statements name, each under its SHA-256 in hexadecimal.
const blobDir = "blobs"

func hashOf(b []byte) nix.Hash { return sha256.Sum256(b) }

// onlyNamed refuses blobs that body does not name: a log would, too.
func onlyNamed(body statement.Body, blobs [][]byte) error {
	named := statement.Blobs(body)
	for i, blob := range blobs {
		h := hashOf(blob)
		if !slices.ContainsFunc(named, func(r statement.BlobRef) bool { return r.Hash == h }) {
			return fmt.Errorf("blob %d of %d, %s, is not one that the statement names", i+1, len(blobs), h.Hex())
		}
		if len(blob) == 0 || len(blob) > statement.MaxBlob {
			return fmt.Errorf("blob %d of %d has %d bytes; 1 to %d are accepted", i+1, len(blobs), len(blob), statement.MaxBlob)
		}
	}
	return nil
}

// writeBlob keeps a blob. One that is there is written again, which makes it young:
// see sweepBlobs.
func (s spool) writeBlob(blob []byte) error {
	for try := 0; ; try++ {
		err := s.write(blobDir, hashOf(blob).Hex(), blob)
		if err == nil || !errors.Is(err, fs.ErrNotExist) || try == maxTries {
			return err
		}
	}
}

// blobsOf returns the blobs that body names and the spool has, in the order of its
// fields. One that does not have its hash is as if it were not there.
func (s spool) blobsOf(body statement.Body) ([][]byte, error) {
	var blobs [][]byte
	for _, ref := range statement.Blobs(body) {
		b, err := s.readMost(blobDir, ref.Hash.Hex(), statement.MaxBlob)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, err
		}
		if hashOf(b) == ref.Hash {
			blobs = append(blobs, b)
		}
	}
	return blobs, nil
}

// hasBlobs reports whether blobsOf will look for more than nothing.
func (s spool) hasBlobs(body statement.Body) bool {
	return slices.ContainsFunc(statement.Blobs(body), func(r statement.BlobRef) bool { return s.exists(blobDir, r.Hash.Hex()) })
}

// sweepBlobs removes blobs that no statement in the spool names and that are older
// than orphanAge: a blob is written before the statement that names it.
func (s spool) sweepBlobs(now time.Time) error {
	entries, err := os.ReadDir(filepath.Join(s.dir, blobDir))
	if err != nil || len(entries) == 0 {
		return err
	}
	named := make(map[string]bool)
	for _, dir := range []string{heldDir, unsignedDir} {
		names, err := s.list(dir)
		if err != nil {
			return err
		}
		for _, name := range names {
			body, _, err := s.readPayload(dir, name)
			if err != nil {
				continue // sent meanwhile, or set aside by whoever reads it to send it
			}
			for _, ref := range statement.Blobs(body) {
				named[ref.Hash.Hex()] = true
			}
		}
	}
	for _, e := range entries {
		fi, err := e.Info()
		if named[e.Name()] || err != nil || now.Sub(fi.ModTime()) < orphanAge {
			continue
		}
		if err := s.remove(blobDir, e.Name()); err != nil {
			return err
		}
	}
	return nil
}
