package statement

import (
	"context"
	"crypto/ed25519"
	"io"
)

// A Signer signs statements with one key. Implementations may be used
// concurrently.
type Signer interface {
	PublicKey() PublicKey
	// Sign returns the leaf with payload signed.
	Sign(ctx context.Context, payload []byte) (leaf []byte, err error)
}

// SignerOptions are what OpenSigner needs from its surroundings.
type SignerOptions struct {
	// Passphrase is asked for the passphrase of an encrypted key file; nil
	// means that there is nobody to ask.
	Passphrase func(path string) ([]byte, error)
	// UseLoginKey allows keys that also log in (spec/statement.md#login-keys).
	UseLoginKey bool
	AgentSocket string    // SSH_AUTH_SOCK
	SSHDir      string    // ~/.ssh; "" for none
	SSHKeygen   string    // program; "" means ssh-keygen from PATH
	Stderr      io.Writer // where ssh-keygen may ask for a touch; nil discards
}

// OpenSigner opens the key that spec names: "PATH" or "file:PATH",
// "agent:[SOCKET#]WHICH", or "ssh-keygen:PATH".
func OpenSigner(ctx context.Context, spec string, opts SignerOptions) (Signer, error) {
	return nil, errf(CodeInternalError, "not built yet")
}

// NewEd25519Signer returns a Signer for a key in memory.
func NewEd25519Signer(key ed25519.PrivateKey) (Signer, error) {
	return nil, errf(CodeInternalError, "not built yet")
}

// Sign encodes, signs and parses one statement.
func Sign(ctx context.Context, s Signer, body Body, forWhom string, prev *ID) (*Statement, error) {
	return nil, errf(CodeInternalError, "not built yet")
}
