// Package bincache reads Nix binary caches over HTTP or from a folder: narinfos, NARs in every
// usual compression, and other files of web servers that are to be asked as politely.
//
// What it promises: an answer about another path than the one asked for is an error; a NAR ends
// without an error only if it had the size and hash that its narinfo names; a cache that asks for
// a pause gets it; one that answers nonsense costs bounded memory and time; and a cache on the open
// internet cannot lead its reader into the reader's own network. It verifies no signature.
//
// It implements spec/import.md#what-is-asked-of-a-cache.
package bincache
