package bincache

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"sync"
	"syscall"
	"time"
)

// guard opens the connections to one cache. A cache on the open internet cannot send
// its reader, by a redirect or the URL of a NAR, to what only machines inside the
// reader's network reach: this machine, its neighbours, the metadata service of a cloud
// (spec/import.md#what-is-asked-of-a-cache). A cache that is inside itself can.
type guard struct {
	home string // host:port of the cache
	open func(netip.Addr) bool

	mu      sync.Mutex // guards what follows
	decided bool
	inside  bool            // the cache is; it was when it was first reached
	proxies map[string]bool // host:port, as the environment names them
}

func newGuard(base *url.URL) *guard {
	return &guard{home: hostPort(base), open: isOpen, proxies: make(map[string]bool)}
}

// hostPort is what a connection for u is opened to.
func hostPort(u *url.URL) string {
	port := u.Port()
	if port == "" {
		port = map[string]string{"https": "443", "socks5": "1080", "socks5h": "1080"}[u.Scheme]
	}
	if port == "" {
		port = "80"
	}
	return net.JoinHostPort(strings.ToLower(u.Hostname()), port)
}

// proxy is http.ProxyFromEnvironment. Where a request goes behind a proxy is the proxy's
// to decide.
func (g *guard) proxy(r *http.Request) (*url.URL, error) {
	u, err := http.ProxyFromEnvironment(r)
	if u != nil {
		g.mu.Lock()
		g.proxies[hostPort(u)] = true
		g.mu.Unlock()
	}
	return u, err
}

// dial is the DialContext of an http.Transport.
func (g *guard) dial(ctx context.Context, network, addr string) (net.Conn, error) {
	d := net.Dialer{Timeout: 30 * time.Second, KeepAlive: 30 * time.Second}
	addr = strings.ToLower(addr)
	g.mu.Lock()
	inside, proxy := g.decided && g.inside, g.proxies[addr]
	g.mu.Unlock()
	if addr != g.home && !inside && !proxy {
		d.Control = g.refuse
	}
	conn, err := d.DialContext(ctx, network, addr)
	if err != nil || addr != g.home {
		return conn, err
	}
	to, err := netip.ParseAddrPort(conn.RemoteAddr().String())
	g.mu.Lock()
	defer g.mu.Unlock()
	if !g.decided {
		g.decided, g.inside = true, err == nil && !g.open(to.Addr())
	}
	return conn, nil
}

// refuse is the Control of a net.Dialer: it sees the address after its name was resolved.
func (g *guard) refuse(_, address string, _ syscall.RawConn) error {
	to, err := netip.ParseAddrPort(address)
	if err == nil && g.open(to.Addr()) {
		return nil
	}
	return &answerError{reason: fmt.Sprintf("leads to %s, which only machines in this network can reach", address)}
}

// closed are networks that are not the open internet beside those that netip knows.
var closed = []netip.Prefix{
	netip.MustParsePrefix("0.0.0.0/8"), netip.MustParsePrefix("100.64.0.0/10"), netip.MustParsePrefix("192.0.0.0/24"),
	netip.MustParsePrefix("198.18.0.0/15"), netip.MustParsePrefix("64:ff9b::/96"), netip.MustParsePrefix("64:ff9b:1::/48"),
}

// isOpen reports whether an address is one of the open internet.
func isOpen(a netip.Addr) bool {
	a = a.Unmap().WithZone("")
	for _, p := range closed {
		if p.Contains(a) {
			return false
		}
	}
	return a.IsGlobalUnicast() && !a.IsPrivate()
}
