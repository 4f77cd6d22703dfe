// Package eval evaluates nixpkgs-like trees with plain nix-instantiate and
// reads and writes evaluation files (spec/tracker.md#evaluation-files).
//
// Evaluate turns a tree into attributes. It promises that one attribute costs
// at most one process: what crashes, never ends or takes too much memory is recorded
// with one sentence, and evaluation goes on behind it; that all its processes
// together stay within a number of bytes; and that nothing a package prints can pass
// for the answer of another.
//
// [Folder] keeps what came out, one file for each evaluation and tier, most of them
// holding only what changed since the one before. Update does both: it evaluates
// what the files that changed can have changed, and adds a file.
package eval
