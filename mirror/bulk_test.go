package mirror_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

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

func TestAnExportFillsTheCache(t *testing.T) {
	t.Parallel()
	export := exported(t, fhirsim.Export{PerFile: 2, Deleted: true}, fhirsim.Fault{On: "none"})
	s := &store{}
	var gone []string
	from, err := mirror.Bulk(t.Context(), export, quiet(s), func(_ context.Context, id string) error {
		if len(s.ids) > 0 {
			t.Error("who was deleted is told after who is there")
		}
		gone = append(gone, id)
		return nil
	})
	if err != nil || !from.Equal(export.TransactionTime) || from.IsZero() {
		t.Errorf("%v, %v", from, err)
	}
	if strings.Join(s.ids, " ") != "p0 p2 p3 p4" || strings.Join(gone, " ") != "p1" {
		t.Errorf("took %v, gone %v", s.ids, gone)
	}
}

// From an export that does not show all that the server has, nothing follows of who is
// not in it, nor may the changes before it be forgotten.
func TestAnExportThatIsNotWholeIsAnError(t *testing.T) {
	t.Parallel()
	broken := errors.New("broken")
	stays := func(context.Context, string) error { return nil }
	for name, tt := range map[string]struct {
		offer fhirsim.Export
		fault fhirsim.Fault
		fail  error
		gone  func(context.Context, string) error
		want  string
		taken bool
	}{
		"errors": {offer: fhirsim.Export{Errors: `{"resourceType":"OperationOutcome","issue":[{"severity":"error","code":"exception"}]}`},
			want: "could not export everything: it reports 1 errors", taken: true},
		"a file that is gone":             {fault: fhirsim.Fault{On: fhirsim.OnExportFile, Status: 404}, want: "no longer there"},
		"deletions that cannot be read":   {offer: fhirsim.Export{Manifest: func(m map[string]any) { m["deleted"] = []any{map[string]any{"url": "Binary/unknown"}} }}, want: "no longer there"},
		"the cache fails":                 {fail: broken, want: "broken", taken: true},
		"the cache fails with a deletion": {offer: fhirsim.Export{Deleted: true}, gone: func(context.Context, string) error { return broken }, want: "broken"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if tt.fault.On == "" {
				tt.fault.On = "none"
			}
			if tt.gone == nil {
				tt.gone = stays
			}
			s := &store{fail: tt.fail}
			from, err := mirror.Bulk(t.Context(), exported(t, tt.offer, tt.fault), quiet(s), tt.gone)
			if err == nil || !strings.Contains(err.Error(), tt.want) || len(s.ids) > 0 != tt.taken {
				t.Errorf("%v, %v, took %v", from, err, s.ids)
			}
		})
	}
}

// A patient of an export that cannot be taken is told by its place, and spoils no other,
// however many there are.
func TestBadPatientsOfAnExport(t *testing.T) {
	t.Parallel()
	export := exported(t, fhirsim.Export{Manifest: func(m map[string]any) {
		output := m["output"].([]any)
		m["output"] = append(output, map[string]any{"type": "Patient", "url": m["error"].([]any)[0].(map[string]any)["url"]})
		m["error"] = []any{}
	}, Errors: strings.Repeat("{}\n", 30) + patient("last")}, fhirsim.Fault{On: "none"})
	s := &store{}
	var told []string
	into := mirror.NewImport(s, mirror.ImportOptions{Now: time.Now, BadLine: func(_ string, nth int, err error) { told = append(told, fmt.Sprint(nth, " ", err)) }})
	_, err := mirror.Bulk(t.Context(), export, into, func(context.Context, string) error { return nil })
	if err != nil || strings.Join(s.ids, " ") != "p0 p2 p3 p4 last" || len(told) != 30 || into.Result.Bad != 30 || !strings.HasPrefix(told[0], "5 ") || !strings.Contains(told[0], "ine 1 of file 2") {
		t.Errorf("%v, took %v, %d bad, first %.200q", err, s.ids, len(told), told)
	}
}
