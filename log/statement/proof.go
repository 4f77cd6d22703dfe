package statement

import "context"

// ProveKey lets the signer's key prove that it wants to belong to the operator
// and returns the body of the key-add that says so. The signer must come from
// this package.
func ProveKey(ctx context.Context, s Signer, operator ID, role Role) (*KeyAdd, error) {
	return nil, errf(CodeInternalError, "not built yet")
}

// VerifyProof verifies the new key's own proof ("bad-proof").
func (b *KeyAdd) VerifyProof() error {
	return errf(CodeInternalError, "not built yet")
}
