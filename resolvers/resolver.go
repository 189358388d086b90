package resolvers

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime"
	"runtime/debug"
	"sync/atomic"
	"time"

	"github.com/99designs/gqlgen/graphql"
	"github.com/google/uuid"
	"github.com/vektah/gqlparser/v2/gqlerror"

	"patientgraph/auth"
	"patientgraph/db"
	"patientgraph/writethrough"
)

// Store is what the resolvers need of the cache.
type Store interface {
	// Patient has an end of its own where ctx has none, see db.Store.
	Patient(ctx context.Context, id string, cols ...db.Column) (*db.Patient, error)
	MergedInto(ctx context.Context, fhirID string) (number, mergedInto string, err error)
	Patients(ctx context.Context, r db.PageRequest) (*db.Page, error)
	EachPatient(ctx context.Context, r db.PageRequest, each func(*db.Patient)) (*db.Page, error)
	CountPatients(ctx context.Context, f db.Filter) (int, error)
	// AliasesOf returns the aliases of these numbers, each with its number.
	AliasesOf(ctx context.Context, numbers []string) (map[string]string, error)
	// NumberChanges gives what has changed its ChangeSeq, and returns the greatest one.
	NumberChanges(ctx context.Context) (last int64, err error)
	LastChange(ctx context.Context) (last int64, err error)
	ChangedRows(ctx context.Context, above int64, limit int) ([]db.ChangedRow, error)
	// Wrote holds an element after this process has committed something.
	Wrote() <-chan struct{}
	SetProfile(id string, e db.ProfileEdit, expectedVersion int64, at time.Time) (*db.Patient, error)
}

// Writer is what the resolvers need of the write protocol.
type Writer interface {
	UpdateContact(ctx context.Context, c writethrough.Change) (*writethrough.Outcome, error)
	ContactUpdate(ctx context.Context, operationID string) (*writethrough.Update, error)
	// Await returns an update once it is settled, or as it stands when the
	// server stops.
	Await(ctx context.Context, operationID string) (*writethrough.Update, error)
	// Stopping is closed when the server stops.
	Stopping() <-chan struct{}
}

// Mirror is what the resolvers need of who follows the FHIR server.
type Mirror interface {
	// LookedAt is when the last completed look at its changes began; zero: never.
	LookedAt() time.Time
	// Locked are FHIR ids of rows that could not be written, since when.
	Locked() map[string]time.Time
	// Filled reports whether every patient was looked at once.
	Filled() bool
	// Follows reports whether somebody looks again and again.
	Follows() bool
}

// Resolver is the root of all resolvers.
type Resolver struct {
	Store      Store
	Writer     Writer
	Validation *Validation
	Rate       *ChangeRate
	Log        *slog.Logger
	Now        func() time.Time
	NewID      func() string // names a change that stands in the log alone
	Mirror     Mirror        // nil: nothing follows the FHIR server
	StaleAfter time.Duration // how long ago the FHIR server may have been looked at; 0: ever
	FHIRBase   string        // of the FHIR server, whose references may be URLs

	PhoneRegion string // where the phones that are searched for are dialled; "" = not known

	subscribed PerViewer
	changes    changes
	unnumbered atomic.Bool // the log has that changes get no numbers
}

// The codes of errors of the request itself, in extensions.code.
const (
	CodeBadUserInput     = "BAD_USER_INPUT"
	CodeInternal         = "INTERNAL"
	CodeLimitExceeded    = "LIMIT_EXCEEDED"
	CodeUnavailable      = "UNAVAILABLE"
	CodeValidationFailed = "GRAPHQL_VALIDATION_FAILED"
)

// requestError is an error that the caller can mend.
func requestError(ctx context.Context, code, message string) *gqlerror.Error {
	return &gqlerror.Error{
		Message: message, Path: graphql.GetPath(ctx),
		Extensions: map[string]any{"code": code},
	}
}

// internal logs what only the operator may see and gives the caller an id to
// name it by; of a database that is away it says when to try again.
func (r *Resolver) internal(ctx context.Context, err error) error {
	switch {
	case errors.Is(ctx.Err(), context.DeadlineExceeded):
		return unavailable(ctx, "the database did not answer in time: try again later, or ask for less at once")
	case ctx.Err() != nil:
		return requestError(ctx, CodeInternal, "the request was cancelled")
	case db.IsAway(err):
		r.Log.ErrorContext(ctx, "the database is away", "path", graphql.GetPath(ctx).String(), "error", err)
		return unavailable(ctx, "the database is away: try again later")
	}
	return Internal(ctx, r.Log, err)
}

func unavailable(ctx context.Context, message string) *gqlerror.Error {
	e := requestError(ctx, CodeUnavailable, message)
	e.Extensions["retryAfterSeconds"] = int(defaultRetryAfter.Seconds())
	return e
}

// unchanged is internal for a write that ended before anything was changed.
func (r *Resolver) unchanged(ctx context.Context, err error) error {
	if othersOf(ctx) != nil {
		return r.failedWrite(ctx, "this mutation changed nothing, others of the request may have: ", err)
	}
	return r.failedWrite(ctx, "this mutation changed nothing: ", err)
}

// unsure is internal for a write of which nobody knows whether it was made.
func (r *Resolver) unsure(ctx context.Context, err error) error {
	return r.failedWrite(ctx, "it is not known whether this mutation changed anything; read the patient before you send it again: ", err)
}

func (r *Resolver) failedWrite(ctx context.Context, what string, err error) error {
	failure := r.internal(ctx, err)
	var e *gqlerror.Error
	if errors.As(failure, &e) {
		e.Message = what + e.Message
		withOthers(ctx, e)
	}
	return failure
}

// Internal logs err under a new incident id and returns the error that the
// caller sees in its place.
func Internal(ctx context.Context, log *slog.Logger, err error) *gqlerror.Error {
	incident := uuid.NewString()
	log.ErrorContext(ctx, "internal error", "incident", incident, "path", graphql.GetPath(ctx).String(), "error", err)
	return &gqlerror.Error{
		Message: "internal error; tell the operator this incident id: " + incident, Path: graphql.GetPath(ctx),
		Extensions: map[string]any{"code": CodeInternal, "incident": incident},
	}
}

// Panic is what may be logged of a panic: what it was about where that is sure to
// hold no data (a runtime error), else the type of its value; and the stack.
func Panic(cause any) error {
	if met, ok := cause.(panicked); ok { // by another goroutine, see Apart
		return met
	}
	text := fmt.Sprintf("a value of type %T", cause)
	if err, ok := cause.(error); ok {
		var fault runtime.Error
		if errors.As(err, &fault) {
			text = fault.Error()
		}
	}
	return panicked(fmt.Sprintf("panic: %s\n%s", text, debug.Stack()))
}

type panicked string

func (p panicked) Error() string { return string(p) }

// viewer returns who is asking. Without one (a programming error: the HTTP
// layer lets nobody through) the zero Viewer may do nothing.
func viewer(ctx context.Context) auth.Viewer {
	v, _ := auth.FromContext(ctx)
	return v
}
