package hook

import "strings"

// settings are the only names that the hook takes from Nix's configuration.
// NIX_CONFIG holds all of them in the clear, access tokens included, so this is
// a list of what is taken and not of what is left out.
type settings struct{ system, sandbox, sandboxFallback string }

// readSettings picks the whitelisted settings out of NIX_CONFIG, in Nix's
// "name = value" lines; as in Nix the last line of a name wins.
func readSettings(nixConfig string) settings {
	var s settings
	for line := range strings.Lines(nixConfig) {
		name, value, ok := strings.Cut(line, "=")
		if !ok {
			continue
		}
		if i := strings.IndexByte(value, '#'); i >= 0 {
			value = value[:i]
		}
		value = strings.TrimSpace(value)
		switch strings.TrimSpace(name) {
		case "system":
			s.system = onlyOf(value, isSystemChar)
		case "sandbox":
			s.sandbox = oneOf(value, "true", "false", "relaxed")
		case "sandbox-fallback":
			s.sandboxFallback = oneOf(value, "true", "false")
		}
	}
	return s
}

// oneOf returns value if it is one of the allowed ones, else "".
func oneOf(value string, allowed ...string) string {
	for _, a := range allowed {
		if value == a {
			return value
		}
	}
	return ""
}

// onlyOf returns value if it is short and all its characters are allowed, else "".
func onlyOf(value string, allowed func(byte) bool) string {
	if len(value) > 64 {
		return ""
	}
	for i := range len(value) {
		if !allowed(value[i]) {
			return ""
		}
	}
	return value
}

func isSystemChar(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '-' || c == '_' || c == '.'
}
