package writethrough

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/failsafe-go/failsafe-go"
	"github.com/prometheus/client_golang/prometheus"

	"patientgraph/db"
	"patientgraph/fhir"
)

// FHIR is what a write needs of the FHIR server. Errors are *fhir.Error.
type FHIR interface {
	// Read returns the Patient as it is now, with its Profile.
	Read(ctx context.Context, id string) (fhir.Resource, error)
	// Update puts what Edit of the Profile made of the Patient; ifMatch is an ETag or empty.
	Update(ctx context.Context, id string, body []byte, ifMatch string) (fhir.Update, error)
	// After returns the version that directly followed the one with this ETag.
	After(ctx context.Context, id, etag string) (fhir.Resource, error)
	// ReadsOthers reports whether we may read any Patient.
	ReadsOthers(ctx context.Context) (bool, error)
	// Profile says how the server takes a change.
	Profile(ctx context.Context) (fhir.Chosen, error)
}

// Store is what a write needs of the cache and its journal.
type Store interface {
	Patient(ctx context.Context, id string, cols ...db.Column) (*db.Patient, error)
	SetContact(id string, e db.ContactEdit, expectedVersion int64, at time.Time, line db.ContactUpdate) (*db.Patient, error)
	BeginUpdate(ctx context.Context, u db.ContactUpdate, owner string, lease time.Duration) (*db.Begun, error)
	SendUpdate(id, owner, patientID, ifMatch, put string) error
	CloseUpdate(c db.Closing) (*db.Patient, error)
	HoldUpdate(id, owner, patientID string) error
	ReopenUpdate(id, patientID string) error
	ContactUpdate(ctx context.Context, id string) (*db.ContactUpdate, error)
	ContactUpdateByKey(ctx context.Context, actor, key string, ttl time.Duration) (*db.ContactUpdate, error)
	HoldingUpdate(ctx context.Context, patientID string) (*db.ContactUpdate, error)
	RenewUpdates(owner string, ids []string, lease time.Duration) error
	StillOpen(ctx context.Context, ids []string) ([]string, error)
	ClaimUpdates(owner, patientID string, lease time.Duration, limit int) ([]db.ContactUpdate, error)
	CleanUpdates(ctx context.Context, keep time.Duration) (int, error)
	OpenUpdates(ctx context.Context) (db.OpenUpdates, error)
}

// Config is what a Writer is made of.
type Config struct {
	FHIR    FHIR
	Store   Store
	Log     *slog.Logger
	Timeout time.Duration // bound of the whole FHIR conversation of one write
	Keep    time.Duration // how long a settled update and its idempotency key are remembered
	Now     func() time.Time
	NewID   func() string         // names an update, and this process
	Metrics prometheus.Registerer // nil: none are registered

	PhoneRegion string // from where phone numbers are dialled (PHONE_REGION), to tell the same number in another form; "" = not known

	// Lease is how long a process that stands still keeps its patients from
	// others; 0: 10 s.
	Lease time.Duration
	// SettleWindow is how long a lost PUT may still take effect, from when the
	// journal said that it is about to leave (it leaves within three quarters of
	// the Timeout, or not at all); 0: as the FHIR server's profile says (settleWindow).
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
	away    atomic.Bool // the database, when the journal was last looked through

	stopping context.Context // ends when no more writes are taken
	stop     context.CancelFunc
	mu       sync.Mutex
	running  map[string]lease     // of the updates of this process
	unstored map[string]*unstored // their ends that the database did not take yet
	late     map[string]string    // the patients of those that took effect though the journal says NOT_APPLIED
}

// New returns a Writer.
func New(c Config) *Writer {
	c.setTimings()
	w := &Writer{
		Config: c, owner: c.NewID(), circuit: newCircuit(c.Log, c.Now), retry: newRetry(), metrics: newMetrics(),
		running: map[string]lease{}, unstored: map[string]*unstored{}, late: map[string]string{},
	}
	w.stopping, w.stop = context.WithCancel(context.Background())
	if c.Metrics != nil {
		w.register(c.Metrics)
	}
	return w
}

// Change is one contact update that was authorised and validated.
type Change struct {
	PatientID       string // the number
	Asked           string // the number or alias that the caller named the patient by; "" = the number
	FHIRID          string // of the patient that was authorised: should its number have moved, nobody else is written; "" = none
	Edit            fhir.ContactEdit
	ExpectedVersion int64  // Patient.version in which the caller saw the fields of the edit; 0 = any
	Actor           string // who asks; scopes the idempotency key
	IdempotencyKey  string // "" = none
}

// digest tells two changes apart.
func (c Change) digest() string {
	// As the caller said it: the number may move between two tries.
	text, _ := json.Marshal([]any{cmp.Or(c.Asked, c.PatientID), c.Edit, c.ExpectedVersion}) // strings and numbers always encode
	sum := sha256.Sum256(text)
	return hex.EncodeToString(sum[:])
}

// errAgain: what the update started from has changed meanwhile.
var errAgain = errors.New("begin again")

// UpdateContact makes one change: on the FHIR server first, in the cache what
// the server then shows. A patient without a FHIR id is changed in the cache
// alone. An error means that the database failed, and unless it is ErrUnsure
// that nothing was changed.
func (w *Writer) UpdateContact(ctx context.Context, c Change) (*Outcome, error) {
	id, began := w.NewID(), time.Now()
	o, err := w.updateContact(ctx, id, c)
	if err == nil {
		o, err = w.withPatient(ctx, c.PatientID, o)
	}
	if err == nil && o.OperationID == "" {
		o.OperationID = id
		// Without the patient: nobody has looked whether what the caller typed is a number.
		w.Log.InfoContext(ctx, "contact update not begun: "+o.Reason, "operation", id, "outcome", o.Code, "ms", float64(time.Since(began).Microseconds())/1000)
	}
	w.metrics.count(o, err)
	return o, err
}

// withPatient completes an outcome with the row as it is now, unless the end of the
// update brought it along.
func (w *Writer) withPatient(ctx context.Context, id string, o *Outcome) (*Outcome, error) {
	if o.Patient != nil || o.Code == NotFound || o.Code == KeyReused {
		return o, nil
	}
	ctx, cancel := uncancelled(ctx)
	defer cancel()
	row, err := w.Store.Patient(ctx, id)
	switch {
	case err == nil:
		o.Patient = row
		if o.Code == OutcomeUnknown { // it may have been settled since: the two must agree
			row.SyncState = db.Pending
		}
	case o.known != nil: // what became of a PUT must not go untold for this
		o.Patient = o.known
	case errors.Is(err, db.ErrNotFound):
		return noSuchPatient(), nil
	default:
		return nil, fmt.Errorf("read cached patient: %w", err)
	}
	return o, nil
}

func (w *Writer) updateContact(ctx context.Context, id string, c Change) (*Outcome, error) {
	wait, cancel := context.WithTimeout(ctx, w.Timeout)
	defer cancel()
	defer context.AfterFunc(w.stopping, cancel)()
	release, err := w.locks.acquire(wait, c.PatientID)
	if err != nil {
		return w.busy(ctx, c, err)
	}
	defer release()
	for pause := pollAtFirst; wait.Err() == nil; pause = min(2*pause, pollAtMost) {
		if o, err := w.toldBefore(wait, c); o != nil || err != nil {
			return o, err
		}
		o, err := w.begin(ctx, id, c)
		switch {
		case errors.Is(err, errAgain):
		case errors.Is(err, db.ErrBusy):
			if err := w.waitForOther(wait, c, pause); err != nil {
				return nil, err
			}
		default:
			return o, err
		}
	}
	return w.busy(ctx, c, wait.Err())
}
