package app_test

import (
	"context"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	. "patientgraph/app/apptest"
	"patientgraph/db/dbtest"
	"patientgraph/fhir/fhirsim"
	"patientgraph/internal/locked"
)

// freezable returns the database by a way on which nothing passes while the lock is held.
func freezable(t *testing.T, databaseURL string) (string, *sync.RWMutex) {
	t.Helper()
	var frozen sync.RWMutex
	pass := func(to, from net.Conn) {
		defer to.Close()
		for buf := make([]byte, 64<<10); ; {
			n, err := from.Read(buf)
			frozen.RLock()
			_, writeErr := to.Write(buf[:n])
			frozen.RUnlock()
			if err != nil || writeErr != nil {
				return
			}
		}
	}
	return dbtest.Between(t, databaseURL, func(client, server net.Conn) {
		go pass(server, client)
		pass(client, server)
	}), &frozen
}

// A signal ends serve and sync though PostgreSQL stands still: whoever follows the FHIR
// server does not wait to give the lease back.
func TestASignalEndsTheProgramThoughPostgresStandsStill(t *testing.T) {
	t.Parallel()
	for _, command := range []string{"serve", "sync"} {
		t.Run(command, func(t *testing.T) {
			t.Parallel()
			databaseURL, frozen := freezable(t, dbtest.Postgres(t))
			ctx, signal := context.WithCancel(t.Context())
			defer signal()
			simulator := fhirsim.New(fhirsim.Options{Habits: fhirsim.HAPI()})
			var once sync.Once
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if r.URL.Path == "/fhir/Patient/_history" { // it has the lease and is at work
					once.Do(func() {
						frozen.Lock()
						signal()
					})
				}
				simulator.ServeHTTP(w, r)
			}))
			defer server.Close()
			var out, log locked.Buffer
			ended := make(chan error, 1)
			go func() {
				ended <- Run(ctx, []string{command}, &out, &log, "FHIR_BASE_URL="+server.URL+"/fhir", "DATABASE_URL="+databaseURL, "JWT_SECRET="+Secret,
					"LISTEN_ADDR=127.0.0.1:0", "FHIR_TIMEOUT=1s", "SYNC_INTERVAL=1s", "VERIFY_INTERVAL=0")
			}()
			select {
			case err := <-ended:
				if err == nil || !strings.Contains(err.Error(), "did not answer in the time that an end may take") {
					t.Errorf("%s ended with %v\n%s", command, err, log.String())
				}
			case <-time.After(2 * time.Minute): // a guard
				t.Errorf("%s has no end\n%s", command, log.String())
			}
			once.Do(frozen.Lock) // if it never came so far
			frozen.Unlock()
		})
	}
}
