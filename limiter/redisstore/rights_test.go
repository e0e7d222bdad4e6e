package redisstore

import (
	"strings"
	"testing"
	"time"

	"b24proxy/limiter/storetest"
)

// A user with the rights that the README names may do all that a replica does.
func TestRightsThatTheReadmeNames(t *testing.T) {
	r := storetest.StartRedis(t)
	if !strings.HasPrefix(r.Do(t, "acl", "setuser", "b24", "on", ">secret", "+@all", "-@dangerous", "+info", "~b24:*", "&b24:*"), "OK") {
		t.Skip("this redis-server is too old for these rights")
	}
	url := strings.Replace(r.URL, "redis://", "redis://b24:secret@", 1)
	a, b := mustOpen(t, Config{URL: url, Egress: "e"}), mustOpen(t, Config{URL: url, Egress: "e"})
	heard := make(chan string, 2) // it may be heard, and found among the kept
	b.Hear(func(text []byte, _ time.Duration) { heard <- string(text) })
	a.Hear(func([]byte, time.Duration) {})
	a.Publish("subject", []byte("text"), time.Minute)
	if text := <-heard; text != "text" {
		t.Errorf("heard %q", text)
	}
	eventually(t, "the store gives slots", func() bool { _, err := a.Sync(report); return err == nil })
	w := Write{Portal: "p", ID: "id", Calls: []string{"call"}, Keys: []string{"key"}, Text: "text", Keep: time.Hour, Version: 1}
	if _, _, err := a.MeetWrite(w, 0); err != nil {
		t.Error(err)
	}
	w.Version, w.Answer = 2, []byte("answer")
	if _, err := a.SaveWrite(w); err != nil {
		t.Error(err)
	}
	if found, err := b.FindWrite("p", "id", 0); found.ID == "" || err != nil {
		t.Errorf("got %+v, %v, want the write", found, err)
	}
	if err := b.ReceiveWrite("p", "id", false); err != nil {
		t.Error(err)
	}
	r.Do(t, "config", "set", "maxmemory", "1") // what may not be asked looks like room
	w.ID, w.Calls, w.Keys = "other", []string{"other"}, []string{"other"}
	if _, err := a.SaveWrite(w); err != nil || a.writesShort.last.IsZero() {
		t.Errorf("got %v, and want that the store is noticed to be full", err)
	}
}
