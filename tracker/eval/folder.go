package eval

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"iter"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"

	"github.com/firn-log/firn/internal/durable"
)

// A Folder keeps evaluation files: CHANNEL/SEQ-TIER.jsonl.gz. Files are written
// once and never changed. Its methods may be called concurrently, and by
// several processes; of two that add the same file one gets an error.
type Folder struct{ dir string }

// NewFolder returns the folder at dir, which need not exist.
func NewFolder(dir string) *Folder { return &Folder{dir} }

// A File is one file of a folder.
type File struct {
	Path    string
	Channel string
	Seq     int64
	Tier    Tier
}

// An Evaluation is a file that is being read. Attributes can be used once, before the
// next evaluation is asked for.
type Evaluation struct {
	File
	Header     Header
	Attributes iter.Seq2[Attribute, error]
}

var fileForm = regexp.MustCompile(`^([1-9][0-9]{0,15})-(meta|drvs)\.jsonl\.gz$`)

// Channels returns the channels that have a folder, sorted.
func (f *Folder) Channels() ([]string, error) {
	entries, err := os.ReadDir(f.dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	var names []string
	for _, e := range entries {
		if e.IsDir() && CheckChannel(e.Name()) == nil {
			names = append(names, e.Name())
		}
	}
	return names, err
}

// Files returns the files of a channel and tier in ascending order of Seq; of both
// tiers, metadata first, if tier is "".
func (f *Folder) Files(channel string, tier Tier) ([]File, error) {
	if err := CheckChannel(channel); err != nil {
		return nil, err
	}
	entries, err := os.ReadDir(filepath.Join(f.dir, channel))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	var files []File
	for _, e := range entries {
		m := fileForm.FindStringSubmatch(e.Name())
		if m == nil || tier != "" && Tier(m[2]) != tier {
			continue
		}
		seq, err := strconv.ParseInt(m[1], 10, 64)
		if err != nil {
			return nil, err
		}
		files = append(files, File{filepath.Join(f.dir, channel, e.Name()), channel, seq, Tier(m[2])})
	}
	slices.SortFunc(files, func(a, b File) int {
		return cmp.Or(cmp.Compare(a.Seq, b.Seq), -cmp.Compare(a.Tier, b.Tier)) // meta, drvs
	})
	return files, nil
}

// open calls use with a reader of the file, whose header is that of its name. Errors
// name the file.
func (e *File) open(use func(*Reader) error) error {
	f, err := os.Open(e.Path)
	if err != nil {
		return err
	}
	defer f.Close()
	r, err := NewReader(f)
	if err == nil {
		if h := r.Header(); h.Channel != e.Channel || h.Seq != e.Seq || h.Tier != e.Tier {
			err = fmt.Errorf("line 1: it is evaluation %d-%s of %s, which is not its name", h.Seq, h.Tier, h.Channel)
		} else {
			err = use(r)
		}
	}
	if err != nil {
		return fmt.Errorf("%s: %w", e.Path, err)
	}
	return nil
}

// digest reads the whole file.
func (e *File) digest() (d string, err error) {
	err = e.open(func(r *Reader) error { d, err = r.Digest(); return err })
	return d, err
}

// Read yields the evaluations of a channel and tier with a Seq above after, in order.
// Each is checked to continue the one before it (Base), the first one too. An error,
// also one that Attributes yields, is the last.
func (f *Folder) Read(channel string, tier Tier, after int64) iter.Seq2[*Evaluation, error] {
	return func(yield func(*Evaluation, error) bool) {
		files, err := f.Files(channel, tier)
		if err != nil {
			yield(nil, err)
			return
		}
		errStop := errors.New("stop")
		before := ""
		for i, file := range files {
			if file.Seq <= after {
				if i+1 == len(files) || files[i+1].Seq > after { // the next one names it
					if before, err = file.digest(); err != nil {
						yield(nil, err)
						return
					}
				}
				continue
			}
			err := file.open(func(r *Reader) error {
				h := r.Header()
				if err := follows(h, before); err != nil {
					return err
				}
				if !yield(&Evaluation{file, h, r.Attributes()}, nil) {
					return errStop
				}
				before, err = r.Digest()
				return err
			})
			if errors.Is(err, errStop) {
				return
			}
			if err != nil {
				yield(nil, err)
				return
			}
		}
	}
}

// follows returns nil if a file with the header h may come after one with the digest before,
// "" if it is the first.
func follows(h Header, before string) error {
	switch {
	case h.Full || h.Base == before:
		return nil
	case before == "":
		return errors.New("line 1: the file whose changes it tells is missing; evaluate again with --full")
	}
	return fmt.Errorf("line 1: it tells the changes since %.12s…, and the file before it is %.12s…; evaluate again with --full", h.Base, before)
}

// A State is what the files of a channel and tier come to.
type State struct {
	Header Header // of the last file
	Digest string // of the last file
	Attrs  map[string]Attribute
}

// State returns the state after the last file, nil without one. It reads from the last
// full file on.
func (f *Folder) State(channel string, tier Tier) (*State, error) {
	files, err := f.Files(channel, tier)
	if err != nil || len(files) == 0 {
		return nil, err
	}
	from := len(files) - 1
	for full := false; ; from-- {
		if err := files[from].open(func(r *Reader) error { full = r.Header().Full; return nil }); err != nil {
			return nil, err
		}
		if full || from == 0 {
			break
		}
	}
	s := &State{}
	for _, file := range files[from:] {
		err := file.open(func(r *Reader) (err error) {
			if err := follows(r.Header(), s.Digest); err != nil {
				return err
			}
			if s.Header = r.Header(); s.Header.Full {
				s.Attrs = make(map[string]Attribute)
			}
			for a, err := range r.Attributes() {
				switch {
				case err != nil:
					return err
				case a.Gone:
					delete(s.Attrs, a.Attr)
				default:
					s.Attrs[a.Attr] = a
				}
			}
			s.Digest, err = r.Digest()
			return err
		})
		if err != nil {
			return nil, err
		}
	}
	return s, nil
}

// Add writes the file of h, durably, and returns it with its digest. One that is
// there is an error matching fs.ErrExist.
func (f *Folder) Add(h Header, attrs map[string]Attribute) (File, string, error) {
	var b bytes.Buffer
	digest, err := Write(&b, h, sorted(attrs))
	if err != nil {
		return File{}, "", fmt.Errorf("writing evaluation %d-%s of %s: %w", h.Seq, h.Tier, h.Channel, err)
	}
	dir := filepath.Join(f.dir, h.Channel)
	if err := durable.MkdirAll(dir, 0o755); err != nil {
		return File{}, "", err
	}
	file := File{filepath.Join(dir, fmt.Sprintf("%d-%s.jsonl.gz", h.Seq, h.Tier)), h.Channel, h.Seq, h.Tier}
	return file, digest, durable.CreateFile(file.Path, b.Bytes(), 0o644)
}
