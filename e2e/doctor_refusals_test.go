package e2e_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	. "patientgraph/app/apptest"
	"patientgraph/fhir/fhirsim"
	"patientgraph/internal/locked"
)

// However a server with open metadata keeps us out, doctor fails, shows nothing of the
// answer, and says what to look at.
func TestDoctorIsKeptOut(t *testing.T) {
	t.Parallel()
	const isJSON, words = "application/json", "Solveig Aune"
	for name, c := range map[string]struct {
		status int
		header [2]string
		body   string
		says   string
	}{
		"401, empty":                 {401, [2]string{"Content-Type", "text/html"}, "", "our credentials were refused"},
		"401, a page":                {401, [2]string{"Content-Type", "text/html"}, "<html>" + words, "our credentials were refused"},
		"401, the token has run out": {401, [2]string{"WWW-Authenticate", `Bearer error="invalid_token", error_description="` + words + `"`}, "", "our credentials were refused"},
		"400, the session was ended": {400, [2]string{"Content-Type", isJSON}, `{"message":"Refresh Token revoked or logged out"}`, "our credentials were refused"},
		"403, a scope is missing":    {403, [2]string{"WWW-Authenticate", `Bearer error="insufficient_scope"`}, "", "our credentials were refused"},
		"403, no rights":             {403, [2]string{"Content-Type", isJSON}, `{"error":"An error occurred","message":"Organization policy does not have permit access resource"}`, "grant our user or client to read"},
		"a redirect to the login":    {302, [2]string{"Location", "https://login.example/" + words}, "", "redirect"},
		"a page to log in":           {200, [2]string{"Content-Type", "text/html"}, "<html>" + words, "HTML page"},
		"no such route":              {404, [2]string{"Content-Type", isJSON}, `{"message":"Route not found"}`, "base URL may be wrong"},
		"501, switched off":          {501, [2]string{"Content-Type", "text/html"}, "", "status 501"},
		"cut":                        {200, [2]string{"Content-Type", "application/fhir+json"}, `{"resourceType":"Bundle","entry":[{"resource":{"resourceType":"Patient","id":"` + words, "unusable"},
		"twice":                      {200, [2]string{"Content-Type", "application/fhir+json"}, `{"resourceType":"Bundle"}{"resourceType":"Bundle"}`, "unusable"},
	} {
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path == "/fhir/metadata" {
				replay(t, w, "metadata.http")
				return
			}
			w.Header().Set(c.header[0], c.header[1])
			w.WriteHeader(c.status)
			_, _ = w.Write([]byte(c.body))
		}))
		d := doctor(t, nil, "FHIR_BASE_URL="+server.URL+"/fhir", "DATABASE_URL=sqlite::memory:", "FHIR_AUTH=bearer", "FHIR_TOKEN="+goodToken)
		server.Close()
		d.want(t, "FHIR server", "ok", "")
		if d.want(t, "FHIR access", "failed", c.says); d.err == nil || strings.Contains(d.all, words) {
			t.Errorf("%s: %s", name, d.all)
		}
		noSecret(t, d.all)
	}
}

// What serve refuses to start with doctor fails for, and names the setting: other
// regions, key sets, addresses and credentials than those of TestDoctorTriesTheDoor.
func TestDoctorRefusesWhatServeRefuses(t *testing.T) {
	t.Parallel()
	_, base := StartFHIR(t, fhirsim.Options{})
	answers := func(status int, body string) string {
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(status)
			_, _ = w.Write([]byte(body))
		}))
		t.Cleanup(server.Close)
		return server.URL
	}
	for _, c := range []struct {
		settings []string
		says     string
	}{
		{[]string{"PHONE_REGION=KOR"}, "PHONE_REGION"},
		{[]string{"PHONE_REGION=+82"}, "PHONE_REGION"},
		{[]string{"PHONE_REGION=Norway"}, "PHONE_REGION"},
		{[]string{"JWT_SECRET=", "JWT_JWKS_URL=" + answers(500, "")}, "JWT_JWKS_URL"},
		{[]string{"JWT_SECRET=", "JWT_JWKS_URL=" + answers(200, "<html>")}, "JWT_JWKS_URL"},
		{[]string{"JWT_SECRET=", "JWT_JWKS_URL=" + answers(200, `{"keys":[{"kty":"oct","k":"c2VjcmV0"}]}`)}, "JWT_JWKS_URL"},
		{[]string{"JWT_SECRET=short"}, "JWT_SECRET"},
		{[]string{"LISTEN_ADDR=127.0.0.1:99999"}, "LISTEN_ADDR"},
		{[]string{"FHIR_AUTH=bearer", "FHIR_TOKEN=" + goodToken + "\nX: y"}, "FHIR_TOKEN"},
		{[]string{"FHIR_AUTH=bearer", "FHIR_TOKEN_FILE=" + t.TempDir()}, "FHIR_TOKEN_FILE"},
		{[]string{"FHIR_AUTH=oauth"}, "FHIR_AUTH"},
		{[]string{"FHIR_AUTH=client_credentials", "FHIR_CLIENT_ID=us", "FHIR_PRIVATE_KEY=" + goodToken}, "FHIR_PRIVATE_KEY"},
		{[]string{"FHIR_BASE_URL=" + base + "?token=" + goodToken}, "FHIR_BASE_URL"},
		{[]string{"FHIR_SERVER=epic"}, "FHIR_SERVER must be one of"},
		{[]string{"FHIR_CLIENT_CERT=" + filepath.Join(t.TempDir(), "none.pem")}, "FHIR_CLIENT_KEY"},
		{[]string{"DATABASE_URL=postgres://127.0.0.1:1/x?pool=statement"}, "pool="},
	} {
		settings := slices.Concat([]string{"FHIR_BASE_URL=" + base, "DATABASE_URL=sqlite::memory:"}, c.settings)
		d := doctor(t, nil, settings...)
		if d.err == nil || !strings.Contains(d.all, c.says) {
			t.Errorf("doctor with %s: %s", c.settings, d.all)
		}
		noSecret(t, d.all)
		var out, log locked.Buffer
		err := Run(within(t), nil, &out, &log, slices.Concat([]string{"JWT_SECRET=" + Secret, "LISTEN_ADDR=127.0.0.1:0"}, settings)...)
		if err == nil || !strings.Contains(err.Error(), c.says) {
			t.Errorf("serve with %s: %v", c.settings, err)
		}
		noSecret(t, fmt.Sprint(err, log.String()))
	}
}
