package operator

import (
	"cmp"
	"slices"
	"strings"
	"time"

	"github.com/hashicorp/golang-lru/v2/simplelru"

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
type user struct{ minute, hour ring }

// A ring counts in steps: those of the last span, and the current one.
type ring struct {
	steps  [usedSteps + 1]useStatus
	newest int64 // number of the current step
}

// usage is what the clients of a portal used.
type usage struct {
	all     user
	clients *simplelru.LRU[string, *user]
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
func (u *usage) of(client string) *user {
	if u.clients == nil {
		u.clients, _ = simplelru.NewLRU[string, *user](keptClients, nil) // fails only below a size of 1
	}
	found, isKnown := u.clients.Get(client)
	if !isKnown {
		found = new(user)
		u.clients.Add(strings.Clone(client), found) // the name may be a part of a request
	}
	return found
}

func (u *user) add(since time.Duration, one useStatus) {
	u.minute.at(since, minuteStep).add(one)
	u.hour.at(since, hourStep).add(one)
}

func (u *user) status(since time.Duration) spansStatus {
	return spansStatus{LastMinute: u.minute.sum(since, minuteStep), LastHour: u.hour.sum(since, hourStep)}
}

// at returns the step of a moment. What is older than the ring is forgotten.
func (r *ring) at(since, step time.Duration) *useStatus {
	const size = int64(usedSteps + 1)
	n := int64(max(since, 0)/step) + size // those before the beginning have numbers too
	for from := max(r.newest, n-size); from < n; {
		from++
		r.steps[from%size] = useStatus{}
	}
	r.newest = max(r.newest, n)
	return &r.steps[r.newest%size]
}

func (r *ring) sum(since, step time.Duration) (sum useStatus) {
	r.at(since, step)
	for _, one := range r.steps {
		sum.add(one)
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
	if u.clients != nil {
		for _, name := range u.clients.Keys() {
			found, _ := u.clients.Peek(name)
			if use := (clientUse{name[:min(len(name), shownName)], found.status(since)}); use.LastHour.Calls > 0 {
				s.ByClient = append(s.ByClient, use)
			}
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
