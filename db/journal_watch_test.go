package db

import (
	"context"
	"fmt"
	"slices"
	"testing"
	"time"
)

func TestStillOpen(t *testing.T) {
	t.Parallel()
	stores(t, func(t *testing.T, s *Store) {
		ctx := context.Background()
		var patients []NewPatient
		for n := range 5 {
			patients = append(patients, NewPatient{Number: fmt.Sprint("P-", n), FHIRID: fmt.Sprint("f", n)})
		}
		ids := []string{}
		for n, id := range add(t, s, testTime, patients...) {
			op := fmt.Sprintf(`op-%d',"\`, n)
			if _, err := s.BeginUpdate(ctx, ContactUpdate{ID: op, PatientID: id}, "me", time.Minute); err != nil {
				t.Fatal(err)
			}
			if n > 0 {
				if err := s.SendUpdate(op, "me", id, "", "{}"); err != nil {
					t.Fatal(err)
				}
			}
			ids = append(ids, op)
		}
		end := func(n int, state UpdateState) {
			if _, err := s.CloseUpdate(Closing{ID: ids[n], Owner: "me", PatientID: fmt.Sprint("P-", n), State: state, At: testTime}); err != nil {
				t.Fatal(err)
			}
		}
		end(2, UpdateUnknown)
		end(3, UpdateRejected)
		end(4, UpdateNotApplied)
		for _, c := range []struct{ asked, want []string }{
			{ids, ids[:3]},
			{append([]string{"no such", ""}, ids...), ids[:3]},
			{ids[3:], nil},
			{[]string{ids[1], ids[1]}, ids[1:2]},
			{nil, nil},
		} {
			open, err := s.StillOpen(ctx, c.asked)
			if err != nil {
				t.Fatal(err)
			}
			slices.Sort(open)
			if !slices.Equal(open, c.want) {
				t.Errorf("of %q %q are open, want %q", c.asked, open, c.want)
			}
		}
		many := slices.Clone(ids)
		for n := range 5000 {
			many = append(many, fmt.Sprint("none-", n))
		}
		if open, err := s.StillOpen(ctx, many); err != nil || len(open) != 3 {
			t.Errorf("of %d %q are open (%v)", len(many), open, err)
		}
	})
}
