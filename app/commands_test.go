package app_test

import (
	"fmt"
	"runtime"
	"strings"
	"testing"

	. "patientgraph/app/apptest"
	"patientgraph/auth"
	"patientgraph/db"
	"patientgraph/db/dbtest"
	"patientgraph/fhir"
	"patientgraph/internal/locked"
)

func TestImportReportsBadLinesAndGoesOn(t *testing.T) {
	t.Parallel()
	OnEachDatabase(t, func(t *testing.T, databaseURL string) {
		ndjson := PatientJSON("a1", Number) + "\n{broken\n\n" + `{"resourceType":"Observation","id":"o"}` + "\n" + PatientJSON("a2", "P-2025-000009") +
			"\n" + `{"resourceType":"Patient","id":5}` + "\n" + `{"resourceType":"Patient","id":"a/b"}`
		out, err := Import(t, databaseURL, ndjson)
		if err == nil || !strings.Contains(out, `"line":2`) || !strings.Contains(out, `"line":4`) || !strings.Contains(out, "2 new, 0 updated, 0 kept as they were, 4 bad lines") {
			t.Errorf("import ended with %v and said\n%s", err, out)
		}
		if strings.Contains(out, "길동") {
			t.Error("the report holds patient data")
		}
		out, err = Import(t, databaseURL, PatientJSON("a1", Number))
		if err != nil || !strings.Contains(out, "1 kept") {
			t.Errorf("the second import ended with %v and said\n%s", err, out)
		}
	})
}

// TestTokenTakesEveryRole: its help names the roles of the table, and it signs
// for each of them and for no other.
func TestTokenTakesEveryRole(t *testing.T) {
	t.Parallel()
	command := func(args ...string) (string, error) {
		var out, log locked.Buffer
		err := Run(t.Context(), append([]string{"token"}, args...), &out, &log, "JWT_SECRET="+Secret)
		return out.String(), err
	}
	help, err := command("--help")
	if err != nil || !strings.Contains(strings.Join(strings.Fields(help), " "), "Role of the viewer: "+strings.Join(auth.Roles(), ",")) {
		t.Errorf("the help does not name the roles (%v):\n%s", err, help)
	}
	for _, role := range auth.Roles() {
		if out, err := command("--role", role, "--patient", Number); err != nil || strings.Count(out, ".") != 2 {
			t.Errorf("--role %s: %q, %v", role, out, err)
		}
	}
	if out, err := command("--role", "janitor"); err == nil {
		t.Errorf("a role that the table does not have: %q", out)
	}
}

// TestFHIRServerTakesEveryProfileThatHasAName: its help names them, and no other is taken.
func TestFHIRServerTakesEveryProfileThatHasAName(t *testing.T) {
	t.Parallel()
	run := func(argument string, settings ...string) (string, error) {
		var out, log locked.Buffer
		err := Run(t.Context(), []string{argument}, &out, &log, settings...)
		return strings.Join(strings.Fields(out.String()), " "), err
	}
	if help, err := run("--help"); err != nil || !strings.Contains(help, "Kind of FHIR server: "+strings.Join(fhir.Servers(), ",")) {
		t.Errorf("the help does not name them (%v):\n%s", err, help)
	}
	for _, name := range fhir.Servers() {
		if _, err := run("version", "FHIR_SERVER="+name); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := run("version", "FHIR_SERVER=medplum"); err == nil {
		t.Error("one that is chosen alone is taken")
	}
}

// TestTokenNamesItsPatients: one as a text, several as a list, in the claim and of the
// kind that the settings say.
func TestTokenNamesItsPatients(t *testing.T) {
	t.Parallel()
	databaseURL := dbtest.SQLite(t)
	MustImport(t, databaseURL, PatientJSON("a1", Number), PatientJSON("a2", "P-2025-000009"))
	for name, c := range map[string]struct {
		settings, args []string
		want           []string
	}{
		"one":                 {nil, []string{"--patient", Number}, []string{Number}},
		"several":             {nil, []string{"--patient", "P-2025-000009", "--patient", Number}, []string{Number, "P-2025-000009"}},
		"a comma parts none":  {nil, []string{"--patient", Number + ",P-2025-000009"}, []string{Number + ",P-2025-000009"}},
		"by FHIR id":          {[]string{"JWT_PATIENT_CLAIM=fhir.patient", "JWT_PATIENT_CLAIM_KIND=fhir"}, []string{"--patient", "a2"}, []string{"P-2025-000009"}},
		"several by FHIR id":  {[]string{"JWT_PATIENT_CLAIM_KIND=fhir"}, []string{"--patient", "a2", "--patient", "a1"}, []string{Number, "P-2025-000009"}},
		"a number as FHIR id": {[]string{"JWT_PATIENT_CLAIM_KIND=fhir"}, []string{"--patient", Number}, []string{}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var token, log locked.Buffer
			settings := append(c.settings, "JWT_SECRET="+Secret)
			if err := Run(t.Context(), append([]string{"token", "--role", "patient"}, c.args...), &token, &log, settings...); err != nil {
				t.Fatal(err)
			}
			p := StartWith(t, "http://127.0.0.1:1/fhir", databaseURL, settings...)
			Want(t, p.As(strings.TrimSpace(token.String())).Query(`{ viewer { role patientIds } }`, nil), Object{"viewer": Object{"role": "patient", "patientIds": c.want}})
		})
	}
	for _, args := range [][]string{nil, {"--patient", ""}} {
		var out, log locked.Buffer
		if err := Run(t.Context(), append([]string{"token", "--role", "patient"}, args...), &out, &log, "JWT_SECRET="+Secret); err == nil || !strings.Contains(err.Error(), "--patient") {
			t.Errorf("%q: %v", args, err)
		}
	}
}

// TestTheDemoTakesTokensWithFHIRIDs: its own one is an admin's.
func TestTheDemoTakesTokensWithFHIRIDs(t *testing.T) {
	t.Parallel()
	p := Start(t, "JWT_SECRET="+Secret, "JWT_PATIENT_CLAIM_KIND=fhir")
	demo := p.Query(`{ patients(orderBy: CREATED_ASC, first: 1) { nodes { id fhirId } } }`, nil).At("patients", "nodes").([]any)[0].(map[string]any)
	Want(t, p.As(Token(t, auth.RolePatient, demo["fhirId"].(string))).Query(`{ viewer { patientId } }`, nil), Object{"viewer.patientId": demo["id"]})
}

// TestACommandsOwnFlagsComeFirst, with their values; the settings stand below.
func TestACommandsOwnFlagsComeFirst(t *testing.T) {
	t.Parallel()
	for command, own := range map[string][]string{
		"token":  {"--role=STRING", "--patient", "--ttl"},
		"doctor": {"--json", "--write-test"},
		"import": {"<file>"},
		"schema": nil,
	} {
		var out, log locked.Buffer
		if err := Run(t.Context(), []string{command, "--help"}, &out, &log); err != nil {
			t.Fatal(err)
		}
		help := out.String()
		settings := strings.Index(help, "\nSettings")
		if settings < 0 || strings.Index(help, "--listen-addr") < settings {
			t.Errorf("%s: settings are not below:\n%s", command, help)
			continue
		}
		for _, flag := range own {
			if !strings.Contains(help[:settings], flag) {
				t.Errorf("%s: %s is not above the settings:\n%s", command, flag, help)
			}
		}
	}
}

// TestWhatACommandIsToldIsNoSetting: a variable that happens to have the name of a
// command's flag means nothing.
func TestWhatACommandIsToldIsNoSetting(t *testing.T) {
	t.Parallel()
	var out, log locked.Buffer
	err := Run(t.Context(), []string{"token"}, &out, &log, "JWT_SECRET="+Secret, "ROLE=admin", "HELP=true")
	if err == nil || !strings.Contains(err.Error(), "--role") || out.String() != "" {
		t.Errorf("token took its role from the environment: %v\n%s", err, out.String())
	}
}

func TestVersion(t *testing.T) {
	t.Parallel()
	var out, log locked.Buffer
	if err := Run(t.Context(), []string{"version"}, &out, &log); err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(strings.TrimSpace(out.String()), "\n")
	if len(lines) != 4 {
		t.Fatal(out.String())
	}
	for i, start := range []string{"patientgraph ", "commit ", runtime.Version(), fmt.Sprint("schema version ", db.SchemaVersion())} {
		if !strings.HasPrefix(lines[i], start) {
			t.Errorf("line %d is %q, want %q", i+1, lines[i], start)
		}
	}
}

// TestASecretGivenTwice: as a flag and in a file, by every command.
func TestASecretGivenTwice(t *testing.T) {
	t.Parallel()
	for _, args := range [][]string{{"token", "--role=admin"}, {"doctor"}, {"doctor", "--json"}, nil} {
		var out, log locked.Buffer
		err := Run(t.Context(), append(args, "--jwt-secret="+Secret), &out, &log, "JWT_SECRET_FILE=/nonexistent/secret", "FHIR_BASE_URL=http://127.0.0.1:1/fhir")
		if told := fmt.Sprint(err, out.String()); err == nil || !strings.Contains(told, "--jwt-secret and JWT_SECRET_FILE exclude each other") || strings.Contains(told, Secret) {
			t.Errorf("%q: %s", args, told)
		}
	}
}

// TestDoctorOfTheDemo: there is nothing to ask.
func TestDoctorOfTheDemo(t *testing.T) {
	t.Parallel()
	var out, log locked.Buffer
	if err := Run(t.Context(), []string{"doctor"}, &out, &log, "LISTEN_ADDR=127.0.0.1:0"); err != nil || !strings.Contains(out.String(), "serve would start the demo") {
		t.Errorf("%v\n%s", err, out.String())
	}
	if err := Run(t.Context(), []string{"doctor"}, &out, &log, "LISTEN_ADDR=0.0.0.0:0"); err == nil || !strings.Contains(out.String(), "loopback") {
		t.Errorf("%v\n%s", err, out.String())
	}
}
