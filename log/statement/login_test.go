package statement

import (
	"context"
	"crypto/ed25519"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func refusesLogin(t *testing.T, spec string, opts SignerOptions) {
	t.Helper()
	if _, err := OpenSigner(context.Background(), spec, opts); !errors.Is(err, ErrLoginKey) {
		t.Errorf("%s: %v, want a refusal of a login key", spec, err)
	}
	opts.UseLoginKey = true
	k := open(t, spec, opts)
	if _, err := Sign(context.Background(), k, sampleBuild(), "", nil); err != nil {
		t.Errorf("%s with leave: %v", spec, err)
	}
}

func move(t *testing.T, from, to string) {
	t.Helper()
	b, err := os.ReadFile(from)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(to, b, 0o600); err != nil {
		t.Fatal(err)
	}
}

// spec/statement.md#login-keys, rule by rule.
func TestLoginKeysNeedLeave(t *testing.T) {
	home := filepath.Join(t.TempDir(), ".ssh")
	if err := os.Mkdir(home, 0o700); err != nil {
		t.Fatal(err)
	}
	path := sshKey(t, "-t", "ed25519", "-N", "", "-C", "me@laptop")
	opts := SignerOptions{SSHDir: home, AgentSocket: startAgent(t, path)}
	open(t, path, opts)
	open(t, "ssh-keygen:"+path, opts)

	refusesLogin(t, "agent:me@laptop", opts)

	inside := filepath.Join(home, "id_ed25519")
	move(t, path, inside)
	refusesLogin(t, inside, opts)
	refusesLogin(t, "ssh-keygen:"+inside, opts)
	link := filepath.Join(t.TempDir(), "link")
	if err := os.Symlink(inside, link); err != nil {
		t.Fatal(err)
	}
	refusesLogin(t, link, opts)
	open(t, path, opts) // nothing tells that it is the same key

	move(t, path+".pub", inside+".pub")
	refusesLogin(t, path, opts)
	refusesLogin(t, "ssh-keygen:"+path, opts)
	if err := os.Remove(inside + ".pub"); err != nil {
		t.Fatal(err)
	}
	pub, err := os.ReadFile(path + ".pub")
	if err != nil {
		t.Fatal(err)
	}
	line := "# my keys\n" + `restrict,command="true" ` + string(pub)
	if err := os.WriteFile(filepath.Join(home, "authorized_keys"), []byte(line), 0o600); err != nil {
		t.Fatal(err)
	}
	refusesLogin(t, path, opts)
}

func TestAgentKeyMadeByFirnThatIsInSSHDirNeedsLeave(t *testing.T) {
	home := t.TempDir()
	path := sshKey(t, "-t", "ed25519", "-N", "", "-C", FirnComment+"me")
	opts := SignerOptions{SSHDir: home, AgentSocket: startAgent(t, path)}
	open(t, "agent:firn:me", opts)
	move(t, path+".pub", filepath.Join(home, "me.pub"))
	refusesLogin(t, "agent:firn:me", opts)
}

func TestKeyFilesThatAreRefused(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string, mode os.FileMode) string {
		t.Helper()
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), mode); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(path, mode); err != nil {
			t.Fatal(err)
		}
		return path
	}
	b, err := os.ReadFile("testdata/rsa3072")
	if err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]string{
		filepath.Join(dir, "missing"): "no such file",
		dir:                           "is a directory",
		write("public", string(edSigner(t, "build").pub.Text()), 0o644): "public key",
		write("open", string(b), 0o644):                                 "everybody",
		write("junk", "hello", 0o600):                                   "neither",
		write("large", strings.Repeat("x", maxKeyFile+1), 0o600):        "64 KiB",
		write("nix", "name:c2hvcnQ=", 0o600):                            "neither",
		sshKey(t, "-t", "rsa", "-b", "2048", "-N", ""):                  "2048 bits",
		sshKey(t, "-t", "ecdsa", "-b", "384", "-N", ""):                 "P-384",
		"ssh-keygen:" + sshKey(t, "-t", "rsa", "-b", "2048", "-N", ""):  "2048 bits",
		"ssh-keygen:" + filepath.Join(dir, "missing"):                   "no such file",

		"agent:/nowhere#x": "ssh-agent",

		write("cut", strings.Replace(string(b), "AAAA", "", 1), 0o600):  "",
		write("key.pem", "-----BEGIN X-----\n-----END X-----\n", 0o600): "",
	} {
		_, err := OpenSigner(context.Background(), path, SignerOptions{})
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", path, err, want)
		}
	}
}

func TestNixSecretKeySignsCOSE(t *testing.T) {
	key := testNixKey()
	path := filepath.Join(t.TempDir(), "key")
	text := key.Name + ":" + base64Std(key.Key)
	if err := os.WriteFile(path, []byte(text+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	k := open(t, "file:"+path, SignerOptions{SSHDir: filepath.Dir(path)})
	s, err := Sign(context.Background(), k, sampleBuild(), "", nil)
	if err != nil {
		t.Fatal(err)
	}
	fromText, err := PublicKeyFromText(key.Public().String())
	if err != nil || s.Form != COSE || s.Signer != fromText.ID() {
		t.Errorf("form %s by %s, want the key %s (%v)", s.Form, s.Signer, fromText.ID(), err)
	}
	// One key, one id: the cache's signature and the operator's claim are by the same key.
	if s.Signer != sampleCacheSig(t).Signer {
		t.Error("a Nix key has two ids")
	}
	pub, err := ReadPublicKey(path)
	if err != nil || pub.ID() != s.Signer {
		t.Errorf("reading the public half: %v", err)
	}
}

// A build key from a Nix secret key file is registered with its name; a name
// that no cache-sig can bear is left out.
func TestNixSecretKeyProvesItsName(t *testing.T) {
	for _, c := range []struct {
		name string
		role Role
		want string
	}{
		{"cache.example.org-1", RoleBuild, "cache.example.org-1"},
		{"cache.example.org-1", RoleIdentity, ""},
		{"cache.example.org/1", RoleBuild, ""},
		{strings.Repeat("c", 212), RoleBuild, ""},
	} {
		if got := provenKey(t, nixSigner(t, c.name), c.role).CacheName; got != c.want {
			t.Errorf("%s for %s: the cache key name %q, want %q", c.name, c.role, got, c.want)
		}
	}
	if got := provenKey(t, edSigner(t, "cache"), RoleBuild).CacheName; got != "" {
		t.Errorf("a key without a name has the cache key name %q", got)
	}
}

// Signing with somebody else's public half gives the private key away, so it
// is computed and not taken from the file.
func TestPublicHalfInAKeyFileIsNotBelieved(t *testing.T) {
	key := testEd25519("build")
	wrong := append(append([]byte{}, key.Seed()...), testEd25519("identity")[32:]...)
	k := memorySigner(t, ed25519.PrivateKey(wrong))
	if k.pub.ID() != edSigner(t, "build").pub.ID() {
		t.Error("the key is named after the public half in the file")
	}
	a, b := signSample(t, k, sampleBuild(), "", nil), signSample(t, edSigner(t, "build"), sampleBuild(), "", nil)
	if string(a.Sig) != string(b.Sig) {
		t.Error("the signature depends on the public half in the file")
	}
}
