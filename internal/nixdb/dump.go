package nixdb

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"os/exec"
	"slices"
	"strconv"
	"strings"

	"github.com/firn-log/firn/internal/nix"
)

// Bounds of a dump: the longest line, the references of one path.
const (
	maxDumpLine = 4096
	maxDumpRefs = 1 << 20
)

// Dump is a Source made of the text of `nix-store --dump-db`. It is a picture of
// the store at the time it was made.
type Dump struct {
	dir   nix.StoreDir
	infos map[nix.StorePath]*nix.PathInfo
}

// DumpDB runs the program nixStore (for instance "nix-store") with --dump-db and
// reads its answer.
func DumpDB(ctx context.Context, nixStore string, dir nix.StoreDir) (*Dump, error) {
	cmd := exec.CommandContext(ctx, nixStore, "--dump-db")
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	dump, err := ParseDump(out, dir)
	if err != nil {
		io.Copy(io.Discard, out)
	}
	if err2 := cmd.Wait(); err2 != nil {
		return nil, fmt.Errorf("%s --dump-db: %w: %s", nixStore, err2, firstLine(stderr.String()))
	}
	if err != nil {
		return nil, fmt.Errorf("%s --dump-db: %w", nixStore, err)
	}
	return dump, nil
}

func firstLine(s string) string {
	line, _, _ := strings.Cut(strings.TrimSpace(s), "\n")
	return line
}

// ParseDump reads the text of `nix-store --dump-db`: for each path a line each
// with the path, the hexadecimal SHA-256 of its NAR, the NAR's size, the deriver
// or nothing, the number of references, and then the references. Everything must
// lie in dir, no path may come twice, and every reference must be in the dump.
func ParseDump(r io.Reader, dir nix.StoreDir) (*Dump, error) {
	if err := dir.Validate(); err != nil {
		return nil, err
	}
	d := &Dump{dir: dir, infos: make(map[nix.StorePath]*nix.PathInfo)}
	lines := &dumpLines{r: bufio.NewReaderSize(r, maxDumpLine)}
	for {
		first, err := lines.next()
		if err == io.EOF {
			break
		}
		if err != nil {
			return nil, err
		}
		info, err := parseEntry(lines, first, dir)
		if err != nil {
			return nil, fmt.Errorf("line %d: %w", lines.n, err)
		}
		if d.infos[info.Path] != nil {
			return nil, fmt.Errorf("line %d: %s comes twice", lines.n, info.Path)
		}
		d.infos[info.Path] = info
	}
	for _, info := range d.infos {
		for _, ref := range info.References {
			if d.infos[ref] == nil {
				return nil, fmt.Errorf("%s refers to %s, which is not in the dump", info.Path, ref)
			}
		}
	}
	return d, nil
}

func parseEntry(lines *dumpLines, first string, dir nix.StoreDir) (*nix.PathInfo, error) {
	p, err := dir.Parse(first)
	if err != nil {
		return nil, err
	}
	var text [4]string
	for i := range text {
		if text[i], err = lines.next(); err != nil {
			return nil, unexpected(err)
		}
	}
	info := &nix.PathInfo{Path: p}
	if info.NarHash, err = nix.ParseHash("sha256:" + text[0]); err != nil {
		return nil, err
	}
	if info.NarHash.Hex() != text[0] {
		return nil, fmt.Errorf("%q is not a SHA-256 in lower-case hexadecimal digits", text[0])
	}
	if info.NarSize, err = decimal(text[1]); err != nil {
		return nil, err
	}
	if text[2] != "" {
		if info.Deriver, err = dir.Parse(text[2]); err != nil {
			return nil, err
		}
	}
	n, err := decimal(text[3])
	if err != nil || n > maxDumpRefs {
		return nil, fmt.Errorf("%q is not a number of references", text[3])
	}
	for range n {
		line, err := lines.next()
		if err != nil {
			return nil, unexpected(err)
		}
		ref, err := dir.Parse(line)
		if err != nil {
			return nil, err
		}
		info.References = append(info.References, ref)
	}
	sortPaths(info.References)
	if len(slices.Compact(slices.Clone(info.References))) != len(info.References) {
		return nil, fmt.Errorf("%s names a reference twice", p)
	}
	return info, nil
}

func unexpected(err error) error {
	if err == io.EOF {
		return io.ErrUnexpectedEOF
	}
	return err
}

func decimal(s string) (uint64, error) {
	n, err := strconv.ParseUint(s, 10, 63)
	if err != nil || strconv.FormatUint(n, 10) != s {
		return 0, fmt.Errorf("%q is not a size", s)
	}
	return n, nil
}

type dumpLines struct {
	r *bufio.Reader
	n int // lines read
}

// next returns a line without its end, io.EOF at the end of the text, or an
// error for a line that is too long or does not end.
func (l *dumpLines) next() (string, error) {
	b, err := l.r.ReadSlice('\n')
	if err == io.EOF && len(b) == 0 {
		return "", io.EOF
	}
	if err == io.EOF {
		return "", io.ErrUnexpectedEOF
	}
	if err != nil {
		return "", fmt.Errorf("line %d: %w", l.n+1, err)
	}
	l.n++
	return string(b[:len(b)-1]), nil
}

// WriteTo writes d in the form that ParseDump reads, sorted by path.
func (d *Dump) WriteTo(w io.Writer) (int64, error) {
	paths := make([]nix.StorePath, 0, len(d.infos))
	for p := range d.infos {
		paths = append(paths, p)
	}
	sortPaths(paths)
	var b bytes.Buffer
	for _, p := range paths {
		info := d.infos[p]
		deriver := ""
		if !info.Deriver.IsZero() {
			deriver = info.Deriver.String()
		}
		fmt.Fprintf(&b, "%s\n%s\n%d\n%s\n%d\n", p, info.NarHash.Hex(), info.NarSize, deriver, len(info.References))
		for _, ref := range info.References {
			fmt.Fprintf(&b, "%s\n", ref)
		}
	}
	return b.WriteTo(w)
}

// StoreDir implements Source.
func (d *Dump) StoreDir() nix.StoreDir { return d.dir }

// Records implements Source: a dump has none of them.
func (d *Dump) Records() Records { return Records{} }

// PathInfo implements Source.
func (d *Dump) PathInfo(_ context.Context, p nix.StorePath) (*nix.PathInfo, error) {
	info := d.infos[p]
	if info == nil {
		return nil, notValid(p)
	}
	return cloneInfo(info), nil
}

func cloneInfo(info *nix.PathInfo) *nix.PathInfo {
	c := *info
	c.References = slices.Clone(info.References)
	return &c
}

// Closure implements Source.
func (d *Dump) Closure(_ context.Context, roots []nix.StorePath) ([]*nix.PathInfo, error) {
	seen := make(map[nix.StorePath]bool)
	var found []*nix.PathInfo
	todo := slices.Clone(roots)
	for len(todo) > 0 {
		p := todo[len(todo)-1]
		todo = todo[:len(todo)-1]
		if seen[p] {
			continue
		}
		seen[p] = true
		info := d.infos[p]
		if info == nil {
			return nil, notValid(p)
		}
		found = append(found, cloneInfo(info))
		todo = append(todo, info.References...)
	}
	slices.SortFunc(found, func(a, b *nix.PathInfo) int { return a.Path.Compare(b.Path) })
	return found, nil
}

// DerivationOutputs implements Source with ErrNotRecorded.
func (d *Dump) DerivationOutputs(context.Context, nix.StorePath) (map[string]nix.StorePath, error) {
	return nil, ErrNotRecorded
}

// RealisationRecords implements Source with ErrNotRecorded.
func (d *Dump) RealisationRecords(context.Context, nix.StorePath, nix.Hash) ([]*nix.Realisation, error) {
	return nil, ErrNotRecorded
}

// Realisations implements Source with ErrNotRecorded.
func (d *Dump) Realisations(context.Context, nix.StorePath, nix.Hash) (map[string]nix.StorePath, error) {
	return nil, ErrNotRecorded
}

// ValidDerivers implements Source. A dump has at most one deriver for a path.
func (d *Dump) ValidDerivers(_ context.Context, p nix.StorePath) ([]nix.StorePath, error) {
	info := d.infos[p]
	if info == nil || info.Deriver.IsZero() || d.infos[info.Deriver] == nil {
		return nil, nil
	}
	return []nix.StorePath{info.Deriver}, nil
}

// Close implements Source.
func (d *Dump) Close() error { return nil }
