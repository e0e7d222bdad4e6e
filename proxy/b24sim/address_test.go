package b24sim

import "testing"

// Every form of address that clients use gives version, webhook and method.
func TestParseAddress(t *testing.T) {
	for path, want := range map[string]address{
		"/rest/crm.deal.list":             {rest: true, version: 2, method: "crm.deal.list"},
		"/rest/crm.deal.list.json":        {rest: true, version: 2, method: "crm.deal.list"},
		"/rest/crm.deal.list.xml/":        {rest: true, version: 2, method: "crm.deal.list", xml: true},
		"//rest//1//c0de//crm.Deal.List":  {rest: true, version: 2, user: "1", code: "c0de", method: "crm.deal.list"},
		"/rest/admin/c0de/profile/":       {rest: true, version: 2, user: "admin", code: "c0de", method: "profile"},
		"/rest/api/tasks.task.get":        {rest: true, version: 3, method: "tasks.task.get"},
		"/rest/api/1/c0de/tasks.task.get": {rest: true, version: 3, user: "1", code: "c0de", method: "tasks.task.get"},
		"/rest/api/tasks.task.get.json":   {rest: true, version: 3, method: "tasks.task.get.json"},
		"/rest/1/c0de/":                   {rest: true, version: 2, user: "1", code: "c0de"},
		"/rest/":                          {rest: true, version: 2},
		"/rest":                           {rest: true, version: 2},
		"/restful/crm.deal.list":          {},
		"/disk/rest/crm.deal.list":        {},
		"/":                               {},
		"/rest/1/c0de/crm.deal.list/more": {rest: true, version: 2, user: "1", code: "c0de", method: "crm.deal.list/more"},
		"/oauth/token":                    {},
	} {
		t.Run(path, func(t *testing.T) {
			if got := parseAddress(path); got != want {
				t.Errorf("got %+v, want %+v", got, want)
			}
		})
	}
}
