package resolvers

import (
	"context"
	"time"

	"patientgraph/db"
	"patientgraph/graph"
)

// staleBefore is from when the FHIR server must have shown a row so that it counts as
// SYNCED; zero: its changes were looked at since, and so every row was.
func (r *Resolver) staleBefore() time.Time {
	if r.StaleAfter == 0 {
		return time.Time{}
	}
	limit := r.Now().Add(-r.StaleAfter)
	if r.Mirror != nil && !r.Mirror.LookedAt().Before(limit) {
		return time.Time{}
	}
	return limit
}

// syncState says whether a row is known to be as the FHIR server is.
func (r *Resolver) syncState(row *db.Patient) graph.SyncState {
	limit := r.staleBefore()
	if row.SyncState == db.Synced && (!row.UnseenSince.IsZero() || !limit.IsZero() && row.LastSyncedAt.Before(limit)) {
		return graph.SyncStateStale
	}
	return graph.SyncState(row.SyncState)
}

// mirror tells staff how well the FHIR server is followed.
func (r *Resolver) mirror(ctx context.Context) (*graph.Mirror, error) {
	m := &graph.Mirror{State: graph.MirrorStateOff}
	if r.Mirror != nil {
		if at := r.Mirror.LookedAt(); !at.IsZero() {
			lag := int(max(r.Now().Sub(at), 0).Seconds())
			m.LastPollAt, m.LagSeconds = &at, &lag
		}
	}
	switch {
	case m.LastPollAt != nil && r.staleBefore().IsZero() && !r.Mirror.Filled():
		m.State = graph.MirrorStateFilling
	case m.LastPollAt != nil && r.staleBefore().IsZero():
		m.State = graph.MirrorStateFollowing
	case r.Mirror != nil && r.Mirror.Follows():
		m.State = graph.MirrorStateStale
	}
	for _, count := range []struct {
		field string
		state db.SyncState
		into  *int
	}{{"patients", "", &m.Patients}, {"pending", db.Pending, &m.Pending}, {"stale", db.Stale, &m.Stale}} {
		if !selected(ctx, count.field) {
			continue
		}
		n, err := r.Store.CountPatients(ctx, db.Filter{SyncState: count.state, StaleBefore: r.staleBefore(), IncludeInactive: true})
		if err != nil {
			return nil, err
		}
		*count.into = n
	}
	return m, nil
}
