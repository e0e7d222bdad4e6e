package redisstore

import (
	"testing"
	"testing/synctest"
	"time"
)

// A shortage begins once, and is over when something fits a minute after the last that
// did not. So the log of a store that is about full stays short.
func TestShortage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var x shortage
		if x.fits() {
			t.Error("one that never began is over")
		}
		if !x.lacks() {
			t.Error("the first did not begin it")
		}
		for range 3 {
			time.Sleep(shortFor - time.Second)
			if x.fits() {
				t.Error("it is over too early")
			}
			if x.lacks() {
				t.Error("it began again")
			}
		}
		time.Sleep(shortFor)
		if !x.fits() || x.fits() {
			t.Error("it is not over, once")
		}
		if !x.lacks() {
			t.Error("another one did not begin")
		}
	})
}
