package fhir

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"patientgraph/fhir/fhirsim"
)

// exporting is a server with patients that offers exports, and a client whose waits take
// no time and are noted.
type exporting struct {
	*fhirsim.Server
	client   *Client
	base     string
	waits    []time.Duration
	progress []string
}

func newExporting(t *testing.T, patients int, e fhirsim.Export, o fhirsim.Options, change func(*Options)) *exporting {
	t.Helper()
	x := &exporting{Server: fhirsim.New(o)}
	for n := range patients {
		if err := x.Put(patientJSON(fmt.Sprintf("p%d", n), "")); err != nil {
			t.Fatal(err)
		}
	}
	x.OfferExport(e)
	base, stop, err := x.Start()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(stop)
	x.base = base
	x.client = newTestClient(t, base, change)
	x.client.sleep = func(ctx context.Context, d time.Duration) error {
		x.waits = append(x.waits, d)
		return ctx.Err()
	}
	return x
}

func (x *exporting) export(ctx context.Context) (*Export, error) {
	return x.client.Export(ctx, func(text string) { x.progress = append(x.progress, text) })
}

// ids exports and returns who came.
func (x *exporting) ids(ctx context.Context) (ids []string, err error) {
	export, err := x.export(ctx)
	if err != nil {
		return nil, err
	}
	defer export.Close()
	for p, err := range export.Patients(ctx) {
		if err != nil {
			return ids, err
		}
		ids = append(ids, p.ID)
	}
	return ids, nil
}

func numbered(n int) []string {
	var ids []string
	for i := range n {
		ids = append(ids, fmt.Sprintf("p%d", i))
	}
	return ids
}

func TestAnExportShowsEveryPatient(t *testing.T) {
	t.Parallel()
	for name, e := range map[string]fhirsim.Export{
		"at once":             {},
		"in several files":    {PerFile: 3},
		"in gzip files":       {PerFile: 3, Gzip: true},
		"of the whole server": {SystemOnly: true},
		"open files":          {Open: true},
		"of other types too": {Manifest: func(m map[string]any) {
			m["output"] = append(m["output"].([]any), map[string]any{"type": "Practitioner", "url": "ftp://x"})
		}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			x := newExporting(t, 7, e, fhirsim.Options{Bearer: "secret"}, func(o *Options) { o.Auth = Auth{Mode: "bearer", Token: "secret"} })
			ids, err := x.ids(t.Context())
			if err != nil || !slices.Equal(ids, numbered(7)) {
				t.Errorf("%v, %v", ids, err)
			}
			if x.Exports() != 0 {
				t.Error("the server was not told that its files are no longer needed")
			}
			for _, r := range x.Requests() {
				if e.Open && strings.Contains(r.Path, "/Binary/") && r.Header.Get("Authorization") != "" {
					t.Error("credentials were shown where none are asked for")
				}
			}
		})
	}
}

func TestAnEmptyServerExportsNobody(t *testing.T) {
	t.Parallel()
	x := newExporting(t, 0, fhirsim.Export{}, fhirsim.Options{}, nil)
	if ids, err := x.ids(t.Context()); err != nil || len(ids) > 0 {
		t.Errorf("%v, %v", ids, err)
	}
}

// Changes are followed from the server's time, not from ours.
func TestAnExportTellsItsTime(t *testing.T) {
	t.Parallel()
	at := time.Date(2031, 5, 6, 7, 8, 9, 123e6, time.UTC)
	x := newExporting(t, 1, fhirsim.Export{Polls: 2}, fhirsim.Options{Now: func() time.Time { return at }}, nil)
	export, err := x.export(t.Context())
	if err != nil || !export.TransactionTime.Equal(at) {
		t.Errorf("%v, %v", export, err)
	}
}

// An export is asked about as often as the server wants, but neither without a pause nor
// hours later.
func TestAnExportIsAskedAboutAsTheServerWants(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)
	doubling := []time.Duration{time.Second, 2 * time.Second, 4 * time.Second, 8 * time.Second, 16 * time.Second, 30 * time.Second, 30 * time.Second}
	same := func(d time.Duration) []time.Duration { return slices.Repeat([]time.Duration{d}, 7) }
	for header, want := range map[string][]time.Duration{
		"":      doubling,
		"soon":  doubling,
		"-3":    doubling,
		"0":     doubling,
		"7":     same(7 * time.Second),
		"86400": same(2 * time.Minute),
		now.Add(42 * time.Second).Format(http.TimeFormat): same(42 * time.Second),
		now.Add(9 * time.Hour).Format(http.TimeFormat):    same(2 * time.Minute),
		now.Add(-time.Hour).Format(http.TimeFormat):       doubling,
	} {
		t.Run(header, func(t *testing.T) {
			t.Parallel()
			x := newExporting(t, 2, fhirsim.Export{Polls: 7, RetryAfter: header, Progress: "50% complete"}, fhirsim.Options{}, nil)
			x.client.now = func() time.Time { return now }
			ids, err := x.ids(t.Context())
			if err != nil || len(ids) != 2 || !slices.Equal(x.waits, want) {
				t.Errorf("%v, %v, waited %v", ids, err, x.waits)
			}
			if !slices.Equal(x.progress, slices.Repeat([]string{"50% complete"}, 7)) {
				t.Errorf("told %q", x.progress)
			}
		})
	}
}

// What is over in a moment ends no export: neither its start, nor while it is made or read.
func TestAnExportOutlivesWhatPasses(t *testing.T) {
	t.Parallel()
	transient := `{"resourceType":"OperationOutcome","issue":[{"severity":"error","code":"transient"}]}`
	for name, f := range map[string]fhirsim.Fault{
		"another export is made":          {On: fhirsim.OnExport, Status: 429, Header: http.Header{"Retry-After": {"9"}}, Times: 3},
		"no export now":                   {On: fhirsim.OnExport, Status: 503, Header: http.Header{"Retry-After": {"9"}}, Times: 3},
		"asked too often":                 {On: fhirsim.OnExportStatus, Status: 429, Header: http.Header{"Retry-After": {"9"}}, Times: 3},
		"a restart":                       {On: fhirsim.OnExportStatus, Status: 503, Header: http.Header{"Retry-After": {"9"}}, Times: 3},
		"a gateway":                       {On: fhirsim.OnExportStatus, Status: 502, Times: 3},
		"a transient failure":             {On: fhirsim.OnExportStatus, Status: 500, Body: transient, ContentType: "application/fhir+json", Times: 3},
		"a connection lost":               {On: fhirsim.OnExportStatus, Close: true, Times: 3},
		"a manifest that breaks off":      {On: fhirsim.OnExportStatus, Truncate: true, Times: 3},
		"a file that breaks off":          {On: fhirsim.OnExportFile, Truncate: true, Times: 3},
		"a file whose connection is lost": {On: fhirsim.OnExportFile, Close: true, Times: 3},
		"files asked for too often":       {On: fhirsim.OnExportFile, Status: 429, Header: http.Header{"Retry-After": {"9"}}, Times: 3},
		"no file now":                     {On: fhirsim.OnExportFile, Status: 503, Header: http.Header{"Retry-After": {"9"}}, Times: 3},
	} {
		for _, gzip := range []bool{false, true} {
			t.Run(fmt.Sprint(name, gzip), func(t *testing.T) {
				t.Parallel()
				x := newExporting(t, 40, fhirsim.Export{PerFile: 30, Gzip: gzip}, fhirsim.Options{}, nil)
				x.SetFault("", f)
				ids, err := x.ids(t.Context())
				if err != nil || !slices.Equal(ids, numbered(40)) {
					t.Errorf("%v, %v", ids, err)
				}
				if len(x.waits) == 0 || len(x.waits) > 3 || f.Header != nil && x.waits[0] != 9*time.Second {
					t.Errorf("waited %v", x.waits)
				}
			})
		}
	}
}

// How an export ends that cannot go on: each says what to do, and is cancelled there.
func TestWhyAnExportFails(t *testing.T) {
	t.Parallel()
	says := func(status int, body string) fhirsim.Fault {
		return fhirsim.Fault{Status: status, Body: body, ContentType: "application/fhir+json"}
	}
	failed := `{"resourceType":"OperationOutcome","issue":[{"severity":"fatal","code":"exception","diagnostics":"An internal timeout has occurred at Patient/4711 Aldous Quill 1949-11-14"}]}`
	for name, tt := range map[string]struct {
		on    string
		fault fhirsim.Fault
		kind  Kind
		want  []string
	}{
		"no such right":             {fhirsim.OnExport, says(403, ""), Forbidden, []string{"scope", "without --bulk"}},
		"refused":                   {fhirsim.OnExport, says(409, failed), Busy, []string{"did not begin an export", "timeout"}},
		"never a place":             {fhirsim.OnExport, says(429, ""), RateLimited, []string{"did not begin an export", "429"}},
		"answered at once":          {fhirsim.OnExport, says(200, `{"resourceType":"Bundle"}`), Unusable, []string{"answered at once", "without --bulk"}},
		"no status address":         {fhirsim.OnExport, says(202, ""), Unusable, []string{"Content-Location"}},
		"status is no address":      {fhirsim.OnExport, fhirsim.Fault{Status: 202, Header: http.Header{"Content-Location": {"mailto:x"}}}, Unusable, []string{"Content-Location"}},
		"status elsewhere":          {fhirsim.OnExport, fhirsim.Fault{Status: 202, Header: http.Header{"Content-Location": {"http://inner:9/fhir/x"}}}, Unusable, []string{"http://inner:9", "FHIR_REWRITE_LINKS"}},
		"status above the base":     {fhirsim.OnExport, fhirsim.Fault{Status: 202, Header: http.Header{"Content-Location": {"/admin"}}}, Unusable, []string{"FHIR_REWRITE_LINKS"}},
		"failed":                    {fhirsim.OnExportStatus, says(500, failed), Lost, []string{"failed on the server (status 500)", "timeout", "again"}},
		"failed by the request":     {fhirsim.OnExportStatus, says(422, failed), Rejected, []string{"failed on the server (status 422)"}},
		"failed without a reason":   {fhirsim.OnExportStatus, says(500, ""), Lost, []string{"failed on the server (status 500)"}},
		"cancelled":                 {fhirsim.OnExportStatus, says(404, failed), Unusable, []string{"cancelled", "again"}},
		"cancelled and gone":        {fhirsim.OnExportStatus, says(410, ""), Rejected, []string{"cancelled", "again"}},
		"never back":                {fhirsim.OnExportStatus, says(503, ""), Lost, []string{"failed on the server (status 503)"}},
		"never reached":             {fhirsim.OnExportStatus, fhirsim.Fault{Close: true}, Lost, []string{"status cannot be read", "reset"}},
		"no manifest":               {fhirsim.OnExportStatus, says(200, `{"resourceType":"Bundle","type":"batch-response"}`), Unusable, []string{"manifest"}},
		"a page to log in":          {fhirsim.OnExportStatus, fhirsim.Fault{Status: 200, Body: "<html>", ContentType: "text/html"}, Unusable, []string{"manifest", "HTML"}},
		"no JSON":                   {fhirsim.OnExportStatus, says(200, `{"output":[`), Unusable, []string{"manifest"}},
		"no time":                   {fhirsim.OnExportStatus, says(200, `{"output":[]}`), Unusable, []string{"manifest", "transactionTime"}},
		"no output":                 {fhirsim.OnExportStatus, says(200, `{"transactionTime":"2026-01-01T00:00:00Z"}`), Unusable, []string{"manifest"}},
		"a file without an address": {fhirsim.OnExportStatus, says(200, `{"transactionTime":"2026-01-01T00:00:00Z","output":[{"type":"Patient"}]}`), Unusable, []string{"manifest"}},
		"a file without a type":     {fhirsim.OnExportStatus, says(200, `{"transactionTime":"2026-01-01T00:00:00Z","output":[{"url":"http://x/y"}]}`), Unusable, []string{"manifest"}},
		"further manifests":         {fhirsim.OnExportStatus, says(200, `{"transactionTime":"2026-01-01T00:00:00Z","output":[],"link":[{"relation":"next","url":"x"}]}`), Unusable, []string{"further manifests"}},
		"an expired file":           {fhirsim.OnExportFile, says(404, ""), Unusable, []string{"file of the export", "no longer there", "again"}},
		"a file that was deleted":   {fhirsim.OnExportFile, says(410, ""), Rejected, []string{"file of the export", "no longer there"}},
		"a file for others":         {fhirsim.OnExportFile, says(403, ""), Forbidden, []string{"file of the export", "403"}},
		"a file elsewhere":          {fhirsim.OnExportFile, fhirsim.Fault{Status: 302, Header: http.Header{"Location": {"http://x"}}}, Unusable, []string{"redirect"}},
		"a page for a file":         {fhirsim.OnExportFile, fhirsim.Fault{Status: 200, Body: "<!doctype html>", ContentType: "text/html"}, Unusable, []string{"HTML page"}},
		"a file that never ends":    {fhirsim.OnExportFile, fhirsim.Fault{Truncate: true}, Lost, []string{"file of the export", "closed before"}},
		"no file ever":              {fhirsim.OnExportFile, says(503, ""), Lost, []string{"file of the export", "503"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			x := newExporting(t, 3, fhirsim.Export{}, fhirsim.Options{}, nil)
			tt.fault.On = tt.on
			x.SetFault("", tt.fault)
			_, err := x.ids(t.Context())
			e := asError(t, err, tt.kind)
			for _, want := range tt.want {
				if !strings.Contains(e.Error(), want) {
					t.Errorf("%q is missing in %q", want, e)
				}
			}
			if e.Op != OpExport || quotable.MatchString(e.Error()) {
				t.Errorf("%q", e)
			}
			if tt.on == fhirsim.OnExportFile && x.Exports() != 0 {
				t.Error("the export was not cancelled")
			}
			if len(x.waits) >= maxExportTries {
				t.Errorf("asked %d times", len(x.waits)+1)
			}
		})
	}
}

// quotable is what the failures above say of a patient.
var quotable = regexp.MustCompile(`Aldous|Quill|4711|1949`)

func TestAServerWithoutExportsIsNamed(t *testing.T) {
	t.Parallel()
	for name, habits := range map[string]fhirsim.Habits{"hapi": fhirsim.HAPI(), "medplum": fhirsim.Medplum(), "openemr": fhirsim.OpenEMR("8.0.0")} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			server := fhirsim.New(fhirsim.Options{Habits: habits})
			base, stop, err := server.Start()
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(stop)
			_, err = newTestClient(t, base, nil).Export(t.Context(), func(string) {})
			if err == nil || !strings.Contains(err.Error(), "without --bulk") {
				t.Errorf("%v", err)
			}
		})
	}
}

// An export that failed, or that nobody waits for any longer, is cancelled on the server.
func TestAnExportIsCancelled(t *testing.T) {
	t.Parallel()
	t.Run("after a failure", func(t *testing.T) {
		t.Parallel()
		x := newExporting(t, 1, fhirsim.Export{Manifest: func(m map[string]any) { delete(m, "transactionTime") }}, fhirsim.Options{}, nil)
		if _, err := x.export(t.Context()); err == nil || x.Exports() != 0 {
			t.Errorf("%v, %d exports", err, x.Exports())
		}
	})
	t.Run("while it is waited for", func(t *testing.T) {
		t.Parallel()
		x := newExporting(t, 1, fhirsim.Export{Polls: 1000}, fhirsim.Options{}, nil)
		ctx, cancel := context.WithCancel(t.Context())
		x.client.sleep = func(ctx context.Context, _ time.Duration) error { cancel(); return sleep(ctx, time.Hour) }
		if _, err := x.export(ctx); !errors.Is(err, context.Canceled) || x.Exports() != 0 {
			t.Errorf("%v, %d exports", err, x.Exports())
		}
	})
	t.Run("while a file is read", func(t *testing.T) {
		t.Parallel()
		x := newExporting(t, 1, fhirsim.Export{}, fhirsim.Options{}, nil)
		x.SetFault("", fhirsim.Fault{On: fhirsim.OnExportFile, Hang: true})
		export, err := x.export(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		for _, err := range export.Patients(ctx) {
			if err == nil {
				t.Error("a patient came")
			}
		}
		if export.Close(); x.Exports() != 0 {
			t.Error("the export was not cancelled")
		}
	})
}

func TestAFileOfWhichNothingComesIsGivenUp(t *testing.T) {
	t.Parallel()
	x := newExporting(t, 1, fhirsim.Export{}, fhirsim.Options{}, nil)
	export, err := x.export(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	export.by.timeout = time.Millisecond
	x.SetFault("", fhirsim.Fault{On: fhirsim.OnExportFile, Hang: true})
	for _, err := range export.Patients(t.Context()) {
		var e *Error // on a busy machine the time may be over before it was asked for
		if !errors.As(err, &e) || e.Kind != Lost && e.Kind != NotSent || !e.Timeout || len(x.waits) != maxExportTries-1 {
			t.Errorf("%v, waited %v", err, x.waits)
		}
	}
}

// Whoever reads holds no file: its patients come while the server still writes it.
func TestFilesAreReadAsTheyCome(t *testing.T) {
	t.Parallel()
	seen := make(chan struct{})
	server := exportOf(t, func(w http.ResponseWriter, r *http.Request) {
		_, _ = w.Write(append(patientJSON("first", ""), '\n'))
		_ = http.NewResponseController(w).Flush()
		select {
		case <-seen:
		case <-r.Context().Done():
		}
		_, _ = w.Write(patientJSON("second", ""))
	})
	var ids []string
	for p, err := range server.Patients(t.Context()) {
		if err != nil {
			t.Fatal(err)
		}
		if ids = append(ids, p.ID); len(ids) == 1 {
			close(seen)
		}
	}
	if strings.Join(ids, " ") != "first second" {
		t.Errorf("%v", ids)
	}
}

// exportOf is an export of one file.
func exportOf(t *testing.T, file http.HandlerFunc) *Export {
	t.Helper()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case strings.HasSuffix(r.URL.Path, "/$export"):
			w.Header().Set("Content-Location", "/fhir/status")
			w.WriteHeader(http.StatusAccepted)
		case r.URL.Path == "/fhir/status":
			w.Header().Set("Content-Type", "application/json")
			_, _ = io.WriteString(w, `{"transactionTime":"2026-01-01T00:00:00Z","requiresAccessToken":true,"output":[{"type":"Patient","url":"/fhir/file"}]}`)
		default:
			file(w, r)
		}
	}))
	t.Cleanup(server.Close)
	client := newTestClient(t, server.URL+"/fhir", nil)
	client.sleep = func(ctx context.Context, _ time.Duration) error { return ctx.Err() }
	export, err := client.Export(t.Context(), func(string) {})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(export.Close)
	return export
}

// What cannot be used of a file spoils nothing else, and is told by its place.
func TestBadLinesOfAnExport(t *testing.T) {
	t.Parallel()
	export := exportOf(t, func(w http.ResponseWriter, _ *http.Request) {
		for _, line := range []string{
			"\ufeff" + string(patientJSON("a", "")), "", "\r", `{"resourceType":"Patient","name":[{"family":"Quill"}]}`, "{", "[]",
			`{"resourceType":"Observation","id":"o"}`, `{"resourceType":"Patient","id":"x","id":"y"}`, `{"resourceType":"Patient","id":"bad id"}`,
			`{"resourceType":"Patient","id":"s","meta":{"tag":[{"code":"SUBSETTED"}]}}`, `{"resourceType":"Patient","id":"long","x":"` + strings.Repeat("y", 8<<20) + `"}`,
			strings.Repeat("[", 1000), "\xff", string(patientJSON("b", "")) + "\r",
		} {
			_, _ = io.WriteString(w, line+"\n")
		}
		_, _ = w.Write(patientJSON("c", ""))
	})
	var ids, bad []string
	for p, err := range export.Patients(t.Context()) {
		if err == nil {
			ids = append(ids, p.ID)
			continue
		}
		if e := asError(t, err, Unusable); e.Cause != BadEntry || strings.Contains(e.Error(), "Quill") {
			t.Errorf("%v", e)
		}
		text, _, _ := strings.Cut(err.Error(), " of file 1")
		bad = append(bad, text[strings.LastIndex(text, " ")+1:])
	}
	if strings.Join(ids, " ") != "a b c" || strings.Join(bad, " ") != "4 5 6 7 8 9 10 11 12 13" {
		t.Errorf("took %v, bad lines %v", ids, bad)
	}
}

// A file is read on from where it broke off only if it is still the same.
func TestAFileThatChangesBetweenTwoTries(t *testing.T) {
	t.Parallel()
	var mu sync.Mutex
	tries := 0
	export := exportOf(t, func(w http.ResponseWriter, _ *http.Request) {
		mu.Lock()
		tries++
		id := fmt.Sprint("try-", tries)
		mu.Unlock()
		w.Header().Set("Content-Length", "1000")
		_, _ = w.Write(append(patientJSON(id, ""), '\n'))
	})
	var ids []string
	var failure error
	for p, err := range export.Patients(t.Context()) {
		if failure = err; err == nil {
			ids = append(ids, p.ID)
		}
	}
	if e := asError(t, failure, Unusable); !strings.Contains(e.Error(), "another one than before") || strings.Join(ids, " ") != "try-1" {
		t.Errorf("%v, took %v", e, ids)
	}
}

// A file that ends too early in a way that HTTP does not show is not taken for whole.
func TestAFileWithFewerPatientsThanTheManifestSays(t *testing.T) {
	t.Parallel()
	x := newExporting(t, 3, fhirsim.Export{Manifest: func(m map[string]any) {
		m["output"].([]any)[0].(map[string]any)["count"] = 4
	}}, fhirsim.Options{}, nil)
	ids, err := x.ids(t.Context())
	if e := asError(t, err, Unusable); !strings.Contains(e.Error(), "fewer resources") || !slices.Equal(ids, numbered(3)) {
		t.Errorf("%v, %v", ids, err)
	}
}

func TestAnExportTellsWhoWasDeleted(t *testing.T) {
	t.Parallel()
	x := newExporting(t, 5, fhirsim.Export{Deleted: true}, fhirsim.Options{}, nil)
	x.Delete("p1")
	x.Delete("p3")
	export, err := x.export(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	var ids []string
	for id, err := range export.Deleted(t.Context()) {
		if err != nil {
			t.Error(err)
		}
		ids = append(ids, id)
	}
	if strings.Join(ids, " ") != "p1 p3" {
		t.Errorf("%v", ids)
	}
}

// Of the Bundles of deletions only what is a deletion of a patient of this server counts.
func TestDeletionsThatAreNone(t *testing.T) {
	t.Parallel()
	export := exportOf(t, func(w http.ResponseWriter, r *http.Request) {
		for _, request := range []string{
			`{"method":"DELETE","url":"Patient/a"}`, `{"method":"DELETE","url":"http://` + r.Host + `/fhir/Patient/b"}`,
			`{"method":"DELETE","url":"Patient/c/_history/3"}`, `{"method":"DELETE","url":"http://elsewhere/fhir/Patient/d"}`,
			`{"method":"PUT","url":"Patient/e"}`, `{"method":"DELETE","url":"Observation/f"}`, `{"method":"DELETE","url":"Patient?identifier=g"}`, `{}`,
		} {
			fmt.Fprintf(w, `{"resourceType":"Bundle","type":"transaction","entry":[{"request":%s}]}`+"\n", request)
		}
		_, _ = io.WriteString(w, "{\n")
	})
	export.deleted = export.patients
	var ids []string
	bad := 0
	for id, err := range export.Deleted(t.Context()) {
		if err != nil {
			bad++
			continue
		}
		ids = append(ids, id)
	}
	if strings.Join(ids, " ") != "a b c" || bad != 1 {
		t.Errorf("%v, %d bad", ids, bad)
	}
}

// What the server could not export is counted and told, without what it says of patients.
func TestAnExportTellsItsErrors(t *testing.T) {
	t.Parallel()
	x := newExporting(t, 1, fhirsim.Export{Errors: `{"resourceType":"OperationOutcome","issue":[{"severity":"error","code":"processing","diagnostics":"Patient/4711 (Aldous Quill, born 1949-11-14 or 14.11.1949) could not be read"}]}
{"resourceType":"OperationOutcome","issue":[{"severity":"warning","code":"not-found","details":{"text":"Quill Aldous"}},{"severity":"information","code":"informational","diagnostics":"some records are not found"}]}
{"resourceType":"Patient","id":"q","name":[{"family":"Quill"}]}
{`}, fhirsim.Options{}, nil)
	export, err := x.export(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	var told []string
	for _, i := range export.Issues {
		told = append(told, i.Severity+" "+i.Code+" "+i.Message)
	}
	text := strings.Join(told, "\n")
	if export.Failed != 3 || len(told) != 5 || quotable.MatchString(text) || !strings.Contains(text, "could not be read") || !strings.Contains(text, "warning not-found The server did not find") {
		t.Errorf("%d failed:\n%s", export.Failed, text)
	}
}

// How far the server is, is told without what it may say of patients.
func TestProgressSaysNothingOfPatients(t *testing.T) {
	t.Parallel()
	x := newExporting(t, 1, fhirsim.Export{Polls: 1, Progress: "50% complete, patient Aldous Quill 1949-11-14 id 4711"}, fhirsim.Options{}, nil)
	if _, err := x.export(t.Context()); err != nil || len(x.progress) != 1 || quotable.MatchString(x.progress[0]) || !strings.HasPrefix(x.progress[0], "50% complete") {
		t.Errorf("%v, %q", err, x.progress)
	}
}
