package main

import (
	"cmp"
	"context"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"github.com/firn-log/firn/log"
	"github.com/firn-log/firn/log/statement"
	"github.com/firn-log/firn/verify"
)

func newOperatorCmd(a *app) *cobra.Command {
	c := &cobra.Command{
		Use:   "operator",
		Short: "Say who answers for keys",
		Long: `An operator is somebody who answers for statements: a person or a group with
identity keys and build keys. Verdicts count operators, not keys.`,
	}
	c.AddCommand(newOperatorRegisterCmd(a), newOperatorShowCmd(a), newOperatorVouchCmd(a), newOperatorPeerCmd(a), newOperatorCopyCmd(a))
	return c
}

// signFlags are shared by the commands that sign a statement about people.
type signFlags struct {
	log      logFlags
	identity string
	login    bool
	wait     time.Duration
	json     bool
}

func (f *signFlags) add(c *cobra.Command) {
	flags := c.Flags()
	f.log.add(flags)
	flags.StringVar(&f.identity, "identity", "", "identity `KEY` that signs")
	flags.BoolVar(&f.login, "use-login-key", false, "allow keys that also log you in somewhere")
	flags.DurationVar(&f.wait, "wait", 5*time.Second, "how long to wait for the proof that the log has it")
	flags.BoolVar(&f.json, "json", false, "write one JSON object")
}

// open opens the identity key and the log.
func (f *signFlags) open(ctx context.Context, a *app) (statement.Signer, *log.Client, error) {
	if f.identity == "" {
		return nil, nil, failf(exitUsage, "`firn key new FILE` makes one", "name your identity key with --identity KEY")
	}
	identity, err := a.openSigner(ctx, f.identity, f.login)
	if err != nil {
		return nil, nil, err
	}
	client, err := a.openLog(&f.log)
	return identity, client, err
}

type registerFlags struct {
	signFlags
	keys, identities         []string
	name, contact, url, home string
}

func newOperatorRegisterCmd(a *app) *cobra.Command {
	var f registerFlags
	c := &cobra.Command{
		Use:   "register --identity KEY --key KEY... --name NAME --contact ADDRESS",
		Short: "Introduce yourself, or a new key, to a log",
		Long: `Register sends your first operator statement, signed by your identity key, and
for each --key a statement that adds it as a build key. The operator id is
printed: it is what others put into their policy. A Nix secret key is added
with its name, the only one under which the log then takes cache-sig statements
by it.

Run it again to add keys or to change what is said about you. All this is said in
one log, your home log; firn operator copy brings it to others.

` + keySpecHelp,
		Example: `  firn operator register --log https://log.example --log-policy log.policy \
      --identity ~/.config/firn/identity --key ~/.config/firn/build \
      --name alice --contact alice@example.org`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error { return a.register(c.Context(), &f) },
	}
	f.add(c)
	flags := c.Flags()
	flags.StringArrayVar(&f.keys, "key", nil, "build `KEY` to add; may be repeated")
	flags.StringArrayVar(&f.identities, "add-identity", nil, "another identity `KEY` to add, for instance one kept offline; may be repeated")
	flags.StringVar(&f.name, "name", "", "a short name, without spaces")
	flags.StringVar(&f.contact, "contact", "", "how to reach you, at most 128 bytes")
	flags.StringVar(&f.url, "url", "", "a page about you")
	flags.StringVar(&f.home, "home", "", "`ORIGIN` of your home log: this one, if it is not yet")
	return c
}

func (a *app) register(ctx context.Context, f *registerFlags) error {
	identity, client, err := f.open(ctx, a)
	if err != nil {
		return err
	}
	keys, err := a.openNewKeys(ctx, f, identity.PublicKey().ID())
	if err != nil {
		return err
	}
	batch, h, err := a.introduce(ctx, f, identity, client)
	if err != nil {
		return err
	}
	for _, k := range keys {
		if err := batch.addKey(ctx, client, h, k); err != nil {
			return err
		}
	}
	return batch.send(ctx, a, client, &f.signFlags, h.ID)
}

type newKey struct {
	signer statement.Signer
	role   statement.Role
}

// openNewKeys opens the keys to add; none may be named twice.
func (a *app) openNewKeys(ctx context.Context, f *registerFlags, identity statement.KeyID) ([]newKey, error) {
	var keys []newKey
	seen := map[statement.KeyID]bool{identity: true}
	for i, spec := range slices.Concat(f.identities, f.keys) {
		s, err := a.openSigner(ctx, spec, f.login)
		if err != nil {
			return nil, err
		}
		id := s.PublicKey().ID()
		if seen[id] {
			return nil, failf(exitUsage, "an identity key says who you are, a build key signs claims on a machine: make one with `firn key new`", "%s names a key that is named already", spec)
		}
		seen[id] = true
		role := statement.RoleBuild
		if i < len(f.identities) {
			role = statement.RoleIdentity
		}
		keys = append(keys, newKey{s, role})
	}
	return keys, nil
}

// addKey signs the key-add of k, unless the log knows the key as this
// operator's already.
func (b *batch) addKey(ctx context.Context, client *log.Client, h *history, k newKey) error {
	id := k.signer.PublicKey().ID()
	if known := h.keyOf(id); known != nil {
		if known.Role != k.role || len(known.Revokes) > 0 {
			return failf(exitFailed, "use a new key: a key has one role, and comes once", "the key %s is registered already, as a key that is %s", id, keyState(known))
		}
		return nil
	}
	op, err := operatorOfKey(ctx, client, id)
	if err != nil {
		return err
	}
	if !op.IsZero() {
		return failf(exitFailed, "a key belongs to one operator: make a new one with `firn key new`", "the key %s is already registered for the operator %s", id, op)
	}
	add, err := statement.ProveKey(ctx, k.signer, h.ID, k.role)
	if err != nil {
		return failf(exitFailed, "", "proving the key %s: %w", id, err)
	}
	return b.sign(ctx, add)
}

// introduce starts a batch with the operator's first statement, or with an
// update if the log knows the operator and something else is said.
func (a *app) introduce(ctx context.Context, f *registerFlags, identity statement.Signer, client *log.Client) (*batch, *history, error) {
	own := identity.PublicKey()
	id, err := operatorOfKey(ctx, client, own.ID())
	if err != nil {
		return nil, nil, err
	}
	b := &batch{signer: identity}
	if id.IsZero() {
		if f.name == "" || f.contact == "" {
			return nil, nil, failf(exitUsage, "for instance: --name alice --contact alice@example.org", "a new operator needs --name and --contact")
		}
		op := &statement.Operator{Name: f.name, Contact: f.contact, URL: f.url, HomeLog: f.home, Identity: own}
		if op.HomeLog == "" {
			op.HomeLog = client.Origin()
		}
		if op.HomeLog != client.Origin() {
			return nil, nil, failf(exitUsage, "register there, and bring what you said there here with `firn operator copy`", "%s is not this log, %s: who is new registers in the home log", op.HomeLog, client.Origin())
		}
		if err := b.sign(ctx, op); err != nil {
			return nil, nil, err
		}
		told := &verify.History{ID: *b.prev, Profile: op, Keys: []verify.HistoryKey{{Key: own, Role: statement.RoleIdentity}}}
		return b, &history{History: told}, nil
	}
	h, err := readHistory(ctx, client, id)
	if err != nil {
		return nil, nil, err
	}
	if err := h.mayGoOn(own.ID(), client.Origin(), cmp.Or(f.home, h.Profile.HomeLog)); err != nil {
		return nil, nil, err
	}
	b.prev = &h.Head
	update := *h.Profile
	change := func(field *string, flag string) bool {
		if flag == "" || flag == *field {
			return false
		}
		*field = flag
		return true
	}
	name, contact, url, home := change(&update.Name, f.name), change(&update.Contact, f.contact), change(&update.URL, f.url), change(&update.HomeLog, f.home)
	if name || contact || url || home {
		update.OperatorID, update.Identity = &h.ID, own
		if err := b.sign(ctx, &update); err != nil {
			return nil, nil, err
		}
	}
	return b, h, nil
}

func keyState(k *verify.HistoryKey) string {
	if len(k.Revokes) > 0 {
		return "revoked (" + string(k.Revokes[0].Reason) + ")"
	}
	return "for " + string(k.Role)
}
