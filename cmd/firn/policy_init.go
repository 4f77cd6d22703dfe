package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/firn-log/firn/internal/durable"
	"github.com/firn-log/firn/log"
	"github.com/firn-log/firn/log/policy"
	"github.com/firn-log/firn/verify"
)

// maxSet bounds what --from reads, in bytes; more is no policy set.
const maxSet = 4 << 20

type policyInitFlags struct {
	from, pin, dir, log, logPolicy, state string
	operators, upstreams                  []string
	public, offline                       bool
}

func newPolicyInitCmd(a *app) *cobra.Command {
	var f policyInitFlags
	c := &cobra.Command{
		Use:   "init",
		Short: "Write a policy to begin with: your own, or one that somebody pinned for you",
		Long: `Init writes firn.policy and the files that it names. firn comes with no key: whom you
believe is what you say here, and init prints every key and the checkpoint of every log that it
saw, so that you can compare them with what you got from their owners.

With --log, --log-policy, --operator and --upstream it writes a starter: what more than half of the operators
built is trusted, what one of them contradicts is refused, and everything else is taken from the
upstreams with a warning, so that nothing has to be compiled here.

With --from it takes a policy set, made by firn policy pack, whose SHA-256 is --pin. Get the pin from
somebody you trust, on another way than the set.

Files that are there are not overwritten; a log policy that is there already, and is the same, stays.`,
		Example: `  firn policy init --log https://log.example --log-policy log.policy --operator alice=ID --upstream https://cache.example=NAME:KEY
  firn policy init --from https://example.org/ours.policyset --pin SHA256`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error { return a.initPolicy(c.Context(), &f) },
	}
	flags := c.Flags()
	flags.StringVar(&f.from, "from", "", "`URL` or file of a policy set")
	flags.StringVar(&f.pin, "pin", "", "`SHA256` of that set, hexadecimal")
	flags.StringVar(&f.dir, "dir", "", "`FOLDER` for the policy (default that where firn verify looks first)")
	flags.StringVar(&f.log, "log", "", "`URL` of the log")
	flags.StringVar(&f.logPolicy, "log-policy", "", "C2SP tlog-policy `FILE` that says which checkpoints of the log are believed")
	flags.StringArrayVar(&f.operators, "operator", nil, "`NAME=ID` of an operator who builds (may be repeated)")
	flags.StringArrayVar(&f.upstreams, "upstream", nil, "`URL=NAME:BASE64` of a cache and its key (may be repeated)")
	flags.BoolVar(&f.public, "public", false, "the upstreams are public: what they have may be told to logs")
	flags.BoolVar(&f.offline, "offline", false, "ask no log for a checkpoint")
	flags.StringVar(&f.state, "state", "", "`FOLDER` for what is remembered (default firn in the state folder)")
	return c
}

func (a *app) initPolicy(ctx context.Context, f *policyInitFlags) error {
	var set *verify.PolicySet
	var err error
	if f.from != "" {
		set, err = f.pinned(ctx)
	} else {
		set, err = f.starter()
	}
	if err != nil {
		return err
	}
	pol, err := set.Policy(verify.PolicyFileName)
	if err != nil {
		return failf(exitUsage, "", "the policy would be wrong:\n%w", err)
	}
	showKeys(a.Stdout, pol)
	if !f.offline {
		if err := a.showCheckpoints(ctx, f, pol); err != nil {
			return err
		}
	}
	return a.writeSet(f, set)
}

// pinned reads a set that must have the hash of --pin.
func (f *policyInitFlags) pinned(ctx context.Context) (*verify.PolicySet, error) {
	if f.log != "" || f.logPolicy != "" || len(f.operators)+len(f.upstreams) > 0 || f.public {
		return nil, failf(exitUsage, "leave the others out, and change the policy afterwards", "--from brings a whole policy")
	}
	b, err := readSet(ctx, f.from)
	if err != nil {
		return nil, failf(exitFailed, "", "reading the policy set: %w", err)
	}
	hash := sha256.Sum256(b)
	pin, err := hex.DecodeString(f.pin)
	switch {
	case f.pin == "":
		return nil, failf(exitUsage, "ask whoever made it what `firn policy pack` printed, and say --pin SHA256", "%s could be anybody's: without --pin nothing says whose keys are in it", f.from)
	case err != nil || len(pin) != sha256.Size:
		return nil, failf(exitUsage, "", "--pin is a SHA-256, 64 hexadecimal digits")
	case string(pin) != string(hash[:]):
		hint := "it was changed, by its owner or by somebody else; ask for the new pin"
		if bytes.HasPrefix(bytes.TrimSpace(b), []byte("<")) {
			hint = "that is a web page; name the address of the file itself"
		}
		return nil, failf(exitUntrusted, hint, "%s is not what was pinned: its SHA-256 is %x", f.from, hash)
	}
	set, err := verify.ParsePolicySet(b)
	if err != nil {
		return nil, failf(exitUsage, "`firn policy pack` makes one", "%s: %w", f.from, err)
	}
	return set, nil
}

func readSet(ctx context.Context, from string) ([]byte, error) {
	if !strings.HasPrefix(from, "http://") && !strings.HasPrefix(from, "https://") {
		file, err := os.Open(strings.TrimPrefix(from, "file://"))
		if err != nil {
			return nil, err
		}
		defer file.Close()
		return readBounded(file, from)
	}
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, from, nil)
	if err != nil {
		return nil, err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("%s answered %s", from, resp.Status)
	}
	return readBounded(resp.Body, from)
}

func readBounded(r io.Reader, name string) ([]byte, error) {
	b, err := io.ReadAll(io.LimitReader(r, maxSet+1))
	if err == nil && len(b) > maxSet {
		err = fmt.Errorf("%s has more than %d bytes, and is no policy set", name, maxSet)
	}
	return b, err
}

// starter writes a policy from the flags.
func (f *policyInitFlags) starter() (*verify.PolicySet, error) {
	if f.log == "" || f.logPolicy == "" || len(f.operators)+len(f.upstreams) == 0 {
		return nil, failf(exitUsage, "or take a whole one with --from and --pin", "a policy needs --log, --log-policy, and somebody to believe: --operator NAME=ID or --upstream URL=NAME:BASE64")
	}
	if f.pin != "" {
		return nil, failf(exitUsage, "", "--pin is for --from")
	}
	logPolicy, err := os.ReadFile(f.logPolicy)
	if err != nil {
		return nil, failf(exitUsage, "", "reading the log's policy: %w", err)
	}
	parsed, err := policy.Parse(logPolicy)
	if err != nil {
		return nil, failf(exitUsage, "", "%s: %w", f.logPolicy, err)
	}
	text, err := f.starterText(parsed.Quorum != policy.None)
	if err != nil {
		return nil, err
	}
	return &verify.PolicySet{Files: []verify.SetFile{{Name: verify.PolicyFileName, Data: []byte(text)}, {Name: "log.policy", Data: logPolicy}}}, nil
}

// starterText is the text of a policy. With witnesses a checkpoint has an age, so what the log answered
// before may count while it is away.
func (f *policyInitFlags) starterText(witnessed bool) (string, error) {
	var b strings.Builder
	fmt.Fprintf(&b, "# Whom this machine believes. After a change: firn policy check, firn policy lint.\nlog main file log.policy url %s", f.log)
	if witnessed {
		b.WriteString(" max-age 72h")
	}
	b.WriteString("\n\n")
	var builders, caches []string
	for _, o := range f.operators {
		name, id, ok := strings.Cut(o, "=")
		if !ok {
			return "", failf(exitUsage, "the id is what `firn operator show` prints", "--operator is NAME=ID, not %q", o)
		}
		fmt.Fprintf(&b, "operator %s id %s\n", name, id)
		builders = append(builders, name)
	}
	var upstreams string
	for i, u := range f.upstreams {
		at := strings.Index(u, "=")
		if at < 0 {
			return "", failf(exitUsage, "the key is what the cache publishes for trusted-public-keys", "--upstream is URL=NAME:BASE64, not %q", u)
		}
		if len(f.operators) == 0 { // otherwise nobody asks it
			name := fmt.Sprintf("cache%d", i+1)
			fmt.Fprintf(&b, "operator %s key %s\n", name, u[at+1:])
			caches = append(caches, name)
		}
		upstreams += "upstream " + u[:at] + " key " + u[at+1:]
		if f.public {
			upstreams += " public"
		}
		upstreams += "\n"
	}
	group := "believed"
	if len(builders) > 0 {
		fmt.Fprintf(&b, "\n# More than half of them have to agree, and one that disagrees is enough to stop a path.\ngroup believed %d %s\nveto any 1 %s refuse\n",
			len(builders)/2+1, strings.Join(builders, " "), strings.Join(builders, " "))
	} else {
		fmt.Fprintf(&b, "\n# Nobody builds for you yet: the signatures of caches count, and only those that are logged.\ngroup believed any %s signed\n", strings.Join(caches, " "))
	}
	if upstreams != "" {
		b.WriteString("\n" + upstreams)
	}
	fmt.Fprintf(&b, "\n# Everything else is taken with a warning, which compiles nothing here. `else rebuild` builds it, `else refuse` stops.\nrule default need %s else warn\n", group)
	return b.String(), nil
}

// showKeys prints every key of a policy: whose word will count.
func showKeys(w io.Writer, pol *verify.Policy) {
	witnesses := func(what, name string, p *policy.Policy) {
		for _, x := range p.Witnesses {
			fmt.Fprintf(w, "%s of log %s\t%s\t%s\n", what, name, x.Name, x.Key)
		}
	}
	for _, l := range pol.Logs {
		fmt.Fprintf(w, "log %s\t%s\t%s\n", l.Name, l.URL, l.Policy.Logs[0].Key)
		witnesses("witness", l.Name, l.Policy)
		if l.IndexPolicy != nil {
			witnesses("auditor", l.Name, l.IndexPolicy)
		}
	}
	for _, o := range pol.Operators {
		if o.ID != nil {
			fmt.Fprintf(w, "operator %s\tid\t%s\n", o.Name, o.ID)
		}
		for _, k := range o.Keys {
			fmt.Fprintf(w, "operator %s\tkey\t%s\n", o.Name, k)
		}
	}
	for _, u := range pol.Upstreams {
		for _, k := range u.Keys {
			fmt.Fprintf(w, "upstream %s\tkey\t%s\n", u.URL, k)
		}
	}
}

// showCheckpoints asks every log for its checkpoint, which is remembered from now on.
func (a *app) showCheckpoints(ctx context.Context, f *policyInitFlags, pol *verify.Policy) error {
	for _, l := range pol.Logs {
		c, err := a.newClient(&logFlags{state: f.state}, &logPlaces{l.URL, l.Mirrors, l.Policy, l, pol.CompletenessOff}, log.Options{})
		if err != nil {
			return err
		}
		cp, err := c.Checkpoint(ctx)
		switch {
		case err == nil:
			fmt.Fprintf(a.Stdout, "checkpoint of log %s\t%s\tsize %d\troot %s\n", l.Name, cp.Origin, cp.Size, cp.Root)
		case !l.Required && errors.Is(err, log.ErrUnreachable):
			fmt.Fprintf(a.Stderr, "firn: warning: log %s: %v\n", l.Name, err)
		case errors.Is(err, log.ErrUnreachable):
			return failf(exitFailed, "nothing was written; --offline writes it unseen", "log %s: %w", l.Name, err)
		default:
			return logFailure("asking log "+l.Name+" for its checkpoint", err)
		}
	}
	return nil
}

// writeSet writes the files of a set that are not there yet, firn.policy last: until it is there,
// there is no policy.
func (a *app) writeSet(f *policyInitFlags, set *verify.PolicySet) error {
	dir := f.dir
	if dir == "" {
		dir = filepath.Dir(a.policyPaths()[0])
	}
	var missing []verify.SetFile
	for i, file := range set.Files {
		has, err := os.ReadFile(filepath.Join(dir, file.Name))
		switch {
		case errors.Is(err, os.ErrNotExist):
			missing = append(missing, file)
		case i == 0 || err != nil || !bytes.Equal(has, file.Data):
			return failf(exitFailed, "move it away, or name another folder with --dir", "%s is there already, and nothing was written", filepath.Join(dir, file.Name))
		}
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return failf(exitFailed, "", "making the folder of the policy: %w", err)
	}
	for _, file := range slices.Backward(missing) {
		if err := durable.CreateFile(filepath.Join(dir, file.Name), file.Data, 0o644); err != nil {
			return failf(exitFailed, "", "writing the policy: %w", err)
		}
	}
	_, err := fmt.Fprintf(a.Stdout, "written to %s\n", filepath.Join(dir, verify.PolicyFileName))
	return err
}
