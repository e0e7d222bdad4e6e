package operator

import (
	"cmp"
	"slices"
	"strings"
	"time"

	"b24proxy/metrics"
	"b24proxy/proxy/bitrix24"
)

// keptClients bounds the clients that are remembered of a portal. The one that did
// not call for longest is forgotten, and what it used counts as that of others.
const keptClients = 32

// The spans for which the use of the limit is counted, and how finely. The current
// step counts in addition, so the spans are a little longer.
const (
	usedSteps  = 12
	minuteStep = time.Minute / usedSteps
	hourStep   = time.Hour / usedSteps
)

// A user is what one client, or all clients of a portal, used of the limit.
type user struct{ minute, hour ring[useStatus] }

// usage is what the clients of a portal used.
type usage struct {
	all     user
	clients []*namedUser // the one that called last is the last
}

type namedUser struct {
	name string
	user
}

// note counts a call that has ended, if it counts against the portal's limit.
func (u *usage) note(since time.Duration, e CallEnded) {
	if !e.API.REST() {
		return
	}
	one := useStatus{Calls: 1, Sent: int32(e.Attempts - e.TakenAlong)}
	if e.Outcome == metrics.Rejected {
		one.Refused = 1
	}
	u.all.add(since, one)
	u.of(strings.TrimSpace(e.Client)).add(since, one)
}

// of returns what a client used, and makes it the one that called last.
func (u *usage) of(client string) *namedUser {
	at := slices.IndexFunc(u.clients, func(one *namedUser) bool { return one.name == client })
	var found *namedUser
	switch {
	case at >= 0:
		found = u.clients[at]
		u.clients = slices.Delete(u.clients, at, at+1)
	case len(u.clients) == keptClients:
		u.clients = slices.Delete(u.clients, 0, 1)
	}
	if found == nil {
		found = &namedUser{name: strings.Clone(client)} // it may be a part of a request
	}
	u.clients = append(u.clients, found)
	return found
}

func (u *user) add(since time.Duration, one useStatus) {
	u.minute.at(stepOf(since, minuteStep), usedSteps).add(one)
	u.hour.at(stepOf(since, hourStep), usedSteps).add(one)
}

func (u *user) status(since time.Duration) spansStatus {
	return spansStatus{LastMinute: used(u.minute, stepOf(since, minuteStep)), LastHour: used(u.hour, stepOf(since, hourStep))}
}

func stepOf(since, step time.Duration) int32 { return int32(max(since, 0) / step) }

func used(r ring[useStatus], now int32) (sum useStatus) {
	for _, step := range r.since(now - usedSteps) {
		sum.add(step.counts)
	}
	return sum
}

func (s *useStatus) add(o useStatus) {
	s.Calls += o.Calls
	s.Sent += o.Sent
	s.Refused += o.Refused
}

func (s useStatus) minus(o useStatus) useStatus {
	return useStatus{s.Calls - o.Calls, s.Sent - o.Sent, s.Refused - o.Refused}
}

// status lists the clients that called within the hour, those with most calls in the
// last minute first. The first ones are shown, the others in one sum.
func (u *usage) status(since time.Duration) usageStatus {
	s := usageStatus{ByClient: []clientUse{}, Others: u.all.status(since)}
	for _, one := range u.clients {
		if use := (clientUse{one.name[:min(len(one.name), shownName)], one.status(since)}); use.LastHour.Calls > 0 {
			s.ByClient = append(s.ByClient, use)
		}
	}
	slices.SortFunc(s.ByClient, func(a, b clientUse) int {
		return cmp.Or(cmp.Compare(b.LastMinute.Calls, a.LastMinute.Calls), cmp.Compare(b.LastHour.Calls, a.LastHour.Calls), cmp.Compare(a.Client, b.Client))
	})
	s.OtherClients = max(0, len(s.ByClient)-shownClients)
	s.ByClient = s.ByClient[:min(len(s.ByClient), shownClients)]
	for _, shown := range s.ByClient {
		s.Others.LastMinute = s.Others.LastMinute.minus(shown.LastMinute)
		s.Others.LastHour = s.Others.LastHour.minus(shown.LastHour)
	}
	return s
}

// hasCredentials reports whether a client is listed that has no name of its own.
func (s usageStatus) hasCredentials() bool {
	return slices.ContainsFunc(s.ByClient, func(c clientUse) bool {
		kind, _, isPair := strings.Cut(c.Client, " ") // as bitrix24.Credential prints
		return isPair && (kind == string(bitrix24.CredentialWebhook) || kind == string(bitrix24.CredentialOAuth))
	})
}
