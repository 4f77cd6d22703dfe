package statement

import (
	"encoding/binary"
	"math/big"
)

// An sshReader reads the fields of an SSH structure (RFC 4251 §5). After the
// first field that is not there, everything is empty and ok is false.
type sshReader struct {
	b   []byte
	bad bool
}

func (r *sshReader) take(n uint64) []byte {
	if r.bad || n > uint64(len(r.b)) {
		r.bad = true
		return nil
	}
	out := r.b[:n]
	r.b = r.b[n:]
	return out
}

func (r *sshReader) uint32() uint32 {
	b := r.take(4)
	if b == nil {
		return 0
	}
	return binary.BigEndian.Uint32(b)
}

func (r *sshReader) byte() byte {
	b := r.take(1)
	if b == nil {
		return 0
	}
	return b[0]
}

func (r *sshReader) string() []byte { return r.take(uint64(r.uint32())) }

// mpint reads a positive number in its shortest form.
func (r *sshReader) mpint() *big.Int {
	b := r.string()
	switch {
	case len(b) == 0, b[0]&0x80 != 0, b[0] == 0 && (len(b) == 1 || b[1]&0x80 == 0):
		r.bad = true
		return new(big.Int)
	}
	return new(big.Int).SetBytes(b)
}

// done reports whether every field was there and nothing follows.
func (r *sshReader) done() bool { return !r.bad && len(r.b) == 0 }

func appendSSHString[T ~string | ~[]byte](b []byte, s T) []byte {
	return append(binary.BigEndian.AppendUint32(b, uint32(len(s))), s...)
}

// appendMPInt appends n, which is positive, in its shortest form.
func appendMPInt(b []byte, n *big.Int) []byte {
	raw := n.Bytes()
	if len(raw) > 0 && raw[0]&0x80 != 0 {
		raw = append([]byte{0}, raw...)
	}
	return appendSSHString(b, raw)
}
