package main

import (
	"context"
	"fmt"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/firn-log/firn/log"
	"github.com/firn-log/firn/log/statement"
)

func newOperatorShowCmd(a *app) *cobra.Command {
	var f logFlags
	var asJSON bool
	c := &cobra.Command{
		Use:   "show ID",
		Short: "Print what a log tells about an operator",
		Long: `Show prints the operator's name, contact and keys, and every statement that the
log lists about it, with its signatures verified. ID is an operator id or the id
of any of its keys. That nothing is left out is proven against the log's index,
for which only the log itself vouches here.`,
		Example: `  firn operator show --log https://log.example --log-policy log.policy 9a0b...`,
		Args:    cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			client, err := a.openLog(&f)
			if err != nil {
				return err
			}
			h, err := findOperator(c.Context(), client, args[0])
			if err != nil {
				return err
			}
			if asJSON {
				return a.writeJSON(h.json(client.Origin()))
			}
			return a.showHistory(h, client.Origin())
		},
	}
	f.add(c.Flags())
	c.Flags().BoolVar(&asJSON, "json", false, "write one JSON object")
	return c
}

// findOperator reads the history of an operator that is named by its id or by
// the id of a key.
func findOperator(ctx context.Context, client *log.Client, name string) (*history, error) {
	id, err := statement.ParseID(name)
	if err != nil {
		return nil, failf(exitUsage, "`firn operator register` and `firn key show` print such ids", "%w", err)
	}
	h, err := readHistory(ctx, client, id)
	if err != nil || h != nil {
		return h, err
	}
	op, err := operatorOfKey(ctx, client, statement.KeyID(id))
	if err != nil {
		return nil, err
	}
	if op.IsZero() {
		return nil, failf(exitFailed, "ask the operator's home log", "the log %s knows no operator and no operator's key %s", client.Origin(), id)
	}
	return readHistory(ctx, client, op)
}

func (a *app) showHistory(h *history, origin string) error {
	w := tabwriter.NewWriter(a.Stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintf(w, "operator\t%s\nname\t%s\ncontact\t%s\n", h.id, h.profile.Name, h.profile.Contact)
	if h.profile.URL != "" {
		fmt.Fprintf(w, "url\t%s\n", h.profile.URL)
	}
	fmt.Fprintf(w, "home log\t%s\n", h.profile.HomeLog)
	for _, k := range h.keys {
		fmt.Fprintf(w, "%s key\t%s  %s%s\n", k.role, k.key.ID(), k.key.Type(), revocation(k))
	}
	w.Flush()
	fmt.Fprintf(a.Stdout, "\n%s up to %d lists about it:\n", origin, h.checkpoint.Size)
	w = tabwriter.NewWriter(a.Stdout, 0, 0, 2, ' ', 0)
	for _, e := range h.entries {
		note := ""
		if !e.counts {
			note = "  [does not count: " + e.why + "]"
			if v, ok := e.s.Body.(*statement.Vouch); ok && v.For == h.id {
				note = ""
			}
		}
		fmt.Fprintf(w, "%d\t%s\t%s%s\n", e.index, e.s.Kind, describe(e.s.Body), note)
	}
	if err := w.Flush(); err != nil {
		return err
	}
	if why := h.unsure(); why != "" {
		fmt.Fprintf(a.Stderr, "firn: warning: statements may be missing: %s\n", why)
	}
	if h.forked {
		fmt.Fprintln(a.Stderr, "firn: warning: two statements follow one in this operator's chain; from there on it does not count")
	}
	return nil
}

// unsure says why statements may be missing, "" if there is no reason.
func (h *history) unsure() string {
	if h.fault != "" {
		return h.fault
	}
	return h.incomplete
}

func revocation(k *operatorKey) string {
	if k.revoked == nil {
		return ""
	}
	s := fmt.Sprintf("  revoked: %s, elsewhere %s", k.revoked.Reason, k.revoked.Elsewhere)
	for origin, index := range k.revoked.Cuts {
		s += fmt.Sprintf(", from index %d of %s", index, origin)
	}
	return s
}

type historyJSON struct {
	Schema     int              `json:"schema"`
	Operator   string           `json:"operator"`
	Log        string           `json:"log"`
	Size       uint64           `json:"size"`
	Name       string           `json:"name"`
	Contact    string           `json:"contact"`
	URL        string           `json:"url,omitempty"`
	HomeLog    string           `json:"home_log"`
	Head       string           `json:"head"`
	Forked     bool             `json:"forked"`
	Keys       []historyKeyJSON `json:"keys"`
	Incomplete string           `json:"incomplete,omitempty"` // why statements may be missing
	Statements []historyStJSON  `json:"statements"`
}

type historyKeyJSON struct {
	ID        string            `json:"id"`
	Role      string            `json:"role"`
	Type      string            `json:"type"`
	Public    string            `json:"public"`
	Revoked   string            `json:"revoked,omitempty"` // the reason
	Elsewhere string            `json:"elsewhere,omitempty"`
	Cuts      map[string]uint64 `json:"cuts,omitempty"`
}

type historyStJSON struct {
	Index  uint64 `json:"index"`
	ID     string `json:"id"`
	Kind   string `json:"kind"`
	Signer string `json:"signer"`
	Says   string `json:"says"`
	Counts bool   `json:"counts"`
	Why    string `json:"why,omitempty"`
}

func (h *history) json(origin string) historyJSON {
	out := historyJSON{
		Schema: 1, Operator: h.id.String(), Log: origin, Size: h.checkpoint.Size, Name: h.profile.Name, Contact: h.profile.Contact,
		URL: h.profile.URL, HomeLog: h.profile.HomeLog, Head: h.head.String(), Forked: h.forked, Incomplete: h.unsure(),
	}
	for _, k := range h.keys {
		j := historyKeyJSON{ID: k.key.ID().String(), Role: string(k.role), Type: string(k.key.Type()), Public: k.key.Text()}
		if r := k.revoked; r != nil {
			j.Revoked, j.Elsewhere, j.Cuts = string(r.Reason), string(r.Elsewhere), r.Cuts
		}
		out.Keys = append(out.Keys, j)
	}
	for _, e := range h.entries {
		out.Statements = append(out.Statements, historyStJSON{e.index, e.s.ID().String(), string(e.s.Kind), e.s.Signer.String(), describe(e.s.Body), e.counts, e.why})
	}
	return out
}
