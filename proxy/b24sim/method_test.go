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
				continue // needs commands; has tests of its own
			}
			w := get(t, p, prefix+"1/invented-code/"+name+"?id=1")
			v := decode(t, w)
			_, hasResult := v["result"]
			_, hasOpenAPI := v["openapi"]
			_, hasTime := v["time"]
			if w.Code != 200 || !hasOpenAPI && (!hasResult || !hasTime) {
				t.Errorf("%s: %d %s", name, w.Code, w.Body)
			}
			if p.Ran(name) == 0 {
				t.Errorf("%s did not run", name)
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
		if w := get(t, p, target); w.Code != 404 || w.Body.String() != want {
			t.Errorf("%s: %d %s", target, w.Code, w.Body)
		}
	}
}

// Following next, or paging by >ID with start=-1, gives every item once, 50 at
// a time.
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
			t.Fatalf("%s: %v", w.Body, err)
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
			t.Errorf("total %v", got.Total)
		}
	}
	if !slices.Equal(sizes, []int{50, 50, 20}) || len(slices.Compact(ids)) != 120 {
		t.Errorf("pages of %v, ids %v", sizes, ids)
	}
	got := read("start=-1&filter[%3EID]=100")
	if len(got.Result) != 20 || got.Result[0].ID != "101" || got.Total != nil || got.Next != nil {
		t.Errorf("paging by id: %+v", got)
	}
}

// The families of methods keep their own shapes of results.
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
		p.Reset()
		p.nextID = 1000
		if strings.Contains(target, "crm.item.add") {
			p.newID()
		}
		if w := get(t, p, target); !strings.HasPrefix(w.Body.String(), want) {
			t.Errorf("%s: %s, want %s", target, w.Body, want)
		}
	}
}

// Clients that leave out the id are told so, as the portal's own methods do.
func TestMissingID(t *testing.T) {
	p := New(Config{})
	for target, want := range map[string]string{
		hook + "crm.deal.get":                      `{"error":"","error_description":"ID is not defined or invalid."}`,
		"/rest/api/1/invented-code/tasks.task.get": `{"error":{"code":"BITRIX_REST_V3_EXCEPTION_VALIDATION_REQUESTVALIDATIONEXCEPTION","message":"Error validating request object","validation":[{"message":"Required field ` + "`id`" + ` is not specified","field":"id"}]}}`,
	} {
		if w := get(t, p, target); w.Code != 400 || w.Body.String() != want {
			t.Errorf("%s: %d %s", target, w.Code, w.Body)
		}
	}
	if p.Ran("crm.deal.get")+p.Ran("tasks.task.get") != 0 {
		t.Error("a call that failed validation counts as run")
	}
}

// An .xml address gets XML without a prolog, each key an element.
func TestXML(t *testing.T) {
	p := New(Config{Items: 1})
	w := get(t, p, hook+"crm.deal.list.xml")
	want := `<response><result><item><ID>1</ID><TITLE>Item 1</TITLE></item></result><total>1</total><time><start>`
	if w.Header().Get("Content-Type") != "text/xml; charset=utf-8" || !strings.HasPrefix(w.Body.String(), want) {
		t.Errorf("%s %s", w.Header(), w.Body)
	}
	if got := string(appendXML(nil, "a", object("b", "<&>", "0", false, "1", true, "n", nil))); got != "<a><b>&lt;&amp;&gt;</b><item></item><item>1</item><n></n></a>" {
		t.Error(got)
	}
}
