package main

import (
	"fmt"
	"io"
	"os"
	"sync"
	"time"

	"golang.org/x/term"
)

// progress shows how far long work is, on a terminal only.
type progress struct {
	w  io.Writer // nil shows nothing
	mu sync.Mutex
	at time.Time // of the last line
}

func (a *app) progress() *progress {
	if f, ok := a.Stderr.(*os.File); ok && term.IsTerminal(int(f.Fd())) {
		return &progress{w: f}
	}
	return &progress{}
}

func (p *progress) show(what string, done, total uint64) {
	if p.w == nil || total == 0 {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if now := time.Now(); now.Sub(p.at) >= 100*time.Millisecond {
		p.at = now
		fmt.Fprintf(p.w, "\r\x1b[K%s: %d%%", what, done*100/total)
	}
}

// say is show for work whose end is not known.
func (p *progress) say(text string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if now := time.Now(); p.w != nil && now.Sub(p.at) >= 100*time.Millisecond {
		p.at = now
		fmt.Fprintf(p.w, "\r\x1b[K%s", text)
	}
}

func (p *progress) clear() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.w != nil && !p.at.IsZero() {
		fmt.Fprint(p.w, "\r\x1b[K")
		p.at = time.Time{}
	}
}
