package httpapi

import (
	"net/http"
	"time"
)

// sendTimeout is how long a client may take to receive what is written at once:
// a whole answer, or one event.
const sendTimeout = 30 * time.Second

// guarded has an answer kept nowhere unless its handler says otherwise, and cuts off a
// client that does not receive.
func guarded(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		next.ServeHTTP(&guardedWriter{ResponseWriter: w, control: http.NewResponseController(w), timeout: sendTimeout}, r)
	})
}

var notKept = []string{"no-store"}

// guardedWriter is the writer of one answer.
type guardedWriter struct {
	http.ResponseWriter
	control *http.ResponseController
	timeout time.Duration
	begun   bool
}

func (w *guardedWriter) WriteHeader(status int) {
	if !w.begun {
		w.begun = true
		if header := w.Header(); header["Cache-Control"] == nil {
			header["Cache-Control"] = notKept
		}
	}
	w.ResponseWriter.WriteHeader(status)
}

func (w *guardedWriter) Write(p []byte) (int, error) {
	if !w.begun {
		w.WriteHeader(http.StatusOK)
	}
	if err := w.control.SetWriteDeadline(time.Now().Add(w.timeout)); err != nil {
		return 0, err
	}
	return w.ResponseWriter.Write(p)
}

// Flush sends what was written, for server-sent events.
func (w *guardedWriter) Flush() {
	if !w.begun {
		w.WriteHeader(http.StatusOK)
	}
	if w.control.SetWriteDeadline(time.Now().Add(w.timeout)) == nil {
		_ = w.control.Flush() // the next write fails too
	}
}

// Unwrap is for http.ResponseController.
func (w *guardedWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }
