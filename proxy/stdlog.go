package proxy

import (
	"bytes"
	"context"
	"log"
	"log/slog"

	"b24proxy/proxy/bitrix24"
)

// StdLog returns a logger for the messages of the standard library. net/http quotes
// in them what it cannot read of a request or an answer, so a message is cut at its
// first quotation mark, and what is left is redacted.
func StdLog(to *slog.Logger, level slog.Level) *log.Logger {
	return log.New(stdLog{to, level}, "", 0)
}

type stdLog struct {
	to    *slog.Logger
	level slog.Level
}

func (s stdLog) Write(line []byte) (int, error) {
	text, _, _ := bytes.Cut(line, []byte{'\n'})
	text, _, quotes := bytes.Cut(text, []byte{'"'})
	message := bitrix24.Redact(string(bytes.TrimSpace(text)))
	if quotes {
		message += " (quoted text is left out)"
	}
	s.to.Log(context.Background(), s.level, "net/http: "+message)
	return len(line), nil
}
