package eval

import (
	"errors"
	"fmt"
	"os/exec"
	"slices"
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
// last "error:". It reports whether these are an error that every evaluator comes to: not
// that of a stack or a memory, which another may have more of.
func (t *tail) sentence(err error) (words string, said bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	var exit *exec.ExitError
	failed := errors.As(err, &exit)
	for i := len(t.lines) - 1; i >= 0; i-- {
		if words := t.behindError(i); words != "" {
			return words, failed && exit.ExitCode() == 1 && !slices.ContainsFunc(ofMachine, func(s string) bool { return strings.Contains(words, s) })
		}
	}
	if !failed {
		return "the evaluator ended without an answer", false
	}
	if status, ok := exit.Sys().(syscall.WaitStatus); ok && status.Signaled() {
		words = "the evaluator died of: " + status.Signal().String()
		if status.Signal() == syscall.SIGSEGV {
			words += " (a stack overflow?)"
		}
		return words, false
	}
	return fmt.Sprintf("the evaluator ended with status %d and said no error", exit.ExitCode()), false
}

// behindError returns what stands behind "error:" in line i, or in those below if that line ends there; "" if
// line i does not begin with it.
func (t *tail) behindError(i int) string {
	words, ok := strings.CutPrefix(strings.TrimSpace(t.lines[i]), "error:")
	if !ok {
		return ""
	}
	for words = strings.TrimSpace(words); words == "" && i+1 < len(t.lines); i++ {
		words = strings.TrimSpace(t.lines[i+1])
	}
	return words
}

// ofMachine are words of errors that depend on the machine, or on what was evaluated before.
var ofMachine = []string{
	"stack overflow", "call depth", "out of memory", "bad_alloc", "Cannot allocate memory", "interrupted", "Too many open files",
	"Resource temporarily unavailable", "Input/output error",
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
