package bitrix24

import (
	"slices"
	"strings"
)

// Read reports whether the call surely changes nothing, so that it may be sent
// again in any case. For a batch, see ReadBatch.
func (c Call) Read() bool { return isRead(c.Method) }

// isRead reports whether a method surely changes nothing. Its last segment
// decides, and must match exactly: conductList, deleteList and getExternalLink are
// writes (README.md#reads).
func isRead(method string) bool {
	if slices.Contains(notPlainReads, method) {
		return false
	}
	switch method[strings.LastIndexByte(method, '.')+1:] {
	case "get", "list", "fields", "getfields", "getlist":
		return true
	}
	return method == "profile"
}

// Idempotent reports whether running the call twice leaves the portal as running it
// once does. The last segment decides, and must match exactly.
func (c Call) Idempotent() bool {
	switch c.Method[strings.LastIndexByte(c.Method, '.')+1:] {
	case "update", "set", "delete":
		return true
	}
	return false
}

// notPlainReads are methods that do more than read, although their names are those
// of reads (README.md#reads).
var notPlainReads = []string{
	"im.notify.read.list",     // marks notifications as read
	"event.offline.get",       // removes the events from their queue
	"im.v2.event.get",         // confirms the events before its offset
	"imbot.v2.event.get",      // likewise
	"user.userfield.file.get", // answers with a file
}
