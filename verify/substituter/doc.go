// Package substituter is a binary cache for one machine that gives its Nix only what a firn.policy
// lets in (spec/substituter.md).
//
// A [Substituter] asks the upstreams of the policy for narinfos, judges their whole fingerprints
// in batches through a [verify.Session], and answers with narinfos that it derives from what was
// judged and signs with a key of its own. NARs are unpacked and checked on the way, once for it and
// for Nix. Decisions are kept in a file, with what the logs answered, so that judging again costs one
// question for many paths.
//
// What it promises: nothing is served, neither narinfo nor NAR, but under a decision that the
// policy of now made no longer ago than its decision-ttl; what is not trusted is served only if a
// rule says so and the upstream signed it with a key that the policy lists; a NAR whose content is
// not what was judged never arrives whole; and every refusal is one sentence that says why.
// It believes nothing in a narinfo that was not judged, and listens to nobody whose request names
// another host.
package substituter
