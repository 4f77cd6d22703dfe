package triedb

import (
	"errors"
	"fmt"
	"hash/crc32"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/firn-log/firn/internal/durable"
	"github.com/firn-log/firn/log/index"
)

const (
	manifestName = "manifest"
	formatLine   = "firn-triedb 1"
)

// A manifest says which files are the index. It is replaced in one step, after
// the files that it names are durable:
//
//	firn-triedb 1
//	origin ORIGIN
//	map VERSION
//	run NUMBER FROM TO RECORDS SUM      a line per file, oldest first
//	sum SUM                             CRC-32C of the lines before, 8 hexadecimal digits
type manifest struct {
	origin string
	runs   []runLine
}

type runLine struct {
	seq, from, to, records uint64
	sum                    uint32
}

func (m manifest) marshal() []byte {
	var b strings.Builder
	fmt.Fprintf(&b, "%s\norigin %s\nmap %d\n", formatLine, m.origin, index.MapVersion)
	for _, r := range m.runs {
		fmt.Fprintf(&b, "run %d %d %d %d %08x\n", r.seq, r.from, r.to, r.records, r.sum)
	}
	fmt.Fprintf(&b, "sum %08x\n", crc32.Checksum([]byte(b.String()), castagnoli))
	return []byte(b.String())
}

// parseManifest reads a manifest; what it accepts marshals to the same bytes.
func parseManifest(b []byte) (manifest, error) {
	var m manifest
	lines := strings.Split(string(b), "\n")
	if len(lines) < 5 || lines[0] != formatLine {
		return m, errors.New("no manifest of this version, or cut off")
	}
	origin, ok := strings.CutPrefix(lines[1], "origin ")
	if !ok || origin == "" {
		return m, errors.New("a manifest without an origin")
	}
	m.origin = origin
	if want := "map " + strconv.Itoa(index.MapVersion); lines[2] != want {
		return m, fmt.Errorf("a manifest with %q, want %q", lines[2], want)
	}
	end := uint64(0)
	for _, line := range lines[3 : len(lines)-2] {
		var r runLine
		if _, err := fmt.Sscanf(line, "run %d %d %d %d %x", &r.seq, &r.from, &r.to, &r.records, &r.sum); err != nil {
			return m, fmt.Errorf("a manifest with the line %q", line)
		}
		if r.seq == 0 || r.from != end || r.to < r.from {
			return m, fmt.Errorf("a manifest whose files do not follow each other at %q", line)
		}
		end = r.to
		m.runs = append(m.runs, r)
	}
	if string(m.marshal()) != string(b) {
		return m, errors.New("a manifest whose checksum does not match")
	}
	return m, nil
}

// runFiles returns the names of all files of runs in dir, also of such as no
// manifest names.
func runFiles(dir string) ([]string, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	var names []string
	for _, e := range entries {
		if strings.HasSuffix(e.Name(), ".run") {
			names = append(names, e.Name())
		}
	}
	return names, nil
}

// readManifest reads the manifest of dir. A folder without one and without
// files is new.
func (db *DB) readManifest() (manifest, error) {
	path := filepath.Join(db.dir, manifestName)
	b, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		names, err := runFiles(db.dir)
		if err == nil && len(names) > 0 {
			err = damaged(path, fmt.Errorf("missing beside %s", names[0]))
		}
		return manifest{origin: db.origin}, err
	}
	if err != nil {
		return manifest{}, err
	}
	m, err := parseManifest(b)
	if err == nil && m.origin != db.origin {
		err = fmt.Errorf("the index of %q, not of %q", m.origin, db.origin)
	}
	if err != nil {
		return manifest{}, damaged(path, err)
	}
	return m, nil
}

// writeManifest makes these files the index.
func (db *DB) writeManifest(runs []*run) error {
	m := manifest{origin: db.origin}
	for _, r := range runs {
		m.runs = append(m.runs, runLine{r.seq, r.from, r.to, uint64(r.n), r.sum})
	}
	return durable.WriteFile(filepath.Join(db.dir, manifestName), m.marshal(), 0o644)
}
