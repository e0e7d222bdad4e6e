package b24sim

import (
	_ "embed"
	"maps"
	"slices"
	"strings"
	"time"
)

//go:embed data/methods.txt
var methodsText string

//go:embed data/methods-v3.txt
var methodsV3Text string

// methods maps the names of all methods of a version from lower case to their
// own spelling, because names are compared in any case.
var methods = map[int]map[string]string{
	2: methodNames(methodsText),
	3: methodNames(methodsV3Text),
}

func methodNames(text string) map[string]string {
	names := make(map[string]string)
	for name := range strings.FieldsSeq(text) {
		names[strings.ToLower(name)] = name
	}
	return names
}

func known(version int, method string) bool {
	_, ok := methods[version][method]
	return ok
}

// lastSegment is the verb of a method: list, get, add, ...
func lastSegment(method string) string {
	return method[strings.LastIndexByte(method, '.')+1:]
}

// isRead reports whether a method only reads. The last segment of its name says so
// exactly; the two exceptions to this rule are methods of v2, and do not matter here.
func isRead(method string) bool {
	switch lastSegment(method) {
	case "get", "list", "fields", "getfields", "getlist":
		return true
	}
	return false
}

// command is one call of a method, alone or inside a batch.
type command struct {
	method  string
	params  *array
	inner   bool
	started time.Duration // virtual; of an inner one
}

// perform runs a method. It returns the answer without its time.
func (x *exchange) perform(c command) (*array, *failure) {
	if f := x.missing(c); f != nil {
		return nil, f
	}
	x.p.countRun(x.call, c.method, c.inner)
	if x.addr.version == 3 {
		return x.perform3(c), nil
	}
	if special, ok := specials[c.method]; ok {
		return object("result", special(x)), nil
	}
	reply := x.perform2(c)
	if x.config.Echo && isRead(c.method) {
		reply.set("result", x.echo(c))
	}
	return reply, nil
}

// perform2 is perform for the usual methods of v2.
func (x *exchange) perform2(c command) *array {
	shape := shapeOf(c.method)
	switch last := lastSegment(c.method); {
	case last == "list" || last == "getlist" || c.method == "user.get" || c.method == "department.get":
		return x.page(c, shape)
	case last == "get":
		id := c.params.text("ID", "id", "taskId")
		if id == "" {
			id = "1"
		}
		return object("result", shape.wrap(shape.item(id, 0)))
	case last == "fields" || last == "getfields":
		return object("result", fieldsOf(shape))
	case last == "add":
		return object("result", shape.added(x.p.newID()))
	}
	return object("result", true)
}

// missing is the error of a method that needs an id, or within a batch the id of the
// webhook, and has none.
func (x *exchange) missing(c command) *failure {
	if c.inner && c.method == "app.info" && x.addr.webhook() {
		return &failure{code: "ACCESS_DENIED", text: "Access denied! Application context required", status: 403}
	}
	id := c.params.text("ID", "id", "taskId")
	if id != "" {
		return nil
	}
	if x.addr.version == 3 {
		if c.method == "tasks.task.get" || c.method == "tasks.task.update" || c.method == "tasks.task.delete" {
			return invalid("id", "Required field `id` is not specified")
		}
		return nil
	}
	switch c.method {
	case "crm.deal.get", "crm.lead.get", "crm.contact.get", "crm.company.get":
		return &failure{code: "", text: "ID is not defined or invalid.", status: 400}
	}
	return nil
}

// perform3 is perform for REST 3.0, which has its own forms.
func (x *exchange) perform3(c command) *array {
	item := func(id string) *array { return object("id", number(id), "title", "Item "+id) }
	id := c.params.text("id")
	if id == "" {
		id = "1"
	}
	switch lastSegment(c.method) {
	case "openapi", "documentation":
		return object("openapi", "3.0.0",
			"info", object("title", "Bitrix24 REST V3 API", "version", "1.0.0"),
			"tags", list(), "paths", object("/tasks.task.get", object("post", object("summary", "Get a task"))))
	case "list":
		items := &array{}
		from, to := x.range3(c.params.sub("pagination"))
		for i := from; i <= to; i++ {
			items.push(item(text(i)))
		}
		return object("result", object("items", items))
	case "get":
		return object("result", object("item", item(id)))
	case "add":
		return object("result", object("item", item(text(x.p.newID()))))
	}
	return object("result", object("result", true))
}

// specials are methods with their own answers.
var specials = map[string]func(*exchange) any{
	"app.info": func(x *exchange) any {
		return object("ID", 1, "CODE", x.cred.app, "VERSION", 1, "STATUS", "L", "INSTALLED", true,
			"PAYMENT_EXPIRED", "N", "DAYS", nil, "LANGUAGE_ID", "en", "LICENSE", "en_std",
			"LICENSE_TYPE", "std", "LICENSE_FAMILY", "std")
	},
	"profile":      func(*exchange) any { return profile() },
	"user.current": func(*exchange) any { return profile() },
	"user.admin":   func(*exchange) any { return true },
	"server.time":  func(*exchange) any { return time.Now().Format(time.RFC3339) },
	"scope":        func(*exchange) any { return list("crm", "task", "tasks", "user", "user_brief", "disk", "im") },
	"events":       func(*exchange) any { return list("ONAPPINSTALL", "ONCRMDEALADD", "ONTASKADD") },
	"methods": func(*exchange) any {
		all := &array{}
		for _, name := range slices.Sorted(maps.Values(methods[2])) {
			all.push(name)
		}
		return all
	},
}

func profile() *array {
	return object("ID", "1", "ADMIN", true, "ACTIVE", true, "NAME", "Simulated", "LAST_NAME", "User",
		"EMAIL", "user@example.com", "PERSONAL_GENDER", "", "PERSONAL_PHOTO", "", "TIME_ZONE", "", "TIME_ZONE_OFFSET", 0)
}

// countRun records that a method ran.
func (p *Portal) countRun(c *Call, method string, inner bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.ran[method]++
	if inner {
		c.Inner = append(c.Inner, method)
		return
	}
	c.Ran = true
}

func (p *Portal) newID() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.nextID++
	return p.nextID
}

// refuse records that a fault answered a call with QUERY_LIMIT_EXCEEDED.
func (p *Portal) refuse(c *Call) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !c.Refused {
		c.Refused = true
		p.refused++
	}
}
