package nix

import (
	"errors"
	"fmt"
)

// errJSON is what errors about JSON text wrap.
var errJSON = errors.New("not the JSON expected")

// jsonReader reads the JSON of realisations: objects, arrays and strings that
// need no escapes, which is all that Nix writes there. Reading only that, it
// refuses what JSON libraries disagree about: keys that come twice or differ
// in case, escapes, invalid UTF-8. The first error sticks.
type jsonReader struct {
	b   []byte
	pos int
	err error
}

func (j *jsonReader) fail(format string, args ...any) {
	if j.err == nil {
		j.err = fmt.Errorf("%w: at byte %d: "+format, append([]any{errJSON, j.pos}, args...)...)
	}
}

// next skips white space and returns the next byte, or 0 at the end.
func (j *jsonReader) next() byte {
	for ; j.err == nil && j.pos < len(j.b); j.pos++ {
		switch c := j.b[j.pos]; c {
		case ' ', '\t', '\n', '\r':
		default:
			return c
		}
	}
	return 0
}

func (j *jsonReader) take(c byte) {
	if got := j.next(); got != c {
		j.fail("%q where %q belongs", got, c)
		return
	}
	j.pos++
}

// end checks that only white space follows.
func (j *jsonReader) end() error {
	if j.next() != 0 || j.err == nil && j.pos != len(j.b) {
		j.fail("bytes after the end")
	}
	return j.err
}

// str reads a string of printable ASCII.
func (j *jsonReader) str() string {
	j.take('"')
	for i := j.pos; j.err == nil && i < len(j.b); i++ {
		switch c := j.b[i]; {
		case c == '"':
			s := string(j.b[j.pos:i])
			j.pos = i + 1
			return s
		case c == '\\' || c < ' ' || c > '~':
			j.fail("%q in a string", c)
		}
	}
	j.fail("unterminated string")
	return ""
}

// object reads an object; field is called with each key in front of its
// value. Keys that come twice are refused.
func (j *jsonReader) object(field func(key string)) {
	seen := make(map[string]bool)
	j.items('{', '}', func() {
		key := j.str()
		j.take(':')
		if seen[key] {
			j.fail("%q comes twice", clip(key))
		}
		seen[key] = true
		if j.err == nil {
			field(key)
		}
	})
}

func (j *jsonReader) array(item func()) { j.items('[', ']', item) }

func (j *jsonReader) items(open, end byte, item func()) {
	j.take(open)
	for n := 0; j.err == nil; n++ {
		if n == 0 && j.next() == end {
			break
		}
		item()
		if j.next() != ',' {
			break
		}
		j.pos++
	}
	j.take(end)
}
