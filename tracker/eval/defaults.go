package eval

import (
	"encoding/json"
	"errors"
	"fmt"
	"runtime"
	"strconv"
	"strings"

	"github.com/firn-log/firn/internal/nix"
)

func (o *Options) setDefaults() {
	if o.Workers <= 0 {
		o.Workers = runtime.NumCPU()
	}
	if o.Memory <= 0 {
		o.Memory = defaultMemory
	}
	if o.Timeout <= 0 {
		o.Timeout = defaultTimeout
	}
	o.settings = settings
	if o.Aliases {
		o.settings = settings[1:]
	}
	o.storeDir = string(nix.DefaultStoreDir)
}

// about takes what the evaluator says about itself.
func (e *engine) about(b []byte) error {
	if b == nil {
		return nil
	}
	var about struct{ StoreDir, NixVersion string }
	if err := json.Unmarshal(b, &about); err != nil {
		return fmt.Errorf("reading what the evaluator says about itself: %w", err)
	}
	if about.StoreDir != e.o.storeDir {
		return fmt.Errorf("this Nix keeps its store in %q; evaluation files are about %s", about.StoreDir, e.o.storeDir)
	}
	e.result.Nix, e.result.StoreDir = clean(about.NixVersion, maxName), about.StoreDir
	return nil
}

// System returns Nix's word for the system that this program runs on.
func System() string {
	cpu := map[string]string{"amd64": "x86_64", "arm64": "aarch64", "386": "i686", "arm": "armv7l", "riscv64": "riscv64", "loong64": "loongarch64", "ppc64le": "powerpc64le"}[runtime.GOARCH]
	if cpu == "" {
		cpu = runtime.GOARCH
	}
	return cpu + "-" + runtime.GOOS
}

// ParseSize reads a number of bytes: "2GiB", "512MiB", or a bare number.
func ParseSize(s string) (int64, error) {
	digits := strings.TrimRight(s, "KMGiB")
	n, err := strconv.ParseInt(digits, 10, 64)
	shift, known := map[string]int{"": 0, "B": 0, "KiB": 10, "MiB": 20, "GiB": 30}[s[len(digits):]]
	if err != nil || !known || n <= 0 || n > 1<<50>>shift {
		return 0, errors.New("a size is a number with KiB, MiB or GiB, such as 2GiB")
	}
	return n << shift, nil
}

// size writes n bytes as ParseSize reads them.
func size(n int64) string {
	for _, u := range []struct {
		shift int
		name  string
	}{{30, "GiB"}, {20, "MiB"}, {10, "KiB"}} {
		if n >= 1<<u.shift && n%(1<<u.shift) == 0 {
			return strconv.FormatInt(n>>u.shift, 10) + " " + u.name
		}
	}
	return strconv.FormatInt(n, 10) + " bytes"
}
