package hydra

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"

	"github.com/firn-log/firn/internal/bincache"
)

// decoder reads JSON value by value and holds one at a time. After an error it is
// of no more use. Errors are the end of a sentence that begins with where the JSON
// came from.
type decoder struct {
	in  *allowance
	d   *json.Decoder
	max int64
}

// allowance is a reader that gives only so much until it is filled up again.
type allowance struct {
	r    io.Reader
	left int64
}

var errTooLarge = errors.New("too large")

func (a *allowance) Read(b []byte) (int, error) {
	if a.left <= 0 {
		return 0, errTooLarge
	}
	n, err := a.r.Read(b[:min(int64(len(b)), a.left)])
	a.left -= int64(n)
	return n, err
}

// newDecoder returns a decoder whose values are of at most max bytes.
func newDecoder(r io.Reader, max int64) (*decoder, error) {
	in := bufio.NewReader(r)
	for {
		b, err := in.Peek(1)
		if err != nil || !bytes.Contains([]byte(" \t\r\n\xef\xbb\xbf"), b) {
			if err == nil && b[0] == '<' {
				return nil, errors.New("answers with a web page in place of JSON")
			}
			break
		}
		_, _ = in.Discard(1)
	}
	a := &allowance{r: in}
	return &decoder{a, json.NewDecoder(a), max}, nil
}

// ignore is a value that nobody looks at.
type ignore struct{}

func (*ignore) UnmarshalJSON([]byte) error { return nil }

// value reads the next value into v. Names that v does not have are passed over.
func (d *decoder) value(v any) error {
	d.in.left = d.max
	return d.explain(d.d.Decode(v))
}

func (d *decoder) token() (json.Token, error) {
	d.in.left = d.max
	t, err := d.d.Token()
	return t, d.explain(err)
}

func (d *decoder) more() bool {
	d.in.left = d.max
	return d.d.More()
}

// array calls element for each element of an array, which element has to read.
func (d *decoder) array(what string, most int, element func(i int) error) error {
	t, err := d.token()
	if err != nil {
		return err
	}
	if t != json.Delim('[') {
		return fmt.Errorf("has no array of %s where one is needed", what)
	}
	for i := 0; d.more(); i++ {
		if i == most {
			return fmt.Errorf("has more than %d %s, which is not believable", most, what)
		}
		if err := element(i); err != nil {
			return err
		}
	}
	_, err = d.token()
	return err
}

// object calls field for each name of an object, whose value field has to read.
func (d *decoder) object(field func(name string) error) error {
	t, err := d.token()
	if err != nil {
		return err
	}
	if t != json.Delim('{') {
		return errors.New("is not a JSON object")
	}
	for d.more() {
		t, err := d.token()
		if err != nil {
			return err
		}
		name, ok := t.(string)
		if !ok {
			return errors.New("is not a JSON object")
		}
		if err := field(name); err != nil {
			return err
		}
	}
	_, err = d.token()
	return err
}

// end requires that nothing follows.
func (d *decoder) end() error {
	d.in.left = d.max
	switch _, err := d.d.Token(); {
	case err == io.EOF:
		return nil
	case err != nil:
		return d.explain(err)
	}
	return errors.New("goes on after the end of its JSON")
}

func (d *decoder) explain(err error) error {
	var typ *json.UnmarshalTypeError
	var syntax *json.SyntaxError
	switch {
	case err == nil:
		return nil
	case errors.Is(err, errTooLarge):
		return fmt.Errorf("has a value of more than %d bytes, which is not believable", d.max)
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return errors.New("ends in the middle of its JSON")
	case errors.As(err, &typ):
		if typ.Field == "" {
			return fmt.Errorf("has a %s where an object is needed", bincache.Clip(typ.Value))
		}
		return fmt.Errorf("has a %s where %q is needed", bincache.Clip(typ.Value), bincache.Clip(typ.Field))
	case errors.As(err, &syntax):
		return fmt.Errorf("is not JSON: %s", bincache.Clip(syntax.Error()))
	}
	return err
}

// flag is a truth value, which Perl may write as a number.
type flag bool

func (f *flag) UnmarshalJSON(b []byte) error {
	switch string(b) {
	case "1", "true", `"1"`:
		*f = true
	case "0", "false", `"0"`:
		*f = false
	case "null":
	default:
		return fmt.Errorf("has %s where a truth value is needed", bincache.Clip(string(b)))
	}
	return nil
}
