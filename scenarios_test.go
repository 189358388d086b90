package main

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"patientgraph/auth"
	"patientgraph/fhir/fhirtest"
)

const number = "P-2025-000001"

// system is the product in front of a FHIR server, with one patient in both.
type system struct {
	*product
	fhir *fhirtest.Server
}

// startFHIR starts a FHIR server with one patient, a1.
func startFHIR(t testing.TB, options fhirtest.Options) (server *fhirtest.Server, base string) {
	t.Helper()
	server = fhirtest.New(options)
	if err := server.Put([]byte(testPatient("a1", number))); err != nil {
		t.Fatal(err)
	}
	base, stop, err := server.Start()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(stop)
	return server, base
}

// startSystem starts a FHIR server with one patient, imports it and starts
// the product.
func startSystem(t *testing.T, databaseURL string, settings ...string) *system {
	t.Helper()
	server, base := startFHIR(t, fhirtest.Options{})
	stored, _, _ := server.Get("a1")
	if out, err := importInto(t, databaseURL, string(stored)+"\n"+strings.Replace(testPatient("", "P-2025-000002"), `"id":"",`, "", 1)); err != nil {
		t.Fatalf("import: %v\n%s", err, out)
	}
	return &system{product: startWith(t, base, databaseURL, settings...), fhir: server}
}

// stored returns what the FHIR server has.
func (s *system) stored() string {
	resource, _, ok := s.fhir.Get("a1")
	if !ok {
		s.t.Fatal("the FHIR server has no patient a1")
	}
	return string(resource)
}

// untouched returns a check that neither the contact in the cache nor the
// FHIR server changed since.
func (s *system) untouched() func() {
	cached, stored := s.patient(number), s.stored()
	return func() {
		s.t.Helper()
		now := s.patient(number)
		want(s.t, now, object{
			"phone": cached["phone"], "email": cached["email"], "address": cached["address"], "lastSyncedAt": cached["lastSyncedAt"],
		})
		if s.stored() != stored {
			s.t.Errorf("the FHIR server changed to %s", s.stored())
		}
	}
}

func TestSuccessWithSync(t *testing.T) {
	t.Parallel()
	onEachDatabase(t, func(t *testing.T, databaseURL string) {
		s := startSystem(t, databaseURL)
		before, stored := s.patient(number), s.stored()
		answer := s.updateContact(token(t, auth.RoleAdmin, ""), object{"patientId": number, "phone": "010-9876-5432"})
		want(t, answer, object{
			"__typename": "UpdatePatientContactSuccess", "patient.phone": "010-9876-5432",
			"patient.email": "old@example.org", "patient.syncState": "SYNCED",
		})
		now := s.patient(number)
		want(t, now, object{"phone": "010-9876-5432", "email": "old@example.org", "birthDate": "1990-05", "syncState": "SYNCED"})
		if now["version"] == before["version"] || now["lastSyncedAt"] == before["lastSyncedAt"] {
			t.Errorf("version or lastSyncedAt did not change: %v", now)
		}
		want := strings.Replace(stored, "010-1111-2222", "010-9876-5432", 1)
		if got := withoutMeta(t, s.stored()); got != withoutMeta(t, want) {
			t.Errorf("the FHIR server has\n%s\nwant\n%s", got, withoutMeta(t, want))
		}
		s.wantLog("FHIR update success for patient " + number)
	})
}

func TestEachContactFieldSetAndCleared(t *testing.T) {
	t.Parallel()
	onEachDatabase(t, func(t *testing.T, databaseURL string) {
		s := startSystem(t, databaseURL)
		admin := token(t, auth.RoleAdmin, "")
		for _, c := range []struct {
			input, cached object
			onFHIR        []string
		}{
			{object{"email": "new@example.org"}, object{"email": "new@example.org", "phone": "010-1111-2222"}, []string{`"value":"new@example.org"`}},
			{object{"address": object{"lines": []string{"서울로 1", "2층"}, "city": "서울"}}, object{"address.lines": []string{"서울로 1", "2층"}, "address.city": "서울", "address.postalCode": nil}, []string{"서울로 1"}},
			{object{"address": object{"text": "서울시 어딘가 😀"}}, object{"address.text": "서울시 어딘가 😀", "address.city": nil}, []string{"서울시 어딘가 😀"}},
			{object{"phone": nil}, object{"phone": nil, "email": "new@example.org"}, []string{`"02-111-2222"`}},
			{object{"address": nil, "email": nil}, object{"address": nil, "email": nil}, []string{`"02-111-2222"`}},
			{object{"phone": "+82 10 0000 0000"}, object{"phone": "+82 10 0000 0000"}, []string{"+82 10 0000 0000"}},
		} {
			c.input["patientId"] = number
			want(t, s.updateContact(admin, c.input), object{"__typename": "UpdatePatientContactSuccess"})
			want(t, s.patient(number), c.cached)
			for _, text := range c.onFHIR {
				if !strings.Contains(s.stored(), text) {
					t.Errorf("after %v the FHIR server lacks %s: %s", c.input, text, s.stored())
				}
			}
		}
	})
}

func TestRejection(t *testing.T) {
	t.Parallel()
	onEachDatabase(t, func(t *testing.T, databaseURL string) {
		s := startSystem(t, databaseURL)
		check := s.untouched()
		answer := s.updateContact(token(t, auth.RoleAdmin, ""), object{"patientId": number, "phone": "invalid-phone"})
		want(t, answer, object{
			"__typename": "FhirRejected", "message": "Invalid phone format", "code": "FHIR_REJECTED", "retryable": false,
			"detail": "FHIR server rejected the update", "httpStatus": 422,
		})
		issue := answer["issues"].([]any)[0].(map[string]any)
		want(t, issue, object{"severity": "error", "field": []string{"phone"}})
		check()
		s.wantLog("FHIR validation failed for patient " + number + ": Invalid phone format")
		if strings.Contains(s.log.String(), "invalid-phone") {
			t.Error("the log holds the submitted value")
		}
	})
}

func TestOutage(t *testing.T) {
	t.Parallel()
	onEachDatabase(t, func(t *testing.T, databaseURL string) {
		s := startSystem(t, databaseURL)
		check := s.untouched()
		s.fhir.SetFault("", fhirtest.Fault{Status: http.StatusServiceUnavailable, Header: http.Header{"Retry-After": {"7"}}})
		answer := s.updateContact(token(t, auth.RoleAdmin, ""), object{"patientId": number, "phone": "010-9876-5432"})
		want(t, answer, object{
			"__typename": "FhirUnavailable", "message": "FHIR server communication failed", "code": "FHIR_UNAVAILABLE",
			"applied": "NO", "retryable": true, "retryAfterSeconds": 7,
		})
		check()
		want(t, s.patient(number), object{"syncState": "SYNCED"})
		s.wantLog("FHIR server error for patient " + number + ": ")
	})
}

func TestUnreachable(t *testing.T) {
	t.Parallel()
	onEachDatabase(t, func(t *testing.T, databaseURL string) {
		if out, err := importInto(t, databaseURL, testPatient("a1", number)); err != nil {
			t.Fatalf("import: %v\n%s", err, out)
		}
		p := startWith(t, "http://127.0.0.1:1/fhir", databaseURL)
		before := p.patient(number)
		answer := p.updateContact(token(t, auth.RoleAdmin, ""), object{"patientId": number, "email": "x@example.org"})
		want(t, answer, object{"__typename": "FhirUnavailable", "code": "FHIR_UNAVAILABLE", "applied": "NO", "detail": "Connection refused"})
		want(t, p.patient(number), before)
	})
}

func TestTimeout(t *testing.T) {
	t.Parallel()
	onEachDatabase(t, func(t *testing.T, databaseURL string) {
		s := startSystem(t, databaseURL, "FHIR_TIMEOUT", "500ms")
		check := s.untouched()
		admin := token(t, auth.RoleAdmin, "")
		input := object{"patientId": number, "phone": "010-9876-5432"}

		s.fhir.SetFault("", fhirtest.Fault{On: http.MethodGet, Hang: true})
		want(t, s.updateContact(admin, input), object{
			"__typename": "FhirUnavailable", "code": "FHIR_TIMEOUT", "applied": "NO", "detail": "Connection timeout",
		})
		check()
		want(t, s.patient(number), object{"syncState": "SYNCED"})

		s.fhir.ClearFaults()
		s.fhir.SetFault("", fhirtest.Fault{On: http.MethodPut, Hang: true})
		want(t, s.updateContact(admin, input), object{
			"__typename": "FhirUnavailable", "code": "FHIR_OUTCOME_UNKNOWN", "applied": "UNKNOWN", "detail": "Connection timeout",
		})
		check()
		want(t, s.patient(number), object{"syncState": "PENDING"})
		s.wantLog("FHIR server error for patient " + number + ": Connection timeout")

		s.fhir.ClearFaults()
		want(t, s.updateContact(admin, input), object{"__typename": "UpdatePatientContactSuccess"})
		want(t, s.patient(number), object{"syncState": "SYNCED", "phone": "010-9876-5432"})
	})
}

func TestAnswerLostAfterTheWriteIsReadBack(t *testing.T) {
	t.Parallel()
	for name, fault := range map[string]fhirtest.Fault{
		"connection closed": {On: http.MethodPut, Apply: true, Close: true},
		"truncated":         {On: http.MethodPut, Truncate: true},
		"bad gateway":       {On: http.MethodPut, Apply: true, Status: http.StatusBadGateway, Body: "<html>Bad Gateway</html>", ContentType: "text/html"},
		"html with 200":     {On: http.MethodPut, Apply: true, Status: http.StatusOK, Body: "<html>saved</html>", ContentType: "text/html"},
		"empty 200":         {On: http.MethodPut, Apply: true, Status: http.StatusOK},
		"duplicate keys":    {On: http.MethodPut, Apply: true, Status: http.StatusOK, Body: `{"resourceType":"Patient","id":"a1","id":"a1"}`, ContentType: "application/fhir+json"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			onEachDatabase(t, func(t *testing.T, databaseURL string) {
				s := startSystem(t, databaseURL)
				s.fhir.SetFault("", fault)
				answer := s.updateContact(token(t, auth.RoleAdmin, ""), object{"patientId": number, "phone": "010-9876-5432"})
				want(t, answer, object{"__typename": "UpdatePatientContactSuccess", "patient.phone": "010-9876-5432"})
				want(t, s.patient(number), object{"phone": "010-9876-5432", "syncState": "SYNCED"})
				if puts := s.puts(); puts != 1 {
					t.Errorf("%d PUTs were sent, want 1", puts)
				}
			})
		})
	}
}

func (s *system) puts() int {
	n := 0
	for _, r := range s.fhir.Requests() {
		if r.Method == http.MethodPut {
			n++
		}
	}
	return n
}

func TestAcceptedButNotSaved(t *testing.T) {
	t.Parallel()
	onEachDatabase(t, func(t *testing.T, databaseURL string) {
		s := startSystem(t, databaseURL)
		s.fhir.SetFault("", fhirtest.Fault{On: http.MethodPut, Drop: []string{"address"}})
		answer := s.updateContact(token(t, auth.RoleAdmin, ""), object{
			"patientId": number, "phone": "010-9876-5432", "address": object{"city": "Busan"},
		})
		want(t, answer, object{"__typename": "FhirRejected", "code": "FHIR_NOT_APPLIED"})
		if issues := answer["issues"].([]any); len(issues) != 1 || object(issues[0].(map[string]any)).at("field").([]any)[0] != "address" {
			t.Errorf("issues are %v, want one about the address", issues)
		}
		want(t, s.patient(number), object{"phone": "010-9876-5432"}) // what was saved is the truth
	})
}

func TestPatientWithoutFHIRID(t *testing.T) {
	t.Parallel()
	onEachDatabase(t, func(t *testing.T, databaseURL string) {
		s := startSystem(t, databaseURL)
		requests := len(s.fhir.Requests())
		answer := s.updateContact(token(t, auth.RolePatient, "P-2025-000002"), object{
			"patientId": "P-2025-000002", "phone": "010-3333-4444", "address": object{"text": "부산"},
		})
		want(t, answer, object{"__typename": "UpdatePatientContactSuccess", "patient.phone": "010-3333-4444", "patient.syncState": "LOCAL_ONLY", "patient.lastSyncedAt": nil})
		want(t, s.patient("P-2025-000002"), object{"phone": "010-3333-4444", "isSynced": false, "fhirId": nil, "address.text": "부산", "email": "old@example.org"})
		s.updateContact(token(t, auth.RoleAdmin, ""), object{"patientId": "P-2025-000002", "address": object{"city": "대구"}})
		if text, _ := s.patient("P-2025-000002").at("address", "text").(string); !strings.Contains(text, "대구") {
			t.Errorf("the text does not follow the parts: %q", text)
		}
		if now := len(s.fhir.Requests()); now != requests {
			t.Errorf("the FHIR server was asked %d times", now-requests)
		}
		s.wantLog("patient P-2025-000002 has no FHIR id: contact changed in the cache only")
	})
}

func TestReadOnlyFields(t *testing.T) {
	t.Parallel()
	onEachDatabase(t, func(t *testing.T, databaseURL string) {
		s := startSystem(t, databaseURL)
		check, before := s.untouched(), s.patient(number)
		for _, field := range []string{`birthDate: "2000-01-01"`, `familyName: "X"`, `gender: FEMALE`, `fhirId: "other"`, `id: "X"`, `syncState: SYNCED`, `bloodType: "A+"`} {
			body := `{"query":"mutation { updatePatientContact(input: {patientId: \"` + number + `\", phone: \"010\", ` + strings.ReplaceAll(field, `"`, `\"`) + `}) { __typename } }"}`
			_, answer := s.post(token(t, auth.RoleAdmin, ""), body)
			if code := errorCode(answer); code != "GRAPHQL_VALIDATION_FAILED" || answer["data"] != nil {
				t.Errorf("%s: code %q, data %v", field, code, answer["data"])
			}
		}
		check()
		want(t, s.patient(number), before)
	})
}

func TestProfileIsLocalOnly(t *testing.T) {
	t.Parallel()
	onEachDatabase(t, func(t *testing.T, databaseURL string) {
		s := startSystem(t, databaseURL)
		check := s.untouched()
		admin := token(t, auth.RoleAdmin, "")
		update := `mutation($input: UpdatePatientProfileInput!) { updatePatientProfile(input: $input) { __typename
			... on UpdatePatientProfileSuccess { patient { bloodType allergies emergencyContact { name relationship phone } } }
			... on InvalidInput { fieldErrors { field rule } } ... on UpdateConflict { conflictingFields } } }`
		run := func(input object) object {
			return s.query(admin, update, object{"input": input})["updatePatientProfile"].(map[string]any)
		}
		first := s.patient(number)["version"]
		want(t, run(object{"patientId": number, "bloodType": "AB-", "allergies": []string{"땅콩", "Penicillin"}, "emergencyContact": object{"name": "홍판서", "phone": "010"}}), object{
			"__typename": "UpdatePatientProfileSuccess", "patient.bloodType": "AB-", "patient.allergies": []string{"땅콩", "Penicillin"}, "patient.emergencyContact.name": "홍판서",
		})
		want(t, run(object{"patientId": number, "bloodType": nil}), object{"patient.bloodType": nil, "patient.allergies": []string{"땅콩", "Penicillin"}})
		want(t, run(object{"patientId": number, "bloodType": "Z"}), object{"__typename": "InvalidInput"})
		want(t, run(object{"patientId": number, "bloodType": "A+", "expectedVersion": first}), object{"__typename": "UpdateConflict", "conflictingFields": []string{"bloodType"}})
		want(t, run(object{"patientId": "P-0", "bloodType": "A+"}), object{"__typename": "PatientNotFound"})
		check()
	})
}

func TestAnotherPatientsRecord(t *testing.T) {
	t.Parallel()
	onEachDatabase(t, func(t *testing.T, databaseURL string) {
		s := startSystem(t, databaseURL)
		check, requests := s.untouched(), len(s.fhir.Requests())
		other := token(t, auth.RolePatient, "P-2025-000002")
		for _, id := range []string{number, "P-2025-999999"} { // whether or not it exists
			want(t, s.updateContact(other, object{"patientId": id, "phone": "010-0000-0000"}), object{"__typename": "NotPermitted", "code": "NOT_PERMITTED"})
			want(t, s.query(other, patientQuery, object{"id": id}), object{"patient": nil})
		}
		for _, role := range []auth.Role{auth.RoleDoctor, auth.RoleNurse, auth.RoleRib, auth.RoleLab, auth.RoleAnalyst, "stranger"} {
			want(t, s.updateContact(token(t, role, ""), object{"patientId": number, "phone": "010-0000-0000"}), object{"__typename": "NotPermitted"})
		}
		if now := len(s.fhir.Requests()); now != requests {
			t.Errorf("the FHIR server was asked %d times", now-requests)
		}
		check()
		own := s.updateContact(token(t, auth.RolePatient, number), object{"patientId": number, "phone": "010-0000-0000"})
		want(t, own, object{"__typename": "UpdatePatientContactSuccess"})
	})
}

func TestUnknownPatient(t *testing.T) {
	t.Parallel()
	onEachDatabase(t, func(t *testing.T, databaseURL string) {
		s := startSystem(t, databaseURL)
		want(t, s.updateContact(token(t, auth.RoleAdmin, ""), object{"patientId": "P-1", "phone": "010"}), object{"__typename": "PatientNotFound", "code": "PATIENT_NOT_FOUND"})
		s.fhir.Delete("a1")
		want(t, s.updateContact(token(t, auth.RoleAdmin, ""), object{"patientId": number, "phone": "010-2"}), object{"__typename": "FhirRejected", "code": "FHIR_PATIENT_GONE"})
		if _, _, ok := s.fhir.Get("a1"); ok {
			t.Error("the patient lives again on the FHIR server")
		}
		want(t, s.patient(number), object{"phone": "010-1111-2222"})
	})
}

func TestAMereReadDoesNotSettleALostWrite(t *testing.T) {
	t.Parallel()
	onEachDatabase(t, func(t *testing.T, databaseURL string) {
		s := startSystem(t, databaseURL, "FHIR_TIMEOUT", "500ms")
		admin := token(t, auth.RoleAdmin, "")
		s.fhir.SetFault("", fhirtest.Fault{On: http.MethodPut, Hang: true})
		want(t, s.updateContact(admin, object{"patientId": number, "phone": "010-9876-5432"}), object{"applied": "UNKNOWN"})
		s.fhir.ClearFaults()
		// FHIR still shows the old value: no PUT is needed, but the lost one may
		// land, and nothing would keep it from that.
		want(t, s.updateContact(admin, object{"patientId": number, "phone": "010-1111-2222"}), object{"__typename": "FhirUnavailable", "applied": "NO"})
		want(t, s.patient(number), object{"phone": "010-1111-2222", "syncState": "PENDING"})
		want(t, s.updateContact(admin, object{"patientId": number, "email": "x@example.org"}), object{"__typename": "UpdatePatientContactSuccess", "patient.syncState": "SYNCED"})
	})
}

func TestCreatedIsNeverSuccess(t *testing.T) {
	t.Parallel()
	for name, fault := range map[string]fhirtest.Fault{
		"created":               {On: http.MethodPut, Apply: true, Status: http.StatusCreated, Body: testPatient("a1", number), ContentType: "application/fhir+json"},
		"created, without body": {On: http.MethodPut, Apply: true, Status: http.StatusCreated},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := startSystem(t, "sqlite:"+t.TempDir()+"/cache.db")
			s.fhir.SetFault("", fault)
			want(t, s.updateContact(token(t, auth.RoleAdmin, ""), object{"patientId": number, "phone": "010-9876-5432"}), object{"__typename": "FhirRejected", "code": "FHIR_PATIENT_GONE"})
			s.wantLog("ALARM")
		})
	}
}

func TestConflict(t *testing.T) {
	t.Parallel()
	onEachDatabase(t, func(t *testing.T, databaseURL string) {
		s := startSystem(t, databaseURL)
		admin := token(t, auth.RoleAdmin, "")
		seen := s.patient(number)["version"]
		elsewhere := strings.Replace(testPatient("a1", number), "010-1111-2222", "010-5555-5555", 1)
		if err := s.fhir.Put([]byte(elsewhere)); err != nil {
			t.Fatal(err)
		}
		answer := s.updateContact(admin, object{"patientId": number, "phone": "010-9876-5432", "expectedVersion": seen})
		want(t, answer, object{"__typename": "UpdateConflict", "code": "UPDATE_CONFLICT", "retryable": true, "conflictingFields": []string{"phone"}, "current.phone": "010-5555-5555"})
		want(t, s.patient(number), object{"phone": "010-5555-5555"}) // the cache follows the truth
		again := s.updateContact(admin, object{"patientId": number, "phone": "010-9876-5432", "expectedVersion": answer.at("current", "version")})
		want(t, again, object{"__typename": "UpdatePatientContactSuccess"})

		s.fhir.SetFault("", fhirtest.Fault{Compete: true})
		want(t, s.updateContact(admin, object{"patientId": number, "phone": "010-1"}), object{"__typename": "UpdateConflict"})
	})
}

func TestRefusedCredentials(t *testing.T) {
	t.Parallel()
	onEachDatabase(t, func(t *testing.T, databaseURL string) {
		s := startSystem(t, databaseURL)
		check := s.untouched()
		s.fhir.SetFault("", fhirtest.Fault{Status: http.StatusUnauthorized})
		answer := s.updateContact(token(t, auth.RoleAdmin, ""), object{"patientId": number, "phone": "010-9876-5432"})
		want(t, answer, object{"__typename": "FhirUnavailable", "code": "FHIR_AUTH_FAILED", "applied": "NO", "retryable": false, "retryAfterSeconds": nil})
		check()
		s.wantLog("our credentials were refused")
	})
}

func TestDisconnectDoesNotCancelAPut(t *testing.T) {
	t.Parallel()
	onEachDatabase(t, func(t *testing.T, databaseURL string) {
		s := startSystem(t, databaseURL)
		s.fhir.SetFault("", fhirtest.Fault{On: http.MethodPut, Delay: 400 * time.Millisecond})
		request, err := http.NewRequest(http.MethodPost, s.url+"/graphql", strings.NewReader(
			`{"query":"mutation { updatePatientContact(input: {patientId: \"`+number+`\", phone: \"010-9876-5432\"}) { __typename } }"}`))
		if err != nil {
			t.Fatal(err)
		}
		request.Header.Set("Content-Type", "application/json")
		request.Header.Set("Authorization", "Bearer "+token(t, auth.RoleAdmin, ""))
		impatient := &http.Client{Timeout: 200 * time.Millisecond}
		if response, err := impatient.Do(request); err == nil {
			response.Body.Close()
			t.Fatal("the answer came before the client went away")
		}
		for deadline := time.Now().Add(5 * time.Second); s.patient(number)["phone"] != "010-9876-5432"; time.Sleep(20 * time.Millisecond) {
			if time.Now().After(deadline) {
				t.Fatal("the change never reached the cache")
			}
		}
	})
}

func TestShutdownLetsWritesFinish(t *testing.T) {
	t.Parallel()
	onEachDatabase(t, func(t *testing.T, databaseURL string) {
		s := startSystem(t, databaseURL)
		s.fhir.SetFault("", fhirtest.Fault{On: http.MethodPut, Delay: 500 * time.Millisecond})
		answered := make(chan object, 1)
		go func() {
			answered <- s.updateContact(token(t, auth.RoleAdmin, ""), object{"patientId": number, "phone": "010-9876-5432"})
		}()
		for deadline := time.Now().Add(10 * time.Second); s.puts() == 0; time.Sleep(5 * time.Millisecond) {
			if time.Now().After(deadline) {
				t.Fatalf("no PUT arrived; the log:\n%s", s.log)
			}
		}
		if err := s.stop(); err != nil {
			t.Fatal(err)
		}
		want(t, <-answered, object{"__typename": "UpdatePatientContactSuccess"})
	})
}
