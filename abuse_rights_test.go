package main

import (
	"bufio"
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"patientgraph/auth"
	"patientgraph/fhir/fhirtest"
)

const otherNumber = "P-2025-000002"

// tokenOf signs these claims; without exp they are good for an hour.
func tokenOf(t testing.TB, claims object) string {
	t.Helper()
	if claims["exp"] == nil {
		claims["exp"] = time.Now().Add(time.Hour).Unix()
	}
	signed, err := jwt.NewWithClaims(jwt.SigningMethodHS256, jwt.MapClaims(claims)).SignedString([]byte(testSecret))
	if err != nil {
		t.Fatal(err)
	}
	return signed
}

const profileMutation = `mutation($input: UpdatePatientProfileInput!) { updatePatientProfile(input: $input) { __typename
  ... on UserError { code } ... on UpdatePatientProfileSuccess { patient { id fullName gender phone bloodType allergies emergencyContact { name } } } } }`

func (p *product) updateProfile(bearer string, input object) object {
	p.t.Helper()
	return p.query(bearer, profileMutation, object{"input": input})["updatePatientProfile"].(map[string]any)
}

// listed returns the ids in the viewer's list.
func (p *product) listed(bearer string) []string {
	p.t.Helper()
	ids := []string{}
	for _, node := range p.query(bearer, `{ patients { nodes { id } } }`, nil).at("patients", "nodes").([]any) {
		ids = append(ids, object(node.(map[string]any))["id"].(string))
	}
	return ids
}

func TestAbuseScopesNarrowTheRole(t *testing.T) {
	t.Parallel()
	onEachDatabase(t, func(t *testing.T, databaseURL string) {
		s := startSystem(t, databaseURL)
		const success, refused = "UpdatePatientContactSuccess", "NotPermitted"
		for _, c := range []struct {
			role                  auth.Role
			scope                 any
			reads, listed, writes string // which of "own" and "other"
		}{
			{"patient", nil, "own", "own", "own"},
			{"patient", "openid launch/patient offline_access", "own", "own", "own"},
			{"patient", "patient/Patient.write patient/Patient.read", "own", "own", "own"},
			{"patient", "launch/patient patient/Patient.r", "own", "", ""},
			{"patient", "patient/Patient.rs", "own", "own", ""},
			{"patient", "patient/Immunization.rs", "", "", ""},
			{"patient", "user/Patient.cruds", "own", "own", "own"},
			{"admin", "user/Patient.read user/Encounter.write", "own other", "own other", ""},
			{"admin", []string{"user/Patient.rs", "user/Patient.u"}, "own other", "own other", "own other"},
			{"admin", "patient/*.*", "own", "own", "own"},
			{"admin", "user/Patient.s", "", "own other", ""},
			{"admin", "user/Patient.cruds?gender=female", "", "", ""},
			{"admin", "user/Patient.READ user/Patient.WRITE", "", "", ""},
			{"admin", 7, "", "", ""},
			{"doctor", "user/Patient.cruds", "own other", "own other", ""},
			{"janitor", "system/*.*", "", "", ""},
		} {
			claims := object{"sub": "s", "role": string(c.role), "patient_id": number}
			if c.scope != nil {
				claims["scope"] = c.scope
			}
			bearer := tokenOf(t, claims)
			want(t, s.query(bearer, `{ viewer { role patientId } }`, nil), object{"viewer.role": string(c.role), "viewer.patientId": number})
			ids := strings.Join(s.listed(bearer), " ")
			for name, id := range map[string]string{"own": number, "other": otherNumber} {
				seen := s.query(bearer, `query($id: ID!) { patient(id: $id) { id } }`, object{"id": id})["patient"] != nil
				if seen != strings.Contains(c.reads, name) || strings.Contains(ids, id) != strings.Contains(c.listed, name) {
					t.Errorf("%s with %v: sees the %s record: %v; its list holds %q", c.role, c.scope, name, seen, ids)
				}
				typename := refused
				if strings.Contains(c.writes, name) {
					typename = success
				}
				answer := s.query(bearer, `mutation($id: ID!) { updatePatientContact(input: { patientId: $id, phone: "010-2222-3333" }) { __typename ... on UpdatePatientContactSuccess { operationId } } }`, object{"id": id})
				want(t, answer, object{"updatePatientContact.__typename": typename})
				if op := answer.at("updatePatientContact", "operationId"); op != nil {
					want(t, s.contactUpdate(bearer, op), object{"state": "APPLIED", "patientId": id})
				}
			}
		}
	})
}

// TestAbuseWhoMayOnlyWriteSeesNothing: the answer to a change, or to what became of
// it, is no way around a scope that does not allow to read.
func TestAbuseWhoMayOnlyWriteSeesNothing(t *testing.T) {
	t.Parallel()
	s := startSystem(t, "sqlite:"+t.TempDir()+"/cache.db")
	admin := token(t, auth.RoleAdmin, "")
	s.updateProfile(admin, object{"patientId": number, "bloodType": "A+", "allergies": []string{"latex"}, "emergencyContact": object{"name": "임꺽정"}})
	bearer := tokenOf(t, object{"sub": "kiosk", "role": "admin", "scope": "user/Patient.u"})
	const everything = `id familyName fullName birthDate birthYear gender phone email address { text city } emergencyContact { name } allergies bloodType fhirId syncState version`
	hidden := func(p any) {
		t.Helper()
		want(t, object(p.(map[string]any)), object{
			"id": number, "familyName": nil, "fullName": nil, "birthDate": nil, "birthYear": nil, "gender": "UNKNOWN", "phone": nil, "email": nil,
			"address": nil, "emergencyContact": nil, "allergies": nil, "bloodType": nil, "fhirId": nil, "syncState": "SYNCED",
		})
	}
	answer := s.query(bearer, `mutation($input: UpdatePatientContactInput!) { updatePatientContact(input: $input) { ... on UpdatePatientContactSuccess { operationId patient { `+everything+` } } } }`,
		object{"input": object{"patientId": number, "phone": "010-2222-3333"}})
	hidden(answer.at("updatePatientContact", "patient"))
	ended := s.query(bearer, `query($id: ID!) { contactUpdate(operationId: $id) { state result { ... on UpdatePatientContactSuccess { patient { `+everything+` } } } } }`,
		object{"id": answer.at("updatePatientContact", "operationId")})
	want(t, ended, object{"contactUpdate.state": "APPLIED"})
	hidden(ended.at("contactUpdate", "result", "patient"))
	for _, input := range []object{{"patientId": number, "bloodType": "B+"}, {"patientId": number, "bloodType": "B+", "expectedVersion": "1"}} {
		answer := s.query(bearer, `mutation($input: UpdatePatientProfileInput!) { updatePatientProfile(input: $input) {
			... on UpdatePatientProfileSuccess { patient { `+everything+` } } ... on UpdateConflict { current { `+everything+` } } } }`, object{"input": input})
		hidden(cmp.Or(answer.at("updatePatientProfile", "patient"), answer.at("updatePatientProfile", "current")))
	}
	conflict := s.query(bearer, `mutation($input: UpdatePatientContactInput!) { updatePatientContact(input: $input) { ... on UpdateConflict { current { `+everything+` } } } }`,
		object{"input": object{"patientId": number, "phone": "010-9", "expectedVersion": "1"}})
	hidden(conflict.at("updatePatientContact", "current"))
	want(t, s.patient(number), object{"phone": "010-2222-3333", "bloodType": "B+", "allergies": []string{"latex"}})
}

func TestAbuseWhoMayChangeWhichProfileField(t *testing.T) {
	t.Parallel()
	onEachDatabase(t, func(t *testing.T, databaseURL string) {
		s := startSystem(t, databaseURL)
		admin := token(t, auth.RoleAdmin, "")
		for _, id := range []string{number, otherNumber} {
			want(t, s.updateProfile(admin, object{"patientId": id, "bloodType": "O-", "allergies": []string{"dust"}, "emergencyContact": object{"name": "임꺽정"}}),
				object{"__typename": "UpdatePatientProfileSuccess"})
		}
		contact, allergies, blood := object{"emergencyContact": object{"name": "Amara"}}, object{"allergies": []string{"latex"}}, object{"bloodType": "AB+"}
		nulls := []object{{"emergencyContact": nil}, {"allergies": nil}, {"bloodType": nil}, {"allergies": []string{}}}
		mixed := []object{
			{"allergies": []string{"latex"}, "emergencyContact": object{"name": "Amara"}},
			{"bloodType": nil, "emergencyContact": object{"name": "Amara"}},
			{"allergies": []string{"latex"}, "emergencyContact": nil},
			{"bloodType": "wrong", "emergencyContact": object{"name": ""}}, // refused before anything is said of the input
		}
		medical := append([]object{allergies, blood}, nulls[1:]...)
		whose := append([]object{contact}, nulls[0])
		nothing := append(append(append([]object{{}}, medical...), whose...), mixed...)
		for _, c := range []struct {
			role   auth.Role
			id     string
			inputs []object
		}{
			{"patient", number, append(medical, mixed...)},
			{"patient", otherNumber, nothing},
			{"patient", "P-2025-999999", nothing},
			{"doctor", otherNumber, append(whose, mixed...)},
			{"doctor", "P-2025-999999", append(whose, mixed...)},
			{"nurse", number, append(whose, mixed...)},
			{"rib", number, nothing},
			{"lab", number, nothing},
			{"analyst", number, nothing},
			{"janitor", number, nothing},
		} {
			before, otherBefore := s.patient(number), s.patient(otherNumber)
			for _, fields := range c.inputs {
				input := object{"patientId": c.id}
				for name, value := range fields {
					input[name] = value
				}
				if got := s.updateProfile(token(t, c.role, number), input); got["code"] != "NOT_PERMITTED" {
					t.Errorf("%s, %v: %v, want NOT_PERMITTED", c.role, input, got)
				}
			}
			want(t, s.patient(number), before)
			want(t, s.patient(otherNumber), otherBefore)
		}
		own := token(t, auth.RolePatient, number)
		want(t, s.updateProfile(own, object{"patientId": number, "emergencyContact": object{"name": "Amara"}}), object{"__typename": "UpdatePatientProfileSuccess", "patient.emergencyContact.name": "Amara"})
		want(t, s.updateProfile(own, object{"patientId": number, "emergencyContact": nil}), object{"patient.emergencyContact": nil, "patient.bloodType": "O-"})
		want(t, s.updateProfile(own, object{"patientId": number}), object{"__typename": "InvalidInput"})
		for _, role := range []auth.Role{auth.RoleDoctor, auth.RoleNurse} {
			want(t, s.updateProfile(token(t, role, ""), object{"patientId": otherNumber, "allergies": []string{string(role)}, "bloodType": nil}),
				object{"__typename": "UpdatePatientProfileSuccess", "patient.allergies": []string{string(role)}, "patient.emergencyContact.name": "임꺽정"})
			want(t, s.updateProfile(token(t, role, ""), object{"patientId": "P-2025-999999", "bloodType": "A+"}), object{"__typename": "PatientNotFound"})
		}
	})
}

// An analyst sees no names, also not of the one record that a patient scope
// covers.
func TestAbusePatientScopeDoesNotLetAnAnalystFilterByName(t *testing.T) {
	t.Parallel()
	s := startSystem(t, "sqlite:"+t.TempDir()+"/cache.db")
	bearer := tokenOf(t, object{"role": "analyst", "patient_id": number, "scope": "patient/Patient.rs"})
	for _, arguments := range []string{`filter: { name: "홍" }`, `filter: { phone: "010-1111-2222" }`, `filter: { birthDate: "1990" }`, `orderBy: NAME_ASC`} {
		if _, answer := s.post(bearer, fmt.Sprintf(`{"query":%q}`, `{ patients(`+arguments+`) { totalCount } }`)); answer["errors"] == nil {
			t.Errorf("%s: %v", arguments, answer)
		}
	}
}

// stream is a subscription over SSE that is read line by line.
type stream struct {
	lines chan string // closed at its end
	leave func()
}

func (p *product) stream(bearer, operationID string) *stream {
	p.t.Helper()
	ctx, leave := context.WithCancel(context.Background())
	p.t.Cleanup(leave)
	body := fmt.Sprintf(`{"query":"subscription { contactUpdateSettled(operationId: \"%s\") { state } }"}`, operationID)
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, p.url+"/graphql", strings.NewReader(body))
	if err != nil {
		p.t.Fatal(err)
	}
	request.Header.Set("Content-Type", "application/json")
	request.Header.Set("Accept", "text/event-stream")
	request.Header.Set("Authorization", "Bearer "+bearer)
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		p.t.Fatal(err)
	}
	if media := response.Header.Get("Content-Type"); response.StatusCode != http.StatusOK || media != "text/event-stream" {
		p.t.Fatalf("no stream begins: status %d, %s", response.StatusCode, media)
	}
	s := &stream{lines: make(chan string, 100), leave: leave}
	go func() {
		defer response.Body.Close()
		defer close(s.lines)
		for lines := bufio.NewScanner(response.Body); lines.Scan(); {
			s.lines <- lines.Text()
		}
		_, _ = io.Copy(io.Discard, response.Body) // the test may have left
	}()
	return s
}

// next returns the next event's data; ended: there was none before the end.
func (s *stream) next(t testing.TB) (data object, ended bool) {
	t.Helper()
	timeout := time.After(60 * time.Second)
	for {
		select {
		case line, open := <-s.lines:
			if !open || line == "event: complete" {
				return nil, true
			}
			if text, found := strings.CutPrefix(line, "data: "); found {
				if err := json.Unmarshal([]byte(text), &data); err != nil {
					t.Fatal(err)
				}
				return data, false
			}
		case <-timeout:
			t.Fatal("the stream neither ends nor says anything")
		}
	}
}

// pendingUpdate leaves an update whose outcome nobody learns until the FHIR
// server's faults are cleared.
func (s *system) pendingUpdate(bearer string) string {
	s.t.Helper()
	s.fhir.SetFault("", fhirtest.Fault{On: http.MethodPut, Hang: true})
	answer := s.updateContact(bearer, object{"patientId": number, "phone": newPhone})
	want(s.t, answer, object{"applied": "UNKNOWN"})
	s.fhir.ClearFaults()
	s.fhir.SetFault("", fhirtest.Fault{Status: http.StatusServiceUnavailable})
	return answer["operationId"].(string)
}

func TestAbuseSubscriptionEndsWithItsToken(t *testing.T) {
	t.Parallel()
	onEachDatabase(t, func(t *testing.T, databaseURL string) {
		s := startSystem(t, databaseURL, "FHIR_TIMEOUT", "500ms")
		id := s.pendingUpdate(token(t, auth.RoleAdmin, ""))
		// Accepted for ten seconds more: clocks may differ by 30 s.
		short := s.stream(tokenOf(t, object{"sub": "admin", "role": "admin", "exp": time.Now().Add(-20 * time.Second).Unix()}), id)
		long := s.stream(token(t, auth.RoleAdmin, ""), id)
		if data, ended := short.next(t); !ended {
			t.Errorf("told %v", data)
		}
		s.fhir.ClearFaults()
		if data, ended := long.next(t); ended || data.at("data", "contactUpdateSettled", "state") == "PENDING" {
			t.Errorf("the other one heard %v, ended: %v", data, ended)
		}
	})
}

func TestAbuseSubscriptionsOfOneViewer(t *testing.T) {
	t.Parallel()
	s := startSystem(t, "sqlite:"+t.TempDir()+"/cache.db", "FHIR_TIMEOUT", "500ms")
	admin := token(t, auth.RoleAdmin, "")
	done := s.updateContact(admin, object{"patientId": number, "phone": "010-2222-3333"})["operationId"].(string)
	id := s.pendingUpdate(admin)
	var streams []*stream
	for range 50 {
		streams = append(streams, s.stream(admin, id))
	}
	// What is settled already is told at once, unless there is no room for it. A
	// stream begins before its subscription does.
	var data object
	for deadline := time.Now().Add(60 * time.Second); data["errors"] == nil; time.Sleep(20 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("the 51st heard %v", data)
		}
		data, _ = s.stream(admin, done).next(t)
	}
	refusal := object(data["errors"].([]any)[0].(map[string]any))
	want(t, refusal, object{"extensions.code": "LIMIT_EXCEEDED"})
	if message := refusal["message"].(string); !strings.Contains(message, "50") {
		t.Errorf("the refusal does not say the limit: %s", message)
	}
	another := s.stream(tokenOf(t, object{"sub": "another", "role": "admin"}), id)
	streams[0].leave()
	for deadline := time.Now().Add(60 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		data, _ := s.stream(admin, done).next(t)
		if data.at("data", "contactUpdateSettled", "state") == "APPLIED" {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("after one has left: %v", data)
		}
	}
	s.fhir.ClearFaults()
	for n, stream := range append(streams[1:], another) {
		if data, ended := stream.next(t); ended || data.at("data", "contactUpdateSettled", "state") == nil {
			t.Errorf("subscription %d heard %v, ended: %v", n, data, ended)
		}
	}
}
