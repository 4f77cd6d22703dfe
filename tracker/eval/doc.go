// Package eval evaluates nixpkgs-like trees with plain nix-instantiate and
// reads and writes evaluation files (spec/tracker.md#evaluation-files).
package eval
