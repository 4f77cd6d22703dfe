// Command cheat is the demo's log after its operator has turned: it takes the folder
// of a stopped log, leaves one entry out of the list of one key in the index, signs a
// revision of that index, and serves nothing else. It is for the demo and is not
// installed.
//
// Nothing in it is staged. The entries are those of the log, the key is the log's,
// and the real witnesses and the real auditor of the log's policy are asked to cosign.
// The log itself is a logtest.Log, which can be told to lie.
package main

import (
	"context"
	"crypto/ed25519"
	"encoding/base64"
	"errors"
	"flag"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/firn-log/firn/log"
	"github.com/firn-log/firn/log/index"
	"github.com/firn-log/firn/log/logtest"
	"github.com/firn-log/firn/log/policy"
	"github.com/firn-log/firn/log/witnessing"
)

func main() {
	var o options
	flag.StringVar(&o.listen, "listen", "127.0.0.1:0", "`address` to serve on, that of the log")
	flag.StringVar(&o.policy, "policy", "", "tlog-policy `file` of the log: who is asked to cosign")
	flag.StringVar(&o.key, "key", "", "index `key` whose list is edited")
	flag.Uint64Var(&o.hide, "hide", 0, "`index` of the entry that is left out of it")
	flag.StringVar(&o.dir, "log", "", "`folder` of the log, which is only read")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, &o)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "cheat:", err)
		os.Exit(1)
	}
}

type options struct {
	dir, listen, policy, key string
	hide                     uint64
}

// run serves the edited log until ctx ends.
func run(ctx context.Context, o *options) error {
	b, err := os.ReadFile(o.policy)
	if err != nil {
		return err
	}
	pol, err := policy.Parse(b)
	if err != nil {
		return fmt.Errorf("%s: %w", o.policy, err)
	}
	leaves, err := entries(ctx, o.dir, pol)
	if err != nil {
		return err
	}
	origin, key, err := readKey(filepath.Join(o.dir, "log.key"))
	if err != nil {
		return err
	}
	s := new(stage)
	defer s.clear()
	l := logtest.New(s, logtest.Origin(origin), logtest.SignedBy(key))
	for _, leaf := range leaves {
		l.Add(leaf)
	}
	l.Publish()
	note := edit(l, o)
	fmt.Printf("signed a revision of the index in which %s lacks entry %d; the log has %d entries now\n", o.key, o.hide, l.Size())

	ln, err := net.Listen("tcp", o.listen)
	if err != nil {
		return err
	}
	server := &http.Server{Handler: l.Handler()}
	served := make(chan error, 1)
	go func() { served <- server.Serve(ln) }()
	if note, err = cosign(ctx, pol, note, l.Consistency); err != nil {
		return errors.Join(err, server.Close())
	}
	l.Lie(func(lies *logtest.Lies) { lies.Checkpoint = note })
	fmt.Printf("msg=serving address=%s\n", ln.Addr())
	select {
	case err = <-served:
		return err
	case <-ctx.Done():
		return server.Close()
	}
}

// edit has the log sign a revision of the index without the entry, and no other
// any more. It returns the checkpoint that holds it.
func edit(l *logtest.Log, o *options) []byte {
	l.Lie(func(lies *logtest.Lies) {
		lies.Index = func(key string, it index.Item) (index.Item, bool) {
			return it, key != o.key || it.Index != o.hide
		}
	})
	l.Revise()
	note := l.Publish()
	l.Lie(func(lies *logtest.Lies) { lies.NoRevision = true })
	return note
}

// entries returns what a stopped log has published.
func entries(ctx context.Context, dir string, pol *policy.Policy) ([][]byte, error) {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return nil, err
	}
	c, err := log.NewClient("file://"+filepath.Join(dir, "public"), pol, log.Options{Memory: log.NewMemory("")})
	if err != nil {
		return nil, err
	}
	cp, err := c.Checkpoint(ctx)
	if err != nil {
		return nil, err
	}
	var leaves [][]byte
	for e, err := range c.Entries(ctx, cp, 0, cp.Size) {
		if err != nil {
			return nil, err
		}
		leaves = append(leaves, e.Leaf)
	}
	return leaves, nil
}

// readKey reads the private key of a log, with its origin.
func readKey(path string) (origin string, key ed25519.PrivateKey, err error) {
	b, err := os.ReadFile(path)
	if err != nil {
		return "", nil, err
	}
	fields := strings.SplitN(strings.TrimSpace(string(b)), "+", 5) // PRIVATE, KEY, the name, its hash, 1 ‖ seed
	if len(fields) < 5 {
		return "", nil, fmt.Errorf("%s is not a private key of a log", path)
	}
	raw, err := base64.StdEncoding.DecodeString(fields[4])
	if err != nil || len(raw) != 1+ed25519.SeedSize {
		return "", nil, fmt.Errorf("%s is not a private key of a log", path)
	}
	return fields[2], ed25519.NewKeyFromSeed(raw[1:]), nil
}

// cosign asks everybody in the policy, with a proof that the log grew and did nothing
// else, which is true. It tells what they answer, and returns the note with what they
// signed. It is an error if that is no quorum of witnesses.
func cosign(ctx context.Context, pol *policy.Policy, note []byte, prove witnessing.Prover) ([]byte, error) {
	cp, err := witnessing.NewCheckpoint(note)
	if err != nil {
		return nil, err
	}
	n, err := policy.ParseNote(note)
	if err != nil {
		return nil, err
	}
	for _, w := range pol.Witnesses {
		c, err := witnessing.NewClient(w.URL, []policy.Witness{w}, witnessing.Options{})
		if err != nil {
			return nil, err
		}
		cosigs, err := add(ctx, c, cp, prove)
		switch e := (*witnessing.Error)(nil); {
		case err == nil:
			fmt.Printf("%s cosigns\n", w.Name)
			n.Signatures = append(n.Signatures, cosigs[0].Line)
		case errors.As(err, &e) && e.Outcome == witnessing.Unreachable:
			fmt.Printf("%s does not answer\n", w.Name)
		default:
			fmt.Printf("%s does not cosign: %v\n", w.Name, err)
		}
	}
	_, err = log.VerifyCheckpoint(pol, n.Marshal(), time.Now())
	return n.Marshal(), err
}

// add asks again as long as the answer is "later".
func add(ctx context.Context, c *witnessing.Client, cp witnessing.Checkpoint, prove witnessing.Prover) ([]witnessing.Cosignature, error) {
	for range 10 {
		cosigs, err := c.Add(ctx, cp, prove)
		var e *witnessing.Error
		if err == nil || !errors.As(err, &e) || e.Status != http.StatusServiceUnavailable {
			return cosigs, err
		}
	}
	return nil, errors.New("it is busy")
}
