package nix

import (
	"errors"
	"fmt"
	"strings"
)

// aterm is the state of reading one derivation. The first error sticks; all
// methods do nothing after it.
type aterm struct {
	b   []byte
	pos int
	err error
}

func (a *aterm) fail(format string, args ...any) {
	if a.err == nil {
		a.err = fmt.Errorf("at byte %d: "+format, append([]any{a.pos}, args...)...)
	}
}

// lit consumes exactly s.
func (a *aterm) lit(s string) {
	if a.err != nil {
		return
	}
	if len(a.b)-a.pos < len(s) || string(a.b[a.pos:a.pos+len(s)]) != s {
		a.fail("expected %q", s)
		return
	}
	a.pos += len(s)
}

// peek reports whether c comes next.
func (a *aterm) peek(c byte) bool { return a.err == nil && a.pos < len(a.b) && a.b[a.pos] == c }

// str reads a quoted string. Only the escapes that Nix writes are read, so
// that a value has one text.
func (a *aterm) str() string {
	a.lit(`"`)
	if a.err != nil {
		return ""
	}
	start := a.pos
	for i := start; i < len(a.b); i++ {
		switch a.b[i] {
		case '"':
			a.pos = i + 1
			return string(a.b[start:i])
		case '\\', '\n', '\r', '\t':
			return a.escaped(start)
		}
	}
	a.fail("unterminated string")
	return ""
}

// escaped reads the rest of a string that needs unescaping.
func (a *aterm) escaped(start int) string {
	var s strings.Builder
	for i := start; i < len(a.b); i++ {
		switch c := a.b[i]; c {
		case '"':
			a.pos = i + 1
			return s.String()
		case '\n', '\r', '\t':
			a.fail("%q must be escaped", c)
			return ""
		case '\\':
			if i++; i == len(a.b) {
				break
			}
			switch a.b[i] {
			case 'n':
				s.WriteByte('\n')
			case 'r':
				s.WriteByte('\r')
			case 't':
				s.WriteByte('\t')
			case '"', '\\':
				s.WriteByte(a.b[i])
			default:
				a.fail("escape \\%c", a.b[i])
				return ""
			}
		default:
			s.WriteByte(c)
		}
	}
	a.fail("unterminated string")
	return ""
}

// list reads "[" item "," … "]".
func (a *aterm) list(item func()) {
	a.lit("[")
	for n := 0; a.err == nil; n++ {
		if a.peek(']') {
			a.pos++
			if n > 0 && a.b[a.pos-2] == ',' {
				a.fail("a list ends in a comma")
			}
			return
		}
		item()
		if !a.peek(']') {
			a.lit(",")
		}
	}
}

// strs reads a list of strings; a sorted one must be strictly ascending.
func (a *aterm) strs(what string, sorted bool) []string {
	var out []string
	a.list(func() {
		s := a.str()
		if n := len(out); sorted && n > 0 && a.err == nil && out[n-1] >= s {
			a.fail("%s %q is out of order", what, clip(s))
		}
		out = append(out, s)
	})
	return out
}

var errTrailing = errors.New("bytes after the end")

// derive reads a whole derivation into d, which knows its store directory.
// It checks syntax and order, not meaning.
func (a *aterm) derive(d *Derivation) error {
	a.lit("Derive(")
	a.list(func() {
		var o DrvOutput
		a.lit("(")
		o.Name = a.str()
		a.lit(",")
		o.Path = a.str()
		a.lit(",")
		o.HashAlgo = a.str()
		a.lit(",")
		o.Hash = a.str()
		a.lit(")")
		if n := len(d.Outputs); n > 0 && a.err == nil && d.Outputs[n-1].Name >= o.Name {
			a.fail("output %q is out of order", clip(o.Name))
		}
		d.Outputs = append(d.Outputs, o)
	})
	a.lit(",")
	a.list(func() { a.inputDrv(d) })
	a.lit(",")
	for _, s := range a.strs("input", true) {
		d.InputSrcs = append(d.InputSrcs, a.path(d.Dir, s))
	}
	a.lit(",")
	d.System = a.str()
	a.lit(",")
	d.Builder = a.str()
	a.lit(",")
	d.Args = a.strs("argument", false)
	a.lit(",")
	a.list(func() {
		var v EnvVar
		a.lit("(")
		v.Name = a.str()
		a.lit(",")
		v.Value = a.str()
		a.lit(")")
		if n := len(d.Env); n > 0 && a.err == nil && d.Env[n-1].Name >= v.Name {
			a.fail("variable %q is out of order", clip(v.Name))
		}
		d.Env = append(d.Env, v)
	})
	a.lit(")")
	if a.err == nil && a.pos != len(a.b) {
		a.err = errTrailing
	}
	return a.err
}

// inputDrv reads one input derivation. The form with nested outputs belongs
// to dynamic derivations.
func (a *aterm) inputDrv(d *Derivation) {
	a.lit("(")
	s := a.str()
	a.lit(",")
	if a.peek('(') {
		a.err = ErrDynamicDerivation
		return
	}
	in := InputDrv{Outputs: a.strs("output", true)}
	a.lit(")")
	if a.err != nil {
		return
	}
	if in.Path = a.path(d.Dir, s); a.err == nil && !in.Path.IsDerivation() {
		a.fail("input %s is no derivation", clip(s))
	}
	if len(in.Outputs) == 0 {
		a.fail("no output of input %s is used", clip(s))
	}
	if n := len(d.InputDrvs); n > 0 && a.err == nil && d.InputDrvs[n-1].Path.Compare(in.Path) >= 0 {
		a.fail("input %s is out of order", clip(s))
	}
	d.InputDrvs = append(d.InputDrvs, in)
}

// path reads a store path out of a string just read.
func (a *aterm) path(dir StoreDir, s string) StorePath {
	if a.err != nil {
		return StorePath{}
	}
	p, err := dir.Parse(s)
	if err != nil {
		a.fail("%w", err)
	}
	return p
}
