package e2e_test

import (
	"net/http"
	"strings"
	"testing"

	. "patientgraph/app/apptest"
	"patientgraph/db/dbtest"
	"patientgraph/fhir/fhirsim"
)

// solveig is the patient of the chatty server.
const solveig = `{"resourceType":"Patient","id":"s1","identifier":[{"system":"` + fhirsim.DemoIdentifierSystem + `","value":"P-2025-000017"}],` +
	`"text":{"status":"generated","div":"<div><p>Allergic to peanuts; her son Håkon visits</p></div>"},` +
	`"name":[{"family":"Aune","given":["Solveig","Bo"]},{"use":"old","family":"Ångström-Müller"}],"birthDate":"1938-04-17",` +
	`"telecom":[{"system":"phone","value":"73 55 01 02","use":"home"},{"system":"email","value":"solveig.aune@example.org"}],` +
	`"address":[{"use":"home","line":["Fjordgata 8"],"city":"Trondheim","postalCode":"7010","country":"NO"}],"gender":"female"}`

// disguised are refusals that repeat the patient, and what of it nobody may see.
var disguised = []struct{ reason, secrets string }{
	{"Patient Solveig Aune (b. 1938-04-17): number 73 55 01 02 at Fjordgata 8 is not valid", "Solveig Aune 1938 04-17 73 01 Fjordgata 8"}, // D8
	{"SOLVEIG%20AUNE, 17.04.1938, 04/17/1938, 17 April 1938, 1938-04-17T00:00:00Z", "SOLVEIG AUNE 1938 17 April"},
	{"A\u030angstro\u0308m-Mu\u0308ller and Angstrom\u2011Muller and Aangstroem", "ngstr ller Muller"},
	{"&#83;olveig \\u0041une, Sol\u200bveig, Aune12, ｓｏｌｖｅｉｇ", "olveig une ｓｏｌｖ"},
	{"Mrs. Bo: ７３５５０１０２, 73.55.01.02, 73\u201055\u201101\u221202, 73%2055%2001%2002x", "Bo 55 ５５ 01"},
	{"solveig%2Eaune%40example%2Eorg lives in TRONDHEIM, NO-7010", "solveig aune example TRONDHEIM 7010"},
	{"her record says: peanuts, H\u00e5kon, Hakon", "peanuts kon"},
	{"new value 010%2D9999%2D8888 or \uff10\uff11\uff10 9999 8888 of s1, Patient/s1", "9999 8888 ９ s1"},
	{strings.Repeat("Solveig Aune ", 400), "Solveig Aune"},
	{"emergency contact Ragnhild, 4711; allergies latex", "Ragnhild 4711 latex"}, // which only we know
	{"value too long: 'Trondh, Solveigs, PATIENTSOLVEIG, S-o-l-v-e-i-g, 5501, 98888, mail to example.org", "Trondh olveig SOLVEIG o-l-v 5501 98888 example"},
	{"login with c2VjcmV0LXRva2Vu or secret%2dtoken", "c2Vj secret"},
}

// TestAbuseReasonsHoldNothingOfThePatient: a server that repeats a patient in its
// refusals gets none of it to the caller, the log or the metrics.
func TestAbuseReasonsHoldNothingOfThePatient(t *testing.T) {
	t.Parallel()
	OnEachDatabase(t, func(t *testing.T, databaseURL string) {
		s := StartSystem(t, databaseURL, "LOG_LEVEL=debug", "FHIR_AUTH=bearer", "FHIR_TOKEN=secret-token")
		if err := s.FHIR.Put([]byte(solveig)); err != nil {
			t.Fatal(err)
		}
		MustImport(t, databaseURL, solveig)
		const profile = `mutation { updatePatientProfile(input: {patientId: "P-2025-000017", emergencyContact: {name: "Ragnhild", relationship: "aunt", phone: "4711"}, allergies: ["latex"]}) { __typename } }`
		Want(t, s.Query(profile, nil), Object{"updatePatientProfile.__typename": "UpdatePatientProfileSuccess"})
		for _, d := range disguised {
			body := JSON(t, Object{"resourceType": "OperationOutcome", "issue": []Object{
				{"severity": "error", "code": "value", "diagnostics": d.reason, "expression": []string{"Patient.telecom.where(value='" + d.reason + "')", "Patient.telecom[0].value"}},
				{"severity": "Solveig", "code": d.reason, "details": Object{"text": d.reason}},
			}})
			s.FHIR.SetFault("", fhirsim.Fault{On: http.MethodPut, Times: 1, Status: http.StatusUnprocessableEntity, ContentType: "application/fhir+json", Body: body})
			input := Object{"patientId": "P-2025-000017", "phone": "010-9999-8888"}
			answer := s.Update(input)
			Want(t, answer, Object{"__typename": "FhirRejected"})
			delete(answer, "operationId") // digits of our own
			delete(answer, "patient")     // what the caller may see of the record
			text := JSON(t, answer)
			shown := strings.ReplaceAll(text, "__typename", "")
			for secret := range strings.FieldsSeq(d.secrets) {
				if strings.Contains(shown, secret) {
					t.Errorf("%q: the answer holds %q: %s", d.reason, secret, text)
				}
			}
			if issue := answer["issues"].([]any)[1].(map[string]any); issue["severity"] != "unknown" || issue["code"] != "unknown" {
				t.Errorf("severity and code that FHIR does not know: %v", issue)
			}
		}
		_, metrics := s.Get("/metrics")
		everywhere := strings.ToLower(s.Log.String() + metrics)
		// The year stands with what is beside it: alone, a time, a port or a count may hold its digits.
		for _, secret := range append(strings.Fields("solveig aune 1938-04 04.1938 /1938 fjordgata trondheim ngstr müller peanuts håkon 73%20 55%2001 example.org c2vj secret-token ragnhild latex 9999-8888 9999%208888"), "april 1938") {
			if strings.Contains(everywhere, secret) {
				t.Errorf("the log or the metrics hold %q", secret)
			}
		}
	})
}

// TestAbuseOrdinaryReasonsReachTheCaller: what holds nothing of the patient is passed
// on as the server said it.
func TestAbuseOrdinaryReasonsReachTheCaller(t *testing.T) {
	t.Parallel()
	s := StartSystem(t, dbtest.SQLite(t))
	for _, reason := range []string{
		"Invalid phone format",
		"HAPI-0450: Failed to parse request body as JSON resource",
		"Patient.telecom[0].value: must match the pattern of phone-1",
		"Error 0f8fad5b-d9cb-469f-a165-70867728950e in version 8.8.0",
	} {
		s.FHIR.SetFault("", fhirsim.Fault{On: http.MethodPut, Times: 1, Status: http.StatusUnprocessableEntity, ContentType: "application/fhir+json",
			Body: `{"resourceType":"OperationOutcome","issue":[{"severity":"error","code":"business-rule","diagnostics":"` + reason + `"}]}`})
		answer := s.Update(Object{"patientId": Number, "phone": "010-9999-8888"})
		Want(t, answer, Object{"__typename": "FhirRejected", "message": reason})
		Want(t, answer["issues"].([]any)[0].(map[string]any), Object{"severity": "error", "code": "business-rule"})
	}
}

// TestAbuseAHugeCodeGoesNowhere: a code of 3 MB is not passed on, nor kept.
func TestAbuseAHugeCodeGoesNowhere(t *testing.T) {
	t.Parallel()
	s := StartSystem(t, dbtest.SQLite(t))
	s.FHIR.SetFault("", fhirsim.Fault{On: http.MethodPut, Times: 1, Status: http.StatusUnprocessableEntity, ContentType: "application/fhir+json",
		Body: `{"resourceType":"OperationOutcome","issue":[{"severity":"error","code":"` + strings.Repeat("x", 3<<20) + `","diagnostics":"Invalid phone format"}]}`})
	answer := s.Update(Object{"patientId": Number, "phone": "010-9999-8888"})
	Want(t, answer, Object{"__typename": "FhirRejected", "message": "Invalid phone format"})
	Want(t, answer["issues"].([]any)[0].(map[string]any), Object{"severity": "error", "code": "unknown"})
}
