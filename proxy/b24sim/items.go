package b24sim

import (
	"encoding/json"
	"strconv"
	"strings"
)

const (
	pageSize     = 50
	defaultItems = 137
)

// shape is the form in which a family of methods writes its items. Most send a
// flat list of objects with keys in capitals and numbers as text.
type shape struct {
	prefix  string // of the methods
	many    string // the key of a list in the result; "": a flat list
	one     string // the key of a single item; "": a flat object
	lower   bool   // keys in lower case
	numbers bool   // ids as numbers
}

var shapes = []shape{
	{"crm.item.", "items", "item", true, true},
	{"tasks.task.", "tasks", "task", true, false},
	{"catalog.product.", "products", "product", true, true},
}

func shapeOf(method string) shape {
	for _, s := range shapes {
		if strings.HasPrefix(method, s.prefix) {
			return s
		}
	}
	return shape{}
}

func (s shape) item(id string, padding int) *array {
	var value any = id
	if s.numbers {
		value = number(id)
	}
	key := func(name string) string {
		if s.lower {
			return strings.ToLower(name)
		}
		return name
	}
	a := object(key("ID"), value, key("TITLE"), "Item "+id)
	if padding > 0 {
		a.set(key("COMMENTS"), strings.Repeat("x", padding))
	}
	return a
}

// wrap puts a single item under the key of the family.
func (s shape) wrap(item *array) *array {
	if s.one == "" {
		return item
	}
	return object(s.one, item)
}

// added is the result of an add: the new id, or the new item.
func (s shape) added(id int) any {
	if s.one == "" {
		return id
	}
	return s.wrap(s.item(text(id), 0))
}

func fieldsOf(s shape) *array {
	field := func(kind string, readOnly bool) *array {
		return object("type", kind, "isRequired", false, "isReadOnly", readOnly, "isMultiple", false)
	}
	if s.lower {
		return object("fields", object("id", field("integer", true), "title", field("string", false)))
	}
	return object("ID", field("integer", true), "TITLE", field("string", false))
}

// items is the length of each list.
func (x *exchange) items() int {
	if x.config.Items > 0 {
		return x.config.Items
	}
	return defaultItems
}

// page is up to 50 rows of a list, with next and total. It understands start
// (-1: no total) and the filter >ID, which clients use to page themselves.
func (x *exchange) page(c command, s shape) *array {
	total := x.items()
	filter := c.params.sub("filter")
	if filter == nil {
		filter = c.params.sub("FILTER")
	}
	after, _ := strconv.Atoi(filter.text(">ID", ">id"))
	after = min(max(after, 0), total)
	start, _ := strconv.Atoi(c.params.text("start"))
	offset := min(max(start, 0), total-after)
	to := min(after+offset+pageSize, total)

	rows := &array{}
	for i := after + offset + 1; i <= to; i++ {
		rows.push(s.item(text(i), x.config.ItemBytes))
	}
	reply := object("result", rows)
	if s.many != "" {
		reply = object("result", object(s.many, rows))
	}
	if start < 0 {
		return reply
	}
	if to < total {
		reply.set("next", offset+pageSize)
	}
	reply.set("total", total-after)
	return reply
}

// range3 reads the pagination of REST 3.0: limit, and offset or page.
func (x *exchange) range3(p *array) (from, to int) {
	limit, _ := strconv.Atoi(p.text("limit"))
	if limit <= 0 || limit > pageSize {
		limit = pageSize
	}
	offset, _ := strconv.Atoi(p.text("offset"))
	if page, _ := strconv.Atoi(p.text("page")); page > 1 && offset == 0 {
		offset = min(page-1, x.items()) * limit
	}
	offset = min(max(offset, 0), x.items())
	return offset + 1, min(offset+limit, x.items())
}

func text(n int) string { return strconv.Itoa(n) }

// number returns s as a JSON number if it is one.
func number(s string) any {
	if n, err := strconv.Atoi(s); err == nil {
		return json.Number(text(n))
	}
	return s
}
