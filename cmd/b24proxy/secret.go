package main

import (
	"fmt"
	"io"
	"log/slog"
)

// The address of the outbound proxy may have a password. However the settings are
// printed, it does not show.

// String returns the address with xxxxx in place of the password.
func (p httpProxy) String() string {
	if p.URL == nil {
		return ""
	}
	return p.URL.Redacted()
}

func (p httpProxy) Format(s fmt.State, _ rune) { io.WriteString(s, p.String()) }
func (p httpProxy) LogValue() slog.Value       { return slog.StringValue(p.String()) }
