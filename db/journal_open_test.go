package db

import (
	"context"
	"testing"
	"time"
)

func TestOpenUpdatesAreCounted(t *testing.T) {
	t.Parallel()
	stores(t, func(t *testing.T, s *Store) {
		ctx := context.Background()
		add(t, s, testTime, NewPatient{Number: "P-1", FHIRID: "a1"}, NewPatient{Number: "P-2", FHIRID: "a2"}, NewPatient{Number: "P-3", FHIRID: "a3"})
		if open, err := s.OpenUpdates(ctx); err != nil || len(open.Count) != 0 || open.Oldest != 0 {
			t.Fatalf("of an empty journal: %+v, %v", open, err)
		}
		if _, err := begin(s, "u1", "P-1", ""); err != nil {
			t.Fatal(err)
		}
		sent(t, s, "u2", "P-2")
		sent(t, s, "u3", "P-3")
		closed(t, s, Closing{ID: "u3", PatientID: "P-3", State: UpdateNotApplied})
		if _, err := s.write.ExecContext(ctx, "UPDATE contact_updates SET requested_at = requested_at - 3600000000 WHERE id = 'u1'"); err != nil {
			t.Fatal(err)
		}
		open, err := s.OpenUpdates(ctx)
		if err != nil || len(open.Count) != 2 || open.Count[UpdateAccepted] != 1 || open.Count[UpdateSent] != 1 || open.Oldest < time.Hour {
			t.Errorf("%+v, %v", open, err)
		}
	})
}
