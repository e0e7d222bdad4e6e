package operator

import (
	"b24proxy/limiter"
	"b24proxy/limiter/operating"
)

// A Portal is what the proxy holds of one portal at one moment.
type Portal struct {
	limiter.State
	IsAtRest bool              // nothing waits, and the portal counts no calls
	Clients  map[string]int    // the calls that wait, by client
	Budgets  []operating.State // of operating time, the fullest first; the emptiest may be left out
}

// waiting counts the calls that wait.
func (p *Portal) waiting() (n int) {
	for _, waiting := range p.Waiting {
		n += waiting
	}
	return n
}
