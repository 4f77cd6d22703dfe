package server

import (
	"archive/tar"
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"
	"time"

	"github.com/firn-log/firn/internal/durable"
	"github.com/firn-log/firn/log/evidence"
	"github.com/firn-log/firn/witness"
)

// Names in an export (spec/witness.md#moving), beside ConfigName.
const (
	exportKey   = "key"
	exportState = "state"
	exportLogs  = "logs"
	evidenceDir = "evidence"
	maxExport   = 1 << 30
)

// Move makes durable that the witness in dir never signs there again, and then
// writes everything that it needs elsewhere to the file to, which must not exist.
// It may be called again if the file is lost.
func Move(dir, to string) (err error) {
	c, err := ReadConfig(filepath.Join(dir, ConfigName))
	if err != nil {
		return err
	}
	if _, err := ReadKey(dir, c); err != nil {
		return err
	}
	if _, err := os.Lstat(to); !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("%s exists already", to)
	}
	store, err := witness.OpenStore(dir)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, store.Close()) }()
	if why := store.Doubt(); why != "" && !store.Moved() {
		return fmt.Errorf("this may not be the newest copy, and only that can be moved: %s", why)
	}
	if !store.Moved() {
		if err := store.Move(); err != nil {
			return err
		}
	}
	b, err := export(dir, c, store)
	if err != nil {
		return fmt.Errorf("exporting: %w", err)
	}
	return durable.CreateFile(to, b, 0o600)
}

// export returns a tar archive.
func export(dir string, c *Config, store *witness.Store) ([]byte, error) {
	moved := *c
	key, err := os.ReadFile(inDir(dir, c.Key))
	if err != nil {
		return nil, err
	}
	moved.Key = DefaultConfig().Key
	config, err := moved.marshal()
	if err != nil {
		return nil, err
	}
	state, err := store.Export()
	if err != nil {
		return nil, err
	}
	var b bytes.Buffer
	t := tar.NewWriter(&b)
	add := func(name string, content []byte) error {
		h := &tar.Header{Name: name, Mode: 0o600, Size: int64(len(content)), ModTime: time.Unix(0, 0), Format: tar.FormatUSTAR}
		if err := t.WriteHeader(h); err != nil {
			return err
		}
		_, err := t.Write(content)
		return err
	}
	err = errors.Join(add(ConfigName, config), add(exportKey, key), add(exportState, state))
	if err != nil {
		return nil, err
	}
	if logs, err := os.ReadFile(filepath.Join(dir, exportLogs)); err == nil {
		if err := add(exportLogs, logs); err != nil {
			return nil, err
		}
	}
	held, err := filepath.Glob(filepath.Join(dir, evidenceDir, "*"+evidence.Suffix))
	if err != nil {
		return nil, err
	}
	for _, name := range held {
		content, err := os.ReadFile(name)
		if err != nil {
			return nil, err
		}
		if err := add(evidenceDir+"/"+filepath.Base(name), content); err != nil {
			return nil, err
		}
	}
	return b.Bytes(), t.Close()
}

// Import makes the witness that was exported to from in dir, which must be
// missing or empty, and returns its verifier key. The export is renamed then:
// it is for one place.
func Import(dir, from string) (vkey string, err error) {
	if err := mustBeEmpty(dir); err != nil {
		return "", err
	}
	files, err := readExport(from)
	if err != nil {
		return "", fmt.Errorf("reading %s: %w", from, err)
	}
	c, err := parseConfig(from+": "+ConfigName, files[ConfigName])
	if err != nil {
		return "", err
	}
	key, err := witness.ParseKey(strings.TrimSuffix(string(files[exportKey]), "\n"))
	if err != nil {
		return "", fmt.Errorf("reading %s: its key: %w", from, err)
	}
	if err := durable.MkdirAll(filepath.Join(dir, evidenceDir), 0o755); err != nil {
		return "", err
	}
	for name, content := range files {
		switch {
		case name == exportKey:
			err = durable.CreateFile(filepath.Join(dir, c.Key), content, 0o600)
		case name == exportLogs || strings.HasPrefix(name, evidenceDir+"/"):
			err = durable.CreateFile(filepath.Join(dir, filepath.FromSlash(name)), content, 0o644)
		}
		if err != nil {
			return "", err
		}
	}
	// Whoever finds the export afterwards is not to go on with it too.
	if err := os.Rename(from, from+".used"); err != nil {
		return "", err
	}
	if err := durable.SyncDir(filepath.Dir(from)); err != nil {
		return "", err
	}
	if err := witness.ImportStore(dir, files[exportState]); err != nil {
		return "", err
	}
	return key.Verifier().String(), durable.CreateFile(filepath.Join(dir, ConfigName), files[ConfigName], 0o644)
}

// readExport reads an archive that export wrote and refuses any other name.
func readExport(from string) (map[string][]byte, error) {
	f, err := os.Open(from)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	files := make(map[string][]byte)
	t := tar.NewReader(io.LimitReader(f, maxExport))
	for {
		h, err := t.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, err
		}
		dir, base := path.Split(h.Name)
		known := h.Name == ConfigName || h.Name == exportKey || h.Name == exportState || h.Name == exportLogs ||
			dir == evidenceDir+"/" && base != "" && !strings.HasPrefix(base, ".") && strings.HasSuffix(base, evidence.Suffix)
		if !known || h.Typeflag != tar.TypeReg || files[h.Name] != nil {
			return nil, fmt.Errorf("%q does not belong into the export of a witness", h.Name)
		}
		if files[h.Name], err = io.ReadAll(t); err != nil {
			return nil, err
		}
	}
	for _, name := range []string{ConfigName, exportKey, exportState} {
		if files[name] == nil {
			return nil, fmt.Errorf("it has no %s", name)
		}
	}
	return files, nil
}
