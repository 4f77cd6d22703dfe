package main

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"
	"golang.org/x/crypto/ssh"
	"golang.org/x/term"

	"github.com/firn-log/firn/internal/durable"
	"github.com/firn-log/firn/log/statement"
)

func newKeyCmd(a *app) *cobra.Command {
	c := &cobra.Command{
		Use:   "key",
		Short: "Make, look at and revoke keys",
		Long: `Keys sign statements. An operator has identity keys, which say who the operator
is and may be kept offline, and build keys, which are on the machines that build
and sign claims only.`,
	}
	c.AddCommand(newKeyNewCmd(a), newKeyShowCmd(a), newKeyRevokeCmd(a))
	return c
}

type keyNewFlags struct {
	typ        string
	passphrase bool
	json       bool
}

func newKeyNewCmd(a *app) *cobra.Command {
	var f keyNewFlags
	c := &cobra.Command{
		Use:   "new FILE",
		Short: "Make a key for signing statements",
		Long: `New writes a private key in OpenSSH's format to FILE, for its owner only, and the
public key to FILE.pub. The key id is printed.

The key is for firn alone: it is not put where ssh looks for keys.`,
		Example: `  firn key new ~/.config/firn/identity
  firn key new --passphrase ~/.config/firn/build`,
		Args: cobra.ExactArgs(1),
		RunE: func(_ *cobra.Command, args []string) error { return a.keyNew(&f, args[0]) },
	}
	c.Flags().StringVar(&f.typ, "type", "ed25519", "ed25519 or p256")
	c.Flags().BoolVar(&f.passphrase, "passphrase", false, "ask for a passphrase to encrypt the key with")
	c.Flags().BoolVar(&f.json, "json", false, "write one JSON object")
	return c
}

func (a *app) keyNew(f *keyNewFlags, path string) error {
	var private crypto.Signer
	var err error
	switch f.typ {
	case "ed25519":
		_, private, err = ed25519.GenerateKey(rand.Reader)
	case "p256":
		private, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	default:
		return failf(exitUsage, "use ed25519 unless something speaks against it", "%q is not a type of key that firn makes", f.typ)
	}
	if err != nil {
		return failf(exitFailed, "", "making a key: %w", err)
	}
	if inSSHDir(path, a.Getenv("HOME")) {
		return failf(exitUsage, "put it elsewhere, for instance in ~/.config/firn/", "%s is in ~/.ssh, where keys count as login keys", path)
	}
	block, err := a.encodeKey(f, path, private)
	if err != nil {
		return err
	}
	sshKey, err := ssh.NewPublicKey(private.Public())
	if err != nil {
		return failf(exitFailed, "", "making a key: %w", err)
	}
	line := strings.TrimSpace(string(ssh.MarshalAuthorizedKey(sshKey)))
	key, err := statement.PublicKeyFromText(line)
	if err != nil {
		return failf(exitFailed, "", "making a key: %w", err)
	}
	if err := writeKey(path, pem.EncodeToMemory(block), line+" "+keyComment(path)+"\n"); err != nil {
		return err
	}
	if f.json {
		return a.writeJSON(describeKey(key, path))
	}
	fmt.Fprintln(a.Stdout, key.ID())
	fmt.Fprintf(a.Stderr, `wrote the private key to %[1]s and the public key to %[1]s.pub
as your identity key:  firn operator register --identity %[1]s --key BUILD-KEY --name NAME --contact ADDRESS --log URL --log-policy FILE
as a build key:        name it with --key in that command, and then to firn submit
`, path)
	return nil
}

// keyComment is the comment of a new key. Its beginning tells firn, when it
// sees the key in an agent, that it is not a login key.
func keyComment(path string) string { return statement.FirnComment + filepath.Base(path) }

func (a *app) encodeKey(f *keyNewFlags, path string, private crypto.Signer) (*pem.Block, error) {
	if !f.passphrase {
		return ssh.MarshalPrivateKey(private, keyComment(path))
	}
	in, ok := a.Stdin.(*os.File)
	if !ok || !term.IsTerminal(int(in.Fd())) {
		return nil, failf(exitUsage, "leave --passphrase out for a key without one", "there is no terminal to ask for a passphrase")
	}
	pass, err := a.askPassphrase(in, "New passphrase of "+path+": ")
	if err != nil {
		return nil, failf(exitFailed, "", "%w", err)
	}
	again, err := a.askPassphrase(in, "The same again: ")
	if err != nil {
		return nil, failf(exitFailed, "", "%w", err)
	}
	if len(pass) == 0 || string(pass) != string(again) {
		return nil, failf(exitFailed, "", "the two passphrases differ, or are empty")
	}
	return ssh.MarshalPrivateKeyWithPassphrase(private, keyComment(path), pass)
}

// writeKey writes both halves and never over an existing file.
func writeKey(path string, private []byte, public string) error {
	if err := durable.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return failf(exitFailed, "", "writing the key: %w", err)
	}
	if _, err := os.Lstat(path + ".pub"); err == nil {
		return failf(exitFailed, "firn writes over no key: choose another FILE, or move the old one away", "%s.pub exists already", path)
	}
	err := durable.CreateFile(path, private, 0o600)
	if errors.Is(err, fs.ErrExist) {
		return failf(exitFailed, "firn writes over no key: choose another FILE, or move the old one away", "%s exists already", path)
	}
	if err == nil {
		err = durable.CreateFile(path+".pub", []byte(public), 0o644)
	}
	if err != nil {
		return failf(exitFailed, "", "writing the key: %w", err)
	}
	return nil
}

func inSSHDir(path, home string) bool {
	abs, err := filepath.Abs(path)
	if err != nil || !filepath.IsAbs(home) {
		return false
	}
	if dir, err := filepath.EvalSymlinks(filepath.Dir(abs)); err == nil {
		abs = filepath.Join(dir, filepath.Base(abs))
	}
	ssh := filepath.Join(home, ".ssh")
	if dir, err := filepath.EvalSymlinks(ssh); err == nil {
		ssh = dir
	}
	rel, err := filepath.Rel(ssh, abs)
	return err == nil && filepath.IsLocal(rel)
}

// keyJSON is how a key looks with --json.
type keyJSON struct {
	Schema      int    `json:"schema"`
	ID          string `json:"id"`
	Type        string `json:"type"`
	Public      string `json:"public"`
	Fingerprint string `json:"ssh_fingerprint"`
	Preimage    string `json:"preimage"`
	File        string `json:"file,omitempty"`
}

func describeKey(k statement.PublicKey, file string) keyJSON {
	return keyJSON{1, k.ID().String(), string(k.Type()), k.Text(), k.SSHFingerprint(), hex.EncodeToString(k.Preimage()), file}
}
