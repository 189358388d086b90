package fhir

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/tidwall/gjson"

	"patientgraph/internal/cost"
)

// costly fails if f takes far more than looking twice whether body is JSON,
// which every answer is put through. The faults cost a thousand times as much.
func costly(t *testing.T, name string, body []byte, f func()) {
	t.Helper()
	normal := cost.Of(t, func() {
		if !json.Valid(body) || !gjson.ValidBytes(body) {
			t.Fatalf("%s: the body is no JSON", name)
		}
	}).CPU
	got := cost.Of(t, f).CPU
	t.Logf("%s: %d KiB, %v; to validate it %v", name, len(body)>>10, got, normal)
	if limit := 40 * (normal + time.Millisecond); got > limit {
		t.Errorf("%s costs %v, and to validate it %v", name, got, normal)
	}
}

func repeat(n int, entry string) string {
	return strings.TrimSuffix(strings.Repeat(entry+",", n), ",")
}

// patientOf has n values, most of them different.
func patientOf(n int) []byte {
	var names []string
	for i := range n {
		names = append(names, fmt.Sprintf(`{"family":"Solveig%d Aune Nordmann","period":{"end":"%d-04-17"}}`, i, 1000+i%1000))
	}
	return patientJSON("p", `"name":[`+strings.Join(names, ",")+`]`)
}

// wordsOf is a patient of n different words with one beginning, and a number.
func wordsOf(n int) []byte {
	var lines []string
	for i := range n {
		lines = append(lines, quote(strings.Repeat("a", 4+i%60)+strings.Map(func(r rune) rune { return r - '0' + 'b' }, fmt.Sprint(i))))
	}
	return patientJSON("p", `"telecom":[{"value":"123 412 341 234"}],"address":[{"line":[`+strings.Join(lines, ",")+`]}]`)
}

// TestCostOfRefusals: not parallel, for it measures.
func TestCostOfRefusals(t *testing.T) {
	small := patientOf(1)
	born := patientJSON("p", `"birthDate":"1970-03-01","name":[{"family":"Müller"}]`)
	issue := `{"severity":"error","code":"value","diagnostics":"Invalid phone format"`
	outcome := func(issues string) string { return `{"resourceType":"OperationOutcome","issue":[` + issues + `]}` }
	for name, tt := range map[string]struct {
		sent []byte
		body string
	}{
		"a long text, many values":     {patientOf(2000), outcome(`{"severity":"error","diagnostics":"` + strings.Repeat("Solveig17 Aune ", 4<<20/15) + `"}`)},
		"a long text without a blank":  {patientOf(2000), outcome(`{"severity":"error","diagnostics":"` + strings.Repeat("x1%41", 4<<20/5) + `"}`)},
		"a text of a long tag":         {small, outcome(`{"severity":"error","diagnostics":"` + strings.Repeat("<select a", 4<<20/9) + `"}`)},
		"many expressions":             {small, outcome(issue + `,"expression":[` + repeat(400_000, `"Patient.name"`) + `]}`)},
		"a long expression":            {small, outcome(issue + `,"expression":["` + strings.Repeat("a.", 2<<20) + `"]}`)},
		"many issues":                  {small, outcome(repeat(60_000, issue+`}`))},
		"many warnings":                {small, outcome(repeat(60_000, `{"severity":"warning","diagnostics":"x","expression":["Patient"]}`))},
		"many codings":                 {small, outcome(`{"severity":"error","details":{"coding":[` + repeat(200_000, `{"code":"x"}`) + `]}}`)},
		"a long code":                  {small, outcome(`{"severity":"error","code":"` + strings.Repeat("x", 3<<20) + `","diagnostics":"y"}`)},
		"fifty long texts, all in use": {patientOf(2000), outcome(repeat(50, `{"severity":"error","diagnostics":"`+strings.Repeat("Solveig17 %41une ", 4000)+`"}`))},
		"many fields of OpenEMR":       {small, `{"validationErrors":{` + repeat(100_000, `"phone":{"a":"b"}`) + `}}`},
		"many rules of OpenEMR":        {small, `{"validationErrors":{"phone":{` + repeat(400_000, `"a":["b"]`) + `}}}`},
		"a long message":               {patientOf(2000), `{"message":"` + strings.Repeat("Solveig ", 1<<19) + `","hint":"` + strings.Repeat("Aune ", 1<<19) + `"}`},
		"a long word, many like it":    {wordsOf(4000), outcome(repeat(50, `{"severity":"error","diagnostics":"`+strings.Repeat(`\\u0061aaaaaaaaa`, 1000)+` x"}`))},
		"words, many like them":        {wordsOf(4000), outcome(repeat(50, `{"severity":"error","diagnostics":"`+strings.Repeat("aaaaaa9", 1000)+` x"}`))},
		"single letters":               {wordsOf(4000), outcome(repeat(50, `{"severity":"error","diagnostics":"`+strings.Repeat("%41 a ", 2000)+` x"}`))},
		"single digits":                {wordsOf(4000), outcome(repeat(50, `{"severity":"error","diagnostics":"`+strings.Repeat("1 2 3 4 ", 2000)+` x"}`))},
		"parts of dates":               {born, outcome(repeat(50, `{"severity":"error","diagnostics":"`+strings.Repeat("1 of the ", 1000)+` x"}`))},
		"letters that were lost":       {born, outcome(repeat(50, `{"severity":"error","diagnostics":"`+strings.Repeat("MÃ¼ller? ", 1000)+` x"}`))},
		"too many values":              {patientOf(40_000), outcome(`{"severity":"error","diagnostics":"` + strings.Repeat("Solveig17 Aune ", 200_000) + `"}`)},
	} {
		a := answer{request: request{op: OpUpdate, id: "p", want: "Patient", body: tt.sent}, status: 422, body: []byte(tt.body),
			header: http.Header{}, maxBody: 8 << 20, now: testNow}
		costly(t, name, append([]byte("["+tt.body+","), append(tt.sent, ']')...), func() {
			var e *Error
			if !errors.As(a.failure(), &e) || len(e.Issues) == 0 || len(e.Issues) > maxIssues {
				t.Errorf("%s: %v", name, e)
			}
		})
	}
}

func TestCostOfAHistory(t *testing.T) {
	var entries []string
	for i := range 60_000 {
		entries = append(entries, fmt.Sprintf(`{"resource":{"resourceType":"Patient","id":"p","meta":{"versionId":"v%d","lastUpdated":"2026-01-01T00:00:00Z"}}}`, i))
	}
	body := []byte(`{"resourceType":"Bundle","entry":[` + strings.Join(entries, ",") + `]}`)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/fhir+json")
		_, _ = w.Write(body)
	}))
	defer server.Close()
	c := newTestClient(t, server.URL, nil)
	costly(t, "a history of 60,000 entries", body, func() {
		_, err := c.After(t.Context(), "p", `W/"v5"`)
		asError(t, err, Unusable)
	})
	var h history
	for page := range maxHistoryPages { // as long as it was asked for
		var entries []string
		for i := range historyCount {
			entries = append(entries, fmt.Sprintf(`{"resource":{"resourceType":"Patient","id":"p","meta":{"versionId":"%d"}}}`, page*historyCount+i))
		}
		if err := h.add(gjson.Parse(`{"entry":[`+strings.Join(entries, ",")+`]}`), "p"); err != nil {
			t.Fatal(err)
		}
	}
	if len(h.versions) != maxVersions || h.find("9999") != 9999 || h.find("x") != -1 {
		t.Errorf("%d versions, %d", len(h.versions), h.find("9999"))
	}
}

func TestCostOfALargePatient(t *testing.T) {
	points := repeat(5_000, `{"system":"phone","value":"x","use":"work","period":{"end":"xxxx"}}`)
	addresses := repeat(2_000, `{"use":"home","period":{"end":"2001"},"city":"C"}`)
	body := patientJSON("p", `"telecom":[`+points+`],"address":[`+addresses+`,{"line":["1"],"city":"D","text":"T"}]`)
	edit := ContactEdit{SetPhone: true, Phone: "1", SetEmail: true, Email: "a@b", SetAddress: true,
		Address: &Address{Lines: []string{"2"}, City: "C", District: "D", State: "S", PostalCode: "P", Country: "K"}}
	var sent []byte
	costly(t, "an edit", body, func() {
		var err error
		if sent, _, err = EditContact(body, edit, testNow, ""); err != nil {
			t.Error(err)
		}
	})
	costly(t, "to clear all", body, func() {
		_, _, _ = EditContact(body, ContactEdit{SetPhone: true, SetEmail: true, SetAddress: true}, testNow, "")
	})
	costly(t, "to read the contact", body, func() { contactIn(t, body) })
	var issues []Issue
	for i := range maxIssues - 1 {
		issue := Issue{Severity: "error"}
		for j := range maxExpressions - 1 {
			issue.Expression = append(issue.Expression, fmt.Sprintf("Patient.telecom[%d]", 1+i*maxExpressions+j))
		}
		issues = append(issues, issue)
	}
	costly(t, "what fields they are", body, func() { InputFields(sent, issues, testNow) })
	costly(t, "whether they were touched", body, func() {
		if Untouched(body, sent, issues, edit.Fields()) != true {
			t.Error("not untouched")
		}
	})
	costly(t, "its values", body, func() { SecretsOf(body) })
}
