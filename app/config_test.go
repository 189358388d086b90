package app_test

import (
	"slices"
	"strings"
	"testing"

	. "patientgraph/app/apptest"
	"patientgraph/internal/locked"
)

func TestBadSettingsStopTheStart(t *testing.T) {
	t.Parallel()
	good := []string{"FHIR_BASE_URL=http://127.0.0.1:1/fhir", "JWT_SECRET=" + Secret, "DATABASE_URL=sqlite::memory:", "LISTEN_ADDR=127.0.0.1:0"}
	for name, c := range map[string]struct{ setting, value, names string }{
		"no secret":           {"JWT_SECRET", "", "JWT_SECRET"},
		"short secret":        {"JWT_SECRET", "short", "JWT_SECRET"},
		"two kinds of tokens": {"JWT_JWKS_URL", "https://issuer.example/jwks", "JWT_JWKS_URL"},
		"no address":          {"LISTEN_ADDR", "nowhere", "LISTEN_ADDR"},
		"no database":         {"DATABASE_URL", "mysql://x", "DATABASE_URL"},
		"database elsewhere":  {"DATABASE_URL", "sqlite:/nonexistent/dir/x.db", "DATABASE_URL"},
		"no URL":              {"FHIR_BASE_URL", "hapi", "FHIR_BASE_URL"},
		"password in URL":     {"FHIR_BASE_URL", "http://u:topsecret@127.0.0.1/fhir", "FHIR_BASE_URL"},
		"no token":            {"FHIR_AUTH", "bearer", "FHIR_TOKEN"},
		"no client":           {"FHIR_AUTH", "client_credentials", "FHIR_AUTH=client_credentials needs FHIR_CLIENT_ID, FHIR_CLIENT_SECRET or FHIR_PRIVATE_KEY"},
		"no refresh token":    {"FHIR_AUTH", "refresh_token", "FHIR_CLIENT_ID, FHIR_REFRESH_TOKEN"},
		"no password":         {"FHIR_AUTH", "password", "FHIR_CLIENT_ID, FHIR_USERNAME, FHIR_PASSWORD"},
		"no such auth":        {"FHIR_AUTH", "kerberos", "FHIR_AUTH"},
		"playground":          {"PLAYGROUND", "maybe", "PLAYGROUND: bool value"},
		"no such authority":   {"FHIR_CA_FILE", "/nonexistent/ca.pem", "FHIR_CA_FILE"},
		"half a client":       {"FHIR_CLIENT_CERT", "/nonexistent/cert.pem", "FHIR_CLIENT_KEY"},
		"two secrets":         {"JWT_SECRET_FILE", "/nonexistent/secret", "JWT_SECRET and JWT_SECRET_FILE exclude each other"},
		"key file":            {"FHIR_PRIVATE_KEY_FILE", "/nonexistent/key", "FHIR_PRIVATE_KEY_FILE"},
		"links":               {"FHIR_REWRITE_LINKS", "perhaps", "FHIR_REWRITE_LINKS: bool value"},
		"timeout":             {"FHIR_TIMEOUT", "1ns", "FHIR_TIMEOUT"},
		"no duration":         {"FHIR_TIMEOUT", "soon", "FHIR_TIMEOUT: expected duration"},
		"rate":                {"RATE_LIMIT", "-1", "RATE_LIMIT"},
		"region":              {"PHONE_REGION", "XX", "PHONE_REGION"},
		"patient claim kind":  {"JWT_PATIENT_CLAIM_KIND", "FHIR", `JWT_PATIENT_CLAIM_KIND must be one of "number","fhir"`},
		"server":              {"FHIR_SERVER", "epic", "FHIR_SERVER must be one of"},
		"demo server":         {"DEMO_SERVER", "epic", `DEMO_SERVER must be one of "hapi","openemr","medplum"`},
		"every origin":        {"CORS_ORIGINS", "https://app.example,*", "CORS_ORIGINS: entry 2 is *"},
		"no origin":           {"CORS_ORIGINS", "null", "CORS_ORIGINS: entry 1 is null"},
		"origin with a path":  {"CORS_ORIGINS", "https://app.example/topsecret", "CORS_ORIGINS: entry 1 is no origin"},
		"relative base path":  {"BASE_PATH", "apps", `BASE_PATH must be a path such as /apps/records`},
		"base path upwards":   {"BASE_PATH", "/apps/../x", `not "/apps/../x"`},
		"base path and query": {"BASE_PATH", "/apps?x", `not "/apps?x"`},
		"proxy by name":       {"TRUSTED_PROXIES", "10.0.0.0/8,proxy.example", `TRUSTED_PROXIES: "proxy.example" is no network`},
		"every proxy":         {"TRUSTED_PROXIES", "0.0.0.0/0", `TRUSTED_PROXIES: "0.0.0.0/0" is everybody`},
		"secret file":         {"JWT_SECRET_FILE", "/nonexistent/secret", "JWT_SECRET"},
		"short hook secret":   {"SUBSCRIPTION_SECRET", strings.Repeat("x", 31), "SUBSCRIPTION_SECRET must have at least 32 bytes"},
		"odd hook secret":     {"SUBSCRIPTION_SECRET", strings.Repeat("x\n", 32), "SUBSCRIPTION_SECRET is sent in a header"},
		"hook secret file":    {"SUBSCRIPTION_SECRET_FILE", "/nonexistent/secret", "SUBSCRIPTION_SECRET_FILE"},
		"hook without TLS":    {"SUBSCRIPTION_URL", "http://graph.example", "SUBSCRIPTION_URL must be https"},
		"hook with password":  {"SUBSCRIPTION_URL", "https://u:topsecret@graph.example", "SUBSCRIPTION_URL"},
		"hook with query":     {"SUBSCRIPTION_URL", "https://graph.example?a=b", "SUBSCRIPTION_URL"},
		"hook without host":   {"SUBSCRIPTION_URL", "graph.example", "SUBSCRIPTION_URL"},
		"demo with database":  {"FHIR_BASE_URL", "", "FHIR_BASE_URL"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			settings := slices.Clone(good)
			if name == "secret file" {
				settings = append(settings, "JWT_SECRET=")
			}
			var out, log locked.Buffer
			err := Run(t.Context(), nil, &out, &log, append(settings, c.setting+"="+c.value)...)
			if err == nil || !strings.Contains(err.Error(), c.names) || strings.Contains(err.Error(), "\n") {
				t.Errorf("the start ended with %v, want one line that names %s", err, c.names)
			}
			if err != nil && strings.Contains(err.Error(), "topsecret") {
				t.Errorf("the error shows a password: %v", err)
			}
		})
	}
}
