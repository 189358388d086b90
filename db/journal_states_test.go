package db

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"
)

const noLine = "no line"

var (
	openStates    = []string{"ACCEPTED", "SENT", "UNKNOWN"}
	settledStates = []string{"APPLIED", "REJECTED", "CONFLICT", "NOT_APPLIED"}
)

type transition struct{ from, to, by string }

// transitions reads the table in the comment of UpdateState.
func transitions(t *testing.T) []transition {
	t.Helper()
	source, err := os.ReadFile("journal.go")
	if err != nil {
		t.Fatal(err)
	}
	_, table, found := strings.Cut(string(source), "//\tfrom ")
	if !found {
		t.Fatal("journal.go has no table of transitions")
	}
	states := func(cell string) []string {
		switch cell {
		case "open":
			return openStates
		case "settled":
			return settledStates
		case "deleted":
			return []string{noLine}
		}
		return strings.Split(cell, ", ")
	}
	var all []transition
	for _, line := range strings.Split(table, "\n")[1:] {
		row, isRow := strings.CutPrefix(line, "//\t")
		if !isRow {
			break
		}
		cells := regexp.MustCompile(` {2,}`).Split(row, -1)
		if len(cells) != 4 {
			t.Fatalf("%q has %d cells", row, len(cells))
		}
		for _, from := range states(cells[0]) {
			for _, to := range states(cells[1]) {
				if to == "the same" {
					to = from
				}
				all = append(all, transition{from, to, cells[2]})
			}
		}
	}
	return all
}

// step is a method of the journal, asked to do what it does with a line.
type step struct {
	by     string // as in the table
	asks   string // for this state; "" = there is one only
	owners bool   // the owner alone can
	run    func(s *Store, owner, id, patientID string) error
}

// steps are all methods that write the journal.
func steps() []step {
	ctx := context.Background()
	all := []step{
		{"BeginUpdate", "ACCEPTED", false, func(s *Store, owner, id, patientID string) error {
			_, err := s.BeginUpdate(ctx, ContactUpdate{ID: id, PatientID: patientID, Actor: "a", Digest: "d"}, owner, time.Minute)
			return err
		}},
		{"BeginUpdate", noLine, true, func(s *Store, owner, id, patientID string) error { // when it cannot go on
			_, err := s.runOne(patientID, dropUpdate, id, owner)
			return err
		}},
		{"SetContact", "", false, func(s *Store, _, id, patientID string) error {
			_, err := s.SetContact(patientID, ContactEdit{SetPhone: true, Phone: "2"}, 0, testTime, ContactUpdate{ID: id, Actor: "a", Digest: "d"})
			return err
		}},
		{"ImportPatients", "", false, func(s *Store, _, id, patientID string) error {
			s.NewID = func() string { return id }
			_, err := s.ImportPatients(ctx, []NewPatient{{Number: patientID, FHIRID: "linked-" + patientID}}, testTime)
			return err
		}},
		{"SendUpdate", "", true, func(s *Store, owner, id, patientID string) error {
			return s.SendUpdate(id, owner, patientID, `W/"2"`, "{}")
		}},
		{"HoldUpdate", "", true, func(s *Store, owner, id, patientID string) error { return s.HoldUpdate(id, owner, patientID) }},
		{"CloseUpdate of another", "", false, func(s *Store, owner, id, patientID string) error {
			if err := s.insertLine("other-"+id, patientID, "UNKNOWN", time.Minute); err != nil {
				return err
			}
			_, err := s.CloseUpdate(Closing{ID: "other-" + id, Owner: "me", PatientID: patientID, State: UpdateApplied, LandedETag: `W/"1"`})
			return err
		}},
		{"ReopenUpdate", "", false, func(s *Store, _, id, patientID string) error { return s.ReopenUpdate(id, patientID) }},
		{"RenewUpdates", "", true, func(s *Store, owner, id, _ string) error { return s.RenewUpdates(owner, []string{id}, time.Hour) }},
		{"ClaimUpdates", "", false, func(s *Store, _, id, patientID string) error {
			_, err := s.ClaimUpdates("heir", patientID, time.Minute, 9)
			return err
		}},
		{"CleanUpdates", "", false, func(s *Store, _, _, _ string) error { _, err := s.CleanUpdates(ctx, time.Hour); return err }},
	}
	for _, state := range append([]string{"UNKNOWN"}, settledStates...) {
		closes := func(fill func(*Closing, *Patient)) step {
			return step{"CloseUpdate", state, true, func(s *Store, owner, id, patientID string) error {
				row, err := s.Patient(ctx, patientID)
				if err != nil {
					return err
				}
				c := Closing{ID: id, Owner: owner, PatientID: patientID, State: UpdateState(state), At: testTime, RetryIn: time.Hour}
				fill(&c, row)
				_, err = s.CloseUpdate(c)
				return err
			}}
		}
		all = append(all, closes(func(*Closing, *Patient) {}),
			closes(func(c *Closing, row *Patient) { c.Row, c.Shown = row, &FHIRState{Phone: "2"} })) // at once, see closeAtOnce
	}
	return all
}

// insertLine writes a line in any state, which belongs to "me"; what is settled
// was settled long ago.
func (s *Store) insertLine(id, patientID, state string, lease time.Duration) error {
	settledAt := 0
	if slices.Contains(settledStates, state) {
		settledAt = 1
	}
	_, err := s.write.DB.Exec(s.translate(`INSERT INTO contact_updates (id, patient_id, fhir_id, state, owner, lease_until, actor, idempotency_key,
			digest, if_match, put, heard, gone, answer, patient, requested_at, sent_at, settled_at)
		VALUES (?, ?, 'f', ?, 'me', NOW() + ?, 'a', '', 'd', 'W/"1"', '{}', '', 0, '', '', NOW(), 0, ?)`),
		id, patientID, state, lease.Microseconds(), settledAt)
	return err
}

// lineNow returns the state of a line, and all of it.
func lineNow(t *testing.T, s *Store, id string) (state, all string) {
	t.Helper()
	var owner, match, answer, patient, key string
	var lease, settled int64
	err := s.write.DB.QueryRow(s.translate(`SELECT state, owner, if_match, answer, patient, idempotency_key, lease_until, settled_at
		FROM contact_updates WHERE id = ?`), id).Scan(&state, &owner, &match, &answer, &patient, &key, &lease, &settled)
	if errors.Is(err, sql.ErrNoRows) {
		return noLine, ""
	}
	if err != nil {
		t.Fatal(err)
	}
	return state, fmt.Sprint(state, owner, match, answer, patient, key, lease, settled)
}

// TestTransitions asks each method to change a line in each state, as its owner
// and as somebody else. What happens is what the table in the comment of
// UpdateState says, and all of that happens.
func TestTransitions(t *testing.T) {
	t.Parallel()
	table := transitions(t)
	stores(t, func(t *testing.T, s *Store) {
		happened := map[transition]bool{}
		n := 0
		for _, from := range slices.Concat([]string{noLine}, openStates, settledStates) {
			for _, st := range steps() {
				for _, owner := range []string{"me", "somebody else"} {
					n++
					id, patient := fmt.Sprint("op-", n), NewPatient{Number: fmt.Sprint("P-", n), FHIRID: fmt.Sprint("f", n)}
					if st.by == "SetContact" || st.by == "ImportPatients" {
						patient.FHIRID, patient.State.Phone = "", "1"
					}
					add(t, s, testTime, patient)
					lease := time.Minute
					if st.by == "ClaimUpdates" {
						lease = -time.Minute
					}
					if from != noLine {
						if err := s.insertLine(id, patient.Number, from, lease); err != nil {
							t.Fatal(err)
						}
					}
					_, before := lineNow(t, s, id)
					err := st.run(s, owner, id, patient.Number)
					to, after := lineNow(t, s, id)
					got := transition{from, to, st.by}
					want := slices.ContainsFunc(table, func(tr transition) bool {
						return tr.from == from && tr.by == st.by && (st.asks == "" || tr.to == st.asks) && (!st.owners || owner == "me")
					})
					switch {
					case (before != after) != want, want && !slices.Contains(table, got), want && st.asks != "" && to != st.asks:
						t.Errorf("%s by %s %s: it is %s (%v)", from, owner, st.by, to, err)
					case want && err != nil:
						t.Errorf("%s by %s %s: it is %s, and %v is told", from, owner, st.by, to, err)
					}
					happened[got] = happened[got] || want
				}
			}
		}
		for _, tr := range table {
			if !happened[tr] {
				t.Errorf("%s → %s by %s: the table says so, and it never happened", tr.from, tr.to, tr.by)
			}
		}
	})
}
