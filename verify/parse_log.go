package verify

import (
	"fmt"
	"net/url"
	"slices"
	"time"

	"github.com/firn-log/firn/log/policy"
)

func (p *parser) log(l line) {
	if len(l.fields) < 4 || l.fields[2].text != "file" {
		if len(l.fields) > 1 {
			p.define(l, l.fields[1], "log")
		}
		p.failf(l, l.fields[min(2, len(l.fields)-1)].col, "the line is `log NAME file LOGPOLICY [url URL] [mirror URL]… [required|optional] [max-age 24h] [index INDEXPOLICY] [tail N]`")
		return
	}
	n := p.define(l, l.fields[1], "log")
	ref := &LogRef{Name: l.fields[1].text, File: l.fields[3].text, Required: true}
	ok := p.logOptions(l, ref)
	ok = p.logPolicy(l, ref) && p.indexPolicy(l, ref) && ok
	if n != nil && ok {
		p.pol.Logs = append(p.pol.Logs, ref)
	}
}

func (p *parser) logOptions(l line, ref *LogRef) bool {
	ok := true
	seen := make(map[string]bool)
	rest := l.fields[4:]
	for len(rest) > 0 {
		word := rest[0]
		rest = rest[1:]
		what := word.text
		if what == "required" {
			what = "optional"
		}
		if seen[what] && what != "mirror" {
			p.failf(l, word.col, "%q is said twice", word.text)
			ok = false
		}
		seen[what] = true
		switch word.text {
		case "required", "optional":
			ref.Required = word.text == "required"
			continue
		case "url", "mirror", "max-age", "index", "tail":
		default:
			p.failf(l, word.col, "%q is not an option of a log; they are url, mirror, required, optional, max-age, index and tail", word.text)
			return false
		}
		if len(rest) == 0 {
			p.failf(l, l.end(), "%s needs a value", word.text)
			return false
		}
		if msg := ref.set(word.text, rest[0].text); msg != "" {
			p.failf(l, rest[0].col, "%s", msg)
			ok = false
		}
		rest = rest[1:]
	}
	return ok
}

func (ref *LogRef) set(option, value string) string {
	if option == "index" || option == "tail" {
		return ref.setIndex(option, value)
	}
	if option == "max-age" {
		d, err := time.ParseDuration(value)
		if err != nil || d <= 0 {
			return fmt.Sprintf("%q is not an age; write for instance 24h or 30m", value)
		}
		ref.MaxAge = d
		return ""
	}
	if option == "mirror" {
		if slices.Contains(ref.Mirrors, value) {
			return fmt.Sprintf("mirror %s is named twice", value)
		}
		ref.Mirrors = append(ref.Mirrors, value)
	} else {
		ref.URL = value
	}
	return checkURL(value)
}

func checkURL(s string) string {
	u, err := url.Parse(s)
	switch {
	case err != nil, u.Scheme != "http" && u.Scheme != "https" && u.Scheme != "file",
		u.Scheme != "file" && u.Host == "", u.Scheme == "file" && u.Path == "":
		return fmt.Sprintf("%q is not the address of a log; write http://…, https://… or file:///…", s)
	case u.User != nil:
		return "the address of a log holds no user name or password"
	case u.RawQuery != "" || u.Fragment != "":
		return "the address of a log has no ? and no #"
	}
	return ""
}

// logPolicy reads the log policy file that a line names.
func (p *parser) logPolicy(l line, ref *LogRef) bool {
	f := l.fields[3]
	data, err := p.read(ref.File)
	if err != nil {
		p.failf(l, f.col, "the log policy of %s cannot be read: %v", ref.Name, err)
		return false
	}
	pol, err := policy.Parse(data)
	if err != nil {
		p.failf(l, f.col, "%s: %v", ref.File, err)
		return false
	}
	if len(pol.Logs) != 1 {
		p.failf(l, f.col, "%s has %d log lines; a log policy named here has exactly one", ref.File, len(pol.Logs))
		return false
	}
	ref.Policy, ref.Origin = pol, pol.Logs[0].Key.Name
	if old, taken := p.keys["origin"+ref.Origin]; taken {
		p.failf(l, f.col, "%s is the log that line `log %s` already names", ref.Origin, old)
		return false
	}
	p.keys["origin"+ref.Origin] = ref.Name
	if old, taken := p.keys["log key"+string(pol.Logs[0].Key.Public)]; taken {
		p.failf(l, f.col, "the log %s has the key of the log in line `log %s`: that is one log under two names", ref.Origin, old)
		return false
	}
	p.keys["log key"+string(pol.Logs[0].Key.Public)] = ref.Name
	if ref.URL == "" {
		ref.URL = pol.Logs[0].URL
		if msg := checkURL(ref.URL); msg != "" {
			p.failf(l, l.end(), "nothing says where log %s is; write `url https://…` in this line or the address in %s", ref.Name, ref.File)
			return false
		}
	}
	if slices.Contains(ref.Mirrors, ref.URL) {
		p.failf(l, l.end(), "%s is where log %s itself is; a mirror is another place", ref.URL, ref.Name)
		return false
	}
	if ref.MaxAge > 0 && pol.Quorum == policy.None {
		p.failf(l, f.col, "max-age can never be met: %s says `quorum none`, and a checkpoint without witnesses has no age; name witnesses there or remove max-age", ref.File)
		return false
	}
	return true
}
