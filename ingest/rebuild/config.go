package rebuild

import (
	"errors"
	"fmt"
	"path/filepath"
	"strings"

	"github.com/firn-log/firn/ingest/send"
	"github.com/firn-log/firn/log/statement"
)

// DefaultFile is the configuration of the rebuilder, if there is one.
const DefaultFile = "/etc/firn/rebuild.toml"

// File is the configuration of `firn rebuild`, a TOML file that is read strictly: an
// unknown name is an error. Relative paths are relative to the file's folder
// (spec/rebuild.md#configuration).
//
//	log        = "https://log.example"
//	log-policy = "/etc/firn/log.policy"
//	work-from  = ["<operator id>"]
//	spool      = "/var/spool/firn"
type File struct {
	// Config says which log is asked for work and claims. Its key is not used: what
	// is in the spool is signed by firn submit.
	send.Config
	// WorkFrom are the ids of the operators whose eval and closure statements are
	// work. There is no default.
	WorkFrom []string `toml:"work-from"`
	// List is a file with a path or derivation in each line that is rebuilt if nothing
	// is named on the command line.
	List string `toml:"list"`
	// FromLog takes work that WorkFrom ask for, as --from-log does.
	FromLog bool `toml:"from-log"`
	// Spool is where statements go, for firn submit; "" keeps them in the work folder.
	Spool string `toml:"spool"`
	// Work is the work folder.
	Work string `toml:"work"`
	// Store is the root of a private store as in `nix --store ROOT`; "" is the
	// machine's own.
	Store string `toml:"store"`
	// StateDir is Nix's state folder; /nix/var/nix.
	StateDir string `toml:"state-dir"`
	// Substituters are where inputs come from that are not in the store; nothing
	// means what nix.conf says.
	Substituters []string `toml:"substituters"`
	// TrustedKeys are Nix keys, "name:base64", whose signatures on inputs count
	// beside those of nix.conf.
	TrustedKeys []string `toml:"trusted-keys"`

	workFrom []statement.ID
}

// LoadFile reads and checks the file at path. A file that does not exist is an error
// matching fs.ErrNotExist, one that is wrong a *send.ConfigError.
func LoadFile(path string) (*File, error) {
	f := new(File)
	if err := send.Decode(path, f); err != nil {
		return nil, err
	}
	dir := filepath.Dir(path)
	f.Below(dir)
	for _, p := range []*string{&f.List, &f.Spool, &f.Work, &f.Store} {
		*p = send.Under(dir, *p)
	}
	var errs []error
	for _, text := range f.WorkFrom {
		id, err := statement.ParseID(text)
		if err != nil {
			errs = append(errs, fmt.Errorf("work-from: %q is not the id of an operator, 64 hexadecimal digits", text))
		}
		f.workFrom = append(f.workFrom, id)
	}
	for _, text := range append(f.Substituters, f.TrustedKeys...) {
		if strings.ContainsAny(text, " \t\n") || text == "" {
			errs = append(errs, fmt.Errorf("substituters, trusted-keys: %q is not one word", text))
		}
	}
	if f.FromLog && len(f.WorkFrom) == 0 {
		errs = append(errs, errors.New("from-log takes work only of operators that work-from names, and it names nobody"))
	}
	if len(f.WorkFrom) > 0 && (f.Log == "" || f.LogPolicy == "") {
		errs = append(errs, errors.New("work-from needs log and log-policy"))
	}
	if len(errs) > 0 {
		return nil, &send.ConfigError{Err: fmt.Errorf("%s: %w", path, errors.Join(errs...))}
	}
	return f, nil
}

// Operators returns the ids in WorkFrom.
func (f *File) Operators() []statement.ID { return f.workFrom }
