package resolvers

import (
	"context"

	"github.com/google/uuid"

	"patientgraph/auth"
	"patientgraph/db"
	"patientgraph/fhir"
	"patientgraph/graph"
	"patientgraph/writethrough"
)

// contactEdit says what an input asks for: omitted leaves, null clears.
func contactEdit(input graph.UpdatePatientContactInput) fhir.ContactEdit {
	e := fhir.ContactEdit{
		SetPhone: input.Phone.IsSet(), Phone: value(input.Phone.Value()),
		SetEmail: input.Email.IsSet(), Email: value(input.Email.Value()),
		SetAddress: input.Address.IsSet(),
	}
	if a := input.Address.Value(); a != nil {
		e.Address = &fhir.Address{
			Text: value(a.Text), Lines: a.Lines, City: value(a.City), District: value(a.District),
			State: value(a.State), PostalCode: value(a.PostalCode), Country: value(a.Country),
		}
	}
	return e
}

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
		ID: u.OperationID, OperationID: u.OperationID, PatientID: u.PatientID, Kind: graph.ContactUpdateKind(u.Kind), State: graph.ContactUpdateStatePending,
		RequestedAt: u.RequestedAt, SettledAt: optionalTime(&u.SettledAt),
	}
	if u.State.Open() {
		return shown, nil
	}
	shown.State = updateStates[u.State]
	if u.Kind == db.KindLinked {
		shown.LocalContact = localContact(u.Local, v)
		return shown, nil
	}
	result, err := r.contactResult(ctx, v, u.Outcome)
	shown.Result = result
	return shown, err
}

// isOperationID reports whether an id reads as we name contact updates. That of a
// patient may too: a hospital chooses its numbers.
func isOperationID(id string) bool { return len(id) == 36 && uuid.Validate(id) == nil }

func noUpdateOfYours(ctx context.Context) error {
	return requestError(ctx, CodeBadUserInput, "there is no contact update of yours with this operationId")
}
