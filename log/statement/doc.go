// Package statement is what enters a firn log: signed statements about builds,
// about the operators who make them, and about the log itself.
//
// A statement is a payload in deterministic CBOR, in one of three signed
// forms: COSE_Sign1, SSHSIG, or foreign (a signature that a binary cache had
// already made). The kind is inside what is signed. [Parse] is strict: what it
// accepts has exactly one encoding, every value is within its bounds, and
// every store path that can be recomputed was recomputed. Parse does not
// verify the signature, because the key is not always in the leaf;
// [Statement.Verify] does, with a key that the caller trusts for a reason of
// its own.
//
// The package reads no files except key files that a [Signer] is asked to
// open, and never talks to a network; an ssh-agent is reached through its
// socket. Everything here may be called concurrently.
//
// The document is spec/statement.md.
package statement
