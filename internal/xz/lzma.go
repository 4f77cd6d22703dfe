package xz

import "encoding/binary"

// Sizes of the probability model, as in the LZMA SDK.
const (
	states    = 12
	litStates = 7 // the lowest states follow a literal
	posMost   = 16
	litCoder  = 0x300
	litCoders = 16
	topBits   = 1 << 24
	half      = 1 << 10 // of a probability of 11 bits
	// maxSymbol bounds the bytes that one symbol reads.
	maxSymbol = 20
	maxIn     = 1 << 16 // of a chunk, compressed
	maxOut    = 1 << 21 // of a chunk
	inLen     = maxIn + maxSymbol + 4
	matchMin  = 2
	// slack is what copying may write behind a match.
	slack = 8
)

// lengths is the coder of the lengths of matches.
type lengths struct {
	choice, choice2 uint16
	low, mid        [posMost][8]uint16
	high            [256]uint16
}

// model is what LZMA knows of what comes next.
type model struct {
	isMatch, isRep0Long           [states][posMost]uint16
	isRep, isRep0, isRep1, isRep2 [states]uint16
	slot                          [4][64]uint16
	special                       [128]uint16
	align                         [16]uint16
	match, rep                    lengths
	literal                       [litCoders][litCoder]uint16
}

// lzma unpacks chunks of LZMA2. What it has unpacked is in window, of which the last bytes are its
// dictionary.
type lzma struct {
	window []byte // with slack bytes behind what may be written
	pos    int    // where the next byte goes
	dict   int    // how far back matches may reach
	state  uint32
	reps   [4]uint32 // distances of the last matches, less 1

	lc              uint32
	lpMask, posMask uint32
	m               model
	in              [maxIn + maxSymbol + 4]byte // a chunk, and what may be read behind it
}

func fillHalf(p []uint16) {
	for i := range p {
		p[i] = half
	}
}

// reset forgets the model, but not the dictionary.
func (d *lzma) reset() {
	d.state, d.reps = 0, [4]uint32{}
	m := &d.m
	for i := range states {
		fillHalf(m.isMatch[i][:])
		fillHalf(m.isRep0Long[i][:])
	}
	for _, p := range [][]uint16{m.isRep[:], m.isRep0[:], m.isRep1[:], m.isRep2[:], m.special[:], m.align[:]} {
		fillHalf(p)
	}
	for i := range m.slot {
		fillHalf(m.slot[i][:])
	}
	for _, l := range []*lengths{&m.match, &m.rep} {
		l.choice, l.choice2 = half, half
		for i := range posMost {
			fillHalf(l.low[i][:])
			fillHalf(l.mid[i][:])
		}
		fillHalf(l.high[:])
	}
	for i := range 1 << (d.lc + uint32(bitsOf(d.lpMask))) {
		fillHalf(m.literal[i][:])
	}
}

func bitsOf(mask uint32) int {
	n := 0
	for ; mask > 0; mask >>= 1 {
		n++
	}
	return n
}

// properties sets lc, lp and pb from a byte, and reports whether they are of LZMA2.
func (d *lzma) properties(b byte) bool {
	if b > (4*5+4)*9+8 {
		return false
	}
	lc, lp, pb := uint32(b%9), uint32(b/9%5), uint32(b/45)
	if lc+lp > 4 {
		return false
	}
	d.lc, d.lpMask, d.posMask = lc, 1<<lp-1, 1<<pb-1
	return true
}

// coder is a range decoder: what is left of its input, and where in its range the code is.
type coder struct {
	in        *[inLen]byte
	at        int
	rng, code uint32
}

// bit decodes one bit with a probability, without a branch that depends on it, which no processor
// could foresee. rng and code must be normal. zero is all ones for a 0 and 0 for a 1.
func bit(rng, code uint32, p *uint16) (r, c, zero uint32) {
	v := uint32(*p)
	bound := rng >> 11 * v
	zero = uint32(int64(uint64(code)-uint64(bound)) >> 63)
	*p = uint16(v - uint32(int32(v+zero&0xFFFFF81F)>>5)) // 31-2048 for a 0
	return rng - bound + zero&(2*bound-rng), code - bound&^zero, zero
}

// is is bit for decisions that a processor may foresee.
func (c *coder) is(p *uint16) bool {
	if c.rng < topBits {
		c.rng, c.code = c.rng<<8, c.code<<8|uint32(c.in[c.at])
		c.at++
	}
	v := uint32(*p)
	bound := c.rng >> 11 * v
	if c.code < bound {
		c.rng = bound
		*p = uint16(v + (2048-v)>>5)
		return false
	}
	c.rng, c.code = c.rng-bound, c.code-bound
	*p = uint16(v - v>>5)
	return true
}

// tree8 decodes a number below 8, highest bit first; tree64 and tree256 are the same.
func (c *coder) tree8(probs *[8]uint16) uint32 {
	rng, code, at, in := c.rng, c.code, c.at, c.in
	n := uint32(1)
	for n < 8 {
		if rng < topBits {
			rng, code = rng<<8, code<<8|uint32(in[at])
			at++
		}
		var zero uint32
		rng, code, zero = bit(rng, code, &probs[n])
		n = n<<1 + 1 + zero
	}
	c.rng, c.code, c.at = rng, code, at
	return n - 8
}

func (c *coder) tree64(probs *[64]uint16) uint32 {
	rng, code, at, in := c.rng, c.code, c.at, c.in
	n := uint32(1)
	for n < 64 {
		if rng < topBits {
			rng, code = rng<<8, code<<8|uint32(in[at])
			at++
		}
		var zero uint32
		rng, code, zero = bit(rng, code, &probs[n])
		n = n<<1 + 1 + zero
	}
	c.rng, c.code, c.at = rng, code, at
	return n - 64
}

func (c *coder) tree256(probs *[256]uint16) uint32 {
	rng, code, at, in := c.rng, c.code, c.at, c.in
	n := uint32(1)
	for n < 256 {
		if rng < topBits {
			rng, code = rng<<8, code<<8|uint32(in[at])
			at++
		}
		var zero uint32
		rng, code, zero = bit(rng, code, &probs[n])
		n = n<<1 + 1 + zero
	}
	c.rng, c.code, c.at = rng, code, at
	return n - 256
}

// reverse decodes so many bits, lowest first.
func (c *coder) reverse(probs []uint16, bits uint32) (n uint32) {
	rng, code, at, in := c.rng, c.code, c.at, c.in
	node := uint32(1)
	for i := range bits {
		if rng < topBits {
			rng, code = rng<<8, code<<8|uint32(in[at])
			at++
		}
		var zero uint32
		rng, code, zero = bit(rng, code, &probs[node])
		node = node<<1 + 1 + zero
		n |= (1 + zero) << (i & 31)
	}
	c.rng, c.code, c.at = rng, code, at
	return n
}

// direct decodes so many bits of even odds.
func (c *coder) direct(bits uint32) (n uint32) {
	rng, code, at, in := c.rng, c.code, c.at, c.in
	for range bits {
		if rng < topBits {
			rng, code = rng<<8, code<<8|uint32(in[at])
			at++
		}
		rng >>= 1
		code -= rng
		mask := -(code >> 31)
		code += rng & mask
		n = n<<1 + mask + 1
	}
	c.rng, c.code, c.at = rng, code, at
	return n
}

// length decodes the length of a match.
func (c *coder) length(l *lengths, pos uint32) uint32 {
	switch {
	case !c.is(&l.choice):
		return matchMin + c.tree8(&l.low[pos])
	case !c.is(&l.choice2):
		return matchMin + 8 + c.tree8(&l.mid[pos])
	}
	return matchMin + 16 + c.tree256(&l.high)
}

// distance decodes the distance of a match of that length, less 1.
func (c *coder) distance(m *model, length uint32) uint32 {
	slot := c.tree64(&m.slot[min(length-matchMin, 3)])
	if slot < 4 {
		return slot
	}
	bits := slot>>1 - 1
	base := (2 + slot&1) << bits
	if slot < 14 {
		return base + c.reverse(m.special[base-slot:], bits)
	}
	base += c.direct(bits-4) << 4
	return base + c.reverse(m.align[:], 4)
}

// chunk unpacks a chunk whose packed bytes are the first size of in to n bytes, for which there is
// room. It reports whether the chunk is whole.
func (d *lzma) chunk(size, n int) bool {
	if size < 5 || d.in[0] != 0 {
		return false
	}
	clear(d.in[size : size+maxSymbol+4])
	c := coder{in: &d.in, at: 5, rng: 0xFFFFFFFF, code: binary.BigEndian.Uint32(d.in[1:])}
	end := d.pos + n
	for d.pos < end {
		d.literals(&c, end, size)
		if d.pos == end {
			break
		}
		if c.at > size {
			return false
		}
		length := d.symbol(&c, uint32(d.pos)&d.posMask)
		if uint64(d.reps[0]) >= uint64(d.pos) || !d.repeat(int(d.reps[0])+1, int(length), end) {
			return false
		}
	}
	if c.rng < topBits {
		c.code = c.code<<8 | uint32(c.in[c.at])
		c.at++
	}
	return c.at == size && c.code == 0
}

// symbol decodes which match it is: its distance becomes the first of reps.
func (d *lzma) symbol(c *coder, pos uint32) (length uint32) {
	m, state := &d.m, d.state
	if !c.is(&m.isRep[state]) {
		d.state = after(state, 7)
		length = c.length(&m.match, pos)
		d.reps = [4]uint32{c.distance(m, length), d.reps[0], d.reps[1], d.reps[2]}
		return length
	}
	r := d.reps
	switch {
	case !c.is(&m.isRep0[state]):
		if !c.is(&m.isRep0Long[state][pos]) {
			d.state = after(state, 9)
			return 1
		}
	case !c.is(&m.isRep1[state]):
		d.reps = [4]uint32{r[1], r[0], r[2], r[3]}
	case !c.is(&m.isRep2[state]):
		d.reps = [4]uint32{r[2], r[0], r[1], r[3]}
	default:
		d.reps = [4]uint32{r[3], r[0], r[1], r[2]}
	}
	d.state = after(state, 8)
	return c.length(&m.rep, pos)
}

// after is the state that follows a match, a repeated match (8) or a short one (9).
func after(state, literal uint32) uint32 {
	switch {
	case state < litStates:
		return literal
	case literal == 7:
		return 10
	}
	return 11
}

// afterLiteral is the state that follows a literal.
var afterLiteral = [states]uint32{0, 0, 0, 0, 1, 2, 3, 4, 5, 6, 4, 5}

// literals decodes literals until what comes next is a match, of which it has read that it is one, the
// end, or more than the input.
func (d *lzma) literals(c *coder, end, size int) {
	rng, code, at, in := c.rng, c.code, c.at, c.in
	m, window, pos, state := &d.m, d.window[:end], d.pos, d.state
	lc, lpMask, posMask := d.lc&15, d.lpMask, d.posMask&(posMost-1)
	back := int(d.reps[0]) + 1
	var before uint32
	if pos > 0 {
		before = uint32(window[pos-1])
	}
	for pos < len(window) && at <= size {
		if rng < topBits {
			rng, code = rng<<8, code<<8|uint32(in[at])
			at++
		}
		p := &m.isMatch[state][uint32(pos)&posMask]
		v := uint32(*p)
		if bound := rng >> 11 * v; code < bound {
			rng = bound
			*p = uint16(v + (2048-v)>>5)
		} else {
			rng, code = rng-bound, code-bound
			*p = uint16(v - v>>5)
			break
		}
		probs := &m.literal[(uint32(pos)&lpMask<<lc+before>>((8-lc)&15))&(litCoders-1)]
		n := uint32(1)
		var zero uint32
		if state >= litStates {
			match, offset := uint32(window[pos-back]), uint32(0x100)
			for n < 0x100 {
				match <<= 1
				matched := match & offset
				if rng < topBits {
					rng, code = rng<<8, code<<8|uint32(in[at])
					at++
				}
				rng, code, zero = bit(rng, code, &probs[offset+matched+n])
				n = n<<1 + 1 + zero
				offset &= matched ^ zero
			}
		} else {
			for n < 0x100 {
				if rng < topBits {
					rng, code = rng<<8, code<<8|uint32(in[at])
					at++
				}
				rng, code, zero = bit(rng, code, &probs[n])
				n = n<<1 + 1 + zero
			}
		}
		before = n & 0xFF
		window[pos] = byte(n)
		pos++
		state = afterLiteral[state]
	}
	c.rng, c.code, c.at = rng, code, at
	d.pos, d.state = pos, state
}

// repeat copies what was unpacked at a distance before, at most pos. It reports whether that is in the
// dictionary, and whether it ends before end.
func (d *lzma) repeat(distance, length, end int) bool {
	if distance > d.dict || length > end-d.pos {
		return false
	}
	w, to, from := d.window, d.pos, d.pos-distance
	d.pos += length
	if distance < 8 {
		for ; to < d.pos; to, from = to+1, from+1 {
			w[to] = w[from]
		}
		return true
	}
	for ; to < d.pos; to, from = to+8, from+8 { // it may write slack bytes too many
		binary.LittleEndian.PutUint64(w[to:], binary.LittleEndian.Uint64(w[from:]))
	}
	return true
}

// room makes room for n bytes: a window grows with what is unpacked, up to half as much again as
// the dictionary and a chunk; then what is behind the dictionary goes. All of it was read.
func (r *Reader) room(n int) {
	d := &r.d
	if d.pos+n+slack <= len(d.window) {
		return
	}
	most := d.dict + d.dict/2 + maxOut + slack
	want := max(d.pos+n+slack, min(2*len(d.window), most), 128<<10)
	if d.pos+n+slack > most {
		drop := (d.pos - d.dict) &^ (posMost - 1) // positions count modulo that
		copy(d.window, d.window[drop:d.pos])
		d.pos -= drop
		r.read = d.pos
		want = most
	}
	if d.pos+n+slack > len(d.window) {
		w := make([]byte, want)
		copy(w, d.window[:d.pos])
		d.window = w
	}
}
