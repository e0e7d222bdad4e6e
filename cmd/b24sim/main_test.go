package main

import (
	"bufio"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"flag"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"b24proxy/proxy/b24sim"
)

// start runs b24sim on free ports and returns both addresses, and a function
// that stops it and returns its error.
func start(t *testing.T, args ...string) (portal, management string, stop func() error) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	read, write := io.Pipe()
	ended := make(chan error, 1)
	go func() {
		err := run(ctx, append(args, "-listen", "127.0.0.1:0", "-manage", "127.0.0.1:0"), write, io.Discard)
		write.CloseWithError(err)
		ended <- err
	}()
	t.Cleanup(cancel)
	lines := bufio.NewScanner(read)
	for _, to := range []*string{&portal, &management} {
		if !lines.Scan() {
			t.Fatalf("got no line with an address (%v), want two", lines.Err())
		}
		_, *to, _ = strings.Cut(lines.Text(), " ")
	}
	return portal, management, func() error {
		cancel()
		return <-ended
	}
}

// fetch makes a GET request.
func fetch(t *testing.T, client *http.Client, address string) (int, string) {
	t.Helper()
	res, err := client.Get(address)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return res.StatusCode, string(body)
}

// The command prints the addresses it listens on, serves the portal with its
// flags and the management there, and ends without an error.
func TestServe(t *testing.T) {
	portal, management, stop := start(t, "-plan", "1/2", "-fault", "crm.deal.add:html", "-v")
	if !strings.HasPrefix(portal, "http://127.0.0.1:") || strings.HasSuffix(portal, ":0") {
		t.Errorf("got the portal's address %s, want one on 127.0.0.1 with its real port", portal)
	}
	if status, body := fetch(t, http.DefaultClient, portal+"/rest/1/invented-code/crm.deal.add"); status != 502 {
		t.Errorf("got %d %s, want 502 from the fault", status, body)
	}
	if status, body := fetch(t, http.DefaultClient, management+"/stats"); status != 200 || !strings.Contains(body, `"arrived": 1`) {
		t.Errorf("got %d %s, want 200 and one call that arrived", status, body)
	}
	if err := stop(); err != nil {
		t.Errorf("got the error %v at the end, want none", err)
	}
}

// A slow call does not keep the command from ending, and still gets its answer.
func TestStopWithOpenCall(t *testing.T) {
	portal, management, stop := start(t, "-fault", "*:slow=10h")
	answered := make(chan int, 1)
	go func() {
		res, err := http.Get(portal + "/rest/1/invented-code/profile")
		if err != nil {
			answered <- 0
			return
		}
		res.Body.Close()
		answered <- res.StatusCode
	}()
	for { // each turn is a round trip
		if _, body := fetch(t, http.DefaultClient, management+"/stats"); strings.Contains(body, `"profile": 1`) {
			break
		}
	}
	if err := stop(); err != nil {
		t.Errorf("got the error %v at the end, want none", err)
	}
	if status := <-answered; status != 200 {
		t.Errorf("the open call: got %d, want 200", status)
	}
}

// With a certificate the portal speaks TLS.
func TestTLS(t *testing.T) {
	cert, key, pool := certificate(t)
	portal, _, stop := start(t, "-tls-cert", cert, "-tls-key", key)
	client := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool}}}
	defer client.CloseIdleConnections()
	if status, body := fetch(t, client, portal+"/rest/1/invented-code/profile"); status != 200 || !strings.HasPrefix(portal, "https://") {
		t.Errorf("got %d %s from %s, want 200 over https", status, body, portal)
	}
	if err := stop(); err != nil {
		t.Errorf("got the error %v at the end, want none", err)
	}
}

// A wrong command line is refused with an error that says what is allowed.
func TestWrongFlags(t *testing.T) {
	for args, want := range map[string]string{
		"-plan gold":                        "standard, enterprise, unlimited or RATE/BURST",
		"-fault *:odd":                      "want one of html",
		"-fault crm.deal.add":               "METHOD:KIND",
		"-speed 0.0001":                     "0.001 to 100000",
		"-jitter -1s":                       "0 or more",
		"-jitter 5":                         "has no unit: write 5ms or 5s",
		"-latency soon":                     "such as 60ms",
		"-operating-limit 480":              "write 480ms or 480s",
		"-operating sometimes":              "none, documented or banning",
		"-operating-batch both":             "inner or outer",
		"-charge crm.item.list":             "METHOD=DURATION",
		"-tls-cert a.pem":                   "both or none",
		"-unknown-token odd":                "NO_AUTH_FOUND",
		"-renamed-to new.example.com":       "https://",
		"-nonsense":                         "nonsense",
		"extra":                             "flags only",
		"-listen 127.0.0.1:none":            "none",
		"-tls-cert none.pem -tls-key n.pem": "none.pem",
	} {
		t.Run(args+" is refused", func(t *testing.T) {
			all := append([]string{"-listen", "127.0.0.1:0", "-manage", "127.0.0.1:0"}, strings.Fields(args)...)
			if err := run(t.Context(), all, io.Discard, io.Discard); err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("got the error %v, want %q in it", err, want)
			}
		})
	}
}

// -help lists the flags and the kinds of faults on standard output.
func TestHelp(t *testing.T) {
	var out strings.Builder
	if err := run(t.Context(), []string{"-help"}, &out, io.Discard); !errors.Is(err, flag.ErrHelp) {
		t.Errorf("got the error %v, want flag.ErrHelp", err)
	}
	for _, want := range append(b24sim.Kinds(), "-refused-count", "first=N") {
		if !strings.Contains(out.String(), want) {
			t.Errorf("got the help\n%s\nwant %s in it", out.String(), want)
		}
	}
}

// certificate writes the certificate of net/http/httptest, which is valid for
// 127.0.0.1, and its key to files.
func certificate(t *testing.T) (certFile, keyFile string, pool *x509.CertPool) {
	t.Helper()
	server := httptest.NewTLSServer(nil)
	defer server.Close()
	key, err := x509.MarshalPKCS8PrivateKey(server.TLS.Certificates[0].PrivateKey)
	if err != nil {
		t.Fatal(err)
	}
	write := func(name, kind string, der []byte) string {
		path := filepath.Join(t.TempDir(), name)
		if err := os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	pool = x509.NewCertPool()
	pool.AddCert(server.Certificate())
	return write("cert.pem", "CERTIFICATE", server.Certificate().Raw), write("key.pem", "PRIVATE KEY", key), pool
}
