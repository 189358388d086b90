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

// requestInfo is what is known of a request, in one value of its context: each value more
// would cost another copy of the request. What the log says of it holds nothing that a
// caller wrote but names: of the request, and of the operation.
type requestInfo struct {
	id        string
	began     time.Time
	client    netip.Addr // who sent it, see Proxies
	https     bool       // it came so, to us or to a proxy
	role      string     // of the viewer; "": none yet
	graphql   bool
	operation atomic.Pointer[operation] // the last one; nil: none, or the document cannot be read
	transport string                    // of what may have many answers; "": one answer
	ended     string                    // why it has no more; of a WebSocket, the code it was closed with
	lives     bool                      // on as a WebSocket, which logs its line when it ends

	caller     string             // of the viewer, see callerName
	agreed     agreed             // how its answers are sent
	header     http.Header        // of the answer; nil: it has none of its own
	body       *sharedBody        // nil: it has none
	parameters *graphql.RawParams // nil: not read yet
	size       *answerSize        // of the answer under way
}

// noteStream notes that a request is told in many answers, and why there are no more.
func noteStream(ctx context.Context, transport, ended string) {
	info := infoOf(ctx)
	info.transport, info.ended = transport, ended
}

// operation is what a document names.
type operation struct {
	name string // "": it has none
	kind ast.Operation
}

type requestInfoKey struct{}

func withInfo(ctx context.Context, info *requestInfo) context.Context {
	return context.WithValue(ctx, requestInfoKey{}, info)
}

// infoOf returns what is known of the request that something is done for; what is done for
// none gets an empty one, and what is noted there is lost.
func infoOf(ctx context.Context) *requestInfo {
	if info, ok := ctx.Value(requestInfoKey{}).(*requestInfo); ok {
		return info
	}
	return &requestInfo{}
}

// accessLog gives each request its id and writes one line about it: at info if it was for
// GraphQL, else at debug. A fault of ours becomes a line too, and a 500.
func accessLog(s *server, next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		info := &requestInfo{id: requestID(r), began: time.Now(), agreed: agreed{single: jsonType}}
		info.client, info.https = s.proxies.client(r)
		r = r.WithContext(withInfo(r.Context(), info))
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
			if !info.lives {
				info.log(s.Log, r, answer.status)
			}
			if cause != nil {
				panic(http.ErrAbortHandler) // the answer is cut off: its reader must notice
			}
		}()
		next.ServeHTTP(answer, r)
	})
}

func (info *requestInfo) log(log *slog.Logger, r *http.Request, status int) {
	ms, client := info.ms(), slog.String("client", info.client.String())
	if !info.graphql { // the path is as we wrote it, not as it was asked for
		log.DebugContext(r.Context(), "request", "method", method(r), "route", r.Pattern, "status", status, ms, client)
		return
	}
	if !log.Enabled(r.Context(), slog.LevelInfo) {
		return
	}
	asked := info.asked()
	line := slog.NewRecord(time.Now(), slog.LevelInfo, "GraphQL request", 0) // where in the source is not looked up
	line.AddAttrs(slog.String("method", method(r)), slog.String("operation_name", asked.name),
		slog.String("operation_type", string(asked.kind)), slog.Int("status", status), ms, client)
	if info.transport != "" {
		line.AddAttrs(slog.String("transport", info.transport), slog.String("ended", info.ended))
	}
	_ = log.Handler().Handle(r.Context(), line) // as slog.Logger: there is nobody to tell
}

// ms is how long it has been under way.
func (info *requestInfo) ms() slog.Attr {
	return slog.Float64("ms", float64(time.Since(info.began).Microseconds())/1000)
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
		infoOf(r.Context()).graphql = true
		next.ServeHTTP(w, r)
	})
}

// noteViewer notes who asks.
func noteViewer(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if v, known := auth.FromContext(r.Context()); known { // else it is a WebSocket whose token comes later
			infoOf(r.Context()).noteViewer(v, callerName(v, bearerOf(r)))
		}
		next.ServeHTTP(w, r)
	})
}

func (info *requestInfo) noteViewer(v auth.Viewer, caller string) {
	info.role, info.caller = "other", caller // what a token says may be anything
	if v.Role.Known() {
		info.role = string(v.Role)
	}
}

// noteOperation notes what is asked for.
type noteOperation struct{}

func (noteOperation) ExtensionName() string                   { return "NoteOperation" }
func (noteOperation) Validate(graphql.ExecutableSchema) error { return nil }

func (noteOperation) MutateOperationContext(ctx context.Context, o *graphql.OperationContext) *gqlerror.Error {
	infoOf(ctx).operation.Store(&operation{o.Operation.Name, o.Operation.Operation})
	return nil
}

// LogHandler adds to each line that is about a request its request_id, and the role of
// the viewer.
func LogHandler(next slog.Handler) slog.Handler { return logHandler{next} }

type logHandler struct{ slog.Handler }

func (h logHandler) Handle(ctx context.Context, line slog.Record) error {
	info := infoOf(ctx)
	if info.id != "" {
		line.AddAttrs(slog.String("request_id", info.id))
	}
	if info.role != "" {
		line.AddAttrs(slog.String("role", info.role))
	}
	return h.Handler.Handle(ctx, line)
}

func (h logHandler) WithAttrs(attrs []slog.Attr) slog.Handler {
	return logHandler{h.Handler.WithAttrs(attrs)}
}

func (h logHandler) WithGroup(name string) slog.Handler {
	return logHandler{h.Handler.WithGroup(name)}
}
