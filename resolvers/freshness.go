package resolvers

import (
	"context"
	"time"

	"patientgraph/db"
	"patientgraph/graph"
)

// freshness says which rows are known to be as the FHIR server was within STALE_AFTER.
func (r *Resolver) freshness() db.Freshness {
	if r.StaleAfter == 0 {
		return db.Freshness{}
	}
	if r.Mirror == nil {
		return db.FreshnessAt(r.Now(), r.StaleAfter, time.Time{})
	}
	fresh := db.FreshnessAt(r.Now(), r.StaleAfter, r.Mirror.LookedAt())
	fresh.Locked = r.Mirror.Locked()
	return fresh
}

// syncState says whether a row is known to be as the FHIR server was lately.
func (r *Resolver) syncState(row *db.Patient) graph.SyncState {
	if row.SyncState == db.Synced && r.freshness().Stale(row) {
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
	fresh := r.freshness()
	switch {
	case r.Mirror != nil && !r.Mirror.Filled() && (fresh.Looked || r.Mirror.Follows() && r.Mirror.LookedAt().IsZero()):
		m.State = graph.MirrorStateFilling
	case fresh.Looked:
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
		n, err := r.Store.CountPatients(ctx, db.Filter{SyncState: count.state, Freshness: fresh, IncludeInactive: true})
		if err != nil {
			return nil, err
		}
		*count.into = n
	}
	return m, nil
}
