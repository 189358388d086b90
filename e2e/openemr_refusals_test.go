package e2e_test

import (
	"fmt"
	"maps"
	"net/http"
	"strings"
	"testing"

	. "patientgraph/app/apptest"
	"patientgraph/db/dbtest"
	"patientgraph/fhir/fhirsim"
)

// TestOpenEMRRefusals: what each form of a refused PUT means, and that nothing of the
// patient, stored or asked for, is passed on or logged: OpenEMR's texts repeat values.
// Where it answers in its own way the simulator does, else the answer is made up.
func TestOpenEMRRefusals(t *testing.T) {
	t.Parallel()
	const (
		phone, email = "(802) 555-0199", "Paul.Neu@Praxis.example"
		texts        = phone + " / " + email + " / paul.neu@praxis.example / 8025550199 / Paul / Moreau / pmoreau@inbox.example / (802) 555-0143 / 14 Maple Row / 1970-12-12 / " + openEMRID
	)
	answer := func(status int, contentType, body string) func(*openEMR) {
		return func(s *openEMR) {
			s.FHIR.SetFault("", fhirsim.Fault{On: http.MethodPut, Status: status, ContentType: contentType, Body: body})
		}
	}
	json := func(status int, body string, values ...any) func(*openEMR) {
		return answer(status, "application/json", fmt.Sprintf(body, values...))
	}
	// atPut changes the clinic when the PUT comes.
	atPut := func(change func(s *openEMR)) func(*openEMR) {
		return func(s *openEMR) {
			before := func(r *http.Request) {
				if r.Method == http.MethodPut {
					change(s)
				}
			}
			s.before.Store(&before)
		}
	}
	rejected := Object{"__typename": "FhirRejected", "code": "FHIR_REJECTED", "retryable": false, "httpStatus": 400}
	touched := maps.Clone(rejected)
	touched["detail"] = "FHIR server rejected the update"
	untouched := maps.Clone(rejected)
	untouched["detail"] = "FHIR server rejected the update because of an element that this update does not change"
	gone := Object{"__typename": "FhirRejected", "code": "FHIR_PATIENT_GONE", "retryable": false}
	denied := Object{"__typename": "FhirUnavailable", "code": "FHIR_AUTH_FAILED", "applied": "NO"}
	forbidden := Object{"__typename": "FhirRejected", "code": "FHIR_FORBIDDEN", "retryable": false}
	unknown := Object{"__typename": "FhirUnavailable", "code": "FHIR_OUTCOME_UNKNOWN", "applied": "UNKNOWN"}
	for name, c := range map[string]struct {
		set       func(*openEMR)
		want      Object
		byVersion bool // each answers in its own way
	}{
		"a bad email":                       {json(400, `{"validationErrors":{"email":{"email":"Email %s is not a valid email (%s)"}}}`, email, texts), rejected, false},
		"a bad email, in capitals":          {json(400, `{"validationErrors":{"email":{"email":"Email %s is not a valid email"}}}`, strings.ToUpper(email)), rejected, false},
		"a bad direct email":                {json(400, `{"validationErrors":{"email_direct":{"email_direct":"Trusted Email is not a valid email: %s"}}}`, texts), rejected, false},
		"a name that nobody touched":        {json(400, `{"validationErrors":{"lname":{"LengthBetween::TOO_SHORT":"Last Name %s must be 2 characters or longer"},"fname":{"x":"%s"}}}`, "Moreau", texts), untouched, false},
		"sex and date of birth":             {json(400, `{"validationErrors":{"sex":{"NotEmpty::EMPTY_VALUE":"Gender must not be empty"},"DOB":{"DateTime::INVALID_VALUE":"Date of Birth %s must be a valid date"}}}`, "1970-12-12"), untouched, false},
		"an email and a name":               {json(400, `{"validationErrors":{"email":{"email":"Email is not a valid email"},"lname":{"x":"Last Name must be 2 characters or longer"}}}`), touched, false},
		"no resourceType":                   {json(400, `{"resourceType":"OperationOutcome","issue":[{"severity":"error","code":"invalid","details":{"text":"resourceType Not Found"}}]}`), rejected, false},
		"an unknown element":                {json(400, `{"resourceType":"OperationOutcome","issue":[{"severity":"error","code":"invalid","details":{"text":"Invalid content telecom %s Found"}}]}`, texts), rejected, false},
		"a bad request that says nothing":   {answer(400, "text/html", ""), rejected, false},
		"a bad request with a page":         {answer(400, "text/html", "<html>"+texts+"</html>"), rejected, false},
		"an unknown id":                     {json(400, `{"validationErrors":{"uuid":{"%s":"UUID %s does not exist"}}}`, openEMRID, openEMRID), gone, false},
		"deleted meanwhile":                 {atPut(func(s *openEMR) { s.FHIR.Delete(openEMRID) }), gone, true},
		"nobody, an empty list":             {json(404, `[]`), gone, false},
		"a route that is missing":           {json(404, `{"error":"An error occurred","message":"Route not found %s","code":0}`, texts), Object{"__typename": "FhirRejected", "code": "FHIR_REJECTED", "httpStatus": 404}, false},
		"a route that is missing, in HTML":  {answer(404, "text/html", texts), Object{"__typename": "FhirRejected", "code": "FHIR_REJECTED", "httpStatus": 404}, false},
		"logged out meanwhile":              {atPut(func(s *openEMR) { s.FHIR.Clinic().SetLoggedOut(true) }), denied, true},
		"another token meanwhile":           {atPut(func(s *openEMR) { s.FHIR.Clinic().SetToken("another") }), denied, true},
		"no right to write":                 {atPut(func(s *openEMR) { s.FHIR.Clinic().SetScopes("user/Patient.read") }), denied, true},
		"no rights meanwhile":               {atPut(func(s *openEMR) { s.FHIR.Clinic().SetACL(false) }), denied, true},
		"logged out, to the PUT alone":      {json(400, `{"error":"invalid _request","error_description":"Refresh Token revoked or logged out","message":"Refresh Token revoked or logged out"}`), denied, false},
		"unauthorized, without a word":      {answer(401, "text/html", ""), denied, false},
		"unauthorized":                      {json(401, `{"error":"An error occurred","message":"Unauthorized %s","code":0}`, texts), denied, false},
		"access denied":                     {json(401, `{"error":"access_denied","error_description":"denied","hint":"Access token has been revoked %s","message":"denied"}`, texts), denied, false},
		"an ACL that is about this patient": {json(403, `{"error":"An error occurred","message":"Organization policy does not have permit access resource %s","code":0}`, texts), forbidden, false},
		"the API is switched off":           {answer(501, "text/html", ""), unknown, false},
		"a crash":                           {json(500, `{"error":"An error occurred","message":"Call to a member function getUrl() on array, %s","code":0}`, texts), unknown, false},
		"a crash that says nothing":         {answer(500, "text/html", ""), unknown, false},
		"two JSON values":                   {json(500, `{"error":"An error occurred","message":"%s","code":2006}{"error":"An error occurred","message":"%s","code":2006}`, texts, texts), unknown, false},
		"a failed query with 200":           {answer(200, "text/html", "Query Error: UPDATE patient_data SET phone_cell='"+texts+"'"), unknown, false},
		"a failed query before JSON":        {json(500, `<p>Query Error: %s</p>{"error":"An error occurred","message":"%s","code":0}`, texts, texts), unknown, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			test := func(t *testing.T, version string) {
				s := startOpenEMR(t, dbtest.SQLite(t), version, nil, "FHIR_TIMEOUT=1s")
				changes := s.changesWhileThere()
				c.set(s)
				answer := s.Update(Object{"patientId": openEMRNumber, "phone": phone, "email": email})
				Want(t, answer, c.want)
				told := JSON(t, []any{answer["message"], answer["detail"], answer["issues"]}) + s.Log.String()
				for value := range strings.SplitSeq(texts, " / ") {
					if strings.Contains(strings.ToLower(told), strings.ToLower(value)) {
						t.Errorf("%s is passed on: %s", value, told)
					}
				}
				changes()
			}
			if c.byVersion {
				onEachOpenEMR(t, test)
			} else {
				test(t, "8.0.0")
			}
		})
	}
}

// changesWhileThere returns a check that no column has changed, if the patient is there.
func (s *openEMR) changesWhileThere() (check func()) {
	changes := s.changes()
	return func() {
		s.T.Helper()
		if _, there := s.FHIR.Clinic().Row(openEMRID); there {
			s.wantChanged(changes, fhirsim.Columns{})
		}
	}
}
