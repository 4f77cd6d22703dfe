package rebuild

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/firn-log/firn/internal/nix"
)

// room is the private store of one build: what the derivation names as its input,
// read-only, and what is built (spec/rebuild.md#rooms). Nothing but the namespaces of
// its first process ever sees its mounts, so it can be removed like any folder.
type room struct {
	root string
	nix  *program
}

// newRoom makes the folders of a room at root.
func newRoom(root string, n *program) (*room, error) {
	for _, d := range []string{"nix/store", "nix/var/nix", "tmp", "home"} {
		if err := os.MkdirAll(filepath.Join(root, d), 0o755); err != nil {
			return nil, err
		}
	}
	return &room{root: root, nix: n}, nil
}

// remove removes a room. Nix makes what it builds read-only.
func removeRoom(root string) error {
	_ = filepath.WalkDir(root, func(path string, d os.DirEntry, err error) error {
		if err == nil && d.IsDir() {
			return os.Chmod(path, 0o700)
		}
		return nil // RemoveAll says what is wrong
	})
	return os.RemoveAll(root)
}

// orders are what a room is to build and how.
type orders struct {
	drv    *nix.Derivation
	inputs []held // everything that the build can see, closed under references
	direct []nix.StorePath
	limits serveLimits
	cores  int
	memory uint64
	log    io.Writer // what the builder says
}

// held is a store path that is at hand.
type held struct {
	info  *nix.PathInfo
	store string // folder that holds it
}

// dump is what nix-store --load-db reads.
func dump(inputs []held) []byte {
	var b bytes.Buffer
	for _, h := range inputs {
		fmt.Fprintf(&b, "%s\n%s\n%d\n%s\n%d\n", h.info.Path, h.info.NarHash.Hex(), h.info.NarSize, h.info.Deriver, len(h.info.References))
		for _, r := range h.info.References {
			fmt.Fprintln(&b, r)
		}
	}
	return b.Bytes()
}

func (r *room) prepare(o *orders) error {
	p := plan{Root: r.root, DB: filepath.Join(r.root, "inputs.db"), Memory: o.memory}
	for _, h := range o.inputs {
		i := slices.Index(p.Stores, h.store)
		if i < 0 {
			i, p.Stores = len(p.Stores), append(p.Stores, h.store)
		}
		fi, err := os.Lstat(filepath.Join(h.store, h.info.Path.Base()))
		if err != nil {
			return fmt.Errorf("input %s: %w", h.info.Path, err)
		}
		if !fi.IsDir() {
			if err := copyInput(filepath.Join(h.store, h.info.Path.Base()), filepath.Join(r.root, "nix/store", h.info.Path.Base()), fi.Mode()); err != nil {
				return fmt.Errorf("input %s: %w", h.info.Path, err)
			}
			continue
		}
		p.Paths = append(p.Paths, bind{Store: i, Base: h.info.Path.Base()})
	}
	p.Load = r.nix.command(r.root, nil, "--load-db")
	p.Serve = r.nix.command(r.root, roomSettings(o.cores), "--serve", "--write")
	b, err := json.Marshal(&p)
	if err != nil {
		return err
	}
	if err := os.WriteFile(p.DB, dump(o.inputs), 0o600); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(r.root, "plan"), b, 0o600)
}

// copyInput copies an input that is one file or link: Nix up to 2.23 makes hard links
// of those, which no mount allows, and a link cannot be mounted at all.
func copyInput(from, to string, mode os.FileMode) error {
	if mode&os.ModeSymlink != 0 {
		target, err := os.Readlink(from)
		if err == nil {
			err = os.Symlink(target, to)
		}
		return err
	}
	src, err := os.Open(from)
	if err != nil {
		return err
	}
	defer src.Close()
	dst, err := os.OpenFile(to, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	_, err = io.Copy(dst, src)
	err = errors.Join(err, dst.Chmod(mode.Perm()), dst.Close())
	epoch := time.Unix(1, 0) // as every file in a store
	return errors.Join(err, os.Chtimes(to, epoch, epoch))
}

// roomSettings are the settings of Nix that must be what they are for the claim:
// nothing is substituted, nothing is built elsewhere, nothing calls a hook. The
// others are the machine's.
func roomSettings(cores int) map[string]string {
	return map[string]string{
		"substituters": "", "substitute": "false", "builders": "", "post-build-hook": "", "pre-build-hook": "", "diff-hook": "",
		"sandbox": "true", "sandbox-fallback": "false", "max-jobs": "1", "cores": strconv.Itoa(cores),
		"auto-optimise-store": "false", "keep-failed": "false", "min-free": "0", "require-sigs": "true",
	}
}

// build executes a derivation in the room. An error says that Nix could not be asked;
// that the build failed is in the result.
func (r *room) build(ctx context.Context, o *orders) (serveResult, error) {
	if err := r.prepare(o); err != nil {
		return serveResult{}, err
	}
	// The kernel kills the room when the thread that made it ends.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	if o.limits.timeout > 0 { // Nix ends it; this is for a Nix that does not
		var stop context.CancelFunc
		ctx, stop = context.WithTimeout(ctx, time.Duration(o.limits.timeout)*time.Second+time.Minute)
		defer stop()
	}
	cmd := r.first(ctx)
	cmd.Stderr = o.log
	ready, inside, err := os.Pipe()
	if err != nil {
		return serveResult{}, err
	}
	defer ready.Close()
	cmd.ExtraFiles = []*os.File{inside}
	to, err := cmd.StdinPipe()
	if err != nil {
		return serveResult{}, errors.Join(err, inside.Close())
	}
	from, err := cmd.StdoutPipe()
	if err != nil {
		return serveResult{}, errors.Join(err, inside.Close())
	}
	err = cmd.Start()
	inside.Close()
	if err != nil {
		return serveResult{}, namespaceError(err)
	}
	said, err := io.ReadAll(io.LimitReader(ready, 4096))
	var res serveResult
	if err == nil && string(said) != "ok" {
		err = fmt.Errorf("preparing the private store: %s", said)
	}
	if err == nil {
		res, err = serveBuild(to, from, o.drv, o.direct, o.limits)
	}
	if err != nil {
		cancel() // whatever it does, nobody listens any more
	}
	to.Close()
	if werr := cmd.Wait(); err != nil && ctx.Err() == nil && werr != nil {
		err = fmt.Errorf("%w (%v)", err, werr)
	}
	return res, err
}

// first is the first process of the room, in namespaces of its own: of mounts, so
// that the inputs are seen only there, and of processes, so that they end together.
func (r *room) first(ctx context.Context) *exec.Cmd {
	cmd := exec.CommandContext(ctx, "/proc/self/exe")
	cmd.Args = os.Args[:1]
	cmd.Env = append(r.nix.environ(),
		insideEnv+"="+filepath.Join(r.root, "plan"), "HOME="+filepath.Join(r.root, "home"), "TMPDIR="+filepath.Join(r.root, "tmp"))
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags: syscall.CLONE_NEWNS | syscall.CLONE_NEWPID,
		Pdeathsig:  syscall.SIGKILL,
	}
	if uid, gid := os.Getuid(), os.Getgid(); uid != 0 {
		cmd.SysProcAttr.Cloneflags |= syscall.CLONE_NEWUSER
		cmd.SysProcAttr.UidMappings = []syscall.SysProcIDMap{{ContainerID: uid, HostID: uid, Size: 1}}
		cmd.SysProcAttr.GidMappings = []syscall.SysProcIDMap{{ContainerID: gid, HostID: gid, Size: 1}}
		cmd.SysProcAttr.AmbientCaps = []uintptr{capSysAdmin}
	}
	cmd.WaitDelay = 10 * time.Second
	return cmd
}

const capSysAdmin = 21

// namespaceError explains why a room cannot be made here at all.
func namespaceError(err error) error {
	if errors.Is(err, syscall.EPERM) || errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EINVAL) {
		return fmt.Errorf("this user may not make namespaces, without which nothing can be rebuilt from clean (run it as root, or with --check): %w", err)
	}
	return err
}

// program is the installed Nix.
type program struct {
	path string // of nix-store
	env  []string
}

// handedOn are the variables that Nix gets in a room, in capitals. A fixed-output
// derivation may ask for any variable of Nix (impureEnvVars), and has a network: what is
// not here, such as tokens of whoever runs this, it cannot have.
var handedOn = []string{
	"PATH", "LD_LIBRARY_PATH", "LANG", "LOCALE_ARCHIVE", "TZ", "TZDIR", "NIX_CONF_DIR", "NIX_CONFIG", "NIX_SSL_CERT_FILE", "SSL_CERT_FILE",
	"HTTP_PROXY", "HTTPS_PROXY", "FTP_PROXY", "ALL_PROXY", "NO_PROXY",
}

// environ returns the environment for Nix: what leads it to no other store, and sets it
// up in no other way than the machine's configuration.
func (n *program) environ() []string {
	env := []string{"USER=firn"} // Nix wants to know, of users without a name too
	for _, v := range n.env {
		name, _, _ := strings.Cut(v, "=")
		if slices.Contains(handedOn, strings.ToUpper(name)) || strings.HasPrefix(name, "LC_") {
			env = append(env, v)
		}
	}
	return env
}

// command returns a command line of nix-store for the private store at root, or the
// machine's own if that is empty.
func (n *program) command(root string, settings map[string]string, args ...string) []string {
	cmd := append([]string{n.path}, args...)
	if root != "" {
		cmd = append(cmd, "--store", "local?root="+root)
	}
	for _, name := range slices.Sorted(maps.Keys(settings)) {
		cmd = append(cmd, "--option", name, settings[name])
	}
	return cmd
}
