package e2e_test

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	. "patientgraph/app/apptest"
	"patientgraph/db/dbtest"
	"patientgraph/fhir/fhirsim"
	"patientgraph/internal/locked"
	"patientgraph/internal/oauthserver"
)

// refusedByBoth checks that doctor fails, that serve ends, and that both say so.
func refusedByBoth(t *testing.T, check, says string, settings ...string) {
	t.Helper()
	d := doctor(t, nil, settings...)
	if d.want(t, check, "failed", says); d.err == nil {
		t.Error("doctor passed")
	}
	noSecret(t, d.all)
	var out, log locked.Buffer
	err := Run(within(t), nil, &out, &log, slices.Concat([]string{"JWT_SECRET=" + Secret, "LISTEN_ADDR=127.0.0.1:0"}, settings)...)
	if err == nil || !strings.Contains(err.Error(), says) {
		t.Errorf("serve ended with %v, want %q", err, says)
	}
	noSecret(t, fmt.Sprint(err, log.String()))
}

// No line of the log and no error shows what a URL holds besides where it leads.
func TestSecretsInURLsAreNotShown(t *testing.T) {
	t.Parallel()
	public := ed25519.NewKeyFromSeed(make([]byte, ed25519.SeedSize)).Public().(ed25519.PublicKey)
	keys := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprintf(w, `{"keys":[{"kty":"OKP","crv":"Ed25519","kid":"1","x":%q}]}`, base64.RawURLEncoding.EncodeToString(public))
	}))
	t.Cleanup(keys.Close)
	_, base := StartFHIR(t, fhirsim.Options{})
	p := StartWith(t, base, dbtest.SQLite(t), "JWT_SECRET=", "JWT_JWKS_URL="+keys.URL+"/jwks?sig="+goodToken+"#"+badToken)
	p.WantLog(`"jwt_jwks_url":"` + keys.URL + `/jwks"`)
	noSecret(t, p.Log.String())

	settings := []string{"FHIR_BASE_URL=" + base, "DATABASE_URL=sqlite::memory:"}
	dead := httptest.NewServer(http.NotFoundHandler())
	dead.Close()
	for _, c := range []struct{ setting, check, says string }{
		{"JWT_JWKS_URL=" + strings.Replace(keys.URL, "//", "//u:"+goodToken+"@", 1), "tokens", "JWT_JWKS_URL: must be a URL without user and password"},
		{"JWT_JWKS_URL=" + dead.URL + "/jwks?sig=" + goodToken, "tokens", "JWT_JWKS_URL"},
		{"FHIR_BASE_URL=" + base + "/?sig=" + goodToken, "settings", "FHIR_BASE_URL"},
		{"CORS_ORIGINS=https://app.example,https://u:" + goodToken + "@app.example", "settings", "CORS_ORIGINS: entry 2"},
		{"DATABASE_URL=postgres://u:" + goodToken + "@127.0.0.1:1/x?sslmode=disable", "database", "DATABASE_URL"},
		{"DATABASE_URL=postgres://127.0.0.1:1/x?user=u&password=" + goodToken + "&sslmode=disable", "database", "DATABASE_URL"},
	} {
		with := append(slices.Clone(settings), c.setting)
		if strings.HasPrefix(c.setting, "JWT_JWKS_URL") {
			with = append(with, "JWT_SECRET=")
		}
		refusedByBoth(t, c.check, c.says, with...)
	}
}

// A secret file without a secret is not as if there were none.
func TestAnEmptySecretFileIsRefused(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	_, base := StartFHIR(t, fhirsim.Options{})
	for n, content := range []string{"", "\n", "\r\n\r\n", " \t\n", "\ufeff", "\ufeff\r\n"} {
		file := filepath.Join(dir, fmt.Sprint("secret", n))
		if err := os.WriteFile(file, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		for _, name := range []string{"DATABASE_URL", "FHIR_PASSWORD", "FHIR_CLIENT_SECRET", "FHIR_PRIVATE_KEY", "FHIR_REFRESH_TOKEN", "JWT_SECRET"} {
			settings := []string{"FHIR_BASE_URL=" + base, name + "=", name + "_FILE=" + file}
			if name != "DATABASE_URL" {
				settings = append(settings, "DATABASE_URL=sqlite::memory:")
			}
			refusedByBoth(t, "settings", name+"_FILE: the file is empty", settings...)
		}
		refusedByBoth(t, "settings", "FHIR_TOKEN_FILE", "FHIR_BASE_URL="+base, "DATABASE_URL=sqlite::memory:", "FHIR_AUTH=bearer", "FHIR_TOKEN_FILE="+file)
	}
	if _, err := os.Stat("patientgraph.db"); err == nil {
		t.Error("a database was made in the working directory")
	}
}

// Editors of Windows put a mark before the text.
func TestSecretFilesWithAByteOrderMark(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	sim := fhirsim.New(fhirsim.Options{})
	if err := sim.Put([]byte(PatientJSON("a1", Number))); err != nil {
		t.Fatal(err)
	}
	e := startEMR(t, sim)
	settings := []string{"FHIR_BASE_URL=" + e.URL, "FHIR_AUTH=bearer", "JWT_SECRET="}
	for name, content := range map[string]string{"DATABASE_URL": "sqlite::memory:", "JWT_SECRET": Secret, "FHIR_TOKEN": goodToken} {
		file := filepath.Join(dir, name)
		if err := os.WriteFile(file, []byte("\ufeff"+content+"\r\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		settings = append(settings, name+"_FILE="+file)
	}
	d := doctor(t, nil, settings...)
	if d.want(t, "FHIR access", "ok", "a patient can be read"); d.err != nil {
		t.Error(d.all)
	}
	// What is signed with the secret without the mark is taken.
	p := StartWith(t, e.URL, "", slices.DeleteFunc(slices.Clone(settings), func(s string) bool { return strings.HasPrefix(s, "FHIR_BASE_URL") })...)
	Want(t, p.Query(`{ patients(first: 1) { totalCount } }`, nil), Object{"patients.totalCount": 0.0})
}

// Settings that cannot be read are told in the form that was asked for.
func TestDoctorTellsUnreadableSettingsInJSON(t *testing.T) {
	t.Parallel()
	for _, args := range [][]string{{"doctor", "--json"}, {"doctor", "--json=true"}, {"doctor", "--json=1"}, {"doctor", "--json=YES"}, {"doctor", "--json=false", "--json"}} {
		for _, setting := range []string{"LOG_LEVEL=loud", "JWT_SECRET_FILE=/nonexistent/secret"} {
			var out, log locked.Buffer
			err := Run(t.Context(), args, &out, &log, "FHIR_BASE_URL=http://127.0.0.1:1/fhir", setting)
			var d diagnosis
			if failed := json.Unmarshal([]byte(out.String()), &d); failed != nil || err == nil || d.Failed != 1 || d.status("settings") != "failed" {
				t.Errorf("%v with %s: %v, %v, %s", args, setting, err, failed, out.String())
			}
		}
	}
	for _, args := range [][]string{{"doctor"}, {"doctor", "--json=false"}, {"doctor", "--json", "--json=no"}} {
		var out, log locked.Buffer
		if err := Run(t.Context(), args, &out, &log, "LOG_LEVEL=loud"); err == nil || !strings.HasPrefix(out.String(), "FAIL  settings: ") {
			t.Errorf("%v: %v, %s", args, err, out.String())
		}
	}
}

// What serve would fail at later in its start doctor knows as well.
func TestDoctorRefusesDatabasesThatServeCannotUse(t *testing.T) {
	t.Parallel()
	_, base := StartFHIR(t, fhirsim.Options{})
	OnEachDatabase(t, func(t *testing.T, databaseURL string) {
		exec := func(statement string) {
			t.Helper()
			if _, err := dbtest.Open(t, databaseURL).Exec(statement); err != nil {
				t.Fatal(err)
			}
		}
		settings := []string{"FHIR_BASE_URL=" + base, "DATABASE_URL=" + databaseURL}
		exec("CREATE TABLE patients (id TEXT)")
		refusedByBoth(t, "database", "something else with the names patients", settings...)
		exec("DROP TABLE patients")
		MustImport(t, databaseURL, PatientJSON("a1", Number))
		exec("ALTER TABLE contact_updates RENAME TO kept")
		refusedByBoth(t, "database", "lacks the tables contact_updates", settings...)
		exec("ALTER TABLE kept RENAME TO contact_updates")
		if path, isSQLite := strings.CutPrefix(databaseURL, "sqlite:"); isSQLite {
			other := "sqlite:" + path + ".link"
			if err := os.Symlink(path+".none", path+".link"); err != nil {
				t.Fatal(err)
			}
			refusedByBoth(t, "database", "symbolic link to a file that is not there", settings[0], "DATABASE_URL="+other)
			return
		}
		if strings.Contains(databaseURL, "pool=transaction") {
			return // the pooler's sessions keep the settings that they began with
		}
		name, _, _ := strings.Cut(databaseURL[strings.LastIndex(databaseURL, "/")+1:], "?")
		exec("ALTER DATABASE " + name + " SET default_transaction_read_only = on")
		refusedByBoth(t, "database", "PostgreSQL takes no writes", settings...)
	})
}

// A token file that is replaced by what is no token: the log says that it is the file,
// and nothing of what it holds.
func TestATokenFileThatCannotBeUsed(t *testing.T) {
	t.Parallel()
	databaseURL := dbtest.SQLite(t)
	c := startClinic(t, databaseURL)
	file := filepath.Join(t.TempDir(), "token")
	write := func(content []byte) {
		t.Helper()
		if err := os.WriteFile(file, content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write([]byte("one"))
	c.set(func() { c.taken = "one" })
	p := StartWith(t, c.URL, databaseURL, "FHIR_AUTH=bearer", "FHIR_TOKEN_FILE="+file)
	Want(t, p.Update(Object{"patientId": Number, "phone": NewPhone}), Object{"__typename": "UpdatePatientContactSuccess"})
	write(bytes.Join([][]byte{[]byte(goodToken), []byte(badToken)}, []byte("\n")))
	c.set(func() { c.taken = "two" })
	answer := p.Update(Object{"patientId": Number, "phone": "010-1234-0001"})
	Want(t, answer, Object{"code": "FHIR_AUTH_FAILED", "applied": "NO"})
	p.WantLog("FHIR_TOKEN_FILE cannot be used: it must hold one token")
	if err := os.Remove(file); err != nil {
		t.Fatal(err)
	}
	Want(t, p.Update(Object{"patientId": Number, "phone": "010-1234-0002"}), Object{"code": "FHIR_AUTH_FAILED", "applied": "NO"})
	p.WantLog("FHIR_TOKEN_FILE cannot be read: no such file")
	if said := p.Log.String() + JSON(t, answer); strings.Contains(strings.ReplaceAll(said, file+`"`, ""), file) {
		t.Error("a path is shown")
	}
	noSecret(t, p.Log.String()+JSON(t, answer))
	write([]byte("\ufefftwo\r\n"))
	Want(t, p.Update(Object{"patientId": Number, "phone": "010-1234-0003"}), Object{"__typename": "UpdatePatientContactSuccess"})
}

// A session that has ended is not mended by waiting: the log and doctor say what is.
func TestARefreshTokenThatHasEnded(t *testing.T) {
	t.Parallel()
	databaseURL := dbtest.SQLite(t)
	auth := oauthserver.Start(t, oauthserver.Options{})
	_, base := securedFHIR(t, auth)
	MustImport(t, databaseURL, PatientJSON("a1", Number))
	settings := []string{"FHIR_AUTH=refresh_token", "FHIR_CLIENT_ID=" + oauthserver.Public, "FHIR_REFRESH_TOKEN=" + auth.RefreshToken(t, oauthserver.Public)}
	auth.Fail(func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusBadRequest)
		fmt.Fprint(w, `{"message":"`+badToken+`"}`)
	})
	p := StartWith(t, base, databaseURL, settings...)
	const do = "if it goes on, log in again and set a new FHIR_REFRESH_TOKEN"
	p.Update(Object{"patientId": Number, "phone": NewPhone})
	p.WantLog("(status 400); " + do)
	noSecret(t, p.Log.String())
	d := doctor(t, nil, slices.Concat(settings, []string{"FHIR_BASE_URL=" + base, "DATABASE_URL=" + databaseURL})...)
	d.want(t, "FHIR access", "failed", "look again while the server runs; "+do)
}

// within ends a serve that starts though it should not, which else would go on.
func within(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	t.Cleanup(cancel)
	return ctx
}
