package witness

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"
	"unicode/utf8"

	"github.com/firn-log/firn/internal/durable"
	"github.com/firn-log/firn/log/policy"
)

const (
	// listsName is the file with the logs that lists have named.
	listsName = "logs"
	// MaxList bounds a list of logs in bytes.
	MaxList = 16 << 20
	// maxListed bounds the logs of a list.
	maxListed = 100_000

	listHeader = "logs/v0"
)

// ParseLogList reads a list of logs in the form logs/v0 of the witness network
// (spec/witness.md#lists). A log that this witness cannot serve, because its key
// is of another type or broken, is left out; skipped says why, with its line. A
// list that is not in this form is an error as a whole.
func ParseLogList(b []byte) (logs []Log, skipped []error, err error) {
	if len(b) > MaxList {
		return nil, nil, fmt.Errorf("list of logs: longer than %d bytes", MaxList)
	}
	if !utf8.Valid(b) {
		return nil, nil, errors.New("list of logs: not UTF-8")
	}
	p := listParser{seen: make(map[string]bool)}
	for line := range strings.Lines(string(b)) {
		p.n++
		if err := p.line(strings.TrimSuffix(line, "\n")); err != nil {
			return nil, nil, fmt.Errorf("list of logs, line %d: %w", p.n, err)
		}
	}
	if !p.header {
		return nil, nil, errors.New("list of logs: no line " + listHeader)
	}
	p.finish()
	return p.logs, p.skipped, nil
}

type listParser struct {
	n       int // lines so far
	header  bool
	begun   int // line of the vkey of log, 0 if there is none
	log     Log
	bad     error           // why log is left out
	words   map[string]bool // of log
	seen    map[string]bool // origins
	logs    []Log
	skipped []error
}

func (p *listParser) line(line string) error {
	if i := strings.IndexFunc(line, func(r rune) bool { return r < 0x20 && r != '\t' || r == 0x7f }); i >= 0 {
		return errors.New("a control character")
	}
	if line == "" || strings.HasPrefix(line, "#") {
		return nil
	}
	if !p.header {
		if line != listHeader {
			return fmt.Errorf("%.40q instead of %s", line, listHeader)
		}
		p.header = true
		return nil
	}
	word, value, _ := strings.Cut(line, " ")
	if word == "vkey" {
		p.finish()
		if len(p.logs) >= maxListed {
			return fmt.Errorf("more than %d logs", maxListed)
		}
		p.begun, p.log, p.bad, p.words = p.n, Log{}, nil, make(map[string]bool)
		key, err := policy.ParseKey(value)
		if err != nil {
			p.bad = err
			return nil
		}
		p.log.Keys, p.log.Origin = []policy.Key{key}, key.Name
		return nil
	}
	if p.begun == 0 {
		return fmt.Errorf("%.40q before a vkey", word)
	}
	if p.words[word] {
		return fmt.Errorf("a second %.40q of one log", word)
	}
	p.words[word] = true
	return p.word(word, value)
}

// word takes a line of a log. Words of later versions of the form are ignored.
func (p *listParser) word(word, value string) error {
	switch word {
	case "origin":
		if value != "none" {
			p.log.Origin = value
		}
	case "qpd":
		n, err := policy.ParseDecimal(value)
		if err != nil {
			return fmt.Errorf("qpd: %.40q is not a number", value)
		}
		if n == 0 && p.bad == nil {
			p.bad = errors.New("it may ask nothing at all (qpd 0)")
		}
		p.log.QPD = n
	case "contact":
		p.log.Contact = value
	}
	return nil
}

// finish takes the log that ends here.
func (p *listParser) finish() {
	if p.begun == 0 {
		return
	}
	if p.bad == nil {
		p.bad = checkLog(p.log)
	}
	if p.bad == nil && p.seen[p.log.Origin] {
		p.bad = errors.New("its origin is in the list already")
	}
	if p.bad != nil {
		p.skipped = append(p.skipped, fmt.Errorf("line %d: %w", p.begun, p.bad))
		return
	}
	p.seen[p.log.Origin] = true
	p.logs = append(p.logs, p.log)
}

// checkOrigin says why s cannot be the first line of a checkpoint.
func checkOrigin(s string) error {
	switch {
	case s == "":
		return errors.New("an empty origin")
	case !utf8.ValidString(s) || strings.ContainsFunc(s, func(r rune) bool { return r < 0x20 }):
		return fmt.Errorf("%q is not an origin: it holds control characters", s)
	}
	return nil
}

// FormatLogList returns a list that ParseLogList reads as logs. Of the keys of a
// log it has the first of type Ed25519.
func FormatLogList(logs []Log) []byte {
	var b strings.Builder
	b.WriteString(listHeader + "\n")
	for _, l := range logs {
		for _, k := range l.Keys {
			if k.Type != policy.TypeEd25519 {
				continue
			}
			origin := l.Origin
			if origin == k.Name {
				origin = "none"
			}
			fmt.Fprintf(&b, "\nvkey %s\norigin %s\n", k, origin)
			if l.QPD > 0 {
				fmt.Fprintf(&b, "qpd %d\n", l.QPD)
			}
			if l.Contact != "" {
				fmt.Fprintf(&b, "contact %s\n", l.Contact)
			}
			break
		}
	}
	return []byte(b.String())
}

// readLists reads the logs that lists have named before.
func readLists(path string) ([]Log, error) {
	b, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("reading the logs that lists have named: %w", err)
	}
	logs, skipped, err := ParseLogList(b)
	if err = errors.Join(append(skipped, err)...); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return logs, nil
}

// UpdateLogs adds logs that the witness does not know yet and makes that
// durable. A known origin keeps its keys and its budget: a list may add, never
// change. It returns the origins that were added, and those that were left as
// they are although the list has another key for them.
func (w *Witness) UpdateLogs(logs []Log) (added, differ []string, err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	var more []Log
	seen := make(map[string]bool)
	for _, l := range logs {
		if err := checkLog(l); err != nil {
			return nil, nil, err
		}
		switch old := w.logs[l.Origin]; {
		case old == nil && !seen[l.Origin]:
			seen[l.Origin] = true
			more = append(more, l)
		case old == nil:
		case !old.hasKeys(l.Keys):
			differ = append(differ, l.Origin)
		}
	}
	if len(more) == 0 {
		return nil, differ, nil
	}
	all := more
	for _, l := range w.logs {
		if l.listed {
			all = append(all, l.Log)
		}
	}
	if err := durable.WriteFile(w.store.path(listsName), FormatLogList(all), 0o644); err != nil {
		return nil, differ, fmt.Errorf("keeping the logs that lists have named: %w", err)
	}
	for _, l := range more {
		w.logs[l.Origin] = &knownLog{Log: l, listed: true}
		added = append(added, l.Origin)
	}
	return added, differ, nil
}

// hasKeys reports whether every one of keys is one of the log's.
func (l *Log) hasKeys(keys []policy.Key) bool {
	for _, k := range keys {
		found := false
		for _, own := range l.Keys {
			found = found || own.String() == k.String()
		}
		if !found {
			return false
		}
	}
	return true
}
