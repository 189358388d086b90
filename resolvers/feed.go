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
	sent    shownState // the one sent last, or what the client could read when it subscribed
}

// shownState is a patient at one version; zero: none. The whole row would be kept as long
// as the subscription.
type shownState struct {
	id, fhirID string
	version    int64
}

func stateOf(row *db.Patient) shownState {
	if row == nil {
		return shownState{}
	}
	return shownState{row.ID, row.FHIRID, row.Version}
}

// follow begins a subscription. The error is for the caller.
func (r *Resolver) follow(ctx context.Context, v auth.Viewer, id string, columns []db.Column) (*feed, error) {
	f := &feed{Resolver: r, viewer: v, id: id, columns: append(columns, db.ColUpdatedAt, db.ColVersion), me: &follower{changed: make(chan struct{}, 1)}}
	r.changes.follow(f.me, name{number: id}) // before it is read: no change falls in between
	err := r.watchChanges(ctx)
	var row *db.Patient
	if err == nil {
		row, err = f.read(ctx)
	}
	switch {
	case err != nil:
		err = r.internal(ctx, err)
	case row == nil:
		err = requestError(ctx, CodeBadUserInput, "there is no patient with this id that you may see")
	}
	if err != nil {
		r.changes.leave(f.me)
		return nil, err
	}
	f.sent = stateOf(row)
	if came := arrival(ctx); !came.IsZero() && !row.UpdatedAt.Before(came) {
		f.sent = shownState{version: -1} // it has changed since the client was promised a stream
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

// send sends the newest state after each change. A client that reads slowly keeps nobody
// waiting, and hears only the newest of what changed meanwhile.
func (f *feed) send(ctx context.Context, left func()) <-chan *graph.Patient {
	return send(ctx, f.Resolver, f.viewer, func() {
		f.changes.leave(f.me)
		left()
	}, f.next)
}

// next waits for another state than the one that was sent last. nil: the viewer may not see it.
func (f *feed) next(ctx context.Context) (*graph.Patient, error) {
	for {
		select {
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		case <-f.Writer.Stopping():
			return nil, ErrStopping
		case <-f.me.changed:
		}
		var row *db.Patient
		var err error
		Apart(func() { row, err = f.read(ctx) })
		switch {
		case ctx.Err() != nil:
			return nil, context.Cause(ctx)
		case !f.Now().Before(f.viewer.Expires): // a process that stood still may come by before its timers
			return nil, ErrTokenExpired
		case errors.Is(err, db.ErrUnreadable):
			return nil, err
		case err != nil: // the database is away
			time.AfterFunc(watchEvery, f.me.wake)
			continue
		}
		state := stateOf(row)
		if state == f.sent {
			continue
		}
		if f.sent = state; row == nil {
			return nil, nil
		}
		return f.toPatient(row, f.viewer), nil
	}
}
