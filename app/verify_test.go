package app_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	. "patientgraph/app/apptest"
	"patientgraph/db/dbtest"
	"patientgraph/fhir/fhirsim"
	"patientgraph/internal/locked"
	"patientgraph/internal/wait"
)

// verify runs the command and returns what it printed, what it logged, and its error.
func verify(fhirURL, databaseURL string, args ...string) (out, log string, err error) {
	return verifyBeside("0", fhirURL, databaseURL, args...)
}

// verifyBeside is verify where a mirror looks as often as syncInterval says.
func verifyBeside(syncInterval, fhirURL, databaseURL string, args ...string) (out, log string, err error) {
	var stdout, stderr locked.Buffer
	err = Run(context.Background(), append([]string{"verify"}, args...), &stdout, &stderr,
		"FHIR_BASE_URL="+fhirURL, "DATABASE_URL="+databaseURL, "PATIENT_ID_SYSTEM="+fhirsim.DemoIdentifierSystem, "FHIR_TIMEOUT=2s",
		"SYNC_INTERVAL="+syncInterval)
	return stdout.String(), stderr.String(), err
}

// secrets are the values of a PatientJSON, and those that the tests change them to.
var secrets = []string{"길동", "홍", "010-", "1111-2222", "7777-7777", "example.org", "Main St", "Side St", "Seoul", "1990-05", "male"}

func TestVerifyPrintsWhichFieldsOfWhichPatientsDiffer(t *testing.T) {
	t.Parallel()
	OnEachDatabase(t, func(t *testing.T, databaseURL string) {
		const patients = 20
		var all []string
		for n := range patients {
			all = append(all, PatientJSON(fmt.Sprintf("a%02d", n), fmt.Sprintf("P-2025-%06d", n)))
		}
		all = append(all, strings.Replace(PatientJSON("", "P-2025-000099"), `"id":"",`, "", 1)) // of no concern
		server, base := StartFHIR(t, fhirsim.Options{Habits: fhirsim.HAPI()}, all[:patients]...)
		MustImport(t, databaseURL, all...)
		rows := dump(t, databaseURL)
		out, log, err := verify(base, databaseURL)
		if err != nil || out != "20 rows: 20 the same, 0 wrong, 0 gone, 0 back, 0 behind, 0 marked, 0 unknown\n" {
			t.Fatalf("%v\n%s%s", err, out, log)
		}

		changed := strings.NewReplacer("010-1111-2222", "010-7777-7777", "Main St", "Side St").Replace(all[3])
		if err := server.Put([]byte(changed)); err != nil {
			t.Fatal(err)
		}
		out, log, err = verify(base, databaseURL, "--all")
		if err != nil || !strings.HasPrefix(out, "P-2025-000003 behind: phone, address\n20 rows: 19 the same, 0 wrong, 0 gone, 0 back, 1 behind,") {
			t.Errorf("%v\n%s%s", err, out, log)
		}
		server.Delete("a05")
		out, log, err = verify(base, databaseURL, "--all")
		if err != nil || !strings.Contains(out, "P-2025-000005 behind\n") || !strings.Contains(out, "18 the same, 0 wrong, 0 gone, 0 back, 2 behind,") {
			t.Errorf("%v\n%s%s", err, out, log)
		}
		if now := dump(t, databaseURL); now != rows {
			t.Errorf("the rows were %s and are %s", rows, now)
		}
		// The mirror has looked now, and has overlooked the patient for long.
		if _, err := dbtest.Open(t, databaseURL).Exec(fmt.Sprintf(`UPDATE mirror SET looked_at = %d; UPDATE patients SET last_synced_at = 1 WHERE fhir_id = 'a05'`, time.Now().UnixMicro())); err != nil {
			t.Fatal(err)
		}
		rows = dump(t, databaseURL)
		out, log, err = verify(base, databaseURL, "--all")
		if err == nil || !strings.Contains(err.Error(), "1 rows differ") || !strings.Contains(out, "P-2025-000005 gone\n") || !strings.Contains(out, "18 the same, 0 wrong, 1 gone, 0 back, 1 behind,") {
			t.Errorf("%v\n%s%s", err, out, log)
		}
		if found := held(out+log+err.Error(), secrets); len(found) > 0 {
			t.Errorf("it shows %q:\n%s%s", found, out, log)
		}
		asJSON, log, err := verify(base, databaseURL, "--sample", "1000", "--json")
		var told struct {
			Differences []struct {
				Patient, Kind string
				Fields        []string
			}
			Rows, Same int
			Kinds      map[string]int
			OK         *bool
		}
		if bad := json.Unmarshal([]byte(asJSON), &told); bad != nil || err == nil || told.OK == nil || *told.OK || told.Rows != patients || told.Same != patients-2 ||
			len(told.Differences) != 2 || told.Kinds["gone"] != 1 || told.Kinds["wrong"] != 0 {
			t.Errorf("%v, %v\n%s%s", bad, err, asJSON, log)
		}
		if found := held(asJSON+log, secrets); len(found) > 0 {
			t.Errorf("it shows %q:\n%s%s", found, asJSON, log)
		}
		if out, _, err := verify(base, databaseURL, "--sample=3"); !strings.Contains(out, "3 rows: ") {
			t.Errorf("%v\n%s", err, out)
		}
		for _, request := range server.Requests() {
			if request.Method != http.MethodGet {
				t.Errorf("%s %s", request.Method, request.Path)
			}
		}
		if now := dump(t, databaseURL); now != rows {
			t.Errorf("the rows were %s and are %s", rows, now)
		}
	})
}

// held returns which of the values stand in a text.
func held(text string, values []string) (found []string) {
	return slices.DeleteFunc(slices.Clone(values), func(value string) bool { return !strings.Contains(text, value) })
}

// dump returns what tells whether rows were written.
func dump(t *testing.T, databaseURL string) (text string) {
	t.Helper()
	rows, err := dbtest.Open(t, databaseURL).Query("SELECT id, version, phone, last_synced_at, sync_state FROM patients ORDER BY id")
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	for rows.Next() {
		var id, phone, state string
		var version, at int64
		if err := rows.Scan(&id, &version, &phone, &at, &state); err != nil {
			t.Fatal(err)
		}
		text += fmt.Sprintln(id, version, phone, at, state)
	}
	return text
}

func TestVerifySaysWhatToDoWhereNothingCanBeCompared(t *testing.T) {
	t.Parallel()
	_, base := StartFHIR(t, fhirsim.Options{Habits: fhirsim.HAPI()})
	filled, newer, empty := dbtest.SQLite(t), dbtest.SQLite(t), dbtest.SQLite(t)
	for _, databaseURL := range []string{filled, newer} {
		MustImport(t, databaseURL, PatientJSON("a1", Number))
	}
	if _, err := dbtest.Open(t, newer).Exec("INSERT INTO goose_db_version (version_id, is_applied) SELECT max(version_id) + 1, TRUE FROM goose_db_version"); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(strings.TrimPrefix(empty, "sqlite:"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	missing := dbtest.SQLite(t)
	for name, c := range map[string]struct {
		base, databaseURL string
		args              []string
		want              []string
	}{
		"the server is away":      {"http://127.0.0.1:1/fhir", filled, nil, []string{"nothing could be compared", "patientgraph doctor"}},
		"no server":               {"", "", nil, []string{"FHIR_BASE_URL"}},
		"a newer schema":          {base, newer, nil, []string{"DATABASE_URL", "schema version", "run the newer patientgraph"}},
		"an empty database":       {base, empty, nil, []string{"DATABASE_URL", "patientgraph sync"}},
		"no database":             {base, missing, nil, []string{"DATABASE_URL", "patientgraph sync"}},
		"a database in memory":    {base, "sqlite::memory:", nil, []string{"DATABASE_URL"}},
		"no sample":               {base, filled, []string{"--sample=0"}, []string{"--sample"}},
		"a sample of all of them": {base, filled, []string{"--sample=3", "--all"}, []string{"--sample", "--all"}},
	} {
		t.Run(name, func(t *testing.T) {
			out, log, err := verify(c.base, c.databaseURL, c.args...)
			if err == nil || len(held(err.Error(), c.want)) != len(c.want) {
				t.Errorf("%v, which is to hold %q\n%s%s", err, c.want, out, log)
			}
		})
	}
	if _, err := os.Stat(strings.TrimPrefix(missing, "sqlite:")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("it made a database: %v", err)
	}
}

// TestVerifyBesideAMirrorThatRuns finds nothing wrong, however short ago the patients were
// changed, deleted and brought back.
func TestVerifyBesideAMirrorThatRuns(t *testing.T) {
	t.Parallel()
	OnEachDatabase(t, func(t *testing.T, databaseURL string) {
		const interval = "200ms"
		ids := []string{"a1", "a2", "a3", "a4"}
		var all []string
		for n, id := range ids {
			all = append(all, PatientJSON(id, fmt.Sprintf("P-2025-%06d", n)))
		}
		server, base := StartFHIR(t, fhirsim.Options{Habits: fhirsim.HAPI()}, all...)
		MustImport(t, databaseURL, all...)
		p := StartWith(t, base, databaseURL, "SYNC_INTERVAL="+interval, "VERIFY_INTERVAL=20ms")
		wait.Until(t, "the mirror has looked, and rows are compared", func() bool {
			_, figures := p.Get("/metrics")
			return !strings.Contains(figures, "patientgraph_mirror_last_look_timestamp_seconds 0\n") && !strings.Contains(figures, "patientgraph_verify_checked_total 0\n")
		})
		for round := range 4 {
			at := round % len(ids)
			server.Delete(ids[at])
			if err := server.Put([]byte(strings.Replace(all[(at+1)%len(ids)], "1111-2222", fmt.Sprintf("1111-333%d", round), 1))); err != nil {
				t.Fatal(err)
			}
			if out, log, err := verifyBeside(interval, base, databaseURL, "--all"); err != nil || !strings.Contains(out, " 0 wrong, 0 gone, 0 back,") {
				t.Errorf("round %d: %v\n%s%s", round, err, out, log)
			}
		}
	})
}

// TestServeComparesRowsAllTheTime, and tells in its figures what it found.
func TestServeComparesRowsAllTheTime(t *testing.T) {
	t.Parallel()
	OnEachDatabase(t, func(t *testing.T, databaseURL string) {
		s := StartSystem(t, databaseURL, "VERIFY_INTERVAL=20ms")
		figure := func(line string) bool {
			_, figures := s.Get("/metrics")
			return strings.Contains(figures, line+"\n")
		}
		wait.Until(t, "rows are compared", func() bool { return !figure("patientgraph_verify_checked_total 0") })
		if !figure(`patientgraph_verify_different_total{after="0s"} 0`) || !figure("patientgraph_verify_still_different 0") {
			_, figures := s.Get("/metrics")
			t.Errorf("nothing differs:\n%s", figures)
		}
		if err := s.FHIR.Put([]byte(strings.Replace(s.Stored(), "010-1111-2222", "010-7777-7777", 1))); err != nil {
			t.Fatal(err)
		}
		wait.Until(t, "the difference is counted", func() bool { return figure(`patientgraph_verify_different_total{after="0s"} 1`) })
		_, figures := s.Get("/metrics")
		if found := held(figures+s.Log.String(), []string{"7777-7777", "길동", "Main St", "old@example.org"}); len(found) > 0 {
			t.Errorf("it shows %q", found)
		}
	})
}

func TestTheSamplerCanBeTurnedOff(t *testing.T) {
	t.Parallel()
	s := StartSystem(t, dbtest.SQLite(t), "VERIFY_INTERVAL=0")
	if _, figures := s.Get("/metrics"); strings.Contains(figures, "patientgraph_verify") {
		t.Errorf("it samples:\n%s", figures)
	}
	for _, bad := range []string{"-1s", "1ms", "often"} {
		var out, log locked.Buffer
		err := Run(t.Context(), nil, &out, &log, "VERIFY_INTERVAL="+bad, "LISTEN_ADDR=127.0.0.1:0")
		if err == nil || !strings.Contains(strings.ToLower(strings.ReplaceAll(err.Error(), "-", "_")), "verify_interval") {
			t.Errorf("%s: %v", bad, err)
		}
	}
}
