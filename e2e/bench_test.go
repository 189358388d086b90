package e2e_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	. "patientgraph/app/apptest"
	"patientgraph/auth"
	"patientgraph/db"
	"patientgraph/db/dbtest"
	"patientgraph/httpapi"
)

// BenchmarkPatientOverHTTP sets `patient(id)` with five fields against a
// handler written by hand on the same store, behind the same check of the
// token. The two take turns; the ratio is of their throughputs.
func BenchmarkPatientOverHTTP(b *testing.B) {
	databaseURL := dbtest.SQLite(b)
	MustImport(b, databaseURL, PatientJSON("a1", Number))
	p := StartWith(b, "http://127.0.0.1:1/fhir", databaseURL, "LOG_LEVEL=info")
	_ = p.Patient(Number) // warm

	query := `{"query":"query($id: ID!) { patient(id: $id) { id fullName birthDate phone email } }","variables":{"id":"` + Number + `"}}`
	byHand := handWritten(b, databaseURL)
	bearer := Token(b, auth.RoleAdmin, "")
	var graphQL, hand time.Duration
	requests := 0
	for b.Loop() {
		graphQL += load(b, p.URL+"/graphql", bearer, query)
		hand += load(b, byHand, bearer, `{"id":"`+Number+`"}`)
		requests += rounds
	}
	b.ReportMetric(float64(hand)/float64(graphQL), "ratio")
	b.ReportMetric(float64(requests)/graphQL.Seconds(), "graphql/s")
	b.ReportMetric(float64(requests)/hand.Seconds(), "byhand/s")
}

// One turn sends so many requests, from so many clients at once.
const (
	rounds  = 2000
	clients = 8
)

// load sends one turn of requests and returns how long it took.
func load(b *testing.B, url, bearer, body string) time.Duration {
	client := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: clients}}
	defer client.CloseIdleConnections()
	began := time.Now()
	var wg sync.WaitGroup
	for range clients {
		wg.Go(func() {
			for range rounds / clients {
				if err := ask(client, url, bearer, body); err != nil {
					b.Error(err)
					return
				}
			}
		})
	}
	wg.Wait()
	return time.Since(began)
}

func ask(client *http.Client, url, bearer, body string) error {
	request, err := http.NewRequest(http.MethodPost, url, strings.NewReader(body))
	if err != nil {
		return err
	}
	request.Header.Set("Content-Type", "application/json")
	request.Header.Set("Authorization", "Bearer "+bearer)
	response, err := client.Do(request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	answer, err := io.ReadAll(response.Body)
	if err == nil && !bytes.Contains(answer, []byte(`"phone":"010-1111-2222"`)) {
		err = fmt.Errorf("unexpected answer: %s", answer)
	}
	return err
}

// handWritten serves the same five fields without GraphQL.
func handWritten(b *testing.B, databaseURL string) string {
	store, err := db.Open(context.Background(), databaseURL)
	if err != nil {
		b.Fatal(err)
	}
	verifier, err := auth.NewVerifier(context.Background(), auth.Config{
		Secret: []byte(Secret), RoleClaim: "role", PatientClaim: "patient_id", Now: time.Now, Log: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		b.Fatal(err)
	}
	type answer struct {
		ID        string `json:"id"`
		FullName  string `json:"fullName"`
		BirthDate string `json:"birthDate"`
		Phone     string `json:"phone"`
		Email     string `json:"email"`
	}
	refuse := func(w http.ResponseWriter, _ *http.Request, reason string) {
		http.Error(w, reason, http.StatusUnauthorized)
	}
	handler := verifier.Middleware(refuse)(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var asked struct{ ID string }
		if err := json.NewDecoder(r.Body).Decode(&asked); err != nil {
			http.Error(w, "bad request", http.StatusBadRequest)
			return
		}
		v, _ := auth.FromContext(r.Context())
		if !v.MayRead(asked.ID) {
			http.Error(w, "not found", http.StatusNotFound)
			return
		}
		p, err := store.Patient(r.Context(), asked.ID, db.ColFullName, db.ColBirthDate, db.ColPhone, db.ColEmail)
		if err != nil {
			http.Error(w, "not found", http.StatusNotFound)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(answer{p.ID, p.FullName, p.BirthDate, p.Phone, p.Email})
	}))
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	server := httpapi.NewServer(handler, log.New(io.Discard, "", 0))
	go func() { _ = server.Serve(listener) }()
	b.Cleanup(func() { server.Close(); store.Close() })
	return "http://" + listener.Addr().String() + "/"
}
