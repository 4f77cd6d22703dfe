// Package interop holds tests that run firn's programs against programs and
// libraries that somebody else wrote from the same documents, and on several
// hosts. Nothing is exported.
//
//   - litewitness (filippo.io/torchwood) cosigns a firn log;
//   - firn-witness cosigns a Tessera log;
//   - torchwood reads firn's policies and verifies its proofs;
//   - a battery of requests, made with golang.org/x/mod only, goes through
//     every rule for witnesses;
//   - a log, witnesses and a reader live in network namespaces that lose each
//     other and meet again.
//
// The peers are built from internal/peers, a module of its own. A machine
// that cannot build them, or that may not make network namespaces, skips the
// tests unless FIRN_TEST_REQUIRE names "peers" or "netns".
package interop
