package p2p

import (
	"crypto/ed25519"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"strings"

	"github.com/libp2p/go-libp2p/core/crypto"
	"github.com/libp2p/go-libp2p/core/peer"
	ma "github.com/multiformats/go-multiaddr"
)

// A Key is the private Ed25519 key by which other peers know this one. It signs
// nothing but handshakes, and is never a log's or a witness's key. It may be used
// concurrently.
type Key struct {
	private crypto.PrivKey
	id      peer.ID
}

const keyBlock = "PRIVATE KEY" // PKCS #8, RFC 5958

// GenerateKey makes a key and returns it with the text that ParseKey reads.
func GenerateKey() (*Key, string, error) {
	_, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return nil, "", err
	}
	der, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		return nil, "", err
	}
	k, err := newKey(private)
	if err != nil {
		return nil, "", err
	}
	return k, string(pem.EncodeToMemory(&pem.Block{Type: keyBlock, Bytes: der})), nil
}

func newKey(private ed25519.PrivateKey) (*Key, error) {
	k, err := crypto.UnmarshalEd25519PrivateKey(private)
	if err != nil {
		return nil, err
	}
	id, err := peer.IDFromPrivateKey(k)
	if err != nil {
		return nil, err
	}
	return &Key{private: k, id: id}, nil
}

// ParseKey reads a PEM block PRIVATE KEY with an Ed25519 key, the form of
// `openssl genpkey -algorithm ed25519`. Errors do not hold the key.
func ParseKey(text string) (*Key, error) {
	block, rest := pem.Decode([]byte(text))
	if block == nil || block.Type != keyBlock || strings.TrimSpace(string(rest)) != "" {
		return nil, errors.New("it is not one PEM block PRIVATE KEY")
	}
	parsed, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		return nil, errors.New("it is not a private key in PKCS #8 form")
	}
	private, ok := parsed.(ed25519.PrivateKey)
	if !ok {
		return nil, errors.New("it is not an Ed25519 key")
	}
	return newKey(private)
}

// ID returns the peer id, such as 12D3KooW….
func (k *Key) ID() string { return k.id.String() }

// A Peer is somebody who may connect, and who is dialled if an address is known.
type Peer struct {
	id    peer.ID
	addrs []ma.Multiaddr
}

// ParsePeer reads a peer id (it may connect to us), or a multiaddr that ends in
// one (it is also dialled): /dns/peer.example/tcp/8490/p2p/12D3KooW….
func ParsePeer(s string) (Peer, error) {
	if !strings.HasPrefix(s, "/") {
		id, err := peer.Decode(s)
		if err != nil {
			return Peer{}, fmt.Errorf("%q is neither a peer id nor a multiaddr that ends in one", s)
		}
		return Peer{id: id}, nil
	}
	info, err := peer.AddrInfoFromString(s)
	if err != nil {
		return Peer{}, fmt.Errorf("peer %q: %w", s, err)
	}
	for _, a := range info.Addrs {
		if _, err := a.ValueForProtocol(ma.P_TCP); err != nil {
			return Peer{}, fmt.Errorf("peer %q: only TCP is spoken", s)
		}
	}
	return Peer{id: info.ID, addrs: info.Addrs}, nil
}

// ID returns the peer id in text.
func (p Peer) ID() string { return p.id.String() }

// CheckListen reports what is wrong with an address to listen on.
func CheckListen(s string) error {
	a, err := ma.NewMultiaddr(s)
	if err != nil {
		return fmt.Errorf("%q is not a multiaddr such as /ip4/0.0.0.0/tcp/8491", s)
	}
	names := a.Protocols()
	if len(names) != 2 || names[0].Code != ma.P_IP4 && names[0].Code != ma.P_IP6 || names[1].Code != ma.P_TCP {
		return fmt.Errorf("%q is not /ip4/ADDRESS/tcp/PORT or /ip6/ADDRESS/tcp/PORT", s)
	}
	return nil
}
