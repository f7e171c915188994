package main

import (
	"net/http"
	"net/netip"
	"strings"

	"clerestory.dev/clerestory/internal/base/fault"
)

// visitorAddress tells who is calling: the other end of the connection, or, where
// that is one of our proxies, the nearest address in X-Forwarded-For that is not.
// Whatever stands before that one anybody could have written.
func visitorAddress(proxies []string) (func(*http.Request) netip.Addr, error) {
	var ours []netip.Prefix
	for _, p := range proxies {
		prefix, err := netip.ParsePrefix(p)
		if addr, single := netip.ParseAddr(p); err != nil && single == nil {
			prefix, err = netip.PrefixFrom(addr, addr.BitLen()), nil
		}
		if err != nil {
			return nil, fault.Invalid.New("%s: proxies: %q is no address or network, such as 10.0.0.0/8", configFile, p)
		}
		ours = append(ours, prefix)
	}
	isOurs := func(a netip.Addr) bool {
		for _, p := range ours {
			if p.Contains(a) {
				return true
			}
		}
		return false
	}
	return func(r *http.Request) netip.Addr {
		peer, err := netip.ParseAddrPort(r.RemoteAddr)
		if err != nil {
			return netip.Addr{}
		}
		nearest := peer.Addr().Unmap()
		hops := strings.Split(strings.Join(r.Header.Values("X-Forwarded-For"), ","), ",")
		for i := len(hops) - 1; i >= 0 && isOurs(nearest); i-- {
			a, err := netip.ParseAddr(strings.TrimSpace(hops[i]))
			if err != nil {
				break
			}
			nearest = a.Unmap()
		}
		return nearest
	}, nil
}
