package app_test

import (
	"strings"
	"testing"

	. "patientgraph/app/apptest"
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
