package main

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"os"
	"path/filepath"

	"github.com/firn-log/firn/internal/nix"
)

// writeCaches makes the binary caches of the fixture, which are folders.
func (f *verifyFixture) writeCaches(work string) error {
	for _, name := range []string{"cache", "poisoned"} {
		dir := filepath.Join(work, name)
		if err := os.MkdirAll(filepath.Join(dir, "nar"), 0o755); err != nil {
			return err
		}
		if err := os.WriteFile(filepath.Join(dir, "nix-cache-info"), []byte("StoreDir: /nix/store\n"), 0o644); err != nil {
			return err
		}
		for _, info := range f.infos {
			tree := filepath.Join(f.root, info.Path.String())
			if name == "poisoned" && info == f.infos[3] {
				tree = filepath.Join(work, "other")
				if err := errors.Join(
					os.MkdirAll(filepath.Join(tree, "bin"), 0o755),
					os.WriteFile(filepath.Join(tree, "bin", "it"), []byte("evil\n"), 0o755),
					os.WriteFile(filepath.Join(tree, "more"), nil, 0o644),
				); err != nil {
					return err
				}
			}
			if err := writeCached(dir, info, tree); err != nil {
				return err
			}
		}
	}
	return nil
}

// writeCached writes the narinfo and NAR of a path whose content is tree.
func writeCached(dir string, info *nix.PathInfo, tree string) error {
	var nar bytes.Buffer
	if err := nix.DumpPath(&nar, tree); err != nil {
		return err
	}
	out := nix.NarInfo{PathInfo: *info, URL: "nar/" + info.Path.Name() + ".nar", Compression: "none"}
	out.NarHash, out.NarSize, out.FileSize = sha256.Sum256(nar.Bytes()), uint64(nar.Len()), uint64(nar.Len())
	return errors.Join(
		os.WriteFile(filepath.Join(dir, out.URL), nar.Bytes(), 0o644),
		os.WriteFile(filepath.Join(dir, info.Path.HashPart()+".narinfo"), out.Marshal(), 0o644),
	)
}
