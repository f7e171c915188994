package main

import (
	"net/http"
	"testing"
)

func TestWhoIsCallingBehindAProxy(t *testing.T) {
	address, err := visitorAddress([]string{"10.0.0.0/8", "::1"})
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ peer, forwarded, want string }{
		{"192.0.2.7:9", "", "192.0.2.7"},
		{"192.0.2.7:9", "198.51.100.1", "192.0.2.7"},                // a stranger's header counts for nothing
		{"10.1.1.1:9", "198.51.100.1", "198.51.100.1"},              // our proxy's does
		{"10.1.1.1:9", "203.0.113.9, 198.51.100.1", "198.51.100.1"}, // what the visitor wrote does not
		{"10.1.1.1:9", "198.51.100.1, 10.2.2.2", "198.51.100.1"},    // two proxies
		{"[::1]:9", "2001:db8::5", "2001:db8::5"},                   //
		{"10.1.1.1:9", "<script>", "10.1.1.1"},                      // rubbish
		{"[::ffff:10.1.1.1]:9", "198.51.100.1", "198.51.100.1"},     // the same network in the other notation
	} {
		r := &http.Request{RemoteAddr: c.peer, Header: http.Header{}}
		if c.forwarded != "" {
			r.Header.Set("X-Forwarded-For", c.forwarded)
		}
		if got := address(r).String(); got != c.want {
			t.Errorf("%s, %q: got %s, want %s", c.peer, c.forwarded, got, c.want)
		}
	}
	if _, err := visitorAddress([]string{"my-proxy"}); err == nil {
		t.Error("a name is no address")
	}
}
