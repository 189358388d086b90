package resolvers

import (
	"context"
	"errors"
	"time"

	"github.com/99designs/gqlgen/graphql"

	"patientgraph/auth"
	"patientgraph/db"
	"patientgraph/graph"
)

// feed is one subscription to the changes of a patient.
type feed struct {
	*Resolver
	viewer  auth.Viewer
	id      string // as asked for
	columns []db.Column
	me      *follower
	sent    *db.Patient // what was sent last, or what the client could read when it subscribed; nil: nothing
}

// follow begins a subscription. The error is for the caller.
func (r *Resolver) follow(ctx context.Context, v auth.Viewer, id string, columns []db.Column) (*feed, error) {
	f := &feed{Resolver: r, viewer: v, id: id, columns: append(columns, db.ColUpdatedAt), me: &follower{changed: make(chan struct{}, 1)}}
	r.changes.follow(f.me, name{number: id}) // before it is read: no change falls in between
	err := r.watchChanges(ctx)
	if err == nil {
		f.sent, err = f.read(ctx)
	}
	switch {
	case err != nil:
		err = r.internal(ctx, err)
	case f.sent == nil:
		err = requestError(ctx, CodeBadUserInput, "there is no patient with this id that you may see")
	}
	if err != nil {
		r.changes.leave(f.me)
		return nil, err
	}
	if came := arrival(ctx); !came.IsZero() && !f.sent.UpdatedAt.Before(came) {
		f.sent = &db.Patient{} // it has changed since the client was promised a stream
		f.me.wake()
	}
	return f, nil
}

// arrival is when the request came, as precisely as a row knows when it changed: the
// head of a stream leaves before anything is resolved.
func arrival(ctx context.Context) time.Time {
	if !graphql.HasOperationContext(ctx) {
		return time.Time{}
	}
	return graphql.GetOperationContext(ctx).Stats.Read.Start.Truncate(time.Microsecond)
}

// read returns the patient as the viewer may see it now, nil if it may not, and follows
// whom the id names by then.
func (f *feed) read(ctx context.Context) (*db.Patient, error) {
	row, err := f.visiblePatient(ctx, f.viewer, f.id, f.columns)
	if err != nil || row == nil {
		return nil, err
	}
	names := []name{{number: f.id}, {number: row.ID}}
	if row.FHIRID != "" {
		names = append(names, name{fhirID: row.FHIRID})
	}
	f.changes.follow(f.me, names...)
	return row, nil
}

// send sends the newest state after each change. A client that reads slowly keeps
// nobody waiting: what changes meanwhile takes the place of what it has not taken yet.
func (f *feed) send(ctx context.Context, left func()) <-chan *graph.Patient {
	return send(ctx, f.Resolver, f.viewer, left, func(ctx context.Context, events chan<- *graph.Patient) error {
		defer f.changes.leave(f.me)
		var row *db.Patient
		var shown *graph.Patient
		var ready chan<- *graph.Patient // events, while there is something to send
		for {
			select {
			case <-ctx.Done():
				return context.Cause(ctx)
			case <-f.Writer.Stopping():
				return ErrStopping
			case ready <- shown:
				f.sent, ready = row, nil
				continue
			case <-f.me.changed:
			}
			now, err := f.read(ctx)
			switch {
			case ctx.Err() != nil:
				return context.Cause(ctx)
			case !f.Now().Before(f.viewer.Expires): // a process that stood still may come by before its timers
				return ErrTokenExpired
			case errors.Is(err, db.ErrUnreadable):
				return err
			case err != nil: // the database is away
				time.AfterFunc(watchEvery, f.me.wake)
				continue
			}
			if row, ready = now, nil; !sameState(row, f.sent) {
				ready, shown = events, nil
				if row != nil {
					shown = f.toPatient(row, f.viewer)
				}
			}
		}
	})
}

// sameState reports whether both are one patient at one version, or none.
func sameState(a, b *db.Patient) bool {
	if a == nil || b == nil {
		return a == b
	}
	return a.ID == b.ID && a.FHIRID == b.FHIRID && a.Version == b.Version
}
