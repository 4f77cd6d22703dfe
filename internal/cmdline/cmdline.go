// Package cmdline makes what cobra says about a wrong command line read as a
// person would say it, and gives each program --version.
package cmdline

import (
	"errors"
	"fmt"
	"regexp"
	"runtime/debug"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// Error is a wrong command line in one sentence, and what to do about it.
type Error struct {
	Text, Hint string
}

func (e *Error) Error() string { return e.Text }

// Polish prepares a complete tree of commands: a command that only groups others
// shows its help, or refuses what is none of them; a wrong number of arguments
// is an *Error; arguments are named by the words in Use that belong to no flag.
// Flags in Use have values.
func Polish(root *cobra.Command) {
	root.Version = version()
	root.SetVersionTemplate("{{.Name}} {{.Version}}\n")
	root.InitDefaultHelpCmd()
	root.InitDefaultCompletionCmd()
	polish(root)
}

func polish(c *cobra.Command) {
	for _, sub := range c.Commands() {
		polish(sub)
	}
	switch {
	case c.HasSubCommands():
		c.Args, c.Run = cobra.ArbitraryArgs, nil
		c.RunE = func(c *cobra.Command, args []string) error {
			if len(args) == 0 {
				return c.Help()
			}
			return unknownCommand(c, args[0])
		}
	case c.Name() == "help":
		c.Args = func(c *cobra.Command, args []string) error {
			if at, rest, err := c.Root().Find(args); err == nil && at.HasSubCommands() && len(rest) > 0 {
				return unknownCommand(at, rest[0])
			}
			return nil
		}
	case c.Args != nil:
		check := c.Args
		c.Args = func(c *cobra.Command, args []string) error {
			if check(c, args) == nil {
				return nil
			}
			return wrongArguments(c, args)
		}
	}
}

// Explain turns what ExecuteContextC returned, for the command c, into an
// *Error. It is for errors of cobra and this package only.
func Explain(c *cobra.Command, err error) *Error {
	var (
		known   *Error
		unknown *pflag.NotExistError
		bare    *pflag.ValueRequiredError
		wrong   *pflag.InvalidValueError
	)
	flags := "run `" + c.CommandPath() + " --help` for its flags"
	switch {
	case errors.As(err, &known):
		return known
	case errors.As(err, &unknown):
		dashes := "--"
		if unknown.GetSpecifiedShortnames() != "" {
			dashes = "-"
		}
		return &Error{fmt.Sprintf("%s has no flag %s%s", c.CommandPath(), dashes, unknown.GetSpecifiedName()), flags}
	case errors.As(err, &bare):
		value, _ := pflag.UnquoteUsage(bare.GetFlag())
		return &Error{fmt.Sprintf("--%s needs a value: --%s %s", bare.GetFlag().Name, bare.GetFlag().Name, strings.ToUpper(value)), flags}
	case errors.As(err, &wrong):
		return &Error{fmt.Sprintf("--%s takes %s, not %q", wrong.GetFlag().Name, takes(wrong.GetFlag()), wrong.GetValue()), flags}
	}
	return &Error{err.Error(), "run `" + c.CommandPath() + " --help` for how it is used"}
}

// takes says in words what values a flag has.
func takes(f *pflag.Flag) string {
	switch f.Value.Type() {
	case "duration":
		return "a duration such as 60s or 5m"
	case "bool":
		return "true or false"
	case "int", "int64", "uint", "uint64":
		return "a whole number"
	}
	return "another kind of value"
}

func unknownCommand(c *cobra.Command, name string) *Error {
	e := &Error{fmt.Sprintf("%s has no command %q", c.CommandPath(), name), "run `" + c.CommandPath() + " --help` for the commands"}
	if c.SuggestionsMinimumDistance <= 0 {
		c.SuggestionsMinimumDistance = 2
	}
	if near := c.SuggestionsFor(name); len(near) == 1 {
		e.Hint = "did you mean `" + c.CommandPath() + " " + near[0] + "`? " + e.Hint
	}
	return e
}

// wrongArguments says which argument is missing or too many.
func wrongArguments(c *cobra.Command, args []string) *Error {
	names := argumentNames(c)
	e := &Error{Hint: "run `" + c.CommandPath() + " --help` for how it is used"}
	switch {
	case len(args) == 0 && len(names) == 0:
		e.Text = c.CommandPath() + " needs an argument"
	case len(names) == 0:
		e.Text = fmt.Sprintf("%s takes no arguments, but got %q", c.CommandPath(), args[0])
	case len(args) > len(names):
		e.Text = fmt.Sprintf("%s takes only %s, but got %q too", c.CommandPath(), strings.Join(names, " "), args[len(names)])
	default:
		e.Text = fmt.Sprintf("%s needs %s", c.CommandPath(), strings.Join(names[len(args):], " "))
	}
	return e
}

// choices are flags in brackets or parentheses, with their values.
var choices = regexp.MustCompile(`\[-[^\[\]]*\]|\(-[^()]*\)`)

// argumentNames returns the words of Use that are neither flags nor their values.
func argumentNames(c *cobra.Command) []string {
	var names []string
	value := false
	for _, word := range strings.Fields(choices.ReplaceAllString(c.Use, ""))[1:] {
		switch {
		case strings.HasPrefix(word, "--"):
			value = true
		case value:
			value = false
		default:
			names = append(names, word)
		}
	}
	return names
}

// version is that of the module as go install knows it, otherwise "(devel)".
func version() string {
	if info, ok := debug.ReadBuildInfo(); ok && info.Main.Version != "" {
		return info.Main.Version
	}
	return "(devel)"
}
