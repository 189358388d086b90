package writethrough

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/failsafe-go/failsafe-go"
	"github.com/prometheus/client_golang/prometheus"

	"patientgraph/db"
	"patientgraph/fhir"
	"patientgraph/record"
)

// FHIR is what a write needs of the FHIR server. Errors are *fhir.Error.
type FHIR interface {
	// Read returns the Patient as it is now.
	Read(ctx context.Context, id string) (fhir.Resource, error)
	// Update replaces the Patient; ifMatch is an ETag or empty.
	Update(ctx context.Context, id string, body []byte, ifMatch string) (fhir.Update, error)
	// After returns the version that directly followed the one with this ETag.
	After(ctx context.Context, id, etag string) (fhir.Resource, error)
}

// Store is what a write needs of the cache and its journal.
type Store interface {
	Patient(ctx context.Context, id string, cols ...db.Column) (*db.Patient, error)
	SetContact(id string, e db.ContactEdit, expectedVersion int64, at time.Time, line db.ContactUpdate) (*db.Patient, error)
	BeginUpdate(ctx context.Context, u db.ContactUpdate, owner string, lease time.Duration) (*db.Begun, error)
	SendUpdate(id, owner, patientID, baseETag, base, intended string) error
	CloseUpdate(c db.Closing) (*db.Patient, error)
	HoldUpdate(id, owner, patientID string) error
	ReopenUpdate(id, patientID string) error
	ContactUpdate(ctx context.Context, id string) (*db.ContactUpdate, error)
	ContactUpdateByKey(ctx context.Context, actor, key string, ttl time.Duration) (*db.ContactUpdate, error)
	OpenUpdate(ctx context.Context, patientID string) (*db.ContactUpdate, error)
	RenewUpdates(owner string, ids []string, lease time.Duration) error
	StillOpen(ctx context.Context, ids []string) ([]string, error)
	ClaimUpdates(owner, patientID string, lease time.Duration, limit int) ([]db.ContactUpdate, error)
	CleanUpdates(ctx context.Context, keep time.Duration) (int, error)
}

// Config is what a Writer is made of.
type Config struct {
	FHIR    FHIR
	Store   Store
	Log     *slog.Logger
	Timeout time.Duration // bound of the whole FHIR conversation of one write
	Keep    time.Duration // how long a settled update and its idempotency key are remembered
	Now     func() time.Time
	NewID   func() string         // names an operation, and this process
	Metrics prometheus.Registerer // nil: none are registered

	// Lease is how long a process that stands still keeps its patients from
	// others; 0: 10 s.
	Lease time.Duration
	// SettleWindow is how long a lost PUT may still take effect, from when the
	// journal said that it is about to leave (it leaves within three quarters of
	// the Timeout, or not at all); 0: twice the Timeout, at least 20 s.
	SettleWindow time.Duration
}

// Writer writes contact changes through to FHIR. It is safe for concurrent
// use. Run must be running.
type Writer struct {
	Config
	owner   string // this process, in the journal
	locks   locks
	circuit *circuit
	retry   failsafe.Executor[fhir.Resource]
	metrics metrics
	watcher watcher

	stopping context.Context // ends when no more writes are taken
	stop     context.CancelFunc
	mu       sync.Mutex
	running  map[string]lease    // of the operations of this process
	unsaved  map[string]*unsaved // their ends that the database did not take yet
	late     map[string]string   // the patients of those that took effect though the journal says NOT_APPLIED
}

// New returns a Writer.
func New(c Config) *Writer {
	if c.Lease == 0 {
		c.Lease = 10 * time.Second
	}
	if c.SettleWindow == 0 {
		c.SettleWindow = max(2*c.Timeout, 20*time.Second)
	}
	testTimings(&c)
	w := &Writer{
		Config: c, owner: c.NewID(), circuit: newCircuit(c.Log, c.Now), retry: newRetry(), metrics: newMetrics(c.Metrics),
		running: map[string]lease{}, unsaved: map[string]*unsaved{}, late: map[string]string{},
	}
	w.stopping, w.stop = context.WithCancel(context.Background())
	return w
}

// Change is one contact update that was authorised and validated.
type Change struct {
	PatientID       string
	Edit            fhir.ContactEdit
	ExpectedVersion int64  // Patient.version that the caller saw; 0 = any
	Actor           string // who asks; scopes the idempotency key
	IdempotencyKey  string // "" = none
}

// digest tells two changes apart.
func (c Change) digest() string {
	text, _ := json.Marshal([]any{c.PatientID, c.Edit, c.ExpectedVersion}) // strings and numbers always encode
	sum := sha256.Sum256(text)
	return hex.EncodeToString(sum[:])
}

// Applied is a contact update that took effect.
type Applied struct {
	OperationID string
	Patient     *db.Patient // SyncState Pending: FHIR has it, the cache could not be written
}

// errAgain: what the operation started from has changed meanwhile.
var errAgain = errors.New("begin again")

// UpdateContact makes one change: on the FHIR server first, in the cache what
// the server then shows. A patient without a FHIR id is changed in the cache
// alone. Failures that the caller should be told are *Error; any other error
// means that the database failed, and unless it is ErrUnsure that nothing was
// changed.
func (w *Writer) UpdateContact(ctx context.Context, c Change) (*Applied, error) {
	applied, err := w.updateContact(ctx, c)
	w.metrics.count(err)
	return applied, err
}

func (w *Writer) updateContact(ctx context.Context, c Change) (*Applied, error) {
	wait, cancel := context.WithTimeout(ctx, w.Timeout)
	defer cancel()
	defer context.AfterFunc(w.stopping, cancel)()
	release, err := w.locks.acquire(wait, c.PatientID)
	if err != nil {
		return w.busy(ctx, c, err)
	}
	defer release()
	for pause := pollAtFirst; wait.Err() == nil; pause = min(2*pause, pollAtMost) {
		if told, err := w.toldBefore(wait, c); told != nil || err != nil {
			return told, err
		}
		applied, err := w.begin(ctx, c)
		switch {
		case errors.Is(err, errAgain):
		case errors.Is(err, db.ErrBusy):
			if err := w.waitForOther(wait, c, pause); err != nil {
				return nil, err
			}
		default:
			return applied, err
		}
	}
	return w.busy(ctx, c, wait.Err())
}

// busy is what a caller hears whose turn did not come: nothing was sent, unless
// an earlier request with the same idempotency key did.
func (w *Writer) busy(ctx context.Context, c Change, cause error) (*Applied, error) {
	if c.IdempotencyKey != "" {
		u, err := w.earlier(ctx, c)
		if err != nil {
			return nil, err
		}
		if u != nil {
			return decodeAnswer(u)
		}
	}
	return nil, w.notNow(cause)
}

func (w *Writer) notNow(cause error) *Error {
	if w.stopping.Err() != nil {
		return &Error{Kind: Unavailable, Reason: "the server is shutting down; nothing was sent", Err: cause}
	}
	return &Error{Kind: Unavailable, Reason: "an earlier write of this patient is still under way", Err: cause}
}

// begin accepts one change and sees it through. db.ErrBusy: somebody else
// writes this patient, or the key is in use.
func (w *Writer) begin(ctx context.Context, c Change) (*Applied, error) {
	asked, _ := json.Marshal(c.Edit) // strings always encode
	line := db.ContactUpdate{
		ID: w.NewID(), PatientID: c.PatientID, Actor: c.Actor, IdempotencyKey: c.IdempotencyKey, Digest: c.digest(), Asked: string(asked),
	}
	w.keepLease(line.ID, w.owner)
	reached(stepBeforeAccepted)
	bound, cancel := uncancelled(ctx)
	defer cancel()
	begun, err := w.Store.BeginUpdate(bound, line, w.owner, w.Lease)
	switch {
	case err == nil:
		reached(stepAfterAccepted)
		o := &operation{Writer: w, id: line.ID, row: begun.Patient, unknown: begun.Unknown, change: c}
		return o.seeThrough(ctx)
	case errors.Is(err, db.ErrNoFHIRID):
		w.endLease(line.ID)
		return w.updateLocal(ctx, c, line)
	}
	w.endLease(line.ID) // should it stand in the journal all the same, the lease runs out
	if errors.Is(err, db.ErrNotFound) {
		return nil, &Error{Kind: NotFound, Reason: "no such patient"}
	}
	return nil, err
}

// databaseTimeout bounds a look into the journal that the caller's leaving
// must not end.
const databaseTimeout = 5 * time.Second

func uncancelled(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeout(context.WithoutCancel(ctx), databaseTimeout)
}

// toldBefore returns what a request with the same idempotency key was told.
// While that one is under way elsewhere it waits for its end.
func (w *Writer) toldBefore(ctx context.Context, c Change) (*Applied, error) {
	if c.IdempotencyKey == "" {
		return nil, nil
	}
	for pause := pollAtFirst; ; pause = min(2*pause, pollAtMost) {
		u, err := w.earlier(ctx, c)
		switch {
		case err != nil || u == nil:
			return nil, err
		case u.State != db.UpdateAccepted && u.State != db.UpdateSent || sleep(ctx, pause) != nil:
			return decodeAnswer(u)
		case u.LeaseOver:
			w.reconcilePatient(ctx, c.PatientID)
		}
	}
}

// earlier finds the update with the same idempotency key; nil if there is none.
func (w *Writer) earlier(ctx context.Context, c Change) (*db.ContactUpdate, error) {
	ctx, cancel := uncancelled(ctx)
	defer cancel()
	u, err := w.unsavedAnswer(c.Actor, c.IdempotencyKey), error(nil)
	if u == nil {
		u, err = w.Store.ContactUpdateByKey(ctx, c.Actor, c.IdempotencyKey, w.Keep)
	}
	switch {
	case errors.Is(err, db.ErrNotFound):
		return nil, nil
	case err != nil:
		return nil, fmt.Errorf("look up idempotency key: %w", err)
	case u.Digest != c.digest():
		return nil, &Error{Kind: KeyReused, Reason: "the idempotencyKey came with other content before"}
	}
	return u, nil
}

// How often the journal is asked while another process holds a patient.
const (
	pollAtFirst = 10 * time.Millisecond
	pollAtMost  = 250 * time.Millisecond
)

// waitForOther waits until no other process holds the patient, but at least
// about as long as pause.
func (w *Writer) waitForOther(ctx context.Context, c Change, pause time.Duration) error {
	for ; ; pause = min(2*pause, pollAtMost) {
		open, err := w.Store.OpenUpdate(ctx, c.PatientID)
		switch {
		case errors.Is(err, db.ErrNotFound):
			_ = sleep(ctx, pause) // perhaps something is being settled; the caller sees that its time is over
			if c.IdempotencyKey == "" {
				return nil
			}
			// What was in the way may be a key that is past its time.
			_, err := w.Store.CleanUpdates(ctx, w.Keep)
			return err
		case err != nil && ctx.Err() == nil:
			return fmt.Errorf("look up open update: %w", err)
		case err == nil && open.LeaseOver:
			w.reconcilePatient(ctx, c.PatientID)
		}
		if sleep(ctx, pause) != nil {
			return nil // the caller sees that its time is over
		}
	}
}

// sleep waits about that long; the spread keeps replicas out of step.
func sleep(ctx context.Context, d time.Duration) error {
	if d == 0 {
		return ctx.Err()
	}
	timer := time.NewTimer(d/2 + rand.N(d))
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// updateLocal changes a patient that the FHIR server does not have.
func (w *Writer) updateLocal(ctx context.Context, c Change, line db.ContactUpdate) (*Applied, error) {
	row, err := w.Store.Patient(ctx, c.PatientID)
	if err != nil {
		return nil, fmt.Errorf("read cached patient: %w", err)
	}
	e := record.Edit(c.Edit)
	if a := e.Address; a != nil && a.Text == "" && row.Address != nil && row.Address.Text != "" {
		a.Text = c.Edit.Address.Compose() // the text must agree with the parts, as on the FHIR server
	}
	updated, err := w.Store.SetContact(row.ID, e, c.ExpectedVersion, w.Now(), line)
	switch {
	case errors.Is(err, db.ErrHasFHIRID):
		return nil, errAgain // an import gave it one just now
	case errors.Is(err, db.ErrVersionMismatch):
		current, err := w.Store.Patient(ctx, row.ID)
		if err != nil {
			return nil, fmt.Errorf("read cached patient: %w", err)
		}
		return nil, conflict(current, c.Edit)
	case err != nil:
		if updated, err = w.savedAllTheSame(ctx, line.ID, err); err != nil {
			return nil, err
		}
	}
	w.Log.WarnContext(ctx, "patient "+row.ID+" has no FHIR id: contact changed in the cache only", "operation", line.ID)
	return &Applied{OperationID: line.ID, Patient: updated}, nil
}

// ErrUnsure: the database failed, and whether it made the change is not known.
var ErrUnsure = errors.New("it is not known whether the change was made")

// savedAllTheSame looks for a change whose commit failed: its answer alone may
// have been lost.
func (w *Writer) savedAllTheSame(ctx context.Context, id string, cause error) (*db.Patient, error) {
	ctx, cancel := uncancelled(ctx)
	defer cancel()
	line, err := w.Store.ContactUpdate(ctx, id)
	switch {
	case err == nil:
		return line.Patient, nil
	case errors.Is(err, db.ErrNotFound) && !errors.Is(cause, context.DeadlineExceeded): // else it may be on its way yet
		return nil, cause
	}
	return nil, errors.Join(ErrUnsure, cause)
}

func conflict(current *db.Patient, e fhir.ContactEdit) *Error {
	return &Error{
		Kind: Conflict, Reason: "the record was changed by somebody else",
		Current: current, Conflicting: record.Unmet(current.FHIRState, e),
	}
}
