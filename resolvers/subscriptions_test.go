package resolvers

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/vektah/gqlparser/v2/gqlerror"

	"patientgraph/auth"
	"patientgraph/db"
	"patientgraph/graph"
	"patientgraph/internal/wait"
	"patientgraph/writethrough"
)

var testTime = time.Date(2026, 3, 1, 9, 0, 0, 0, time.UTC)

// waiting is a Writer of which only the look-ups are there.
type waiting struct {
	Writer
	actor   string
	lookups atomic.Int64
	await   func(ctx context.Context) (*writethrough.Update, error)
}

func (w *waiting) ContactUpdate(context.Context, string) (*writethrough.Update, error) {
	w.lookups.Add(1)
	return &writethrough.Update{OperationID: "op", PatientID: "P-1", Actor: w.actor, State: db.UpdateUnknown}, nil
}

func (w *waiting) Await(ctx context.Context, _ string) (*writethrough.Update, error) {
	return w.await(ctx)
}

func untilDone(ctx context.Context) (*writethrough.Update, error) {
	<-ctx.Done()
	return nil, ctx.Err()
}

// subscriber is a viewer whose token is good for an hour.
func subscriber(subject string) auth.Viewer {
	return auth.Viewer{Subject: subject, Role: auth.RoleAdmin, Expires: testTime.Add(time.Hour)}
}

func (w *waiting) resolver(now func() time.Time) *Resolver {
	return &Resolver{Writer: w, Log: slog.New(slog.DiscardHandler), Now: now}
}

func (r *Resolver) subscribe(ctx context.Context, v auth.Viewer) (<-chan *graph.ContactUpdate, error) {
	events, _, err := r.subscribeToEnd(ctx, v)
	return events, err
}

func (r *Resolver) subscribeToEnd(ctx context.Context, v auth.Viewer) (events <-chan *graph.ContactUpdate, end func() error, err error) {
	return told(ctx, func(ctx context.Context) (<-chan *graph.ContactUpdate, error) {
		return r.Subscription().ContactUpdateSettled(auth.WithViewer(ctx, v), "op")
	})
}

// told waits for events, as whoever tells them does. When they are over end is why.
func told[T any](ctx context.Context, begin func(context.Context) (<-chan T, error)) (events <-chan T, end func() error, err error) {
	ctx, from := WithEvents(ctx)
	put, err := begin(ctx)
	if err != nil {
		return nil, nil, err
	}
	taken := make(chan T)
	go func() {
		defer close(taken)
		defer from.Leave()
		for from.Next() {
			select {
			case taken <- <-put:
			case <-ctx.Done():
				return
			}
		}
	}()
	return taken, from.End, nil
}

func atTestTime() time.Time { return testTime }

func (p *PerViewer) count() (n int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, open := range p.open {
		n += open
	}
	return n + len(p.open)
}

func codeOf(err error) any {
	var e *gqlerror.Error
	if errors.As(err, &e) {
		return e.Extensions["code"]
	}
	return nil
}

func TestSubscriptionsOfOneViewerAreBounded(t *testing.T) {
	t.Parallel()
	r := (&waiting{await: untilDone}).resolver(atTestTime)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	first, leaveFirst := context.WithCancel(ctx)
	var ends []<-chan *graph.ContactUpdate
	for n := range maxSubscriptions {
		client := ctx
		if n == 0 {
			client = first
		}
		end, err := r.subscribe(client, subscriber("a"))
		if err != nil {
			t.Fatalf("subscription %d: %v", n+1, err)
		}
		ends = append(ends, end)
	}
	_, err := r.subscribe(ctx, subscriber("a"))
	if codeOf(err) != CodeLimitExceeded || !bytes.Contains([]byte(err.Error()), []byte("50")) {
		t.Errorf("one more: %v, want %s and the limit", err, CodeLimitExceeded)
	}
	other, err := r.subscribe(ctx, subscriber("b"))
	if err != nil {
		t.Errorf("another viewer: %v", err)
	}
	leaveFirst()
	<-ends[0]
	wait.Until(t, "there is room after one has left", func() bool {
		again, err := r.subscribe(ctx, subscriber("a"))
		if err == nil {
			ends = append(ends, again)
		}
		return err == nil
	})
	cancel()
	for _, end := range append(ends, other) {
		<-end
	}
	wait.Until(t, "nobody is counted after all have left", func() bool { return r.subscribed.count() == 0 })
}

// TestRefusedSubscriptionsAreNotCounted: nor are those who may never ask
// looked up.
func TestRefusedSubscriptionsAreNotCounted(t *testing.T) {
	t.Parallel()
	w := &waiting{actor: "somebody else", await: untilDone}
	r := w.resolver(atTestTime)
	for range 2 * maxSubscriptions {
		patient := auth.Viewer{Role: auth.RolePatient, PatientIDs: []string{"P-1"}, Expires: testTime.Add(time.Hour)}
		if _, err := r.subscribe(t.Context(), patient); codeOf(err) != CodeBadUserInput {
			t.Fatalf("another's update: %v", err)
		}
	}
	if n := r.subscribed.count(); n != 0 {
		t.Errorf("%d refused subscriptions are counted", n)
	}
	before := w.lookups.Load()
	for _, v := range []auth.Viewer{{}, {Role: auth.RoleDoctor}, {Role: auth.RoleAnalyst}, {Role: auth.RolePatient}, {Role: "x", PatientIDs: []string{"P-1"}}} {
		if _, err := r.subscribe(t.Context(), v); codeOf(err) != CodeBadUserInput {
			t.Errorf("%+v: %v", v, err)
		}
		if u, err := r.Query().ContactUpdate(auth.WithViewer(t.Context(), v), "op"); u != nil || err != nil {
			t.Errorf("%+v: %v, %v", v, u, err)
		}
	}
	if n := w.lookups.Load() - before; n != 0 {
		t.Errorf("%d look-ups for viewers who may never ask", n)
	}
}

func TestSubscriptionEndsWithTheToken(t *testing.T) {
	t.Parallel()
	settled := &writethrough.Update{
		OperationID: "op", PatientID: "P-1", State: db.UpdateApplied, Outcome: &writethrough.Outcome{Code: writethrough.Success, Patient: &db.Patient{ID: "P-1"}},
	}
	t.Run("while it waits", func(t *testing.T) {
		t.Parallel()
		r := (&waiting{await: untilDone}).resolver(time.Now)
		v := subscriber("a")
		v.Expires = time.Now().Add(50 * time.Millisecond)
		events, end, err := r.subscribeToEnd(t.Context(), v)
		if err != nil {
			t.Fatal(err)
		}
		if event := <-events; event != nil || end() != ErrTokenExpired {
			t.Errorf("told %+v", event)
		}
	})
	// The process stood still, so that no timer has fired yet.
	for name, late := range map[string]time.Duration{"in time": 0, "at the end": time.Hour, "later": 2 * time.Hour} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var now atomic.Int64
			now.Store(testTime.UnixNano())
			w := &waiting{await: func(context.Context) (*writethrough.Update, error) {
				now.Add(int64(late))
				return settled, nil
			}}
			events, end, err := w.resolver(func() time.Time { return time.Unix(0, now.Load()) }).subscribeToEnd(t.Context(), subscriber("a"))
			if err != nil {
				t.Fatal(err)
			}
			if event := <-events; (event != nil) != (late == 0) {
				t.Errorf("%v after the start, of a token good for an hour: told %+v", late, event)
			}
			if event, open := <-events; open {
				t.Errorf("and then %+v", event)
			}
			if why := end(); (why == nil) != (late == 0) || late > 0 && why != ErrTokenExpired {
				t.Errorf("%v after the start it ended with %v", late, why)
			}
		})
	}
}

// Its client subscribes again, at a server that goes on.
func TestAServerThatStopsTellsNoOutcome(t *testing.T) {
	t.Parallel()
	w := &waiting{await: func(context.Context) (*writethrough.Update, error) {
		return &writethrough.Update{OperationID: "op", PatientID: "P-1", State: db.UpdateUnknown}, nil
	}}
	events, end, err := w.resolver(atTestTime).subscribeToEnd(t.Context(), subscriber("a"))
	if err != nil {
		t.Fatal(err)
	}
	if event := <-events; event != nil || end() != ErrStopping {
		t.Errorf("told %+v", event)
	}
}

// TestBrokenLineEndsOnlyItsSubscription: it is not in a request's goroutine,
// where gqlgen would recover.
func TestBrokenLineEndsOnlyItsSubscription(t *testing.T) {
	t.Parallel()
	w := &waiting{await: func(context.Context) (*writethrough.Update, error) {
		return &writethrough.Update{State: db.UpdateApplied, Outcome: &writethrough.Outcome{Code: writethrough.Success}}, nil // without the patient
	}}
	var logged bytes.Buffer
	r := w.resolver(atTestTime)
	r.Log = slog.New(slog.NewTextHandler(&logged, nil))
	events, end, err := r.subscribeToEnd(t.Context(), subscriber("a"))
	if err != nil {
		t.Fatal(err)
	}
	if event, why := <-events, end(); event != nil || codeOf(why) != CodeInternal {
		t.Errorf("told %+v, and then %v", event, why)
	}
	if !bytes.Contains(logged.Bytes(), []byte("level=ERROR")) {
		t.Error(fmt.Sprint("no error in the log: ", logged.String()))
	}
}

// TestAPanicApartIsTheCallers: what it was about, and where.
func TestAPanicApartIsTheCallers(t *testing.T) {
	t.Parallel()
	defer func() {
		said := Panic(recover()).Error()
		if !strings.Contains(said, "out of range") || !strings.Contains(said, "readsBehindTheEnd") || strings.Count(said, "panic: ") != 1 {
			t.Errorf("the log would have %s", said)
		}
	}()
	Apart(readsBehindTheEnd)
	t.Error("nothing was met")
}

func readsBehindTheEnd() { _ = make([]int, 0)[len(os.Args)] }
