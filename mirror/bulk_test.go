package mirror_test

import (
	"fmt"
	"strings"
	"testing"

	"patientgraph/fhir"
	"patientgraph/fhir/fhirsim"
	"patientgraph/mirror"
)

// exported is an export of a server with 5 patients, of whom p1 was deleted.
func exported(t *testing.T, offer fhirsim.Export, fault fhirsim.Fault) *fhir.Export {
	t.Helper()
	server := fhirsim.New(fhirsim.Options{})
	for n := range 5 {
		if err := server.Put([]byte(patient(fmt.Sprint("p", n)))); err != nil {
			t.Fatal(err)
		}
	}
	server.Delete("p1")
	server.OfferExport(offer)
	server.SetFault("", fault)
	base, stop, err := server.Start()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(stop)
	client, err := fhir.NewClient(fhir.Options{BaseURL: base})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(client.Close)
	export, err := client.Export(t.Context(), func(string) {})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(export.Close)
	return export
}

// list is what an export lists: "-id" was deleted, "!" cannot be used.
func list(t *testing.T, export *fhir.Export) (shown []string, pages int, err error) {
	t.Helper()
	for page, err := range (mirror.Bulk{Export: export}).List(t.Context(), "") {
		if err != nil {
			return shown, pages, err
		}
		if pages++; page.Next != "" || !page.ServerTime.Equal(export.TransactionTime) || page.ServerTime.IsZero() {
			t.Errorf("%q, %v", page.Next, page.ServerTime)
		}
		for _, c := range page.Changes {
			switch {
			case c.Err != nil:
				shown = append(shown, "!")
			case c.Deleted:
				shown = append(shown, "-"+c.ID)
			default:
				shown = append(shown, c.ID)
			}
		}
	}
	return shown, pages, nil
}

// Who was deleted comes before who is there: one who came back is there.
func TestAnExportIsAListOfAllPatients(t *testing.T) {
	t.Parallel()
	shown, pages, err := list(t, exported(t, fhirsim.Export{PerFile: 2, Deleted: true}, fhirsim.Fault{On: "none"}))
	if err != nil || pages != 1 || strings.Join(shown, " ") != "-p1 p0 p2 p3 p4" {
		t.Errorf("%v, %d pages, %v", shown, pages, err)
	}
}

func TestAnExportThatBreaksOffIsNoWholeList(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		offer fhirsim.Export
		fault fhirsim.Fault
	}{
		"a file that is gone":           {fhirsim.Export{}, fhirsim.Fault{On: fhirsim.OnExportFile, Status: 404}},
		"deletions that cannot be read": {fhirsim.Export{Manifest: func(m map[string]any) { m["deleted"] = []any{map[string]any{"url": "Binary/unknown"}} }}, fhirsim.Fault{On: "none"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if shown, _, err := list(t, exported(t, tt.offer, tt.fault)); err == nil || !strings.Contains(err.Error(), "no longer there") || len(shown) > 0 {
				t.Errorf("%v, %v", shown, err)
			}
		})
	}
}

// A line that cannot be used spoils no other, however many there are. Pages are bounded.
func TestBadPatientsOfAnExport(t *testing.T) {
	t.Parallel()
	export := exported(t, fhirsim.Export{Manifest: func(m map[string]any) {
		failed := m["error"].([]any)[0].(map[string]any)
		m["output"] = append(m["output"].([]any), map[string]any{"type": "Patient", "url": failed["url"]})
		m["deleted"], m["error"] = []any{map[string]any{"url": failed["url"]}}, []any{}
	}, Errors: strings.Repeat("{]\n", 300) + patient("last")}, fhirsim.Fault{On: "none"})
	shown, pages, err := list(t, export)
	text := strings.Join(shown, " ")
	if bad := strings.Repeat("! ", 300); err != nil || pages != 2 || text != bad+"p0 p2 p3 p4 "+bad+"last" {
		t.Errorf("%d pages, %v, %s", pages, err, text)
	}
}
