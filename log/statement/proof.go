package statement

import (
	"context"

	"github.com/firn-log/firn/internal/nix"
)

// ProofNamespace is the SSHSIG namespace of a key proof and the first line of
// its message.
const ProofNamespace = "firn-key-proof-v1"

// proofMessage returns what a key signs to prove that it wants to belong to an
// operator (spec/statement.md#key-add).
func proofMessage(operator ID, key KeyID) []byte {
	b := append([]byte(ProofNamespace+"\n"), operator[:]...)
	return append(b, key[:]...)
}

// ProveKey lets the signer's key prove that it wants to belong to the operator
// and returns the body of the key-add that says so, with the name of a Nix key
// as its cache key name if a cache-sig can bear it. The signer must come from
// this package.
func ProveKey(ctx context.Context, s Signer, operator ID, role Role) (*KeyAdd, error) {
	k, ok := s.(*keySigner)
	if !ok {
		return nil, errf(CodeInternalError, "this kind of signer cannot prove a key")
	}
	b := &KeyAdd{OperatorID: operator, Key: k.pub, Role: role, Form: ProofRaw}
	if role == RoleBuild && nix.CheckName(k.nixName) == nil {
		b.CacheName = k.nixName
	}
	msg := proofMessage(operator, k.pub.ID())
	var err error
	if k.raw != nil {
		b.Proof, err = k.raw(ctx, msg)
	} else {
		b.Form = ProofSSHSIG
		b.Proof, err = k.sshsig(ctx, ProofNamespace, msg)
	}
	if err != nil {
		return nil, err
	}
	if err := b.Check(); err != nil {
		return nil, err
	}
	return b, b.VerifyProof()
}

// parseProof checks the shape of the proof and returns it parsed if it is an SSHSIG.
func (b *KeyAdd) parseProof() (*sshsig, error) {
	if b.Form == ProofRaw {
		if _, ok := coseAlgs[b.Key.typ]; !ok || len(b.Proof) != rawSigSize {
			return nil, errf(CodeBadProof, "key-add: a raw proof is 64 bytes by an Ed25519 or P-256 key")
		}
		return nil, nil
	}
	sig, err := parseSSHSIG(b.Proof, ProofNamespace)
	if err != nil {
		return nil, errf(CodeBadProof, "key-add: proof: %v", err)
	}
	if !sig.key.Equal(b.Key) {
		return nil, errf(CodeBadProof, "key-add: the proof is by the key %s, not by the new one", sig.key.ID())
	}
	return sig, nil
}

// VerifyProof verifies the new key's own proof ("bad-proof"). Parse does not:
// whoever lets a key-add count must.
func (b *KeyAdd) VerifyProof() error {
	sig, err := b.parseProof()
	if err != nil {
		return err
	}
	msg := proofMessage(b.OperatorID, b.Key.ID())
	if sig != nil && sig.verify(ProofNamespace, msg) || sig == nil && verifyRaw(b.Key, msg, b.Proof) {
		return nil
	}
	return errf(CodeBadProof, "key-add: the new key's proof does not verify")
}
