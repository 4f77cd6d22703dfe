package verify

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// CacheReport is what a binary cache said of the paths of a report beside their fingerprints
// (spec/cli.md#before-anything-is-downloaded). Nothing of it is signed but what a verdict is about.
type CacheReport struct {
	URL    string `json:"url"`
	Paths  int    `json:"paths"`  // whose narinfos were read
	Absent int    `json:"absent"` // that others refer to and the cache does not have

	Here          int    `json:"here"`           // of Paths, those that are in the store already
	Download      int    `json:"download"`       // of Paths, those that are not
	DownloadBytes uint64 `json:"download_bytes"` // of their files, as far as the cache says it
	Unsized       int    `json:"unsized"`        // of Download, those of whose file it does not
	UnpackedBytes uint64 `json:"unpacked_bytes"` // of their NARs

	Signed   map[string]int `json:"signed"`   // paths by the name of the key that is said to have signed them
	Unsigned int            `json:"unsigned"` // paths without a signature
	// Checked is whether the policy has an upstream line for the cache, so that signatures were checked.
	Checked bool `json:"checked"`
	Valid   int  `json:"valid"` // paths with a good signature by a key of the upstream line
}

// Words says what a download would be, and of whom the signatures are.
func (c *CacheReport) Words() string {
	var b strings.Builder
	fmt.Fprintf(&b, "Nothing was downloaded from %s. ", c.URL)
	switch {
	case c.Download == 0:
		b.WriteString("All that it has of this is here already.")
	default:
		fmt.Fprintf(&b, "The download would be %s, %s", plural(c.Download, "path"), bytesWords(c.DownloadBytes))
		if c.Unsized > 0 {
			fmt.Fprintf(&b, " and %s whose size the cache does not say", plural(c.Unsized, "file"))
		}
		fmt.Fprintf(&b, " (%s unpacked)", bytesWords(c.UnpackedBytes))
		if c.Here > 0 {
			fmt.Fprintf(&b, "; %s here already", plural(c.Here, "path"))
		}
		b.WriteByte('.')
	}
	b.WriteString("\n" + c.signatures())
	return b.String()
}

func (c *CacheReport) signatures() string {
	var names []string
	for _, name := range slices.Sorted(maps.Keys(c.Signed)) {
		names = append(names, fmt.Sprintf("%s (%d)", name, c.Signed[name]))
	}
	words := "No path is signed"
	if len(names) > 0 {
		words = "Signed in the name of " + strings.Join(names, ", ")
		if c.Unsigned > 0 {
			words += fmt.Sprintf("; %s not signed", plural(c.Unsigned, "path"))
		}
	}
	if c.Checked {
		return fmt.Sprintf("%s; %d of %d by a key of the policy's upstream line. Verdicts do not rest on that.", words, c.Valid, c.Paths)
	}
	return words + ". Nobody checked that: the policy has no upstream line for this cache, and verdicts do not rest on it."
}

// bytesWords is a size for people.
func bytesWords(n uint64) string {
	const k = 1 << 10
	switch {
	case n < k:
		return plural(int(n), "byte")
	case n < k*k:
		return fmt.Sprintf("%.1f KiB", float64(n)/k)
	case n < k*k*k:
		return fmt.Sprintf("%.1f MiB", float64(n)/k/k)
	}
	return fmt.Sprintf("%.1f GiB", float64(n)/k/k/k)
}
