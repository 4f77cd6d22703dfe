package verify

import (
	"fmt"
	"net/url"
	"strings"
	"time"

	"github.com/firn-log/firn/internal/nix"
)

func (p *parser) veto(l line) {
	f := l.fields[1:]
	v := &Veto{Action: Refuse}
	if n := len(f); n > 1 {
		switch f[n-1].text {
		case "warn":
			v.Action, f = Warn, f[:n-1]
		case "refuse":
			f = f[:n-1]
		}
	}
	ok := true
	switch {
	case len(f) == 0, f[0].text == "any" && len(f) < 3, f[0].text != "any" && len(f) > 1:
		p.failf(l, l.fields[min(len(f), 2)].col, "the line is `veto GROUP [refuse|warn]` or `veto any K MEMBER... [refuse|warn]`")
		return
	case f[0].text == "any":
		v.Group = &Group{Name: "of this veto"}
		ok = p.members(l, v.Group, f[2:])
		ok = p.threshold(l, v.Group, f[1], len(f)-2) && ok
		v.Group.Name = ""
	default:
		v.Group, ok = p.groupNamed(l, f[0], "a veto")
	}
	if ok {
		p.pol.Vetoes = append(p.pol.Vetoes, v)
	}
}

func (p *parser) decisionTTL(l line) {
	if len(l.fields) != 2 {
		p.failf(l, l.end(), "the line is `decision-ttl 10m`")
		return
	}
	d, err := time.ParseDuration(l.fields[1].text)
	if err != nil || d <= 0 {
		p.failf(l, l.fields[1].col, "%q is not a time; write for instance 10m or 1h", l.fields[1].text)
		return
	}
	if !p.twice(l, "decision-ttl") {
		p.pol.DecisionTTL = d
	}
}

func (p *parser) upstream(l line) {
	f := l.fields
	if len(f) < 4 || f[2].text != "key" {
		p.failf(l, l.fields[min(2, len(f)-1)].col, "the line is `upstream URL key NAME:BASE64... [public]`")
		return
	}
	u := &Upstream{URL: strings.TrimRight(f[1].text, "/")}
	ok := true
	if msg := checkCacheURL(u.URL); msg != "" {
		p.failf(l, f[1].col, "%s", msg)
		ok = false
	} else if old, twice := p.once["upstream "+u.URL]; twice {
		p.failf(l, f[1].col, "%s is already the upstream in line %d", u.URL, old)
		ok = false
	}
	p.once["upstream "+u.URL] = l.n
	keys := f[3:]
	if last := keys[len(keys)-1]; last.text == "public" {
		u.Public, keys = true, keys[:len(keys)-1]
	}
	if len(keys) == 0 {
		p.failf(l, f[3].col, "an upstream needs a key: `upstream URL key NAME:BASE64`")
		return
	}
	names := make(map[string]bool)
	for _, k := range keys {
		key, msg := p.upstreamKey(k.text, names)
		if msg != "" {
			p.failf(l, k.col, "%s", msg)
			ok = false
			continue
		}
		u.Keys = append(u.Keys, key)
	}
	if ok {
		p.pol.Upstreams = append(p.pol.Upstreams, u)
	}
}

// upstreamKey reads a key of an upstream. One key has one name in a policy: Nix, which goes
// by names, would count two (names are those of this line).
func (p *parser) upstreamKey(text string, names map[string]bool) (nix.PublicKey, string) {
	key, err := nix.ParsePublicKey(text)
	if err != nil {
		return key, fmt.Sprintf("%q is not the public key of a cache, NAME:BASE64: %v", text, err)
	}
	bytes := "upstream key " + string(key.Key)
	old, known := p.keys[bytes]
	switch {
	case known && old != key.Name:
		return key, fmt.Sprintf("this is the key %s under another name; one key has one name", old)
	case names[key.Name] && known:
		return key, fmt.Sprintf("the key %s is said twice", key.Name)
	case names[key.Name]:
		return key, fmt.Sprintf("there is another key named %s in this line", key.Name)
	}
	p.keys[bytes] = key.Name
	names[key.Name] = true
	return key, ""
}

func checkCacheURL(s string) string {
	if msg := checkURL(s); msg != "" {
		return strings.ReplaceAll(msg, "address of a log", "address of a cache")
	}
	if u, err := url.Parse(s); err != nil || u.String() != s {
		return fmt.Sprintf("%q is not how the address of a cache is written", s)
	}
	return ""
}
