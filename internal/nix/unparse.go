package nix

// modInput stands for an input derivation when a derivation is written: by
// its path, or by a hash modulo in base 16.
type modInput struct {
	key     string
	outputs []string
}

// unparse writes the derivation with other inputs. mask empties the output
// paths and the variables named like outputs.
func (d *Derivation) unparse(inputs []modInput, mask bool) []byte {
	b := make([]byte, 0, len(d.Raw)+256)
	b = append(b, "Derive(["...)
	for i, o := range d.Outputs {
		if mask {
			o.Path = ""
		}
		b = tuple(b, i, o.Name, o.Path, o.HashAlgo, o.Hash)
	}
	b = append(b, "],["...)
	for i, in := range inputs {
		if i > 0 {
			b = append(b, ',')
		}
		b = appendString(append(b, '('), in.key)
		b = append(appendStrings(append(b, ','), in.outputs), ')')
	}
	b = append(b, "],["...)
	for i, p := range d.InputSrcs {
		if i > 0 {
			b = append(b, ',')
		}
		b = appendString(b, p.String())
	}
	b = appendString(append(b, "],"...), d.System)
	b = appendString(append(b, ','), d.Builder)
	b = appendStrings(append(b, ','), d.Args)
	b = append(b, ",["...)
	for i, v := range d.Env {
		if _, isOutput := d.Output(v.Name); mask && isOutput {
			v.Value = ""
		}
		b = tuple(b, i, v.Name, v.Value)
	}
	return append(b, "])"...)
}

// tuple appends "(a,b…)", after a comma unless i is 0.
func tuple(b []byte, i int, fields ...string) []byte {
	if i > 0 {
		b = append(b, ',')
	}
	for n, f := range fields {
		if n == 0 {
			b = append(b, '(')
		} else {
			b = append(b, ',')
		}
		b = appendString(b, f)
	}
	return append(b, ')')
}

// pathInputs are the inputs as the file has them.
func (d *Derivation) pathInputs() []modInput {
	out := make([]modInput, len(d.InputDrvs))
	for i, in := range d.InputDrvs {
		out[i] = modInput{in.Path.String(), in.Outputs}
	}
	return out
}

// appendString appends s quoted and escaped.
func appendString(b []byte, s string) []byte {
	b = append(b, '"')
	for i := range len(s) {
		switch c := s[i]; c {
		case '"', '\\':
			b = append(b, '\\', c)
		case '\n':
			b = append(b, '\\', 'n')
		case '\r':
			b = append(b, '\\', 'r')
		case '\t':
			b = append(b, '\\', 't')
		default:
			b = append(b, c)
		}
	}
	return append(b, '"')
}

// appendStrings appends a list of strings.
func appendStrings(b []byte, list []string) []byte {
	b = append(b, '[')
	for i, s := range list {
		if i > 0 {
			b = append(b, ',')
		}
		b = appendString(b, s)
	}
	return append(b, ']')
}
