package submit

import (
	"slices"

	"github.com/firn-log/firn/internal/nix"
)

func slicesSort(ps []nix.StorePath) { slices.SortFunc(ps, nix.StorePath.Compare) }
func slicesSortStrings(ss []string) { slices.Sort(ss) }
