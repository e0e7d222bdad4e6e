// Package b24sim is a simulated Bitrix24 portal: its REST API as callers see it,
// its limits, and its failures on demand. It is an [http.Handler] for tests,
// and cmd/b24sim serves it to any client, so that an integration can be tried
// without a portal and against things that a portal does once a year.
//
// # What it is
//
// Portal counts requests as documented: each one below /rest/ adds 1, above
// Config.Burst it is refused with 503 QUERY_LIMIT_EXCEEDED, and once a second,
// at a phase that callers cannot know, the counter falls by Config.Rate. What
// is not documented is a knob: whether refused requests count (RefusedCount),
// how late calls arrive (Jitter), whether addresses share a counter
// (PerAddress). Somebody else behind the same address is played by Spend.
//
// It answers webhooks and OAuth calls of both versions of the API, with
// parameters in the query, JSON, a form or multipart, as JSON or XML; batch of
// both versions; /oauth/token, signed files and the 302 of a renamed portal.
// Every documented method is known: lists have pages of 50 rows with next and
// total, get, add, update, delete and fields have the usual shapes, and some
// methods (profile, app.info, server.time, ...) have answers of their own.
// What is not documented is not found. REST 3.0 writes honour Idempotency-Key.
//
// The limit on operating time (Config.Operating) exists in both generations of
// the server, with the batch charged in both ways. Config.Operating.Charge books
// time without anybody having to wait for it.
//
// A Fault makes calls fail: every system error, with the status the server
// sends or the documented one, pages that are not the API, answers cut off or
// spoilt, connections reset before or after the method ran, slow answers. See
// ParseFault for how to write one.
//
// # What happened
//
// The portal keeps a log (Calls) and counts what ran (Ran), so that a test can
// ask whether a write that failed for its caller ran once, twice or never: put
// a marker into the body and look for it. A call that has arrived in whole
// runs, whether or not its caller still waits, and a fault's answer says
// nothing about it; Call.Ran does. Management serves all of it over HTTP, with
// secrets masked.
//
// # Time
//
// Durations are virtual: Config.Speed virtual seconds pass in a real one. The
// portal never ticks by itself: it reads the clock when a call arrives, and
// sleeps only for Jitter, Latency and slow faults. So it works in a
// testing/synctest bubble if New is called inside. Instants in answers
// (start, finish, operating_reset_at) are told on the real clock, as the caller
// would see them; operating is in virtual seconds.
//
// With the same Config.Seed, the same calls in the same order meet the same
// phase, delays and faults.
//
// # What it is not
//
// It keeps no data: what was added is not in the next list, filters other than
// >ID and all of select and order are ignored, and any id exists. It checks no
// scopes or rights, and of parameters only what the most common methods need.
// It sends no events. An answer here does not prove that a real portal accepts
// the call; a refusal here is a reason to look.
//
// It is written from the documented and measured behaviour of Bitrix24 alone
// and shares no code with the proxy's limiter, so that both cannot be wrong in
// the same way. Where nothing is known, it does what is worst for the caller
// or says in a comment what was chosen.
package b24sim
