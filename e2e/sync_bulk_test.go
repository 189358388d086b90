package e2e_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	. "patientgraph/app/apptest"
	"patientgraph/db/dbtest"
	"patientgraph/fhir/fhirsim"
	"patientgraph/internal/locked"
)

// exportingServer has patients P-2025-000001 and on, and exports them.
func exportingServer(t *testing.T, patients int, offer fhirsim.Export) (*fhirsim.Server, string) {
	t.Helper()
	server := fhirsim.New(fhirsim.Options{})
	for n := range patients {
		if err := server.Put([]byte(PatientJSON(fmt.Sprint("bulk-", n+1), fmt.Sprintf("P-2025-%06d", n+1)))); err != nil {
			t.Fatal(err)
		}
	}
	server.OfferExport(offer)
	base, stop, err := server.Start()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(stop)
	return server, base
}

// runSyncByExport runs sync --bulk and returns what it printed and logged.
func runSyncByExport(t *testing.T, fhirURL, databaseURL string) (string, error) {
	t.Helper()
	var out, log locked.Buffer
	err := Run(t.Context(), []string{"sync", "--bulk"}, &out, &log,
		"FHIR_BASE_URL="+fhirURL, "DATABASE_URL="+databaseURL, "PATIENT_ID_SYSTEM="+fhirsim.DemoIdentifierSystem)
	return out.String() + log.String(), err
}

// TestSyncByExport: sync --bulk fills the cache as sync does, though a file breaks off, and
// asks for no page.
func TestSyncByExport(t *testing.T) {
	t.Parallel()
	OnEachDatabase(t, func(t *testing.T, databaseURL string) {
		server, base := exportingServer(t, 120, fhirsim.Export{PerFile: 70, Gzip: true, Deleted: true})
		server.Delete("bulk-7")
		server.SetFault("", fhirsim.Fault{On: fhirsim.OnExportFile, Truncate: true, Times: 1})
		out, err := runSyncByExport(t, base, databaseURL)
		if err != nil || !strings.Contains(out, "119 new, 0 updated, 0 as they were, 0 gone, 0 bad") {
			t.Fatalf("%v\n%s", err, out)
		}
		for _, r := range server.Requests() {
			if r.Path == "/fhir/Patient" {
				t.Errorf("a page was asked for: %s", r.Query)
			}
		}
		if server.Exports() != 0 {
			t.Error("the server was not told that its files are no longer needed")
		}
		p := StartWith(t, base, databaseURL)
		Want(t, p.Patient("P-2025-000120"), Object{"syncState": "SYNCED"})
	})
}

// TestSyncByExportSaysWhatIsMissing of the patients, or of the server.
func TestSyncByExportSaysWhatIsMissing(t *testing.T) {
	t.Parallel()
	const secret = "Aldous Quill"
	t.Run("the server could not export all", func(t *testing.T) {
		t.Parallel()
		_, base := exportingServer(t, 2, fhirsim.Export{Errors: `{"resourceType":"OperationOutcome","issue":[{"severity":"error","code":"exception","diagnostics":"` + secret + ` could not be read"}]}`})
		out, err := runSyncByExport(t, base, dbtest.SQLite(t))
		if err == nil || !strings.Contains(err.Error(), "sync: the FHIR server could not export everything") || !strings.Contains(out, "2 new") ||
			!strings.Contains(out, "could not be read") || strings.Contains(out, "Quill") {
			t.Errorf("%v\n%s", err, out)
		}
	})
	t.Run("the export failed", func(t *testing.T) {
		t.Parallel()
		server, base := exportingServer(t, 2, fhirsim.Export{})
		server.SetFault("", fhirsim.Fault{On: fhirsim.OnExportStatus, Status: http.StatusInternalServerError})
		out, err := runSyncByExport(t, base, dbtest.SQLite(t))
		if err == nil || !strings.Contains(err.Error(), "run sync --bulk again") || server.Exports() != 0 {
			t.Errorf("%v\n%s", err, out)
		}
	})
	t.Run("a server without exports", func(t *testing.T) {
		t.Parallel()
		base, stop, err := fhirsim.New(fhirsim.Options{}).Start()
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(stop)
		if out, err := runSyncByExport(t, base, dbtest.SQLite(t)); err == nil || !strings.Contains(err.Error(), "run sync without --bulk") {
			t.Errorf("%v\n%s", err, out)
		}
	})
}
