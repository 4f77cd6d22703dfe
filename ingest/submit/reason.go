package submit

import (
	"errors"
	"strings"

	"github.com/firn-log/firn/log/statement"
)

// Codes of a Reason, beside those with which logs reject leaves
// (spec/spool.md#failed).
const (
	CodeBadRecord         = "bad-record"
	CodeBadDerivation     = "bad-derivation"
	CodeNoDerivation      = "no-derivation"
	CodeUnsupported       = "unsupported"
	CodeResolvedElsewhere = "resolved-elsewhere"
	CodeBuiltElsewhere    = "built-elsewhere"
	CodeNoOutputs         = "no-outputs"
	CodeTooLarge          = "too-large"
)

// Reason says why a build will never be sent as it is.
type Reason struct {
	Code    string
	Message string // one sentence
}

func (r *Reason) Error() string { return r.Code + ": " + r.Message }

// Claimless reports whether there is nothing wrong: this machine simply has
// nothing to claim about the build.
func (r *Reason) Claimless() bool {
	return r.Code == CodeBuiltElsewhere || r.Code == CodeResolvedElsewhere
}

// marshal returns the bytes of a .reason file.
func (r *Reason) marshal() []byte {
	line := func(s string) string { return strings.Join(strings.Fields(strings.ToValidUTF8(s, "?")), " ") }
	return []byte(line(r.Code) + " " + line(r.Message) + "\n")
}

func parseReason(b []byte) (*Reason, error) {
	line, ok := strings.CutSuffix(string(b), "\n")
	code, message, ok2 := strings.Cut(line, " ")
	if !ok || !ok2 || code == "" || strings.Contains(message, "\n") {
		return nil, errors.New("not a reason")
	}
	return &Reason{code, message}, nil
}

// asReason turns statement's refusal into a Reason.
func asReason(err error) *Reason {
	code := statement.CodeOf(err)
	switch code {
	case "":
		code = statement.CodeInternalError
	case statement.CodeOversize:
		code = CodeTooLarge
	}
	return &Reason{code, err.Error()}
}
