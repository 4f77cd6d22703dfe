package nix

import (
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strings"
)

// MaxRealisationLen bounds the JSON of a realisation, in bytes.
const MaxRealisationLen = 1 << 20

// ErrRealisation is what errors of ParseRealisation wrap.
var ErrRealisation = errors.New("bad realisation")

// RealisationForm is the generation of a realisation's JSON. It decides what
// its signatures cover.
type RealisationForm int

// The forms. Nix up to 2.33 writes ByModulo with dependent realisations, 2.34
// always without; from 2.35 it is ByDrvPath.
const (
	ByModulo  RealisationForm = iota // {"id":"sha256:<hex>!<out>","outPath":…}
	ByDrvPath                        // {"key":{"drvPath":…},"value":{"outPath":…}}
)

// Realisation says what an output of a content-addressed derivation turned
// out to be. Its signatures cover the output's path, which commits to the
// content, but no NAR hash.
type Realisation struct {
	Form      RealisationForm
	Modulo    Hash      // ByModulo: masked hash modulo of the derivation
	DrvPath   StorePath // ByDrvPath: the resolved derivation
	Output    string
	OutPath   StorePath
	Dependent []DependentRealisation // ByModulo: sorted by id
	Sigs      []string               // "key-name:base64"
}

// DependentRealisation is a realisation that another one rests on.
type DependentRealisation struct {
	ID      string // "sha256:<hex>!<output>"
	OutPath StorePath
}

// ID returns "sha256:<hex>!<output>" or "<drv path>!<output>".
func (r *Realisation) ID() string {
	if r.Form == ByDrvPath {
		return r.DrvPath.String() + "!" + r.Output
	}
	return realisationID(r.Modulo, r.Output)
}

func realisationID(modulo Hash, output string) string {
	return "sha256:" + modulo.Hex() + "!" + output
}

// ParseRealisationID reads "sha256:<hex>!<output>".
func ParseRealisationID(id string) (modulo Hash, output string, err error) {
	digits, output, ok := strings.Cut(strings.TrimPrefix(id, "sha256:"), "!")
	h, err := hex.DecodeString(digits)
	if !ok || err != nil || len(h) != len(Hash{}) || realisationID(Hash(h), output) != id {
		return Hash{}, "", fmt.Errorf("id %q is not sha256:<base 16>!<output>", clip(id))
	}
	return Hash(h), output, CheckName(output)
}

// ParseRealisation reads the JSON of a realisation of either form, with the
// paths in dir (spec/nix.md#realisations). Signatures may be strings or
// {"keyName","sig"} objects. Keys that this version does not know are
// refused, because what is not understood might be signed.
func ParseRealisation(dir StoreDir, b []byte) (*Realisation, error) {
	return parseRealisation(dir, b, (*realisationReader).whole, nil)
}

// ParseRealisationValue reads the file build-trace-v2/<drv base>/<output>.doi
// of a binary cache, which holds only the value of a ByDrvPath realisation.
func ParseRealisationValue(dir StoreDir, drv StorePath, output string, b []byte) (*Realisation, error) {
	if !drv.IsDerivation() {
		return nil, fmt.Errorf("%w: %q is no derivation", ErrRealisation, drv)
	}
	return parseRealisation(dir, b, (*realisationReader).value, &Realisation{Form: ByDrvPath, DrvPath: drv, Output: output})
}

func parseRealisation(dir StoreDir, b []byte, read func(*realisationReader), r *Realisation) (*Realisation, error) {
	if len(b) > MaxRealisationLen {
		return nil, fmt.Errorf("%w: longer than %d bytes", ErrRealisation, MaxRealisationLen)
	}
	if r == nil {
		r = &Realisation{}
	}
	rr := &realisationReader{jsonReader: jsonReader{b: b}, dir: dir, r: r}
	read(rr)
	err := rr.end()
	if err == nil {
		err = rr.complete()
	}
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrRealisation, err)
	}
	return r, nil
}

type realisationReader struct {
	jsonReader
	dir         StoreDir
	r           *Realisation
	flat, keyed bool // fields of ByModulo, of ByDrvPath were seen
}

func (j *realisationReader) whole() {
	j.object(func(key string) {
		if key == "key" || key == "value" {
			j.keyed, j.r.Form = true, ByDrvPath
		} else {
			j.flat = true
		}
		switch key {
		case "id":
			var err error
			if j.r.Modulo, j.r.Output, err = ParseRealisationID(j.str()); err != nil {
				j.fail("%w", err)
			}
		case "outPath":
			j.r.OutPath = j.path()
		case "dependentRealisations":
			j.dependent()
		case "signatures":
			j.signatures()
		case "key":
			j.object(j.keyField)
		case "value":
			j.value()
		default:
			j.fail("key %q", clip(key))
		}
	})
}

func (j *realisationReader) keyField(key string) {
	switch key {
	case "drvPath":
		j.r.DrvPath = j.path()
	case "outputName":
		j.r.Output = j.str()
	default:
		j.fail("key %q", clip(key))
	}
}

func (j *realisationReader) value() {
	j.object(func(key string) {
		switch key {
		case "outPath":
			j.r.OutPath = j.path()
		case "signatures":
			j.signatures()
		default:
			j.fail("key %q", clip(key))
		}
	})
}

func (j *realisationReader) dependent() {
	j.object(func(id string) {
		if _, _, err := ParseRealisationID(id); err != nil {
			j.fail("%w", err)
		}
		j.r.Dependent = append(j.r.Dependent, DependentRealisation{id, j.path()})
	})
	slices.SortFunc(j.r.Dependent, func(a, b DependentRealisation) int { return strings.Compare(a.ID, b.ID) })
}

func (j *realisationReader) signatures() {
	j.array(func() {
		sig := ""
		if j.next() == '"' {
			sig = j.str()
		} else {
			var name, b64 string
			j.object(func(key string) {
				switch key {
				case "keyName":
					name = j.str()
				case "sig":
					b64 = j.str()
				default:
					j.fail("key %q", clip(key))
				}
			})
			sig = name + ":" + b64
		}
		if name, _, ok := strings.Cut(sig, ":"); !ok || checkKeyName(name) != nil {
			j.fail("signature %q names no key", clip(sig))
		}
		j.r.Sigs = append(j.r.Sigs, sig)
	})
}

func (j *realisationReader) path() StorePath {
	s := j.str()
	if j.err != nil {
		return StorePath{}
	}
	p, err := j.dir.FromBase(s)
	if err != nil {
		j.fail("%w", err)
	}
	return p
}

// complete checks that all fields of one form are there, and none of the
// other.
func (j *realisationReader) complete() error {
	r := j.r
	switch {
	case j.flat && j.keyed:
		return errors.New("fields of two forms")
	case r.OutPath.IsZero():
		return errors.New("no outPath")
	case r.Output == "":
		return errors.New("neither id nor key")
	case r.Form == ByDrvPath && !r.DrvPath.IsDerivation():
		return errors.New("drvPath is no derivation")
	}
	return CheckName(r.Output)
}

// Fingerprint returns the bytes that signatures cover: the JSON without
// white space and signatures, with its keys in order.
func (r *Realisation) Fingerprint() []byte { return r.appendJSON(nil, false) }

// Marshal returns the JSON with signatures, as Nix of that form writes it,
// without white space.
func (r *Realisation) Marshal() []byte { return r.appendJSON(nil, true) }

// Values need no escapes: every parser here admits only characters that JSON
// takes as they are.
func (r *Realisation) appendJSON(b []byte, sigs bool) []byte {
	if r.Form == ByDrvPath {
		b = append(b, `{"key":{"drvPath":"`+r.DrvPath.Base()+`","outputName":"`+r.Output+`"},"value":`...)
		return append(r.appendValue(b, sigs), '}')
	}
	b = append(b, `{"dependentRealisations":{`...)
	for i, d := range r.Dependent {
		if i > 0 {
			b = append(b, ',')
		}
		b = append(b, `"`+d.ID+`":"`+d.OutPath.Base()+`"`...)
	}
	b = append(b, `},"id":"`+r.ID()+`","outPath":"`+r.OutPath.Base()+`"`...)
	if sigs {
		b = append(b, `,"signatures":[`...)
		for i, s := range r.Sigs {
			if i > 0 {
				b = append(b, ',')
			}
			b = append(b, `"`+s+`"`...)
		}
		b = append(b, ']')
	}
	return append(b, '}')
}

// MarshalValue returns the content of a .doi file of a ByDrvPath realisation.
func (r *Realisation) MarshalValue() []byte { return r.appendValue(nil, true) }

func (r *Realisation) appendValue(b []byte, sigs bool) []byte {
	b = append(b, `{"outPath":"`+r.OutPath.Base()+`"`...)
	if sigs {
		b = append(b, `,"signatures":[`...)
		for i, s := range r.Sigs {
			if i > 0 {
				b = append(b, ',')
			}
			name, sig, _ := strings.Cut(s, ":")
			b = append(b, `{"keyName":"`+name+`","sig":"`+sig+`"}`...)
		}
		b = append(b, ']')
	}
	return append(b, '}')
}

// Verify reports whether one of the signatures is a strictly valid one by
// key.
func (r *Realisation) Verify(key PublicKey) bool {
	fp := string(r.Fingerprint())
	return slices.ContainsFunc(r.Sigs, func(sig string) bool { return key.Verify(fp, sig) })
}

// Sign adds a signature by key.
func (r *Realisation) Sign(key SecretKey) {
	r.Sigs = append(r.Sigs, key.Sign(string(r.Fingerprint())))
}
