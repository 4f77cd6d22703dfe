package cmdline

import (
	"io"
	"testing"

	"github.com/spf13/cobra"
)

func tree() *cobra.Command {
	root := &cobra.Command{Use: "prog", SilenceUsage: true, SilenceErrors: true}
	group := &cobra.Command{Use: "group"}
	do := func(*cobra.Command, []string) error { return nil }
	none := &cobra.Command{Use: "none --must FILE", Args: cobra.NoArgs, RunE: do}
	none.Flags().Duration("wait", 0, "how long")
	none.Flags().Uint64("from", 0, "`INDEX`")
	none.Flags().String("policy", "", "a `FILE`")
	one := &cobra.Command{Use: "prove --leaf FILE INDEX|ID --wait TIME", Args: cobra.ExactArgs(1), RunE: do}
	group.AddCommand(none, one, &cobra.Command{Use: "check [FILE]", Args: cobra.MaximumNArgs(1), RunE: do})
	root.AddCommand(group, &cobra.Command{Use: "any [PATH...]", RunE: do},
		&cobra.Command{Use: "init --name NAME (--policy FILE | --log VKEY) [--url URL] [--a | --b] DIR", Args: cobra.ExactArgs(1), RunE: do})
	root.SetOut(io.Discard)
	root.SetErr(io.Discard)
	Polish(root)
	return root
}

func TestExplain(t *testing.T) {
	const forFlags = "run `prog group none --help` for its flags"
	tests := []struct {
		args       []string
		text, hint string
	}{
		{[]string{"gruop"}, `prog has no command "gruop"`, "did you mean `prog group`? run `prog --help` for the commands"},
		{[]string{"zzzzzz"}, `prog has no command "zzzzzz"`, "run `prog --help` for the commands"},
		{[]string{"group", "zzzzzz"}, `prog group has no command "zzzzzz"`, "run `prog group --help` for the commands"},
		{[]string{"completion", "zzzzzz"}, `prog completion has no command "zzzzzz"`, "run `prog completion --help` for the commands"},
		{[]string{"help", "zzzzzz"}, `prog has no command "zzzzzz"`, "run `prog --help` for the commands"},
		{[]string{"help", "group", "zzzzzz"}, `prog group has no command "zzzzzz"`, "run `prog group --help` for the commands"},
		{[]string{"group", "none", "x"}, `prog group none takes no arguments, but got "x"`, "run `prog group none --help` for how it is used"},
		{[]string{"group", "prove"}, `prog group prove needs INDEX|ID`, "run `prog group prove --help` for how it is used"},
		{[]string{"group", "prove", "1", "2"}, `prog group prove takes only INDEX|ID, but got "2" too`, "run `prog group prove --help` for how it is used"},
		{[]string{"group", "check", "a", "b"}, `prog group check takes only [FILE], but got "b" too`, "run `prog group check --help` for how it is used"},
		{[]string{"init"}, `prog init needs DIR`, "run `prog init --help` for how it is used"},
		{[]string{"init", "a", "b"}, `prog init takes only DIR, but got "b" too`, "run `prog init --help` for how it is used"},
		{[]string{"group", "none", "--polcy", "x"}, `prog group none has no flag --polcy`, forFlags},
		{[]string{"group", "none", "-x"}, `prog group none has no flag -x`, forFlags},
		{[]string{"group", "none", "--policy"}, `--policy needs a value: --policy FILE`, forFlags},
		{[]string{"group", "none", "--from", "x"}, `--from takes a whole number, not "x"`, forFlags},
		{[]string{"group", "none", "--wait", "5"}, `--wait takes a duration such as 60s or 5m, not "5"`, forFlags},
	}
	for _, tt := range tests {
		root := tree()
		root.SetArgs(tt.args)
		c, err := root.ExecuteC()
		if err == nil {
			t.Errorf("%q: no error, want %q", tt.args, tt.text)
			continue
		}
		if e := Explain(c, err); e.Text != tt.text || e.Hint != tt.hint {
			t.Errorf("%q: %q, hint %q\nwant %q, hint %q", tt.args, e.Text, e.Hint, tt.text, tt.hint)
		}
	}
}

func TestRightCommandLines(t *testing.T) {
	for _, args := range [][]string{
		{},
		{"group"},
		{"help"},
		{"help", "group", "none"},
		{"--version"},
		{"any", "a", "b", "c"},
		{"group", "none", "--wait", "5s"},
		{"group", "prove", "7"},
		{"group", "check"},
	} {
		root := tree()
		root.SetArgs(args)
		if err := root.Execute(); err != nil {
			t.Errorf("%q: %v", args, err)
		}
	}
}
