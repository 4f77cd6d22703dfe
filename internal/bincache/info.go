package bincache

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"unicode"

	"github.com/firn-log/firn/internal/nix"
)

// Names of the files of a cache.
const (
	infoName      = "nix-cache-info"
	narInfoSuffix = ".narinfo"
)

// maxInfoLen bounds nix-cache-info, in bytes.
const maxInfoLen = 64 << 10

// ParseInfo reads the store directory out of a nix-cache-info, which is lines
// "Name: value" (spec/import.md#what-is-asked-of-a-cache). Without one it is
// /nix/store, as for Nix; names that are not known are passed over.
func ParseInfo(b []byte) (nix.StoreDir, error) {
	if len(b) > maxInfoLen {
		return "", fmt.Errorf("longer than %d bytes", maxInfoLen)
	}
	dir, seen := nix.DefaultStoreDir, false
	for line := range strings.Lines(string(b)) {
		line = strings.TrimRight(line, "\r\n")
		if line == "" {
			continue
		}
		name, value, ok := strings.Cut(line, ":")
		if !ok {
			return "", fmt.Errorf("%q is not \"Name: value\"", Clip(line))
		}
		if name != "StoreDir" {
			continue
		}
		if seen {
			return "", errors.New("more than one StoreDir")
		}
		dir, seen = nix.StoreDir(strings.TrimSpace(value)), true
	}
	return dir, dir.Validate()
}

// isPage reports whether an answer is a page for people: what a captive portal, a
// login or a mistyped address gives with status 200.
func isPage(b []byte) bool {
	return bytes.HasPrefix(bytes.TrimLeft(b, " \t\r\n\xef\xbb\xbf"), []byte("<"))
}

// Clip is foreign text, short and visible.
func Clip(s string) string {
	if len(s) > 80 {
		s = s[:77] + "..."
	}
	return Visible(s)
}

// Visible is foreign text without what cannot be seen, or moves a terminal's cursor or
// the order of letters.
func Visible(s string) string {
	return strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return '?'
		}
		return r
	}, strings.ToValidUTF8(s, "?"))
}
