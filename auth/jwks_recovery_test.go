package auth

import (
	"context"
	"log/slog"
	"net/http"
	"strings"
	"testing"
	"time"

	"patientgraph/internal/locked"
	"patientgraph/internal/wait"
)

func TestAnIssuerThatComesBackIsTold(t *testing.T) {
	t.Parallel()
	i := newIssuer(t, jwk(t, newEdKey(), jwkMeta("1")))
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var log locked.Buffer
	if _, err := startRemoteKeys(ctx, Config{JWKSURL: i.URL, Now: time.Now, Log: slog.New(slog.NewTextHandler(&log, nil))}, 10*time.Millisecond); err != nil {
		t.Fatal(err)
	}
	says := func(text string) func() bool {
		return func() bool { return strings.Contains(log.String(), text) }
	}
	i.status.Store(http.StatusBadGateway)
	wait.Until(t, "the failure is told", says("cannot refresh the keys"))
	if says("refreshed again")() {
		t.Error("the keys are said to be refreshed already")
	}
	i.status.Store(http.StatusOK)
	wait.Until(t, "the return is told", says("the keys of JWT_JWKS_URL are refreshed again"))
}
