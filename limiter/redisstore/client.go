package redisstore

import (
	"context"
	"net/url"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"

	"b24proxy/limiter"
)

// Check reports what is wrong with an address that go-redis should read: redis://,
// rediss:// for TLS, or unix:// of one server; with further addr parameters, of a
// cluster; with a master_name parameter, of Sentinels. The error repeats nothing of it.
func Check(address string) error {
	client, err := newClient(address, limiter.SyncBound)
	if err != nil {
		return err
	}
	return client.Close()
}

// silence keeps go-redis from writing a line for each attempt to connect. The Store
// logs what becomes of them.
var silence = sync.OnceFunc(func() { redis.SetLogger(silent{}) })

type silent struct{}

func (silent) Printf(context.Context, string, ...any) {}

// connectBound is how long it may take to connect. To find the address of a name and to
// begin with TLS may well take longer than a request, and nobody waits for it.
const connectBound = 500 * time.Millisecond

// newClient makes a client that connects when it is first used. The context of a request
// bounds it. A request is made once: a script that was cut off may have run.
func newClient(address string, bound time.Duration) (redis.UniversalClient, error) {
	silence()
	u, query, err := readAddress(address)
	if err != nil {
		return nil, err
	}
	for _, timeout := range []string{"dial_timeout", "read_timeout", "write_timeout", "pool_timeout"} {
		query.Set(timeout, max(bound, connectBound).String())
	}
	query.Set("max_retries", "-1")
	query.Set("protocol", "2")
	u.RawQuery = query.Encode()
	client, err := parse(u.String(), query)
	if err != nil {
		return nil, errForm // its error may repeat a password
	}
	return client, nil
}

func parse(address string, query url.Values) (redis.UniversalClient, error) {
	switch {
	case query.Has("master_name"):
		o, err := redis.ParseFailoverURL(address)
		if err != nil {
			return nil, err
		}
		o.DialerRetries, o.ContextTimeoutEnabled, o.DisableIdentity = 1, true, true
		return redis.NewFailoverClient(o), nil
	case query.Has("addr"):
		o, err := redis.ParseClusterURL(address)
		if err != nil {
			return nil, err
		}
		o.DialerRetries, o.ContextTimeoutEnabled, o.DisableIdentity = 1, true, true
		return redis.NewClusterClient(o), nil
	}
	o, err := redis.ParseURL(address)
	if err != nil {
		return nil, err
	}
	o.DialerRetries, o.ContextTimeoutEnabled, o.DisableIdentity = 1, true, true
	return redis.NewClient(o), nil
}
