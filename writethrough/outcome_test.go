package writethrough_test

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"patientgraph/fhir"
	"patientgraph/writethrough"
)

// A server that fails to read or to write a patient quotes it, as it is and as
// it is to be: that goes nowhere.
func TestFailuresDoNotQuoteThePatient(t *testing.T) {
	const text = `{"resourceType":"OperationOutcome","issue":[{"severity":"error","code":"processing","diagnostics":"HAPI-1821: value \"010-0000-0000\" of Kim Min, which is to be 010-7777-7777 (+82 10 7777 7777)"}]}`
	for _, method := range []string{"GET", "PUT"} {
		for _, status := range []int{200, 400, 403, 404, 410, 422, 500} {
			t.Run(fmt.Sprint(method, " ", status), func(t *testing.T) {
				r := newRig(t, 1)
				now, err := r.client.Read(t.Context(), "f0")
				if err != nil {
					t.Fatal(err)
				}
				s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
					w.Header().Set("Content-Type", "application/fhir+json")
					if q.Method == method {
						w.WriteHeader(status)
						fmt.Fprint(w, text)
						return
					}
					w.Header().Set("ETag", now.ETag)
					_, _ = w.Write(now.JSON)
				}))
				defer s.Close()
				client, err := fhir.NewClient(fhir.Options{BaseURL: s.URL})
				if err != nil {
					t.Fatal(err)
				}
				var log bytes.Buffer
				w := r.writer(false, client, r.store, func(c *writethrough.Config) { c.Log = slog.New(slog.NewTextHandler(&log, nil)) })
				_, err = update(t.Context(), w, setPhone("010-7777-7777"))
				var e *failure
				if !errors.As(err, &e) {
					t.Fatal(err)
				}
				said := strings.ReplaceAll(fmt.Sprint(log.String(), e.Reason, e.Issues), e.OperationID, "") // digits of our own
				for _, secret := range []string{"010-0000-0000", "Kim", "Min", "010-7777-7777", "7777"} {
					if strings.Contains(said, secret) {
						t.Errorf("%s in the log or the answer:\n%s", secret, said)
					}
				}
			})
		}
	}
}
