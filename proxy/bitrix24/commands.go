package bitrix24

import (
	"encoding/json"
	"mime"
	"strings"
)

// Commands returns the methods that a batch of version 2 calls, in lower case,
// by command. It reads the parameter cmd in query, form or JSON, as an object
// or a list [D], at most 100 commands of it; what it cannot read it leaves out.
func Commands(rawQuery, contentType string, body []byte) map[string]string {
	commands := make(map[string]string)
	addForm(commands, rawQuery)
	switch mediaType, _, _ := mime.ParseMediaType(contentType); {
	case strings.HasPrefix(string(trimStart(body)), "{"): // also where the type is wrong or absent
		addJSON(commands, trimStart(body))
	case mediaType != "multipart/form-data":
		addForm(commands, string(body))
	}
	return commands
}

// addForm reads cmd[key]=method?query.
func addForm(commands map[string]string, form string) {
	for name, value := range parameters(form) {
		key, isCommand := strings.CutPrefix(name, "cmd[")
		if key, closed := strings.CutSuffix(key, "]"); isCommand && closed {
			addCommand(commands, key, value)
		}
	}
}

func addJSON(commands map[string]string, body []byte) {
	for name, value := range members(body) {
		if name != "cmd" {
			continue
		}
		for key, value := range elements(value) {
			var command string
			if json.Unmarshal(value, &command) == nil {
				addCommand(commands, key, command)
			}
		}
	}
}

func addCommand(commands map[string]string, key, command string) {
	method, _, _ := strings.Cut(command, "?")
	if method = withoutFormat(strings.Trim(method, "/ ")); looksLikeMethod(method) && len(commands) < maxInner {
		commands[key] = strings.ToLower(method)
	}
}
