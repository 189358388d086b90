package e2e_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	. "patientgraph/app/apptest"
	"patientgraph/db"
	"patientgraph/db/dbtest"
	"patientgraph/fhir/fhirsim"
	"patientgraph/internal/locked"
)

// diagnosis is what doctor --json prints.
type diagnosis struct {
	OK       bool
	Failed   int
	Findings []struct{ Check, Status, Says, Do string }

	all string // everything that was printed, logged and returned
	err error
}

// status of a check's first finding; "" if it was not made.
func (d diagnosis) status(check string) string {
	for _, f := range d.Findings {
		if f.Check == check {
			return f.Status
		}
	}
	return ""
}

// doctor runs it in both forms; they must agree.
func doctor(t *testing.T, args []string, settings ...string) diagnosis {
	t.Helper()
	settings = slices.Concat([]string{"JWT_SECRET=" + Secret, "LISTEN_ADDR=127.0.0.1:0", "FHIR_TIMEOUT=5s"}, settings)
	var text, out, log locked.Buffer
	textErr := Run(t.Context(), append([]string{"doctor"}, args...), &text, &log, settings...)
	var d diagnosis
	d.err = Run(t.Context(), append([]string{"doctor", "--json"}, args...), &out, &log, settings...)
	if err := json.Unmarshal([]byte(out.String()), &d); err != nil {
		t.Fatalf("no JSON: %v\n%s", err, out.String())
	}
	d.all = fmt.Sprint(text.String(), out.String(), log.String(), textErr, d.err)
	if d.OK != (d.err == nil) || d.OK != (d.Failed == 0) || (textErr == nil) != (d.err == nil) {
		t.Errorf("the forms disagree: %v, %v\n%s", textErr, d.err, d.all)
	}
	return d
}

// want checks that a finding of the check has this status, and says so in one of its
// two texts; with status "", that there is none.
func (d diagnosis) want(t *testing.T, check, status, says string) {
	t.Helper()
	if status == "" && d.status(check) == "" {
		return
	}
	for _, f := range d.Findings {
		if f.Check == check && f.Status == status && (strings.Contains(f.Says, says) || strings.Contains(f.Do, says)) {
			return
		}
	}
	t.Errorf("no %s is %q and says %q:\n%s", check, status, says, d.all)
}

// emr shows its CapabilityStatement to anybody, and patients to who has the token.
type emr struct {
	URL string

	mu     sync.Mutex
	others []string // requests that are no GETs
}

const goodToken, badToken = "good-token-5f2e", "bad-token-91ac"

func startEMR(t *testing.T, patients http.Handler) *emr {
	e := &emr{}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodGet {
			e.mu.Lock()
			e.others = append(e.others, r.Method+" "+r.URL.Path)
			e.mu.Unlock()
		}
		switch {
		case r.URL.Path == "/fhir/metadata":
			replay(t, w, "metadata.http")
		case r.Header.Get("Authorization") != "Bearer "+goodToken:
			replay(t, w, "read-refused.http")
		default:
			patients.ServeHTTP(w, r)
		}
	}))
	t.Cleanup(server.Close)
	e.URL = server.URL + "/fhir"
	return e
}

// A public CapabilityStatement proves nothing: doctor reads with the credentials. It
// makes no file, sends nothing but GETs and shows no secret.
func TestDoctorTriesTheDoor(t *testing.T) {
	t.Parallel()
	sim := fhirsim.New(fhirsim.Options{})
	if err := sim.Put([]byte(PatientJSON("a1", Number))); err != nil {
		t.Fatal(err)
	}
	e := startEMR(t, sim)
	dir := t.TempDir()
	settings := []string{"FHIR_BASE_URL=" + e.URL, "DATABASE_URL=sqlite:" + filepath.Join(dir, "cache.db"), "FHIR_AUTH=bearer"}
	with := func(more ...string) []string { return slices.Concat(settings, more) }

	d := doctor(t, nil, with("FHIR_TOKEN="+badToken)...)
	d.want(t, "FHIR server", "ok", "Example EMR 12.4")
	d.want(t, "FHIR access", "failed", "credentials were refused")
	d.want(t, "FHIR access", "failed", "check FHIR_TOKEN")
	doctor(t, nil, "FHIR_BASE_URL="+e.URL, settings[1]).want(t, "FHIR access", "failed", "set FHIR_AUTH")

	good := with("FHIR_TOKEN=" + goodToken)
	d = doctor(t, nil, good...)
	if d.err != nil {
		t.Errorf("with the right token: %s", d.all)
	}
	d.want(t, "FHIR access", "ok", "a patient can be read")
	d.want(t, "FHIR capabilities", "limit", "does not offer history-instance")

	dead := httptest.NewServer(http.NotFoundHandler())
	dead.Close()
	keyless := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte(`{"keys":[]}`)) }))
	t.Cleanup(keyless.Close)
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { taken.Close() })
	for name, c := range map[string]struct {
		settings []string
		check    string
		says     string
	}{
		"region":           {[]string{"PHONE_REGION=ZZ"}, "settings", "PHONE_REGION"},
		"dead JWKS":        {[]string{"JWT_SECRET=", "JWT_JWKS_URL=" + dead.URL}, "tokens", "JWT_JWKS_URL"},
		"JWKS without key": {[]string{"JWT_SECRET=", "JWT_JWKS_URL=" + keyless.URL}, "tokens", "JWT_JWKS_URL"},
		"port in use":      {[]string{"LISTEN_ADDR=" + taken.Addr().String()}, "address", "is in use"},
		"no port":          {[]string{"LISTEN_ADDR=127.0.0.1:port"}, "address", "LISTEN_ADDR"},
		"two secrets":      {[]string{"JWT_SECRET_FILE=" + filepath.Join(dir, "none")}, "settings", "JWT_SECRET and JWT_SECRET_FILE exclude each other"},
		"two tokens":       {[]string{"FHIR_TOKEN_FILE=" + filepath.Join(dir, "none")}, "settings", "FHIR_TOKEN and FHIR_TOKEN_FILE exclude each other"},
		"no duration":      {[]string{"FHIR_TIMEOUT=soon"}, "settings", "FHIR_TIMEOUT: expected duration"},
		"no token":         {[]string{"FHIR_TOKEN="}, "settings", "needs FHIR_TOKEN"},
		"authority":        {[]string{"FHIR_CA_FILE=" + filepath.Join(dir, "none.pem")}, "settings", "FHIR_CA_FILE"},
		"directory":        {[]string{"DATABASE_URL=sqlite:" + filepath.Join(dir, "none", "x.db")}, "database", "DATABASE_URL"},
		"no database":      {[]string{"DATABASE_URL=mysql://u:" + badToken + "@h/x"}, "database", "DATABASE_URL"},
	} {
		bad := slices.Concat(good, c.settings)
		d := doctor(t, nil, bad...)
		if d.want(t, c.check, "failed", c.says); d.err == nil {
			t.Errorf("%s: doctor passed", name)
		}
		noSecret(t, d.all)
		var out, log locked.Buffer
		err := Run(within(t), nil, &out, &log, slices.Concat([]string{"JWT_SECRET=" + Secret, "LISTEN_ADDR=127.0.0.1:0"}, bad)...)
		if err == nil || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: serve ended with %v", name, err)
		}
	}
	for setting, says := range map[string]string{
		"FHIR_USERNAME=nobody":      "FHIR_USERNAME has no effect with FHIR_AUTH=bearer",
		"FHIR_AUTH=none":            "FHIR_TOKEN has no effect with FHIR_AUTH=none",
		"FHIR_REFRESH_TOKEN=rt-one": "FHIR_REFRESH_TOKEN has no effect",
	} {
		d := doctor(t, nil, with("FHIR_TOKEN="+goodToken, setting)...)
		d.want(t, "settings", "warning", says)
		noSecret(t, d.all)
	}

	if files, err := os.ReadDir(dir); err != nil || len(files) > 0 {
		t.Errorf("files have appeared: %v, %v", files, err)
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	if len(e.others) > 0 {
		t.Errorf("doctor sent %v", e.others)
	}
}

func noSecret(t *testing.T, said string) {
	t.Helper()
	for _, secret := range []string{goodToken, badToken, Secret} {
		if strings.Contains(said, secret) {
			t.Errorf("a secret is shown:\n%s", said)
		}
	}
}

// The database is as it was: its files, its content, and its mode, which serve mends.
func TestDoctorLeavesTheDatabaseAlone(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	path := filepath.Join(dir, "cache.db")
	_, base := StartFHIR(t, fhirsim.Options{})
	MustImport(t, "sqlite:"+path, PatientJSON("a1", Number))
	if err := os.Chmod(path, 0o644); err != nil {
		t.Fatal(err)
	}
	look := func() (state []string) {
		files, err := os.ReadDir(dir)
		if err != nil {
			t.Fatal(err)
		}
		for _, file := range files {
			info, err := file.Info()
			if err != nil {
				t.Fatal(err)
			}
			content, err := os.ReadFile(filepath.Join(dir, file.Name()))
			if err != nil {
				t.Fatal(err)
			}
			state = append(state, fmt.Sprint(file.Name(), info.Mode(), len(content), bytes.Clone(content)))
		}
		return state
	}
	before := look()
	d := doctor(t, nil, "FHIR_BASE_URL="+base, "DATABASE_URL=sqlite:"+path)
	d.want(t, "cached ids", "ok", "1 of 1 patients of the cache are on the FHIR server")
	d.want(t, "database", "ok", fmt.Sprintf("schema version %d", db.SchemaVersion()))
	d.want(t, "settings", "warning", "others than its owner can read the file")
	if d.err != nil {
		t.Error(d.all)
	}
	if after := look(); !slices.Equal(before, after) {
		t.Error("the files have changed")
	}

	p := StartWith(t, base, "sqlite:"+path)
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("serve leaves mode %v, %v", info.Mode(), err)
	}
	// beside a server that runs
	doctor(t, nil, "FHIR_BASE_URL="+base, "DATABASE_URL=sqlite:"+path).want(t, "cached ids", "ok", "1 of 1")
	Want(t, p.Update(Object{"patientId": Number, "phone": NewPhone}), Object{"__typename": "UpdatePatientContactSuccess"})
}

// Of a PostgreSQL database it says whether the user may use it, and makes no schema.
func TestDoctorOnEachDatabase(t *testing.T) {
	t.Parallel()
	OnEachDatabase(t, func(t *testing.T, databaseURL string) {
		_, base := StartFHIR(t, fhirsim.Options{})
		settings := []string{"FHIR_BASE_URL=" + base, "DATABASE_URL=" + databaseURL}
		d := doctor(t, nil, settings...)
		if d.want(t, "database", "ok", "serve makes"); d.err != nil {
			t.Error(d.all)
		}
		if !strings.HasPrefix(databaseURL, "sqlite:") {
			var n int
			err := dbtest.Open(t, databaseURL).QueryRow(`SELECT count(*) FROM pg_class WHERE relname IN ('patients', 'goose_db_version')`).Scan(&n)
			if err != nil || n != 0 {
				t.Errorf("doctor made %d tables, %v", n, err)
			}
		}
		MustImport(t, databaseURL, PatientJSON("gone-1", "P-2025-000021"), PatientJSON("gone-2", "P-2025-000022"))
		d = doctor(t, nil, settings...)
		d.want(t, "cached ids", "failed", "0 of 2 patients of the cache")
		for _, id := range []string{"gone-1", "길동", "P-2025-000021"} {
			if strings.Contains(d.all, id) {
				t.Errorf("a patient is named:\n%s", d.all)
			}
		}
		MustImport(t, databaseURL, PatientJSON("a1", Number))
		doctor(t, nil, settings...).want(t, "cached ids", "warning", "1 of 3 patients of the cache")
	})
}

func TestDoctorSaysWhatAPostgresUserLacks(t *testing.T) {
	t.Parallel()
	databaseURL := dbtest.Postgres(t)
	database := dbtest.Open(t, databaseURL)
	user := "reader_" + strings.ToLower(strings.NewReplacer("/", "", "-", "").Replace(filepath.Base(databaseURL)[5:13]))
	for _, statement := range []string{"CREATE ROLE " + user + " LOGIN", "REVOKE CREATE ON SCHEMA public FROM PUBLIC"} {
		if _, err := database.Exec(statement); err != nil {
			t.Fatal(err)
		}
	}
	t.Cleanup(func() {
		for _, statement := range []string{"DROP OWNED BY " + user, "DROP ROLE " + user} {
			if _, err := database.Exec(statement); err != nil {
				t.Error(err)
			}
		}
	})
	_, base := StartFHIR(t, fhirsim.Options{})
	settings := []string{"FHIR_BASE_URL=" + base, "DATABASE_URL=" + strings.Replace(databaseURL, "postgres@", user+"@", 1)}
	doctor(t, nil, settings...).want(t, "database", "failed", "user "+user+" may not: GRANT USAGE, CREATE")
	MustImport(t, databaseURL, PatientJSON("a1", Number))
	for _, grant := range []string{"GRANT SELECT ON ALL TABLES IN SCHEMA public TO " + user, "GRANT INSERT, UPDATE ON ALL TABLES IN SCHEMA public TO " + user} {
		if _, err := database.Exec(grant); err != nil {
			t.Fatal(err)
		}
		doctor(t, nil, settings...).want(t, "database", "failed", "may not read and write the tables")
	}
	if _, err := database.Exec("GRANT DELETE ON ALL TABLES IN SCHEMA public TO " + user); err != nil {
		t.Fatal(err)
	}
	doctor(t, nil, settings...).want(t, "database", "ok", "schema version")
}
