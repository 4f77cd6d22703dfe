package eval

import (
	"encoding/hex"
	"errors"
	"fmt"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/firn-log/firn/internal/nix"
)

// Bounds of evaluation files (spec/tracker.md#bounds). Lengths are bytes.
const (
	MaxAttributes = 500_000 // lines of a file after the header
	MaxLine       = 256 << 10
	MaxFile       = 1 << 30 // uncompressed

	maxAttr     = 256
	maxRevision = 128
	maxError    = 512
	maxName     = 256 // of derivations, versions, systems, outputs
	maxText     = 1024
	maxShort    = 256 // in lists
	maxList     = 64
	maxPatches  = 256
	maxIDs      = 32
)

var (
	channelForm = regexp.MustCompile(`^[A-Za-z0-9_-][A-Za-z0-9._-]{0,63}$`)
	tokenForm   = regexp.MustCompile(`^[A-Za-z0-9._+-]{1,64}$`)
	attrForm    = regexp.MustCompile(`^[A-Za-z0-9_'+-]+(\.[A-Za-z0-9_'+-]+)*$`)
)

// ValidAttr reports whether an attribute path can stand in a file: names of
// [A-Za-z0-9_'+-], joined by ".", at most 256 bytes.
func ValidAttr(s string) bool { return len(s) <= maxAttr && attrForm.MatchString(s) }

// CheckChannel returns nil if name can be that of a channel.
func CheckChannel(name string) error {
	if !channelForm.MatchString(name) {
		return fmt.Errorf("%.80q cannot be the name of a channel: it takes 1 to 64 of A-Z a-z 0-9 . _ - and does not begin with a dot", name)
	}
	return nil
}

// badRune reports whether text must not hold r: it could end a line, or move a cursor.
func badRune(r rune) bool { return unicode.IsControl(r) || r == '\u2028' || r == '\u2029' }

// text says why s is no text of at most n bytes, or nil.
func text(what, s string, n int) error {
	switch {
	case len(s) > n:
		return fmt.Errorf("%s has %d bytes, more than %d", what, len(s), n)
	case !utf8.ValidString(s):
		return fmt.Errorf("%s is not UTF-8", what)
	case strings.ContainsFunc(s, badRune):
		return fmt.Errorf("%s holds a control character", what)
	}
	return nil
}

// Check returns nil if h can stand in a file.
func (h *Header) Check() error {
	if h.Schema != Schema {
		return fmt.Errorf("schema is %d; this program reads %d", h.Schema, Schema)
	}
	if err := CheckChannel(h.Channel); err != nil {
		return err
	}
	switch {
	case h.Seq < 1 || h.Seq > maxSeq:
		return fmt.Errorf("seq is %d, not 1 to %d", h.Seq, int64(maxSeq))
	case h.Tier != Meta && h.Tier != Drvs:
		return fmt.Errorf("tier %.20q is neither %s nor %s", h.Tier, Meta, Drvs)
	case h.Revision == "":
		return errors.New("revision is missing")
	case h.Time.Nanosecond() != 0 || h.Time.Location() != time.UTC || h.Time.Unix() < 0 || h.Time.Year() > 9999:
		return errors.New("time is not in UTC, whole seconds since 1970")
	case !tokenForm.MatchString(h.System):
		return fmt.Errorf("%.80q cannot be a system", h.System)
	case h.Full && h.Base != "":
		return errors.New("a full file has no base")
	case !h.Full && !isDigest(h.Base):
		return errors.New("base is not the 64 hexadecimal digits of the file before")
	}
	return text("revision", h.Revision, maxRevision)
}

const maxSeq = 1<<53 - 1

func isDigest(s string) bool {
	b, err := hex.DecodeString(s)
	return err == nil && len(b) == 32 && s == strings.ToLower(s)
}

// Check returns nil if a can stand in a file with the header h.
func (a *Attribute) Check(h *Header) error {
	if !ValidAttr(a.Attr) {
		return fmt.Errorf("attr %.80q is no attribute path", a.Attr)
	}
	switch {
	case a.Gone:
		if h.Full {
			return errors.New("nothing is gone from a full file")
		}
		return a.only(Attribute{Attr: a.Attr, Gone: true}, "what is gone has nothing but attr")
	case a.Error != "":
		if err := text("error", a.Error, maxError); err != nil {
			return err
		}
		return a.only(Attribute{Attr: a.Attr, Error: a.Error}, "what does not evaluate has nothing but attr and error")
	case a.Name == "":
		return errors.New("name is missing")
	}
	if err := errors.Join(text("name", a.Name, maxName), text("system", a.System, maxName)); err != nil {
		return err
	}
	if h.Tier == Drvs {
		return a.checkDrv()
	}
	return a.checkMeta()
}

// only returns an error unless a is want.
func (a *Attribute) only(want Attribute, why string) error {
	if !reflect.DeepEqual(*a, want) {
		return errors.New(why)
	}
	return nil
}

func (a *Attribute) checkDrv() error {
	p, err := nix.DefaultStoreDir.FromBase(a.Drv)
	if err != nil || !p.IsDerivation() {
		return fmt.Errorf("drv %.80q is not the base name of a derivation", a.Drv)
	}
	if len(a.Outputs) == 0 || len(a.Outputs) > maxList {
		return fmt.Errorf("a derivation has 1 to %d outputs, not %d", maxList, len(a.Outputs))
	}
	for name, base := range a.Outputs {
		if err := nix.CheckName(name); err != nil {
			return fmt.Errorf("output: %w", err)
		}
		if base == "" {
			continue
		}
		if _, err := nix.DefaultStoreDir.FromBase(base); err != nil {
			return fmt.Errorf("output %s: %w", name, err)
		}
	}
	return a.only(Attribute{Attr: a.Attr, Name: a.Name, System: a.System, Drv: a.Drv, FOD: a.FOD, Outputs: a.Outputs}, "tier drvs has only attr, name, system, drv, fod and outputs")
}

func (a *Attribute) checkMeta() error {
	if a.Drv != "" || a.FOD || a.Outputs != nil {
		return errors.New("tier meta has no drv, fod and outputs")
	}
	errs := []error{
		text("pname", a.Pname, maxName), text("version", a.Version, maxName), text("position", a.Position, maxText),
		text("description", a.Description, maxText), text("homepage", a.Homepage, maxText),
		texts("teams", a.Teams, maxList), texts("licences", a.Licences, maxList), texts("patches", a.Patches, maxPatches),
		texts("knownVulnerabilities", a.KnownVulns, maxList),
	}
	if len(a.Maintainers) > maxList {
		errs = append(errs, fmt.Errorf("%d maintainers are more than %d", len(a.Maintainers), maxList))
	}
	for _, m := range a.Maintainers {
		if m.Login == "" {
			errs = append(errs, errors.New("a maintainer has no login"))
		}
		errs = append(errs, text("login", m.Login, maxShort), text("name of a maintainer", m.Name, maxShort), text("email", m.Email, maxShort))
	}
	if len(a.Identifiers) > maxIDs {
		errs = append(errs, fmt.Errorf("%d identifiers are more than %d", len(a.Identifiers), maxIDs))
	}
	for k, v := range a.Identifiers {
		if !tokenForm.MatchString(k) {
			errs = append(errs, fmt.Errorf("%.80q cannot be the name of an identifier", k))
		}
		errs = append(errs, text("identifier", v, maxText))
	}
	i := slices.IndexFunc(errs, func(err error) bool { return err != nil })
	if i < 0 {
		return nil
	}
	return errs[i] // one is enough
}

func texts(what string, list []string, n int) error {
	if len(list) > n {
		return fmt.Errorf("%d %s are more than %d", len(list), what, n)
	}
	for _, s := range list {
		if s == "" {
			return fmt.Errorf("an empty text in %s", what)
		}
		if err := text(what, s, maxShort); err != nil {
			return err
		}
	}
	return nil
}
