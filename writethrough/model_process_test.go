package writethrough

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"runtime"
	"slices"
	"time"

	"patientgraph/db"
	"patientgraph/fhir"
)

// fault is what happens to one call of the FHIR server or the database.
type fault struct {
	before, after event
	between       event  // of a PUT to OpenEMR: others write before it is read again for the answer
	halt          string // "", crash before, crash after, stall before, stall after, slow after, hang up after, delay before, delay after
	delay         time.Duration
	answer        string // "": as it should be
	effect        string // of a PUT
	late          bool   // of a PUT whose answer is lost
}

// script is what happens to the next calls of a process; the last of each kind
// goes on if it stays.
type script struct {
	reads, puts, afters, stores []fault
	others                      string // what a search for any patient meets
	stays                       bool
}

// GoString is what rapid shows.
func (s script) GoString() string {
	return fmt.Sprintf("\n\treads %v\n\tputs %v\n\tafters %v\n\tstores %v, others %q, stays %v", s.reads, s.puts, s.afters, s.stores, s.others, s.stays)
}

func (f fault) String() string {
	late := ""
	if f.late {
		late = "late"
	}
	return fmt.Sprint([]any{f.before.what, f.halt, f.answer, f.effect, late, f.after.what})
}

// process is one replica: a Writer with its way to the server and the database.
type process struct {
	m      *model
	name   string
	w      *Writer
	script script
	gates  []chan struct{} // goroutines that stand still
	// renewing, settling: one of its loops is under way.
	dead, stalled, renewing, settling bool
}

// GoString is what rapid shows.
func (p *process) GoString() string { return p.name }

var errDatabase = errors.New("database is locked")

func (p *process) next(queue *[]fault) (f fault) {
	p.m.mu.Lock()
	defer p.m.mu.Unlock()
	if len(*queue) > 0 {
		if f = (*queue)[0]; len(*queue) > 1 || !p.script.stays {
			*queue = (*queue)[1:]
		}
	}
	return f
}

// reach is a point where the process may die or stand still.
func (p *process) reach(ctx context.Context, f fault, when string) {
	p.m.mu.Lock()
	defer p.m.mu.Unlock()
	switch f.halt {
	case "crash " + when:
		p.kill()
	case "stall " + when:
		p.m.log("  %s stands still", p.name)
		p.stalled = true
	case "hang up " + when:
		if c, ok := ctx.Value(callKey{}).(*call); ok {
			c.cancel()
		}
	case "delay " + when:
		p.m.mu.Unlock()
		select {
		case <-time.After(f.delay):
		case <-ctx.Done():
		}
		p.m.mu.Lock()
	case "slow " + when:
		p.m.log("  %s waits", p.name)
		p.wait(ctx)
	}
	for p.stalled && !p.dead {
		p.wait(context.Background())
	}
	if p.dead {
		runtime.Goexit()
	}
}

func (p *process) wait(ctx context.Context) {
	gate := make(chan struct{})
	p.gates = append(p.gates, gate)
	p.m.mu.Unlock()
	select {
	case <-gate:
	case <-ctx.Done():
	}
	p.m.mu.Lock()
	p.gates = slices.DeleteFunc(p.gates, func(g chan struct{}) bool { return g == gate })
}

func (p *process) kill() {
	p.m.log("  %s dies", p.name)
	p.dead = true
	p.resume()
}

// resume lets the process go on.
func (p *process) resume() {
	p.stalled = false
	for _, gate := range p.gates {
		close(gate)
	}
	p.gates = nil
}

// exchange is one conversation with the server.
func exchange[T any](p *process, ctx context.Context, f fault, kind fhir.Kind, do func() (T, *fhir.Error)) (T, error) {
	p.reach(ctx, f, "before")
	var none T
	if ctx.Err() != nil {
		return none, &fhir.Error{Kind: kind, Reason: "Connection timeout", Timeout: true, Err: ctx.Err()}
	}
	v, failed := func() (T, *fhir.Error) {
		p.m.mu.Lock()
		defer p.m.mu.Unlock()
		p.m.happens(f.before)
		defer p.m.happens(f.after)
		return do()
	}()
	if f.answer == "hang" {
		<-ctx.Done()
	}
	p.reach(ctx, f, "after")
	if ctx.Err() != nil && (f.answer == "hang" || f.halt == "slow after" || f.halt == "delay after") {
		return none, &fhir.Error{Kind: fhir.Lost, Reason: "Connection timeout", Timeout: true, Err: ctx.Err()}
	}
	if failed != nil {
		return none, failed
	}
	return v, nil
}

// spoiled is the failure that an answer is replaced by.
func spoiled(answer string) *fhir.Error {
	switch answer {
	case "lost", "hang":
		return failure(fhir.Lost, 0)
	case "502":
		return failure(fhir.Lost, http.StatusBadGateway)
	case "503":
		f := failure(fhir.Lost, http.StatusServiceUnavailable)
		f.RetryAfter = 5 * time.Second
		return f
	case "not sent":
		return failure(fhir.NotSent, 0)
	case "401":
		return failure(fhir.AuthFailed, http.StatusUnauthorized)
	case "403":
		return failure(fhir.Forbidden, http.StatusForbidden)
	case "busy":
		return failure(fhir.Busy, http.StatusConflict)
	case "412":
		return failure(fhir.Conflict, http.StatusPreconditionFailed)
	case "422":
		return failure(fhir.Rejected, http.StatusUnprocessableEntity)
	case "429":
		return failure(fhir.RateLimited, http.StatusTooManyRequests)
	case "unusable":
		return failure(fhir.Unusable, http.StatusOK)
	}
	return nil
}

// modelProfile is that of any FHIR R4 server.
var modelProfile = func() *fhir.Profile {
	client, err := fhir.NewClient(fhir.Options{BaseURL: "http://model.invalid"})
	if err != nil {
		panic(err)
	}
	chosen, err := client.Profile(context.Background()) // nothing is asked
	if err != nil {
		panic(err)
	}
	return chosen.Profile
}()

func (p *process) Profile(context.Context) (fhir.Chosen, error) {
	return fhir.Chosen{Profile: modelProfile}, nil
}

func (p *process) Read(ctx context.Context, _ string) (fhir.Resource, error) {
	f := p.next(&p.script.reads)
	return exchange(p, ctx, f, fhir.NotSent, func() (fhir.Resource, *fhir.Error) {
		v := p.m.server.current()
		switch failed := spoiled(f.answer); {
		case failed != nil:
			return fhir.Resource{}, failed
		case v.deleted:
			return fhir.Resource{}, failure(fhir.Gone, http.StatusGone)
		}
		p.m.hasRead(ctx, v)
		return fhir.Resource{ID: modelID, ETag: v.etag, JSON: v.body, Profile: modelProfile}, nil
	})
}

// hasRead notes what a call has read to change it.
func (m *model) hasRead(ctx context.Context, v *version) {
	c, ok := ctx.Value(callKey{}).(*call)
	if !ok {
		return
	}
	c.read = v
	if c.sent {
		return
	}
	if c.first = v; c.op != nil {
		c.op.first = v
	}
}

func (p *process) ReadsOthers(ctx context.Context) (bool, error) {
	return exchange(p, ctx, fault{}, fhir.NotSent, func() (bool, *fhir.Error) {
		if p.script.others == "lost" {
			return false, failure(fhir.Lost, 0)
		}
		return p.script.others == "", nil
	})
}

func (p *process) After(ctx context.Context, _, etag string) (fhir.Resource, error) {
	f, s := p.next(&p.script.afters), p.m.server
	return exchange(p, ctx, f, fhir.NotSent, func() (fhir.Resource, *fhir.Error) {
		failed := spoiled(f.answer)
		if failed == nil && s.blind {
			failed = failure(fhir.Unusable, http.StatusNotFound)
		}
		i := slices.IndexFunc(s.history, func(v *version) bool { return v.etag == etag }) + 1
		switch {
		case failed == nil && (i == 0 || i == len(s.history)):
			failed = failure(fhir.Unusable, http.StatusOK)
		case failed == nil && s.history[i].deleted:
			failed = failure(fhir.Gone, http.StatusGone)
		}
		if failed != nil {
			s.untold[etag] = s.untold[etag] || failed.Kind == fhir.Unusable
			s.unread[etag] = s.unread[etag] || failed.Status != 0
			return fhir.Resource{}, failed
		}
		return fhir.Resource{ID: modelID, ETag: s.history[i].etag, JSON: s.history[i].body}, nil
	})
}

func (p *process) Update(ctx context.Context, _ string, body []byte, ifMatch string) (fhir.Update, error) {
	f := p.next(&p.script.puts)
	c := ctx.Value(callKey{}).(*call)
	return exchange(p, ctx, f, fhir.NotSent, func() (fhir.Update, *fhir.Error) {
		s := p.m.server
		p.m.log("  %s sends %s of %s with If-Match %s: %s %s late %v", p.name, show(contactOf(body)), c.op.id, ifMatch, f.answer, f.effect, f.late)
		edit, first := c.change.Edit, contactOf(c.first.body)
		edit.Clears, c.sent = &first, true
		if want := edited(c.read.body, edit); !bytes.Equal(want, body) {
			p.m.wrong("the PUT is not what was read with the change made:\n%s\n%s", want, body)
		}
		if c.read.use != "" {
			p.m.wrong("%s sends a PUT to a record that it read as %s", c.op.id, c.read.use)
		}
		failed := spoiled(f.answer)
		if f.answer == "not sent" {
			return fhir.Update{}, failed
		}
		sent := &put{op: c.op, body: body, ifMatch: ifMatch, conflict: f.answer == "412" || f.answer == "busy", effect: f.effect, since: c.op.sent}
		c.op.puts = append(c.op.puts, sent)
		switch refused := s.refusal(sent); {
		case f.late:
			sent.late = true
			s.late = append(s.late, sent)
			return fhir.Update{}, failed
		case failed != nil && f.effect == "none", failed != nil && failed.Kind != fhir.Unusable && refused != nil:
			return fhir.Update{}, failed
		case refused != nil:
			return fhir.Update{}, refused
		}
		before := s.current().index
		v, created := p.m.land(sent)
		status := http.StatusOK
		if created {
			status = http.StatusCreated
		}
		if failed != nil && failed.Kind == fhir.Unusable {
			failed.Status = status
		}
		shown := fhir.Resource{ID: modelID, ETag: v.etag, JSON: v.body}
		switch {
		case f.answer == "silent":
			shown.JSON = nil
		case f.answer == "silent, no ETag":
			shown = fhir.Resource{ID: modelID}
		case f.answer == "echo" && v.index == before: // nothing was written
			shown.JSON = body
		}
		return fhir.Update{Resource: shown, Created: created, Status: status}, failed
	})
}

// ask is one call of the database.
func ask[T any](p *process, do func() (T, error)) (T, error) {
	f := p.next(&p.script.stores)
	p.reach(context.Background(), f, "before")
	var none T
	if f.answer == "fails" {
		return none, errDatabase
	}
	v, err := do()
	p.reach(context.Background(), f, "after")
	if f.answer == "fails after" && err == nil {
		return none, errDatabase
	}
	return v, err
}

func (p *process) Patient(ctx context.Context, id string, cols ...db.Column) (*db.Patient, error) {
	return ask(p, func() (*db.Patient, error) { return p.m.store.Patient(ctx, id, cols...) })
}

func (p *process) SetContact(id string, e db.ContactEdit, expected int64, at time.Time, line db.ContactUpdate) (*db.Patient, error) {
	return ask(p, func() (*db.Patient, error) { return p.m.store.SetContact(id, e, expected, at, line) })
}

func (p *process) BeginUpdate(ctx context.Context, u db.ContactUpdate, owner string, lease time.Duration) (*db.Begun, error) {
	return ask(p, func() (*db.Begun, error) {
		begun, err := p.m.store.BeginUpdate(ctx, u, owner, lease)
		if err == nil {
			p.m.begun(ctx, u.ID)
		}
		return begun, err
	})
}

func (p *process) SendUpdate(id, owner, patientID, ifMatch, put string) error {
	_, err := ask(p, func() (any, error) {
		err := p.m.store.SendUpdate(id, owner, patientID, ifMatch, put)
		if err == nil {
			p.m.sent(id)
		}
		return nil, err
	})
	return err
}

func (p *process) CloseUpdate(c db.Closing) (*db.Patient, error) {
	return ask(p, func() (*db.Patient, error) {
		row, err := p.m.store.CloseUpdate(c)
		p.m.log("  %s closes %s: %s %v", p.name, c.ID, c.State, err)
		return row, err
	})
}

func (p *process) HoldUpdate(id, owner, patientID string) error {
	_, err := ask(p, func() (any, error) { return nil, p.m.store.HoldUpdate(id, owner, patientID) })
	return err
}

func (p *process) ReopenUpdate(id, patientID string) error {
	_, err := ask(p, func() (any, error) {
		p.m.locked(func() { p.m.find(id).end = nil })
		return nil, p.m.store.ReopenUpdate(id, patientID)
	})
	return err
}

func (p *process) ContactUpdate(ctx context.Context, id string) (*db.ContactUpdate, error) {
	return ask(p, func() (*db.ContactUpdate, error) { return p.m.store.ContactUpdate(ctx, id) })
}

func (p *process) ContactUpdateByKey(ctx context.Context, actor, key string, ttl time.Duration) (*db.ContactUpdate, error) {
	return ask(p, func() (*db.ContactUpdate, error) { return p.m.store.ContactUpdateByKey(ctx, actor, key, ttl) })
}

func (p *process) HoldingUpdate(ctx context.Context, patientID string) (*db.ContactUpdate, error) {
	return ask(p, func() (*db.ContactUpdate, error) { return p.m.store.HoldingUpdate(ctx, patientID) })
}

func (p *process) RenewUpdates(owner string, ids []string, lease time.Duration) error {
	_, err := ask(p, func() (any, error) { return nil, p.m.store.RenewUpdates(owner, ids, lease) })
	return err
}

func (p *process) StillOpen(ctx context.Context, ids []string) ([]string, error) {
	return ask(p, func() ([]string, error) { return p.m.store.StillOpen(ctx, ids) })
}

func (p *process) ClaimUpdates(owner, patientID string, lease time.Duration, limit int) ([]db.ContactUpdate, error) {
	return ask(p, func() ([]db.ContactUpdate, error) { return p.m.store.ClaimUpdates(owner, patientID, lease, limit) })
}

func (p *process) CleanUpdates(ctx context.Context, keep time.Duration) (int, error) {
	return ask(p, func() (int, error) { return p.m.store.CleanUpdates(ctx, keep) })
}

func (p *process) OpenUpdates(ctx context.Context) (db.OpenUpdates, error) {
	return ask(p, func() (db.OpenUpdates, error) { return p.m.store.OpenUpdates(ctx) })
}
