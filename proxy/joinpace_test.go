package proxy

import (
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
)

// What reads took alone says how many travel in the first batch: the work of the method
// counts, and not what precedes it in a request of its own.
func TestFirstBatchIsSizedBySingleReads(t *testing.T) {
	for name, c := range map[string]struct{ spent, want string }{
		"the method works little": {`"duration":0.62,"processing":0.03`, "[1 1 50 10]"},
		"the method works":        {`"duration":0.62,"processing":0.3`, "[1 1 10 "},
		"the answer says less":    {`"duration":0.3`, "[1 1 10 "},
		"the method is slow":      {`"duration":3,"processing":2.5`, "[1 1 1 1 1 "},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				portal := &readingPortal{single: func(string) (int, string) { return 200, `{"result":1,"time":{` + c.spent + `}}` }}
				p := joiningProxy(t, nil).behind(portal)
				p.call("GET", numbered(0), "")
				p.together(60, numbered)
				if got := fmt.Sprint(portal.sizes()); !strings.HasPrefix(got, c.want) {
					t.Errorf("got requests of %s reads, want %s", got, c.want)
				}
			})
		})
	}
}
