package main

import (
	"fmt"
	"io"
	"unicode/utf8"

	"github.com/firn-log/firn/internal/bincache"
	"github.com/firn-log/firn/internal/nix"
	"github.com/firn-log/firn/verify"
)

// challengeOutput is the JSON of firn challenge (spec/cli.md#firn-challenge).
type challengeOutput struct {
	Schema int             `json:"schema"`
	Exit   int             `json:"exit"`
	Paths  []challengePath `json:"paths"`
}

type challengePath struct {
	Path   string           `json:"path"`
	Caches []challengeCache `json:"caches"`
	Diffs  []challengeDiffs `json:"differences"`
}

type challengeCache struct {
	URL        string `json:"url"`
	Absent     bool   `json:"absent,omitempty"`
	NarHash    string `json:"nar_hash,omitempty"`
	NarSize    uint64 `json:"nar_size,omitempty"`
	References int    `json:"references"`
	Verdict    string `json:"verdict,omitempty"`
	Reason     string `json:"reason,omitempty"`
}

type challengeDiffs struct {
	A     string     `json:"a"` // address of a cache
	B     string     `json:"b"`
	OnlyA []string   `json:"references_only_a"`
	OnlyB []string   `json:"references_only_b"`
	Total uint64     `json:"total"`
	Files []diffFile `json:"files"`
	Note  string     `json:"note,omitempty"` // why there are no files
	Wrong bool       `json:"wrong,omitempty"`
}

// showChallenge writes what was found and returns the exit status as an error. report may be nil.
func (a *app) showChallenge(f *challengeFlags, caches []*bincache.Client, results []*challenged, report *verify.Report) error {
	code := exitOK
	if report != nil {
		code = report.ExitStatus()
	}
	for _, r := range results {
		if len(r.diffs) > 0 && code != exitMisbehaviour {
			code = exitUntrusted
		}
	}
	var err error
	if f.json {
		out := challengeOutput{Schema: 1, Exit: code, Paths: []challengePath{}}
		for _, r := range results {
			out.Paths = append(out.Paths, r.json(caches))
		}
		err = a.writeJSON(out)
	} else {
		for i, r := range results {
			if i > 0 {
				fmt.Fprintln(a.Stdout)
			}
			if err = r.write(a.Stdout, caches); err != nil {
				break
			}
		}
	}
	if err != nil || code == exitOK {
		return err
	}
	return errSilent(code)
}

// letter names a cache in the output for people.
func letter(i int) string {
	if i < 26 {
		return string(rune('A' + i))
	}
	return fmt.Sprintf("#%d", i+1)
}

func (r *challenged) write(w io.Writer, caches []*bincache.Client) error {
	fmt.Fprintln(w, r.path)
	for i, s := range r.sides {
		if s.info == nil {
			fmt.Fprintf(w, "%s %s does not have it\n", letter(i), caches[i].URL())
			continue
		}
		fmt.Fprintf(w, "%s %s has %s, %d bytes, %s\n", letter(i), caches[i].URL(), s.info.NarHash, s.info.NarSize, plural(uint64(len(s.info.References)), "reference", "references"))
		if s.verdict != nil {
			fmt.Fprintf(w, "  %s: %s\n", s.verdict.Verdict, s.verdict.Reason)
		}
	}
	if len(r.diffs) == 0 {
		_, err := fmt.Fprintln(w, "All that have it say the same.")
		return err
	}
	for _, d := range r.diffs {
		if err := d.write(w); err != nil {
			return err
		}
	}
	return nil
}

func (d *challengeDiff) write(w io.Writer) error {
	fmt.Fprintf(w, "%s and %s differ:\n", letter(d.a), letter(d.b))
	for _, side := range []struct {
		letter string
		paths  []nix.StorePath
	}{{letter(d.a), d.onlyA}, {letter(d.b), d.onlyB}} {
		for _, p := range side.paths {
			fmt.Fprintf(w, "reference   %s, of %s only\n", p.Base(), side.letter)
		}
	}
	if d.nars == nil {
		_, err := fmt.Fprintln(w, bincache.Visible(d.why))
		return err
	}
	names := map[nix.DiffKind]string{nix.DiffOnlyA: "only in " + letter(d.a), nix.DiffOnlyB: "only in " + letter(d.b)}
	for _, file := range d.nars.Files {
		what, ok := names[file.What]
		if !ok {
			what = string(file.What)
		}
		fmt.Fprintf(w, "%-10s  %s\n", what, diffName(file.Name))
	}
	if more := d.nars.Total - uint64(len(d.nars.Files)); more > 0 {
		fmt.Fprintf(w, "… and %d more\n", more)
	}
	return nil
}

func (r *challenged) json(caches []*bincache.Client) challengePath {
	out := challengePath{Path: r.path.String(), Caches: []challengeCache{}, Diffs: []challengeDiffs{}}
	for i, s := range r.sides {
		c := challengeCache{URL: caches[i].URL(), Absent: s.info == nil}
		if s.info != nil {
			c.NarHash, c.NarSize, c.References = s.info.NarHash.String(), s.info.NarSize, len(s.info.References)
		}
		if s.verdict != nil {
			c.Verdict, c.Reason = s.verdict.Verdict.String(), s.verdict.Reason
		}
		out.Caches = append(out.Caches, c)
	}
	for _, d := range r.diffs {
		j := challengeDiffs{
			A: caches[d.a].URL(), B: caches[d.b].URL(), OnlyA: pathNames(d.onlyA), OnlyB: pathNames(d.onlyB),
			Files: []diffFile{}, Note: d.why, Wrong: d.wrong,
		}
		if d.nars != nil {
			j.Total, j.Files = d.nars.Total, diffFiles(d.nars)
		}
		out.Diffs = append(out.Diffs, j)
	}
	return out
}

func pathNames(paths []nix.StorePath) []string {
	names := []string{}
	for _, p := range paths {
		names = append(names, p.String())
	}
	return names
}

// diffFiles are the files of a comparison as JSON has them.
func diffFiles(d *nix.NarDiff) []diffFile {
	files := []diffFile{}
	for _, f := range d.Files {
		file := diffFile{Name: f.Name, What: f.What}
		if !utf8.ValidString(f.Name) {
			file.Bytes = []byte(f.Name)
		}
		files = append(files, file)
	}
	return files
}
