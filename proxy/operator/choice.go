package operator

import (
	"cmp"
	"net/url"
	"slices"
	"strings"
	"time"
)

// A choice is how a viewer sorts the portals, and whose details are open. It is
// the query of the page's address, so it works without JavaScript.
type choice struct {
	column       *column
	isDescending bool
	open         []string // portals
}

// A column of the page. The portals come in with the worst first, and so stay
// among equals.
type column struct {
	key, title string
	compare    func(a, b *portalStatus) int
	mostFirst  bool
	isNumber   bool
}

var columns = []column{
	{key: "portal", title: "Portal", compare: func(a, b *portalStatus) int { return cmp.Compare(a.Portal, b.Portal) }},
	{key: "state", title: "State", compare: func(a, b *portalStatus) int { return worse(*a, *b) }},
	{key: "bucket", title: "Bucket", compare: func(a, b *portalStatus) int { return cmp.Compare(a.fill(), b.fill()) }, mostFirst: true},
	{key: "waiting", title: "Waiting", compare: func(a, b *portalStatus) int { return cmp.Compare(a.Queue.Waiting, b.Queue.Waiting) }, mostFirst: true, isNumber: true},
	{key: "wait", title: "Wait", compare: func(a, b *portalStatus) int { return cmp.Compare(a.Queue.WaitSeconds, b.Queue.WaitSeconds) }, mostFirst: true, isNumber: true},
	{key: "calls", title: "Calls/min", compare: func(a, b *portalStatus) int { return cmp.Compare(a.LastMinute.Calls, b.LastMinute.Calls) }, mostFirst: true, isNumber: true},
	{key: "failed", title: "Failed/min", compare: func(a, b *portalStatus) int { return cmp.Compare(a.LastMinute.Failed, b.LastMinute.Failed) }, mostFirst: true, isNumber: true},
	{key: "error", title: "Last error", compare: func(a, b *portalStatus) int { return a.lastError().Compare(b.lastError()) }, mostFirst: true},
}

const firstColumn = 1 // state: the worst portal is on top

// choiceOf reads a query: sort has the key of a column, with - in front where the
// most comes first, and each open names a portal. What it does not know it leaves
// out.
func choiceOf(query url.Values) choice {
	key, isDescending := strings.CutPrefix(query.Get("sort"), "-")
	i := slices.IndexFunc(columns, func(c column) bool { return c.key == key })
	if i < 0 {
		i, isDescending = firstColumn, false
	}
	return choice{&columns[i], isDescending, query["open"]}
}

// href is the address of the page with this choice.
func (c choice) href() string {
	query := make(url.Values)
	key := c.column.key
	if c.isDescending {
		key = "-" + key
	}
	if key != columns[firstColumn].key {
		query.Set("sort", key)
	}
	if len(c.open) > 0 {
		query["open"] = c.open
	}
	return "?" + query.Encode()
}

// toggled is the choice with a portal's details open, or closed if they were open.
func (c choice) toggled(portal string) choice {
	open := slices.DeleteFunc(slices.Clone(c.open), func(name string) bool { return name == portal })
	if len(open) == len(c.open) {
		open = append(open, portal)
	}
	c.open = open
	return c
}

// by is the choice with another column to sort by, or the other way round.
func (c choice) by(to *column) choice {
	c.column, c.isDescending = to, c.column == to && !c.isDescending || c.column != to && to.mostFirst
	return c
}

// A viewColumn is a heading of the page.
type viewColumn struct {
	Title, Href, Order string
	IsNumber           bool
}

// columns are the headings: each has the choice that a click on it makes.
func (c choice) columns() []viewColumn {
	var all []viewColumn
	for i := range columns {
		to := &columns[i]
		order := "none"
		switch {
		case c.column == to && c.isDescending:
			order = "descending"
		case c.column == to:
			order = "ascending"
		}
		all = append(all, viewColumn{Title: to.title, Href: c.by(to).href(), Order: order, IsNumber: to.isNumber})
	}
	return all
}

// sorted is a copy of the portals in the chosen order.
func (c choice) sorted(portals []portalStatus) []portalStatus {
	all := slices.Clone(portals)
	slices.SortStableFunc(all, func(a, b portalStatus) int {
		if c.isDescending {
			return c.column.compare(&b, &a)
		}
		return c.column.compare(&a, &b)
	})
	return all
}

// fill is how full the bucket is, -1 where there is none.
func (s *portalStatus) fill() float64 {
	if s.Bucket == nil {
		return -1
	}
	return s.Bucket.Level / float64(s.Bucket.Burst)
}

// lastError is when the last error came, zero where none is remembered.
func (s *portalStatus) lastError() (at time.Time) {
	if len(s.Errors.Last) > 0 {
		at = s.Errors.Last[0].At
	}
	return at
}
