package door

import (
	"net/netip"
	"sync"
	"time"
)

// limiter counts requests per address in windows of Caps.Window. It is a brake
// on guessing and flooding by one machine, not a quota: several processes count
// on their own.
type limiter struct {
	now   func() time.Time
	mu    sync.Mutex
	since time.Time
	seen  map[netip.Prefix]int
}

func newLimiter(now func() time.Time) *limiter {
	return &limiter{now: now, seen: map[netip.Prefix]int{}}
}

// take counts a request and tells whether it is within the allowance. When more
// addresses come than are remembered, new ones wait for the next window.
func (l *limiter) take(addr netip.Addr) bool {
	addr = addr.Unmap()
	bits := 32
	if addr.Is6() {
		bits = 64 // one customer of a provider has at least a /64
	}
	net, err := addr.Prefix(bits)
	if err != nil {
		return false
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	now := l.now()
	if now.Sub(l.since) >= Caps.Window || now.Before(l.since) {
		l.since = now
		clear(l.seen)
	}
	count, known := l.seen[net]
	if !known && len(l.seen) >= Caps.Addresses {
		return false
	}
	l.seen[net] = count + 1
	return count < Caps.Attempts
}
