package bitrix24

import (
	"encoding/json"
	"mime"
	"strings"
)

// Commands returns the method of each command of a batch of version 2, in lower
// case. It reads the parameter cmd from the query, the form or the JSON
// (README.md#batch-of-version-2). It returns at most 100 commands and leaves out
// those that it cannot read.
func Commands(rawQuery, contentType string, body []byte) map[string]string {
	commands := make(map[string]string)
	addForm(commands, rawQuery)
	switch mediaType, _, _ := mime.ParseMediaType(contentType); {
	case strings.HasPrefix(string(trimStart(body)), "{"): // even if the type is wrong or absent
		addJSON(commands, trimStart(body))
	case mediaType != "multipart/form-data":
		addForm(commands, string(body))
	}
	return commands
}

// addForm reads the parameters cmd[key]=method?query.
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
