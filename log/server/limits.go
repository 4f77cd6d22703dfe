package server

import (
	"fmt"
	"net/http"
	"net/netip"
	"strings"
	"sync"
	"time"
)

// limits bounds what one address may ask: a bucket of one minute's worth that
// fills steadily (spec/log.md#limits).
type limits struct {
	perMinute float64
	trusted   []netip.Prefix
	now       func() time.Time

	mu      sync.Mutex // guards what follows
	buckets map[netip.Prefix]*bucket
	swept   time.Time
}

type bucket struct {
	left float64
	at   time.Time
}

func newLimits(c LimitsConfig, now func() time.Time) *limits {
	return &limits{perMinute: float64(c.LeavesPerMinute), trusted: c.TrustedProxies, now: now, buckets: make(map[netip.Prefix]*bucket)}
}

// take takes n from the bucket of the address that sent r, or returns an
// httpError that says when to come back. A request larger than a whole bucket
// passes when the bucket is full.
func (l *limits) take(r *http.Request, n int) error {
	who, limited := l.sender(r)
	if !limited || l.perMinute == 0 {
		return nil
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	now := l.now()
	l.sweep(now)
	b := l.buckets[who]
	if b == nil {
		b = &bucket{left: l.perMinute, at: now}
		l.buckets[who] = b
	}
	b.left = min(l.perMinute, b.left+now.Sub(b.at).Minutes()*l.perMinute)
	b.at = now
	need := min(float64(n), l.perMinute)
	if b.left < need {
		seconds := int((need-b.left)/l.perMinute*60) + 1
		return &httpError{
			http.StatusTooManyRequests, "too-many-requests",
			fmt.Sprintf("this address has sent as much as it may for now; try again in %d s", seconds), seconds,
		}
	}
	b.left -= need
	return nil
}

// sweep forgets full buckets once a minute, so that memory stays bounded by
// the addresses of one minute.
func (l *limits) sweep(now time.Time) {
	if now.Sub(l.swept) < time.Minute {
		return
	}
	l.swept = now
	for who, b := range l.buckets {
		if now.Sub(b.at) > time.Minute {
			delete(l.buckets, who)
		}
	}
}

// sender returns the address that sent r as a single IPv4 address or an IPv6
// /64, and whether it is limited: this machine itself is not, unless a proxy
// here forwards for somebody. A forwarded address is believed only from trusted
// proxies, the last one first; where it is none, the proxy's own counts.
func (l *limits) sender(r *http.Request) (netip.Prefix, bool) {
	peer, err := netip.ParseAddrPort(r.RemoteAddr)
	if err != nil {
		return netip.Prefix{}, true // one bucket for all that cannot be told apart
	}
	addr := peer.Addr().Unmap().WithZone("")
	hops := strings.Split(strings.Join(r.Header.Values("X-Forwarded-For"), ","), ",")
	forwarded := len(hops) > 1 || hops[0] != ""
	for i := len(hops) - 1; i >= 0 && l.isTrusted(addr); i-- {
		next, err := netip.ParseAddr(strings.TrimSpace(hops[i]))
		if err != nil {
			break
		}
		addr = next.Unmap().WithZone("")
	}
	bits := 32
	if addr.Is6() {
		bits = 64
	}
	prefix, err := addr.Prefix(bits)
	return prefix, err != nil || forwarded || !addr.IsLoopback()
}

func (l *limits) isTrusted(addr netip.Addr) bool {
	for _, p := range l.trusted {
		if p.Contains(addr) {
			return true
		}
	}
	return false
}
