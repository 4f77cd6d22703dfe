// Package nix reads and writes the formats of Nix that Firn's answers rest
// on: nixbase32, hashes, store paths, narinfos and their signatures, NARs,
// derivations with their hash modulo and output paths, and realisations.
//
// It is pure: it reads what it is given, and touches the file system only to
// serialise a path (DumpPath, HashPath) or to unpack one (UnpackNar). It
// accepts less than Nix does where a lenient reading would let two programs
// see different things in the same bytes; spec/nix.md says what is refused.
//
// Everything here may be called concurrently unless its comment says
// otherwise; a NarReader and a NarWriter belong to one goroutine at a time.
package nix
