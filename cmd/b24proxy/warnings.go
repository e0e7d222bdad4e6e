package main

import (
	"fmt"
	"log/slog"
	"net"
	"strings"
	"time"

	"b24proxy/limiter"
	"b24proxy/proxy"
)

// A setting beyond one of these bounds is probably a mistake.
const (
	longestRequest = 60 * time.Second  // the cloud ends a call after that
	cloudOperating = 480 * time.Second // the cloud blocks a method after that
	smallestBody   = 64 << 10
)

// warnings lists settings that are valid but probably wrong, each with its
// variable.
func (s settings) warnings() []string {
	var w warnings
	s.warnOfPlans(&w)
	s.warnOfAddresses(&w)
	s.warnOfTimes(&w)
	s.warnOfShared(&w)
	w.add(s.MaxBody < smallestBody, "MAX_BODY", "requests of more than %d bytes get 413; write a unit (KiB, MiB, GiB) behind the number if you mean one", s.MaxBody)
	w.add(s.QueueDepth == 0, "QUEUE_DEPTH", "0: no call may wait; each that finds no slot is rejected at once")
	w.add(s.MetricsPortals == 0, "METRICS_PORTALS", "0: every portal counts as other, so dashboards and alerts show no single portal")
	w.add(bool(s.PProf) && isEverywhere(s.AdminListen), "PPROF", "every network could read the profiles: %sADMIN_LISTEN is %s", prefix, s.AdminListen)
	w.add(s.TLSListen == "" && s.TLSCertFile != "", "TLS_CERT_FILE", "has no effect without %sTLS_LISTEN", prefix)
	w.add(s.LogCalls == logAll && slog.Level(s.LogLevel) > slog.LevelInfo, "LOG_CALLS", "all has no effect: these lines have the level info, and %sLOG_LEVEL is higher", prefix)
	return w
}

type warnings []string

func (w *warnings) add(isWrong bool, name, format string, args ...any) {
	if isWrong {
		*w = append(*w, prefix+name+": "+fmt.Sprintf(format, args...))
	}
}

func (s settings) warnOfPlans(w *warnings) {
	w.add(isSwapped(s.Plan), "PLAN", "%v", swapped(s.Plan))
	for _, entry := range s.PortalPlans {
		w.add(isSwapped(plan(entry.Value)), "PORTAL_PLANS", "%v: %v", entry.Pattern, swapped(plan(entry.Value)))
		w.add(!s.serves(entry.Pattern), "PORTAL_PLANS", notServed, entry.Pattern, prefix)
	}
	for _, entry := range s.ConnectTo {
		w.add(!s.serves(entry.Pattern) && !proxy.Listed(s.TunnelHosts, entry.Pattern.String()), "CONNECT_TO", notServed, entry.Pattern, prefix)
	}
	for _, pattern := range s.TunnelHosts {
		example := strings.Replace(pattern.String(), "*", "x", 1)
		w.add(proxy.Listed(s.portals(), example), "TUNNEL_HOSTS", "%v is a portal too: calls in a tunnel to it pass without a limit, and are not counted", pattern)
	}
}

const notServed = "%v is not a portal that may be called; is it spelled right, and listed in %sPORTALS?"

func (s settings) warnOfAddresses(w *warnings) {
	if u := s.Upstream.URL; u != nil {
		w.add(u.Scheme == "http" && proxy.Listed(proxy.CloudPortals(), u.Hostname()), "UPSTREAM", "calls and their secrets would travel unencrypted to a portal of the cloud; write https://%s", u.Hostname())
		w.add(u.Scheme == "http" && u.Port() == "443", "UPSTREAM", "port 443 is the port of https; write https://%s", u.Hostname())
		w.add(u.Scheme == "https" && u.Port() == "80", "UPSTREAM", "port 80 is the port of http; write http://%s, or https:// without the port", u.Hostname())
		w.add(u.Host == string(s.Listen), "UPSTREAM", "%s is the address of the proxy itself: it would call itself", u.Host)
	}
	if u := s.OutboundProxy.URL; u != nil {
		w.add(u.Host == string(s.Listen), "OUTBOUND_PROXY", "%s is the address of this proxy itself: it would call itself", u.Host)
	}
}

func (s settings) warnOfTimes(w *warnings) {
	standard, _, _ := readSettings(nil)
	isStandard := s.DrainTimeout == standard.DrainTimeout && s.UpstreamTimeout == standard.UpstreamTimeout
	w.add(s.DrainTimeout < s.UpstreamTimeout && !isStandard, "DRAIN_TIMEOUT", "%s is shorter than %sUPSTREAM_TIMEOUT (%s): a stop ends calls that the portal would still answer",
		short(s.DrainTimeout), prefix, short(s.UpstreamTimeout))
	w.add(time.Duration(s.UpstreamTimeout) < longestRequest, "UPSTREAM_TIMEOUT", "%s is shorter than the %s that a call may run in the cloud: the proxy would give up on calls that go on running", short(s.UpstreamTimeout), short(longestRequest))
	w.add(s.QueueWait == 0, "QUEUE_WAIT", "0s: no call waits; each that finds no slot is rejected at once")
	w.add(time.Duration(s.OperatingLimit) > cloudOperating, "OPERATING_LIMIT", "%s is more than the %s after which the cloud blocks a method", short(s.OperatingLimit), short(cloudOperating))
}

// isSwapped reports whether a plan's rate is above its burst. No portal has such
// a limit: in one second its counter accepts at most the burst.
func isSwapped(p plan) bool { return p.Rate > float64(p.Burst) }

func swapped(p plan) string {
	return fmt.Sprintf("%v is RATE/BURST, and only %d calls per second pass; do you mean %d/%g?", limiter.Plan(p), p.Burst, p.Burst, p.Rate)
}

// serves reports whether the proxy may call a host that the pattern names. It
// assumes so of a pattern for many hosts.
func (s settings) serves(pattern proxy.HostPattern) bool {
	host := pattern.String()
	if strings.HasPrefix(host, "*") || s.Upstream.URL != nil && proxy.Listed([]proxy.HostPattern{pattern}, s.Upstream.Host) {
		return true
	}
	return proxy.Listed(s.portals(), host)
}

// portals returns the hosts that may be called beside the upstream.
func (s settings) portals() []proxy.HostPattern {
	if len(s.Portals) == 0 {
		return proxy.CloudPortals()
	}
	return s.Portals
}

// isEverywhere reports whether an address stands for every interface.
func isEverywhere(a address) bool {
	ip := net.ParseIP(a.host())
	return a.host() == "" || ip != nil && ip.IsUnspecified()
}
