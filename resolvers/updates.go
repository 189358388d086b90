package resolvers

import (
	"context"

	"patientgraph/auth"
	"patientgraph/db"
	"patientgraph/graph"
	"patientgraph/writethrough"
)

// updateStates shows a state of the journal; the open ones are PENDING.
var updateStates = map[db.UpdateState]graph.ContactUpdateState{
	db.UpdateApplied:    graph.ContactUpdateStateApplied,
	db.UpdateRejected:   graph.ContactUpdateStateRejected,
	db.UpdateConflict:   graph.ContactUpdateStateConflict,
	db.UpdateNotApplied: graph.ContactUpdateStateNotApplied,
}

// toContactUpdate shows an update to a viewer who may ask about it.
func (r *Resolver) toContactUpdate(ctx context.Context, v auth.Viewer, u *writethrough.Update) (*graph.ContactUpdate, error) {
	shown := &graph.ContactUpdate{
		OperationID: u.OperationID, PatientID: u.PatientID, State: graph.ContactUpdateStatePending,
		RequestedAt: u.RequestedAt, SettledAt: optionalTime(u.SettledAt),
	}
	if u.State.Open() {
		return shown, nil
	}
	shown.State = updateStates[u.State]
	if u.Applied != nil {
		shown.Result = success(u.Applied, v)
		return shown, nil
	}
	result, err := r.contactFailure(ctx, v, u.Err)
	shown.Result = result
	return shown, err
}

func success(a *writethrough.Applied, v auth.Viewer) *graph.UpdatePatientContactSuccess {
	return &graph.UpdatePatientContactSuccess{Patient: toPatient(a.Patient, v), OperationID: a.OperationID}
}

// settled tells once how an update ended, or that it is PENDING when the server
// stops. It closes without a word when the client is gone or the viewer's token
// has expired, and then calls end.
func (r *Resolver) settled(ctx context.Context, v auth.Viewer, operationID string, end func()) <-chan *graph.ContactUpdate {
	out := make(chan *graph.ContactUpdate, 1)
	ctx, cancel := context.WithTimeout(ctx, v.Expires.Sub(r.Now()))
	go func() {
		defer end()
		defer cancel()
		defer close(out)
		defer func() {
			if cause := recover(); cause != nil { // one line of the journal must not end the process
				_ = Internal(ctx, r.Log, Panic(cause))
			}
		}()
		u, err := r.Writer.Await(ctx, operationID)
		// By the clock: a process that stood still may come by before its timers.
		if ctx.Err() != nil || !r.Now().Before(v.Expires) || err == nil && !v.MayAskAbout(u.Actor, u.PatientID) {
			return
		}
		if err == nil {
			var shown *graph.ContactUpdate
			if shown, err = r.toContactUpdate(ctx, v, u); err == nil {
				out <- shown
				return
			}
		}
		r.Log.WarnContext(ctx, "a subscription to a contact update ended early", "operation", operationID, "error", err)
	}()
	return out
}

func noUpdateOfYours(ctx context.Context) error {
	return requestError(ctx, CodeBadUserInput, "there is no contact update of yours with this operationId")
}
