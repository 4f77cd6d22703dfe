package eval

import (
	"errors"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"unicode/utf8"
)

// maxTail bounds what is kept of what an evaluator prints.
const maxTail = 16 << 10

// tail is the end of what was printed about one attribute. Packages print there too:
// it is only ever used to explain that attribute's own failure.
type tail struct {
	mu    sync.Mutex
	lines []string
	size  int
}

func (t *tail) add(line []byte) {
	t.mu.Lock()
	defer t.mu.Unlock()
	s := string(line[:min(len(line), 2*maxError)])
	t.lines = append(t.lines, s)
	t.size += len(s)
	for t.size > maxTail {
		t.size -= len(t.lines[0])
		t.lines = t.lines[1:]
	}
}

func (t *tail) reset() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.lines, t.size = nil, 0
}

// sentence returns why a process failed, in its own words: what stands behind the
// last "error:".
func (t *tail) sentence(err error) string {
	t.mu.Lock()
	defer t.mu.Unlock()
	for i := len(t.lines) - 1; i >= 0; i-- {
		if words, ok := strings.CutPrefix(strings.TrimSpace(t.lines[i]), "error: "); ok {
			return words
		}
	}
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		if status, ok := exit.Sys().(syscall.WaitStatus); ok && status.Signaled() {
			return "the evaluator died of: " + status.Signal().String()
		}
	}
	return "the evaluator ended without an answer"
}

// clean returns s as a text of at most n bytes that a file may hold: what is not
// UTF-8 or could end a line becomes a space, runs of space become one.
func clean(s string, n int) string {
	s = strings.ToValidUTF8(s, " ")
	s = strings.Map(func(r rune) rune {
		if badRune(r) {
			return ' '
		}
		return r
	}, s)
	s = strings.Join(strings.Fields(s), " ")
	if len(s) <= n {
		return s
	}
	cut := n - len("…")
	for !utf8.RuneStart(s[cut]) {
		cut--
	}
	return s[:cut] + "…"
}
