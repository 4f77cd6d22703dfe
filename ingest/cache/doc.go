// Package cache brings the signatures that a binary cache already makes into a
// log: it reads narinfos over HTTP or from a folder, follows their references,
// verifies every signature by a key that its caller lists, and sends each as a
// cache-sig statement (spec/statement.md#cache-sig, spec/import.md).
//
// What it promises: nothing is sent whose signature was not verified here, and
// nothing by a key that is not listed; an answer about another path than the one
// asked for, and a wrong signature, are reported as what they are; a path is
// remembered only after the log has acknowledged all that is said about it, so
// that a run which ends at any moment is resumed by the next one; a cache that
// asks for a pause gets it, and one that answers nonsense costs bounded memory
// and time.
package cache
