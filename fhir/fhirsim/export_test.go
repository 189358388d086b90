package fhirsim

import (
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"testing"
)

// ask sends a request as a client of Bulk Data does.
func ask(t *testing.T, method, url string, header ...string) (*http.Response, string) {
	t.Helper()
	r, err := http.NewRequest(method, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, line := range header {
		name, value, _ := strings.Cut(line, ": ")
		r.Header.Set(name, value)
	}
	response, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	return response, string(body)
}

// An export as Bulk Data Access describes it, from the kick-off to its deletion.
func TestExport(t *testing.T) {
	t.Parallel()
	s, base, _ := many(t, 5, HAPI())
	s.Delete("p001")
	s.OfferExport(Export{Polls: 1, RetryAfter: "2", Progress: "half", PerFile: 3, Deleted: true, Errors: "{}"})
	const async = "Prefer: respond-async"
	if r, _ := ask(t, "GET", base+"/Patient/$export"); r.StatusCode != http.StatusBadRequest {
		t.Errorf("without Prefer: %s", r.Status)
	}
	r, _ := ask(t, "GET", base+"/Patient/$export?_type=Patient", async)
	status := r.Header.Get("Content-Location")
	if r.StatusCode != http.StatusAccepted || !strings.HasPrefix(status, base+"/$export-poll-status?") {
		t.Fatalf("%s, %q", r.Status, status)
	}
	if err := s.Put([]byte(`{"resourceType":"Patient","id":"later"}`)); err != nil {
		t.Fatal(err)
	}
	if r, _ := ask(t, "GET", status); r.StatusCode != http.StatusAccepted || r.Header.Get("Retry-After") != "2" || r.Header.Get("X-Progress") != "half" {
		t.Errorf("%s, %v", r.Status, r.Header)
	}
	r, body := ask(t, "GET", status)
	var m struct {
		TransactionTime        string
		RequiresAccessToken    bool
		Output, Deleted, Error []struct {
			Type, URL string
			Count     int
		}
	}
	if err := json.Unmarshal([]byte(body), &m); err != nil || r.StatusCode != http.StatusOK || m.TransactionTime != "2026-11-23T12:00:05Z" || !m.RequiresAccessToken {
		t.Fatalf("%s, %v, %s", r.Status, err, body)
	}
	if len(m.Output) != 2 || len(m.Deleted) != 1 || len(m.Error) != 1 || m.Output[0].Count != 3 || m.Output[1].Count != 1 {
		t.Fatalf("%s", body)
	}
	_, first := ask(t, "GET", m.Output[0].URL)
	_, second := ask(t, "GET", m.Output[1].URL)
	if lines := strings.Count(first+second, "\n"); lines != 4 || strings.Contains(first+second, "later") || strings.Contains(first+second, "p001") {
		t.Errorf("%s%s", first, second)
	}
	if _, gone := ask(t, "GET", m.Deleted[0].URL); !strings.Contains(gone, `"DELETE"`) || !strings.Contains(gone, "Patient/p001") {
		t.Errorf("%s", gone)
	}
	if r, _ := ask(t, "DELETE", status); r.StatusCode != http.StatusAccepted || s.Exports() != 0 {
		t.Errorf("%s", r.Status)
	}
	for _, url := range []string{status, m.Output[0].URL} {
		if r, _ := ask(t, "GET", url); r.StatusCode != http.StatusNotFound {
			t.Errorf("%s: %s", url, r.Status)
		}
	}
}

func TestExportNeedsTheToken(t *testing.T) {
	t.Parallel()
	for _, open := range []bool{false, true} {
		s, base := running(t, Options{Bearer: "secret"})
		if err := s.Put([]byte(`{"resourceType":"Patient","id":"a"}`)); err != nil {
			t.Fatal(err)
		}
		s.OfferExport(Export{Open: open})
		const token = "Authorization: Bearer secret"
		if r, _ := ask(t, "GET", base+"/$export", "Prefer: respond-async"); r.StatusCode != http.StatusUnauthorized {
			t.Errorf("kick-off: %s", r.Status)
		}
		r, _ := ask(t, "GET", base+"/$export", "Prefer: respond-async", token)
		_, body := ask(t, "GET", r.Header.Get("Content-Location"), token)
		_, rest, _ := strings.Cut(body, `/Binary/`)
		id, _, _ := strings.Cut(rest, `"`)
		if r, _ := ask(t, "GET", base+"/Binary/"+id); (r.StatusCode == http.StatusOK) != open {
			t.Errorf("a file, open: %v: %s", open, r.Status)
		}
	}
}

func TestNoExportUnlessOffered(t *testing.T) {
	t.Parallel()
	_, base := running(t, Options{})
	if r, _ := ask(t, "GET", base+"/Patient/$export", "Prefer: respond-async"); r.StatusCode < 400 {
		t.Errorf("%s", r.Status)
	}
}
