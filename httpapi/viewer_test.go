package httpapi

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"patientgraph/auth"
	"patientgraph/internal/locked"
	"patientgraph/resolvers"
)

// askViewer sends a query as this viewer to a server whose patients are looked up
// so. It has no cache: what reaches it panics.
func askViewer(t *testing.T, v auth.Viewer, query, accept string, numbers func(context.Context, []string) ([]string, error)) (answer, log string) {
	t.Helper()
	var logged locked.Buffer
	server := known(negotiated(checkedRequest(newGraphQL(serverOf(Options{
		Log: slog.New(slog.NewTextHandler(&logged, nil)), Resolver: &resolvers.Resolver{}, PatientNumbers: numbers,
	})))))
	request := httptest.NewRequest(http.MethodPost, "/graphql", strings.NewReader(`{"query":"`+query+`"}`))
	request.Header.Set("Content-Type", "application/json")
	request.Header.Set("Accept", accept)
	recorder := httptest.NewRecorder()
	server.ServeHTTP(recorder, request.WithContext(auth.WithViewer(t.Context(), v)))
	return recorder.Body.String(), logged.String()
}

func TestPatientsOfATokenAreLookedUpOnce(t *testing.T) {
	t.Parallel()
	const query = "{ viewer { patientId patientIds } again: viewer { patientIds } }"
	for name, c := range map[string]struct {
		viewer auth.Viewer
		found  []string
		asked  int
		want   string
	}{
		"one":      {auth.Viewer{Role: auth.RolePatient, PatientClaim: []string{"f1"}}, []string{"P-1"}, 1, `{"viewer":{"patientId":"P-1","patientIds":["P-1"]},"again":{"patientIds":["P-1"]}}`},
		"several":  {auth.Viewer{Role: auth.RolePatient, PatientClaim: []string{"f1", "f2", "f3"}}, []string{"P-3", "P-1", "P-3"}, 1, `{"viewer":{"patientId":null,"patientIds":["P-1","P-3"]},"again":{"patientIds":["P-1","P-3"]}}`},
		"unknown":  {auth.Viewer{Role: auth.RolePatient, PatientClaim: []string{"f1"}}, nil, 1, `{"viewer":{"patientId":null,"patientIds":[]},"again":{"patientIds":[]}}`},
		"renamed":  {auth.Viewer{Role: auth.RolePatient, PatientClaim: []string{"P-old"}, PatientIDs: []string{"P-old"}}, []string{"P-new"}, 1, `{"viewer":{"patientId":"P-new","patientIds":["P-new"]},"again":{"patientIds":["P-new"]}}`},
		"no claim": {auth.Viewer{Role: auth.RolePatient}, []string{"P-1"}, 0, `{"viewer":{"patientId":null,"patientIds":[]},"again":{"patientIds":[]}}`},
		"staff":    {auth.Viewer{Role: auth.RoleAdmin, PatientClaim: []string{"f1"}}, []string{"P-1"}, 0, `{"viewer":{"patientId":null,"patientIds":[]},"again":{"patientIds":[]}}`},
	} {
		asked := 0
		answer, _ := askViewer(t, c.viewer, query, "application/json", func(ctx context.Context, claim []string) ([]string, error) {
			asked++
			if _, bounded := ctx.Deadline(); !bounded || strings.Join(claim, " ") != strings.Join(c.viewer.PatientClaim, " ") {
				t.Errorf("%s: asked for %q, bounded: %v", name, claim, bounded)
			}
			return c.found, nil
		})
		if asked != c.asked || answer != `{"data":`+c.want+`}` {
			t.Errorf("%s: asked %d times, answered %s", name, asked, answer)
		}
	}
}

// TestWithoutTheDatabaseNobodyIsRefused: a client that hears 401 would throw its
// token away.
func TestWithoutTheDatabaseNobodyIsRefused(t *testing.T) {
	t.Parallel()
	v := auth.Viewer{Role: auth.RolePatient, PatientClaim: []string{"okoro-fhir-3001"}, Expires: time.Now().Add(time.Hour)}
	for query, accept := range map[string]string{
		`{ patient(id: \"P-1\") { id } }`: "application/json",
		`mutation { updatePatientContact(input: { patientId: \"P-1\", phone: \"1\" }) { __typename } }`: "application/json",
		`subscription { contactUpdateSettled(operationId: \"x\") { state } }`:                           "text/event-stream",
	} {
		answer, log := askViewer(t, v, query, accept, func(context.Context, []string) ([]string, error) { return nil, errors.New("it is away") })
		if !strings.Contains(answer, `"extensions":{"code":"UNAVAILABLE","retryAfterSeconds":5}`) || strings.Count(answer, "message") != 1 || strings.Contains(answer, "away") {
			t.Errorf("%s: %s", query, answer)
		}
		if !strings.Contains(log, "it is away") || strings.Contains(log, "okoro") {
			t.Errorf("the log has %q", log)
		}
	}
}
