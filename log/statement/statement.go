package statement

import "github.com/firn-log/firn/internal/nix"

// Form says how a statement is signed (spec/statement.md#forms).
type Form int

// The forms.
const (
	COSE    Form = iota + 1 // COSE_Sign1 by an Ed25519 or P-256 key
	SSHSIG                  // [payload, SSHSIG blob]
	Foreign                 // [payload, signature]: cache-sig only
)

// String returns "cose", "sshsig" or "foreign".
func (f Form) String() string {
	return [...]string{"none", "cose", "sshsig", "foreign"}[f]
}

// A Statement is a parsed leaf. [Parse] makes them; do not change one. It
// keeps pieces of the leaf it was parsed from.
type Statement struct {
	Kind    Kind
	Body    Body
	For     string // on whose behalf; "" if nobody's
	Prev    *ID    // previous people statement of the same operator
	Payload []byte // the bytes that are signed
	Form    Form
	Signer  KeyID
	// SignerKey is the signer's key if the leaf carries it, in its form
	// (SSHSIG, foreign) or in its body (operator, genesis); nil otherwise. Its
	// id is Signer. It is not trusted for being here.
	SignerKey *PublicKey
	// Sig is the signature: 64 bytes (COSE, foreign) or the SSHSIG blob.
	Sig []byte

	alg byte    // COSE algorithm, as its CBOR byte
	ssh *sshsig // parsed Sig of the SSHSIG form
}

// Parse parses a leaf strictly: size, form, canonical encoding, shape, bounds
// and arithmetic. It does not verify the signature. Errors are *[Error]. leaf
// must not be changed afterwards.
func Parse(leaf []byte) (*Statement, error) {
	if len(leaf) > MaxLargeLeaf {
		return nil, errf(CodeOversize, "a leaf of %d bytes; at most %d are accepted", len(leaf), MaxLargeLeaf)
	}
	s := &Statement{}
	if err := s.splitLeaf(leaf); err != nil {
		return nil, err
	}
	if err := s.parsePayload(); err != nil {
		return nil, err
	}
	if len(leaf) > s.Kind.MaxLeaf() {
		return nil, errf(CodeOversize, "a %s leaf of %d bytes; at most %d are accepted", s.Kind, len(leaf), s.Kind.MaxLeaf())
	}
	if err := s.resolveForm(); err != nil {
		return nil, err
	}
	return s, s.checkSigner()
}

// parsePayload reads s.Payload into the other fields. The payload of version 1 is
// fixed: see spec/statement.md#evolution.
func (s *Statement) parsePayload() error {
	if err := checkCanonical(s.Payload); err != nil {
		return err
	}
	kind, err := peekKind(s.Payload)
	if err != nil {
		return err
	}
	r := reader{walker: walker{b: s.Payload}}
	f := r.fields("payload")
	f.raw(1)
	f.raw(2) // peekKind has read them
	var body []byte
	if f.need(3) && f.left == 0 {
		body = s.Payload[r.off:] // nothing follows it
	} else {
		body = f.skip()
	}
	hasFor := f.has(4)
	var forWhom []byte
	if hasFor {
		forWhom = f.textBytes()
	}
	prev := f.optBytes(5)
	f.end()
	if r.err != nil {
		return r.err
	}
	s.Kind, s.Body = kind, kinds[kind].body()
	if err := s.Body.decode(body); err != nil {
		return err
	}
	if hasFor && len(forWhom) == 0 {
		return errf(CodeBadValue, "%s: empty for", kind)
	}
	s.For = string(forWhom)
	if prev != nil {
		if len(*prev) != 32 {
			return errf(CodeBadShape, "%s: prev has %d bytes instead of 32", kind, len(*prev))
		}
		id := ID(*prev)
		s.Prev = &id
	}
	return checkContents(s.Body, s.For, s.Prev)
}

// peekKind reads version and kind, so that a newer version or another kind is
// called by its name whatever else it holds.
func peekKind(payload []byte) (Kind, error) {
	r := reader{walker: walker{b: payload}}
	f := r.fields("payload")
	if f.has(0) {
		f.skip() // unknown, and no reason not to look at the others
	}
	version := f.uint(1)
	if r.err == nil && version != Version {
		return "", errf(CodeVersion, "a statement of version %d; this firn knows version %d", version, Version)
	}
	var name []byte
	if f.need(2) {
		name = f.textBytes()
	}
	if r.err != nil {
		return "", errf(CodeBadShape, "payload: not a map with a version and a kind")
	}
	kind := Kind(name)
	if _, ok := kinds[kind]; ok {
		return kind, nil
	}
	if kind.Reserved() {
		return "", errf(CodeNotYet, "statements of the kind %s are not supported yet", quoteShort(string(kind)))
	}
	return "", errf(CodeUnknownKind, "%s is not a kind of statement", quoteShort(string(kind)))
}

// checkContents checks a body with the payload's other two fields.
func checkContents(body Body, forWhom string, prev *ID) error {
	kind := body.Kind()
	c := &checker{kind: kind}
	if forWhom != "" {
		c.text("for", forWhom, 128)
		c.require(kind == KindBuild || kind == KindBuildFailed || kind == KindClosure, "nobody makes such a statement for somebody else")
	}
	op, first := body.(*Operator)
	first = first && op.OperatorID == nil
	switch needs := kind.Class() == People && !first; {
	case needs && prev == nil:
		c.failf(CodeBadChain, "prev is missing: it names the operator's previous statement")
	case !needs && prev != nil:
		c.failf(CodeBadChain, "a prev, although this statement follows no other")
	}
	if c.err != nil {
		return c.err
	}
	return body.Check()
}

// EncodePayload returns the payload of a statement, checked as [Parse] would.
// forWhom may be "" and prev nil. Errors are *[Error].
func EncodePayload(body Body, forWhom string, prev *ID) ([]byte, error) {
	if err := checkContents(body, forWhom, prev); err != nil {
		return nil, err
	}
	raw, err := body.encode()
	if err != nil {
		return nil, err
	}
	w := writer{b: make([]byte, 0, len(raw)+128)}
	w.open()
	w.uint(1, Version)
	w.text(2, string(body.Kind()))
	w.key(3)
	w.b = append(w.b, raw...)
	w.optText(4, forWhom)
	if prev != nil {
		w.bytes(5, prev[:])
	}
	return w.b, nil
}

// checkSigner requires that a body which carries its signer's key was signed
// by it, and remembers that key.
func (s *Statement) checkSigner() error {
	var key *PublicKey
	switch b := s.Body.(type) {
	case *Operator:
		key = &b.Identity
	case *Genesis:
		key = &b.LogKey
	case *KeyAdd:
		if b.Key.ID() == s.Signer {
			return errf(CodeWrongSigner, "key-add: the new key adds itself")
		}
		return nil
	default:
		return nil
	}
	if key.ID() != s.Signer {
		return errf(CodeWrongSigner, "%s: it carries the key %s and is signed by %s", s.Kind, key.ID(), s.Signer)
	}
	s.SignerKey = key
	return nil
}

// ID returns the statement's id.
func (s *Statement) ID() ID { return PayloadID(s.Signer, s.Payload) }

// Verify verifies the signature with key, whose id must be s.Signer
// ("wrong-key" otherwise; "bad-signature" if it does not verify). It says
// nothing about whether key may make such a statement. A cache-sig that has only
// the digest of its references needs the list ("needs-blob"; see
// [Statement.VerifyWithReferences]).
func (s *Statement) Verify(key PublicKey) error {
	var info *nix.PathInfo
	if b, ok := s.Body.(*CacheSig); ok {
		if b.RefsDigest != nil {
			return errf(CodeNeedsBlob, "cache-sig: its signature covers the list of references, of which the leaf has only the digest %s", b.RefsDigest.Hex())
		}
		info = b.PathInfo()
	}
	return s.verify(key, info)
}

// verify verifies the signature; info is what a foreign one is over.
func (s *Statement) verify(key PublicKey, info *nix.PathInfo) error {
	if key.IsZero() || key.ID() != s.Signer {
		return errf(CodeWrongKey, "the statement is signed by the key %s, not by %s", s.Signer, key.ID())
	}
	ok := false
	switch s.Form {
	case COSE:
		ok = coseAlgs[key.typ] == s.alg && verifyRaw(key, sigStructure(s.alg, s.Signer, s.Payload), s.Sig)
	case SSHSIG:
		ok = s.ssh.key.Equal(key) && s.ssh.verify(Namespace, s.Payload)
	case Foreign:
		ok = verifyRaw(key, []byte(info.Fingerprint()), s.Sig)
	}
	if !ok {
		return errf(CodeBadSignature, "the signature by the key %s does not verify", s.Signer)
	}
	return nil
}

// Leaf returns the leaf, encoded from its parts: the bytes that Parse was given.
func (s *Statement) Leaf() []byte {
	if s.Form == COSE {
		return coseLeaf(s.alg, s.Signer, s.Payload, s.Sig)
	}
	return pairLeaf(s.Payload, s.Sig)
}
