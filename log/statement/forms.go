package statement

// COSE algorithms as CBOR encodes them (RFC 9053): -8 is EdDSA, which here
// means Ed25519, and -7 is ES256. No other algorithm, and no other name for
// these, is accepted.
const (
	algEdDSA = 0x27
	algES256 = 0x26
)

// coseAlgs gives the one COSE algorithm of a key type.
var coseAlgs = map[KeyType]byte{Ed25519: algEdDSA, P256: algES256}

// The one protected header that a signature with alg by kid can have is headAlg, alg,
// headKid and kid (spec/statement.md#cose).
const (
	headAlg    = "\xa3\x01"
	headKid    = "\x03\x78\x23" + ContentType + "\x04\x58\x20"
	headerSize = len(headAlg) + 1 + len(headKid) + 32
)

// protected returns that header.
func protected(alg byte, kid KeyID) []byte {
	return appendProtected(make([]byte, 0, headerSize), alg, kid)
}

func appendProtected(b []byte, alg byte, kid KeyID) []byte {
	b = append(append(b, headAlg...), alg)
	return append(append(b, headKid...), kid[:]...)
}

// parseProtected reads a header that protected has written; ok is false of any other.
func parseProtected(b []byte) (alg byte, kid KeyID, ok bool) {
	const algAt, kidAt = len(headAlg), len(headAlg) + 1 + len(headKid)
	if len(b) != headerSize || string(b[:algAt]) != headAlg || string(b[algAt+1:kidAt]) != headKid {
		return 0, kid, false
	}
	return b[algAt], KeyID(b[kidAt:]), b[algAt] == algEdDSA || b[algAt] == algES256
}

// sigStructure returns what a COSE_Sign1 signature is over (RFC 9052 §4.4).
func sigStructure(alg byte, kid KeyID, payload []byte) []byte {
	b := make([]byte, 0, len(payload)+112)
	b = append(b, 0x84, 0x6a)
	b = append(b, "Signature1"...)
	b = appendProtected(appendHead(b, majorBytes, uint64(headerSize)), alg, kid)
	b = append(b, 0x40) // external_aad
	return appendBytes(b, payload)
}

func coseLeaf(alg byte, kid KeyID, payload, sig []byte) []byte {
	b := make([]byte, 0, len(payload)+160)
	b = append(b, 0xd2, 0x84)
	b = appendBytes(b, protected(alg, kid))
	b = append(b, 0xa0) // unprotected
	b = appendBytes(b, payload)
	return appendBytes(b, sig)
}

func pairLeaf(payload, sig []byte) []byte {
	b := make([]byte, 0, len(payload)+len(sig)+8)
	return appendBytes(appendBytes(append(b, 0x82), payload), sig)
}

// splitLeaf takes a leaf apart. The second form of a pair is left to
// resolveForm, because only the kind tells SSHSIG from foreign.
func (s *Statement) splitLeaf(leaf []byte) error {
	w := &walker{b: leaf}
	var err error
	switch {
	case len(leaf) >= 2 && leaf[0] == 0xd2 && leaf[1] == 0x84:
		w.off = 2
		err = s.splitCOSE(w)
	case len(leaf) >= 1 && leaf[0] == 0x82:
		w.off = 1
		s.Payload, err = w.bytes()
		if err == nil {
			s.Sig, err = w.bytes()
		}
	default:
		return errf(CodeBadForm, "not a statement: neither a COSE_Sign1 nor a pair of payload and signature")
	}
	if err != nil {
		return err
	}
	if w.off != len(leaf) {
		return w.fail("something follows the end")
	}
	return nil
}

func (s *Statement) splitCOSE(w *walker) error {
	header, err := w.bytes()
	if err != nil {
		return err
	}
	if w.off >= len(w.b) || w.b[w.off] != 0xa0 {
		return errf(CodeBadForm, "a COSE_Sign1 with unprotected headers")
	}
	w.off++
	if s.Payload, err = w.bytes(); err != nil {
		return err
	}
	if s.Sig, err = w.bytes(); err != nil {
		return err
	}
	alg, kid, ok := parseProtected(header)
	if !ok {
		return errf(CodeBadForm, "a COSE_Sign1 whose protected headers are not exactly alg (-8 or -7), content type and a 32-byte kid")
	}
	if len(s.Sig) != rawSigSize {
		return errf(CodeBadForm, "a COSE_Sign1 with a signature of %d bytes instead of 64", len(s.Sig))
	}
	s.Form, s.alg, s.Signer = COSE, alg, kid
	return nil
}

// resolveForm settles which form a pair has, and that the kind may have it.
func (s *Statement) resolveForm() error {
	if sig, ok := s.Body.(*CacheSig); ok {
		if s.Form == COSE || len(s.Sig) != rawSigSize {
			return errf(CodeBadForm, "cache-sig: the leaf is not [payload, 64-byte signature]")
		}
		key, err := Ed25519Key(sig.Key[:])
		if err != nil {
			return err
		}
		s.Form, s.Signer, s.SignerKey = Foreign, key.ID(), &key
		return nil
	}
	if s.Form == COSE {
		return nil
	}
	if s.Kind.Class() == Log {
		return errf(CodeBadForm, "%s: signed by a log key, so a COSE_Sign1", s.Kind)
	}
	sig, err := parseSSHSIG(s.Sig, Namespace)
	if err != nil {
		return err
	}
	s.Form, s.ssh, s.Signer, s.SignerKey = SSHSIG, sig, sig.key.ID(), &sig.key
	return nil
}
