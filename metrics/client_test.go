package metrics

import (
	"fmt"
	"testing"
)

// Only the clients that have a key become labels, and they appear at zero.
func TestClientsAreThoseWithKeys(t *testing.T) {
	m := New(Options{Portals: 1, Clients: []string{"shop"}})
	m.ClientRequest("shop", MethodError)
	m.ClientRequest("shop", "surprise")
	m.ClientRequest("webhook 842ad73a6f96", OK)
	m.ClientRequest("", OK)
	got := values(gather(t, m)["client_requests_total"])
	want := map[string]float64{"shop,ok": 0, "shop,portal_error": 0, "shop,rejected": 0, "shop,unreachable": 0, "shop,method_error": 1, "shop,other": 1}
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("got %v, want %v", got, want)
	}
}
