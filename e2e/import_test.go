package e2e_test

import (
	"bytes"
	"compress/gzip"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	. "patientgraph/app/apptest"
	"patientgraph/db/dbtest"
	"patientgraph/internal/locked"
)

// importFiles runs the import command on files as they are, and returns what it
// printed and logged.
func importFiles(t *testing.T, databaseURL string, files ...string) (string, error) {
	t.Helper()
	return importWith(t, databaseURL, files)
}

func importWith(t *testing.T, databaseURL string, files []string, settings ...string) (string, error) {
	t.Helper()
	var out, log locked.Buffer
	err := Run(t.Context(), append([]string{"import"}, files...), &out, &log, append(settings, "DATABASE_URL="+databaseURL, "LOG_FORMAT=json")...)
	return out.String() + log.String(), err
}

func file(name string) string { return filepath.Join("testdata", "import", name) }

// zippedFile is a copy of a file, compressed.
func zippedFile(t *testing.T, name string) string {
	t.Helper()
	text, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	var packed bytes.Buffer
	w := gzip.NewWriter(&packed)
	_, _ = w.Write(text) // into memory
	_ = w.Close()
	copied := filepath.Join(t.TempDir(), filepath.Base(name)+".gz")
	if err := os.WriteFile(copied, packed.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	return copied
}

// cached lists the patients of a database as "FHIR id, family name, email".
func cached(t *testing.T, databaseURL string) []string {
	t.Helper()
	p := StartWith(t, "http://127.0.0.1:1/fhir", databaseURL)
	page, _ := p.Query(`{ patients(first: 50) { nodes { fhirId familyName email } } }`, nil)["patients"].(map[string]any)
	nodes, _ := page["nodes"].([]any)
	list := []string{}
	for _, node := range nodes {
		n := node.(map[string]any)
		list = append(list, fmt.Sprint(n["fhirId"], " ", n["familyName"], " ", n["email"]))
	}
	slices.Sort(list)
	return list
}

// TestImportTakesFilesAsHospitalsHaveThem: with a byte order mark and CRLF, a
// printed Bundle that holds another resource too, compressed, on standard input, and
// several at once.
func TestImportTakesFilesAsHospitalsHaveThem(t *testing.T) {
	t.Parallel()
	OnEachDatabase(t, func(t *testing.T, databaseURL string) {
		lines, bundle := file("bom-crlf.ndjson"), file("bundle.json")
		out, err := importFiles(t, databaseURL, lines, bundle)
		if err != nil || !strings.Contains(out, "4 new, 0 updated, 0 kept as they were, 0 bad lines") || !strings.Contains(out, "passed over 1 resource") {
			t.Errorf("%v\n%s", err, out)
		}
		out, err = importFiles(t, databaseURL, zippedFile(t, lines), zippedFile(t, bundle))
		if err != nil || !strings.Contains(out, "0 new, 0 updated, 4 kept as they were, 0 bad lines") {
			t.Errorf("compressed: %v\n%s", err, out)
		}
		want := []string{"perera-1 Perera <nil>", "perera-2 Perera <nil>", "perera-3 Perera <nil>", "perera-4 Perera <nil>"}
		if got := cached(t, databaseURL); !slices.Equal(got, want) {
			t.Errorf("%q", got)
		}
	})
}

func TestImportReadsStandardInput(t *testing.T) {
	t.Parallel()
	for _, name := range []string{file("bom-crlf.ndjson"), file("bundle.json"), zippedFile(t, file("bom-crlf.ndjson")), zippedFile(t, file("bundle.json"))} {
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		command := exec.Command(Binary(t, ""), "import", "-")
		command.Env = append(os.Environ(), "DATABASE_URL="+dbtest.SQLite(t))
		command.Stdin = bytes.NewReader(text)
		if out, err := command.CombinedOutput(); err != nil || !strings.Contains(string(out), "2 new, 0 updated, 0 kept as they were, 0 bad lines") {
			t.Errorf("%s: %v\n%s", name, err, out)
		}
	}
}

// TestImportSaysWhatAFileLooksLike: it stops after a few bad lines, and the other
// files of the command are imported all the same.
func TestImportSaysWhatAFileLooksLike(t *testing.T) {
	t.Parallel()
	databaseURL := dbtest.SQLite(t)
	empty, cut := filepath.Join(t.TempDir(), "empty"), filepath.Join(t.TempDir(), "cut.gz")
	packed, err := os.ReadFile(zippedFile(t, file("bundle.json")))
	if err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string][]byte{empty: nil, cut: packed[:len(packed)-9]} {
		if err := os.WriteFile(name, text, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	out, err := importFiles(t, databaseURL, file("no-patients.xml"), "nowhere", empty, cut, file("bom-crlf.ndjson"))
	if err == nil || strings.Count(out, "line not imported") != 20 || strings.Contains(out+err.Error(), "Sample") {
		t.Errorf("%v\n%s", err, out)
	}
	for _, told := range []string{"no-patients.xml: stopped in line 20", "looks like XML", "nowhere", "empty: the file is empty", "cut.gz: line ", "cut off"} {
		if !strings.Contains(err.Error(), told) {
			t.Errorf("the error lacks %q: %v", told, err)
		}
	}
	if !strings.Contains(out, "new, 0 updated, 0 kept as they were, 20 bad lines") || len(cached(t, databaseURL)) < 2 {
		t.Errorf("the last file is lost: %s", out)
	}
}

// TestImportWithoutTimesTakesTheNewer: lines without lastUpdated, or with one that
// has no zone, cannot be put in order; the later import wins, in one command or two.
func TestImportWithoutTimesTakesTheNewer(t *testing.T) {
	t.Parallel()
	OnEachDatabase(t, func(t *testing.T, databaseURL string) {
		first, later := file("undated.ndjson"), file("undated-later.ndjson")
		if out, err := importFiles(t, databaseURL, first, later); err != nil || !strings.Contains(out, "2 new, 2 updated, 0 kept") {
			t.Errorf("%v\n%s", err, out)
		}
		if out, err := importFiles(t, databaseURL, later); err != nil || !strings.Contains(out, "kept 2: without a time, and nothing differs") {
			t.Errorf("%v\n%s", err, out)
		}
		if out, err := importFiles(t, databaseURL, first); err != nil || !strings.Contains(out, "0 new, 2 updated") {
			t.Errorf("%v\n%s", err, out)
		}
		if out, err := importFiles(t, databaseURL, later); err != nil || !strings.Contains(out, "0 new, 2 updated") {
			t.Errorf("%v\n%s", err, out)
		}
		want := []string{"kaur-19 Kaur-Gill simran@second.example", "kaur-19b Kaur jas@second.example"}
		if got := cached(t, databaseURL); !slices.Equal(got, want) {
			t.Errorf("%q", got)
		}
	})
}

// TestImportWithoutTimesSparesWrites: an export without times may be from before a
// write.
func TestImportWithoutTimesSparesWrites(t *testing.T) {
	t.Parallel()
	OnEachDatabase(t, func(t *testing.T, databaseURL string) {
		s := StartSystem(t, databaseURL)
		Want(t, s.Update(Object{"patientId": Number, "phone": NewPhone}), Object{"__typename": "UpdatePatientContactSuccess"})
		out, err := Import(t, databaseURL, PatientJSON("a1", Number))
		if err != nil || !strings.Contains(out, "kept 1: without a time, and the patient was written here lately") {
			t.Errorf("%v\n%s", err, out)
		}
		Want(t, s.Patient(Number), Object{"phone": NewPhone})
	})
}
