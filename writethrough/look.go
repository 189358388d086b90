package writethrough

import (
	"context"
	"errors"
	"net/http"
	"time"

	"github.com/failsafe-go/failsafe-go"
	"github.com/failsafe-go/failsafe-go/retrypolicy"

	"patientgraph/fhir"
	"patientgraph/writethrough/judge"
)

// hear sorts how the FHIR server answered a PUT. readsBack: an OK shows what is stored,
// see fhir.Profile; so values that it shows are, and those that it lacks may only
// have been somebody else's by then.
func hear(answer fhir.Update, err error, p judge.Put, readsBack bool) judge.Heard {
	var f *fhir.Error
	switch {
	case err == nil && answer.Created:
		return judge.Created
	case err == nil && answer.Resource.JSON != nil && p.IsNew(answer.Resource):
		return judge.Shown
	case err == nil && (answer.Resource.ETag != "" && fhir.IsSameVersion(answer.Resource.ETag, p.IfMatch) || lacks(answer.Resource.JSON, p)):
		return judge.Unchanged
	case err == nil && readsBack && answer.Resource.JSON != nil:
		return judge.Shown
	case err == nil:
		return judge.OK
	case !errors.As(err, &f):
		return judge.Nothing
	case f.Status == http.StatusCreated:
		return judge.Created
	case f.NotAsked: // also where the authorization server refused us
		return judge.NotSent
	}
	switch f.Kind {
	case fhir.NotSent:
		return judge.NotSent
	case fhir.Conflict:
		return judge.Conflict
	case fhir.Busy:
		return judge.Busy
	case fhir.Gone:
		return judge.Gone
	case fhir.Forbidden:
		return judge.Forbidden
	case fhir.AuthFailed, fhir.RateLimited:
		return judge.Denied
	case fhir.Rejected:
		return judge.Refused
	}
	return judge.Nothing // Lost, Unusable
}

// lacks reports whether a body shows the patient without some of the values.
func lacks(body []byte, p judge.Put) bool {
	if body == nil {
		return false
	}
	missing, err := p.Missing(body)
	return err == nil && len(missing) > 0
}

// look reads what the FHIR server shows of a PUT now. base is what the PUT was
// based on, nil if that is not known any more. The error is why something could
// not be seen.
func (w *Writer) look(ctx context.Context, fhirID string, p judge.Put, base []byte) (judge.Sight, fhir.Resource, error) {
	now, err := w.read(ctx, fhirID)
	if err != nil {
		s := judge.Sight{Read: judge.Unread, History: judge.Silent}
		if isGone(err) {
			s.Read = judge.SeenGone
		}
		return s, now, err
	}
	s, err := w.lookAt(ctx, fhirID, p, now, base)
	return s, now, err
}

// lookAt is look where the patient has just been read.
func (w *Writer) lookAt(ctx context.Context, fhirID string, p judge.Put, now fhir.Resource, base []byte) (judge.Sight, error) {
	past := judge.Past{History: judge.Silent}
	var historyErr error
	if p.AsksHistory(now) {
		past, historyErr = w.askHistory(ctx, fhirID, p.IfMatch)
	}
	s, err := p.See(now, base, past, w.Now())
	return s, errors.Join(err, historyErr)
}

// askHistory asks for the version that followed. The error is why it may tell
// more another time.
func (w *Writer) askHistory(ctx context.Context, fhirID, etag string) (judge.Past, error) {
	next, err := w.after(ctx, fhirID, etag)
	var f *fhir.Error
	switch {
	case err == nil:
		return judge.Past{History: judge.Told, Next: next}, nil
	case isGone(err): // after a deletion ours may have made it anew
		return judge.Past{History: judge.Silent, Deleted: true}, nil
	case errors.As(err, &f) && f.Kind == fhir.Unusable:
		return judge.Past{History: judge.Silent}, nil
	case f != nil && f.Status != 0:
		return judge.Past{History: judge.Failing}, err
	}
	return judge.Past{History: judge.Unanswered}, err
}

// caseOf is what is known of a PUT that the FHIR server answered so.
func caseOf(h judge.Heard, s judge.Sight) judge.Case {
	return judge.Case{
		When: judge.AtOnce, Heard: h, Read: s.Read, Fate: s.Fate, Versions: s.Versions, Moved: s.Moved, History: s.History,
	}
}

// newRetry repeats a read twice at most.
func newRetry() failsafe.Executor[fhir.Resource] {
	return failsafe.With(retrypolicy.NewBuilder[fhir.Resource]().
		HandleIf(func(_ fhir.Resource, err error) bool { return passing(err) }).
		WithMaxRetries(2).WithBackoff(50*time.Millisecond, 200*time.Millisecond).WithJitterFactor(0.3).
		ReturnLastFailure().Build())
}

// read reads the Patient, again if that may help.
func (w *Writer) read(ctx context.Context, fhirID string) (fhir.Resource, error) {
	return w.retry.WithContext(ctx).Get(func() (fhir.Resource, error) { return w.FHIR.Read(ctx, fhirID) })
}

// after reads the version that followed, again if that may help.
func (w *Writer) after(ctx context.Context, fhirID, etag string) (fhir.Resource, error) {
	return w.retry.WithContext(ctx).Get(func() (fhir.Resource, error) { return w.FHIR.After(ctx, fhirID, etag) })
}

// passing reports whether the same request may succeed in a moment. A server
// that says when to come back (Retry-After) is not asked before; the caller is
// told.
func passing(err error) bool {
	var f *fhir.Error
	return errors.As(err, &f) && (f.Kind == fhir.NotSent || f.Kind == fhir.Lost) && !f.Timeout && !f.NotAsked && f.RetryAfter == 0
}
