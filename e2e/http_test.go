package e2e_test

import (
	"bufio"
	"crypto/sha256"
	"encoding/hex"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"

	. "patientgraph/app/apptest"
	"patientgraph/auth"
	"patientgraph/db/dbtest"
)

// What no token, a bad one and a bad request are told has the media type asked for.
func TestARefusalHasTheMediaTypeAskedFor(t *testing.T) {
	t.Parallel()
	s := StartSystem(t, dbtest.SQLite(t))
	const good, unknown = `{"query":"{ viewer { role } }"}`, `{"query":"{ patient(id: \"1\") { shoeSize } }"}`
	for _, c := range []struct {
		client       *Client
		body, accept string
		status       int
		contentType  string
		code, method string
		challenge    string
	}{
		{s.As(""), good, "application/graphql-response+json", 401, "application/graphql-response+json", "UNAUTHENTICATED", "POST", "Bearer"},
		{s.As("x.y.z"), good, "application/json", 401, "application/json", "UNAUTHENTICATED", "POST", "Bearer"},
		{s.As(""), good, "text/event-stream", 401, "application/json", "UNAUTHENTICATED", "POST", "Bearer"},
		{s.Client, good, "text/html", 406, "application/json", "BAD_USER_INPUT", "POST", ""},
		{s.Client, unknown, "application/graphql-response+json", 400, "application/graphql-response+json", "GRAPHQL_VALIDATION_FAILED", "POST", ""},
		{s.Client, unknown, "application/json", 200, "application/json", "GRAPHQL_VALIDATION_FAILED", "POST", ""},
		{s.Client, "{", "application/graphql-response+json", 400, "application/graphql-response+json", "BAD_USER_INPUT", "POST", ""},
		{s.As(""), "", "", 405, "application/json", "BAD_USER_INPUT", "PATCH", ""},
		{s.Client, "", "application/graphql-response+json", 405, "application/graphql-response+json", "BAD_USER_INPUT", "OPTIONS", ""},
	} {
		headers := []string{}
		if c.accept != "" {
			headers = []string{"Accept", c.accept}
		}
		response, body := fetch(t, c.client.Request(c.method, "/graphql", c.body, headers...))
		h := response.Header
		if response.StatusCode != c.status || h.Get("Content-Type") != c.contentType+"; charset=utf-8" || !strings.Contains(body, `"code":"`+c.code+`"`) || strings.Contains(body, `"data"`) {
			t.Errorf("%s as %s: status %d, %s, %s", c.body, c.accept, response.StatusCode, h.Get("Content-Type"), body)
		}
		if h.Get("Cache-Control") != "no-store" || !strings.HasPrefix(h.Get("WWW-Authenticate"), c.challenge) || (c.status == 405) != (h.Get("Allow") == "GET, POST") {
			t.Errorf("%s %s as %s: %v", c.method, c.body, c.accept, h)
		}
	}
}

func TestHealthTakesNoOtherMethod(t *testing.T) {
	t.Parallel()
	for _, playground := range []string{"true", "false"} {
		s := StartSystem(t, dbtest.SQLite(t), "PLAYGROUND="+playground, "INTROSPECTION="+playground)
		for _, path := range []string{"/healthz", "/readyz", "/metrics"} {
			for method, want := range map[string]int{"GET": 200, "HEAD": 200, "POST": 405, "DELETE": 405, "OPTIONS": 405} {
				response, _ := fetch(t, s.As("").Request(method, path, ""))
				if response.StatusCode != want || (want == 405) != (response.Header.Get("Allow") == "GET, HEAD") {
					t.Errorf("page %s, %s %s: status %d, Allow %q", playground, method, path, response.StatusCode, response.Header.Get("Allow"))
				}
			}
		}
	}
}

// A kept answer is shown again only to who may still see it, and as long as it holds.
func TestAKeptAnswerIsAskedForAgain(t *testing.T) {
	t.Parallel()
	OnEachDatabase(t, func(t *testing.T, databaseURL string) {
		s := StartSystem(t, databaseURL)
		const query = `query Contact($id: ID!) { patient(id: $id) { phone } }`
		sum := sha256.Sum256([]byte(query))
		extensions := Object{"persistedQuery": Object{"version": 1, "sha256Hash": hex.EncodeToString(sum[:])}}
		variables := Object{"id": Number}
		if answer := s.Post(JSON(t, Object{"query": query, "variables": variables, "extensions": extensions})); answer.ErrorCode() != "" {
			t.Fatal(answer)
		}
		path := "/graphql?variables=" + url.QueryEscape(JSON(t, variables)) + "&extensions=" + url.QueryEscape(JSON(t, extensions))
		get := func(c *Client, tag string) (*http.Response, string) {
			return fetch(t, c.Request(http.MethodGet, path, "", "If-None-Match", tag))
		}
		first, body := get(s.Client, "")
		tag := first.Header.Get("ETag")
		if first.StatusCode != 200 || tag == "" || !strings.Contains(body, `"phone"`) {
			t.Fatalf("status %d, %v, %s", first.StatusCode, first.Header, body)
		}
		if again, body := get(s.Client, tag); again.StatusCode != http.StatusNotModified || body != "" {
			t.Errorf("unchanged: status %d, %q", again.StatusCode, body)
		}
		if other, body := get(s.As(Token(t, auth.RolePatient, "P-2025-000002")), tag); other.StatusCode != 200 || !strings.Contains(body, `{"patient":null}`) {
			t.Errorf("who may not see the patient: status %d, %s", other.StatusCode, body)
		}
		if none, _ := get(s.As(""), tag); none.StatusCode != http.StatusUnauthorized {
			t.Errorf("without a token: status %d", none.StatusCode)
		}
		Want(t, s.Update(Object{"patientId": Number, "phone": "010-7777-1111"}), Object{"__typename": "UpdatePatientContactSuccess"})
		if changed, body := get(s.Client, tag); changed.StatusCode != 200 || !strings.Contains(body, "010-7777-1111") || changed.Header.Get("ETag") == tag {
			t.Errorf("changed: status %d, %s", changed.StatusCode, body)
		}
	})
}

// A client that takes compressed answers hears of each event at once all the same.
func TestAStreamIsNeverCompressed(t *testing.T) {
	t.Parallel()
	s := StartSystem(t, dbtest.SQLite(t))
	request := s.Request(http.MethodPost, "/graphql", Body(t, `subscription { patientChanged(id: "`+Number+`") { phone } }`, nil),
		"Accept", "text/event-stream", "Accept-Encoding", "zstd, gzip")
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	if coding := response.Header.Get("Content-Encoding"); coding != "" {
		t.Fatalf("Content-Encoding %s", coding)
	}
	lines := bufio.NewScanner(response.Body)
	lines.Scan() // the stream has begun
	Want(t, s.Update(Object{"patientId": Number, "phone": "010-7777-2222"}), Object{"__typename": "UpdatePatientContactSuccess"})
	for lines.Scan() {
		if strings.Contains(lines.Text(), "010-7777-2222") {
			return
		}
	}
	t.Error("the stream ended without the event")
}

// trusted writes a list of one operation.
func trusted(t *testing.T, content string) (setting string) {
	t.Helper()
	file := filepath.Join(t.TempDir(), "documents.json")
	if err := os.WriteFile(file, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	return "TRUSTED_DOCUMENTS=" + file
}

func TestTrustedDocumentsAlone(t *testing.T) {
	t.Parallel()
	const list = `{"me":"query Me { viewer { role } }","watch":"subscription Watch($id: ID!) { patientChanged(id: $id) { id } }"}`
	s := StartSystem(t, dbtest.SQLite(t), trusted(t, list))
	for body, code := range map[string]string{
		`{"documentId":"me"}`:                         "",
		`{"query":"query Me { viewer { role } }"}`:    "",
		`{"query":"query Me { viewer {role } }"}`:     "BAD_USER_INPUT",
		`{"query":"{ patients { totalCount } }"}`:     "BAD_USER_INPUT",
		`{"documentId":"mine"}`:                       "PERSISTED_QUERY_NOT_SUPPORTED",
		`{"documentId":"me","operationName":"Other"}`: "GRAPHQL_VALIDATION_FAILED",
	} {
		if answer := s.Post(body); answer.ErrorCode() != code {
			t.Errorf("%s: %v", body, answer)
		}
	}
	stream := s.Subscribe(`subscription { patientChanged(id: "` + Number + `") { id } }`)
	if event, _ := stream.Next(); event.ErrorCode() != "BAD_USER_INPUT" {
		t.Errorf("a subscription that is not listed: %v", event)
	}
	s.WantLog("an operation is not in TRUSTED_DOCUMENTS")
	if strings.Contains(s.Log.String(), "totalCount") {
		t.Error("the log has the text of an operation")
	}

	logs := StartSystem(t, dbtest.SQLite(t), trusted(t, list), "TRUSTED_DOCUMENTS_MODE=log")
	Want(t, logs.Query(`{ patients { totalCount } }`, nil), Object{"patients.totalCount": 2})
	logs.WantLog(`"refused":false`)
}

func TestAListOfDocumentsThatCannotBeUsedEndsTheStart(t *testing.T) {
	t.Parallel()
	for content, says := range map[string]string{"{": "no JSON object", `{"1":"{"}`: "no GraphQL document"} {
		refusedByBoth(t, "trusted documents", says, "FHIR_BASE_URL=http://127.0.0.1:1/fhir", "DATABASE_URL=sqlite::memory:", trusted(t, content))
	}
	refusedByBoth(t, "trusted documents", "no such file", "FHIR_BASE_URL=http://127.0.0.1:1/fhir", "DATABASE_URL=sqlite::memory:", "TRUSTED_DOCUMENTS=/away/documents.json")
	d := doctor(t, nil, "FHIR_BASE_URL=http://127.0.0.1:1/fhir", "DATABASE_URL=sqlite::memory:", trusted(t, `{"1":"{ __typename }"}`), "TRUSTED_DOCUMENTS_MODE=log")
	d.want(t, "trusted documents", "ok", "lists: 1; others are accepted, and logged")
	d = doctor(t, nil, "FHIR_BASE_URL=http://127.0.0.1:1/fhir", "DATABASE_URL=sqlite::memory:", "TRUSTED_DOCUMENTS_MODE=log")
	d.want(t, "settings", "warning", "TRUSTED_DOCUMENTS_MODE has no effect")
}
