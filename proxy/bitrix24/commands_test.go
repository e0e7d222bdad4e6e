package bitrix24

import (
	"fmt"
	"strings"
	"testing"
)

// The methods of a batch are found wherever its commands may be.
func TestCommands(t *testing.T) {
	const want = "map[0:user.get 1:crm.deal.list]"
	for name, c := range map[string]struct{ query, contentType, body, want string }{
		"in an object of JSON":           {"", "application/json", `{"halt":0,"cmd":{"a":"User.get?ID=1","b":"crm.deal.list"}}`, "map[a:user.get b:crm.deal.list]"},
		"in a list of JSON":              {"", "application/json", ` {"cmd":["user.get","/crm.deal.list.json?start=50"]}`, want},
		"in JSON of no media type":       {"", "", `{"cmd":["user.get","crm.deal.list"]}`, want},
		"in a form":                      {"", "application/x-www-form-urlencoded", "cmd%5B0%5D=user.get%3FID%3D1&cmd[1]=crm.deal.list&halt=0", want},
		"in the query":                   {"cmd[0]=user.get&cmd[1]=crm.deal.list", "", "", want},
		"not where no method is named":   {"cmd[0]=&cmd[1]=a%20b&cmd=user.get", "", `{"cmd":"user.get"}`, "map[]"},
		"not in a form of several parts": {"", "multipart/form-data; boundary=x", "cmd[0]=user.get", "map[]"},
	} {
		t.Run(name, func(t *testing.T) {
			if got := fmt.Sprint(Commands(c.query, c.contentType, []byte(c.body))); got != c.want {
				t.Errorf("got %s, want %s", got, c.want)
			}
		})
	}
	t.Run("up to a hundred of them", func(t *testing.T) {
		var many strings.Builder
		for i := range 1000 {
			fmt.Fprintf(&many, "&cmd[%d]=user.get", i)
		}
		if got := len(Commands(many.String(), "", nil)); got != maxInner {
			t.Errorf("got %d commands, want %d", got, maxInner)
		}
	})
}
