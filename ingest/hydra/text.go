package hydra

import (
	"fmt"
	"strings"

	"github.com/firn-log/firn/internal/bincache"
)

// A JobsetName names a jobset of a Hydra.
type JobsetName struct{ Project, Jobset string }

// maxJobsetName bounds both parts together, so that the number of an evaluation
// has room in the name of a closure (spec/statement.md#closure).
const maxJobsetName = 180

// ParseJobsetName reads PROJECT/JOBSET, parts of A-Z a-z 0-9 _ - and, in the
// second, full stops.
func ParseJobsetName(s string) (JobsetName, error) {
	project, jobset, ok := strings.Cut(s, "/")
	plain := func(s, also string) bool {
		for _, r := range s {
			if !('a' <= r && r <= 'z' || 'A' <= r && r <= 'Z' || '0' <= r && r <= '9' || strings.ContainsRune(also, r)) {
				return false
			}
		}
		return s != "" && s != "." && s != ".."
	}
	if !ok || !plain(project, "_-") || !plain(jobset, "_-.") || len(project)+len(jobset) > maxJobsetName {
		return JobsetName{}, fmt.Errorf("%q does not name a jobset: it looks like nixpkgs/trunk", bincache.Clip(s))
	}
	return JobsetName{project, jobset}, nil
}

func (n JobsetName) String() string { return n.Project + "/" + n.Jobset }

// name is the jobset as a name of Nix.
func (n JobsetName) name() string { return n.Project + "." + n.Jobset }
