package redisstore

import (
	"errors"
	"fmt"
	"maps"
	"net"
	"net/netip"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// The faults of an address repeat nothing of it: any part may belong to a password
// that is not escaped.
var (
	errForm = errors.New("the value is not the address of a Redis or Valkey server; write redis://HOST:PORT, or rediss://HOST:PORT for TLS, or unix:///PATH of a socket; " +
		"with USER:PASSWORD@ before HOST if the server asks for them, where / is written %2F, ? %3F, # %23, @ %40 and % %25; " +
		"with ?addr=HOST:PORT for each further node of a cluster; with ?master_name=NAME for Sentinels (the value is not shown, because it may hold a password)")
	errDatabase  = errors.New("the database is not a number; write it after the host, such as redis://HOST:PORT/3")
	errClusterDB = errors.New("a cluster has only database 0; leave the database out")
	errOnce      = errors.New("a parameter is there twice; only addr may be")
	errUserinfo  = errors.New("username and password are parameters only beside master_name, for the servers that the Sentinels name; elsewhere write USER:PASSWORD@ before HOST")
	errVerify    = errors.New("skip_verify is a parameter only of rediss://, and not of a cluster")
	errSocket    = errors.New("a socket is one server; addr and master_name are parameters only of redis:// and rediss://")
)

// parameters are those that an address may have, and what each may be. There are no
// time-outs: a limiter.Store has its own bound.
var parameters = map[string]struct {
	form    string
	isValid func(string) bool
}{
	"addr":        {"HOST:PORT", isHostPort},
	"client_name": {"without spaces", regexp.MustCompile(`^[!-~]{1,100}$`).MatchString},
	"db":          {"the number of a database", isDatabase},
	"master_name": {"the name that the Sentinels know, without spaces", regexp.MustCompile(`^[!-~]{1,100}$`).MatchString},
	"password":    {"", func(string) bool { return true }},
	"pool_size":   {"a number from 1 to 1000", regexp.MustCompile(`^([1-9][0-9]{0,2}|1000)$`).MatchString},
	"skip_verify": {"true or false", regexp.MustCompile(`^(true|false)$`).MatchString},
	"username":    {"", func(string) bool { return true }},
}

// readAddress reads an address, and finds what is wrong with it.
func readAddress(text string) (*url.URL, url.Values, error) {
	u, err := url.Parse(text)
	if err != nil || u.Fragment != "" || !isServer(u) && !isSocket(u) {
		return nil, nil, errForm
	}
	query, err := url.ParseQuery(u.RawQuery)
	if err != nil {
		return nil, nil, errForm
	}
	database := strings.Trim(u.Path, "/")
	isCluster := query.Has("addr") && !query.Has("master_name")
	switch {
	case isSocket(u) && (query.Has("addr") || query.Has("master_name")):
		return nil, nil, errSocket
	case isServer(u) && database != "" && !isDatabase(database):
		return nil, nil, errDatabase
	case isCluster && (strings.Trim(database, "0") != "" || query.Has("db")):
		return nil, nil, errClusterDB
	case (query.Has("username") || query.Has("password")) && !query.Has("master_name"):
		return nil, nil, errUserinfo
	case query.Has("skip_verify") && (u.Scheme != "rediss" || isCluster):
		return nil, nil, errVerify
	}
	return u, query, checkParameters(query)
}

func checkParameters(query url.Values) error {
	for name, values := range query {
		parameter, known := parameters[name]
		switch {
		case !known:
			names := slices.Sorted(maps.Keys(parameters))
			return fmt.Errorf("a parameter is not known; the parameters are %s", strings.Join(names, ", "))
		case len(values) > 1 && name != "addr":
			return errOnce
		}
		for _, value := range values {
			if !parameter.isValid(value) {
				return fmt.Errorf("the parameter %s is not %s", name, parameter.form)
			}
		}
	}
	return nil
}

// isServer reports whether an address has a server in the place of one. A password
// that is not escaped may end there.
func isServer(u *url.URL) bool {
	return (u.Scheme == "redis" || u.Scheme == "rediss") && isHost(u.Hostname()) && (u.Port() == "" || isPort(u.Port()))
}

func isSocket(u *url.URL) bool {
	return u.Scheme == "unix" && u.Host == "" && strings.HasPrefix(u.Path, "/") && strings.Trim(u.Path, "/") != ""
}

var hostName = regexp.MustCompile(`^[A-Za-z0-9]([A-Za-z0-9._-]{0,252})$`)

func isHost(s string) bool {
	_, err := netip.ParseAddr(s)
	return err == nil || hostName.MatchString(s)
}

func isPort(s string) bool {
	n, err := strconv.ParseUint(s, 10, 16)
	return err == nil && n > 0
}

func isHostPort(s string) bool {
	host, port, err := net.SplitHostPort(s)
	return err == nil && isHost(host) && isPort(port)
}

func isDatabase(s string) bool {
	_, err := strconv.ParseUint(s, 10, 31)
	return err == nil
}

// secretsIn replaces the users and passwords of a valid address in a text.
func secretsIn(address string) *strings.Replacer {
	var pairs []string
	if u, query, err := readAddress(address); err == nil {
		password, _ := u.User.Password()
		for _, secret := range []string{password, query.Get("password"), u.User.Username(), query.Get("username")} {
			if len(secret) > 2 { // one that is shorter is in every text
				pairs = append(pairs, secret, "...")
			}
		}
	}
	return strings.NewReplacer(pairs...)
}
