package proxy

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"net"
	"net/netip"
	"strings"
	"testing"
)

// Addresses that cannot be a cloud portal's are distinguished from public ones, also
// within IPv6.
func TestIsPublic(t *testing.T) {
	for address, want := range map[string]bool{
		"8.8.8.8": true, "100.63.255.255": true, "100.128.0.1": true, "172.15.0.1": true, "172.32.0.1": true,
		"::ffff:8.8.8.8": true, "64:ff9b::808:808": true, "2a00:1450::1": true, "2606:4700::1": true,

		"127.0.0.1": false, "127.255.0.1": false, "0.0.0.0": false, "0.1.2.3": false, "10.255.255.1": false,
		"172.16.0.1": false, "172.31.255.1": false, "192.168.1.1": false, "169.254.169.254": false,
		"100.64.0.1": false, "100.127.0.1": false, "198.18.0.1": false, "192.0.2.1": false,
		"224.0.0.1": false, "255.255.255.255": false,
		"::": false, "::1": false, "::ffff:127.0.0.1": false, "::127.0.0.1": false, "fe80::1": false, "fe80::1%eth0": false,
		"fd00::1": false, "fec0::1": false, "ff02::1": false, "2001:db8::1": false, "2002:7f00:1::1": false, "2001::1": false,
		"64:ff9b::7f00:1": false, "64:ff9b::a00:1": false, "64:ff9b:1::808:808": false,
	} {
		if got := isPublic(netip.MustParseAddr(address)); got != want {
			t.Errorf("%s: got public %v, want %v", address, got, want)
		}
	}
}

// A public address may be dialled, and no other one. What is not an address with a port
// may not be dialled either.
func TestOnlyPublic(t *testing.T) {
	for address, want := range map[string]error{
		"8.8.8.8:443": nil, "[2a00:1450::1]:8443": nil,
		"127.0.0.1:443": errNotPublic, "[::1]:443": errNotPublic, "8.8.8.8": errNotPublic, "acme.bitrix24.com:443": errNotPublic, "": errNotPublic,
	} {
		if got := onlyPublic(address); !errors.Is(got, want) {
			t.Errorf("%q: got the error %v, want %v", address, got, want)
		}
	}
}

// A name that only a pattern allows is not connected to an address of this machine,
// whether or not something listens there. A name in the settings is.
func TestCloudNameWithPrivateAddressIsNotDialled(t *testing.T) {
	resolveToLoopback(t)
	listener := must(net.Listen("tcp", "127.0.0.1:0"))
	defer listener.Close()
	go closeAll(listener)
	open := ":" + portOf(listener.Addr().String())
	const closed = ":1"
	for name, c := range map[string]struct {
		edit    func(*Config)
		port    string
		dialled bool
	}{
		"a star allows it":      {func(c *Config) { c.Portals = patterns("*.bitrix24.com" + open) }, open, false},
		"nothing listens there": {func(c *Config) { c.Portals = patterns("*.bitrix24.com" + closed) }, closed, false},
		"another name is exact": {func(c *Config) { c.Portals = patterns("*.bitrix24.com"+open, "box.bitrix24.com") }, open, false},
		"another name has a substitute": {func(c *Config) {
			c.Portals, c.ConnectTo = patterns("*.bitrix24.com"+open), HostMap[string]{{patterns("box.bitrix24.com")[0], "127.0.0.1" + open}}
		}, open, false},
		"the list names it":  {func(c *Config) { c.Portals = patterns("*.bitrix24.com", "acme.bitrix24.com"+open) }, open, true},
		"it is the upstream": {func(c *Config) { c.Upstream = mustURL("https://acme.bitrix24.com" + open) }, open, true},
		"it has a substitute with a name": {func(c *Config) {
			c.Portals, c.ConnectTo = patterns("*.bitrix24.com"+open), HostMap[string]{{patterns("*.bitrix24.com" + open)[0], "box.example.org" + open}}
		}, open, true},
		"the outbound proxy is there": {func(c *Config) {
			c.Portals, c.OutboundProxy = patterns("*.bitrix24.com"+open), mustURL("http://proxy.example.org"+open)
		}, open, true},
	} {
		t.Run(name, func(t *testing.T) {
			var log bytes.Buffer
			p := newProxy(t, func(config *Config) {
				config.Upstream = nil
				c.edit(config)
				jsonLog(&log, slog.LevelInfo)(config)
			})
			e := errorOf(t, p.call("POST", deal, "{}", "B24-Portal", "acme.bitrix24.com"+c.port))
			if e.Error != "PORTAL_UNREACHABLE" || e.Proxy.Executed != "no" {
				t.Errorf("got %+v, want PORTAL_UNREACHABLE, executed no", e)
			}
			refused := e.Description == "The portal could not be reached: "+errNotPublic.Error()
			if refused == c.dialled || refused != strings.Contains(log.String(), errNotPublic.Error()+" (dial 127.0.0.1"+c.port+")") {
				t.Errorf("got %q, want the dial to be refused: %v; the log has %s", e.Description, !c.dialled, &log)
			}
		})
	}
}

// closeAll closes each connection at once.
func closeAll(listener net.Listener) {
	for conn, err := listener.Accept(); err == nil; conn, err = listener.Accept() {
		conn.Close()
	}
}

// resolveToLoopback has every name resolve to 127.0.0.1 while a test runs.
func resolveToLoopback(t *testing.T) {
	t.Helper()
	before := net.DefaultResolver
	t.Cleanup(func() { net.DefaultResolver = before })
	net.DefaultResolver = &net.Resolver{PreferGo: true, Dial: func(context.Context, string, string) (net.Conn, error) {
		near, far := net.Pipe()
		go answerName(far)
		return near, nil
	}}
}

// answerName answers one question of DNS, as over TCP: A with 127.0.0.1, another
// type with nothing.
func answerName(conn net.Conn) {
	defer conn.Close()
	message := make([]byte, 2+512)
	n, err := conn.Read(message)
	if err != nil {
		return
	}
	message = message[2:n]
	end := 12 + bytes.IndexByte(message[12:], 0) + 5 // of the question
	isA := message[end-3] == 1
	message = message[:end]
	message[2], message[3] = 0x81, 0x80
	copy(message[6:12], make([]byte, 6))
	if isA {
		message[7] = 1
		message = append(message, 0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 1, 0, 4, 127, 0, 0, 1)
	}
	conn.Write(append([]byte{0, byte(len(message))}, message...))
}
