package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"time"

	"github.com/firn-log/firn/internal/durable"
	"github.com/firn-log/firn/log"
	"github.com/firn-log/firn/log/policy"
	"github.com/firn-log/firn/log/statement"
)

// Files in the folder of --etc.
const (
	policyFile   = "log.policy"
	buildKeyFile = "build.key"
	identityFile = "identity.key"
	publicFile   = "public"
	submitFile   = "submit.toml"
)

const submitUser = "firn-submit"

func (s *setup) file(name string) string { return filepath.Join(s.etc, name) }

func exists(path string) bool {
	_, err := os.Lstat(path)
	return err == nil
}

// machineSteps makes the user, the folder and the log's policy.
func (s *setup) machineSteps(context.Context) ([]*step, error) {
	steps := []*step{s.userStep()}
	if exists(s.etc) {
		steps = append(steps, &step{what: "the folder " + s.etc})
	} else {
		steps = append(steps, &step{"make the folder " + s.etc, func() error { return durable.MkdirAll(s.etc, 0o755) }})
	}
	pol, err := s.policyStep()
	return append(steps, pol), err
}

// userStep makes the system user that firn submit runs as, which only root can.
func (s *setup) userStep() *step {
	name := s.hook.user
	if _, err := user.Lookup(name); err == nil {
		return &step{what: "the user " + name}
	}
	return &step{"make the system user " + name, func() error {
		out, err := exec.Command("useradd", "--system", "--no-create-home", "--shell", "/usr/sbin/nologin", name).CombinedOutput()
		if err != nil {
			return fmt.Errorf("useradd: %w: %s", err, bytes.TrimSpace(out))
		}
		return nil
	}}
}

// policyStep writes what says whose checkpoints are believed. Nothing is believed
// that this machine's owner did not name.
func (s *setup) policyStep() (*step, error) {
	to := s.policyPath
	var text []byte
	var err error
	switch {
	case s.policy != "":
		if s.believed, err = readLogPolicy(s.policy); err != nil {
			return nil, err
		}
		if text, err = os.ReadFile(s.policy); err != nil {
			return nil, failf(exitUsage, "", "reading the log's policy: %w", err)
		}
	case s.vkey != "":
		text = fmt.Appendf(nil, "# The log alone is believed: no witness has to have seen a checkpoint.\nlog %s %s\nquorum none\n", s.vkey, s.log)
		if s.believed, err = policy.Parse(text); err != nil {
			return nil, failf(exitUsage, "a verifier key is one word, NAME+HASH+KEY, as `firn-log vkey` prints it", "--vkey: %w", err)
		}
	}
	old, err := os.ReadFile(to)
	switch {
	case err == nil && (text == nil || bytes.Equal(old, text)):
		if s.believed == nil {
			if s.believed, err = readLogPolicy(to); err != nil {
				return nil, err
			}
		}
		return &step{what: "the log's policy " + to}, nil
	case err == nil:
		return nil, failf(exitUsage, "leave --log-policy and --vkey out to keep it, or move it away to replace it", "%s holds another policy", to)
	case !errors.Is(err, fs.ErrNotExist):
		return nil, failf(exitFailed, "", "%w", err)
	case text == nil:
		return nil, failf(exitUsage, "get the log's policy from somebody you trust and name it with --log-policy FILE; or give the log's key with --vkey, to believe it without witnesses. "+
			"What the log says about itself is no ground to believe it", "whose checkpoints of %s are believed is not known", s.log)
	}
	return &step{"write the log's policy " + to, func() error { return durable.WriteFile(to, text, 0o644) }}, nil
}

// keySteps makes the build key, and an identity key if none is named and the
// build key is not registered yet.
func (s *setup) keySteps(context.Context) ([]*step, error) {
	build, identity := s.key, s.file(identityFile)
	var steps []*step
	fresh := build == s.file(buildKeyFile) && !exists(build)
	if fresh {
		if s.identity == "" && !exists(identity) && (s.name == "" || s.contact == "") {
			return nil, failf(exitUsage, "for instance: --name alice --contact alice@example.org; or --identity KEY if the log knows you", "a new operator needs --name and --contact")
		}
		steps = append(steps, &step{"make the build key " + build, func() error { return s.makeKey(build, s.hook.user) }})
	} else {
		steps = append(steps, &step{what: "the build key " + build})
	}
	switch {
	case s.identity != "":
		steps = append(steps, &step{what: "the identity key " + s.identity})
	case exists(identity):
		steps = append(steps, &step{what: "the identity key " + identity})
	case fresh:
		steps = append(steps, &step{"make the identity key " + identity, func() error { return s.makeKey(identity, "") }})
	}
	return steps, nil
}

// makeKey makes a key, and gives it to owner if that is not "".
func (s *setup) makeKey(path, owner string) error {
	quiet := &app{Stdin: s.a.Stdin, Stdout: new(bytes.Buffer), Stderr: new(bytes.Buffer), Getenv: s.a.Getenv}
	if err := quiet.keyNew(&keyNewFlags{typ: "ed25519"}, path); err != nil {
		return err
	}
	if owner == "" || os.Geteuid() != 0 {
		return nil
	}
	uid, gid, err := ids(owner)
	if err != nil {
		return err
	}
	return give(path, uid, gid, 0o400)
}

func ids(name string) (uid, gid int, err error) {
	u, err := user.Lookup(name)
	if err != nil {
		return 0, 0, err
	}
	if uid, err = strconv.Atoi(u.Uid); err != nil {
		return 0, 0, err
	}
	gid, err = strconv.Atoi(u.Gid)
	return uid, gid, err
}

// registerSteps introduces the operator and the build key to the log.
func (s *setup) registerSteps(ctx context.Context) ([]*step, error) {
	what := "register the build key at " + s.log
	if s.dryRun {
		return []*step{{what, func() error { return nil }}}, nil
	}
	key, err := s.a.publicKey(ctx, s.key)
	if err != nil {
		return nil, err
	}
	s.out.BuildKey = key.ID().String()
	client := s.client
	defer func() {
		if path := s.file(identityFile); s.identity == "" && exists(path) {
			s.out.Identity = path
		}
	}()
	op, err := operatorOfKey(ctx, client, key.ID())
	if err != nil {
		return nil, err
	}
	if !op.IsZero() {
		return []*step{{what: fmt.Sprintf("the log %s has the build key as one of the operator %s", client.Origin(), op)}}, s.mayBuild(ctx, client, op, key.ID())
	}
	return []*step{{what, func() error { return s.register(ctx, client) }}}, nil
}

// mayBuild refuses a build key that signs nothing that counts.
func (s *setup) mayBuild(ctx context.Context, client *log.Client, op statement.ID, key statement.KeyID) error {
	s.out.Operator = op.String()
	h, err := readHistory(ctx, client, op)
	if err != nil {
		return err
	}
	if k := h.keyOf(key); k.Role != statement.RoleBuild || len(k.Revokes) > 0 {
		return failf(exitFailed, "move "+s.key+" and its .pub away and run this again: it makes a new one", "the key %s, %s, is %s", key, s.key, keyState(k))
	}
	return nil
}

// register sends the statements that are missing, and fails unless the log takes them.
func (s *setup) register(ctx context.Context, client *log.Client) error {
	spec := s.identity
	if spec == "" {
		spec = s.file(identityFile)
		if !exists(spec) {
			return failf(exitUsage, "name it with --identity KEY", "the log does not know the build key yet, and your identity key, which has to sign that, is not in %s", spec)
		}
	}
	identity, err := s.a.openSigner(ctx, spec, s.login)
	if err != nil {
		return err
	}
	f := &registerFlags{keys: []string{s.key}, name: s.name, contact: s.contact, url: s.page}
	f.login, f.wait = s.login, 10*time.Second
	keys, err := s.a.openNewKeys(ctx, f, identity.PublicKey().ID())
	if err != nil {
		return err
	}
	batch, h, err := s.a.introduce(ctx, f, identity, client)
	if err != nil {
		return err
	}
	if err := batch.addKey(ctx, client, h, keys[0]); err != nil {
		return err
	}
	s.out.Operator = h.ID.String()
	quiet := *s.a
	quiet.Stdout = new(bytes.Buffer)
	if s.json {
		quiet.Stderr = new(bytes.Buffer)
	}
	return batch.send(ctx, &quiet, client, &f.signFlags, h.ID)
}
