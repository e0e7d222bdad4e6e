package main

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net"
	"net/netip"
	"strings"

	"b24proxy/proxy/certs"
)

// openCA opens the CA of the settings, and makes it if there is none.
func (s settings) openCA(log *slog.Logger) (*certs.CA, error) {
	ca, err := certs.Open(string(s.CADir), s.certNames(), log)
	if err != nil {
		return nil, fmt.Errorf("%sCA_DIR: %w", prefix, err)
	}
	return ca, nil
}

// printRoot writes the certificate that clients must trust. Where there is a CA,
// it only reads that, because another user than the proxy's may print it.
func (s settings) printRoot(w io.Writer, log *slog.Logger) error {
	if s.CADir == "" {
		return fmt.Errorf("%sCA_DIR is not set, so there is no CA; set it to the folder of the CA", prefix)
	}
	root, err := certs.ReadRoot(string(s.CADir))
	if errors.Is(err, fs.ErrNotExist) {
		ca, err := s.openCA(log)
		if err != nil {
			return err
		}
		root = ca.RootPEM()
	} else if err != nil {
		return fmt.Errorf("%sCA_DIR: %w", prefix, err)
	}
	_, err = w.Write(root)
	return err
}

// certNames returns the hosts that the CA signs for: the portals, and the names
// that the proxy itself has on this machine.
func (s settings) certNames() certs.Names {
	names := certs.Names{Hosts: []string{"localhost"}}
	for _, pattern := range s.portals() {
		if zone, is := strings.CutPrefix(pattern.String(), "*."); is {
			names.Zones = append(names.Zones, hostOf(zone))
		} else {
			names.Hosts = append(names.Hosts, hostOf(pattern.String()))
		}
	}
	others := []string{s.Listen.host(), s.TLSListen.host()}
	if s.Upstream.URL != nil {
		others = append(others, s.Upstream.Hostname())
	}
	for _, host := range others {
		if _, err := netip.ParseAddr(host); err != nil && host != "" { // for an address there is nothing to sign
			names.Hosts = append(names.Hosts, strings.ToLower(host))
		}
	}
	return names
}

// hostOf removes the port of a host, if it has one.
func hostOf(host string) string {
	if name, _, err := net.SplitHostPort(host); err == nil {
		return name
	}
	return host
}
