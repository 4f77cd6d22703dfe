package statement

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/binary"
	"io"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/veraison/go-cose"
)

// A domain is one line of the table of spec/statement.md: messages of that
// line, the hostile ones included, and how the line is told from the others.
type domain struct {
	line    string
	samples func(t *testing.T) [][]byte
	match   func(m []byte) bool
}

var checkpointLine = regexp.MustCompile(`^[a-z0-9._/-]+/[0-9a-f]{8}\n`)

func hasPrefix(prefix string) func([]byte) bool {
	return func(m []byte) bool { return bytes.HasPrefix(m, []byte(prefix)) }
}

func sshsigIn(namespace string) func([]byte) bool {
	return hasPrefix(sshsigMagic + string(appendSSHString(nil, namespace)))
}

func isStatement(m []byte) bool {
	for _, alg := range []byte{algEdDSA, algES256} {
		head := sigStructure(alg, KeyID{}, nil)[:12+2+3+3+len(ContentType)]
		if bytes.HasPrefix(m, head) {
			return true
		}
	}
	return false
}

func isCheckpoint(m []byte) bool {
	line, _, _ := strings.Cut(string(m), "\n")
	return checkpointLine.Match(m) && CheckOrigin(line) == nil
}

var domains = []domain{
	{"cose-statement", func(t *testing.T) [][]byte {
		k := edSigner(t, "build")
		return [][]byte{
			sigStructure(algEdDSA, k.pub.ID(), payloadOf(t, sampleBuild(), nil)),
			sigStructure(algES256, k.pub.ID(), nil),
			sigStructure(algEdDSA, k.pub.ID(), []byte("firn-key-proof-v1\n")),
		}
	}, isStatement},
	{"cose-other", func(t *testing.T) [][]byte {
		return [][]byte{
			otherSigStructure(t, "application/cwt", payloadOf(t, sampleBuild(), nil)),
			otherSigStructure(t, ContentType+"x", nil),
		}
	}, func(m []byte) bool { return hasPrefix("\x84\x6aSignature1")(m) && !isStatement(m) }},
	{"key-proof", func(t *testing.T) [][]byte {
		return [][]byte{proofMessage(testID("operator"), edSigner(t, "build").pub.ID())}
	}, func(m []byte) bool { return hasPrefix(ProofNamespace+"\n")(m) && len(m) == 82 }},
	{"sshsig-statement", func(t *testing.T) [][]byte {
		return [][]byte{sshsigMessage(Namespace, payloadOf(t, sampleBuild(), nil))}
	}, sshsigIn(Namespace)},
	{"sshsig-key-proof", func(t *testing.T) [][]byte {
		return [][]byte{sshsigMessage(ProofNamespace, proofMessage(ID{}, KeyID{}))}
	}, sshsigIn(ProofNamespace)},
	{"sshsig-other", func(t *testing.T) [][]byte {
		payload := payloadOf(t, sampleBuild(), nil)
		return [][]byte{sshsigMessage("git", payload), sshsigMessage("file", payload), sshsigMessage(Namespace+"x", payload), sshsigMessage("", payload)}
	}, func(m []byte) bool {
		return hasPrefix(sshsigMagic)(m) && !sshsigIn(Namespace)(m) && !sshsigIn(ProofNamespace)(m)
	}},
	{"security-key", func(*testing.T) [][]byte {
		var out [][]byte
		for _, app := range []string{"ssh:", "ssh:firn"} {
			h := sha256.Sum256([]byte(app))
			out = append(out, append(binary.BigEndian.AppendUint32(append(h[:], userPresent), 7), h[:]...))
		}
		return out
	}, func(m []byte) bool {
		ssh, firn := sha256.Sum256([]byte("ssh:")), sha256.Sum256([]byte("ssh:firn"))
		return len(m) == 69 && (bytes.HasPrefix(m, ssh[:]) || bytes.HasPrefix(m, firn[:]))
	}},
	{"nix-fingerprint", func(*testing.T) [][]byte {
		return [][]byte{[]byte(samplePathInfo().Fingerprint())}
	}, hasPrefix("1;/")},
	{"nix-realisation", func(*testing.T) [][]byte {
		return [][]byte{
			[]byte(`{"dependentRealisations":{},"id":"sha256:` + strings.Repeat("0", 64) + `!out","outPath":"` + storePath("a").Base() + `"}`),
			[]byte(`{"key":{"drvPath":"` + storePath("a.drv").Base() + `","outputName":"out"},"value":{"outPath":"` + storePath("a").Base() + `"}}`),
		}
	}, hasPrefix(`{"`)},
	{"checkpoint", func(*testing.T) [][]byte {
		root := "\n47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=\n"
		return [][]byte{
			[]byte(testOrigin + "\n7" + root), []byte("firn-key-proof-v1/00000000\n0" + root), []byte("cosignature/00000000\n1" + root),
			[]byte("1/00000000\n1" + root), []byte("0/00000000\n1" + root), []byte("logs.fi/0a1b2c3d\n1" + root), // 64 bytes
		}
	}, isCheckpoint},
	{"cosignature", func(*testing.T) [][]byte {
		return [][]byte{[]byte("cosignature/v1\ntime 1787000000\n" + testOrigin + "\n7\n47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=\n")}
	}, hasPrefix("cosignature/v1\ntime ")},
	{"ssh-authentication", func(t *testing.T) [][]byte {
		session := sha256.Sum256([]byte("session"))
		auth := appendSSHString(append(appendSSHString(nil, session[:]), 50), "alice")
		auth = appendSSHString(appendSSHString(auth, "ssh-connection"), "publickey")
		cert := appendSSHString(appendSSHString(nil, "ssh-ed25519-cert-v01@openssh.com"), "nonce")
		return [][]byte{append(auth, edSigner(t, "build").pub.sshBlob()...), append(cert, edSigner(t, "build").pub.sshBlob()...)}
	}, hasPrefix("\x00\x00\x00")},
	{"ssh-host", func(*testing.T) [][]byte {
		h := sha256.Sum256([]byte("exchange"))
		hostile := append([]byte("firn-key-proof-v1\n"), make([]byte, 46)...)
		return [][]byte{h[:], h[:20], append(h[:], h[:16]...), hostile}
	}, func(m []byte) bool { return slices.Contains([]int{20, 32, 48, 64}, len(m)) && !isCheckpoint(m) }},
	{"tls", func(*testing.T) [][]byte {
		return [][]byte{[]byte(strings.Repeat(" ", 64) + "TLS 1.3, client CertificateVerify\x00" + strings.Repeat("h", 32))}
	}, hasPrefix(strings.Repeat(" ", 64))},
	{"x509", func(*testing.T) [][]byte {
		return [][]byte{append([]byte{0x30, 0x81, 0x90}, make([]byte, 0x90)...), append([]byte{0x30, 0x82, 1, 0}, make([]byte, 256)...)}
	}, func(m []byte) bool { return hasPrefix("\x30\x81")(m) || hasPrefix("\x30\x82")(m) }},
}

// otherSigStructure is the Sig_structure of a message of another application, by another implementation.
func otherSigStructure(t *testing.T, contentType string, payload []byte) []byte {
	t.Helper()
	var signed []byte
	msg := cose.Sign1Message{
		Headers: cose.Headers{Protected: cose.ProtectedHeader{cose.HeaderLabelAlgorithm: cose.AlgorithmEdDSA, cose.HeaderLabelContentType: contentType}},
		Payload: append([]byte{}, payload...),
	}
	err := msg.Sign(nil, nil, recorder{&signed})
	if err != nil {
		t.Fatal(err)
	}
	return signed
}

type recorder struct{ m *[]byte }

func (recorder) Algorithm() cose.Algorithm { return cose.AlgorithmEdDSA }
func (r recorder) Sign(_ io.Reader, content []byte) ([]byte, error) {
	*r.m = bytes.Clone(content)
	return make([]byte, 64), nil
}

// Each line of the table: its messages are of no other line, and a signature
// over them makes neither a statement nor a key proof, unless that is what the
// line is for.
func TestDomainSeparation(t *testing.T) {
	var lines []string
	for _, d := range domains {
		lines = append(lines, d.line)
		t.Run(d.line, func(t *testing.T) {
			for _, m := range d.samples(t) {
				for _, other := range domains {
					if got := other.match(m); got != (other.line == d.line) {
						t.Errorf("%.40q is of the line %s: %v", m, other.line, got)
					}
				}
				checkServesNothingElse(t, d.line, m)
			}
		})
	}
	if got := tableNames(t, "## Domain separation"); !slices.Equal(got, lines) {
		t.Errorf("the table has the lines %q, this test %q", got, lines)
	}
}

// checkServesNothingElse signs m with a plain Ed25519 key and tries the
// signature wherever this package takes one.
func checkServesNothingElse(t *testing.T, line string, m []byte) {
	t.Helper()
	k := edSigner(t, "build")
	sig := rawSignature(t, k, m)
	payload := payloadOf(t, sampleBuild(), nil)
	is := func(use string, message []byte) bool { return line == use && bytes.Equal(m, message) }

	s, err := Parse(coseLeaf(algEdDSA, k.pub.ID(), payload, sig))
	if err != nil {
		t.Fatal(err)
	}
	if ok := s.Verify(k.pub) == nil; ok != is("cose-statement", sigStructure(algEdDSA, k.pub.ID(), payload)) {
		t.Errorf("as a COSE statement: %v", ok)
	}
	blob := sshsigBlob(k.pub, Namespace, appendSSHString(appendSSHString(nil, sshEd25519), sig))
	if s, err = Parse(pairLeaf(payload, blob)); err != nil {
		t.Fatal(err)
	}
	if ok := s.Verify(k.pub) == nil; ok != is("sshsig-statement", sshsigMessage(Namespace, payload)) {
		t.Errorf("as an SSHSIG statement: %v", ok)
	}
	add := &KeyAdd{OperatorID: testID("operator"), Key: k.pub, Role: RoleBuild, Form: ProofRaw, Proof: sig}
	if ok := add.VerifyProof() == nil; ok != is("key-proof", proofMessage(add.OperatorID, k.pub.ID())) {
		t.Errorf("as a raw key proof: %v", ok)
	}
	cs := &CacheSig{Key: [32]byte(k.pub.Ed25519())}
	info := samplePathInfo()
	cs.StoreDir, cs.Path, cs.NarHash, cs.NarSize, cs.References, cs.KeyName = info.Path.Dir(), info.Path, info.NarHash, info.NarSize, info.References, "x"
	if s, err = Parse(pairLeaf(payloadOf(t, cs, nil), sig)); err != nil {
		t.Fatal(err)
	}
	if ok := s.Verify(k.pub) == nil; ok != is("nix-fingerprint", []byte(info.Fingerprint())) {
		t.Errorf("as a cache's signature: %v", ok)
	}
}

// The signature of one statement is not that of another kind or form with the same bytes elsewhere.
func TestKindIsPartOfWhatIsSigned(t *testing.T) {
	k := edSigner(t, "identity")
	prev := testID("previous")
	vouch := signSample(t, k, &Vouch{testID("operator"), testID("b")}, "", &prev)
	other := edit(t, vouch.Payload, func(p, b anyMap) { p[uint64(2)], b[uint64(3)] = "retract", "r" })
	s, err := Parse(coseLeaf(algEdDSA, k.pub.ID(), other, vouch.Sig))
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Verify(k.pub); CodeOf(err) != CodeBadSignature {
		t.Error(err)
	}
	if msg := []byte("x"); !ed25519.Verify(k.pub.Ed25519(), msg, neutralR(testEd25519("identity"), msg)) {
		t.Error("the vector with R of small order does not satisfy the equation, so it tests nothing")
	}
	if !ed25519.Verify(k.pub.Ed25519(), sigStructure(algEdDSA, k.pub.ID(), vouch.Payload), vouch.Sig) {
		t.Error("the signature is not a plain Ed25519 signature over the Sig_structure")
	}
	asked := false
	oracle := &keySigner{pub: k.pub, raw: func(context.Context, []byte) ([]byte, error) {
		asked = true
		return make([]byte, 64), nil
	}}
	for _, junk := range [][]byte{nil, []byte("firn-key-proof-v1\n"), other[:len(other)-1]} {
		if _, err := oracle.Sign(context.Background(), junk); err == nil || asked {
			t.Errorf("the key was asked to sign %q, which is no payload", junk)
		}
	}
	if _, err := oracle.Sign(context.Background(), vouch.Payload); CodeOf(err) != CodeBadSignature {
		t.Errorf("a signature that does not verify was handed out: %v", err)
	}
}
