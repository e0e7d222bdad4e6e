// Package b24sim is a simulated Bitrix24 portal: its REST API as callers see it,
// its limits, and its failures on demand. It is an [http.Handler] for tests, and
// cmd/b24sim serves it to any client, so that an integration can be tried without
// a portal, and with failures that a portal has once a year.
//
// # What it is
//
// Portal counts requests as documented: each one below /rest/ adds 1. Above
// Config.Burst it is refused with 503 QUERY_LIMIT_EXCEEDED. Once a second, at a
// phase that callers cannot know, the counter falls by Config.Rate. What is not
// documented is an option: whether refused requests count (RefusedCount), how
// late calls arrive (Jitter), whether addresses share a counter (PerAddress).
// Spend plays another program behind the same address.
//
// It answers webhooks and OAuth calls of both versions of the API, with
// parameters in the query, JSON, a form or multipart, in JSON or XML. It has the
// batch of both versions, /oauth/token, signed files and the 302 of a renamed
// portal. It knows every documented method: lists have pages of 50 rows with next
// and total; get, add, update, delete and fields have the usual forms; some
// methods (profile, app.info, server.time, ...) have their own answers. A method
// that is not documented is not found. REST 3.0 writes honour Idempotency-Key.
//
// It reads parameters as PHP does, bounds and oddities included, and a command of a v2
// batch as the portal does: parse_url, parse_str, references to earlier answers such as
// $result[a][ID], then the filter of input, if Config.Filter switches it on. With
// Config.Echo a read answers with its parameters as they were understood, so that a test
// can compare two ways to send them.
//
// The limit on operating time (Config.Operating) exists as in both generations of
// the server, with both ways to charge a batch. Config.Operating.Charge adds
// operating time, so that a test need not wait for it.
//
// A Fault makes calls fail: with every system error, with the status that the
// server sends or the documented one; with pages that are not the API, answers
// that break off or are damaged, connections that are reset before or after the
// method ran, and slow answers. ParseFault explains how to write one.
//
// # What happened
//
// The portal keeps a log (Calls) and counts what ran (Ran), so that a test can
// ask whether a write that failed for its caller ran once, twice or never: put a
// marker into the body and look for it. A call whose request arrived completely
// runs, even if its caller has left. The answer of a fault does not say whether
// the call ran; Call.Ran does. Management serves all of this over HTTP, with
// secrets masked.
//
// # Time
//
// Durations are virtual: Config.Speed virtual seconds pass in a real one. The
// portal never ticks by itself: it reads the clock when a call arrives, and
// sleeps only for Jitter, Latency and slow faults. So it works in a
// testing/synctest bubble if New is called inside. The instants in answers
// (start, finish, operating_reset_at) are on the real clock, as the caller sees
// it; operating is in virtual seconds.
//
// With the same Config.Seed, the same calls in the same order get the same phase,
// delays and faults.
//
// # What it is not
//
// It keeps no data: a new item is not in the next list. It ignores select, order
// and all filters but >ID, and any id exists. It checks no scopes or rights, and
// only the parameters that the most common methods need. It sends no events. Its
// answer does not prove that a real portal accepts the call; its refusal is a
// reason to look.
//
// It is written only from the documented and measured behaviour of Bitrix24 and
// shares no code with the proxy's limiter, so that both cannot be wrong in the
// same way. Where nothing is known, it does what is worst for the caller, or a
// comment says what was chosen.
package b24sim
