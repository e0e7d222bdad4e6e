package bitrix24

import (
	"fmt"
	"strings"
	"testing"
)

// The methods of a batch are found wherever its commands may stand.
func TestCommands(t *testing.T) {
	const want = "map[0:user.get 1:crm.deal.list]"
	for name, c := range map[string]struct{ query, contentType, body, want string }{
		"JSON object":   {"", "application/json", `{"halt":0,"cmd":{"a":"User.get?ID=1","b":"crm.deal.list"}}`, "map[a:user.get b:crm.deal.list]"},
		"JSON list":     {"", "application/json", ` {"cmd":["user.get","/crm.deal.list.json?start=50"]}`, want},
		"no type":       {"", "", `{"cmd":["user.get","crm.deal.list"]}`, want},
		"form":          {"", "application/x-www-form-urlencoded", "cmd%5B0%5D=user.get%3FID%3D1&cmd[1]=crm.deal.list&halt=0", want},
		"query":         {"cmd[0]=user.get&cmd[1]=crm.deal.list", "", "", want},
		"no method":     {"cmd[0]=&cmd[1]=a%20b&cmd=user.get", "", `{"cmd":"user.get"}`, "map[]"},
		"not of a form": {"", "multipart/form-data; boundary=x", "cmd[0]=user.get", "map[]"},
	} {
		if got := fmt.Sprint(Commands(c.query, c.contentType, []byte(c.body))); got != c.want {
			t.Errorf("%s: %s, want %s", name, got, c.want)
		}
	}
	var many strings.Builder
	for i := range 1000 {
		fmt.Fprintf(&many, "&cmd[%d]=user.get", i)
	}
	if n := len(Commands(many.String(), "", nil)); n != maxInner {
		t.Errorf("%d commands are kept", n)
	}
}
