package server

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/firn-log/firn/log/statement"
)

// BlobsConfig says which blobs are taken beside lists of paths, and how long they are
// kept (spec/log.md#blobs).
type BlobsConfig struct {
	// Enabled takes build logs, derivation texts and reports of differences. Default
	// false: they are public at once and may hold secrets. Lists of paths are always
	// taken and kept.
	Enabled bool `toml:"enabled" comment:"Take build logs, derivation texts and reports of differences beside the statements that name them. Whatever is\nsent is public at once, and such texts may hold secrets: tokens in a log, passwords in a derivation. firn-log blobs\ndelete takes one away here, and not from those who have read it. Lists of paths are always taken and kept."`
	// MaxBytes bounds what is kept of them, in bytes; the oldest goes first. At least
	// 128 MiB. Default 10 GiB.
	MaxBytes uint64 `toml:"max-bytes" comment:"How many bytes of them are kept; the oldest go first."`
	// Keep is how long each is kept. Default 365 days; 0 is for ever.
	Keep Days `toml:"keep" comment:"How long each is kept, for instance \"90d\"; \"0d\" is for ever."`
}

// minMaxBytes is the smallest max-bytes: whatever one request may bring fits.
const minMaxBytes = maxBlobs * statement.MaxBlob

func (c *BlobsConfig) check(bad func(format string, args ...any)) {
	if c.MaxBytes < minMaxBytes {
		bad("blobs.max-bytes: %d is less than the %d bytes that one request may bring", c.MaxBytes, minMaxBytes)
	}
}

// json is what everybody may know.
func (c *BlobsConfig) json() map[string]any {
	return map[string]any{"enabled": c.Enabled, "max_bytes": c.MaxBytes, "keep": c.Keep.String()}
}

// oldest returns the time before which a blob is too old.
func (c *BlobsConfig) oldest(now time.Time) time.Time {
	if c.Keep.N == 0 {
		return time.Time{}
	}
	return now.Add(-time.Duration(c.Keep.N) * 24 * time.Hour)
}

// Days is a number of days, written "365d".
type Days struct{ N uint32 }

// maxDays is about 100 years.
const maxDays = 36_500

func (d Days) String() string { return strconv.FormatUint(uint64(d.N), 10) + "d" }

// MarshalText implements encoding.TextMarshaler.
func (d Days) MarshalText() ([]byte, error) { return []byte(d.String()), nil }

// UnmarshalText implements encoding.TextUnmarshaler.
func (d *Days) UnmarshalText(b []byte) error {
	n, err := strconv.ParseUint(strings.TrimSuffix(string(b), "d"), 10, 32)
	if err != nil || !strings.HasSuffix(string(b), "d") || n > maxDays {
		return fmt.Errorf("%q is not a number of days up to %d, such as \"365d\"", b, maxDays)
	}
	d.N = uint32(n)
	return nil
}
