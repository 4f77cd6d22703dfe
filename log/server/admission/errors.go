package admission

import "fmt"

// Codes of an [Error]. They stand beside those of package statement, in one
// name space; a code never changes its meaning (spec/log.md#errors).
const (
	CodeUnknownKey      = "unknown-key"      // no operator has registered the signer's key here
	CodeKeyTaken        = "key-taken"        // the key is registered already, perhaps by another operator
	CodeWrongRole       = "wrong-role"       // a build key signed about people, or an identity key made a claim
	CodeRevokedKey      = "revoked-key"      // the signer's key was revoked
	CodeWrongOperator   = "wrong-operator"   // the signer's key belongs to another operator than the statement names
	CodeUnknownOperator = "unknown-operator" // the statement names an operator that is not registered here
	CodeUnknownPrev     = "unknown-prev"     // prev is not a statement of this operator in this log
	CodeUnknownTarget   = "unknown-target"   // the key to revoke is not one of this operator's
	CodeLogOnly         = "log-only"         // a kind that only the log itself makes, or its key used elsewhere
	CodeUnlistedCache   = "unlisted-cache"   // a cache key that this log does not list and nobody registered
	CodeWrongCacheName  = "wrong-cache-name" // a cache-sig under another key name than the listed or registered one
	CodeNotListed       = "not-listed"       // the log admits only operators that its own operator vouched for
	CodeBudgetUnvouched = "budget-unvouched" // today's budget of all unvouched keys is used up
	CodeBudgetKey       = "budget-key"       // today's budget of this key is used up
	CodeTooManyClaims   = "too-many-claims"  // this key has made as many claims about this subject as it may
	CodeBlobNotNamed    = "blob-not-named"   // a blob came that the statement does not name, or twice
	CodeBlobsOff        = "blobs-off"        // this log takes no logs, derivation texts and reports
	CodeBlobDeleted     = "blob-deleted"     // the log's operator has deleted the blob for good
	CodeNotAList        = "not-a-list"       // a blob that is to be a list of paths is none, or another one
)

// An Error says why a well-formed statement is not admitted. Error() is one
// sentence for the person who sent it.
type Error struct {
	Code string // one of the Code constants
	Msg  string // lower case, no period
}

func (e *Error) Error() string { return e.Msg }

func errf(code, format string, args ...any) *Error {
	return &Error{Code: code, Msg: fmt.Sprintf(format, args...)}
}
