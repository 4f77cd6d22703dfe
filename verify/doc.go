// Package verify answers one question about store paths: do the people that a
// policy names agree that this is what comes out?
//
// [LoadPolicy] reads a firn.policy (spec/policy.md). [Verify] asks the logs of
// that policy about every path of a closure, checks what they answer
// (inclusion, signatures, who may speak for whom, what was revoked) and judges
// each path on its own: trusted, untrusted, contradicted or inconclusive. The
// judgement itself, [Judge], is a pure function of the rule and of the claims;
// everything with input and output stands around it.
//
// The package promises three things. No verdict is trusted unless operators
// that satisfy the rule made live claims for exactly the fingerprint that is
// judged: path, NAR hash, NAR size and references. One operator has one vote,
// whatever number of keys, statements or logs it uses. And what is missing is
// never taken for a no: where a log that did not answer could change the
// verdict, the verdict is inconclusive.
//
// It implements spec/policy.md.
package verify
