package b24sim

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
)

// Every documented method answers with a result and a time, in both versions.
func TestEveryMethodAnswers(t *testing.T) {
	p := New(Config{})
	for version, prefix := range map[int]string{2: "/rest/", 3: "/rest/api/"} {
		for _, name := range methods[version] {
			if name == "batch" {
				continue // it needs commands, and has its own tests
			}
			w := get(t, p, prefix+"1/invented-code/"+name+"?id=1")
			v := decode(t, w)
			_, hasResult := v["result"]
			_, hasOpenAPI := v["openapi"]
			_, hasTime := v["time"]
			if w.Code != 200 || !hasOpenAPI && (!hasResult || !hasTime) {
				t.Errorf("%s: got %d %s, want 200, a result and a time", name, w.Code, w.Body)
			}
			if p.Ran(name) == 0 {
				t.Errorf("%s: got no run, want one", name)
			}
		}
	}
}

// A method that is not documented is not found.
func TestUnknownMethods(t *testing.T) {
	p := New(Config{})
	for target, want := range map[string]string{
		hook + "crm.deal.explode": `{"error":"ERROR_METHOD_NOT_FOUND","error_description":"Method not found!"}`,
		hook:                      `{"error":"ERROR_METHOD_NOT_FOUND","error_description":"Method not found!"}`,
		"/rest/api/1/invented-code/crm.deal.list":     `{"error":{"code":"BITRIX_REST_V3_EXCEPTION_METHODNOTFOUNDEXCEPTION","message":"Method not found"}}`,
		"/rest/api/1/invented-code/tasks.task.get.js": `{"error":{"code":"BITRIX_REST_V3_EXCEPTION_METHODNOTFOUNDEXCEPTION","message":"Method not found"}}`,
		hook + "crm.deal.explode.xml":                 `<response><error>ERROR_METHOD_NOT_FOUND</error><error_description>Method not found!</error_description></response>`,
	} {
		t.Run(target, func(t *testing.T) {
			if w := get(t, p, target); w.Code != 404 || w.Body.String() != want {
				t.Errorf("got %d %s, want 404 %s", w.Code, w.Body, want)
			}
		})
	}
}

// A client that follows next, or pages by >ID with start=-1, gets every item once,
// 50 at a time.
func TestPaging(t *testing.T) {
	p := New(Config{Items: 120})
	type page struct {
		Result []struct{ ID string }
		Total  *int
		Next   *int
	}
	read := func(query string) page {
		var out page
		w := get(t, p, hook+"crm.deal.list?"+query)
		if err := json.Unmarshal(w.Body.Bytes(), &out); err != nil {
			t.Fatalf("got %s (%v), want a page", w.Body, err)
		}
		return out
	}
	var sizes []int
	var ids []string
	for query := "start=0"; query != ""; {
		got := read(query)
		sizes = append(sizes, len(got.Result))
		for _, item := range got.Result {
			ids = append(ids, item.ID)
		}
		query = ""
		if got.Next != nil {
			query = fmt.Sprintf("start=%d", *got.Next)
		}
		if got.Total == nil || *got.Total != 120 {
			t.Errorf("got the total %v, want 120", got.Total)
		}
	}
	if !slices.Equal(sizes, []int{50, 50, 20}) || len(slices.Compact(ids)) != 120 {
		t.Errorf("got pages of %v with the ids %v, want 50, 50, 20 and each id once", sizes, ids)
	}
	got := read("start=-1&filter[%3EID]=100")
	if len(got.Result) != 20 || got.Result[0].ID != "101" || got.Total != nil || got.Next != nil {
		t.Errorf("paging by id: got %+v, want 20 items from 101 without total and next", got)
	}
}

// Each family of methods has its own form of results.
func TestShapes(t *testing.T) {
	p := New(Config{Items: 1})
	for target, want := range map[string]string{
		hook + "crm.deal.list":                                 `{"result":[{"ID":"1","TITLE":"Item 1"}],"total":1,`,
		hook + "crm.item.list":                                 `{"result":{"items":[{"id":1,"title":"Item 1"}]},"total":1,`,
		hook + "tasks.task.list":                               `{"result":{"tasks":[{"id":"1","title":"Item 1"}]},"total":1,`,
		hook + "crm.deal.get?ID=7":                             `{"result":{"ID":"7","TITLE":"Item 7"},`,
		hook + "crm.item.get?id=7":                             `{"result":{"item":{"id":7,"title":"Item 7"}},`,
		hook + "crm.deal.add":                                  `{"result":1001,`,
		hook + "crm.item.add":                                  `{"result":{"item":{"id":1002,"title":"Item 1002"}},`,
		hook + "crm.deal.update?ID=7":                          `{"result":true,`,
		hook + "crm.deal.delete?ID=7":                          `{"result":true,`,
		"/rest/api/1/invented-code/tasks.task.get?id=42":       `{"result":{"item":{"id":42,"title":"Item 42"}},`,
		"/rest/api/1/invented-code/humanresources.node.list":   `{"result":{"items":[{"id":1,"title":"Item 1"}]},`,
		"/rest/api/1/invented-code/rest.documentation.openapi": `{"openapi":"3.0.0",`,
	} {
		t.Run(target, func(t *testing.T) {
			p.Reset()
			p.nextID = 1000
			if strings.Contains(target, "crm.item.add") {
				p.newID()
			}
			if w := get(t, p, target); !strings.HasPrefix(w.Body.String(), want) {
				t.Errorf("got %s, want %s", w.Body, want)
			}
		})
	}
}

// A call without the id that it needs gets the error of a real portal.
func TestMissingID(t *testing.T) {
	p := New(Config{})
	for target, want := range map[string]string{
		hook + "crm.deal.get":                      `{"error":"","error_description":"ID is not defined or invalid."}`,
		"/rest/api/1/invented-code/tasks.task.get": `{"error":{"code":"BITRIX_REST_V3_EXCEPTION_VALIDATION_REQUESTVALIDATIONEXCEPTION","message":"Error validating request object","validation":[{"message":"Required field ` + "`id`" + ` is not specified","field":"id"}]}}`,
	} {
		t.Run(target, func(t *testing.T) {
			if w := get(t, p, target); w.Code != 400 || w.Body.String() != want {
				t.Errorf("got %d %s, want 400 %s", w.Code, w.Body, want)
			}
		})
	}
	if ran := p.Ran("crm.deal.get") + p.Ran("tasks.task.get"); ran != 0 {
		t.Errorf("got %d run, want none", ran)
	}
}

// An address with .xml gets XML without a prolog, with an element for each key.
func TestXML(t *testing.T) {
	p := New(Config{Items: 1})
	w := get(t, p, hook+"crm.deal.list.xml")
	want := `<response><result><item><ID>1</ID><TITLE>Item 1</TITLE></item></result><total>1</total><time><start>`
	if w.Header().Get("Content-Type") != "text/xml; charset=utf-8" || !strings.HasPrefix(w.Body.String(), want) {
		t.Errorf("got %s %s, want XML that begins with %s", w.Header(), w.Body, want)
	}
	if got := string(appendXML(nil, "a", object("b", "<&>", "0", false, "1", true, "n", nil))); got != "<a><b>&lt;&amp;&gt;</b><item></item><item>1</item><n></n></a>" {
		t.Errorf("got %s, want escaped text, true as 1 and the rest empty", got)
	}
}
