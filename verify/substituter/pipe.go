package substituter

import (
	"io"
	"sync"
)

// pipeSize is how far unpacking may be behind, in bytes of a file: several times what is read at
// once, so that neither waits for the other all the time.
const pipeSize = 4 * chunk

// pipe is an io.Pipe that holds some bytes. One goroutine writes and one reads.
type pipe struct {
	mu       sync.Mutex // guards what follows
	changed  sync.Cond
	b        []byte // written
	at       int    // what of it was read
	ended    error  // nothing more is written; io.EOF or why
	stopped  bool   // nothing more is read
	stopping error  // why; may be nil
}

func newPipe() *pipe {
	p := new(pipe)
	p.changed.L = &p.mu
	return p
}

// Write waits until there is room. It fails if nothing more is read.
func (p *pipe) Write(b []byte) (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for len(p.b) > p.at && len(p.b)-p.at+len(b) > pipeSize && !p.stopped {
		p.changed.Wait()
	}
	if p.stopped {
		if p.stopping == nil {
			return 0, io.ErrClosedPipe
		}
		return 0, p.stopping
	}
	if len(p.b)+len(b) > cap(p.b) {
		p.b, p.at = p.b[:copy(p.b, p.b[p.at:])], 0
	}
	p.b = append(p.b, b...)
	p.changed.Signal()
	return len(b), nil
}

// Read waits until there is something.
func (p *pipe) Read(b []byte) (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for len(p.b) == p.at && p.ended == nil {
		p.changed.Wait()
	}
	if len(p.b) == p.at {
		return 0, p.ended
	}
	n := copy(b, p.b[p.at:])
	if p.at += n; p.at == len(p.b) {
		p.b, p.at = p.b[:0], 0
	}
	p.changed.Signal()
	return n, nil
}

// end is called by the writer; the first time counts.
func (p *pipe) end(err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.ended == nil {
		p.ended = err
	}
	p.changed.Signal()
}

// stop is called by the reader.
func (p *pipe) stop(err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.stopped, p.stopping = true, err
	p.changed.Signal()
}
