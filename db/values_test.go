package db

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/uptrace/bun"

	"patientgraph/db/dbtest"
)

// nastyValues mean something to SQL, to JSON or to a driver.
var nastyValues = []string{
	`\' OR true --`, `' OR true --`, `'`, `''`, `\`, `\\`, `\''`, `"`, `a` + "\x00" + `'b`, `'); DROP TABLE patients; --`,
	`$1 ? ?? :x @x`, `%_`, "\xff'", `{"a":1}`, `[]`, "\u2028'", strings.Repeat(`'\`, 200),
}

// everyRequest runs everything that takes values, with this one wherever one
// can be.
func everyRequest(t *testing.T, s *Store, n int, v string) {
	t.Helper()
	ctx := context.Background()
	id, fhirID := fmt.Sprint("P-", n), fmt.Sprint("f", n)
	state := FHIRState{
		FamilyName: v, GivenName: v, FullName: v, BirthDate: v, Gender: v, Phone: v, Email: v, FHIRVersionID: v,
		Address: &Address{Text: v, Lines: []string{v}, City: v}, FHIRUpdatedAt: testTime,
	}
	for _, p := range []NewPatient{
		{Number: id, FHIRID: fhirID, State: state}, {Number: v, FHIRID: v, State: state}, {Number: v, State: state},
		{FHIRID: fhirID, State: FHIRState{FamilyName: v + "2", Phone: v, FHIRUpdatedAt: testTime.Add(time.Hour)}}, {Number: "L-" + id, State: state},
	} {
		if _, err := s.ImportPatients(ctx, []NewPatient{p}, testTime); err != nil {
			t.Fatalf("import of %q: %v", v, err)
		}
	}
	if _, err := s.SetProfile(id, ProfileEdit{SetEmergencyContact: true, EmergencyContact: &EmergencyContact{Name: v},
		SetAllergies: true, Allergies: []string{v}, SetBloodType: true, BloodType: v}, 0, testTime); err != nil {
		t.Fatalf("profile %q: %v", v, err)
	}
	if _, err := s.SetContact("L-"+id, ContactEdit{SetPhone: true, Phone: v, SetEmail: true, Email: v, SetAddress: true, Address: state.Address}, 0, testTime,
		ContactUpdate{ID: "local-" + id, Actor: "a", IdempotencyKey: v, Digest: "d"}); err != nil {
		t.Fatalf("contact %q: %v", v, err)
	}
	begun, err := s.BeginUpdate(ctx, ContactUpdate{ID: "op-" + id, PatientID: id, Actor: "a", IdempotencyKey: v + "k", Digest: "d"}, "me", time.Minute)
	if err != nil {
		t.Fatalf("begin %q: %v", v, err)
	}
	if err := s.SendUpdate("op-"+id, "me", id, v, v); err != nil {
		t.Fatalf("send %q: %v", v, err)
	}
	state.FamilyName += "3"
	c := usual("op-"+id, begun.Patient, state)
	c.Owner, c.Answer, c.LandedETag, c.FencedAnswer = "me", v, v, v
	if _, err := s.CloseUpdate(c); err != nil {
		t.Fatalf("close %q: %v", v, err)
	}
	for _, key := range []string{v, v + "k"} {
		if u, err := s.ContactUpdateByKey(ctx, "a", key, time.Hour); err != nil || u.ID == "op-"+id && (u.Put != clean(v) || u.IfMatch != clean(v)) {
			t.Errorf("the line with key %q: %+v, %v", key, u, err)
		}
	}
	p, err := s.Patient(ctx, id)
	if err != nil || p.Phone != clean(v) || p.FamilyName != clean(v+"3") || p.Allergies[0] != strings.ToValidUTF8(v, "\uFFFD") {
		t.Errorf("%q came back as %+v, %v", v, p, err)
	}
	everySearch(t, s, v)
}

// everySearch runs every filter with every order and cursor. The filters that
// take a text find at most what was made with this one; what they find is the
// same for a page and a count.
func everySearch(t *testing.T, s *Store, v string) {
	t.Helper()
	ctx := context.Background()
	numbered(t, s) // an order lists those alone
	for name, f := range map[string]Filter{
		"ids": {IDs: []string{v}}, "name": {Name: v}, "phone": {Phone: v}, "phone with digits": {Phone: v + "1"}, "birth date": {BirthDate: v},
		"gender": {Gender: v}, "state": {SyncState: SyncState(v)}, "since": {UpdatedSince: testTime.Add(1234567 * time.Microsecond), Phone: v},
		"all": {IDs: []string{v}, Name: v, Phone: v, BirthDate: v, Gender: v, SyncState: SyncState(v)},
	} {
		n, err := s.CountPatients(ctx, f)
		if err != nil {
			t.Errorf("count by %s %q: %v", name, v, err)
		}
		for o := range orderings {
			if o != OrderNameAsc && name != "name" && name != "all" {
				continue
			}
			cursor := o.Cursor(&Patient{ID: clean(v), keys: keys{name: clean(v)}, FHIRState: FHIRState{BirthDate: clean(v)}, CreatedAt: testTime, UpdatedAt: testTime})
			for _, r := range []PageRequest{{Filter: f, First: 173}, {Filter: f, Last: 173}, {Filter: f, First: 173, After: cursor}, {Filter: f, Last: 173, Before: cursor}} {
				r.Order = o
				page, err := s.Patients(ctx, r)
				if err != nil {
					t.Fatalf("%s by %s %q: %v", o, name, v, err)
				}
				if len(page.Patients) > n || r.After+r.Before == "" && len(page.Patients) != min(n, 173) {
					t.Errorf("%s by %s %q: %d of %d", o, name, v, len(page.Patients), n)
				}
			}
		}
	}
}

// Whatever stands in a value, and however PostgreSQL reads quotes, it is a
// value.
func TestValuesAreValues(t *testing.T) {
	t.Parallel()
	stores(t, func(t *testing.T, s *Store) {
		if onPostgres(s) {
			readsBackslashes(t, s)
		}
		for n, v := range nastyValues {
			everyRequest(t, s, n, v)
		}
		ctx := context.Background()
		for _, v := range nastyValues[:4] {
			if n, err := s.CountPatients(ctx, Filter{Phone: "no one " + v}); err != nil || n != 0 {
				t.Errorf("%q finds %d patients, %v", v, n, err)
			}
		}
		if _, err := s.CleanUpdates(ctx, -time.Hour); err != nil {
			t.Error(err)
		}
	})
}

// readsBackslashes has the server take a backslash in quotes for an escape, as
// before 2010.
func readsBackslashes(t *testing.T, s *Store) {
	t.Helper()
	for _, pool := range []*bun.DB{s.read, s.journal} {
		pool.SetMaxOpenConns(1)
		if _, err := pool.DB.Exec("SET standard_conforming_strings = off"); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			var is string
			if err := pool.DB.QueryRow("SHOW standard_conforming_strings").Scan(&is); err != nil || is != "off" {
				t.Errorf("the test ran with %q (%v)", is, err)
			}
		})
	}
}

// No statement holds a value, be it of a caller, of a FHIR server or of ours, but for how many
// rows a page has.
func TestNoValueIsInTheTextOfAStatement(t *testing.T) {
	t.Parallel()
	watched(t, func(t *testing.T, s *Store, w *watch) {
		const marked = `MARKED'\`
		everyRequest(t, s, 7, marked)
		var numbered []NewPatient
		for range 3 {
			numbered = append(numbered, NewPatient{State: FHIRState{FamilyName: marked}})
		}
		add(t, s, testTime, numbered...)
		if _, err := s.CleanUpdates(context.Background(), 0); err != nil {
			t.Error(err)
		}
		texts := w.take()
		if len(texts) < 20 {
			t.Fatalf("only %d statements were seen", len(texts))
		}
		since := fmt.Sprint(testTime.Add(1234567 * time.Microsecond).UnixMicro())
		for _, text := range texts {
			for _, value := range []string{"marked", "p-7", "f7", "p-2025", since, fmt.Sprint(testTime.UnixMicro())} {
				if strings.Contains(strings.ToLower(text), value) {
					t.Errorf("the value %s is in: %.300s", value, text)
				}
			}
		}
	})
}

// Whatever the role or the database says, each connection reads quotes in the
// standard way.
func TestQuotesAreReadInTheStandardWay(t *testing.T) {
	t.Parallel()
	u := dbtest.Postgres(t)
	s := openStore(t, u)
	if _, err := s.write.DB.Exec(`DO $$ BEGIN EXECUTE format('ALTER DATABASE %I SET standard_conforming_strings = off', current_database()); END $$`); err != nil {
		t.Fatal(err)
	}
	s = openStore(t, u)
	for name, pool := range map[string]*bun.DB{"read": s.read, "journal": s.journal} {
		var is string
		if err := pool.DB.QueryRow("SHOW standard_conforming_strings").Scan(&is); err != nil || is != "on" {
			t.Errorf("%s: %s (%v)", name, is, err)
		}
	}
}

// The texts that depend on what is asked are not kept, neither here nor by
// PostgreSQL.
func TestSearchesDoNotFillTheMemory(t *testing.T) {
	t.Parallel()
	s := openStore(t, dbtest.Postgres(t))
	s.read.SetMaxOpenConns(1)
	everySearch(t, s, "x")
	const kept = "SELECT statement FROM pg_prepared_statements"
	rows, err := s.read.DB.Query(kept)
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	for rows.Next() {
		var text string
		if err := rows.Scan(&text); err != nil {
			t.Fatal(err)
		}
		if fixed := slices.ContainsFunc(statements, func(st *statement) bool { return st.postgres == text }); !fixed && text != kept {
			t.Errorf("kept: %s", text)
		}
	}
	if err := rows.Err(); err != nil {
		t.Fatal(err)
	}
}
