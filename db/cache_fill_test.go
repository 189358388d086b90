package db

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"patientgraph/internal/wait"
)

// shownAs is what the FHIR server shows in its version n.
func shownAs(n int) FHIRState {
	return FHIRState{FamilyName: "Kim", Phone: fmt.Sprint("010-000", n), FHIRVersionID: fmt.Sprint(n), FHIRUpdatedAt: testTime.Add(time.Duration(n) * time.Second)}
}

// fillTime is when fills are asked for; they are stored a second later.
var fillTime = testTime.Add(time.Hour)

// asks is a fill that is about to be asked for.
// unseenIsStale: the changes were looked at just now, and each doubt is old.
var unseenIsStale = Freshness{StaleBefore: fillTime.Add(time.Hour), Looked: true}

func asks(t testing.TB, s *Store, single bool) Fill {
	t.Helper()
	return Fill{Mark: numbered(t, s), AskedAt: fillTime, Single: single}
}

// fills stores what was shown.
func fills(t testing.TB, s *Store, f Fill, batch ...NewPatient) Filled {
	t.Helper()
	filled, err := s.FillPatients(context.Background(), batch, f.AskedAt.Add(time.Second), f)
	if err != nil {
		t.Fatal(err)
	}
	return filled
}

// fromFHIR is the patient of the row P-1 in a version.
func fromFHIR(n int) NewPatient { return NewPatient{FHIRID: "a1", State: shownAs(n)} }

// unseen lists what is to be read by itself.
func unseen(t testing.TB, s *Store) string {
	t.Helper()
	ids, err := s.Unseen(context.Background(), 100)
	if err != nil {
		t.Fatal(err)
	}
	return strings.Join(ids, " ")
}

// meanwhile are the things that can happen to P-1, which is in version 1, between the asking
// for a fill and its storing.
var meanwhile = map[string]struct {
	happens func(t *testing.T, s *Store)
	why     KeptReason
}{
	"a contact update": {func(t *testing.T, s *Store) {
		begun, err := begin(s, "op", "P-1", "")
		if err != nil {
			t.Fatal(err)
		}
		if err := s.SendUpdate("op", "me", "P-1", "", "{}"); err != nil {
			t.Fatal(err)
		}
		closed(t, s, usual("op", begun.Patient, shownAs(3)))
	}, KeptMoved},
	"a contact update that is numbered": {func(t *testing.T, s *Store) {
		sent(t, s, "op", "P-1")
		st := shownAs(3)
		closed(t, s, Closing{ID: "op", PatientID: "P-1", State: UpdateApplied, Shown: &st})
		numbered(t, s)
	}, KeptMoved},
	"an update whose PUT is under way": {func(t *testing.T, s *Store) { sent(t, s, "op", "P-1") }, KeptPending},
	"an update whose outcome is unknown": {func(t *testing.T, s *Store) {
		sent(t, s, "op", "P-1")
		closed(t, s, Closing{ID: "op", PatientID: "P-1", State: UpdateUnknown, RetryIn: time.Minute})
	}, KeptPending},
	"an update that is opened again": {func(t *testing.T, s *Store) {
		sent(t, s, "op", "P-1")
		closed(t, s, Closing{ID: "op", PatientID: "P-1", State: UpdateNotApplied})
		if err := s.ReopenUpdate("op", "P-1"); err != nil {
			t.Fatal(err)
		}
	}, KeptPending},
	"an update that finds the patient gone": {func(t *testing.T, s *Store) {
		sent(t, s, "op", "P-1")
		closed(t, s, Closing{ID: "op", PatientID: "P-1", State: UpdateRejected, Gone: true})
	}, KeptMoved},
	"a profile": {func(t *testing.T, s *Store) { setBloodType(t, s, "P-1") }, KeptMoved},
	"another fill": {func(t *testing.T, s *Store) {
		fills(t, s, asks(t, s, false), fromFHIR(3))
	}, KeptMoved},
	"another number": {func(t *testing.T, s *Store) {
		bring(t, s, NewPatient{Number: "P-7", NumberSystem: "urn:n", FHIRID: "a1", State: shownAs(3)})
	}, KeptMoved},
}

// A row that was written since a fill was asked for, or is about to be, stays, and is noted
// as unseen: whatever shows the patient, and also where it shows nobody.
func TestAFillNeverOvertakesAWrite(t *testing.T) {
	t.Parallel()
	stores(t, func(t *testing.T, s *Store) {
		for name, c := range meanwhile {
			for _, single := range []bool{false, true} {
				for _, gone := range []bool{false, true} {
					emptied(t, s)
					add(t, s, testTime, NewPatient{Number: "P-1", FHIRID: "a1", State: shownAs(1)})
					fill := asks(t, s, single)
					c.happens(t, s)
					before := byFHIRID(t, s, "a1")
					wasGone := !before.GoneAt.IsZero()
					var filled Filled
					if gone {
						if fill.Gone = []string{"a1"}; !single {
							fill.Gone, fill.Deleted = nil, []Deletion{{"a1", fillTime}} // later than all
						}
						filled = fills(t, s, fill)
						if len(filled.Gone) > 0 {
							t.Errorf("%s (single %v): %v are gone", name, single, filled.Gone)
						}
					} else {
						filled = fills(t, s, fill, fromFHIR(2))
						if o := filled.Outcomes[0]; o.Result != Kept || o.Why != c.why {
							t.Errorf("%s (single %v): %+v", name, single, o)
						}
					}
					after := byFHIRID(t, s, "a1")
					if after.UnseenSince.IsZero() && !(gone && wasGone) {
						t.Errorf("%s (single %v, gone %v): not noted as unseen", name, single, gone)
					}
					if after.UnseenSince = before.UnseenSince; !sameRow(before, after) {
						t.Errorf("%s (single %v, gone %v):\nbefore %+v\nafter  %+v", name, single, gone, before, after)
					}
				}
			}
		}
	})
}

// byFHIRID reads a row, gone or not, whatever its number.
func byFHIRID(t testing.TB, s *Store, fhirID string) *Patient {
	t.Helper()
	var id string
	rows, err := s.query(context.Background(), "SELECT id FROM patients WHERE fhir_id = '"+fhirID+"'")
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	if !rows.Next() {
		t.Fatalf("no row of %s", fhirID)
	}
	if err := rows.Scan(&id); err != nil {
		t.Fatal(err)
	}
	rows.Close()
	return row(t, s, id)
}

// What a list shows may be old: of the row it takes only what looks newer. A read of its
// own shows what the server has.
func TestWhatIsShownOfARow(t *testing.T) {
	t.Parallel()
	at := func(n, second int) FHIRState { // version n, dated otherwise
		st := shownAs(n)
		st.FHIRUpdatedAt = testTime.Add(time.Duration(second) * time.Second)
		return st
	}
	version := func(n int, id string) FHIRState {
		st := shownAs(n)
		st.FHIRVersionID = id
		return st
	}
	undated := shownAs(2)
	undated.FHIRUpdatedAt = time.Time{}
	again, older := version(5, "6"), version(5, "4")
	again.FHIRUpdatedAt, older.FHIRUpdatedAt = testTime.Add(6*time.Second), testTime.Add(4*time.Second)
	for _, c := range []struct {
		name         string
		shown        FHIRState // to a row in version 5
		list, single KeptReason
	}{
		{"newer", shownAs(6), "", ""},
		{"older", shownAs(4), KeptDoubtful, KeptDoubtful},
		{"older by the version alone", at(4, 6), KeptDoubtful, ""},
		{"older by the time alone", at(6, 4), KeptDoubtful, ""},
		{"older, by a version without an order", version(4, "x4"), KeptDoubtful, ""},
		{"as old, with other content", at(4, 5), KeptDoubtful, ""},
		{"undated", undated, KeptDoubtful, ""},
		{"the same", shownAs(5), KeptSame, KeptSame},
		{"the same in a newer version", again, KeptSame, KeptSame},
		{"the same in an older version", older, KeptDoubtful, KeptDoubtful},
	} {
		for _, single := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, single %v", c.name, single), func(t *testing.T) {
				t.Parallel()
				stores(t, func(t *testing.T, s *Store) {
					add(t, s, testTime, NewPatient{Number: "P-1", FHIRID: "a1", State: shownAs(5)})
					before := row(t, s, "P-1")
					fill := asks(t, s, single)
					seq := row(t, s, "P-1").ChangeSeq
					o := fills(t, s, fill, NewPatient{FHIRID: "a1", State: c.shown}).Outcomes[0]
					why := c.list
					if single {
						why = c.single
					}
					if o.Why != why || (o.Result == Updated) != (why == "") {
						t.Fatalf("%+v, want %q", o, why)
					}
					after := row(t, s, "P-1")
					if (after.UnseenSince.IsZero()) != (why != KeptDoubtful) {
						t.Errorf("unseen since %v", after.UnseenSince)
					}
					switch why {
					case "":
						if after.Phone != c.shown.Phone || after.Version != 2 || !after.LastSyncedAt.Equal(fillTime) {
							t.Errorf("taken as %+v", after)
						}
					case KeptSame: // no new version, and nobody who follows the changes hears of it
						if after.Version != before.Version || after.ChangeSeq != seq || !after.UpdatedAt.Equal(before.UpdatedAt) || after.FHIRVersionID != c.shown.FHIRVersionID {
							t.Errorf("before %+v (%d)\nafter  %+v", before, seq, after)
						}
					default:
						if after.UnseenSince, after.ChangeSeq = before.UnseenSince, before.ChangeSeq; !sameRow(before, after) {
							t.Errorf("before %+v\nafter  %+v", before, after)
						}
					}
				})
			})
		}
	}
}

// A read of its own that shows an older version may be answered by a copy that lags. Only
// where the server shows nothing else for long is it as it says: it was restored.
func TestAReadThatLagsTakesNothingBack(t *testing.T) {
	t.Parallel()
	stores(t, func(t *testing.T, s *Store) {
		add(t, s, testTime, NewPatient{Number: "P-1", FHIRID: "a1", State: shownAs(5)})
		minute := 0
		shows := func(single bool, n int, want KeptReason) {
			t.Helper()
			fill := asks(t, s, single)
			fill.AskedAt = fillTime.Add(time.Duration(minute) * time.Minute)
			fill.Believe = fill.AskedAt.Add(-5 * time.Minute)
			if o := fills(t, s, fill, fromFHIR(n)).Outcomes[0]; o.Why != want {
				t.Errorf("after %d minutes: %+v, want %q", minute, o, want)
			}
			minute++
		}
		for range 3 {
			shows(true, 4, KeptDoubtful)
			shows(false, 4, KeptDoubtful)
		}
		if p := row(t, s, "P-1"); p.Phone != "010-0005" || p.Version != 1 || !p.UnseenSince.Equal(fillTime.Add(time.Second)) || unseen(t, s) != "a1" {
			t.Errorf("%+v, %q to read", p, unseen(t, s))
		}
		shows(true, 4, "")
		if p := row(t, s, "P-1"); p.Phone != "010-0004" || !p.UnseenSince.IsZero() {
			t.Errorf("%+v", p)
		}
		shows(true, 3, KeptDoubtful)
		shows(true, 4, KeptSame) // the copy has caught up
		if p := row(t, s, "P-1"); !p.UnseenSince.IsZero() {
			t.Errorf("%+v", p)
		}
		for range 3 { // the doubt begins anew
			shows(true, 3, KeptDoubtful)
		}
	})
}

// A list or a history that says that a patient was deleted may be from before the patient
// came back: what the row shows may be newer, and then the patient is read by itself.
func TestADeletionFromBeforeTheRowDeletesNobody(t *testing.T) {
	t.Parallel()
	second := func(n int) time.Time { return testTime.Add(time.Duration(n) * time.Second) }
	stores(t, func(t *testing.T, s *Store) {
		for _, c := range []struct {
			name    string
			row, at time.Time
			gone    bool
		}{
			{"later than the row", second(5), second(6), true},
			{"as old as the row", second(5), second(5), false},
			{"before the row", second(5), second(4), false},
			{"at a time that is not told", second(5), time.Time{}, false},
			{"of a row without a time", time.Time{}, second(1), true},
			{"of a row without a time, at a time that is not told", time.Time{}, time.Time{}, false},
		} {
			emptied(t, s)
			state := shownAs(5)
			state.FHIRUpdatedAt = c.row
			add(t, s, testTime, NewPatient{Number: "P-1", FHIRID: "a1", State: state})
			fill := asks(t, s, false)
			fill.Deleted = []Deletion{{"nobody", c.at}, {"a1", c.at}}
			filled := fills(t, s, fill)
			is := row(t, s, "P-1")
			if (len(filled.Gone) == 1) != c.gone || is.GoneAt.IsZero() == c.gone || (unseen(t, s) == "a1") == c.gone {
				t.Errorf("%s: %v are gone, %q is to be read, %+v", c.name, filled.Gone, unseen(t, s), is)
			}
			read := asks(t, s, true)
			read.AskedAt, read.Gone = fillTime.Add(time.Minute), []string{"a1"}
			fills(t, s, read)
			if is := row(t, s, "P-1"); is.GoneAt.IsZero() || !is.UnseenSince.IsZero() {
				t.Errorf("%s, and asked for: %+v", c.name, is)
			}
			fills(t, s, fill) // said once more of a patient who is gone
			if got := unseen(t, s); got != "" {
				t.Errorf("%s: of a patient who is gone: %q is to be read", c.name, got)
			}
		}
	})
}

// What makes a row unseen is settled by a read of its own that was asked for since. No
// update that ends, no list and no read from before does it.
func TestOnlyAReadOfItsOwnEndsTheDoubt(t *testing.T) {
	t.Parallel()
	stores(t, func(t *testing.T, s *Store) {
		add(t, s, testTime, NewPatient{Number: "P-1", FHIRID: "a1", State: shownAs(1)})
		early := asks(t, s, true)
		sent(t, s, "op", "P-1")
		fills(t, s, asks(t, s, false), fromFHIR(3)) // the PUT may not have arrived yet
		if got := unseen(t, s); got != "" {
			t.Errorf("while the update is open %q is to be read", got)
		}
		closed(t, s, Closing{ID: "op", PatientID: "P-1", State: UpdateNotApplied}) // no new version of the row
		still := func(when string, is bool) {
			t.Helper()
			p := row(t, s, "P-1")
			stale, err := s.CountPatients(t.Context(), Filter{SyncState: Stale, Freshness: unseenIsStale})
			synced, err2 := s.CountPatients(t.Context(), Filter{SyncState: Synced, Freshness: unseenIsStale})
			if err != nil || err2 != nil || p.UnseenSince.IsZero() == is || (unseen(t, s) == "a1") != is || (stale == 1) != is || (synced == 0) != is {
				t.Errorf("%s: unseen since %v, %q to read, %d stale, %d synced (%v, %v)", when, p.UnseenSince, unseen(t, s), stale, synced, err, err2)
			}
		}
		still("the update has ended", true)
		begun, err := begin(s, "op-2", "P-1", "")
		if err != nil {
			t.Fatal(err)
		}
		if err := s.SendUpdate("op-2", "me", "P-1", "", "{}"); err != nil {
			t.Fatal(err)
		}
		closed(t, s, usual("op-2", begun.Patient, shownAs(4)))
		still("another has, with the row", true)
		list := asks(t, s, false)
		list.AskedAt = fillTime.Add(30 * time.Second)
		fills(t, s, list, fromFHIR(4))
		still("a list shows the same", true)
		fills(t, s, list, fromFHIR(5))
		still("a list shows something newer", true)
		early.Mark = numbered(t, s) // as if nothing had been written
		early.AskedAt = fillTime.Add(-time.Second)
		fills(t, s, early, fromFHIR(5))
		still("a read that was asked for before", true)
		late := asks(t, s, true)
		late.AskedAt = fillTime.Add(time.Minute)
		fills(t, s, late, fromFHIR(5))
		still("a read of its own", false)
	})
}

// Doubt that is raised again is as old as it was: else nobody would be told of it.
func TestDoubtIsAsOldAsItIs(t *testing.T) {
	t.Parallel()
	stores(t, func(t *testing.T, s *Store) {
		add(t, s, testTime, NewPatient{Number: "P-1", FHIRID: "a1", State: shownAs(5)})
		doubts := func(at time.Time) time.Time {
			t.Helper()
			if _, err := s.FillPatients(t.Context(), []NewPatient{fromFHIR(4)}, at, asks(t, s, false)); err != nil {
				t.Fatal(err)
			}
			return row(t, s, "P-1").UnseenSince
		}
		first := doubts(fillTime)
		if again := doubts(fillTime.Add(time.Hour)); first.IsZero() || !again.Equal(first) {
			t.Errorf("in doubt since %v, and an hour later since %v", first, again)
		}
	})
}

// A patient that is shown in a form that cannot be used: what the cache has is doubtful.
func TestAnUnusablePatientIsUnseen(t *testing.T) {
	t.Parallel()
	stores(t, func(t *testing.T, s *Store) {
		add(t, s, testTime, NewPatient{Number: "P-1", FHIRID: "a1", State: shownAs(1)}, NewPatient{Number: "P-2", FHIRID: "a2", State: shownAs(1)})
		fill := asks(t, s, false)
		fill.Unusable = []string{"a1", "nobody"}
		fills(t, s, fill)
		if got := unseen(t, s); got != "a1" || row(t, s, "P-1").Version != 1 {
			t.Errorf("%q is to be read, %+v", got, row(t, s, "P-1"))
		}
		// Since when is kept: else who cannot be read would never be STALE.
		fill = asks(t, s, false)
		fill.Unusable, fill.AskedAt = []string{"a2"}, fillTime.Add(time.Minute)
		fills(t, s, fill)
		fill.Unusable, fill.AskedAt = []string{"a1"}, fillTime.Add(2*time.Minute)
		fills(t, s, fill)
		if got := unseen(t, s); got != "a1 a2" {
			t.Errorf("in the order %q", got)
		}
	})
}

func TestATombstoneKeepsWhatIsRecordedHere(t *testing.T) {
	t.Parallel()
	stores(t, func(t *testing.T, s *Store) {
		ctx := t.Context()
		contact := EmergencyContact{Name: "Lee", Phone: "010-9"}
		add(t, s, testTime, NewPatient{Number: "P-1", FHIRID: "a1", State: shownAs(1)}, NewPatient{Number: "P-2", FHIRID: "a2", State: FHIRState{Inactive: true}})
		if _, err := s.SetProfile("P-1", ProfileEdit{SetEmergencyContact: true, EmergencyContact: &contact, SetAllergies: true, Allergies: []string{"latex"},
			SetBloodType: true, BloodType: "A"}, 0, testTime); err != nil {
			t.Fatal(err)
		}
		listed := func() string {
			var all []string
			for _, inactive := range []bool{false, true} {
				page, err := s.Patients(ctx, PageRequest{First: 10, Order: OrderCreatedAsc, Filter: Filter{IncludeInactive: inactive}})
				if err != nil {
					t.Fatal(err)
				}
				for _, p := range page.Patients {
					all = append(all, p.ID)
				}
			}
			return strings.Join(all, " ")
		}
		before := row(t, s, "P-1")
		fill := asks(t, s, false)
		fill.Gone = []string{"a1", "a2", "nobody"}
		gone := fills(t, s, fill).Gone
		if slices.Sort(gone); !slices.Equal(gone, []string{"P-1", "P-2"}) {
			t.Errorf("%v are gone", gone)
		}
		after := row(t, s, "P-1")
		if after.GoneAt.IsZero() || after.Version != before.Version+1 || after.ChangeSeq != 0 || *after.EmergencyContact != contact ||
			!slices.Equal(after.Allergies, []string{"latex"}) || after.BloodType != "A" || after.Phone != before.Phone {
			t.Errorf("before %+v\nafter  %+v", before, after)
		}
		if got := listed(); got != "" {
			t.Errorf("lists have %q", got)
		}
		if n, err := s.CountPatients(ctx, Filter{Name: "Kim"}); err != nil || n != 0 {
			t.Errorf("a search finds %d (%v)", n, err)
		}
		fill = asks(t, s, false)
		fill.Gone = []string{"a1"}
		if gone := fills(t, s, fill).Gone; len(gone) > 0 || row(t, s, "P-1").Version != after.Version {
			t.Errorf("gone again: %v, %+v", gone, row(t, s, "P-1"))
		}
		if known, err := s.KnownOfFHIR(ctx, "", fillTime, 10); err != nil || len(known) > 0 {
			t.Errorf("a sweep would ask for %v (%v)", known, err)
		}

		// A list that shows the patient may be from before the deletion.
		if o := fills(t, s, asks(t, s, false), fromFHIR(2)).Outcomes[0]; o.Why != KeptDoubtful || unseen(t, s) != "a1" {
			t.Errorf("%+v, %q to read", o, unseen(t, s))
		}
		late := asks(t, s, true)
		late.AskedAt = fillTime.Add(time.Minute)
		if o := fills(t, s, late, fromFHIR(2)).Outcomes[0]; o.Result != Updated {
			t.Errorf("%+v", o)
		}
		back := row(t, s, "P-1")
		if !back.GoneAt.IsZero() || back.Phone != "010-0002" || *back.EmergencyContact != contact || back.BloodType != "A" || back.SyncState != Synced || !back.UnseenSince.IsZero() {
			t.Errorf("it came back as %+v", back)
		}
		if got := listed(); got != "P-1 P-1" {
			t.Errorf("lists have %q", got)
		}
		if n, err := s.CountPatients(ctx, Filter{Name: "Kim", Phone: "010-0002"}); err != nil || n != 1 {
			t.Errorf("a search finds %d (%v)", n, err)
		}
	})
}

// The number of a patient that is gone is for who claims it; the tombstone keeps what it
// has under a number of its own.
func TestTheNumberOfAGonePatientIsForWhoClaimsIt(t *testing.T) {
	t.Parallel()
	stores(t, func(t *testing.T, s *Store) {
		add(t, s, testTime, NewPatient{Number: "N-1", NumberSystem: "urn:n", FHIRID: "a1", State: shownAs(1)})
		setBloodType(t, s, "N-1")
		fill := asks(t, s, false)
		fill.Gone = []string{"a1"}
		fills(t, s, fill)
		filled := fills(t, s, asks(t, s, false), NewPatient{Number: "N-1", NumberSystem: "urn:n", FHIRID: "a2", State: shownAs(9)})
		if !filled.Outcomes[0].Claimed {
			t.Errorf("%+v", filled.Outcomes[0])
		}
		if refused, err := s.SettleNumbers(t.Context(), "urn:n", testTime); err != nil || len(refused) > 0 {
			t.Errorf("refused %v (%v)", refused, err)
		}
		heir, old := row(t, s, "N-1"), byFHIRID(t, s, "a1")
		if heir.FHIRID != "a2" || heir.Phone != "010-0009" || heir.BloodType != "" || old.GoneAt.IsZero() || old.BloodType != "A" {
			t.Errorf("the number is of %+v\nthe tombstone is %+v", heir, old)
		}
	})
}

// The progress is stored with its batch, or neither is; and only by who leads.
func TestAProgressIsStoredWithItsBatch(t *testing.T) {
	t.Parallel()
	stores(t, func(t *testing.T, s *Store) {
		ctx := t.Context()
		lead := func(owner string, take, want bool) {
			t.Helper()
			if leads, err := s.LeadMirror(owner, time.Minute, take); err != nil || leads != want {
				t.Fatalf("%s leads: %v (%v)", owner, leads, err)
			}
		}
		progress := func() string {
			t.Helper()
			m, err := s.Mirror(ctx)
			if err != nil {
				t.Fatal(err)
			}
			return m.Progress
		}
		lead("me", false, true)
		fill := asks(t, s, false)
		fill.Owner = "me"
		fill.Progress = "page 1"
		fills(t, s, fill, fromFHIR(1))
		if progress() != "page 1" || byFHIRID(t, s, "a1").Phone != "010-0001" {
			t.Errorf("%q, %+v", progress(), byFHIRID(t, s, "a1"))
		}
		lead("other", false, false)
		lead("other", true, true)
		lead("me", false, false)
		fill = asks(t, s, false)
		fill.Owner = "me"
		fill.Progress, fill.Gone = "page 2", []string{"a1"}
		if _, err := s.FillPatients(ctx, []NewPatient{fromFHIR(2), {FHIRID: "a2", State: shownAs(1)}}, fillTime, fill); !errors.Is(err, ErrLostLease) {
			t.Errorf("by who does not lead: %v", err)
		}
		if n, err := s.CountPatients(ctx, Filter{}); progress() != "page 1" || n != 1 || err != nil || byFHIRID(t, s, "a1").Phone != "010-0001" || !byFHIRID(t, s, "a1").GoneAt.IsZero() {
			t.Errorf("stored all the same: %q, %d patients (%v), %+v", progress(), n, err, byFHIRID(t, s, "a1"))
		}
		if err := s.SaveMirror("me", fillTime, "mine"); !errors.Is(err, ErrLostLease) || progress() != "page 1" {
			t.Errorf("saved by who does not lead: %v", err)
		}
		fill.Owner = "other"
		fills(t, s, fill, fromFHIR(2))
		if progress() != "page 2" {
			t.Errorf("progress %q", progress())
		}
		if err := s.LeaveMirror("me"); err != nil { // who does not lead leaves nothing
			t.Fatal(err)
		}
		lead("me", false, false)
		if err := s.LeaveMirror("other"); err != nil {
			t.Fatal(err)
		}
		lead("me", false, true)
		if err := s.SaveMirror("me", fillTime, "mine"); err != nil {
			t.Fatal(err)
		}
		if m, err := s.Mirror(ctx); err != nil || !m.LookedAt.Equal(fillTime) || m.Progress != "mine" {
			t.Errorf("%+v (%v)", m, err)
		}
		if leads, err := s.LeadMirror("me", 0, false); err != nil || !leads { // its lease is over
			t.Fatal(leads, err)
		}
		wait.Until(t, "its lease is over", func() bool {
			leads, err := s.LeadMirror("other", time.Minute, false)
			return err == nil && leads
		})
	})
}

// An update that is accepted, sent or open while fills run ends as it does without them,
// with one round trip and with a transaction.
func TestAnUpdateEndsBesideFills(t *testing.T) {
	t.Parallel()
	stores(t, func(t *testing.T, s *Store) {
		for _, at := range []string{"accepted", "sent", "unknown"} {
			for _, ends := range []UpdateState{UpdateApplied, UpdateRejected, UpdateNotApplied} {
				for _, atOnce := range []bool{true, false} {
					emptied(t, s)
					add(t, s, testTime, NewPatient{Number: "P-1", FHIRID: "a1", State: shownAs(1)})
					begun, err := begin(s, "op", "P-1", "")
					if err != nil {
						t.Fatal(err)
					}
					comes := func(when string, n int, want KeptReason) {
						t.Helper()
						if o := fills(t, s, asks(t, s, false), fromFHIR(n)).Outcomes[0]; o.Why != want {
							t.Errorf("%s, %s: %+v", at, when, o)
						}
					}
					if at == "accepted" { // nothing has left yet
						comes("accepted", 2, "")
					}
					if err := s.SendUpdate("op", "me", "P-1", "", "{}"); err != nil {
						t.Fatal(err)
					}
					if at == "sent" {
						comes("sent", 3, KeptPending)
					}
					if at == "unknown" {
						closed(t, s, Closing{ID: "op", PatientID: "P-1", State: UpdateUnknown})
						comes("unknown", 3, KeptPending)
						wait.Until(t, "the update can be claimed", func() bool {
							claimed, err := s.ClaimUpdates("me", "P-1", time.Minute, 9)
							return err == nil && len(claimed) == 1
						})
					}
					c := Closing{ID: "op", PatientID: "P-1", State: ends}
					if atOnce {
						c.Row = begun.Patient
					}
					want := row(t, s, "P-1")
					if want.SyncState = Synced; ends == UpdateApplied {
						st := shownAs(4)
						c.Shown, want.FHIRState = &st, st
					}
					told := closed(t, s, c)
					got := row(t, s, "P-1")
					told.UnseenSince, want.UnseenSince = got.UnseenSince, got.UnseenSince // not of the record
					if ends != UpdateApplied && !sameRow(got, want) || got.Phone != want.Phone || got.SyncState != Synced || ends == UpdateApplied && !sameRow(told, got) {
						t.Errorf("%s, %s, at once %v:\ntold   %+v\nstored %+v\nwant   %+v", at, ends, atOnce, told, got, want)
					}
					if stateOf(t, s, "op") != ends || got.UnseenSince.IsZero() != (at == "accepted") {
						t.Errorf("%s, %s, at once %v: ended as %s, unseen since %v", at, ends, atOnce, stateOf(t, s, "op"), got.UnseenSince)
					}
				}
			}
		}
	})
}

// Fills, writers and numberers of the same rows end, and the rows show each writer's last
// value.
func TestFillsWritersAndNumberersTogether(t *testing.T) {
	t.Parallel()
	stores(t, func(t *testing.T, s *Store) {
		const patients, rounds = 8, 12
		var all []NewPatient
		for n := range patients {
			all = append(all, NewPatient{Number: fmt.Sprint("P-", n), FHIRID: fmt.Sprint("a", n), State: shownAs(1)})
		}
		add(t, s, testTime, all...)
		ctx := t.Context()
		done := make(chan struct{})
		var others, writers sync.WaitGroup
		until := func(do func() error) {
			others.Go(func() {
				for {
					select {
					case <-done:
						return
					default:
					}
					if err := do(); err != nil {
						t.Error(err)
						return
					}
				}
			})
		}
		for n := range 2 {
			until(func() error { // what lists show is older than what writers make
				mark, err := s.NumberChanges(ctx)
				batch := slices.Clone(all)
				for k := range batch {
					batch[k].Number = ""
					batch[k].State = shownAs(2)
				}
				if n == 1 {
					slices.Reverse(batch)
				}
				if err == nil {
					_, err = s.FillPatients(ctx, batch, fillTime, Fill{Mark: mark, AskedAt: fillTime})
				}
				return err
			})
			until(func() error { _, err := s.NumberChanges(ctx); return err })
		}
		for n := range patients {
			writers.Go(func() {
				number := fmt.Sprint("P-", n)
				for k := range rounds {
					op := fmt.Sprint(number, "-", k)
					begun, err := begin(s, op, number, "")
					if err != nil {
						t.Error(err)
						return
					}
					if err := s.SendUpdate(op, "me", number, "", "{}"); err != nil {
						t.Error(err)
						return
					}
					if k%4 == 0 {
						if _, err := s.SetProfile(number, ProfileEdit{SetBloodType: true, BloodType: fmt.Sprint(k)}, 0, testTime); err != nil {
							t.Error(err)
						}
					}
					c := usual(op, begun.Patient, shownAs(10+k))
					c.Owner, c.At = "me", fillTime
					if told, err := s.CloseUpdate(c); err != nil || told.Phone != shownAs(10+k).Phone {
						t.Errorf("%+v, %v", told, err)
					}
					if p, err := s.Patient(ctx, number); err != nil || p.Phone != shownAs(10+k).Phone || p.SyncState != Synced {
						t.Errorf("after %s: %+v, %v", op, p, err)
					}
				}
			})
		}
		writers.Wait()
		close(done)
		others.Wait()
		numbered(t, s)
		for n := range patients {
			if p := row(t, s, fmt.Sprint("P-", n)); p.Phone != shownAs(10+rounds-1).Phone || p.ChangeSeq == 0 {
				t.Errorf("%+v", p)
			}
		}
	})
}

// What an update has read before it sends anything may be overtaken by a fill: also by one
// that finds what the row shows already, in a newer version.
func TestAnEndDoesNotTakeBackWhatAFillConfirmed(t *testing.T) {
	t.Parallel()
	stores(t, func(t *testing.T, s *Store) {
		for _, c := range []Closing{{State: UpdateConflict}, {State: UpdateApplied}} {
			for _, withRow := range []bool{true, false} {
				emptied(t, s)
				add(t, s, testTime, NewPatient{Number: "P-1", FHIRID: "a1", State: shownAs(1)})
				begun, err := begin(s, "op", "P-1", "")
				if err != nil {
					t.Fatal(err)
				}
				shown, again := shownAs(2), shownAs(1) // it was changed, and changed back
				again.FHIRVersionID, again.FHIRUpdatedAt = "3", shownAs(3).FHIRUpdatedAt
				fills(t, s, asks(t, s, false), NewPatient{FHIRID: "a1", State: again})
				want := row(t, s, "P-1")
				c.ID, c.Owner, c.PatientID, c.At, c.Shown = "op", "me", "P-1", fillTime, &shown
				c.IfVersion, c.IfFHIRVersion = begun.Patient.Version, begun.Patient.FHIRVersionID
				if c.Row = nil; withRow {
					c.Row = begun.Patient
				}
				if _, err := s.CloseUpdate(c); !errors.Is(err, ErrVersionMismatch) {
					t.Errorf("%s, with the row %v: %v", c.State, withRow, err)
				}
				if got := row(t, s, "P-1"); !sameRow(got, want) {
					t.Errorf("%s, with the row %v: stored %+v, want %+v", c.State, withRow, got, want)
				}
			}
		}
	})
}
