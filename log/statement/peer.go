package statement

import (
	"bytes"
	"math/big"
	"strings"
)

// A Peer says that an operator runs a peer that gossips, and where it is. A later
// one about the same peer id replaces it (spec/statement.md#peer).
type Peer struct {
	OperatorID ID
	PeerID     string   // libp2p's text of an Ed25519 key, 12D3KooW…
	Addrs      []string // 0..8 multiaddrs without the peer id, each ≤ 256 bytes, the preferred one first
}

// Kind returns KindPeer.
func (*Peer) Kind() Kind { return KindPeer }

// Check implements [Body].
func (b *Peer) Check() error {
	c := &checker{kind: KindPeer}
	if _, err := b.Key(); err != nil {
		c.failf(CodeBadKey, "peer id %.64q: %v", b.PeerID, err)
	}
	c.require(len(b.Addrs) <= 8, "%d addresses, more than 8", len(b.Addrs))
	seen := make(map[string]bool)
	for _, a := range b.Addrs {
		c.text("address", a, 256)
		c.require(strings.HasPrefix(a, "/") && !strings.HasSuffix(a, "/") && !strings.ContainsAny(a, " \\") && !strings.Contains(a+"/", "/p2p/"),
			"%q is not a multiaddr without a peer id", a)
		c.require(!seen[a], "%q is there twice", a)
		seen[a] = true
	}
	return c.result()
}

// peerIDHead is what comes before the 32 bytes of the key in the peer id of an
// Ed25519 key: an identity multihash of a protocol buffer with type and key.
var peerIDHead = []byte{0x00, 0x24, 0x08, 0x01, 0x12, 0x20}

// Key returns the key that the peer id holds.
func (b *Peer) Key() (PublicKey, error) {
	raw, ok := decodeBase58(b.PeerID)
	if !ok || len(raw) != len(peerIDHead)+32 || !bytes.HasPrefix(raw, peerIDHead) {
		return PublicKey{}, errf(CodeBadKey, "not that of an Ed25519 key")
	}
	return Ed25519Key(raw[len(peerIDHead):])
}

// decodeBase58 reads the base 58 of Bitcoin, of at most 64 characters.
func decodeBase58(s string) ([]byte, bool) {
	const alphabet = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"
	if len(s) > 64 {
		return nil, false
	}
	n := new(big.Int)
	for i := range len(s) {
		digit := strings.IndexByte(alphabet, s[i])
		if digit < 0 {
			return nil, false
		}
		n.Add(n.Mul(n, big.NewInt(58)), big.NewInt(int64(digit)))
	}
	zeros := len(s) - len(strings.TrimLeft(s, "1"))
	return append(make([]byte, zeros), n.Bytes()...), true
}

func (b *Peer) encode() ([]byte, error) {
	var w writer
	w.open()
	w.bytes(1, b.OperatorID[:])
	w.text(2, b.PeerID)
	w.texts(3, b.Addrs)
	return w.b, nil
}

func (b *Peer) decode(raw []byte) error {
	r, c := newReader(raw), &checker{kind: KindPeer}
	f := r.fields("peer")
	*b = Peer{c.hash("operator id", f.bytes(1)), f.text(2), f.texts(3)}
	f.end()
	return r.result(c)
}
