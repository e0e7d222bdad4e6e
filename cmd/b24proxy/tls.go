package main

import (
	"context"
	"fmt"
	"log/slog"
	"strings"

	"b24proxy/proxy"
	"b24proxy/proxy/bitrix24"
	"b24proxy/proxy/certs"
)

// tlsFaults lists what does not fit together in the settings for TLS. Each of them may
// have a fault of its own already.
func (s settings) tlsFaults(variables map[string]string) (faults []error) {
	fault := func(name, format string, args ...any) {
		faults = append(faults, fmt.Errorf("%s%s: %s", prefix, name, bitrix24.Redact(fmt.Sprintf(format, args...))))
	}
	has := func(name string) bool { return variables[prefix+name] != "" }
	if s.TLSListen != "" && !strings.HasSuffix(string(s.TLSListen), ":0") {
		switch s.TLSListen {
		case s.Listen:
			fault("TLS_LISTEN", "%s is also %sLISTEN; write another address", s.TLSListen, prefix)
		case s.AdminListen:
			fault("TLS_LISTEN", "%s is also %sADMIN_LISTEN; write another address", s.TLSListen, prefix)
		}
	}
	switch {
	case s.TLSListen != "" && !has("CA_DIR") && !has("TLS_CERT_FILE") && !has("TLS_KEY_FILE"):
		fault("TLS_LISTEN", "there is no certificate for %s; set %sCA_DIR, or %[2]sTLS_CERT_FILE and %[2]sTLS_KEY_FILE", s.TLSListen, prefix)
	case s.TLSCertFile != "" && !has("TLS_KEY_FILE"):
		fault("TLS_KEY_FILE", "set it to the file with the key of %sTLS_CERT_FILE", prefix)
	case s.TLSKeyFile != "" && !has("TLS_CERT_FILE"):
		fault("TLS_CERT_FILE", "set it to the file with the certificate of %sTLS_KEY_FILE", prefix)
	case s.TLSCertFile != "" && s.TLSKeyFile != "":
		if _, err := certs.OpenOwn(string(s.TLSCertFile), string(s.TLSKeyFile), slog.New(slog.DiscardHandler)); err != nil {
			fault("TLS_CERT_FILE", "%v", err)
		}
	}
	return faults
}

// openCertificates opens what the proxy answers with over TLS. The CA is kept renewed
// until ctx ends.
func (s settings) openCertificates(ctx context.Context, config *proxy.Config) error {
	if s.CADir != "" {
		ca, err := s.openCA(config.Log)
		if err != nil {
			return err
		}
		go ca.Renew(ctx)
		config.CA = ca
	}
	if s.TLSCertFile != "" {
		pair, err := certs.OpenOwn(string(s.TLSCertFile), string(s.TLSKeyFile), config.Log)
		if err != nil {
			return fmt.Errorf("%sTLS_CERT_FILE: %w", prefix, err)
		}
		config.Certificate = pair
	}
	return nil
}
