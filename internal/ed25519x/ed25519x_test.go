package ed25519x

import (
	"bytes"
	"crypto/ed25519"
	"crypto/sha512"
	"encoding/hex"
	"encoding/json"
	"errors"
	"flag"
	"math/big"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/firn-log/firn/internal/testreq"
)

func unhex(t testing.TB, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(s)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// rfc8032 are the vectors of RFC 8032 §7.1: public key, message, signature.
var rfc8032 = [][3]string{
	{
		"d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a", "",
		"e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e065224901555fb8821590a33bacc61e39701cf9b46bd25bf5f0595bbe24655141438e7a100b",
	},
	{
		"3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c", "72",
		"92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00",
	},
	{
		"fc51cd8e6218a1a38da47ed00230f0580816ed13ba3303ac5deb911548908025", "af82",
		"6291d657deec24024827e69c3abe01a30ce548a284743a445e3680d7db5ac3ac18ff9b538d16f290ae67f760984dc6594a7c15e9716ed28dc027beceea1ec40a",
	},
}

func TestAccepts(t *testing.T) {
	for i, v := range rfc8032 {
		pub, msg, sig := unhex(t, v[0]), unhex(t, v[1]), unhex(t, v[2])
		if !Verify(pub, msg, sig) {
			t.Errorf("RFC 8032 vector %d refused", i+1)
		}
		if err := CheckPublicKey(pub); err != nil {
			t.Errorf("key of vector %d: %v", i+1, err)
		}
		for bit := range 8 * len(sig) {
			bad := bytes.Clone(sig)
			bad[bit/8] ^= 1 << (bit % 8)
			if Verify(pub, msg, bad) {
				t.Errorf("vector %d accepted with bit %d of the signature flipped", i+1, bit)
			}
		}
		if Verify(pub, append(msg, 0), sig) {
			t.Errorf("vector %d accepted for another message", i+1)
		}
	}
}

func TestRefusesLengths(t *testing.T) {
	v := rfc8032[1]
	pub, msg, sig := unhex(t, v[0]), unhex(t, v[1]), unhex(t, v[2])
	if Verify(pub[:31], msg, sig) || Verify(append(pub, 0), msg, sig) || Verify(nil, msg, sig) {
		t.Error("key of another length accepted")
	}
	if Verify(pub, msg, sig[:63]) || Verify(pub, msg, append(sig, 0)) || Verify(pub, msg, nil) {
		t.Error("signature of another length accepted")
	}
	if err := CheckPublicKey(pub[:31]); !errors.Is(err, ErrLength) || !errors.Is(err, ErrKey) {
		t.Errorf("short key: %v", err)
	}
}

// TestRefusesLargeS adds L to S: the equation still holds.
func TestRefusesLargeS(t *testing.T) {
	l := leInt(order[:])
	for i, v := range rfc8032 {
		pub, msg, sig := unhex(t, v[0]), unhex(t, v[1]), unhex(t, v[2])
		for k := range int64(15) {
			s := new(big.Int).Add(leInt(sig[32:]), new(big.Int).Mul(l, big.NewInt(k+1)))
			if s.BitLen() > 256 {
				break
			}
			bad := append(bytes.Clone(sig[:32]), leBytes(s)...)
			if scalarInRange(bad[32:]) || Verify(pub, msg, bad) {
				t.Errorf("vector %d: S+%dL accepted", i+1, k+1)
			}
		}
	}
	if scalarInRange(order[:]) || !scalarInRange(leBytes(new(big.Int).Sub(l, big.NewInt(1)))) {
		t.Error("the bound is not L")
	}
}

// TestRefusesSmallOrderKeys makes signatures that crypto/ed25519 accepts:
// with A of order n and k = SHA-512(R‖A‖M) divisible by n, R = [S]B is a
// signature by nobody. For A = identity every S does.
func TestRefusesSmallOrderKeys(t *testing.T) {
	identity := make([]byte, 32)
	identity[0] = 1
	// R = [1]B, S = 1, so that [S]B - [k]·identity = R.
	base := unhex(t, "5866666666666666666666666666666666666666666666666666666666666666")
	sig := append(bytes.Clone(base), leBytes(big.NewInt(1))...)
	for _, msg := range []string{"", "anything", "you like"} {
		if !ed25519.Verify(identity, []byte(msg), sig) {
			t.Fatal("the library refuses; the vector shows nothing")
		}
		if Verify(identity, []byte(msg), sig) {
			t.Errorf("key of order 1 signed %q", msg)
		}
	}
	// The same point, not canonically encoded: y = p+1.
	alias := leBytes(new(big.Int).Add(fieldPrime(), big.NewInt(1)))
	if !ed25519.Verify(alias, []byte("m"), sig) {
		t.Fatal("the library refuses; the vector shows nothing")
	}
	if Verify(alias, []byte("m"), sig) {
		t.Error("non-canonical key of order 1 accepted")
	}
	// Order 2: y = -1; about every second message works.
	minusOne := leBytes(new(big.Int).Sub(fieldPrime(), big.NewInt(1)))
	shown := false
	for i := range 64 {
		msg := []byte{byte(i)}
		if ed25519.Verify(minusOne, msg, sig) {
			shown = true
		}
		if Verify(minusOne, msg, sig) {
			t.Errorf("key of order 2 signed %x", msg)
		}
	}
	if !shown {
		t.Error("no message showed the weakness of order 2")
	}
}

// TestRefusesSmallOrderR: a signer may choose R = identity, S = k·a; RFC 8032
// accepts it. It reveals the key to whoever sees it, so nobody does it
// honestly.
func TestRefusesSmallOrderR(t *testing.T) {
	pub, msg, sig := smallRSignature()
	if !ed25519.Verify(pub, msg, sig) {
		t.Fatal("the library refuses; the vector shows nothing")
	}
	if Verify(pub, msg, sig) {
		t.Error("R of small order accepted")
	}
}

// smallRSignature returns key, message and such a signature.
func smallRSignature() (pub, msg, sig []byte) {
	key := ed25519.NewKeyFromSeed(bytes.Repeat([]byte{7}, 32))
	pub, msg = key.Public().(ed25519.PublicKey), []byte("m")
	h := sha512.Sum512(key.Seed())
	h[0] &= 248
	h[31] = h[31]&127 | 64
	r := make([]byte, 32)
	r[0] = 1
	k := sha512.Sum512(bytes.Join([][]byte{r, pub, msg}, nil))
	s := new(big.Int).Mul(leInt(k[:]), leInt(h[:32]))
	s.Mod(s, leInt(order[:]))
	return pub, msg, append(r, leBytes(s)...)
}

func TestRefusesNonCanonicalKeys(t *testing.T) {
	p := fieldPrime()
	for n := range int64(19) { // y = p … 2^255-1
		enc := leBytes(new(big.Int).Add(p, big.NewInt(n)))
		for _, sign := range []byte{0, 0x80} {
			enc[31] = enc[31]&0x7f | sign
			err := CheckPublicKey(enc)
			if want := ErrNonCanonical; n > 1 && !errors.Is(err, want) {
				t.Errorf("y = p+%d: %v, want %v", n, err, want)
			} else if err == nil {
				t.Errorf("y = p+%d accepted", n)
			}
		}
	}
	if err := CheckPublicKey(leBytes(new(big.Int).Sub(p, big.NewInt(2)))); errors.Is(err, ErrNonCanonical) {
		t.Error("y = p-2 is canonical, but was refused as not")
	}
}

func TestRefusesNoPoint(t *testing.T) {
	// y = 2 is not the y of any point.
	enc := make([]byte, 32)
	enc[0] = 2
	if err := CheckPublicKey(enc); !errors.Is(err, ErrNotOnCurve) {
		t.Errorf("y = 2: %v", err)
	}
	on := 0
	for i := range 200 {
		enc := sha512.Sum512([]byte{byte(i)})
		if CheckPublicKey(enc[:32]) == nil {
			on++
		}
	}
	if on < 60 || on > 140 { // about half of all y are on the curve
		t.Errorf("%d of 200 random encodings are points", on)
	}
}

// TestSmallOrderTable derives the table from the curve equation.
func TestSmallOrderTable(t *testing.T) {
	p, d := fieldPrime(), curveD()
	want := map[[32]byte]bool{}
	add := func(y *big.Int) {
		for y.BitLen() <= 255 { // y and y+p, where they fit
			want[[32]byte(leBytes(y))] = true
			y = new(big.Int).Add(y, p)
		}
	}
	add(big.NewInt(0))
	add(big.NewInt(1))
	add(new(big.Int).Sub(p, big.NewInt(1)))
	// dy⁴+2y²-1 = 0: y² = (-1±√(1+d))/d.
	root := new(big.Int).ModSqrt(new(big.Int).Add(d, big.NewInt(1)), p)
	if root == nil {
		t.Fatal("1+d has no root")
	}
	dInv := new(big.Int).ModInverse(d, p)
	for _, r := range []*big.Int{root, new(big.Int).Neg(root)} {
		y2 := new(big.Int).Sub(r, big.NewInt(1))
		y2.Mul(y2, dInv).Mod(y2, p)
		if y := new(big.Int).ModSqrt(y2, p); y != nil {
			add(y)
			add(new(big.Int).Sub(p, y))
		}
	}
	if len(want) != len(smallOrder) {
		t.Errorf("%d encodings derived, %d in the table", len(want), len(smallOrder))
	}
	for _, enc := range smallOrder {
		if !want[enc] {
			t.Errorf("%x is in the table, but was not derived", enc)
		}
		for _, sign := range []byte{0, 0x80} {
			e := enc
			e[31] |= sign
			if err := CheckPublicKey(e[:]); !errors.Is(err, ErrSmallOrder) {
				t.Errorf("%x: %v", e, err)
			}
		}
	}
}

// leInt and leBytes convert little-endian numbers.
func leInt(b []byte) *big.Int {
	be := bytes.Clone(b)
	for i, j := 0, len(be)-1; i < j; i, j = i+1, j-1 {
		be[i], be[j] = be[j], be[i]
	}
	return new(big.Int).SetBytes(be)
}

func leBytes(n *big.Int) []byte {
	be := n.FillBytes(make([]byte, 32))
	for i, j := 0, 31; i < j; i, j = i+1, j-1 {
		be[i], be[j] = be[j], be[i]
	}
	return be
}

func FuzzVerify(f *testing.F) {
	for _, v := range rfc8032 {
		f.Add(unhex(f, v[0]), unhex(f, v[1]), unhex(f, v[2]))
	}
	f.Add(smallOrder[0][:], []byte("m"), make([]byte, 64))
	f.Fuzz(func(t *testing.T, pub, msg, sig []byte) {
		if Verify(pub, msg, sig) && (CheckPublicKey(pub) != nil || !ed25519.Verify(pub, msg, sig)) {
			t.Error("accepted what the library or the key check refuses")
		}
	})
}

func BenchmarkVerify(b *testing.B) {
	v := rfc8032[2]
	pub, msg, sig := unhex(b, v[0]), unhex(b, v[1]), unhex(b, v[2])
	for b.Loop() {
		if !Verify(pub, msg, sig) {
			b.Fatal("refused")
		}
	}
}

// TestVectors publishes accepted and refused signatures as
// spec/vectors/nix/ed25519.json (written with -update).
func TestVectors(t *testing.T) {
	type vector struct {
		Name, Key, Message, Signature string
		Valid                         bool
	}
	var vectors []vector
	add := func(name string, key, msg, sig []byte) {
		vectors = append(vectors, vector{name, hex.EncodeToString(key), hex.EncodeToString(msg), hex.EncodeToString(sig), Verify(key, msg, sig)})
	}
	for i, v := range rfc8032 {
		key, msg, sig := unhex(t, v[0]), unhex(t, v[1]), unhex(t, v[2])
		add("RFC 8032 "+strconv.Itoa(i+1), key, msg, sig)
		add("S+L "+strconv.Itoa(i+1), key, msg, append(bytes.Clone(sig[:32]), leBytes(new(big.Int).Add(leInt(sig[32:]), leInt(order[:])))...))
		flipped := bytes.Clone(sig)
		flipped[63] ^= 0x80
		add("highest bit "+strconv.Itoa(i+1), key, msg, flipped)
	}
	base := unhex(t, "58"+strings.Repeat("66", 31))
	one := append(bytes.Clone(base), leBytes(big.NewInt(1))...)
	for i := range smallOrder {
		for _, sign := range []byte{0, 0x80} {
			key := smallOrder[i]
			key[31] |= sign
			for m := range byte(16) { // the first message for which the equation holds
				if ed25519.Verify(key[:], []byte{m}, one) || m == 15 {
					add("key of small order "+hex.EncodeToString(key[:]), key[:], []byte{m}, one)
					break
				}
			}
		}
	}
	key, msg, sig := smallRSignature()
	add("R of small order", key, msg, sig)
	for _, v := range vectors {
		if v.Valid != strings.HasPrefix(v.Name, "RFC 8032") {
			t.Errorf("%s: valid is %v", v.Name, v.Valid)
		}
	}
	want, err := json.MarshalIndent(map[string]any{"about": "spec/nix.md#ed25519", "vectors": vectors}, "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	want = append(want, '\n')
	path := filepath.Join(testreq.Root(), "spec", "vectors", "nix", "ed25519.json")
	if *update {
		if err := os.WriteFile(path, want, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if got, err := os.ReadFile(path); err != nil || !bytes.Equal(got, want) {
		t.Errorf("%s is not what the test says (go test -update): %v", path, err)
	}
}

var update = flag.Bool("update", false, "write spec/vectors/nix/ed25519.json")

// A key that was found good says nothing about another one.
func TestGoodKeyVouchesForNoOther(t *testing.T) {
	pub, _, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	points := 0
	for i := range 64 {
		if err := CheckPublicKey(pub); err != nil {
			t.Fatal(err)
		}
		other := slices.Clone(pub)
		other[9] ^= byte(1 << (i % 8))
		other[10] ^= byte(1 << (i / 8))
		err := CheckPublicKey(other)
		if (err == nil) != onCurve(other) {
			t.Errorf("%x: %v", other, err)
		}
		if err == nil {
			points++
		}
	}
	if points == 0 || points == 64 {
		t.Errorf("%d of 64 are points, so the test shows nothing", points)
	}
}
