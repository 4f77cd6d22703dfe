package statement

// Form says how a statement is signed (spec/statement.md#forms).
type Form int

// The forms.
const (
	COSE Form = iota + 1
	SSHSIG
	Foreign
)

// A Statement is a parsed leaf. Parse makes them; do not change one.
type Statement struct {
	Kind    Kind
	Body    Body
	For     string // on whose behalf; "" if nobody's
	Prev    *ID    // previous people statement of the same operator
	Payload []byte // the bytes that are signed
	Form    Form
	Signer  KeyID
	// SignerKey is the signer's key if the leaf's form or body carries it:
	// SSHSIG, foreign, operator and genesis. It is not trusted for being here.
	SignerKey *PublicKey
	// Sig is the signature: 64 bytes (COSE, foreign) or the SSHSIG blob.
	Sig []byte
}

// Parse parses a leaf strictly: form, canonical encoding, shape, bounds and
// arithmetic. It does not verify the signature. Errors are *Error.
func Parse(leaf []byte) (*Statement, error) {
	return nil, errf(CodeInternalError, "not built yet")
}

// EncodePayload returns the payload of a statement, checked as Parse would.
// forWhom may be "" and prev nil.
func EncodePayload(body Body, forWhom string, prev *ID) ([]byte, error) {
	return nil, errf(CodeInternalError, "not built yet")
}

// ID returns the statement's id.
func (s *Statement) ID() ID { return PayloadID(s.Signer, s.Payload) }

// Leaf returns the bytes that Parse was given.
func (s *Statement) Leaf() []byte { return nil }

// Verify verifies the signature with key, whose id must be s.Signer
// ("wrong-key" otherwise, "bad-signature" if it does not verify).
func (s *Statement) Verify(key PublicKey) error {
	return errf(CodeInternalError, "not built yet")
}
