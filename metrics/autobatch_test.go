package metrics

import "testing"

// Calls over batches is the mean size of a batch.
func TestAutobatch(t *testing.T) {
	const portal = "acme.bitrix24.com"
	m := New(Options{Portals: 1})
	m.Autobatch(portal, 50)
	m.Autobatch(portal, 10)
	m.AutobatchFallback(portal)
	own := gather(t, m)
	for name, want := range map[string]float64{
		"autobatch_calls_total": 60, "autobatch_batches_total": 2, "autobatch_size": 2, "autobatch_fallbacks_total": 1,
	} {
		if got := values(own[name])[portal]; got != want {
			t.Errorf("%s is %v, want %v", name, got, want)
		}
	}
}
