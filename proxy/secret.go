package proxy

import (
	"cmp"
	"fmt"
	"io"
	"log/slog"

	"b24proxy/metrics"
)

// These types hold webhook codes, tokens, passwords or what clients sent. However one
// of them is printed, by fmt with any verb, by slog or by a panic, it shows only what
// may stand in a log. A struct that holds one of them as a value is one of them too,
// because fmt does not call the methods of its fields.

// String returns the portal and the method.
func (r route) String() string {
	return cmp.Or(r.portal, metrics.None) + " " + r.call.String()
}

// String returns the id of the request, and its route.
func (ex *exchange) String() string { return ex.id + " " + ex.route.String() }

// String returns the size.
func (b *body) String() string { return fmt.Sprintf("%d bytes", b.size) }

// String returns the id of the request, and its route.
func (fb *feedback) String() string { return fb.call.RequestID + " " + fb.route.String() }

// String returns a name for all of them.
func (h *head) String() string { return "the head of a request" }

// String returns the host that the client asked for.
func (c *tunnelConn) String() string { return "a tunnel to " + c.host }

// String returns a name for all of them.
func (c *earlyConn) String() string { return "a connection" }

// String returns what the log of the start says.
func (c Config) String() string { return fmt.Sprintf("%s, clients: %v", c.mode(), c.Clients) }

// String returns the method.
func (r *rider) String() string { return r.read.String() }

// String returns why the read is sent alone, if it is.
func (r ride) String() string { return "a ride " + string(r.alone) }

// String returns the number of reads.
func (b *joinedBatch) String() string { return fmt.Sprintf("a batch of %d", len(b.riders)) }

// String returns the size.
func (a *joinedAnswer) String() string { return fmt.Sprintf("%d bytes", len(a.body)) }

func (r route) Format(s fmt.State, _ rune)      { io.WriteString(s, r.String()) }
func (ex *exchange) Format(s fmt.State, _ rune) { io.WriteString(s, ex.String()) }
func (b *body) Format(s fmt.State, _ rune)      { io.WriteString(s, b.String()) }
func (fb *feedback) Format(s fmt.State, _ rune) { io.WriteString(s, fb.String()) }
func (h *head) Format(s fmt.State, _ rune)      { io.WriteString(s, h.String()) }

func (r ride) Format(s fmt.State, _ rune)          { io.WriteString(s, r.String()) }
func (b *joinedBatch) Format(s fmt.State, _ rune)  { io.WriteString(s, b.String()) }
func (r *rider) Format(s fmt.State, _ rune)        { io.WriteString(s, r.String()) }
func (a *joinedAnswer) Format(s fmt.State, _ rune) { io.WriteString(s, a.String()) }

func (r route) LogValue() slog.Value         { return slog.StringValue(r.String()) }
func (ex *exchange) LogValue() slog.Value    { return slog.StringValue(ex.String()) }
func (b *body) LogValue() slog.Value         { return slog.StringValue(b.String()) }
func (fb *feedback) LogValue() slog.Value    { return slog.StringValue(fb.String()) }
func (h *head) LogValue() slog.Value         { return slog.StringValue(h.String()) }
func (r ride) LogValue() slog.Value          { return slog.StringValue(r.String()) }
func (b *joinedBatch) LogValue() slog.Value  { return slog.StringValue(b.String()) }
func (r *rider) LogValue() slog.Value        { return slog.StringValue(r.String()) }
func (a *joinedAnswer) LogValue() slog.Value { return slog.StringValue(a.String()) }
func (c Config) LogValue() slog.Value        { return slog.StringValue(c.String()) }

func (c *tunnelConn) Format(s fmt.State, _ rune) { io.WriteString(s, c.String()) }
func (c *earlyConn) Format(s fmt.State, _ rune)  { io.WriteString(s, c.String()) }
func (c *tunnelConn) LogValue() slog.Value       { return slog.StringValue(c.String()) }
func (c *earlyConn) LogValue() slog.Value        { return slog.StringValue(c.String()) }
