package main

import (
	"slices"
	"strings"
	"testing"

	"b24proxy/proxy/b24sim"
)

func TestClientKeysSetting(t *testing.T) {
	s, _, err := readSettings([]string{prefix + "CLIENT_KEYS= crm-sync = 0123456789abcdef ,shop=0123456789ABCDEF,"})
	if err != nil || !slices.Equal(s.ClientKeys.Names(), []string{"crm-sync", "shop"}) {
		t.Errorf("got %v, %v; want two clients", s.ClientKeys, err)
	}
}

// -check says all that is wrong with the keys, by the place of the client, since any
// part of what is written may be a key.
func TestClientKeyFaults(t *testing.T) {
	for _, c := range []struct{ value, want string }{
		{"s3cret-0123456789", "client 1: write NAME=KEY"},
		{"shop=s3cret", "client 1: the key has 6 characters, but needs at least 16"},
		{"shop=s3cret-0123456789,crm sync=0123456789abcdef", "client 2: the name must have"},
		{"shop=s3cret-0123456789%", "client 1: the key may have only"},
		{"shop=s3cret-0123456789,shop=0123456789abcdef", "client 2: the name is that of another client too"},
		{"shop=s3cret-0123456789,crm=s3cret-0123456789", "client 2: the key is that of another client too"},
		{"shop=s3cret-0123456789=,s3cret", "client 1: the key may have only letters, digits, dashes and underscores; client 2: write NAME=KEY"},
	} {
		if got := fault(t, prefix+"CLIENT_KEYS="+c.value); !strings.Contains(got, prefix+"CLIENT_KEYS: ") || !strings.Contains(got, c.want) || strings.Contains(got, "s3cret") {
			t.Errorf("%s: got %q, want %q without the key", c.value, got, c.want)
		}
	}
}

// Over the network: programs send the key that is in their address, and the portal
// gets none.
func TestClientKeys(t *testing.T) {
	t.Parallel()
	sim, url := portal(t, b24sim.Config{})
	p := launch(t, "UPSTREAM="+url, "CLIENT_KEYS=shop=0123456789abcdef", "LOG_LEVEL=debug")
	address := strings.Replace(p.clients, "http://", "http://shop:0123456789abcdef@", 1)
	call(t, "POST", address+add, "{}").wantOK(t)
	a := call(t, "POST", p.clients+add, "{}")
	if a.status != 401 || a.json(t).Error != "CLIENT_NOT_ALLOWED" || a.header.Get("WWW-Authenticate") == "" {
		t.Errorf("got %v %v without a key, want 401 CLIENT_NOT_ALLOWED", a, a.header)
	}
	wrong := call(t, "POST", strings.Replace(address, "0123456789abcdef", "0123456789abcdeF", 1)+add, "{}")
	if wrong.status != 401 || sim.Ran("crm.deal.add") != 1 {
		t.Errorf("got %v with a wrong key, and %d calls that ran; want 401 and 1", wrong, sim.Ran("crm.deal.add"))
	}
	if n := p.metric("client_requests_total", `client="shop"`, `outcome="ok"`); n != 1 {
		t.Errorf("got %g calls of the client, want 1", n)
	}
	if strings.Contains(strings.ToLower(p.logged()), "0123456789abcdef") || strings.Contains(p.logged(), "c2hvcDow") {
		t.Errorf("got a key in the log:\n%s", p.logged())
	}
}
