package e2e_test

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	. "patientgraph/app/apptest"
	"patientgraph/db/dbtest"
	"patientgraph/fhir/fhirsim"
)

// The README's steps that lead to an OpenEMR, as they stand there.
const (
	readmeKey      = "export EMR=https://emr.example"
	readmeSystem   = "export FHIR_BASE_URL=$EMR/apis/default/fhir FHIR_AUTH"
	readmeRegister = "curl -sS $EMR/oauth2/default/registration"
	readmeLogin    = "export FHIR_BASE_URL=$EMR/apis/default/fhir FHIR_CLIENT_ID"
)

// newOperator is who follows the README, in front of an OpenEMR with one patient.
type newOperator struct {
	t      *testing.T
	clinic *fhirsim.Clinic
	server *fhirsim.Server
	url    string
	dir    string
}

func startOperator(t *testing.T, version string) *newOperator {
	t.Helper()
	for _, tool := range []string{"bash", "curl", "openssl", "basenc"} {
		if _, err := exec.LookPath(tool); err != nil {
			t.Skipf("the README's steps need %s", tool)
		}
	}
	o := &newOperator{t: t, dir: t.TempDir()}
	o.server = fhirsim.New(fhirsim.Options{Habits: fhirsim.OpenEMR(version)})
	o.clinic = o.server.Clinic()
	o.clinic.Put(openEMRID, openEMRRow())
	o.clinic.AddUser("clinic", "correct horse: 1+1=2")
	front := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		r.URL.Path = strings.TrimPrefix(r.URL.Path, "/apis/default")
		o.server.ServeHTTP(w, r)
	}))
	t.Cleanup(front.Close)
	o.url = front.URL
	return o
}

// run runs a block of the README; values take the place of its dots.
func (o *newOperator) run(block string, values ...string) string {
	o.t.Helper()
	script := strings.ReplaceAll(readmeBlock(o.t, block), "https://emr.example", o.url)
	for i := 0; i < len(values); i += 2 {
		script = strings.ReplaceAll(script, values[i]+"=…", values[i]+"='"+values[i+1]+"'")
	}
	script = regexp.MustCompile(`(?m)^\./patientgraph.*$`).ReplaceAllString(script, "")
	command := exec.Command("bash", "-e", "-c", script+"\necho; env")
	command.Dir, command.Env = o.dir, append(os.Environ(), "EMR="+o.url)
	out, err := command.Output()
	if err != nil {
		o.t.Fatalf("%v: %s", err, out)
	}
	return string(out)
}

// answer is the JSON in what a block printed.
func (o *newOperator) answer(out string) map[string]any {
	o.t.Helper()
	var answer map[string]any
	if err := json.NewDecoder(strings.NewReader(out)).Decode(&answer); err != nil {
		o.t.Fatalf("%v: %s", err, out)
	}
	return answer
}

// settings are those that a block exported.
func (o *newOperator) settings(out string) (list []string) {
	for _, line := range strings.Split(out, "\n") {
		if strings.HasPrefix(line, "FHIR_") || strings.HasPrefix(line, "PATIENT_ID_SYSTEM=") {
			list = append(list, strings.Replace(line, "_FILE=", "_FILE="+o.dir+string(filepath.Separator), 1))
		}
	}
	return list
}

// starts starts the product in front of the OpenEMR, with its patient in a cache.
func (o *newOperator) starts(settings []string) (p *Product, databaseURL string) {
	o.t.Helper()
	databaseURL = dbtest.SQLite(o.t)
	stored, _, _ := o.server.Get(openEMRID)
	if out, err := Import(o.t, databaseURL, string(stored), "PATIENT_ID_SYSTEM="+fhirsim.OpenEMRIdentifierSystem); err != nil {
		o.t.Fatalf("import: %v\n%s", err, out)
	}
	return StartWith(o.t, o.url+"/apis/default/fhir", databaseURL, settings...), databaseURL
}

// writes checks that the product logs in, writes, and goes on when its token is gone.
func (o *newOperator) writes(settings []string) {
	o.t.Helper()
	settings = append([]string{"PATIENT_ID_SYSTEM=" + fhirsim.OpenEMRIdentifierSystem, "FHIR_TIMEOUT=10s"}, settings...)
	p, databaseURL := o.starts(settings)
	for _, phone := range []string{"(802) 555-0199", "(802) 555-0198"} {
		o.clinic.RevokeTokens()
		Want(o.t, p.Update(Object{"patientId": openEMRNumber, "phone": phone}), Object{"__typename": "UpdatePatientContactSuccess", "patient.phone": phone})
	}
	if row, _ := o.clinic.Row(openEMRID); row["phone_cell"] != "(802) 555-0198" {
		o.t.Errorf("stored: %v", row)
	}
	d := doctor(o.t, nil, append(settings, "DATABASE_URL="+databaseURL)...)
	d.want(o.t, "FHIR scopes", "ok", "")
	if d.err != nil {
		o.t.Error(d.all)
	}
}

// TestOpenEMRTakesASystemAsTheReadmeSays: key, registration, enabling, settings.
func TestOpenEMRTakesASystemAsTheReadmeSays(t *testing.T) {
	t.Parallel()
	onEachOpenEMR(t, func(t *testing.T, version string) {
		o := startOperator(t, version)
		registered := o.answer(o.run(readmeKey))
		if version == "7.0.3" {
			Want(t, registered, Object{"error": "invalid_scope"})
			return
		}
		id, _ := registered["client_id"].(string)
		settings := o.settings(o.run(readmeSystem, "FHIR_CLIENT_ID", id))
		if !slices.Contains(settings, "FHIR_BASE_URL="+o.url+"/apis/default/fhir") {
			t.Fatalf("the settings are %q", settings)
		}
		d := doctor(t, nil, append(settings, "DATABASE_URL=sqlite::memory:")...)
		d.want(t, "FHIR access", "failed", "invalid_client")
		if !o.clinic.EnableClient(id) {
			t.Fatalf("no client %q", id)
		}
		o.writes(settings)
	})
}

// TestOpenEMRTakesAUserAsTheReadmeSays: registration, enabling, the first tokens, and
// each mode that takes one of them or asks for its own.
func TestOpenEMRTakesAUserAsTheReadmeSays(t *testing.T) {
	t.Parallel()
	onEachOpenEMR(t, func(t *testing.T, version string) {
		o := startOperator(t, version)
		registered := o.answer(o.run(readmeRegister))
		id, _ := registered["client_id"].(string)
		secret, _ := registered["client_secret"].(string)
		if !o.clinic.EnableClient(id) {
			t.Fatalf("no client: %v", registered)
		}
		out := o.run(readmeLogin, "FHIR_CLIENT_ID", id, "FHIR_CLIENT_SECRET", secret, "FHIR_USERNAME", "clinic", "FHIR_PASSWORD", "correct horse: 1+1=2")
		tokens := o.answer(out)
		access, _ := tokens["access_token"].(string)
		refresh, _ := tokens["refresh_token"].(string)
		settings := o.settings(out)
		t.Run("bearer", func(t *testing.T) {
			o.t = t
			p, _ := o.starts([]string{"PATIENT_ID_SYSTEM=" + fhirsim.OpenEMRIdentifierSystem, "FHIR_AUTH=bearer", "FHIR_TOKEN=" + access})
			Want(t, p.Update(Object{"patientId": openEMRNumber, "phone": "1"}), Object{"__typename": "UpdatePatientContactSuccess"})
			o.clinic.RevokeTokens()
			Want(t, p.Update(Object{"patientId": openEMRNumber, "phone": "2"}), Object{"code": "FHIR_AUTH_FAILED", "applied": "NO"})
		})
		t.Run("password", func(t *testing.T) {
			o.t = t
			o.writes(append(slices.Clone(settings), "FHIR_AUTH=password"))
		})
		t.Run("refresh_token", func(t *testing.T) {
			o.t = t
			o.writes(append(settings, "FHIR_USERNAME=", "FHIR_PASSWORD=", "FHIR_AUTH=refresh_token", "FHIR_REFRESH_TOKEN="+refresh))
		})
	})
}
