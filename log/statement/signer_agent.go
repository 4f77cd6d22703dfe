package statement

import (
	"context"
	"fmt"
	"net"
	"os"
	"strings"
	"time"

	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/agent"
)

// FirnComment begins the comment of every key that `firn key new` makes. An
// agent's key with such a comment is not taken for a login key.
const FirnComment = "firn:"

// agentPatience is how long an agent may take for one answer; it may have to
// ask a person, or wait for a touch.
const agentPatience = 2 * time.Minute

// withAgent calls f with a connection to the agent at socket, which is closed
// when ctx ends.
func withAgent(ctx context.Context, socket string, f func(agent.ExtendedAgent) error) error {
	ctx, cancel := context.WithTimeout(ctx, agentPatience)
	defer cancel()
	conn, err := (&net.Dialer{}).DialContext(ctx, "unix", socket)
	if err != nil {
		return fmt.Errorf("reaching the ssh-agent: %w", err)
	}
	defer conn.Close()
	stop := context.AfterFunc(ctx, func() { conn.Close() })
	defer stop()
	err = f(agent.NewClient(conn))
	if ctx.Err() != nil {
		return fmt.Errorf("waiting for the ssh-agent: %w", context.Cause(ctx))
	}
	return err
}

// openAgent finds the key that which names: "[SOCKET#]SHA256:…", a comment, or
// the path of a file with the public key.
func openAgent(ctx context.Context, which string, opts *SignerOptions) (*keySigner, error) {
	socket := opts.AgentSocket
	if s, rest, ok := strings.Cut(which, "#"); ok && strings.HasPrefix(s, "/") {
		socket, which = s, rest
	}
	if socket == "" {
		return nil, ErrNoAgent
	}
	key, pub, err := findAgentKey(ctx, socket, which)
	if err != nil {
		return nil, err
	}
	if !strings.HasPrefix(key.Comment, FirnComment) {
		if err := opts.allow("the agent's key %s %q was not made by firn", pub.SSHFingerprint(), key.Comment); err != nil {
			return nil, err
		}
	}
	if err := opts.allowPublic(pub); err != nil {
		return nil, err
	}
	return agentSigner(socket, key, pub), nil
}

func findAgentKey(ctx context.Context, socket, which string) (*agent.Key, PublicKey, error) {
	var wantKey PublicKey
	if !strings.HasPrefix(which, "SHA256:") {
		if _, err := os.Stat(which); err == nil {
			if wantKey, err = ReadPublicKey(which); err != nil {
				return nil, PublicKey{}, err
			}
		}
	}
	var found []*agent.Key
	var keys []PublicKey
	err := withAgent(ctx, socket, func(a agent.ExtendedAgent) error {
		list, err := a.List()
		if err != nil {
			return fmt.Errorf("asking the ssh-agent for its keys: %w", err)
		}
		for _, k := range list {
			pub, err := parseSSHBlob(k.Blob)
			if err != nil {
				continue // a certificate, or a kind of key that makes no statements
			}
			if wantKey.Equal(pub) || wantKey.IsZero() && (which == pub.SSHFingerprint() || which == k.Comment) {
				found, keys = append(found, k), append(keys, pub)
			}
		}
		return nil
	})
	if err != nil {
		return nil, PublicKey{}, err
	}
	if len(found) != 1 {
		return nil, PublicKey{}, fmt.Errorf("%w: %d keys match %q", ErrAgentKey, len(found), which)
	}
	return found[0], keys[0], nil
}

// agentSigner signs through the agent. Ed25519 and P-256 keys sign the COSE
// Sig_structure itself: an agent signs whatever bytes it is given.
func agentSigner(socket string, key *agent.Key, pub PublicKey) *keySigner {
	sign := func(ctx context.Context, msg []byte, flags agent.SignatureFlags) (sig *ssh.Signature, err error) {
		err = withAgent(ctx, socket, func(a agent.ExtendedAgent) error {
			sig, err = a.SignWithFlags(key, msg, flags)
			return err
		})
		return sig, err
	}
	k := &keySigner{pub: pub}
	switch pub.typ {
	case Ed25519, P256:
		k.raw = func(ctx context.Context, msg []byte) ([]byte, error) {
			sig, err := sign(ctx, msg, 0)
			if err != nil {
				return nil, err
			}
			blob := appendSSHString(appendSSHString(nil, sig.Format), sig.Blob)
			s, err := parseSSHSignature(pub, append(blob, sig.Rest...))
			if err != nil {
				return nil, err
			}
			if pub.typ == P256 {
				return fixedECDSA(s.r, s.s)
			}
			return s.sig, nil
		}
	default:
		k.sshsig = func(ctx context.Context, namespace string, msg []byte) ([]byte, error) {
			sig, err := sign(ctx, sshsigMessage(namespace, msg), agent.SignatureFlagRsaSha512)
			if err != nil {
				return nil, err
			}
			blob := appendSSHString(appendSSHString(nil, sig.Format), sig.Blob)
			return sshsigBlob(pub, namespace, append(blob, sig.Rest...)), nil
		}
	}
	return k
}
