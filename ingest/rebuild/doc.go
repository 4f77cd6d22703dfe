// Package rebuild builds derivations again and compares what comes out, output by
// output (spec/rebuild.md).
//
// Each derivation is built in a room: a private store that holds its inputs,
// read-only, and nothing else, in namespaces of its own. Nix builds there as it does
// anywhere, in its sandbox; nothing is substituted, and no output is there before. So
// every output is built, whatever the first one turns out to be.
//
// What was built is a statement, and so is a failure; a difference is one more,
// with the files in which the two differ. The package hands unsigned payloads to
// whoever sends them (Options.Put) and signs nothing.
//
// A [Rebuilder] may be killed at any moment. What was done is in its work folder and
// not done again.
package rebuild
