package app

import (
	"log"
	"log/slog"
)

// quietLog stands behind loggers that are not ours. What libraries log by
// themselves may hold patient data (net/http writes the rest of an answer that is
// longer than its Content-Length says): that there was a line is logged, its text
// is dropped.
type quietLog struct {
	log    *slog.Logger
	source string
}

// Write implements io.Writer: it logs that there was a line.
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
