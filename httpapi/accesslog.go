package httpapi

import (
	"context"
	"log/slog"
	"net/http"
	"net/netip"
	"sync/atomic"
	"time"

	"github.com/99designs/gqlgen/graphql"
	"github.com/vektah/gqlparser/v2/ast"
	"github.com/vektah/gqlparser/v2/gqlerror"

	"patientgraph/auth"
	"patientgraph/resolvers"
)

// requestInfo is what the log says of a request. It holds nothing that a caller wrote
// but names: of the request, and of the operation.
type requestInfo struct {
	id        string
	client    netip.Addr // who sent it, see Proxies
	https     bool       // it came so, to us or to a proxy
	role      string     // of the viewer; "": none yet
	graphql   bool
	operation atomic.Pointer[operation] // the last one; nil: none, or the document cannot be read
	transport string                    // of what may have many answers; "": one answer
	ended     string                    // why it has no more; of a WebSocket, the code it was closed with
}

// noteStream notes that a request is told in many answers, and why there are no more.
func noteStream(ctx context.Context, transport, ended string) {
	if info := infoOf(ctx); info != nil {
		info.transport, info.ended = transport, ended
	}
}

// operation is what a document names.
type operation struct {
	name string // "": it has none
	kind ast.Operation
}

type requestInfoKey struct{}

func infoOf(ctx context.Context) *requestInfo {
	info, _ := ctx.Value(requestInfoKey{}).(*requestInfo)
	return info
}

// accessLog gives each request its id and writes one line about it: at info if it was for
// GraphQL, else at debug. A fault of ours becomes a line too, and a 500.
func accessLog(s *server, next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		began := time.Now()
		info := &requestInfo{id: requestID(r)}
		info.client, info.https = s.proxies.client(r)
		r = r.WithContext(context.WithValue(r.Context(), requestInfoKey{}, info))
		w.Header().Set(requestIDHeader, info.id)
		answer := &statusWriter{ResponseWriter: w}
		defer func() {
			cause := recover()
			if cause != nil && cause != http.ErrAbortHandler {
				fault := resolvers.Internal(r.Context(), s.Log, resolvers.Panic(cause))
				s.countInternal(fault)
				if answer.status == 0 {
					guarded(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
						refuse(w, r, http.StatusInternalServerError, coded(resolvers.CodeInternal, fault.Message))
					})).ServeHTTP(answer, r)
					cause = nil
				}
			}
			info.log(s.Log, r, answer.status, time.Since(began))
			if cause != nil {
				panic(http.ErrAbortHandler) // the answer is cut off: its reader must notice
			}
		}()
		next.ServeHTTP(answer, r)
	})
}

func (info *requestInfo) log(log *slog.Logger, r *http.Request, status int, took time.Duration) {
	ms, client := slog.Float64("ms", float64(took.Microseconds())/1000), slog.String("client", info.client.String())
	if !info.graphql { // the path is as we wrote it, not as it was asked for
		log.DebugContext(r.Context(), "request", "method", method(r), "route", r.Pattern, "status", status, ms, client)
		return
	}
	asked := info.asked()
	line := []any{"method", method(r), "operation_name", asked.name, "operation_type", string(asked.kind), "status", status, ms, client}
	if info.transport != "" {
		line = append(line, "transport", info.transport, "ended", info.ended)
	}
	log.InfoContext(r.Context(), "GraphQL request", line...)
}

// asked is the operation as far as it was read.
func (info *requestInfo) asked() *operation {
	if read := info.operation.Load(); read != nil {
		return read
	}
	return &operation{}
}

// method is a method of HTTP; "other": what a caller took for one.
func method(r *http.Request) string {
	switch r.Method {
	case http.MethodGet, http.MethodHead, http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete, http.MethodOptions:
		return r.Method
	}
	return "other"
}

// statusWriter remembers the status of an answer.
type statusWriter struct {
	http.ResponseWriter
	status int // 0: none yet
}

func (w *statusWriter) WriteHeader(status int) {
	if w.status < http.StatusOK { // an interim one may come before
		w.status = status
	}
	w.ResponseWriter.WriteHeader(status)
}

func (w *statusWriter) Write(p []byte) (int, error) {
	if w.status == 0 {
		w.status = http.StatusOK
	}
	return w.ResponseWriter.Write(p)
}

// Unwrap is for http.ResponseController.
func (w *statusWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }

// isGraphQL marks a request as one for GraphQL.
func isGraphQL(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if info := infoOf(r.Context()); info != nil {
			info.graphql = true
		}
		next.ServeHTTP(w, r)
	})
}

// noteViewer notes who asks.
func noteViewer(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if info := infoOf(r.Context()); info != nil {
			info.noteViewer(r.Context())
		}
		next.ServeHTTP(w, r)
	})
}

func (info *requestInfo) noteViewer(ctx context.Context) {
	if v, ok := auth.FromContext(ctx); ok {
		info.role = "other" // what a token says may be anything
		if v.Role.Known() {
			info.role = string(v.Role)
		}
	}
}

// noteOperation notes what is asked for.
type noteOperation struct{}

func (noteOperation) ExtensionName() string                   { return "NoteOperation" }
func (noteOperation) Validate(graphql.ExecutableSchema) error { return nil }

func (noteOperation) MutateOperationContext(ctx context.Context, o *graphql.OperationContext) *gqlerror.Error {
	if info := infoOf(ctx); info != nil {
		info.operation.Store(&operation{o.Operation.Name, o.Operation.Operation})
	}
	return nil
}

// LogHandler adds to each line that is about a request its request_id, and the role of
// the viewer.
func LogHandler(next slog.Handler) slog.Handler { return logHandler{next} }

type logHandler struct{ slog.Handler }

func (h logHandler) Handle(ctx context.Context, line slog.Record) error {
	if info := infoOf(ctx); info != nil {
		line.AddAttrs(slog.String("request_id", info.id))
		if info.role != "" {
			line.AddAttrs(slog.String("role", info.role))
		}
	}
	return h.Handler.Handle(ctx, line)
}

func (h logHandler) WithAttrs(attrs []slog.Attr) slog.Handler {
	return logHandler{h.Handler.WithAttrs(attrs)}
}

func (h logHandler) WithGroup(name string) slog.Handler {
	return logHandler{h.Handler.WithGroup(name)}
}
