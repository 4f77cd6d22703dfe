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

// protected returns the one protected header that a signature with alg by kid
// can have (spec/statement.md#cose).
func protected(alg byte, kid KeyID) []byte {
	b := make([]byte, 0, 80)
	b = append(b, 0xa3, 0x01, alg, 0x03)
	b = append(appendHead(b, majorText, uint64(len(ContentType))), ContentType...)
	b = append(b, 0x04)
	return appendBytes(b, kid[:])
}

// sigStructure returns what a COSE_Sign1 signature is over (RFC 9052 §4.4).
func sigStructure(alg byte, kid KeyID, payload []byte) []byte {
	b := make([]byte, 0, len(payload)+112)
	b = append(b, 0x84, 0x6a)
	b = append(b, "Signature1"...)
	b = appendBytes(b, protected(alg, kid))
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
	// There are two possible headers, which differ in one byte and the kid.
	const kidAt = len(ContentType) + 9
	if len(header) == kidAt+32 && (header[2] == algEdDSA || header[2] == algES256) {
		s.alg, s.Signer = header[2], KeyID(header[kidAt:])
	}
	if s.alg == 0 || string(header) != string(protected(s.alg, s.Signer)) {
		return errf(CodeBadForm, "a COSE_Sign1 whose protected headers are not exactly alg (-8 or -7), content type and a 32-byte kid")
	}
	if len(s.Sig) != rawSigSize {
		return errf(CodeBadForm, "a COSE_Sign1 with a signature of %d bytes instead of 64", len(s.Sig))
	}
	s.Form = COSE
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
