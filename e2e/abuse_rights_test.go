package e2e_test

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	. "patientgraph/app/apptest"
	"patientgraph/auth"
	"patientgraph/db/dbtest"
	"patientgraph/fhir/fhirsim"
	"patientgraph/internal/wait"
)

const profileMutation = `mutation($input: UpdatePatientProfileInput!) { updatePatientProfile(input: $input) { __typename
  ... on UserError { code } ... on UpdatePatientProfileSuccess { patient { id fullName gender phone bloodType allergies emergencyContact { name } } } } }`

func updateProfile(c *Client, input Object) Object {
	c.T.Helper()
	return c.Query(profileMutation, Object{"input": input})["updatePatientProfile"].(map[string]any)
}

// listed returns the ids in the viewer's list.
func listed(c *Client) []string {
	c.T.Helper()
	return listedIn(c.Query(`{ patients { nodes { id } } }`, nil))
}

// listedIn returns the ids of an answer's list.
func listedIn(data Object) []string {
	ids := []string{}
	for _, node := range data.At("patients", "nodes").([]any) {
		ids = append(ids, node.(map[string]any)["id"].(string))
	}
	return ids
}

func TestAbuseScopesNarrowTheRole(t *testing.T) {
	t.Parallel()
	OnEachDatabase(t, func(t *testing.T, databaseURL string) {
		s := StartSystem(t, databaseURL)
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
			claims := Object{"sub": "s", "role": string(c.role), "patient_id": Number}
			if c.scope != nil {
				claims["scope"] = c.scope
			}
			bearer := TokenOf(t, claims)
			Want(t, s.As(bearer).Query(`{ viewer { role patientId } }`, nil), Object{"viewer.role": string(c.role), "viewer.patientId": Number})
			ids := strings.Join(listed(s.As(bearer)), " ")
			for name, id := range map[string]string{"own": Number, "other": LocalNumber} {
				seen := s.As(bearer).Query(`query($id: ID!) { patient(id: $id) { id } }`, Object{"id": id})["patient"] != nil
				if seen != strings.Contains(c.reads, name) || strings.Contains(ids, id) != strings.Contains(c.listed, name) {
					t.Errorf("%s with %v: sees the %s record: %v; its list holds %q", c.role, c.scope, name, seen, ids)
				}
				typename := refused
				if strings.Contains(c.writes, name) {
					typename = success
				}
				answer := s.As(bearer).Query(`mutation($id: ID!) { updatePatientContact(input: { patientId: $id, phone: "010-2222-3333" }) { __typename ... on UpdatePatientContactSuccess { operationId } } }`, Object{"id": id})
				Want(t, answer, Object{"updatePatientContact.__typename": typename})
				if op := answer.At("updatePatientContact", "operationId"); op != nil {
					Want(t, s.As(bearer).ContactUpdate(op), Object{"state": "APPLIED", "patientId": id})
				}
			}
		}
	})
}

func TestAbuseWhoMayChangeWhichProfileField(t *testing.T) {
	t.Parallel()
	OnEachDatabase(t, func(t *testing.T, databaseURL string) {
		s := StartSystem(t, databaseURL)
		for _, id := range []string{Number, LocalNumber} {
			Want(t, updateProfile(s.Client, Object{"patientId": id, "bloodType": "O-", "allergies": []string{"dust"}, "emergencyContact": Object{"name": "임꺽정"}}),
				Object{"__typename": "UpdatePatientProfileSuccess"})
		}
		contact, allergies, blood := Object{"emergencyContact": Object{"name": "Amara"}}, Object{"allergies": []string{"latex"}}, Object{"bloodType": "AB+"}
		nulls := []Object{{"emergencyContact": nil}, {"allergies": nil}, {"bloodType": nil}, {"allergies": []string{}}}
		mixed := []Object{
			{"allergies": []string{"latex"}, "emergencyContact": Object{"name": "Amara"}},
			{"bloodType": nil, "emergencyContact": Object{"name": "Amara"}},
			{"allergies": []string{"latex"}, "emergencyContact": nil},
			{"bloodType": "wrong", "emergencyContact": Object{"name": ""}}, // refused before anything is said of the input
		}
		medical := append([]Object{allergies, blood}, nulls[1:]...)
		whose := append([]Object{contact}, nulls[0])
		nothing := append(append(append([]Object{{}}, medical...), whose...), mixed...)
		for _, c := range []struct {
			role   auth.Role
			id     string
			inputs []Object
		}{
			{"patient", Number, append(medical, mixed...)},
			{"patient", LocalNumber, nothing},
			{"patient", "P-2025-999999", nothing},
			{"doctor", LocalNumber, append(whose, mixed...)},
			{"doctor", "P-2025-999999", append(whose, mixed...)},
			{"nurse", Number, append(whose, mixed...)},
			{"rib", Number, nothing},
			{"lab", Number, nothing},
			{"analyst", Number, nothing},
			{"janitor", Number, nothing},
		} {
			before, otherBefore := s.Patient(Number), s.Patient(LocalNumber)
			for _, fields := range c.inputs {
				input := Object{"patientId": c.id}
				for name, value := range fields {
					input[name] = value
				}
				if got := updateProfile(s.As(Token(t, c.role, Number)), input); got["code"] != "NOT_PERMITTED" {
					t.Errorf("%s, %v: %v, want NOT_PERMITTED", c.role, input, got)
				}
			}
			Want(t, s.Patient(Number), before)
			Want(t, s.Patient(LocalNumber), otherBefore)
		}
		own := Token(t, auth.RolePatient, Number)
		Want(t, updateProfile(s.As(own), Object{"patientId": Number, "emergencyContact": Object{"name": "Amara"}}), Object{"__typename": "UpdatePatientProfileSuccess", "patient.emergencyContact.name": "Amara"})
		Want(t, updateProfile(s.As(own), Object{"patientId": Number, "emergencyContact": nil}), Object{"patient.emergencyContact": nil, "patient.bloodType": "O-"})
		Want(t, updateProfile(s.As(own), Object{"patientId": Number}), Object{"__typename": "InvalidInput"})
		for _, role := range []auth.Role{auth.RoleDoctor, auth.RoleNurse} {
			Want(t, updateProfile(s.As(Token(t, role, "")), Object{"patientId": LocalNumber, "allergies": []string{string(role)}, "bloodType": nil}),
				Object{"__typename": "UpdatePatientProfileSuccess", "patient.allergies": []string{string(role)}, "patient.emergencyContact.name": "임꺽정"})
			Want(t, updateProfile(s.As(Token(t, role, "")), Object{"patientId": "P-2025-999999", "bloodType": "A+"}), Object{"__typename": "PatientNotFound"})
		}
	})
}

// pendingUpdate leaves an update whose outcome nobody learns until the FHIR
// server's faults are cleared.
func pendingUpdate(s *System) string {
	s.T.Helper()
	s.FHIR.SetFault("", fhirsim.Fault{On: http.MethodPut, Hang: true})
	answer := s.Update(Object{"patientId": Number, "phone": NewPhone})
	Want(s.T, answer, Object{"applied": "UNKNOWN"})
	s.FHIR.ClearFaults()
	s.FHIR.SetFault("", fhirsim.Fault{Status: http.StatusServiceUnavailable})
	return answer["operationId"].(string)
}

func TestAbuseSubscriptionEndsWithItsToken(t *testing.T) {
	t.Parallel()
	OnEachDatabase(t, func(t *testing.T, databaseURL string) {
		s := StartSystem(t, databaseURL, "FHIR_TIMEOUT=500ms")
		id := pendingUpdate(s)
		// Accepted for ten seconds more: clocks may differ by 30 s.
		short := s.As(TokenOf(t, Object{"sub": "admin", "role": "admin", "exp": time.Now().Add(-20 * time.Second).Unix()}))
		subscription := settlement(t, id)
		socket := short.Socket()
		socket.Subscribe("1", subscription, nil)
		streams := []*Stream{short.Subscribe(subscription), short.SubscribeMultipart(subscription)}
		long := s.Settlement(id)
		for _, stream := range streams {
			if event, ended := stream.Next(); ended || event.ErrorCode() != "UNAUTHENTICATED" || event.At("data") != nil {
				t.Errorf("told %v, ended: %v", event, ended)
			}
			if event, ended := stream.Next(); !ended || !stream.Whole {
				t.Errorf("and then %v", event)
			}
		}
		if message := socket.Next(); message != nil {
			t.Errorf("by WebSocket: told %v", message)
		}
		if code, reason := socket.Closed(); code != 4403 || !strings.Contains(reason, "expired") {
			t.Errorf("the WebSocket was closed with %d %s", code, reason)
		}
		s.FHIR.ClearFaults()
		if data, ended := long.Next(); ended || data.At("data", "contactUpdateSettled", "state") == "PENDING" {
			t.Errorf("the other one heard %v, ended: %v", data, ended)
		}
	})
}

func TestAbuseSubscriptionsOfOneViewer(t *testing.T) {
	t.Parallel()
	s := StartSystem(t, dbtest.SQLite(t), "FHIR_TIMEOUT=500ms")
	done := s.Update(Object{"patientId": Number, "phone": "010-2222-3333"})["operationId"].(string)
	id := pendingUpdate(s)
	type heard struct {
		stream *Stream
		event  Object // nil: it ended without one
	}
	told := make(chan heard)
	listen := func(stream *Stream) {
		event, _ := stream.Next()
		told <- heard{stream, event}
	}
	// A stream begins before its subscription does: one of them is refused, not
	// always the last.
	var streams []*Stream
	for range 51 {
		stream := s.Settlement(id)
		streams = append(streams, stream)
		go listen(stream)
	}
	refused := <-told
	if text := fmt.Sprint(refused.event["errors"]); refused.event.ErrorCode() != "LIMIT_EXCEEDED" || !strings.Contains(text, "50") {
		t.Errorf("the 51st hears %v", refused.event)
	}
	streams = slices.DeleteFunc(streams, func(s *Stream) bool { return s == refused.stream })
	go listen(s.As(TokenOf(t, Object{"sub": "another", "role": "admin"})).Settlement(id))
	streams[0].Leave()
	if left := <-told; left.stream != streams[0] {
		t.Errorf("another one than left heard %v", left.event)
	}
	// What is settled already is told at once, unless there is no room for it.
	wait.Until(t, "there is room after one has left", func() bool {
		event, _ := s.Settlement(done).Next()
		return event.At("data", "contactUpdateSettled", "state") == "APPLIED"
	})
	s.FHIR.ClearFaults()
	for range streams { // of those that are left, and of the other viewer
		if other := <-told; other.event.At("data", "contactUpdateSettled", "state") == nil {
			t.Errorf("a subscription heard %v", other.event)
		}
	}
}
