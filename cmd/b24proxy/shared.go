package main

import (
	"fmt"
	"net/netip"
	"net/url"
	"regexp"

	"b24proxy/limiter"
	"b24proxy/limiter/redisstore"
	"b24proxy/proxy"
	"b24proxy/proxy/bitrix24"
)

// The store that replicas share.
type (
	redisURL struct{ *url.URL }
	egressID string
)

func (r *redisURL) UnmarshalText(text []byte) (err error) {
	if err := redisstore.Check(string(text)); err != nil {
		return err
	}
	r.URL, err = url.Parse(string(text))
	return err
}

// plainID matches what may be part of a key in the store: braces and | end the part
// that is the id.
var plainID = regexp.MustCompile(`^[A-Za-z0-9._-]{1,64}$`)

func (e *egressID) UnmarshalText(text []byte) error {
	if !plainID.Match(text) {
		return fmt.Errorf("%q is not 1 to 64 letters (a to z), digits, dashes, dots or underscores, such as office-1", text)
	}
	*e = egressID(text)
	return nil
}

// sharesLimits reports whether this proxy shares its limits with other replicas.
// One that only observes has nothing to share, since its calls are not held.
func (s settings) sharesLimits() bool { return s.RedisURL.URL != nil && s.Mode != modeObserve }

// openShared opens the store that the replicas share, if the settings name one. The
// store need not be there yet.
func (s settings) openShared(config *proxy.Config) (end func(), err error) {
	if !s.sharesLimits() {
		return func() {}, nil
	}
	log := config.Log.With("store", s.RedisURL, "egress_id", string(s.EgressID))
	c := redisstore.Config{URL: s.RedisURL.URL.String(), Egress: string(s.EgressID), Log: log, Key: bitrix24.UseIDKey}
	if config.StateFile != nil {
		c.OwnKey = config.StateFile.Key()
	}
	store, err := redisstore.Open(c)
	if err != nil {
		return nil, fmt.Errorf("%sREDIS_URL: %w", prefix, err)
	}
	if state := store.State(); state.Up {
		log.Info("limits are shared with the replicas that have the same store and egress id", "replicas", state.Replicas)
	}
	config.Shared = store
	return func() { store.Close() }, nil
}

func (s settings) warnOfShared(w *warnings) {
	if s.RedisURL.URL == nil {
		w.add(s.EgressID != "default", "EGRESS_ID", "has no effect without %sREDIS_URL: this proxy shares its limits with no other", prefix)
		return
	}
	if !s.sharesLimits() {
		w.add(true, "REDIS_URL", "has no effect with %sMODE=observe: each replica counts by itself what would have waited or been refused", prefix)
		return
	}
	s.RedisURL.warn(w)
	w.add(s.isUnlimited(), "REDIS_URL", "no portal has a limit to share, since %sPLAN is unlimited", prefix)
	w.add(s.InFlight > 0, "IN_FLIGHT", "is not shared: each replica may have %d calls under way per portal", s.InFlight)
}

func (r redisURL) warn(w *warnings) {
	query := r.Query()
	_, hasPassword := r.User.Password()
	ip, err := netip.ParseAddr(r.Hostname())
	isPublic := err == nil && !ip.IsPrivate() && !ip.IsLoopback() && !ip.IsLinkLocalUnicast() && !carrierNAT.Contains(ip)
	w.add(r.Scheme == "redis" && isPublic, "REDIS_URL", "what the replicas share, and the password if there is one, would travel unencrypted to %v; write rediss:// if the server speaks TLS", ip)
	w.add(query.Get("skip_verify") == "true", "REDIS_URL", "with skip_verify=true whoever can answer in place of the server reads the password")
	w.add(r.User.Username() != "" && !hasPassword, "REDIS_URL", "a user without a password is not sent; write : before it if it is the password")
	w.add(query.Has("master_name") && hasPassword && !query.Has("password"), "REDIS_URL", "the password before the host is that of the Sentinels; write &password= too if the servers that they name have one")
}

// carrierNAT has addresses that are not public (RFC 6598).
var carrierNAT = netip.MustParsePrefix("100.64.0.0/10")

// isUnlimited reports whether no portal has a limit.
func (s settings) isUnlimited() bool {
	unlimited := limiter.Plan(s.Plan).Unlimited()
	for _, entry := range s.PortalPlans {
		unlimited = unlimited && entry.Value.Unlimited()
	}
	return unlimited
}
