package statement

import (
	"encoding/pem"
	"strings"
)

// publicKeyFromPEM reads one block "PUBLIC KEY" and nothing else.
func publicKeyFromPEM(s string) (PublicKey, error) {
	block, rest := pem.Decode([]byte(s))
	if block == nil || strings.TrimSpace(string(rest)) != "" {
		return PublicKey{}, errf(CodeBadKey, "not one PEM block")
	}
	if block.Type != "PUBLIC KEY" {
		return PublicKey{}, errf(CodeBadKey, "a PEM block %s instead of PUBLIC KEY", quoteShort(block.Type))
	}
	return ParsePublicKey(block.Bytes)
}
