package main

import (
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/url"
	"strings"
)

// The addresses of the outbound proxy and of the shared store may have passwords.
// However the settings are printed, they do not show.

// String returns the address with xxxxx in place of the password.
func (p httpProxy) String() string {
	if p.URL == nil {
		return ""
	}
	return p.URL.Redacted()
}

func (p httpProxy) Format(s fmt.State, _ rune) { io.WriteString(s, p.String()) }
func (p httpProxy) LogValue() slog.Value       { return slog.StringValue(p.String()) }

// String returns where the store is, without users and passwords.
func (r redisURL) String() string {
	if r.URL == nil {
		return ""
	}
	shown := url.URL{Scheme: r.Scheme, Host: r.Host, Path: r.Path}
	return strings.Join(append([]string{shown.String()}, r.Query()["addr"]...), ",")
}

func (r redisURL) Format(s fmt.State, _ rune) { io.WriteString(s, r.String()) }

// MarshalJSON hides the query too, which encoding/json would show.
func (r redisURL) MarshalJSON() ([]byte, error) { return json.Marshal(r.String()) }
