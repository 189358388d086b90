package e2e_test

import (
	"fmt"
	"html"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"

	. "patientgraph/app/apptest"
	"patientgraph/fhir/fhirsim"
)

// chattyServer repeats the patient, and whatever it was sent, in the answer that is set.
type chattyServer struct {
	*fhirsim.Server
	URL    string
	answer atomic.Pointer[func(w http.ResponseWriter, r *http.Request, repeated string)]
	reads  atomic.Bool // reads go on
}

func startChatty(t *testing.T, patients int) *chattyServer {
	t.Helper()
	s := &chattyServer{Server: fhirsim.New(fhirsim.Options{})}
	for n := range patients {
		if err := s.Put([]byte(strings.NewReplacer(canaryNumber, canaryNo(n), `"id":"c1"`, fmt.Sprintf(`"id":"c%d"`, n)).Replace(canaryPatient))); err != nil {
			t.Fatal(err)
		}
	}
	s.OfferExport(fhirsim.Export{})
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		answer := s.answer.Load()
		if answer == nil || s.reads.Load() && r.Method == http.MethodGet {
			s.ServeHTTP(w, r)
			return
		}
		sent, _ := io.ReadAll(r.Body) // what came is repeated
		stored, _, _ := s.Get("c0")
		(*answer)(w, r, fmt.Sprintf("%s %s %v %s; %s", r.Method, r.URL, r.Header, sent, stored))
	}))
	t.Cleanup(server.Close)
	s.URL = server.URL
	return s
}

func canaryNo(n int) string { return fmt.Sprint(canaryNumber, "-", n) }

// say has every request answered so; nil ends it.
func (s *chattyServer) say(answer func(w http.ResponseWriter, r *http.Request, repeated string)) {
	s.answer.Store(nil)
	if answer != nil {
		s.answer.Store(&answer)
	}
}

// chattyAnswers are refusals in many forms. Each repeats all it knows.
func chattyAnswers(t *testing.T) map[string]func(w http.ResponseWriter, r *http.Request, repeated string) {
	plain := func(status int, media string, body func(repeated string) string, headers ...string) func(http.ResponseWriter, *http.Request, string) {
		return func(w http.ResponseWriter, _ *http.Request, repeated string) {
			w.Header().Set("Content-Type", media)
			for _, name := range headers {
				w.Header().Set(name, `Bearer realm="Wixomar Qavorim 0209 7731 884", error="invalid_token", error_description="`+strings.NewReplacer("\n", " ", `"`, "'").Replace(repeated)+`"`)
			}
			w.WriteHeader(status)
			_, _ = io.WriteString(w, body(repeated))
		}
	}
	// Short texts: of long ones the code takes the place.
	const brief = `Zelbruk Qavorim, born Jorvakel, b. 23.9.1941, 곽녹차, next of kin Ombrazek Tuvexin (0877-1234561), Yxandergatan 41 in 4821377 Qwelmsund, QX 77418829: not 0455-9182736 nor new.xeltorim@otherzona.example at Brundexvej 9, not Ruvandil, cousin-prall, plorazine`
	outcome := func(repeated string) string {
		issue := func(text string) Object {
			return Object{"severity": "error", "code": "invalid", "diagnostics": text, "expression": []string{"Patient.name.where(family='Qavorim')", "Patient.telecom[0].value"}, "details": Object{"text": text}}
		}
		return JSON(t, Object{"resourceType": "OperationOutcome", "text": Object{"div": repeated}, "issue": []Object{issue(brief), issue(repeated), {"severity": "Qavorim", "code": "Zelbruk", "details": Object{"text": brief, "coding": []Object{{"system": "urn:x", "code": "Wixomar", "display": brief}}}}}})
	}
	escaped := func(string) string {
		return JSON(t, Object{"resourceType": "OperationOutcome", "issue": []Object{
			{"severity": "error", "code": "value", "diagnostics": url.QueryEscape(brief)}, {"severity": "error", "code": "value", "diagnostics": html.EscapeString(brief)},
			{"severity": "error", "code": "value", "diagnostics": strings.ReplaceAll(strconv.QuoteToASCII(brief), `"`, "")}}})
	}
	same := func(repeated string) string { return repeated }
	page := func(repeated string) string {
		return "<html><head><title>Wixomar Qavorim</title></head><body><h1>Error</h1><pre>" + html.EscapeString(repeated) + "</pre></body></html>"
	}
	const json, fhirJSON, text = "application/json", "application/fhir+json", "text/html; charset=utf-8"
	everywhere := []string{"WWW-Authenticate", "Location", "Content-Location", "ETag", "Last-Modified", "Retry-After", "Warning", "X-Request-Id", "X-Progress"}
	return map[string]func(w http.ResponseWriter, r *http.Request, repeated string){
		"400":         plain(400, fhirJSON, outcome, everywhere...),
		"422":         plain(422, fhirJSON, outcome),
		"422 escaped": plain(422, fhirJSON, escaped),
		"422 page":    plain(422, text, page),
		"400 words":   plain(400, "text/plain", func(string) string { return brief }),
		"400 error": plain(400, json, func(repeated string) string {
			return JSON(t, Object{"error": brief, "message": brief, "hint": repeated})
		}),
		"400 of OpenEMR": plain(400, json, func(string) string {
			return JSON(t, Object{"validationErrors": Object{brief: Object{"Qavorim": brief}, "phone": []string{brief}}})
		}),
		"400 of OAuth": plain(400, json, func(repeated string) string {
			return JSON(t, Object{"error": "invalid_grant", "error_description": brief, "error_uri": repeated})
		}),
		"401":         plain(401, fhirJSON, outcome, everywhere...),
		"403":         plain(403, fhirJSON, outcome),
		"404":         plain(404, fhirJSON, outcome),
		"409":         plain(409, fhirJSON, outcome, everywhere...),
		"412":         plain(412, fhirJSON, outcome),
		"429":         plain(429, text, page, everywhere...),
		"500 page":    plain(500, text, page),
		"500":         plain(500, fhirJSON, outcome),
		"503":         plain(503, "text/plain", same, everywhere...),
		"302":         plain(302, text, page, everywhere...),
		"200 no JSON": plain(200, fhirJSON, same, everywhere...),
		"200 outcome": plain(200, fhirJSON, outcome, everywhere...),
		"200 another type": plain(200, fhirJSON, func(repeated string) string {
			return `{"resourceType":"Qavorim Zelbruk","id":"Wixomar","text":` + JSON(t, repeated) + `}`
		}),
		"200 odd members": plain(200, fhirJSON, func(string) string {
			return `{"resourceType":"Patient","id":"c1","name":"Qavorim","telecom":{"value":"0209 7731 884"},"birthDate":"Zelbruk 23.09.1941","gender":"Wixomar","meta":{"versionId":"Qavorim Zelbruk","lastUpdated":"Yxandergatan 41"}}`
		}),
		"200 odd bundle": plain(200, fhirJSON, func(repeated string) string {
			return `{"resourceType":"Bundle","type":"searchset","total":"Qavorim","link":[{"relation":"next","url":"http://qavorim.example/Zelbruk?Wixomar"}],"entry":[{"fullUrl":"urn:Qavorim","resource":{"resourceType":"Patient","id":"Zelbruk Qavorim","birthDate":"Jorvakel"}},{"resource":"Qavorim"},` +
				canaryPatient[:200] + `}]}`
		}),
		"dropped": func(w http.ResponseWriter, _ *http.Request, _ string) { panic(http.ErrAbortHandler) },
	}
}
