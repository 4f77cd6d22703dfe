package rebuild

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"syscall"
	"time"

	"github.com/firn-log/firn/internal/durable"
	"github.com/firn-log/firn/internal/nix"
)

// Bounds of diffoscope, which reads what strangers built (spec/rebuild.md#differences).
const (
	diffoscopeText = 40 << 20 // bytes
	diffoscopeTime = 10 * time.Minute
)

// diffoscope asks diffoscope, without a network, how two trees differ, and keeps its
// words. It returns nil if there is no diffoscope.
func (b *attempt) diffoscope(ctx context.Context, a, built string) (*nix.Hash, error) {
	if b.r.conf.Diffoscope == "" {
		return nil, nil
	}
	ctx, cancel := context.WithTimeout(ctx, diffoscopeTime)
	defer cancel()
	out := filepath.Join(b.room.root, "diffoscope.txt")
	cmd := exec.CommandContext(ctx, b.r.conf.Diffoscope, "--no-progress", "--max-text-report-size", strconv.Itoa(diffoscopeText), "--text", out, "--", a, built)
	cmd.Env = append(b.room.nix.environ(), "HOME="+filepath.Join(b.room.root, "home"), "TMPDIR="+filepath.Join(b.room.root, "tmp"))
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNET | syscall.CLONE_NEWPID, Pdeathsig: syscall.SIGKILL}
	if uid, gid := os.Getuid(), os.Getgid(); uid != 0 {
		cmd.SysProcAttr.Cloneflags |= syscall.CLONE_NEWUSER
		cmd.SysProcAttr.UidMappings = []syscall.SysProcIDMap{{ContainerID: uid, HostID: uid, Size: 1}}
		cmd.SysProcAttr.GidMappings = []syscall.SysProcIDMap{{ContainerID: gid, HostID: gid, Size: 1}}
	}
	cmd.WaitDelay = 10 * time.Second
	runtime.LockOSThread() // see room.build
	defer runtime.UnlockOSThread()
	var said tailWriter
	cmd.Stdout, cmd.Stderr = &said, &said
	err := cmd.Run()
	var exit *exec.ExitError
	switch {
	case ctx.Err() != nil:
		return nil, fmt.Errorf("it did not end within %v", diffoscopeTime)
	case errors.As(err, &exit) && exit.ExitCode() == 1: // they differ
	case err == nil:
		return nil, errors.New("it sees no difference")
	default:
		return nil, fmt.Errorf("%w: %s", err, firstLine(plain(said.String())))
	}
	return b.keepReport(out)
}

// keepReport moves a report to reports/, named by its hash.
func (b *attempt) keepReport(file string) (*nix.Hash, error) {
	fi, err := os.Stat(file)
	if err != nil {
		return nil, err
	}
	if fi.Size() > 2*diffoscopeText {
		return nil, fmt.Errorf("its report has %d bytes, more than it was allowed", fi.Size())
	}
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	text = text[:min(len(text), diffoscopeText)]
	hash := nix.Hash(sha256.Sum256(text))
	return &hash, durable.WriteFile(b.r.work(reportsDir, hash.Hex()+".txt"), text, 0o644)
}
