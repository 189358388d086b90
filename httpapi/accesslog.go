package httpapi

import (
	"context"
	"log/slog"
	"net/http"
	"net/url"
	"regexp"
	"sync/atomic"
	"time"

	"github.com/99designs/gqlgen/graphql"
	"github.com/google/uuid"
	"github.com/rs/cors"
	"github.com/vektah/gqlparser/v2/ast"
	"github.com/vektah/gqlparser/v2/gqlerror"

	"patientgraph/auth"
	"patientgraph/resolvers"
)

// requestInfo is what the log says of a request. It holds nothing that a caller wrote
// but names: of the request, and of the operation.
type requestInfo struct {
	id        string
	role      string // of the viewer; "": none yet
	graphql   bool
	operation atomic.Pointer[operation] // the last one; nil: none, or the document cannot be read
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

const requestIDHeader = "X-Request-Id"

// plainRequestID is what is taken over from a proxy: it goes into the log.
var plainRequestID = regexp.MustCompile(`^[A-Za-z0-9._~+/=:-]{1,128}$`)

func requestID(r *http.Request) string {
	if given := r.Header.Values(requestIDHeader); len(given) == 1 && plainRequestID.MatchString(given[0]) {
		return given[0]
	}
	return uuid.NewString()
}

// accessLog gives each request its id and writes one line about it: at info if it was for
// GraphQL, else at debug. A fault of ours becomes a line too, and a 500.
func accessLog(o Options, next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		began := time.Now()
		info := &requestInfo{id: requestID(r)}
		r = r.WithContext(context.WithValue(r.Context(), requestInfoKey{}, info))
		w.Header().Set(requestIDHeader, info.id)
		answer := &statusWriter{ResponseWriter: w}
		defer func() {
			cause := recover()
			if cause != nil && cause != http.ErrAbortHandler {
				fault := resolvers.Internal(r.Context(), o.Log, resolvers.Panic(cause))
				o.countInternal(fault)
				if answer.status == 0 {
					guarded(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
						writeError(w, http.StatusInternalServerError, resolvers.CodeInternal, fault.Message)
					})).ServeHTTP(answer, r)
					cause = nil
				}
			}
			info.log(o.Log, r, answer.status, time.Since(began))
			if cause != nil {
				panic(http.ErrAbortHandler) // the answer is cut off: its reader must notice
			}
		}()
		next.ServeHTTP(answer, r)
	})
}

func (info *requestInfo) log(log *slog.Logger, r *http.Request, status int, took time.Duration) {
	ms := slog.Float64("ms", float64(took.Microseconds())/1000)
	if !info.graphql { // the path is as we wrote it, not as it was asked for
		log.DebugContext(r.Context(), "request", "method", method(r), "route", r.Pattern, "status", status, ms)
		return
	}
	asked := info.operation.Load()
	if asked == nil {
		asked = &operation{}
	}
	log.InfoContext(r.Context(), "GraphQL request", "method", method(r), "operation_name", asked.name, "operation_type", string(asked.kind), "status", status, ms)
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

// noted marks a request as one for GraphQL, and notes who asks.
func noted(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if info := infoOf(r.Context()); info != nil {
			info.graphql = true
			if v, ok := auth.FromContext(r.Context()); ok {
				info.role = "other" // what a token says may be anything
				if v.Role.Known() {
					info.role = string(v.Role)
				}
			}
		}
		next.ServeHTTP(w, r)
	})
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

// withCORS says in the log which page was refused: its user sees only that nothing came.
func withCORS(log *slog.Logger, allowed *cors.Cors, next http.Handler) http.Handler {
	checked := allowed.Handler(next)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if origin := r.Header.Get("Origin"); origin != "" && !isOwnOrigin(origin, r.Host) && !allowed.OriginAllowed(r) {
			log.DebugContext(r.Context(), "an origin is not in CORS_ORIGINS", "origin", shownOrigin(origin))
		}
		checked.ServeHTTP(w, r)
	})
}

// isOwnOrigin reports whether a page is ours: browsers send its Origin with a POST too.
func isOwnOrigin(origin, host string) bool {
	u, err := url.Parse(origin)
	return err == nil && u.Host == host
}

// shownOrigin is scheme, host and port alone: anybody may write anything there.
func shownOrigin(origin string) string {
	u, err := url.Parse(origin)
	if err != nil || u.Host == "" || len(origin) > 256 {
		return "(none that a browser sends)"
	}
	return u.Scheme + "://" + u.Host
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
