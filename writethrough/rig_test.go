package writethrough_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"testing"
	"time"

	"github.com/google/uuid"

	"patientgraph/db"
	"patientgraph/db/dbtest"
	"patientgraph/fhir"
	"patientgraph/fhir/fhirsim"
	"patientgraph/internal/wait"
	"patientgraph/record"
	"patientgraph/writethrough"
)

// scriptedFHIR stands between a Writer and the FHIR server.
type scriptedFHIR struct {
	*fhir.Client
	read   func(ctx context.Context, id string) (fhir.Resource, error)
	update func(ctx context.Context, id string, body []byte, ifMatch string) (fhir.Update, error)
	after  func(ctx context.Context, id, etag string) (fhir.Resource, error)
}

func (n *scriptedFHIR) Read(ctx context.Context, id string) (fhir.Resource, error) {
	if n.read != nil {
		return n.read(ctx, id)
	}
	return n.Client.Read(ctx, id)
}

func (n *scriptedFHIR) Update(ctx context.Context, id string, body []byte, ifMatch string) (fhir.Update, error) {
	if n.update != nil {
		return n.update(ctx, id, body, ifMatch)
	}
	return n.Client.Update(ctx, id, body, ifMatch)
}

func (n *scriptedFHIR) After(ctx context.Context, id, etag string) (fhir.Resource, error) {
	if n.after != nil {
		return n.after(ctx, id, etag)
	}
	return n.Client.After(ctx, id, etag)
}

var errReset = &fhir.Error{Kind: fhir.Lost, Op: fhir.OpUpdate, Reason: "Connection reset"}

// rig is a FHIR server with patients, and a cache that has them too.
type rig struct {
	t      testing.TB
	client *fhir.Client
	server *fhirsim.Server
	store  *db.Store
}

func newRig(t testing.TB, patients int) *rig {
	return newRigOn(t, dbtest.SQLite(t), patients)
}

func newRigOn(t testing.TB, url string, patients int) *rig {
	t.Helper()
	server := fhirsim.New(fhirsim.Options{})
	base, stop, err := server.Start()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(stop)
	client, err := fhir.NewClient(fhir.Options{BaseURL: base, MaxConns: 1024})
	if err != nil {
		t.Fatal(err)
	}
	store, err := db.Open(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { store.Close() })
	if err := store.Migrate(t.Context()); err != nil {
		t.Fatal(err)
	}
	var rows []db.NewPatient
	for n := range patients {
		resource := fmt.Sprintf(`{"resourceType":"Patient","id":%q,"name":[{"family":"Kim","given":["Min"]}],"telecom":[{"system":"phone","value":"010-0000-0000","use":"mobile"},{"system":"fax","value":"02-111-1111"}],"gender":"female","birthDate":"1990-01-01"}`, fhirID(n))
		if err := server.Put([]byte(resource)); err != nil {
			t.Fatal(err)
		}
		p, err := fhir.ParsePatient([]byte(resource), time.Now())
		if err != nil {
			t.Fatal(err)
		}
		rows = append(rows, db.NewPatient{Number: patientID(n), FHIRID: fhirID(n), State: record.State(p)})
	}
	if _, err := store.ImportPatients(t.Context(), rows, time.Now()); err != nil {
		t.Fatal(err)
	}
	return &rig{t, client, server, store}
}

// writer makes a Writer; run: its Run runs until the test ends.
func (r *rig) writer(run bool, f writethrough.FHIR, s writethrough.Store, change func(*writethrough.Config)) *writethrough.Writer {
	c := writethrough.Config{
		FHIR: f, Store: s, Log: slog.New(slog.DiscardHandler), Timeout: 2 * time.Second, Keep: 24 * time.Hour,
		Now: time.Now, NewID: func() string { return uuid.Must(uuid.NewV7()).String() },
	}
	if change != nil {
		change(&c)
	}
	w := writethrough.New(c)
	if run {
		ctx, end := context.WithCancel(context.Background())
		ended := make(chan struct{})
		go func() { defer close(ended); w.Run(ctx, ctx) }()
		r.t.Cleanup(func() { end(); <-ended })
	}
	return w
}

func patientID(n int) string { return fmt.Sprintf("P-%04d", n) }
func fhirID(n int) string    { return fmt.Sprintf("f%d", n) }

func phone(v string) fhir.ContactEdit { return fhir.ContactEdit{SetPhone: true, Phone: v} }

// setPhone changes the first patient's phone.
func setPhone(v string) writethrough.Change {
	return writethrough.Change{PatientID: patientID(0), Edit: phone(v)}
}

func (r *rig) state(id string) db.UpdateState {
	r.t.Helper()
	u, err := r.store.ContactUpdate(context.Background(), id)
	if err != nil {
		r.t.Fatal(err)
	}
	return u.State
}

// settled waits for the end of an update.
func (r *rig) settled(id string) (state db.UpdateState) {
	r.t.Helper()
	wait.Until(r.t, id+" is settled", func() bool {
		state = r.state(id)
		return !state.Open()
	})
	return state
}

// await waits until the cache shows this of the first patient.
func (r *rig) await(state db.SyncState, phone string) {
	r.t.Helper()
	wait.Until(r.t, "the cache says "+string(state)+" with "+phone, func() bool {
		p, err := r.store.Patient(context.Background(), patientID(0))
		return err == nil && p.SyncState == state && p.Phone == phone
	})
}

// failure is an outcome that is no success.
type failure struct{ *writethrough.Outcome }

func (f *failure) Error() string { return string(f.Code) + ": " + f.Reason }

// update makes a change; to a test any outcome but Success is an error.
func update(ctx context.Context, w *writethrough.Writer, c writethrough.Change) (*writethrough.Outcome, error) {
	o, err := w.UpdateContact(ctx, c)
	if err == nil && o.Code != writethrough.Success {
		return nil, &failure{o}
	}
	return o, err
}

// leave leaves an update behind as a killed process does, its lease over.
func (r *rig) leave(n int, id, etag string) {
	r.t.Helper()
	u := db.ContactUpdate{ID: id, PatientID: patientID(n), Actor: "a", Digest: "d"}
	if _, err := r.store.BeginUpdate(context.Background(), u, "dead", 30*time.Second); err != nil {
		r.t.Fatal(err)
	}
	if err := r.store.SendUpdate(id, "dead", patientID(n), etag, `{"edit":{"setPhone":true,"phone":"010-7777-7777"},"base":{"phone":"010-0000-0000"},"intended":{"phone":"010-7777-7777"}}`); err != nil {
		r.t.Fatal(err)
	}
	if err := r.store.RenewUpdates("dead", []string{id}, 0); err != nil {
		r.t.Fatal(err)
	}
}

// put has somebody else write the patient, with this telecom.
func (r *rig) put(telecom string) {
	r.t.Helper()
	if err := r.server.Put([]byte(`{"resourceType":"Patient","id":"f0","telecom":[` + telecom + `],"gender":"female"}`)); err != nil {
		r.t.Fatal(err)
	}
}

// codeOf is what the caller was told.
func codeOf(err error) writethrough.Code {
	var e *failure
	if errors.As(err, &e) {
		return e.Code
	}
	if err != nil {
		return "INTERNAL"
	}
	return "SUCCESS"
}

// newRigLike is newRig on a server with other habits.
func newRigLike(t *testing.T, h fhirsim.Habits) *rig {
	r := newRigOn(t, dbtest.SQLite(t), 1)
	server := fhirsim.New(fhirsim.Options{Habits: h})
	base, stop, err := server.Start()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(stop)
	now, err := r.client.Read(t.Context(), "f0")
	if err != nil {
		t.Fatal(err)
	}
	if err := server.Put(now.JSON); err != nil {
		t.Fatal(err)
	}
	options := fhir.Options{BaseURL: base}
	if h.OpenEMR {
		options.Server = "openemr"
	}
	if r.client, err = fhir.NewClient(options); err != nil {
		t.Fatal(err)
	}
	r.server = server
	return r
}
