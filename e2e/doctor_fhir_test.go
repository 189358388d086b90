package e2e_test

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"
	"time"

	. "patientgraph/app/apptest"
	"patientgraph/db/dbtest"
	"patientgraph/fhir/fhirsim"
)

// With --write-test, and only then, a scratch patient comes and goes.
func TestDoctorWritesOnlyAScratchPatient(t *testing.T) {
	t.Parallel()
	validating, lax := fhirsim.HAPI(), fhirsim.HAPI()
	lax.ValidatePhone = false
	repository := fhirsim.HAPI()
	repository.PhoneRejectStatus = http.StatusPreconditionFailed
	for name, c := range map[string]struct {
		habits     fhirsim.Habits
		validation string
		written    string
	}{
		"validating":            {validating, "ok", "ok"},
		"lax":                   {lax, "limit", "ok"},
		"validating repository": {repository, "ok", "ok"},
		"another server":        {fhirsim.Medplum(), "limit", "ok"},
		"deletes nothing":       {fhirsim.PlainR4(), "", "skipped"},
		"OpenEMR":               {fhirsim.OpenEMR("8.0.0"), "", "skipped"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			server, base := StartFHIR(t, fhirsim.Options{Habits: c.habits})
			stored, _, _ := server.Get("a1")
			settings := []string{"FHIR_BASE_URL=" + base, "DATABASE_URL=sqlite:" + filepath.Join(t.TempDir(), "x.db")}
			noGETs := func() (n int) {
				for _, r := range server.Requests() {
					if r.Method != http.MethodGet {
						n++
					}
				}
				return n
			}
			d := doctor(t, nil, append(settings, "WRITE_TEST=true")...) // it is no setting
			if d.status("write test") != "" || noGETs() != 0 || d.err != nil {
				t.Errorf("written without being told to:\n%s", d.all)
			}
			d = doctor(t, []string{"--write-test"}, settings...)
			d.want(t, "write test", c.written, "")
			d.want(t, "write test, validation", c.validation, "")
			if c.written == "ok" {
				d.want(t, "write test, extensions", "ok", "a PUT keeps extensions")
			} else if noGETs() != 0 {
				t.Error("written where nothing can be deleted")
			}
			if d.err != nil {
				t.Error(d.all)
			}
			for _, r := range server.Requests() {
				if r.Method == http.MethodGet {
					continue
				}
				if _, _, there := server.Get(r.ID); there || !strings.HasPrefix(r.ID, "patientgraph-doctor-") {
					t.Errorf("%s %s", r.Method, r.Path)
				}
			}
			if now, _, _ := server.Get("a1"); !bytes.Equal(stored, now) {
				t.Error("a patient has changed")
			}
		})
	}
}

// A scratch patient that stays is named, whatever went wrong.
func TestDoctorNamesAScratchPatientThatStays(t *testing.T) {
	t.Parallel()
	server := fhirsim.New(fhirsim.Options{})
	front := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodDelete {
			w.WriteHeader(http.StatusForbidden)
			return
		}
		server.ServeHTTP(w, r)
	}))
	t.Cleanup(front.Close)
	d := doctor(t, []string{"--write-test"}, "FHIR_BASE_URL="+front.URL+"/fhir", "DATABASE_URL=sqlite::memory:")
	d.want(t, "write test", "failed", "scratch patient Patient/patientgraph-doctor-")
}

// What this server cannot do, and what is odd about it, is said and fails nothing.
func TestDoctorSaysWhatAServerCannotDo(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		habits fhirsim.Habits
		check  string
		status string
		says   string
	}{
		"HAPI":        {fhirsim.HAPI(), "FHIR versions", "ok", "a concurrent change is detected"},
		"OpenEMR":     {fhirsim.OpenEMR("8.0.0"), "FHIR contact", "limit", "OpenEMR stores no district"},
		"no versions": {fhirsim.PlainR4(), "FHIR versions", "limit", "can be overwritten"},
	} {
		_, base := StartFHIR(t, fhirsim.Options{Habits: c.habits})
		d := doctor(t, nil, "FHIR_BASE_URL="+base, "DATABASE_URL=sqlite::memory:")
		if d.want(t, c.check, c.status, c.says); d.err != nil {
			t.Errorf("%s: %s", name, d.all)
		}
	}
}

// FHIR promises that an older version is refused of versioned-update alone; of any other
// server that is not said, whatever its reads show.
func TestDoctorSaysWhatIsSaidOfVersions(t *testing.T) {
	t.Parallel()
	for versioning, c := range map[string]struct{ status, says string }{
		`,"versioning":"versioned-update"`: {"ok", "keeps versions"},
		`,"versioning":"no-version"`:       {"limit", "keeps no versions"},
		`,"versioning":"versioned"`:        {"skipped", "does not say"},
		``:                                 {"skipped", "does not say"},
	} {
		server, _ := StartFHIR(t, fhirsim.Options{}, PatientJSON("a1", Number))
		front := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path == "/fhir/metadata" {
				w.Header().Set("Content-Type", "application/fhir+json")
				_, _ = w.Write([]byte(`{"resourceType":"CapabilityStatement","fhirVersion":"4.0.1","rest":[{"mode":"server","resource":[{"type":"Patient"` + versioning + `}]}]}`))
				return
			}
			server.ServeHTTP(w, r)
		}))
		d := doctor(t, nil, "FHIR_BASE_URL="+front.URL+"/fhir", "DATABASE_URL=sqlite::memory:")
		if d.want(t, "FHIR versions", c.status, c.says); d.err != nil {
			t.Errorf("%s: %s", versioning, d.all)
		}
		front.Close()
	}
}

// A server that names itself otherwise than FHIR_SERVER is told so. One whose
// CapabilityStatement failed a moment ago is not blamed on that setting.
func TestDoctorBlamesFHIRServerOnlyWhereItIsWrong(t *testing.T) {
	t.Parallel()
	_, base := StartFHIR(t, fhirsim.Options{}, PatientJSON("a1", Number))
	d := doctor(t, nil, "FHIR_BASE_URL="+base, "DATABASE_URL=sqlite::memory:", "FHIR_SERVER=openemr")
	d.want(t, "FHIR profile", "failed", "set FHIR_SERVER=auto")
	server, _ := StartFHIR(t, fhirsim.Options{Habits: fhirsim.OpenEMR("8.0.0")})
	asked := 0
	front := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.HasSuffix(r.URL.Path, "/metadata") {
			if asked++; asked%3 != 1 { // doctor is run twice
				w.WriteHeader(http.StatusServiceUnavailable)
				return
			}
		}
		server.ServeHTTP(w, r)
	}))
	t.Cleanup(front.Close)
	d = doctor(t, nil, "FHIR_BASE_URL="+front.URL+"/fhir", "DATABASE_URL=sqlite::memory:", "FHIR_SERVER=r4")
	if d.want(t, "FHIR profile", "failed", "status 503"); strings.Contains(d.all, "FHIR_SERVER") {
		t.Errorf("FHIR_SERVER is blamed:\n%s", d.all)
	}
}

// OpenEMR 7.0.3 shows nobody where one is asked for, and else everybody: neither doctor
// nor a start asks for everybody, and neither takes the server for a wrong one.
func TestNobodyAsksOpenEMRForEverybody(t *testing.T) {
	t.Parallel()
	server := fhirsim.New(fhirsim.Options{Habits: fhirsim.OpenEMR("7.0.3")})
	for n := range 20 {
		server.Clinic().Put(fmt.Sprintf("95f0a7e2-aaaa-4b11-8c22-%012d", n), openEMRRow())
	}
	base, stop, err := server.Start()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(stop)
	d := doctor(t, nil, "FHIR_BASE_URL="+base, "DATABASE_URL=sqlite::memory:")
	if d.want(t, "FHIR access", "limit", "may hide them from a search for one"); d.err != nil {
		t.Error(d.all)
	}
	StartWith(t, base, dbtest.SQLite(t)).UntilLog("may hide them from a search for one")
	for _, r := range server.Requests() {
		if strings.HasSuffix(r.Path, "/Patient") && r.Query != "_count=1" {
			t.Errorf("%s was asked for", r.Path+"?"+r.Query)
		}
	}
}

// What stands between may compress, change or take away ETags, or have another time.
func TestDoctorSeesWhatStandsBetween(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		answer func(h http.Header, compressed bool)
		check  string
		status string
		says   string
	}{
		"nothing":        {func(http.Header, bool) {}, "FHIR ETags", "ok", "the same with and without"},
		"Apache":         {func(h http.Header, gzip bool) { suffix(h, gzip, "-gzip") }, "FHIR ETags", "ok", "changes the ETag"},
		"Jetty":          {func(h http.Header, gzip bool) { suffix(h, gzip, "--gzip") }, "FHIR ETags", "ok", "changes the ETag"},
		"nginx":          {func(h http.Header, gzip bool) { drop(h, gzip) }, "FHIR ETags", "ok", "takes the ETag away"},
		"no ETag at all": {func(h http.Header, _ bool) { drop(h, true) }, "FHIR ETags", "ok", "the version in the record"},
		"late":           {func(h http.Header, _ bool) { date(h, -time.Hour) }, "FHIR clock", "warning", "ahead of the server's"},
		"early":          {func(h http.Header, _ bool) { date(h, 10*time.Minute) }, "FHIR clock", "warning", "behind the server's"},
		"a little late":  {func(h http.Header, _ bool) { date(h, -20*time.Second) }, "FHIR clock", "ok", ""},
		"from a cache":   {func(h http.Header, _ bool) { date(h, -time.Hour); h.Set("Age", "3600") }, "FHIR clock", "ok", ""},
		"no time":        {func(h http.Header, _ bool) { h["Date"] = nil }, "FHIR clock", "skipped", "does not tell the time"},
	} {
		server, _ := StartFHIR(t, fhirsim.Options{})
		proxy := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			var inner = httptest.NewRecorder()
			compressed := r.Header.Get("Accept-Encoding") == "gzip"
			server.ServeHTTP(inner, r)
			for name, values := range inner.Header() {
				w.Header()[name] = values
			}
			c.answer(w.Header(), compressed)
			if !compressed {
				w.WriteHeader(inner.Code)
				_, _ = w.Write(inner.Body.Bytes())
				return
			}
			w.Header().Del("Content-Length")
			w.Header().Set("Content-Encoding", "gzip")
			w.WriteHeader(inner.Code)
			z := gzip.NewWriter(w)
			_, _ = z.Write(inner.Body.Bytes())
			_ = z.Close()
		}))
		d := doctor(t, nil, "FHIR_BASE_URL="+proxy.URL+"/fhir", "DATABASE_URL=sqlite::memory:")
		if d.want(t, c.check, c.status, c.says); d.err != nil {
			t.Errorf("%s: %s", name, d.all)
		}
		proxy.Close()
	}
}

func suffix(h http.Header, compressed bool, with string) {
	if etag := h.Get("ETag"); compressed && etag != "" {
		h.Set("ETag", strings.TrimSuffix(etag, `"`)+with+`"`)
	}
}

func drop(h http.Header, compressed bool) {
	if compressed {
		h.Del("ETag")
	}
}

func date(h http.Header, off time.Duration) {
	h.Set("Date", time.Now().Add(off).UTC().Format(http.TimeFormat))
}

// The scopes that a token has, where its answer says them.
func TestDoctorSaysWhatTheScopesAllow(t *testing.T) {
	t.Parallel()
	for granted, c := range map[string]struct{ status, says string }{
		"system/Patient.read system/Patient.write": {"ok", "read, search and update"},
		"system/Patient.rus":                       {"ok", "read, search and update"},
		"user/*.*":                                 {"ok", "read, search and update"},
		"system/Patient.rs":                        {"warning", "allow no update of Patient"},
		"system/Patient.r system/Patient.u":        {"warning", "allow no search of Patient"},
		"system/Observation.read":                  {"warning", "allow no read, no search, no update of Patient"},
		"openid profile":                           {"ok", "names no SMART scope"},
		"":                                         {"", ""},
	} {
		server, _ := StartFHIR(t, fhirsim.Options{})
		front := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path == "/token" {
				w.Header().Set("Content-Type", "application/json")
				_ = json.NewEncoder(w).Encode(map[string]any{"access_token": goodToken, "token_type": "Bearer", "expires_in": 300, "scope": granted})
				return
			}
			server.ServeHTTP(w, r)
		}))
		d := doctor(t, nil, "FHIR_BASE_URL="+front.URL+"/fhir", "DATABASE_URL=sqlite::memory:", "FHIR_AUTH=client_credentials",
			"FHIR_CLIENT_ID=us", "FHIR_CLIENT_SECRET="+badToken, "FHIR_TOKEN_URL="+front.URL+"/token")
		d.want(t, "FHIR scopes", c.status, c.says)
		if noSecret(t, d.all); d.err != nil {
			t.Error(d.all)
		}
		front.Close()
	}
}

// Nothing is sent without a token, and why there is none is said.
func TestDoctorWithoutAToken(t *testing.T) {
	t.Parallel()
	server, _ := StartFHIR(t, fhirsim.Options{})
	front := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/refuses":
			w.WriteHeader(http.StatusUnauthorized)
			_, _ = w.Write([]byte(`{"error":"invalid_client","error_description":"` + badToken + `"}`))
		case "/page":
			_, _ = w.Write([]byte(`<html>` + badToken + `</html>`))
		case "/down":
			w.WriteHeader(http.StatusBadGateway)
		default:
			server.ServeHTTP(w, r)
		}
	}))
	t.Cleanup(front.Close)
	for path, says := range map[string]string{
		"/refuses": "our credentials were refused", "/page": "the answer of the token endpoint is unusable", "/down": "the authorization server failed (status 502)",
	} {
		d := doctor(t, nil, "FHIR_BASE_URL="+front.URL+"/fhir", "DATABASE_URL=sqlite::memory:", "FHIR_AUTH=client_credentials",
			"FHIR_CLIENT_ID=us", "FHIR_CLIENT_SECRET="+goodToken, "FHIR_TOKEN_URL="+front.URL+path)
		d.want(t, "FHIR access", "failed", says)
		noSecret(t, d.all)
	}
	if n := len(server.Requests()); n != 0 {
		t.Errorf("%d requests", n)
	}
}

// Credentials go nowhere where serve would not send them.
func TestDoctorSendsNothingWhereServeRefusesTo(t *testing.T) {
	t.Parallel()
	d := doctor(t, nil, "FHIR_BASE_URL=http://emr.hospital.example/fhir", "DATABASE_URL=sqlite::memory:", "FHIR_AUTH=bearer", "FHIR_TOKEN="+goodToken)
	d.want(t, "settings", "failed", "must be https")
	d.want(t, "FHIR server", "skipped", "not asked")
	noSecret(t, d.all)
}

// A list whose pages lead to another name can be read no further, and it is said how.
func TestDoctorSeesLinksThatLeadAway(t *testing.T) {
	t.Parallel()
	server, base := StartFHIR(t, fhirsim.Options{}, PatientJSON("a1", Number), PatientJSON("a2", "P-2025-000009"))
	front := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		inner := httptest.NewRecorder()
		server.ServeHTTP(inner, r)
		body := bytes.ReplaceAll(inner.Body.Bytes(), []byte("http://"+r.Host+"/fhir"), []byte("http://emr.internal.example/fhir"))
		w.Header().Set("Content-Type", "application/fhir+json")
		w.WriteHeader(inner.Code)
		_, _ = w.Write(body)
	}))
	t.Cleanup(front.Close)
	settings := []string{"FHIR_BASE_URL=" + front.URL + "/fhir", "DATABASE_URL=sqlite::memory:"}
	d := doctor(t, nil, settings...)
	d.want(t, "FHIR access", "warning", "set FHIR_REWRITE_LINKS=true")
	doctor(t, nil, append(settings, "FHIR_REWRITE_LINKS=true")...).want(t, "FHIR access", "ok", "")
	doctor(t, nil, "FHIR_BASE_URL="+base, settings[1]).want(t, "FHIR access", "ok", "")
}

// A start says what it found at the FHIR server, or why it could not, and goes on.
func TestServeSaysWhatItFoundAtTheFHIRServer(t *testing.T) {
	t.Parallel()
	sim := fhirsim.New(fhirsim.Options{})
	if err := sim.Put([]byte(PatientJSON("a1", Number))); err != nil {
		t.Fatal(err)
	}
	e := startEMR(t, sim)
	for name, c := range map[string]struct {
		base     string
		settings []string
		says     string
	}{
		"works":     {e.URL, []string{"FHIR_AUTH=bearer", "FHIR_TOKEN=" + goodToken}, "with FHIR_AUTH=bearer: a patient can be read"},
		"refused":   {e.URL, []string{"FHIR_AUTH=bearer", "FHIR_TOKEN=" + badToken}, "our credentials were refused"},
		"unguarded": {e.URL, nil, "refused us without credentials"},
		"down":      {"http://127.0.0.1:1/fhir", nil, "Connection refused"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			databaseURL := dbtest.SQLite(t)
			MustImport(t, databaseURL, PatientJSON("a1", Number))
			p := StartWith(t, c.base, databaseURL, c.settings...)
			p.UntilLog("found at the FHIR server")
			p.UntilLog(c.says)
			noSecret(t, p.Log.String())
			Want(t, p.Query(`{ patient(id: "`+Number+`") { phone } }`, nil), Object{"patient.phone": OldPhone})
		})
	}
}

// Against a real HAPI FHIR server.
func TestDoctorOnHAPI(t *testing.T) {
	t.Parallel()
	hapi := HAPI(t)
	d := doctor(t, []string{"--write-test"}, "FHIR_BASE_URL="+hapi.URL, "DATABASE_URL=sqlite::memory:", "FHIR_TIMEOUT=30s")
	if d.err != nil {
		t.Error(d.all)
	}
	d.want(t, "FHIR server", "ok", "HAPI FHIR Server")
	for _, check := range []string{"FHIR access", "FHIR versions", "FHIR ETags", "write test", "write test, extensions"} {
		d.want(t, check, "ok", "")
	}
}
