package rebuild

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"

	"github.com/firn-log/firn/internal/nix"
)

// The serve protocol of Nix is how one machine asks another to build: what
// `nix-store --serve --write` speaks on its standard input and output. A derivation
// is sent by itself, with its inputs as paths, so that the store needs neither the
// derivation nor those that it depends on (spec/rebuild.md#the-build).
//
// Everything is 64-bit little-endian numbers, and strings padded with zeros to
// a multiple of eight bytes.
const (
	serveMagic1  = 0x390c9deb
	serveMagic2  = 0x5452eecb
	serveVersion = 0x205 // 2.5: what Nix 2.8 to 2.34 and Lix understand
	cmdBuild     = 8     // build a derivation that comes with the command
)

// Statuses of a build in the serve protocol.
const (
	statusBuilt                 = 0
	statusPermanent             = 3
	statusOutputRejected        = 5
	statusTransient             = 6
	statusTimedOut              = 8
	statusLogLimit              = 11
	statusHashMismatch          = 15
	maxServeString              = 1 << 20 // bytes of an error message
	minServeMinor               = 3       // from here on answers have times
	serveMajor           uint64 = 2
)

// serveLimits are what Nix enforces while it builds; 0 is no limit.
type serveLimits struct {
	silent, timeout uint64 // seconds
	log             uint64 // bytes
}

// serveResult is what Nix answers about a build.
type serveResult struct {
	status            uint64
	message           string
	started, finished uint64 // Unix seconds; 0 if it did not build
}

func (r serveResult) built() bool { return r.status == statusBuilt }

// errServe says that the other side does not speak the protocol.
var errServe = errors.New("nix-store --serve does not answer as it should")

// serveBuild asks the nix-store behind to and from to build d, whose inputs in the
// store are all of sources.
func serveBuild(to io.Writer, from io.Reader, d *nix.Derivation, sources []nix.StorePath, limits serveLimits) (serveResult, error) {
	w := &wireWriter{w: bufio.NewWriter(to)}
	r := &wireReader{r: bufio.NewReader(from)}
	w.num(serveMagic1)
	w.num(serveVersion)
	if err := w.flush(); err != nil {
		return serveResult{}, err
	}
	magic, version := r.num(), r.num()
	if r.err == nil && (magic != serveMagic2 || version>>8 != serveMajor || version&0xff < minServeMinor) {
		r.err = fmt.Errorf("%w: it greets with %#x and version %#x", errServe, magic, version)
	}
	if r.err != nil {
		return serveResult{}, r.err
	}
	w.num(cmdBuild)
	w.str(d.DrvPath().String())
	w.derivation(d, sources)
	w.num(limits.silent)
	w.num(limits.timeout)
	w.num(limits.log)
	w.num(0) // builds beside the first
	w.num(0) // whether they must agree
	if err := w.flush(); err != nil {
		return serveResult{}, err
	}
	var res serveResult
	res.status, res.message = r.num(), r.str()
	r.num() // how often it was built
	r.num() // whether it was found not to be deterministic
	res.started, res.finished = r.num(), r.num()
	return res, r.err
}

type wireWriter struct{ w *bufio.Writer }

func (w *wireWriter) num(n uint64) {
	var b [8]byte
	binary.LittleEndian.PutUint64(b[:], n)
	_, _ = w.w.Write(b[:]) // flush returns the error
}

func (w *wireWriter) str(s string) {
	w.num(uint64(len(s)))
	_, _ = w.w.WriteString(s)
	_, _ = w.w.Write(make([]byte, -len(s)&7))
}

func (w *wireWriter) flush() error { return w.w.Flush() }

// derivation writes d without its input derivations, whose outputs are among
// sources.
func (w *wireWriter) derivation(d *nix.Derivation, sources []nix.StorePath) {
	w.num(uint64(len(d.Outputs)))
	for _, o := range d.Outputs {
		w.str(o.Name)
		w.str(o.Path)
		w.str(o.HashAlgo)
		w.str(o.Hash)
	}
	w.num(uint64(len(sources)))
	for _, p := range sources {
		w.str(p.String())
	}
	w.str(d.System)
	w.str(d.Builder)
	w.num(uint64(len(d.Args)))
	for _, a := range d.Args {
		w.str(a)
	}
	w.num(uint64(len(d.Env)))
	for _, v := range d.Env {
		w.str(v.Name)
		w.str(v.Value)
	}
}

type wireReader struct {
	r   *bufio.Reader
	err error // the first
}

func (r *wireReader) num() uint64 {
	var b [8]byte
	if r.err == nil {
		_, r.err = io.ReadFull(r.r, b[:])
	}
	if r.err != nil {
		return 0
	}
	return binary.LittleEndian.Uint64(b[:])
}

func (r *wireReader) str() string {
	n := r.num()
	if r.err == nil && n > maxServeString || n > math.MaxInt32 {
		r.err = fmt.Errorf("%w: a text of %d bytes", errServe, n)
	}
	if r.err != nil {
		return ""
	}
	b := make([]byte, (n+7)&^7)
	if _, r.err = io.ReadFull(r.r, b); r.err != nil {
		return ""
	}
	return string(b[:n])
}
