package statement

import (
	"bytes"
	"context"
	"encoding/pem"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/firn-log/firn/internal/testreq"
)

// sshKey makes a key with stock ssh-keygen and returns its path.
func sshKey(t *testing.T, args ...string) string {
	t.Helper()
	program := testreq.Command(t, "ssh", "ssh-keygen")
	path := filepath.Join(t.TempDir(), "key")
	cmd := exec.Command(program, append([]string{"-q", "-f", path}, args...)...)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("ssh-keygen %v: %v\n%s", args, err, out)
	}
	return path
}

func open(t *testing.T, spec string, opts SignerOptions) Signer {
	t.Helper()
	k, err := OpenSigner(context.Background(), spec, opts)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

// keygenVerify runs ssh-keygen -Y verify over msg.
func keygenVerify(t *testing.T, pub PublicKey, namespace string, blob, msg []byte) {
	t.Helper()
	dir := t.TempDir()
	allowed, sig := filepath.Join(dir, "allowed"), filepath.Join(dir, "sig")
	armor := pem.EncodeToMemory(&pem.Block{Type: "SSH SIGNATURE", Bytes: blob})
	for path, b := range map[string][]byte{allowed: []byte("alice " + pub.Text() + "\n"), sig: armor} {
		if err := os.WriteFile(path, b, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	cmd := exec.Command(testreq.Command(t, "ssh", "ssh-keygen"), "-Y", "verify", "-n", namespace, "-f", allowed, "-I", "alice", "-s", sig)
	cmd.Stdin = bytes.NewReader(msg)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("ssh-keygen does not verify our SSHSIG: %v\n%s", err, out)
	}
}

var sshKinds = map[string][]string{
	"ed25519":  {"-t", "ed25519", "-N", ""},
	"p256":     {"-t", "ecdsa", "-b", "256", "-N", ""},
	"rsa-3072": {"-t", "rsa", "-b", "3072", "-N", ""},
}

// Every kind of key in a file, through us and through stock ssh-keygen: each
// side verifies what the other made.
func TestOpenSSHKeyFiles(t *testing.T) {
	for name, args := range sshKinds {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			path := sshKey(t, args...)
			ours, theirs := open(t, path, SignerOptions{}), open(t, "ssh-keygen:"+path, SignerOptions{})
			if !ours.PublicKey().Equal(theirs.PublicKey()) {
				t.Fatal("two keys in one file")
			}
			a, err := Sign(context.Background(), ours, sampleBuild(), "", nil)
			if err != nil {
				t.Fatal(err)
			}
			b, err := Sign(context.Background(), theirs, sampleBuild(), "", nil)
			if err != nil {
				t.Fatal(err)
			}
			if a.ID() != b.ID() {
				t.Error("two ids for one statement")
			}
			if b.Form != SSHSIG {
				t.Errorf("ssh-keygen made the form %s", b.Form)
			}
			if want := map[bool]Form{true: SSHSIG, false: COSE}[ours.PublicKey().Type() == RSA]; a.Form != want {
				t.Errorf("we made the form %s", a.Form)
			}
			if a.Form == SSHSIG {
				keygenVerify(t, ours.PublicKey(), Namespace, a.Sig, a.Payload)
			}
			for _, k := range []Signer{ours, theirs} {
				add, err := ProveKey(context.Background(), k, testID("operator"), RoleBuild)
				if err != nil {
					t.Fatal(err)
				}
				if add.Form == ProofSSHSIG {
					keygenVerify(t, add.Key, ProofNamespace, add.Proof, proofMessage(add.OperatorID, add.Key.ID()))
				}
			}
		})
	}
}

// OpenSSH verifies what the software authenticator makes, so the test of
// security keys tests the real format.
func TestAuthenticatorIsOpenSSHs(t *testing.T) {
	for _, ec := range []bool{false, true} {
		a := testAuthenticator(ec)
		payload := payloadOf(t, sampleBuild(), nil)
		keygenVerify(t, a.signer(t).pub, Namespace, a.sshsig(Namespace, payload), payload)
	}
}

func TestEncryptedKeyFileAsksForItsPassphrase(t *testing.T) {
	path := sshKey(t, "-t", "ed25519", "-N", "correct horse", "-a", "1")
	_, err := OpenSigner(context.Background(), path, SignerOptions{})
	if !errors.Is(err, ErrPassphrase) {
		t.Errorf("with nobody to ask: %v", err)
	}
	answer := "wrong"
	ask := func(string) ([]byte, error) { return []byte(answer), nil }
	if _, err := OpenSigner(context.Background(), path, SignerOptions{Passphrase: ask}); err == nil {
		t.Error("a wrong passphrase opens the key")
	}
	answer = "correct horse"
	k := open(t, path, SignerOptions{Passphrase: ask})
	pub, err := ReadPublicKey(path)
	if err != nil || !pub.Equal(k.PublicKey()) {
		t.Errorf("the public half is not read without the passphrase: %v", err)
	}
}

// startAgent runs a real ssh-agent and returns its socket.
func startAgent(t *testing.T, keys ...string) string {
	t.Helper()
	program := testreq.Command(t, "ssh", "ssh-agent")
	dir, err := os.MkdirTemp("", "firn") // a socket's path must be short
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	socket := filepath.Join(dir, "agent")
	out, err := exec.Command(program, "-s", "-a", socket).Output()
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(out), "SSH_AGENT_PID=")
	digits, _, _ := strings.Cut(rest, ";")
	pid, err := strconv.Atoi(digits)
	if err != nil {
		t.Fatalf("ssh-agent said %q", out)
	}
	t.Cleanup(func() {
		if p, err := os.FindProcess(pid); err == nil {
			_ = p.Kill()
		}
	})
	for _, key := range keys {
		cmd := exec.Command(testreq.Command(t, "ssh", "ssh-add"), "-q", key)
		cmd.Env = append(os.Environ(), "SSH_AUTH_SOCK="+socket)
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("ssh-add: %v\n%s", err, out)
		}
	}
	return socket
}

// A real agent signs the COSE Sig_structure with Ed25519 and P-256 keys, and
// SSHSIGs with RSA keys; its keys are found in three ways.
func TestSSHAgentSigns(t *testing.T) {
	var paths []string
	for name, args := range sshKinds {
		paths = append(paths, sshKey(t, append(args, "-C", "firn:"+name)...))
	}
	socket := startAgent(t, paths...)
	for _, path := range paths {
		pub, err := ReadPublicKey(path)
		if err != nil {
			t.Fatal(err)
		}
		b, err := os.ReadFile(path + ".pub")
		if err != nil {
			t.Fatal(err)
		}
		comment := strings.Fields(string(b))[2]
		for _, which := range []string{pub.SSHFingerprint(), comment, path + ".pub"} {
			k := open(t, "agent:"+which, SignerOptions{AgentSocket: socket})
			s, err := Sign(context.Background(), k, sampleBuild(), "", nil)
			if err != nil {
				t.Fatalf("%s: %v", comment, err)
			}
			if want := map[bool]Form{true: SSHSIG, false: COSE}[pub.Type() == RSA]; s.Form != want || s.Signer != pub.ID() {
				t.Errorf("%s: form %s by %s", comment, s.Form, s.Signer)
			}
			if _, err := ProveKey(context.Background(), k, testID("operator"), RoleBuild); err != nil {
				t.Errorf("%s: proof: %v", comment, err)
			}
		}
		open(t, "agent:"+socket+"#"+comment, SignerOptions{})
		// Stock ssh-keygen with the public key only: the agent signs.
		k := open(t, "ssh-keygen:"+path+".pub", SignerOptions{AgentSocket: socket})
		if _, err := Sign(context.Background(), k, sampleBuild(), "", nil); err != nil {
			t.Errorf("%s: ssh-keygen with the agent: %v", comment, err)
		}
	}
	for spec, want := range map[string]error{"agent:nobody": ErrAgentKey, "agent:": ErrAgentKey} {
		if _, err := OpenSigner(context.Background(), spec, SignerOptions{AgentSocket: socket}); !errors.Is(err, want) {
			t.Errorf("%s: %v", spec, err)
		}
	}
	if _, err := OpenSigner(context.Background(), "agent:x", SignerOptions{}); !errors.Is(err, ErrNoAgent) {
		t.Errorf("without an agent: %v", err)
	}
	if _, err := OpenSigner(context.Background(), "agent:x", SignerOptions{AgentSocket: socket + "x"}); err == nil {
		t.Error("an agent that is not there answers")
	}
}
