package bitrix24

import (
	"slices"
	"strings"
)

// Read reports whether the call surely changes nothing, so that it may be sent
// again whatever became of it. Of a batch only ReadBatch knows.
func (c Call) Read() bool { return isRead(c.Method) }

// isRead reports whether a method surely changes nothing. Its last segment
// decides, and it decides exactly: conductList, deleteList and getExternalLink
// are writes.
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

// notPlainReads look like reads.
var notPlainReads = []string{
	"im.notify.read.list",     // marks notifications as read
	"event.offline.get",       // takes the events off their queue
	"im.v2.event.get",         // confirms the events before its offset [D]
	"imbot.v2.event.get",      // likewise
	"user.userfield.file.get", // gives a file
}
