package main

import (
	"errors"
	"fmt"
	"log"
	"log/slog"
	"runtime"
)

// quietLog stands behind loggers that are not ours. What libraries log by
// themselves may hold patient data (net/http writes the rest of an answer that is
// longer than its Content-Length says): the line is counted, its text is dropped.
type quietLog struct {
	log    *slog.Logger
	source string
}

func (q quietLog) Write(line []byte) (int, error) {
	q.log.Warn("a library logged a line; its text may hold patient data and is not repeated", "source", q.source, "bytes", len(line))
	return len(line), nil
}

// quietDefaultLog keeps the process's default logger, which libraries write to,
// from stderr.
func quietDefaultLog(to *slog.Logger) {
	log.SetFlags(0)
	log.SetOutput(quietLog{to, "default logger"})
}

// panicText says what a panic was about if that is sure to hold no data: a
// runtime error, else the type of the value.
func panicText(cause any) string {
	if err, ok := cause.(error); ok {
		var fault runtime.Error
		if errors.As(err, &fault) {
			return fault.Error()
		}
	}
	return fmt.Sprintf("a value of type %T", cause)
}
