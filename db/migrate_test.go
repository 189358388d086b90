package db

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"
)

// A program that is older than the database does not touch it.
func TestANewerSchemaIsRefused(t *testing.T) {
	t.Parallel()
	for name, open := range databases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			u := open(t)
			s := openStore(t, u)
			newer := SchemaVersion() + 1
			if _, err := s.write.DB.Exec(fmt.Sprintf("INSERT INTO goose_db_version (version_id, is_applied) VALUES (%d, TRUE)", newer)); err != nil {
				t.Fatal(err)
			}
			again, err := Open(context.Background(), u)
			if again != nil {
				again.Close()
			}
			says := fmt.Sprintf("it has schema version %d, this program knows up to %d: run the newer patientgraph", newer, newer-1)
			if !errors.Is(err, ErrNewerSchema) || !strings.Contains(err.Error(), says) {
				t.Errorf("open: %v", err)
			}
			// A replica that is upgraded first, while this one starts.
			if err := s.Migrate(context.Background()); !errors.Is(err, ErrNewerSchema) || strings.Contains(err.Error(), "migrate:") {
				t.Errorf("migrate, which the caller names: %v", err)
			}
		})
	}
}

// To open a database that is not migrated makes nothing in it.
func TestOpenChangesNoSchema(t *testing.T) {
	t.Parallel()
	for name, open := range databases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s, err := Open(context.Background(), open(t))
			if err != nil {
				t.Fatal(err)
			}
			defer s.Close()
			count := "SELECT count(*) FROM sqlite_schema"
			if onPostgres(s) {
				count = "SELECT count(*) FROM pg_tables WHERE schemaname = 'public'"
			}
			if n, err := s.number(context.Background(), count); err != nil || n != 0 {
				t.Errorf("%d tables, %v", n, err)
			}
		})
	}
}

// olderStores runs test with an empty database of each kind as a program of that
// schema version left it.
func olderStores(t *testing.T, version int64, test func(t *testing.T, s *Store)) {
	for name, open := range databases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s, err := Open(context.Background(), open(t))
			if err != nil {
				t.Fatal(err)
			}
			defer s.Close()
			if err := s.migrate(context.Background(), version); err != nil {
				t.Fatal(err)
			}
			test(t, s)
		})
	}
}

// A journal as an older program left it: what was open is settled by this one,
// what could not be read still waits, and what was told is told again.
func TestPutAndHeardOfAnOlderJournal(t *testing.T) {
	t.Parallel()
	olderStores(t, 3, func(t *testing.T, s *Store) {
		ctx := context.Background()
		const edit, base, intended = `{"setPhone":true,"phone":"2"}`, `{"phone":"1","at":"2026-01-31T12:00:00Z"}`, `{"phone":"2","entries":3}`
		for id, line := range map[string][]any{
			"lost": {"SENT", edit, base, intended, ""}, "ok": {"UNKNOWN", edit, base, intended, `{"kind":"FHIR_OUTCOME_UNKNOWN","reason":"r","saidOK":true}`},
			"created": {"UNKNOWN", edit, base, intended, `{"kind":"FHIR_PATIENT_GONE","reason":"r"}`},
			"broken":  {"UNKNOWN", "{", "[[[", "", "{"}, "told": {"REJECTED", edit, base, intended, `{"kind":"FHIR_REJECTED","reason":"r"}`},
		} {
			text := `INSERT INTO contact_updates (id, patient_id, fhir_id, state, owner, lease_until, actor, idempotency_key, digest,
				asked, base_etag, base, intended, gone, answer, patient, requested_at, sent_at, settled_at)
				VALUES ($1, $1, 'f', $2, '', 0, 'a', '', 'd', $3, 'W/"1"', $4, $5, 0, $6, '', 0, 0, 0)`
			if _, err := s.write.DB.Exec(text, append([]any{id}, line...)...); err != nil {
				t.Fatal(err)
			}
		}
		if err := s.Migrate(ctx); err != nil {
			t.Fatal(err)
		}
		for id, want := range map[string]struct{ heard, answer string }{
			"lost": {"", ""}, "ok": {"OK", `{"code":"FHIR_OUTCOME_UNKNOWN","reason":"r","saidOK":true}`},
			"created": {"CREATED", `{"code":"FHIR_PATIENT_GONE","reason":"r"}`}, "broken": {"", "{"}, "told": {"", `{"code":"FHIR_REJECTED","reason":"r"}`},
		} {
			u, err := s.ContactUpdate(ctx, id)
			if err != nil || u.Heard != want.heard || u.Answer != want.answer || u.IfMatch != `W/"1"` {
				t.Errorf("%s: %+v, %v", id, u, err)
				continue
			}
			var put struct {
				Edit, Base, Intended map[string]any
				Entries              int
				At                   time.Time
			}
			err = u.Decode("put", u.Put, &put)
			readable := err == nil && put.Edit["phone"] == "2" && put.Base["phone"] == "1" && put.Intended["phone"] == "2" &&
				put.Entries == 3 && put.At.Year() == 2026
			if id == "broken" && (!errors.Is(err, ErrUnreadable) || u.Put != `{"edit":{,"base":[[[,"intended":}`) || id != "broken" && u.State.Open() && !readable {
				t.Errorf("%s: %s, %v", id, u.Put, err)
			}
		}
	})
}

// The rows of an older program are found as those of this one, once it has made
// their keys; a start that was interrupted goes on where it ended.
func TestKeysOfAnOlderDatabase(t *testing.T) {
	t.Parallel()
	olderStores(t, 5, func(t *testing.T, s *Store) {
		ctx := context.Background()
		rows := 2*rekeyAtOnce + 7
		tx, err := s.write.DB.Begin()
		if err != nil {
			t.Fatal(err)
		}
		for n := range rows {
			id := fmt.Sprintf("P-%04d", n)
			if _, err := tx.Exec(`INSERT INTO patients (id, family_name, given_name, full_name, name_key, birth_date, gender, phone, phone_key,
				email, address, emergency_contact, allergies, blood_type, sync_state, last_synced_at, fhir_version_id, fhir_updated_at, version, created_at, updated_at)
				VALUES ($1, 'Öztürk', $2, '', 'öztürk', '', '', $3, 'old', 'e', '', '', '', '', 'LOCAL_ONLY', 0, '', 0, 3, 1, 1)`,
				id, fmt.Sprint("Gül", n), fmt.Sprintf("+47 912 %05d", n)); err != nil {
				t.Fatal(err)
			}
			if _, err := tx.Exec(`INSERT INTO patient_name_grams (gram, patient_id) VALUES ('özt', $1), ('old', $1)`, id); err != nil {
				t.Fatal(err)
			}
		}
		if err := errors.Join(tx.Commit(), s.Migrate(ctx)); err != nil {
			t.Fatal(err)
		}
		// As a crash leaves it.
		for _, text := range []string{
			"DELETE FROM patient_name_grams WHERE patient_id < 'P-0600'", "DELETE FROM patient_phones WHERE patient_id < 'P-0600'",
			"UPDATE patients SET search_key = NULL WHERE id < 'P-0600'",
		} {
			if _, err := s.write.DB.Exec(text); err != nil {
				t.Fatal(err)
			}
		}
		if err := s.Migrate(ctx); err != nil {
			t.Fatal(err)
		}
		for _, c := range []struct {
			f    Filter
			want int
		}{
			{Filter{Name: "gul ozturk"}, rows}, {Filter{Name: "GUL1234 öztürk"}, 1}, {Filter{Phone: "91200599", PhoneRegion: "NO"}, 1},
			{Filter{Phone: "91200600", PhoneRegion: "NO"}, 1}, {Filter{Name: "old"}, 0}, {Filter{Phone: "old"}, 0},
		} {
			if n, err := s.CountPatients(ctx, c.f); err != nil || n != c.want {
				t.Errorf("%+v finds %d, want %d (%v)", c.f, n, c.want, err)
			}
		}
		p, err := s.Patient(ctx, "P-0007")
		if err != nil || p.Version != 3 || p.FamilyName != "Öztürk" || p.keys != keysOf(&p.FHIRState) {
			t.Errorf("%+v, %v", p, err)
		}
		if grams, err := s.number(ctx, "SELECT count(*) FROM patient_name_grams WHERE gram IN ('özt', 'old')"); err != nil || grams != 0 {
			t.Errorf("%d old grams, %v", grams, err)
		}
	})
}

// The key of a caller with a subject is remembered whatever patient the token named.
func TestActorsOfAnOlderJournal(t *testing.T) {
	t.Parallel()
	olderStores(t, 7, func(t *testing.T, s *Store) {
		ctx := context.Background()
		const subject, hashed = `"u \u003c1\u003e, 홍"`, "5891b5b522d5df086d0ff0b110fbd9d21bb4fc7163af34d08286a2e846f6be03"
		for id, line := range map[string][2]string{
			"1": {`["patient","P-1",` + subject + `]`, "k"}, "2": {`["patient","P-2",` + subject + `]`, "k"}, "3": {`["patient","P-2",` + subject + `]`, "other"},
			"4": {`["patient","P-1",""]`, "k"}, "5": {`["admin","","s"]`, "k"}, "6": {hashed, "k"}, "7": {"a", ""}, "8": {`["nurse","P-1","x"]`, ""}, "9": {`["nurse","P-2","x"]`, ""},
		} {
			text := `INSERT INTO contact_updates (id, patient_id, fhir_id, state, owner, lease_until, actor, idempotency_key, digest,
				if_match, put, heard, gone, answer, patient, requested_at, sent_at, settled_at)
				VALUES ($1, $1, 'f', 'APPLIED', '', 0, $2, $3, 'd', '', '', '', 0, '', '', 0, 0, 1)`
			if _, err := s.write.DB.Exec(text, id, line[0], line[1]); err != nil {
				t.Fatal(err)
			}
		}
		if err := s.Migrate(ctx); err != nil {
			t.Fatal(err)
		}
		for id, want := range map[string]string{
			"3": `["patient","",` + subject + `]`, "4": `["patient","P-1",""]`, "5": `["admin","","s"]`, "6": hashed, "7": "a", "8": `["nurse","","x"]`, "9": `["nurse","","x"]`,
		} {
			var actor string
			if err := s.write.DB.QueryRow("SELECT actor FROM contact_updates WHERE id = $1", id).Scan(&actor); err != nil || actor != want {
				t.Errorf("%s: %s, %v", id, actor, err)
			}
		}
		if n, err := s.number(ctx, `SELECT count(*) FROM contact_updates WHERE actor = '["patient","",`+subject+`]' AND idempotency_key = 'k'`); n != 1 || err != nil {
			t.Errorf("%d updates of one caller under one key, %v", n, err)
		}
	})
}

// What only reads takes the schema of this program alone, and says what to do about another.
func TestReadyTakesThisSchemaAlone(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	olderStores(t, 9, func(t *testing.T, s *Store) {
		for range 2 { // it changes nothing
			if err := s.Ready(ctx); err == nil || !strings.Contains(err.Error(), "schema version 9") || !strings.Contains(err.Error(), "patientgraph migrate") {
				t.Errorf("an older schema: %v", err)
			}
		}
		if err := s.Migrate(ctx); err != nil {
			t.Fatal(err)
		}
		if err := s.Ready(ctx); err != nil {
			t.Errorf("after the migration: %v", err)
		}
		if _, err := s.write.DB.Exec("DELETE FROM goose_db_version"); err != nil {
			t.Fatal(err)
		}
		if err := s.Ready(ctx); err == nil || !strings.Contains(err.Error(), "patientgraph sync") {
			t.Errorf("no schema: %v", err)
		}
	})
}
