package advisory

import (
	"net/http"
	"net/netip"
	"sync"
	"time"
)

// limits on reports from one network, and on networks remembered at a time.
const (
	perHour   = 5
	networks  = 10_000
	allowance = time.Hour
)

// limiter is a brake on flooding by one machine. It remembers networks in memory,
// for an hour at most, and never with what they sent.
type limiter struct {
	mu    sync.Mutex
	since time.Time
	seen  map[netip.Prefix]int
}

// take counts a report and tells whether it is within the allowance.
func (l *limiter) take(addr netip.Addr, now time.Time) bool {
	addr = addr.Unmap()
	bits := 32
	if addr.Is6() {
		bits = 64 // one customer of a provider has at least a /64
	}
	network, err := addr.Prefix(bits)
	if err != nil {
		return false
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.seen == nil || now.Sub(l.since) >= allowance || now.Before(l.since) {
		l.since, l.seen = now, map[netip.Prefix]int{}
	}
	if _, known := l.seen[network]; !known && len(l.seen) >= networks {
		return false
	}
	l.seen[network]++
	return l.seen[network] <= perHour
}

// from is who sent a request.
func (m *Room) from(r *http.Request) netip.Addr {
	if m.Address != nil {
		return m.Address(r)
	}
	at, err := netip.ParseAddrPort(r.RemoteAddr)
	if err != nil {
		return netip.Addr{}
	}
	return at.Addr()
}
