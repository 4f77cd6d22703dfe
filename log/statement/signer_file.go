package statement

import (
	"bytes"
	"crypto"
	"crypto/ed25519"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"os"

	"golang.org/x/crypto/ssh"

	"github.com/firn-log/firn/internal/nix"
)

// maxKeyFile bounds the size of a key file in bytes.
const maxKeyFile = 64 << 10

// readKeyFile reads a small regular file. A secret one must not be readable by
// everybody.
func readKeyFile(path string, secret bool) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if info.IsDir() {
		return nil, fmt.Errorf("%s is a directory", path)
	}
	if secret && info.Mode().Perm()&0o007 != 0 {
		return nil, fmt.Errorf("%s can be read by everybody on this machine: chmod 600 it", path)
	}
	b, err := io.ReadAll(io.LimitReader(f, maxKeyFile+1))
	if err == nil && len(b) > maxKeyFile {
		err = fmt.Errorf("%s is larger than 64 KiB", path)
	}
	return b, err
}

// openFile opens an OpenSSH private key or a Nix secret key.
func openFile(path string, opts *SignerOptions) (*keySigner, error) {
	b, err := readKeyFile(path, false)
	if err != nil {
		return nil, err
	}
	if _, err := PublicKeyFromText(string(b)); err == nil {
		return nil, errors.New("it holds a public key, which cannot sign: name the private key, or agent:" + path)
	}
	if _, err := readKeyFile(path, true); err != nil {
		return nil, err
	}
	if !bytes.Contains(b, []byte("-----BEGIN ")) {
		key, err := nix.ParseSecretKey(string(bytes.TrimSpace(b)))
		if err != nil {
			return nil, errors.New("it holds neither an OpenSSH private key nor a Nix secret key")
		}
		k, err := newMemorySigner(key.Key)
		if err != nil {
			return nil, err
		}
		k.nixName = key.Name
		return k, nil
	}
	key, err := decryptKey(b, path, opts)
	if err != nil {
		return nil, err
	}
	k, err := newMemorySigner(key)
	if err != nil {
		return nil, err
	}
	return k, opts.allowFile(k.pub, path)
}

// decryptKey parses a private key in OpenSSH's or another PEM form.
func decryptKey(b []byte, path string, opts *SignerOptions) (crypto.Signer, error) {
	key, err := ssh.ParseRawPrivateKey(b)
	var missing *ssh.PassphraseMissingError
	if errors.As(err, &missing) {
		if opts.Passphrase == nil {
			return nil, ErrPassphrase
		}
		pass, askErr := opts.Passphrase(path)
		if askErr != nil {
			return nil, askErr
		}
		key, err = ssh.ParseRawPrivateKeyWithPassphrase(b, pass)
	}
	if err != nil {
		if pub, pubErr := publicHalf(b); pubErr == nil && pub.isSK() {
			return nil, errors.New("it stands for a security key, which only ssh-keygen or an agent can use: name it as ssh-keygen:" + path)
		}
		return nil, err
	}
	switch key := key.(type) {
	case *ed25519.PrivateKey:
		return *key, nil
	case crypto.Signer:
		return key, nil
	}
	return nil, errors.New("a private key that is neither Ed25519, P-256 nor RSA")
}

// publicHalf returns the public key of an OpenSSH private key file, which is
// there in clear even if the file is encrypted (OpenSSH PROTOCOL.key).
func publicHalf(b []byte) (PublicKey, error) {
	block, _ := pem.Decode(b)
	if block == nil || block.Type != "OPENSSH PRIVATE KEY" {
		return PublicKey{}, errf(CodeBadKey, "not an OpenSSH private key")
	}
	rest, ok := bytes.CutPrefix(block.Bytes, []byte("openssh-key-v1\x00"))
	r := &sshReader{b: rest}
	r.string() // cipher
	r.string() // KDF
	r.string() // its options
	n, blob := r.uint32(), r.string()
	if !ok || r.bad || n != 1 {
		return PublicKey{}, errf(CodeBadKey, "not an OpenSSH private key with one key")
	}
	return parseSSHBlob(blob)
}

// ReadPublicKey returns the public key in a file that holds a public key in
// one of the forms of [PublicKeyFromText], an OpenSSH private key, or a Nix
// secret key. It never asks for a passphrase.
func ReadPublicKey(path string) (PublicKey, error) {
	b, err := readKeyFile(path, false)
	if err != nil {
		return PublicKey{}, err
	}
	if pub, err := publicHalf(b); err == nil || !bytes.Contains(b, []byte("-----BEGIN PUBLIC")) && bytes.Contains(b, []byte("-----BEGIN OPENSSH")) {
		return pub, err
	}
	if key, err := nix.ParseSecretKey(string(bytes.TrimSpace(b))); err == nil {
		k, err := newMemorySigner(key.Key)
		if err != nil {
			return PublicKey{}, err
		}
		return k.pub, nil
	}
	if bytes.Contains(b, []byte("PRIVATE KEY-----")) {
		key, err := decryptKey(b, path, &SignerOptions{})
		if err != nil {
			return PublicKey{}, err
		}
		k, err := newMemorySigner(key)
		if err != nil {
			return PublicKey{}, err
		}
		return k.pub, nil
	}
	return PublicKeyFromText(string(b))
}
