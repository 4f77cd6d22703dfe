package hook

import (
	"encoding/hex"
	"errors"
	"strconv"
	"strings"
)

// Magic is the first line of every record (spec/spool.md#record).
const Magic = "firn-spool-v1"

// MaxRecord bounds a record, in bytes.
const MaxRecord = 16 << 10

// Record is what the hook knows about one build. It holds names and a few
// whitelisted settings, never the environment.
//
// Rules for changing it (spec/spool.md#record): a field is added under a new
// word at the end and is optional; a reader refuses words that it does not
// know, so a record with a new word needs a new first line.
type Record struct {
	Drv             string   // DRV_PATH: full path of the derivation
	Time            int64    // when the hook ran, seconds since 1970, > 0
	BuildID         [16]byte // random; names this execution in the log
	Nix             string   // program that ran the hook; "" if not known
	System          string   // setting "system"; "" if not known
	Sandbox         string   // setting "sandbox"; "" if not known
	SandboxFallback string   // setting "sandbox-fallback"; "" if not known
	Note            string   // what went wrong while spooling; "" for nothing
}

// errRecord is returned by ParseRecord for everything that is not a record.
var errRecord = errors.New("not a spool record")

// words are the lines of a record after the first, in their order.
var words = [...]string{"drv", "time", "id", "nix", "system", "sandbox", "sandbox-fallback", "note"}

// required is how many of words every record has.
const required = 3

// Marshal returns the bytes of r. Characters that a line cannot hold are
// replaced by "?", and values are cut at 1,024 bytes.
func (r *Record) Marshal() []byte {
	values := [len(words)]string{
		r.Drv, strconv.FormatInt(r.Time, 10), hex.EncodeToString(r.BuildID[:]),
		r.Nix, r.System, r.Sandbox, r.SandboxFallback, r.Note,
	}
	b := []byte(Magic + "\n")
	for i, word := range words {
		if v := clean(values[i]); v != "" {
			b = append(b, word...)
			b = append(b, ' ')
			b = append(b, v...)
			b = append(b, '\n')
		}
	}
	return b
}

// maxValue bounds one value, in bytes.
const maxValue = 1024

func clean(s string) string {
	if len(s) > maxValue {
		s = s[:maxValue]
	}
	b := []byte(s)
	for i, c := range b {
		if c < 0x20 || c > 0x7e {
			b[i] = '?'
		}
	}
	return strings.TrimSpace(string(b))
}

// ParseRecord is the strict inverse of Marshal: it accepts exactly what Marshal
// writes.
func ParseRecord(b []byte) (*Record, error) {
	if len(b) > MaxRecord {
		return nil, errRecord
	}
	rest, ok := strings.CutPrefix(string(b), Magic+"\n")
	if !ok {
		return nil, errRecord
	}
	var r Record
	next := 0
	for rest != "" {
		line, after, ok := strings.Cut(rest, "\n")
		if !ok {
			return nil, errRecord
		}
		rest = after
		word, value, _ := strings.Cut(line, " ")
		for next < len(words) && words[next] != word {
			if next < required {
				return nil, errRecord
			}
			next++
		}
		if next == len(words) || value == "" || clean(value) != value || !r.set(next, value) {
			return nil, errRecord
		}
		next++
	}
	if next < required {
		return nil, errRecord
	}
	return &r, nil
}

func (r *Record) set(i int, value string) bool {
	switch words[i] {
	case "drv":
		r.Drv = value
	case "time":
		n, err := strconv.ParseInt(value, 10, 64)
		if err != nil || n <= 0 || strconv.FormatInt(n, 10) != value {
			return false
		}
		r.Time = n
	case "id":
		n, err := hex.Decode(r.BuildID[:], []byte(value[:min(len(value), 32)]))
		return err == nil && n == 16 && len(value) == 32 && strings.ToLower(value) == value
	case "nix":
		r.Nix = value
	case "system":
		r.System = value
	case "sandbox":
		r.Sandbox = value
	case "sandbox-fallback":
		r.SandboxFallback = value
	case "note":
		r.Note = value
	}
	return true
}
