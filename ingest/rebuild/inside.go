package rebuild

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// insideEnv names the plan of a room to the process that is to enter it.
const insideEnv = "FIRN_REBUILD_ROOM"

// plan is what the first process of a room does (spec/rebuild.md#rooms).
type plan struct {
	Root   string   `json:"root"`   // of the private store
	Stores []string `json:"stores"` // folders that hold paths
	Paths  []bind   `json:"paths"`
	DB     string   `json:"db"` // what nix-store --load-db reads
	Load   []string `json:"load"`
	Serve  []string `json:"serve"`
	Memory uint64   `json:"memory"` // bytes of address space of each process; 0 is no limit
}

// bind shows a path of one of the stores in the room.
type bind struct {
	Store int    `json:"store"` // index of plan.Stores
	Base  string `json:"base"`  // of a folder
}

// Inside does the work of the first process of a room if that is what this process
// is, and then ends it. A program that rebuilds calls it before anything else: it
// starts itself again in namespaces of its own.
func Inside() {
	file := os.Getenv(insideEnv)
	if file == "" || os.Getpid() != 1 {
		return
	}
	ready := os.NewFile(3, "ready")
	if err := enter(file, ready); err != nil {
		fmt.Fprint(ready, err)
		os.Exit(1)
	}
	os.Exit(0)
}

// enter mounts what the plan says, has Nix learn of it, tells ready, and serves. What
// goes wrong before that is returned; Nix's own end is seen in its answer.
func enter(file string, ready *os.File) error {
	b, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	var p plan
	if err := json.Unmarshal(b, &p); err != nil {
		return err
	}
	if err := p.mount(); err != nil {
		return err
	}
	unix.CloseOnExec(int(ready.Fd()))
	db, err := os.Open(p.DB)
	if err != nil {
		return err
	}
	load := insideCommand(p.Load)
	load.Stdin = db
	if out, err := load.CombinedOutput(); err != nil {
		return fmt.Errorf("loading the database of the private store: %w: %s", err, lastLine(string(out)))
	}
	serve := insideCommand(p.Serve)
	serve.Stdin, serve.Stdout, serve.Stderr = os.Stdin, os.Stdout, os.Stderr
	if err := serve.Start(); err != nil {
		return err
	}
	if p.Memory > 0 {
		limit := unix.Rlimit{Cur: p.Memory, Max: p.Memory}
		if err := unix.Prlimit(serve.Process.Pid, unix.RLIMIT_AS, &limit, nil); err != nil {
			return fmt.Errorf("limiting memory: %w", err)
		}
	}
	// The other side reads until the end of file; Nix has the standard streams now.
	_, err = ready.WriteString("ok")
	err = errors.Join(err, ready.Close(), os.Stdin.Close(), os.Stdout.Close())
	_ = serve.Wait()
	return err
}

func insideCommand(args []string) *exec.Cmd {
	cmd := exec.Command(args[0], args[1:]...)
	for _, v := range os.Environ() {
		if !strings.HasPrefix(v, insideEnv+"=") {
			cmd.Env = append(cmd.Env, v)
		}
	}
	return cmd
}

// mount shows the paths, read-only, and a /proc of the room's own processes. The
// mounts are this namespace's and end with it.
func (p *plan) mount() error {
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return fmt.Errorf("making mounts private: %w", err)
	}
	if err := unix.Mount("proc", "/proc", "proc", unix.MS_NOSUID|unix.MS_NODEV|unix.MS_NOEXEC, ""); err != nil {
		return fmt.Errorf("mounting /proc: %w", err)
	}
	for i, store := range p.Stores {
		at := p.source(i)
		if err := os.MkdirAll(at, 0o700); err != nil {
			return err
		}
		if err := bindReadOnly(store, at); err != nil {
			return err
		}
	}
	for _, b := range p.Paths {
		from, to := filepath.Join(p.source(b.Store), b.Base), filepath.Join(p.Root, "nix/store", b.Base)
		if err := os.Mkdir(to, 0o755); err != nil {
			return err
		}
		// A copy of a read-only mount is read-only.
		if err := unix.Mount(from, to, "", unix.MS_BIND, ""); err != nil {
			return fmt.Errorf("showing %s in the private store: %w", b.Base, err)
		}
	}
	return nil
}

func (p *plan) source(i int) string { return filepath.Join(p.Root, "sources", fmt.Sprint(i)) }

// bindReadOnly shows from at the folder at, read-only. Flags that a mount has
// already must stay: without them the kernel refuses it to a user namespace.
func bindReadOnly(from, at string) error {
	if err := unix.Mount(from, at, "", unix.MS_BIND|unix.MS_REC, ""); err != nil {
		return fmt.Errorf("showing %s: %w", from, err)
	}
	var st unix.Statfs_t
	if err := unix.Statfs(at, &st); err != nil {
		return err
	}
	flags := uintptr(unix.MS_BIND | unix.MS_REMOUNT | unix.MS_RDONLY)
	for statfs, mount := range map[int64]uintptr{
		unix.ST_NOSUID: unix.MS_NOSUID, unix.ST_NODEV: unix.MS_NODEV, unix.ST_NOEXEC: unix.MS_NOEXEC,
		unix.ST_NOATIME: unix.MS_NOATIME, unix.ST_NODIRATIME: unix.MS_NODIRATIME, unix.ST_RELATIME: unix.MS_RELATIME,
	} {
		if int64(st.Flags)&statfs != 0 {
			flags |= mount
		}
	}
	if err := unix.Mount("", at, "", flags, ""); err != nil {
		return fmt.Errorf("making %s read-only: %w", from, err)
	}
	return nil
}

func lastLine(s string) string {
	s = strings.TrimSpace(s)
	return s[strings.LastIndexByte(s, '\n')+1:]
}
