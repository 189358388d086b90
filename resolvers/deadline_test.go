package resolvers

import (
	"context"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/99designs/gqlgen/graphql/handler"
	"github.com/99designs/gqlgen/graphql/handler/transport"

	"patientgraph/auth"
	"patientgraph/db"
	"patientgraph/graph"
)

// frozen is a store that answers nothing before its caller's time is over.
type frozen struct{ recorder }

func (*frozen) Patient(ctx context.Context, _ string, _ ...db.Column) (*db.Patient, error) {
	<-ctx.Done()
	return nil, ctx.Err()
}

// TestWhatEndsWithTheRequestsTime wants the caller to hear that it may help to
// try again, and no incident in the log.
func TestWhatEndsWithTheRequestsTime(t *testing.T) {
	t.Parallel()
	var log strings.Builder
	server := handler.New(graph.NewExecutableSchema(graph.Config{Resolvers: &Resolver{
		Store: &frozen{}, Log: slog.New(slog.NewTextHandler(&log, nil)),
	}}))
	server.AddTransport(transport.POST{})
	ctx, cancel := context.WithTimeout(auth.WithViewer(context.Background(), auth.Viewer{Role: auth.RoleAdmin}), 50*time.Millisecond)
	defer cancel()
	request := httptest.NewRequestWithContext(ctx, http.MethodPost, "/", strings.NewReader(`{"query":"{ patient(id: \"x\") { id } }"}`))
	request.Header.Set("Content-Type", "application/json")
	answer := httptest.NewRecorder()
	server.ServeHTTP(answer, request)
	if body := answer.Body.String(); !strings.Contains(body, `"code":"UNAVAILABLE"`) || !strings.Contains(body, `"retryAfterSeconds":5`) || log.Len() > 0 {
		t.Errorf("%s; the log has %q", body, log.String())
	}
}
