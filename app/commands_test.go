package app_test

import (
	"strings"
	"testing"

	. "patientgraph/app/apptest"
	"patientgraph/auth"
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
