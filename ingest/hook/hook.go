// Package hook is Nix's post-build hook: it writes down that a build happened
// and returns.
//
// Nix waits for the hook and stops building if it fails, so [Run] does no more
// than put one small file into a spool folder and hold the derivation and its
// outputs as garbage collector roots until `firn submit` has looked at them. It
// reads DRV_PATH only: OUT_PATHS is empty or incomplete in many versions of Nix,
// so the outputs to claim are found later through the derivation and the
// database. Of Nix's configuration it takes a handful of named settings and
// nothing else, because NIX_CONFIG contains access tokens.
//
// It implements spec/spool.md. Everything here is linked into firn-hook, which
// is kept small: no network, no JSON, no database.
package hook

import (
	"crypto/rand"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/firn-log/firn/internal/nix"
)

// DefaultStateDir is Nix's state folder if NIX_STATE_DIR is not set.
const DefaultStateDir = "/nix/var/nix"

// maxDerivation bounds the derivations that the hook reads to find outputs to
// hold, in bytes. A larger one is spooled all the same.
const maxDerivation = 16 << 20

// Env is what the hook sees of the world.
type Env struct {
	Getenv func(string) string
	Unix   int64     // now, seconds since 1970
	Rand   io.Reader // source of build ids
	Parent string    // program of the parent process, "" if not known
}

// OSEnv returns the Env of this process.
func OSEnv(unix int64) Env {
	parent, _ := os.Readlink("/proc/" + strconv.Itoa(os.Getppid()) + "/exe")
	return Env{Getenv: os.Getenv, Unix: unix, Rand: rand.Reader, Parent: parent}
}

// SpoolDir returns the spool folder that the environment asks for.
func SpoolDir(getenv func(string) string) Spool {
	if dir := getenv("FIRN_SPOOL"); dir != "" {
		return Spool(dir)
	}
	return DefaultSpool
}

// StateDir returns Nix's state folder according to the environment.
func StateDir(getenv func(string) string) string {
	if dir := getenv("NIX_STATE_DIR"); dir != "" {
		return dir
	}
	return DefaultStateDir
}

// Run spools the build that the environment describes. An error says that
// nothing, or not everything, was kept; it is for a person's eyes, and the hook
// must exit 0 all the same. What can be noted in the spool has been noted.
func Run(env Env) error {
	spool := SpoolDir(env.Getenv)
	err := run(env, spool)
	if err != nil {
		spool.addProblem(env.Unix, err.Error())
	}
	return err
}

func run(env Env, spool Spool) error {
	drv := env.Getenv("DRV_PATH")
	if drv == "" {
		return errors.New("DRV_PATH is not set: this program is Nix's post-build-hook")
	}
	path, err := nix.ParseStorePath(drv)
	if err != nil || !path.IsDerivation() {
		return errors.New("DRV_PATH is not the path of a derivation: " + drv)
	}
	set := readSettings(env.Getenv("NIX_CONFIG"))
	r := &Record{
		Drv: drv, Time: env.Unix, Nix: env.Parent,
		System: set.system, Sandbox: set.sandbox, SandboxFallback: set.sandboxFallback,
	}
	if _, err := io.ReadFull(env.Rand, r.BuildID[:]); err != nil {
		return errors.New("no random numbers for the build id: " + err.Error())
	}
	outputs, err := outputsOf(path)
	if err != nil {
		r.Note = "outputs not held: " + err.Error()
	}
	if len(outputs) == 0 {
		outputs = hints(env.Getenv("OUT_PATHS"), path.Dir())
	}
	if err := spool.addRoots(StateDir(env.Getenv), r.Name(), append([]nix.StorePath{path}, outputs...)); err != nil && r.Note == "" {
		r.Note = "paths not held: " + err.Error()
	}
	if err := spool.Add(r); err != nil {
		spool.DropRoots(r.Name())
		return errors.New("cannot spool " + path.Base() + ": " + err.Error())
	}
	return nil
}

// outputsOf returns the output paths that the derivation itself names: none for
// a floating content-addressed one.
func outputsOf(drv nix.StorePath) ([]nix.StorePath, error) {
	f, err := os.Open(filepath.Clean(drv.String()))
	if err != nil {
		return nil, err
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, maxDerivation+1))
	if err != nil {
		return nil, err
	}
	if len(b) > maxDerivation {
		return nil, errors.New("the derivation is larger than 16 MiB")
	}
	d, err := nix.ParseDerivation(drv.Dir(), strings.TrimSuffix(drv.Name(), ".drv"), b)
	if err != nil {
		return nil, err
	}
	var outs []nix.StorePath
	for _, o := range d.Outputs {
		if p, err := drv.Dir().Parse(o.Path); err == nil {
			outs = append(outs, p)
		}
	}
	return outs, nil
}

// hints returns the store paths in OUT_PATHS. They are only ever held, never
// claimed: for a floating content-addressed derivation there is no other source
// without the database.
func hints(outPaths string, dir nix.StoreDir) []nix.StorePath {
	var outs []nix.StorePath
	for _, f := range strings.Fields(outPaths) {
		if p, err := dir.Parse(f); err == nil && len(outs) < 64 {
			outs = append(outs, p)
		}
	}
	return outs
}
