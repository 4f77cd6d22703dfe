package cmdline

import (
	"errors"
	"strings"
	"testing"

	"github.com/spf13/cobra"
)

func TestRunTellsFailuresAndTheirStatus(t *testing.T) {
	for _, tt := range []struct {
		name string
		err  error
		code int
		told string
	}{
		{"none", nil, ExitOK, ""},
		{"with a hint", &Failure{Code: ExitFailed, Hint: "try again", Err: errors.New("it broke")}, ExitFailed, "prog: error: it broke\nprog: hint: try again\n"},
		{"without a hint", &Failure{Code: 3, Err: errors.New("it broke")}, 3, "prog: error: it broke\n"},
		{"said already", &Failure{Code: 4}, 4, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			root := &cobra.Command{Use: "prog", SilenceUsage: true, SilenceErrors: true, RunE: func(*cobra.Command, []string) error { return tt.err }}
			Polish(root)
			var told strings.Builder
			if code := Run(t.Context(), root, &told, []string{}); code != tt.code || told.String() != tt.told {
				t.Errorf("status %d, %q; want %d, %q", code, told.String(), tt.code, tt.told)
			}
		})
	}
}
