package statement

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// The rule about login keys (spec/statement.md#login-keys). A key is taken for
// one that also logs in if
//
//   - its file lies below ~/.ssh, symbolic links resolved; or
//   - a *.pub file, or authorized_keys, in ~/.ssh holds the same key; or
//   - it is in an agent under a comment that `firn key new` did not write.
//
// A person who wants one key for both says so with --use-login-key. Nix secret
// keys never log in.

// allow returns ErrLoginKey with a reason, unless login keys are allowed.
func (o *SignerOptions) allow(format string, args ...any) error {
	if o.UseLoginKey {
		return nil
	}
	return fmt.Errorf("%w: %s", ErrLoginKey, fmt.Sprintf(format, args...))
}

// allowFile applies the rule to a key in a file.
func (o *SignerOptions) allowFile(pub PublicKey, path string) error {
	if o.SSHDir != "" && below(path, o.SSHDir) {
		if err := o.allow("its file lies in %s", o.SSHDir); err != nil {
			return err
		}
	}
	return o.allowPublic(pub)
}

// allowPublic refuses a key whose public half is in ~/.ssh.
func (o *SignerOptions) allowPublic(pub PublicKey) error {
	if o.SSHDir == "" || o.UseLoginKey {
		return nil
	}
	entries, err := os.ReadDir(o.SSHDir)
	if os.IsNotExist(err) {
		return nil
	}
	if err != nil {
		return o.allow("whether it does cannot be seen: %v", err)
	}
	for _, e := range entries {
		if name := e.Name(); strings.HasSuffix(name, ".pub") || strings.HasPrefix(name, "authorized_keys") {
			path := filepath.Join(o.SSHDir, name)
			b, err := readKeyFile(path, false)
			if err == nil && holds(string(b), pub) {
				return o.allow("it is in %s", path)
			}
		}
	}
	return nil
}

// holds reports whether one of the lines holds pub, options before it or not.
func holds(text string, pub PublicKey) bool {
	b64 := pub.Text()[strings.IndexByte(pub.Text(), ' ')+1:]
	for line := range strings.Lines(text) {
		if line = strings.TrimSpace(line); strings.HasPrefix(line, "#") {
			continue
		}
		for _, word := range strings.Fields(line) {
			if word == b64 {
				return true
			}
		}
	}
	return false
}

func below(path, dir string) bool {
	path, err := resolve(path)
	if err != nil {
		return false
	}
	dir, err = resolve(dir)
	if err != nil {
		return false
	}
	rel, err := filepath.Rel(dir, path)
	return err == nil && filepath.IsLocal(rel)
}

func resolve(path string) (string, error) {
	path, err := filepath.Abs(path)
	if err != nil {
		return "", err
	}
	return filepath.EvalSymlinks(path)
}
