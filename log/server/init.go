package server

import (
	"crypto/ed25519"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/mod/sumdb/note"

	"github.com/firn-log/firn/internal/durable"
	"github.com/firn-log/firn/internal/place"
	"github.com/firn-log/firn/log/policy"
	"github.com/firn-log/firn/log/server/blobs"
	"github.com/firn-log/firn/log/statement"
)

// Names in a log's directory (spec/log.md#directory).
const (
	recordName     = "record"
	indexName      = "index.db"
	mapName        = "index"
	lockName       = "lock"
	treeName       = "tessera"
	publicName     = "public"
	blobsName      = "blobs"
	checkpointName = "checkpoint"
)

// InitOptions is what Init makes a log from.
type InitOptions struct {
	Name         string         // "demo.firn.example"; the origin adds a random suffix
	Mode         statement.Mode // "" means vouched
	OperatorKeys []string       // key ids that vouch alone
	CacheKeys    []string       // Nix public keys whose signatures are taken
	// Change edits the configuration before it is checked and written; nil
	// changes nothing.
	Change func(*Config)
}

// Init makes a new log in dir, which must be missing or empty, and returns its
// verifier key. Key and origin are made together; neither is ever used with
// another of the other.
func Init(dir string, o InitOptions) (vkey string, err error) {
	if err := mustBeEmpty(dir); err != nil {
		return "", err
	}
	c := DefaultConfig()
	suffix := make([]byte, 4)
	if _, err := rand.Read(suffix); err != nil {
		return "", err
	}
	c.Origin = o.Name + "/" + hex.EncodeToString(suffix)
	if o.Mode != "" {
		c.Admission.Mode = o.Mode
	}
	c.Admission.OperatorKeys = append(c.Admission.OperatorKeys, o.OperatorKeys...)
	c.Admission.CacheKeys = append(c.Admission.CacheKeys, o.CacheKeys...)
	if o.Change != nil {
		o.Change(c)
	}
	if err := c.Check(); err != nil {
		return "", err
	}
	skey, vkey, err := note.GenerateKey(rand.Reader, c.Origin)
	if err != nil {
		return "", fmt.Errorf("making the log's key: %w", err)
	}
	text, err := c.marshal()
	if err != nil {
		return "", err
	}
	if err := makeFolders(dir); err != nil {
		return "", err
	}
	p, err := place.Find(dir)
	if err != nil {
		return "", err
	}
	first := record{place: p, head: policy.Head{Origin: c.Origin, Root: sha256.Sum256(nil)}}
	if err := durable.CreateFile(filepath.Join(dir, c.Key), []byte(skey+"\n"), 0o600); err != nil {
		return "", err
	}
	if err := writeRecord(filepath.Join(dir, recordName), &first); err != nil {
		return "", err
	}
	// The configuration comes last: without it nothing here is a log.
	return vkey, durable.CreateFile(filepath.Join(dir, ConfigName), text, 0o644)
}

func mustBeEmpty(dir string) error {
	entries, err := os.ReadDir(dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	for _, e := range entries {
		if e.Name() == ConfigName {
			return fmt.Errorf("there is a log in %s already", dir)
		}
	}
	if len(entries) > 0 {
		return fmt.Errorf("%s is not empty", dir)
	}
	return nil
}

func makeFolders(dir string) error {
	for _, name := range []string{treeName, filepath.Join(treeName, "tile"), publicName, filepath.Join(publicName, "v1"), filepath.Join(blobsName, blobs.ListsName)} {
		if err := durable.MkdirAll(filepath.Join(dir, name), 0o755); err != nil {
			return err
		}
	}
	for link, target := range map[string]string{
		"tile":                      filepath.Join("..", treeName, "tile"),
		filepath.Join("v1", "blob"): filepath.Join("..", "..", blobsName, blobs.ListsName),
	} {
		if err := makeLink(filepath.Join(dir, publicName, link), target); err != nil {
			return err
		}
	}
	return nil
}

// makeLink makes a symbolic link, unless it is there.
func makeLink(link, target string) error {
	if got, err := os.Readlink(link); err == nil && got == target {
		return nil
	}
	if err := os.Symlink(target, link); err != nil {
		return err
	}
	return durable.SyncDir(filepath.Dir(link))
}

// logKey is the log's private key in its two uses: it signs checkpoints as a
// note, and statements about the log as COSE.
type logKey struct {
	note      note.Signer
	vkey      string
	verifier  note.Verifier
	statement statement.Signer
}

// readKey reads the key file and refuses one that everybody may read, or that
// somebody else may change. The owner's group may read it, as systemd arranges
// it for LoadCredential.
func readKey(path, origin string) (*logKey, error) {
	st, err := os.Stat(path)
	if err != nil {
		return nil, fmt.Errorf("reading the log's key: %w", err)
	}
	if st.Mode().Perm()&0o027 != 0 {
		return nil, fmt.Errorf("the log's key %s can be read or changed by others (mode %04o): chmod 600 it", path, st.Mode().Perm())
	}
	b, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("reading the log's key: %w", err)
	}
	k, err := parseKey(strings.TrimSuffix(string(b), "\n"))
	if err != nil {
		return nil, fmt.Errorf("the log's key %s: %w", path, err)
	}
	if k.note.Name() != origin {
		return nil, fmt.Errorf("the log's key %s is for the origin %q, and the configuration says %q", path, k.note.Name(), origin)
	}
	return k, nil
}

// parseKey reads "PRIVATE+KEY+<name>+<hash>+<base64 of 1 ‖ seed>"; see
// golang.org/x/mod/sumdb/note.
func parseKey(skey string) (*logKey, error) {
	k := new(logKey)
	var err error
	if k.note, err = note.NewSigner(skey); err != nil {
		return nil, errors.New("it is not a private key of a log")
	}
	fields := strings.SplitN(skey, "+", 5) // base64 may hold a "+" too
	raw, err := base64.StdEncoding.DecodeString(fields[4])
	if err != nil || len(raw) != 1+ed25519.SeedSize {
		return nil, errors.New("it is not an Ed25519 key")
	}
	private := ed25519.NewKeyFromSeed(raw[1:])
	if k.vkey, err = note.NewEd25519VerifierKey(k.note.Name(), private.Public().(ed25519.PublicKey)); err != nil {
		return nil, err
	}
	if k.verifier, err = note.NewVerifier(k.vkey); err != nil {
		return nil, err
	}
	k.statement, err = statement.NewEd25519Signer(private)
	return k, err
}

// VKey returns the verifier key of the log in dir.
func VKey(dir string) (string, error) {
	c, err := LoadConfig(dir)
	if err != nil {
		return "", err
	}
	k, err := readKey(inDir(dir, c.Key), c.Origin)
	if err != nil {
		return "", err
	}
	return k.vkey, nil
}

// inDir returns path as seen from dir.
func inDir(dir, path string) string {
	if filepath.IsAbs(path) {
		return path
	}
	return filepath.Join(dir, path)
}
