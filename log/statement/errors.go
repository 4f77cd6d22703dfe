package statement

import (
	"errors"
	"fmt"
)

// Codes of an [Error], as they appear in a log's answers. A code never changes
// its meaning (spec/statement.md#errors).
const (
	CodeOversize      = "oversize"              // leaf longer than its kind allows
	CodeNonCanonical  = "non-canonical"         // not deterministic CBOR, or not the bytes that encoding gives
	CodeBadForm       = "bad-form"              // none of the three forms, or a form that the kind does not have
	CodeVersion       = "unknown-version"       // payload version other than 1
	CodeUnknownKind   = "unknown-kind"          // not a kind of this document
	CodeNotYet        = "not-yet"               // a reserved kind, or a part of a kind that is not supported yet
	CodeBadShape      = "bad-shape"             // fields missing, unknown or of a wrong type
	CodeBadValue      = "bad-value"             // a field outside its bounds
	CodePath          = "path-does-not-follow"  // a store path that the statement's own facts contradict
	CodeDigest        = "digest-does-not-match" // a digest, count or NAR hash that the statement's own facts contradict
	CodeBadKey        = "bad-key"               // a key of a kind, size or order that is refused
	CodeBadSSHSIG     = "bad-sshsig"            // an SSHSIG with another namespace, hash, layout or key form
	CodeNoPresence    = "no-user-presence"      // a security key signed without being touched
	CodeBadSignature  = "bad-signature"         // the signature does not verify
	CodeBadProof      = "bad-proof"             // the new key's own proof in a key-add does not verify
	CodeWrongKey      = "wrong-key"             // verified with a key other than the signer's
	CodeWrongSigner   = "wrong-signer"          // the body names its signer, and somebody else signed
	CodeBadChain      = "bad-chain"             // prev where there is none, or none where there must be one
	CodeNeedsBlob     = "needs-blob"            // the signature covers a list of which the leaf has only the digest
	CodeNotEvidence   = "not-evidence"          // evidence that convicts nobody
	CodeInternalError = "internal-error"        // a defect of this program; never caused by input
)

// An Error says why a statement, a key or a signature is refused. Error()
// is one sentence that can be shown to the person who sent it.
type Error struct {
	Code string // one of the Code constants
	Msg  string // what was wrong where; lower case, no period
}

func (e *Error) Error() string { return e.Msg }

// CodeOf returns the code of the first [Error] in err's chain, or "" if there
// is none.
func CodeOf(err error) string {
	var e *Error
	if errors.As(err, &e) {
		return e.Code
	}
	return ""
}

func errf(code, format string, args ...any) *Error {
	return &Error{Code: code, Msg: fmt.Sprintf(format, args...)}
}
