package submit

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/firn-log/firn/ingest/hook"
	"github.com/firn-log/firn/internal/nix"
	"github.com/firn-log/firn/log/statement"
)

// builder says which Nix executed a build: as configured; or as the path of the
// program that called the hook says; or as the installed nix-store says now.
func (s *Submitter) builder(rec *hook.Record) statement.Builder {
	impl, version, err := parseBuilder(s.conf.Builder)
	if err != nil {
		impl, version, err = programName(rec.Nix)
	}
	if err != nil {
		impl, version = installedNix()
	}
	return statement.Builder{Implementation: impl, Version: version}
}

// parseBuilder reads "nix 2.8.0".
func parseBuilder(text string) (impl, version string, err error) {
	impl, version, ok := strings.Cut(text, " ")
	if !ok || !isToken(impl) || !isToken(version) {
		return "", "", fmt.Errorf("%q is not an implementation, a space and a version", text)
	}
	return impl, version, nil
}

func isToken(s string) bool {
	return s != "" && len(s) <= 64 && strings.Trim(s, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._+-") == ""
}

// programName reads the name and version out of a path in a store,
// "/nix/store/<hash>-nix-2.24.9/bin/nix".
func programName(program string) (impl, version string, err error) {
	dir, rest := program, ""
	for dir != "/" && dir != "." {
		if p, err := nix.ParseStorePath(dir); err == nil && rest != "" {
			name := p.Name()
			for i := range len(name) - 1 {
				if name[i] == '-' && name[i+1] >= '0' && name[i+1] <= '9' {
					return parseBuilder(name[:i] + " " + name[i+1:])
				}
			}
			break
		}
		dir, rest = filepath.Dir(dir), dir
	}
	return "", "", fmt.Errorf("%q does not say its version", program)
}

// installedNix asks the installed Nix, once.
var installedNix = sync.OnceValues(func() (impl, version string) {
	program, err := exec.LookPath("nix-store")
	if err != nil {
		return parseVersion("")
	}
	return NixVersion(program)
})

// NixVersion returns which Nix a nix-store is: as its path says, if that leads into
// a store, or as it says itself; the version is "unknown" if neither does.
func NixVersion(program string) (impl, version string) {
	path, err := filepath.EvalSymlinks(program)
	if err != nil {
		path = program
	}
	if impl, version, err := programName(path); err == nil {
		return impl, version
	}
	return parseVersion(askVersion(program))
}

// askVersion returns what `nix-store --version` writes, "" if it fails. Nix opens
// its store first, which it lets no user do but the one who made it: so it gets
// an empty one, and neither configuration nor daemon.
func askVersion(program string) string {
	dir, err := os.MkdirTemp("", "firn-nix-*")
	if err != nil {
		return ""
	}
	defer os.RemoveAll(dir)
	if dir, err = filepath.EvalSymlinks(dir); err != nil { // Nix refuses a store behind a link
		return ""
	}
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	cmd := exec.CommandContext(ctx, program, "--version")
	cmd.Env = []string{
		"PATH=" + os.Getenv("PATH"), "HOME=" + dir, "NIX_REMOTE=local", "NIX_CONF_DIR=" + dir,
		"NIX_STATE_DIR=" + filepath.Join(dir, "state"), "NIX_LOG_DIR=" + filepath.Join(dir, "log"), "NIX_STORE_DIR=" + filepath.Join(dir, "store"),
	}
	out, err := cmd.Output()
	if err != nil {
		return ""
	}
	return string(out)
}

// parseVersion reads "nix-store (Nix) 2.8.0", "nix-store (Lix, like Nix) 2.91.1"
// or "nix-store (Determinate Nix 3.8.5) 2.30.2".
func parseVersion(text string) (impl, version string) {
	impl, version = "nix", "unknown"
	line, _, _ := strings.Cut(text, "\n")
	switch {
	case strings.Contains(line, "(Lix"):
		impl = "lix"
	case strings.Contains(line, "(Determinate"):
		impl = "determinate"
	}
	if fields := strings.Fields(line); len(fields) > 1 && isToken(fields[len(fields)-1]) {
		version = fields[len(fields)-1]
	}
	return impl, version
}
