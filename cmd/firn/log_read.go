package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/firn-log/firn/log"
	"github.com/firn-log/firn/log/index"
	"github.com/firn-log/firn/log/statement"
)

func newLogCheckpointCmd(a *app, f *logReadFlags) *cobra.Command {
	return f.jsonFlag(&cobra.Command{
		Use:   "checkpoint",
		Short: "Fetch the log's checkpoint, check it and remember it",
		Long: `Checkpoint fetches the log's newest checkpoint, holds it against the log policy and
against the one seen before, and prints what it says and who signed it.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := a.readClient(f, "")
			if err != nil {
				return err
			}
			cp, err := c.Checkpoint(cmd.Context())
			if err != nil {
				return readFailure(err)
			}
			freeze := freezeOf(cmd.Context(), c, cp)
			if f.json {
				out := checkpointJSON(cp)
				if freeze != nil {
					out["frozen"] = freezeJSON(freeze)
				}
				return writeJSON(a.Stdout, out)
			}
			if err := printCheckpoint(a.Stdout, cp); err != nil || freeze == nil {
				return err
			}
			_, err = fmt.Fprintf(a.Stdout, "frozen  %s\n", freeze.Words())
			return err
		},
	})
}

func writeJSON(w io.Writer, v any) error {
	e := json.NewEncoder(w)
	e.SetEscapeHTML(false)
	return e.Encode(v)
}

func checkpointJSON(cp *log.Checkpoint) map[string]any {
	v := cp.Verified
	out := map[string]any{"schema": 1, "origin": cp.Origin, "size": cp.Size, "root": cp.Root.String(), "note": string(cp.Note)}
	var keys []string
	for _, k := range v.LogKeys {
		keys = append(keys, k.String())
	}
	out["log_keys"] = keys
	if cp.Mirror != "" {
		out["mirror"] = cp.Mirror
	}
	cosignatures := []any{}
	for _, c := range v.Cosignatures {
		cosignatures = append(cosignatures, map[string]any{"witness": c.Witness, "time": c.Time.UTC()})
	}
	out["cosignatures"] = cosignatures
	if v.Dated {
		out["time"] = v.Time.UTC()
		out["age_seconds"] = int64(v.Age / time.Second)
	}
	return out
}

func printCheckpoint(w io.Writer, cp *log.Checkpoint) error {
	v := cp.Verified
	var b strings.Builder
	fmt.Fprintf(&b, "origin  %s\nsize    %d\nroot    %s\n", cp.Origin, cp.Size, cp.Root)
	if v.Dated {
		fmt.Fprintf(&b, "age     %s\n", v.Age.Round(time.Second))
	} else {
		fmt.Fprintf(&b, "age     not known: the policy asks for no witness\n")
	}
	if cp.Mirror != "" {
		fmt.Fprintf(&b, "mirror  %s\n", cp.Mirror)
	}
	for _, k := range v.LogKeys {
		fmt.Fprintf(&b, "signed  %s (the log, key %08x)\n", k.Name, k.ID)
	}
	for _, c := range v.Cosignatures {
		fmt.Fprintf(&b, "signed  %s (witness, %s)\n", c.Witness, c.Time.UTC().Format(time.RFC3339))
	}
	_, err := io.WriteString(w, b.String())
	return err
}

func newLogEntriesCmd(a *app, f *logReadFlags) *cobra.Command {
	var from, to uint64
	var raw bool
	c := f.jsonFlag(&cobra.Command{
		Use:   "entries",
		Short: "List what is in the log",
		Long: `Entries prints one line per entry of the log: its index, the kind of statement, the
first digits of its signer's key id, and what it is about. Every entry is proven
to be in the log; its signature is not checked here (firn log audit does that).

  firn log entries --log main --from 100 --to 200`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if raw && f.json {
				return failf(exitUsage, "", "--raw and --json exclude each other")
			}
			c, err := a.readClient(f, "")
			if err != nil {
				return err
			}
			cp, err := c.Checkpoint(cmd.Context())
			if err != nil {
				return readFailure(err)
			}
			a.warnOfFreeze(freezeOf(cmd.Context(), c, cp))
			end := cp.Size
			if cmd.Flags().Changed("to") {
				end = to
			}
			if from > end || end > cp.Size {
				return failf(exitUsage, "", "entries %d to %d: the log has %s", from, end, plural(cp.Size, "entry", "entries"))
			}
			w := bufio.NewWriter(a.Stdout)
			for e, err := range c.Entries(cmd.Context(), cp, from, end) {
				if err != nil {
					w.Flush()
					return readFailure(err)
				}
				if err := printEntry(w, e, raw, f.json); err != nil {
					return err
				}
			}
			return w.Flush()
		},
	})
	c.Flags().Uint64Var(&from, "from", 0, "first `INDEX`")
	c.Flags().Uint64Var(&to, "to", 0, "`INDEX` after the last one (default: all)")
	c.Flags().BoolVar(&raw, "raw", false, "write the leaves as they are, each after its length as two bytes")
	return c
}

func printEntry(w io.Writer, e log.Entry, raw, asJSON bool) error {
	if raw {
		b, err := log.MarshalLeaves([][]byte{e.Leaf})
		if err == nil {
			_, err = w.Write(b)
		}
		return err
	}
	s, err := statement.Parse(e.Leaf)
	if asJSON {
		out := map[string]any{"schema": 1, "index": e.Index, "leaf": e.Leaf}
		if err != nil {
			out["error"] = err.Error()
		} else {
			out["id"], out["kind"], out["signer"], out["subjects"] = s.ID().String(), s.Kind, s.Signer.String(), subjects(s)
		}
		return writeJSON(w, out)
	}
	if err != nil {
		_, err = fmt.Fprintf(w, "%d\tnot a statement: %v\n", e.Index, err)
		return err
	}
	about := subjects(s)
	more := ""
	if len(about) > 1 {
		more = fmt.Sprintf(" and %d more", len(about)-1)
	}
	_, err = fmt.Fprintf(w, "%d\t%s\t%s\t%s%s\n", e.Index, s.Kind, s.Signer.String()[:16], about[0], more)
	return err
}

// subjects returns what a statement is about, the most telling first; there is
// at least one.
func subjects(s *statement.Statement) []string {
	var first, rest []string
	for _, k := range index.StatementKeys(s) {
		switch {
		case k == index.Key(s.Signer):
		case strings.HasPrefix(k, "out:"), strings.HasPrefix(k, "operator:"):
			first = append(first, k)
		default:
			rest = append(rest, k)
		}
	}
	switch b := s.Body.(type) {
	case *statement.Genesis:
		return []string{"origin:" + b.Origin}
	case *statement.LogConfig:
		return []string{"origin:" + b.Origin}
	case *statement.Freeze:
		return []string{"origin:" + b.Origin}
	case *statement.Evidence:
		return []string{index.Key(b.Convicted().ID())}
	}
	if all := append(first, rest...); len(all) > 0 {
		return all
	}
	return []string{index.Key(s.Signer)}
}
