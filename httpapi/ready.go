package httpapi

import (
	"context"
	"encoding/json"
	"log/slog"
	"net/http"
	"sync"
	"time"
)

// How long one look at a part of the system counts, and how long it may take.
const (
	databaseLookFor = time.Second
	fhirLookFor     = 10 * time.Second
	lookTimeout     = 5 * time.Second
)

// readiness answers /readyz: 200 when the database can be reached, for reads go
// on when the FHIR server is away. With ?verbose it says of each part whether it
// can be reached, never why not: that is in the log.
type readiness struct {
	database, fhir *look
}

func newReadiness(o Options) *readiness {
	return &readiness{
		database: &look{name: "database", log: o.Log, keep: databaseLookFor, now: time.Now, ask: o.Database},
		fhir:     &look{name: "fhir", log: o.Log, keep: fhirLookFor, now: time.Now, ask: o.FHIR},
	}
}

func (r *readiness) ServeHTTP(w http.ResponseWriter, request *http.Request) {
	looks := []*look{r.database}
	if request.URL.Query().Has("verbose") {
		looks = append(looks, r.fhir)
	}
	status, answer := http.StatusOK, map[string]string{}
	for _, l := range looks {
		answer[l.name] = "ok"
		if !l.reachable() {
			answer[l.name] = "unavailable"
		}
	}
	if answer[r.database.name] != "ok" {
		status = http.StatusServiceUnavailable
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(answer) // the client is gone if this fails
}

// look asks whether one part of the system can be reached. All who want to know
// share one answer for a while, so that asking often costs nothing.
type look struct {
	name string
	log  *slog.Logger
	keep time.Duration
	ask  func(context.Context) error
	now  func() time.Time

	mu    sync.Mutex // held while it asks
	until time.Time
	err   error
}

func (l *look) reachable() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.now().Before(l.until) {
		return l.err == nil
	}
	// Not the caller's context: the answer is for others too.
	ctx, cancel := context.WithTimeout(context.Background(), lookTimeout)
	defer cancel()
	before := l.err
	defer func() { l.until = l.now().Add(l.keep) }() // also after a panic
	l.err = l.ask(ctx)
	switch {
	case l.err != nil:
		l.log.Warn("not ready", "check", l.name, "error", l.err)
	case before != nil:
		l.log.Info("ready again", "check", l.name)
	}
	return l.err == nil
}
