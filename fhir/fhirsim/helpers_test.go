package fhirsim

import (
	"encoding/json"
	"io"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"
)

// step is one request of a script and what it must get. {id} in path and body
// is the script's own patient; the path {next} is the next link of the last
// Bundle.
type step struct {
	method, path string
	header       string // lines
	body         string
	status       int
	version      string // by ETag; "": there must be no ETag
	codes        string // HAPI's codes in the diagnostics, in their order
}

// observation is what can be compared between servers.
type observation struct {
	Status     int
	Version    string
	Codes      string
	Location   bool     // Content-Location
	Expression []string // of all issues
	Severity   []string // of all issues
	Body       any      // a Patient without meta; ids, totals and links of a Bundle; else nil
}

var hapiCode = regexp.MustCompile(`HAPI-\d+`)

// observe sends a request and notes what came; the patient's id in it reads
// {id}. next is the Bundle's next link.
func observe(t *testing.T, base, id string, s step, next string) (o observation, nextLink string) {
	t.Helper()
	fill := strings.NewReplacer("{id}", id)
	url := base + fill.Replace(s.path)
	if s.path == "{next}" {
		if url = next; url == "" {
			t.Fatal("the Bundle before has no next link")
		}
	}
	request, err := http.NewRequest(s.method, url, strings.NewReader(fill.Replace(s.body)))
	if err != nil {
		t.Fatal(err)
	}
	if s.method == http.MethodPut {
		request.Header.Set("Content-Type", "application/fhir+json")
	}
	request.Header.Set("Cache-Control", "no-cache")
	for line := range strings.Lines(s.header) {
		name, value, _ := strings.Cut(strings.TrimSpace(line), ": ")
		request.Header.Set(name, value)
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	o = observation{
		Status:   response.StatusCode,
		Version:  strings.TrimSuffix(strings.TrimPrefix(response.Header.Get("ETag"), `W/"`), `"`),
		Location: response.Header.Get("Content-Location") != "",
	}
	if len(body) == 0 {
		return o, ""
	}
	if kind := response.Header.Get("Content-Type"); !strings.HasPrefix(kind, "application/fhir+json") {
		t.Errorf("%s %s: Content-Type is %q", s.method, s.path, kind)
	}
	var tree map[string]any
	if err := json.Unmarshal([]byte(strings.ReplaceAll(string(body), id, "{id}")), &tree); err != nil {
		t.Fatalf("%s %s: %v in %.300s", s.method, s.path, err, body)
	}
	switch tree["resourceType"] {
	case "Patient":
		delete(tree, "meta")
		o.Body = tree
	case "Bundle":
		o.Body = summary(tree)
		nextLink = strings.ReplaceAll(links(tree)["next"], "{id}", id)
	case "OperationOutcome":
		var texts []string
		for _, i := range list(tree["issue"]) {
			o.Severity = append(o.Severity, i["severity"].(string))
			for _, e := range array(i["expression"]) {
				o.Expression = append(o.Expression, e.(string))
			}
			text, _ := i["diagnostics"].(string)
			texts = append(texts, text)
		}
		o.Codes = strings.Join(hapiCode.FindAllString(strings.Join(texts, " "), -1), " ")
	}
	return o, nextLink
}

func array(v any) []any {
	a, _ := v.([]any)
	return a
}

func list(v any) []map[string]any {
	var objects []map[string]any
	for _, e := range array(v) {
		objects = append(objects, e.(map[string]any))
	}
	return objects
}

func links(bundle map[string]any) map[string]string {
	found := map[string]string{}
	for _, l := range list(bundle["link"]) {
		found[l["relation"].(string)] = l["url"].(string)
	}
	return found
}

// summary is what counts of a Bundle.
func summary(bundle map[string]any) map[string]any {
	var entries []string
	for _, e := range list(bundle["entry"]) {
		text := e["fullUrl"].(string)
		text = text[strings.LastIndex(text, "/")+1:]
		if request, ok := e["request"].(map[string]any); ok {
			text += " " + request["method"].(string)
		}
		if response, ok := e["response"].(map[string]any); ok {
			text += " " + response["status"].(string) + " " + response["etag"].(string)
		}
		if e["resource"] == nil {
			text += " (no resource)"
		}
		entries = append(entries, text)
	}
	_, hasNext := links(bundle)["next"]
	return map[string]any{"type": bundle["type"], "total": bundle["total"], "entries": entries, "next": hasNext}
}

// running starts a server for one test.
func running(t testing.TB, o Options) (*Server, string) {
	t.Helper()
	s := New(o)
	base, stop, err := s.Start()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(stop)
	return s, base
}

// seeded starts a server that holds one patient, x.
func seeded(t testing.TB, o Options) (*Server, string) {
	t.Helper()
	s, base := running(t, o)
	if err := s.Put([]byte(patientX)); err != nil {
		t.Fatal(err)
	}
	return s, base
}

const patientX = `{"resourceType":"Patient","id":"x","telecom":[{"system":"phone","value":"02-123-4567"}],"address":[{"city":"Seoul"}]}`

// response is an answer read to its end.
type response struct {
	status int
	header http.Header
	body   string
}

// do sends a request; it must be answered in full.
func do(t testing.TB, method, url, body string, header ...string) response {
	t.Helper()
	r, err := try(method, url, body, header...)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// patience is how long a test waits for an answer.
const patience = 10 * time.Second

func try(method, url, body string, header ...string) (response, error) {
	client := &http.Client{Timeout: patience}
	return tryWith(client, method, url, body, header...)
}

func tryWith(client *http.Client, method, url, body string, header ...string) (response, error) {
	request, err := http.NewRequest(method, url, strings.NewReader(body))
	if err != nil {
		return response{}, err
	}
	request.Header.Set("Content-Type", "application/fhir+json")
	for i := 0; i+1 < len(header); i += 2 {
		request.Header.Set(header[i], header[i+1])
	}
	r, err := client.Do(request)
	if err != nil {
		return response{}, err
	}
	defer r.Body.Close()
	text, err := io.ReadAll(r.Body)
	return response{r.StatusCode, r.Header, string(text)}, err
}

// stored returns what the server holds of x.
func stored(t testing.TB, s *Server) (string, int) {
	t.Helper()
	body, version, ok := s.Get("x")
	if !ok {
		t.Fatal("patient x is gone")
	}
	return string(body), version
}

func wantContains(t testing.TB, text string, parts ...string) {
	t.Helper()
	for _, part := range parts {
		if !strings.Contains(text, part) {
			t.Errorf("%s lacks %s", text, part)
		}
	}
}

func wantEqual[T comparable](t testing.TB, what string, got, want T) {
	t.Helper()
	if got != want {
		t.Errorf("%s is %v, want %v", what, got, want)
	}
}

func wantList(t testing.TB, what string, got, want []string) {
	t.Helper()
	if !slices.Equal(got, want) {
		t.Errorf("%s: %q, want %q", what, got, want)
	}
}
