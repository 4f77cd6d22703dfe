// Package index says under which keys an entry of a firn log is found, and
// proves that an answer holds all entries under a key.
//
// Map version 1 is a pure function of one leaf's bytes: it verifies nothing and
// resolves nothing, so that everybody who reads the same leaves computes the
// same lists. The lists are the values of a compressed binary Merkle trie, whose
// root the log commits to in a revision. A [Node] is what is shown of it, a [List] what is
// shown of a list, and [Memory] makes both from leaves.
//
// The document is spec/index.md. Nothing here panics on foreign bytes. Everything
// but a Memory and a variable Frontier may be used concurrently.
package index

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"slices"

	"github.com/firn-log/firn/internal/nix"
	"github.com/firn-log/firn/log/statement"
)

// MapVersion is the version of the map function. A change of what Keys returns
// for any leaf is a new version.
const MapVersion = 1

// Keys returns the index keys of one leaf, sorted and without repetition
// (spec/index.md#keys). A leaf that is not a well-formed statement has none, nor has
// a revision.
func Keys(leaf []byte) []string {
	s, err := statement.Parse(leaf)
	if err != nil {
		return nil
	}
	return StatementKeys(s)
}

// StatementKeys is Keys for a leaf that is parsed already.
func StatementKeys(s *statement.Statement) []string {
	if s.Body.Kind() == statement.KindRevision {
		return nil // or the map would change by being committed to
	}
	keys := append(bodyKeys(s), Key(s.Signer))
	slices.Sort(keys)
	return slices.Compact(keys)
}

// AppendKeyHashes appends the KeyHash of each of the StatementKeys, in the order of the hashes.
// Those of most builds need no memory for their texts.
func AppendKeyHashes(hashes []Hash, s *statement.Statement) []Hash {
	start := len(hashes)
	b, ok := s.Body.(*statement.Build)
	if ok && !slices.ContainsFunc(b.Outputs, func(o statement.BuildOutput) bool { return o.CA != "" }) {
		var room [320]byte // of most keys
		hashes = append(hashes, keyHash(appendPath(room[:0], "drv:", b.DrvPath)), keyHash(appendKey(room[:0], s.Signer)))
		for i := range b.Outputs {
			hashes = append(hashes, keyHash(appendPath(room[:0], "out:", b.Outputs[i].Path)))
		}
	} else {
		for _, k := range StatementKeys(s) {
			hashes = append(hashes, KeyHash(k))
		}
	}
	these := hashes[start:]
	slices.SortFunc(these, CompareHashes)
	return hashes[:start+len(slices.Compact(these))]
}

// CompareHashes orders hashes by their bytes, as [slices.BinarySearchFunc] needs it.
func CompareHashes(a, b Hash) int { return bytes.Compare(a[:], b[:]) }

func bodyKeys(s *statement.Statement) []string {
	switch b := s.Body.(type) {
	case *statement.Build:
		return buildKeys(b)
	case *statement.BuildFailed:
		return []string{Drv(b.DrvPath)}
	case *statement.CacheSig:
		return []string{Out(b.Path)}
	case *statement.Closure:
		return []string{DigestSHA256(b.Digest)}
	case *statement.Operator:
		id := s.ID()
		if b.OperatorID != nil {
			id = *b.OperatorID
		}
		return []string{Operator(id), Key(b.Identity.ID())}
	case *statement.KeyAdd:
		return []string{Operator(b.OperatorID), Key(b.Key.ID())}
	case *statement.KeyRevoke:
		return []string{Operator(b.OperatorID), Key(b.KeyID)}
	case *statement.Vouch:
		return []string{Operator(b.OperatorID), Operator(b.For)}
	case *statement.Retract:
		return []string{Operator(b.OperatorID)}
	case *statement.Peer:
		keys := []string{Operator(b.OperatorID)}
		if k, err := b.Key(); err == nil { // always: Parse has checked it
			keys = append(keys, Key(k.ID()))
		}
		return keys
	case *statement.Genesis:
		return append(rulesKeys(&b.Rules), Key(b.LogKey.ID()))
	case *statement.LogConfig:
		return rulesKeys(&b.Rules)
	case *statement.Freeze:
		if b.Successor != nil {
			return []string{Key(b.Successor.LogKey.ID())}
		}
	case *statement.Observed:
		return append(drvKeys(b.Deriver), Out(b.Path))
	case *statement.Realisation:
		return realisationKeys(b)
	case *statement.PathClaim:
		return append(contentKeys(b.CA), Out(b.Path))
	case *statement.Diff:
		return append(drvKeys(b.Drv), Out(b.Path))
	case *statement.Eval:
		return []string{DigestSHA256(b.Digest)}
	case *statement.Evidence:
		return []string{Key(b.Convicted().ID()), DigestSHA256(sha256.Sum256(b.Bytes))}
	}
	return nil
}

// rulesKeys returns the keys that the rules of a log list.
func rulesKeys(r *statement.Rules) []string {
	var keys []string
	for _, id := range r.OperatorKeys {
		keys = append(keys, Key(id))
	}
	for _, c := range r.CacheKeys {
		if k, err := statement.Ed25519Key(c.Key[:]); err == nil { // always: Parse has checked it
			keys = append(keys, Key(k.ID()))
		}
	}
	return keys
}

func buildKeys(b *statement.Build) []string {
	keys := append(make([]string, 0, len(b.Outputs)+2), Drv(b.DrvPath)) // room for Key, too
	for i := range b.Outputs {
		o := &b.Outputs[i]
		keys = append(keys, Out(o.Path))
		if o.CA == "" {
			continue
		}
		keys = append(append(keys, Real(b.Modulo, o.Name)), contentKeys(o.CA)...)
	}
	return keys
}

// contentKeys returns the key of the content that a fixed address with SHA-256 names.
func contentKeys(address string) []string {
	if ca, err := nix.ParseContentAddress(address); err == nil && ca.Algo == "sha256" && ca.Method != nix.Text {
		return []string{"digest:sha256:" + hex.EncodeToString(ca.Hash)}
	}
	return nil
}

func drvKeys(drv *nix.StorePath) []string {
	if drv == nil {
		return nil
	}
	return []string{Drv(*drv)}
}

// realisedKey is the key of what a realisation is about.
func realisedKey(b *statement.Realisation) string {
	if b.Drv != nil {
		return RealDrv(*b.Drv, b.Output)
	}
	return Real(*b.Modulo, b.Output)
}

func realisationKeys(b *statement.Realisation) []string {
	keys := append(drvKeys(b.Drv), Out(b.Path), realisedKey(b))
	for _, s := range b.NixSigs {
		if k, err := statement.Ed25519Key(s.Key[:]); err == nil { // always: Parse has checked it
			keys = append(keys, Key(k.ID()))
		}
	}
	return keys
}

// Subjects returns the index keys that a claim is about, for the bound on
// claims per key and subject (spec/log.md#claims-per-subject); that of evidence is no
// index key but its kind and the key that it convicts, so that no log fills the places
// for evidence of two histories with that against its index. What is observed and what
// differs is counted apart, so that it takes no place of a build. Statements by or about
// people and logs have none.
func Subjects(s *statement.Statement) []string {
	switch b := s.Body.(type) {
	case *statement.Build:
		var keys []string
		for _, o := range b.Outputs {
			keys = append(keys, Out(o.Path))
			if o.CA != "" {
				// Its path follows from its content, so that one key could make
				// any number of claims about different paths.
				keys = append(keys, Real(b.Modulo, o.Name))
			}
		}
		return keys
	case *statement.BuildFailed, *statement.CacheSig, *statement.Closure, *statement.Eval:
		return bodyKeys(s)
	case *statement.Realisation:
		return []string{Out(b.Path), realisedKey(b)}
	case *statement.PathClaim:
		return []string{Out(b.Path)}
	case *statement.Observed:
		return []string{"observed:" + Out(b.Path)}
	case *statement.Diff:
		return []string{"diff:" + Out(b.Path)}
	case *statement.Evidence:
		e, err := b.Parsed()
		if err != nil {
			return nil // no statement that was parsed
		}
		return []string{"evidence:" + string(e.Kind) + ":" + Key(b.Convicted().ID())}
	}
	return nil
}

// Out is the key of the claims about a store path.
func Out(p nix.StorePath) string { return pathKey("out:", p) }

// Drv is the key of the claims that name a derivation. It is a hint: a
// derivation's path is a claim itself.
func Drv(p nix.StorePath) string { return pathKey("drv:", p) }

// pathKey is prefix + p.String() in one allocation.
func pathKey(prefix string, p nix.StorePath) string {
	var room [320]byte
	return string(appendPath(room[:0], prefix, p))
}

func appendPath(b []byte, prefix string, p nix.StorePath) []byte {
	b = append(b, prefix...)
	if p.IsZero() {
		return b
	}
	return append(append(append(b, p.Dir()...), '/'), p.Base()...)
}

// Real is the key of the claims about a content-addressed output: the hash
// modulo of its derivation and the output's name.
func Real(modulo nix.Hash, output string) string {
	return "real:sha256:" + hex.EncodeToString(modulo[:]) + "!" + output
}

// RealDrv is Real for what is named by its resolved derivation.
func RealDrv(drv nix.StorePath, output string) string { return "real:" + drv.String() + "!" + output }

// DigestSHA256 is the key of the statements about content with this hash.
func DigestSHA256(h nix.Hash) string { return "digest:sha256:" + hex.EncodeToString(h[:]) }

// Key is the key of what a key signed and of the statements that name it.
func Key(id statement.KeyID) string {
	var room [4 + 64]byte
	return string(appendKey(room[:0], id))
}

func appendKey(b []byte, id statement.KeyID) []byte {
	return hex.AppendEncode(append(b, "key:"...), id[:])
}

// Operator is the key of the statements by and about an operator.
func Operator(id statement.ID) string { return "operator:" + id.String() }
