package main

import (
	"fmt"
	"os"
	"os/user"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// nixConf is settings of Nix, each as its words; what is not in it has Nix's default.
type nixConf map[string][]string

// nixHere is the Nix of this machine as whoever runs this meets it.
type nixHere struct {
	conf  nixConf
	files []string // that were read, in the order of Nix: a later one wins
	only  string   // --conf; "" for Nix's own files
	etc   string   // the nix.conf of the machine
	user  string   // the nix.conf of the user
	// daemon says that a daemon owns the store, ignored that it takes no settings of this user.
	daemon, ignored bool
}

// lookAtNix reads Nix's own files, or one. Those of a user count if Nix heeds them: a daemon does so for
// trusted users.
func (a *app) lookAtNix(only string) (*nixHere, error) {
	n := &nixHere{conf: nixConf{}, only: only, files: []string{}}
	if only != "" {
		n.files = append(n.files, only)
		return n, n.conf.readFile(only, 0)
	}
	etc := a.Getenv("NIX_CONF_DIR")
	if etc == "" {
		etc = "/etc/nix"
	}
	config := a.Getenv("XDG_CONFIG_HOME")
	if config == "" {
		config = filepath.Join(a.Getenv("HOME"), ".config")
	}
	n.etc, n.user = filepath.Join(etc, "nix.conf"), filepath.Join(config, "nix/nix.conf")
	if err := n.read(n.etc); err != nil {
		return nil, err
	}
	n.daemon = a.usesDaemon()
	if n.ignored = n.daemon && !n.conf.trusts(); n.ignored {
		return n, nil
	}
	if err := n.read(n.user); err != nil {
		return nil, err
	}
	if text := a.Getenv("NIX_CONFIG"); text != "" {
		n.files = append(n.files, "$NIX_CONFIG")
		return n, n.conf.read(text, "", 0)
	}
	return n, nil
}

// read takes in a file, if it exists.
func (n *nixHere) read(file string) error {
	err := n.conf.readFile(file, 0)
	if os.IsNotExist(err) {
		return nil
	}
	n.files = append(n.files, file)
	return err
}

// usesDaemon reports whether Nix leaves the store to a daemon, as Nix finds out itself.
func (a *app) usesDaemon() bool {
	state := a.Getenv("NIX_STATE_DIR")
	if state == "" {
		state = "/nix/var/nix"
	}
	socket := a.Getenv("NIX_DAEMON_SOCKET_PATH")
	if socket == "" {
		socket = filepath.Join(state, "daemon-socket/socket")
	}
	switch a.Getenv("NIX_REMOTE") {
	case "daemon":
		return true
	case "", "auto":
		_, err := os.Stat(socket)
		return err == nil && unix.Access(state, unix.R_OK|unix.W_OK) != nil
	}
	return false
}

// trusts reports whether whoever runs this is one of Nix's trusted users.
func (c nixConf) trusts() bool {
	me, err := user.Current()
	if err != nil {
		return false
	}
	for _, name := range strings.Fields(c.of("trusted-users")) {
		group, isGroup := strings.CutPrefix(name, "@")
		switch {
		case name == "*" || name == me.Username:
			return true
		case isGroup:
			ids, _ := me.GroupIds()
			if g, err := user.LookupGroup(group); err == nil && slices.Contains(ids, g.Gid) {
				return true
			}
		}
	}
	return false
}

// todo says where the lines go.
func (n *nixHere) todo(key string) string {
	const restart = "; then start nix-daemon again, if it runs: systemctl restart nix-daemon"
	_, err := os.Stat("/etc/NIXOS")
	switch {
	case n.only != "":
		return "To do: put them at the end of " + n.only + "."
	case err == nil:
		return fmt.Sprintf("To do: services.firn.substituter.publicKey = %q; and nixos-rebuild switch.", key)
	case n.ignored:
		return "To do: ask whoever is root here to put them at the end of " + n.etc + restart + ".\nYou are no trusted user of Nix, so its daemon ignores what " + n.user + " says of these."
	case n.daemon || os.Geteuid() == 0:
		return "To do: put them at the end of " + n.etc + restart + "."
	}
	return "To do: put them at the end of " + n.user + "; Nix runs without a daemon here."
}

// maxIncludes bounds files that include each other.
const maxIncludes = 10

func (c nixConf) readFile(name string, depth int) error {
	b, err := os.ReadFile(name)
	if err != nil {
		return err
	}
	return c.read(string(b), filepath.Dir(name), depth)
}

// read takes in lines "name = word…", "extra-name = word…", "include FILE" and "!include FILE".
func (c nixConf) read(text, dir string, depth int) error {
	for line := range strings.Lines(text) {
		line, _, _ = strings.Cut(line, "#")
		words := strings.Fields(line)
		switch {
		case len(words) == 2 && strings.TrimPrefix(words[0], "!") == "include":
			file := words[1]
			if !filepath.IsAbs(file) {
				file = filepath.Join(dir, file)
			}
			if depth == maxIncludes {
				return fmt.Errorf("%s: more than %d files include each other", file, maxIncludes)
			}
			if err := c.readFile(file, depth+1); err != nil && (words[0] == "include" || !os.IsNotExist(err)) {
				return err
			}
		case len(words) < 2 || words[1] != "=":
		case strings.HasPrefix(words[0], "extra-"):
			name := strings.TrimPrefix(words[0], "extra-")
			if _, set := c[name]; !set {
				c[name] = strings.Fields(nixDefaults[name])
			}
			c[name] = append(c[name], words[2:]...)
		default:
			if name, ok := nixAliases[words[0]]; ok {
				words[0] = name
			}
			c[words[0]] = words[2:]
		}
	}
	return nil
}

// nixDefaults are Nix's own, of the settings that are looked at.
var nixDefaults = map[string]string{
	"substituters": "https://cache.nixos.org/", "trusted-public-keys": "cache.nixos.org-1:6NCHdD59X431o0gWypbMrAURkbJ16ZPMQFGspcDShjY=",
	"narinfo-cache-negative-ttl": "3600", "narinfo-cache-positive-ttl": "2592000", "require-sigs": "true", "fallback": "false", "trusted-users": "root",
	"accept-flake-config": "false",
}

var nixAliases = map[string]string{
	"binary-caches": "substituters", "binary-cache-public-keys": "trusted-public-keys", "trusted-binary-caches": "trusted-substituters", "build-fallback": "fallback",
}

// of returns a setting, or its default.
func (c nixConf) of(name string) string {
	if words, ok := c[name]; ok {
		return strings.Join(words, " ")
	}
	return nixDefaults[name]
}
