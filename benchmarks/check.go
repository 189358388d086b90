package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"reflect"
	"strings"
)

// ask asks one question as a client does that reads the whole answer.
func (s *server) ask(ctx context.Context, what, value string) (*answer, error) {
	q := s.questions[what]
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://"+s.address+q.Path, strings.NewReader(q.Before+value+q.After))
	if err != nil {
		return nil, err
	}
	request.Header.Set("Content-Type", "application/json")
	if name, value, found := strings.Cut(strings.TrimSpace(s.headers[0]), ": "); found {
		request.Header.Set(name, value)
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return nil, err
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		return nil, err
	}
	var a answer
	decoder := json.NewDecoder(bytes.NewReader(body))
	decoder.DisallowUnknownFields() // errors too
	if err := decoder.Decode(&a); err != nil || response.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("%s: %s: %v %.500s", s.name, response.Status, err, body)
	}
	return &a, nil
}

// walked are all patients of a server, page by page.
type walked struct {
	rows  []patient
	pages []string // each cursor that a page follows, as JSON
}

func (s *server) walk(ctx context.Context) (w walked, err error) {
	for value := "null"; ; {
		a, err := s.ask(ctx, onePage, value)
		if err != nil {
			return w, err
		}
		p := a.Data.Patients
		if p == nil || p.PageInfo.EndCursor == nil {
			return w, fmt.Errorf("%s: no page after %s", s.name, value)
		}
		if w.rows = append(w.rows, p.Nodes...); !p.PageInfo.HasNextPage {
			return w, nil
		}
		if len(p.Nodes) != pageSize {
			return w, fmt.Errorf("%s: a page of %d after %s", s.name, len(p.Nodes), value)
		}
		text, err := json.Marshal(p.PageInfo.EndCursor)
		if err != nil {
			return w, err
		}
		value = string(text)
		w.pages = append(w.pages, value)
	}
}

// checkedPatients is how many patients, spread over all, are asked for one by one.
const checkedPatients = 500

// check returns what to ask a server for, after it has shown that every page has the
// rows that are expected, and that single patients are the same.
func (s *server) check(ctx context.Context, expected []patient) (values map[string][]string, err error) {
	w, err := s.walk(ctx)
	if err != nil {
		return nil, err
	}
	if len(w.rows) != len(expected) {
		return nil, fmt.Errorf("%s: %d patients, of %d", s.name, len(w.rows), len(expected))
	}
	values = map[string][]string{}
	every := max(1, len(expected)/checkedPatients)
	for n, p := range expected {
		if !reflect.DeepEqual(w.rows[n], p) {
			return nil, fmt.Errorf("%s: patient %d of the list is %s, want %s", s.name, n, asJSON(w.rows[n]), asJSON(p))
		}
		value := asJSON(p.ID)
		values[onePatient] = append(values[onePatient], value)
		if n%every != 0 {
			continue
		}
		a, err := s.ask(ctx, onePatient, value)
		if err != nil {
			return nil, err
		}
		if a.Data.Patient == nil || !reflect.DeepEqual(*a.Data.Patient, p) {
			return nil, fmt.Errorf("%s: %s is %s, want %s", s.name, value, asJSON(a.Data.Patient), asJSON(p))
		}
	}
	for _, after := range w.pages { // every second request is for the first page
		values[onePage] = append(values[onePage], "null", after)
	}
	return values, nil
}

func asJSON(v any) string {
	text, _ := json.Marshal(v) // strings and structs of them always encode
	return string(text)
}

// expectedRows are the patients in the order of the list, the newest first: those that
// were imported together by their number.
func expectedRows(patients int) []patient {
	rows := make([]patient, patients)
	for p := range people(patients) {
		patients--
		rows[patients] = p.patient
	}
	return rows
}
