package redisstore

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"b24proxy/limiter"
	"b24proxy/limiter/storetest"
)

// shares checks that two replicas share all that they should at an address.
func shares(t *testing.T, address string) (a, b *Store) {
	t.Helper()
	a, b = mustOpen(t, Config{URL: address, Egress: "e"}), mustOpen(t, Config{URL: address, Egress: "e"})
	eventually(t, "they know of each other", func() bool {
		_, err := a.Sync(limiter.Report{Upstream: "another.example", Plan: limiter.Standard}) // the store is not new any more
		return err == nil && a.State().Replicas == 2 && b.State().Replicas == 2
	})
	for i := range 10 { // portals, on all nodes of a cluster
		r := limiter.Report{Upstream: fmt.Sprintf("portal%d.example", i), Plan: limiter.Plan{Rate: 0.01, Burst: 50}, Want: 30}
		first, err1 := a.Sync(r)
		second, err2 := b.Sync(r)
		if err1 != nil || err2 != nil || first.Granted != 30 || second.Granted != 19 {
			t.Errorf("%s: got %d and %d slots, %v and %v, want 30 and 19", r.Upstream, first.Granted, second.Granted, err1, err2)
		}
	}
	var heard, late listener
	a.Hear(func([]byte, time.Duration) {})
	b.Hear(heard.hear)
	eventually(t, "the other hears the news", func() bool {
		a.Publish("subject", []byte("news"), time.Minute)
		return heard.has("news")
	})
	mustOpen(t, Config{URL: address, Egress: "e"}).Hear(late.hear)
	eventually(t, "a third hears them later", func() bool { return late.has("news") })
	return a, b
}

// version7 skips a test where redis-server is older, or is not installed.
func version7(t *testing.T) {
	t.Helper()
	text, _ := exec.Command("redis-server", "--version").Output()
	version := regexp.MustCompile(`v=(\d+)`).FindSubmatch(text)
	if version == nil {
		storetest.StartRedis(t) // which skips the test or fails it
		return
	}
	if n, _ := strconv.Atoi(string(version[1])); n < 7 {
		t.Skip("redis-server 7 is not installed")
	}
}

// Replicas share the limit over TLS, with a server whose certificate the system trusts,
// and not with another.
func TestTLS(t *testing.T) {
	if text, _ := exec.Command("redis-server", "--port", "0", "--tls-port", "x").CombinedOutput(); strings.Contains(string(text), "Bad directive") {
		t.Skip("redis-server was built without TLS")
	}
	trusted, untrusted := t.TempDir(), t.TempDir()
	certificate(t, trusted)
	certificate(t, untrusted)
	t.Setenv("SSL_CERT_FILE", filepath.Join(trusted, "cert.pem")) // is read once, when a certificate is first checked
	start := func(dir string) string {
		_, port, _ := net.SplitHostPort(storetest.FreeAddress(t))
		storetest.StartRedis(t, "--tls-port", port, "--tls-auth-clients", "no", "--tls-cert-file", filepath.Join(dir, "cert.pem"),
			"--tls-key-file", filepath.Join(dir, "key.pem"), "--tls-ca-cert-file", filepath.Join(dir, "cert.pem"))
		return "rediss://localhost:" + port
	}
	shares(t, start(trusted))
	var log logbook
	address := start(untrusted)
	s := mustOpen(t, Config{URL: address, Egress: "e", Log: log.log()})
	if s.State().Up || !log.has("certificate") {
		t.Errorf("got %+v and the log %s, want that the certificate is not trusted", s.State(), &log.text)
	}
	if s := mustOpen(t, Config{URL: address + "?skip_verify=true", Egress: "e"}); !s.State().Up {
		t.Errorf("got %+v, want that the certificate is not checked", s.State())
	}
}

// certificate writes a certificate for localhost, and its key.
func certificate(t *testing.T, dir string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		DNSNames: []string{"localhost"}, IsCA: true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	for name, block := range map[string]*pem.Block{"cert.pem": {Type: "CERTIFICATE", Bytes: der}, "key.pem": {Type: "PRIVATE KEY", Bytes: private}} {
		if err := os.WriteFile(filepath.Join(dir, name), pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

// Replicas share the limit on a cluster of three masters, whatever node they ask first.
func TestCluster(t *testing.T) {
	version7(t)
	var nodes []*storetest.Redis
	query := make(url.Values)
	for i := range 3 {
		_, bus, _ := net.SplitHostPort(storetest.FreeAddress(t))
		node := storetest.StartRedis(t, "--cluster-enabled", "yes", "--cluster-port", bus)
		node.Do(t, "cluster", "addslotsrange", fmt.Sprint(16384*i/3), fmt.Sprint(16384*(i+1)/3-1))
		if i > 0 {
			host, port, _ := net.SplitHostPort(strings.TrimPrefix(node.URL, "redis://"))
			nodes[0].Do(t, "cluster", "meet", host, port, bus)
			query.Add("addr", net.JoinHostPort(host, port))
		}
		nodes = append(nodes, node)
	}
	for _, node := range nodes {
		eventually(t, "the nodes know of each other", func() bool {
			return strings.Contains(node.Do(t, "cluster", "info"), "cluster_state:ok") && strings.Count(node.Do(t, "cluster", "nodes"), "connected") == 3
		})
	}
	shares(t, nodes[0].URL+"?"+query.Encode())
}

// When a master fails and a Sentinel puts its replica in its place, the replicas of the
// proxy go on there, and nobody gets a burst that was used before.
func TestSentinel(t *testing.T) {
	master := storetest.StartRedis(t)
	host, port, _ := net.SplitHostPort(strings.TrimPrefix(master.URL, "redis://"))
	standby := storetest.StartRedis(t, "--replicaof", host, port)
	eventually(t, "the standby has what the master has", func() bool { return strings.Contains(standby.Do(t, "info", "replication"), "master_link_status:up") })
	_, sentinelPort, _ := net.SplitHostPort(storetest.FreeAddress(t))
	file := filepath.Join(t.TempDir(), "sentinel.conf")
	text := fmt.Sprintf("port %s\nbind 127.0.0.1\nsentinel monitor portals %s %s 1\nsentinel down-after-milliseconds portals 500\nsentinel failover-timeout portals 5000\n", sentinelPort, host, port)
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	sentinel := exec.Command("redis-server", file, "--sentinel")
	if err := sentinel.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		sentinel.Process.Kill()
		sentinel.Wait()
	})
	address := "redis://127.0.0.1:" + sentinelPort
	eventually(t, "the Sentinel knows of the standby", func() bool {
		client, err := newClient(address, patience)
		if err != nil {
			t.Fatal(err)
		}
		defer client.Close()
		known, err := client.Do(t.Context(), "sentinel", "replicas", "portals").Slice()
		return err == nil && len(known) == 1
	})
	a, b := shares(t, address+"?master_name=portals")
	master.Kill()
	for _, s := range []*Store{a, b} {
		eventually(t, "a replica goes on with the standby", func() bool {
			reply, err := s.Sync(limiter.Report{Upstream: "portal0.example", Plan: limiter.Plan{Rate: 0.01, Burst: 50}, Want: 30})
			if err == nil && reply.Granted > 0 {
				t.Errorf("got %d slots, want none: they are used up", reply.Granted)
			}
			return err == nil
		})
	}
}
