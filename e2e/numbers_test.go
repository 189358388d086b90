package e2e_test

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	. "patientgraph/app/apptest"
	"patientgraph/auth"
	"patientgraph/fhir/fhirsim"
)

const numberSystem = "urn:oid:2.999.7.1"

// numberLines returns the lines of a file of numbers.
func numberLines(t *testing.T, name string) []string {
	t.Helper()
	text, err := os.ReadFile("testdata/numbers/" + name)
	if err != nil {
		t.Fatal(err)
	}
	return strings.Split(strings.TrimSpace(string(text)), "\n")
}

// numbered is a FHIR Patient; each identifier is "use system value".
func numbered(id, updated, phone string, identifiers ...string) string {
	var list []string
	for _, text := range identifiers {
		parts := strings.SplitN(text, " ", 3)
		value, _ := json.Marshal(parts[2]) // a string always encodes
		list = append(list, fmt.Sprintf(`{"use":%q,"system":%q,"value":%s}`, parts[0], parts[1], value))
	}
	return fmt.Sprintf(`{"resourceType":"Patient","id":%q,"meta":{"lastUpdated":%q},"name":[{"family":"F%s"}],"telecom":[{"system":"phone","value":%q}],"identifier":[%s]}`,
		id, updated, id, phone, strings.Join(list, ","))
}

// in imports lines with the numbers' system, and returns what was said.
func in(t *testing.T, databaseURL string, lines ...string) (string, error) {
	t.Helper()
	return Import(t, databaseURL, strings.Join(lines, "\n"), "PATIENT_ID_SYSTEM="+numberSystem)
}

func mustIn(t *testing.T, databaseURL string, lines ...string) {
	t.Helper()
	if out, err := in(t, databaseURL, lines...); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
}

// foundBy asks for a patient by an id, and by the filter of identifiers, and returns
// the FHIR id and the number of what both find: "" is nobody.
func foundBy(p *Product, id string) string {
	p.T.Helper()
	answer := p.Query(`query($id: ID!, $text: String) {
		patient(id: $id) { id fhirId }
		patients(filter: {identifier: $text}) { totalCount nodes { id fhirId } }
	}`, Object{"id": id, "text": id})
	patient, _ := answer["patient"].(map[string]any)
	page := answer["patients"].(map[string]any)
	nodes := page["nodes"].([]any)
	switch {
	case fmt.Sprint(page["totalCount"]) != fmt.Sprint(len(nodes)), len(nodes) > 1, (patient == nil) != (len(nodes) == 0),
		patient != nil && fmt.Sprint(patient) != fmt.Sprint(nodes[0]):
		p.T.Errorf("%q finds %v by id and %v by the filter", id, patient, page)
		return "?"
	case patient == nil:
		return ""
	}
	return fmt.Sprint(patient["fhirId"], " ", patient["id"])
}

// wantFound fails unless each id finds "fhirId number".
func wantFound(p *Product, want map[string]string) {
	p.T.Helper()
	for id, record := range want {
		if got := foundBy(p, id); got != record {
			p.T.Errorf("%s finds %q, want %q", id, got, record)
		}
	}
}

// nobody is a FHIR server that is not there.
const nobody = "http://127.0.0.1:1/fhir"

func TestACorrectedNumberMovesWithThePatient(t *testing.T) {
	t.Parallel()
	OnEachDatabase(t, func(t *testing.T, databaseURL string) {
		lines := numberLines(t, "corrected.ndjson")
		mustIn(t, databaseURL, lines[0])
		p := StartWith(t, nobody, databaseURL)
		wantFound(p, map[string]string{"70-1112": "svoboda-17 70-1112", "70-1121": "", "70-0003": ""})
		mustIn(t, databaseURL, lines[1])
		moved := map[string]string{"70-1121": "svoboda-17 70-1121", "70-1112": "svoboda-17 70-1121", "70-0003": "svoboda-17 70-1121"}
		wantFound(p, moved)
		Want(t, p.Query(`{ patient(id: "70-1112") { phone } patients(first: 9) { totalCount } }`, nil), Object{
			"patient.phone": "222 555 318", "patients.totalCount": 1,
		})
		// An older file moves nothing back.
		mustIn(t, databaseURL, lines[0])
		wantFound(p, moved)
	})
}

// PATIENT_ID_SYSTEM that is set after a first import renumbers with the very same
// file; unset again, the numbers stay.
func TestNumbersComeWithPatientIDSystem(t *testing.T) {
	t.Parallel()
	OnEachDatabase(t, func(t *testing.T, databaseURL string) {
		file := strings.Join([]string{numberLines(t, "corrected.ndjson")[1], numbered("b", "2026-08-01T00:00:00Z", "1", "usual "+numberSystem+" 70-2", "usual urn:other 9")}, "\n")
		for _, system := range []string{"", numberSystem, ""} {
			if out, err := Import(t, databaseURL, file, "PATIENT_ID_SYSTEM="+system); err != nil {
				t.Fatalf("%q: %v\n%s", system, err, out)
			}
		}
		p := StartWith(t, nobody, databaseURL)
		nodes := p.Query(`{ patients(first: 9) { nodes { id createdAt } } }`, nil)["patients"].(map[string]any)["nodes"].([]any)
		year := nodes[0].(map[string]any)["createdAt"].(string)[:4]
		wantFound(p, map[string]string{
			"70-1121": "svoboda-17 70-1121", "P-" + year + "-000001": "svoboda-17 70-1121",
			"70-2": "b 70-2", "P-" + year + "-000002": "b 70-2",
		})
		// And to another system.
		if out, err := Import(t, databaseURL, file, "PATIENT_ID_SYSTEM=urn:other"); err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
		wantFound(p, map[string]string{"9": "b 9", "70-2": "b 9", "P-" + year + "-000002": "b 9", "70-1121": "svoboda-17 70-1121"})
	})
}

func TestNumbersAreExchanged(t *testing.T) {
	t.Parallel()
	OnEachDatabase(t, func(t *testing.T, databaseURL string) {
		lines := numberLines(t, "swapped.ndjson")
		const before = "2026-09-01T00:00:00Z"
		mustIn(t, databaseURL, numbered("twin-l", before, "1", "usual "+numberSystem+" 51-A"),
			numbered("twin-n", before, "2", "usual "+numberSystem+" 51-B"), numbered("third", before, "3", "usual "+numberSystem+" 51-C"))
		p := StartWith(t, nobody, databaseURL)
		mustIn(t, databaseURL, lines[:2]...)
		twins := map[string]string{"51-A": "twin-n 51-A", "51-B": "twin-l 51-B", "51-C": "third 51-C"}
		wantFound(p, twins)
		out, err := in(t, databaseURL, lines[2])
		if err == nil || !strings.Contains(out, "51-A") || !strings.Contains(out, "belongs to another patient") || !strings.Contains(out, "1 updated") || !strings.Contains(out, "1 bad lines") {
			t.Errorf("%v\n%s", err, out)
		}
		wantFound(p, twins)
		Want(t, p.Query(`{ patient(id: "51-C") { phone familyName } }`, nil), Object{"patient.phone": "0212 555 90 14", "patient.familyName": "Demir"})
		// The very same file again says the same, and is right as soon as it can be.
		if out, err := in(t, databaseURL, lines[2]); err == nil || !strings.Contains(out, "51-A") {
			t.Errorf("%v\n%s", err, out)
		}
		mustIn(t, databaseURL, numbered("twin-n", "2026-09-07T00:00:00Z", "2", "usual "+numberSystem+" 51-D"))
		wantFound(p, map[string]string{"51-A": "third 51-A", "51-C": "third 51-A", "51-D": "twin-n 51-D", "51-B": "twin-l 51-B"})
	})
}

// Chains and rings of any length end right, whatever lies between the lines: other
// lines, another batch, another import.
func TestNumbersAreExchangedFarApart(t *testing.T) {
	t.Parallel()
	const n = 1300
	OnEachDatabase(t, func(t *testing.T, databaseURL string) {
		var first, shifted []string
		for i := range n {
			id := fmt.Sprintf("r-%04d", i)
			first = append(first, numbered(id, "2026-01-01T00:00:00Z", "1", fmt.Sprintf("usual %s N-%04d", numberSystem, i)))
			shifted = append(shifted, numbered(id, "2026-01-02T00:00:00Z", "2", fmt.Sprintf("usual %s N-%04d", numberSystem, (i+1)%n)))
		}
		mustIn(t, databaseURL, first...)
		p := StartWith(t, nobody, databaseURL)
		mustIn(t, databaseURL, shifted...)
		for _, i := range []int{0, 1, 499, 500, 501, 999, n - 2, n - 1} {
			wantFound(p, map[string]string{fmt.Sprintf("N-%04d", (i+1)%n): fmt.Sprintf("r-%04d N-%04d", i, (i+1)%n)})
		}
		// Two by two: the lines are in two imports, and the first is refused.
		swap := func(i, number int) string {
			return numbered(fmt.Sprintf("r-%04d", i), "2026-01-03T00:00:00Z", "3", fmt.Sprintf("usual %s N-%04d", numberSystem, number))
		}
		if out, err := in(t, databaseURL, swap(0, 2)); err == nil {
			t.Errorf("a number that another patient has was taken\n%s", out)
		}
		mustIn(t, databaseURL, swap(1, 1))
		wantFound(p, map[string]string{"N-0002": "r-0000 N-0002", "N-0001": "r-0001 N-0001"})
		Want(t, p.Query(`{ patients(first: 1) { totalCount } }`, nil), Object{"patients.totalCount": n})
	})
}

// A new patient whose number somebody has gets in without it, and gets it when it is
// free, be it by a later line.
func TestANewPatientWaitsForItsNumber(t *testing.T) {
	t.Parallel()
	OnEachDatabase(t, func(t *testing.T, databaseURL string) {
		one := func(id, updated, number string) string {
			return numbered(id, updated, "1", "usual "+numberSystem+" "+number)
		}
		mustIn(t, databaseURL, one("a", "2026-01-01T00:00:00Z", "1"))
		p := StartWith(t, nobody, databaseURL)
		if out, err := in(t, databaseURL, one("b", "2026-01-01T00:00:00Z", "1")); err == nil || !strings.Contains(out, "1 new") {
			t.Errorf("%v\n%s", err, out)
		}
		wantFound(p, map[string]string{"1": "a 1"})
		Want(t, p.Query(`{ patients(filter: {fhirId: "b"}) { totalCount } }`, nil), Object{"patients.totalCount": 1})
		mustIn(t, databaseURL, one("c", "2026-01-01T00:00:00Z", "2"), one("a", "2026-01-02T00:00:00Z", "3"))
		wantFound(p, map[string]string{"1": "b 1", "2": "c 2", "3": "a 3"})
		// Given up without another: who claims it gets it.
		mustIn(t, databaseURL, numbered("c", "2026-01-03T00:00:00Z", "1", "old "+numberSystem+" 2"))
		wantFound(p, map[string]string{"2": "c 2"})
		mustIn(t, databaseURL, one("d", "2026-01-03T00:00:00Z", "2"))
		wantFound(p, map[string]string{"2": "d 2"})
	})
}

// An alias that two records claim finds neither, and one that is somebody's number
// finds that record alone.
func TestAnAliasIsNeverTheWrongPatient(t *testing.T) {
	t.Parallel()
	OnEachDatabase(t, func(t *testing.T, databaseURL string) {
		line := func(id, number, old string) string {
			return numbered(id, "2026-01-01T00:00:00Z", "1", "old "+numberSystem+" "+old, "usual "+numberSystem+" "+number)
		}
		mustIn(t, databaseURL, line("a", "1", "x"), line("b", "2", "x"), line("c", "3", "1"), line("d", "4", "y"))
		p := StartWith(t, nobody, databaseURL)
		wantFound(p, map[string]string{"x": "", "1": "a 1", "y": "d 4"})
		mutation := `mutation($input: UpdatePatientProfileInput!) { updatePatientProfile(input: $input) { __typename ... on UpdatePatientProfileSuccess { patient { id } } } }`
		Want(t, p.Query(mutation, Object{"input": Object{"patientId": "y", "bloodType": "A+"}}), Object{"updatePatientProfile.patient.id": "4"})
		Want(t, p.Query(mutation, Object{"input": Object{"patientId": "x", "bloodType": "A+"}}), Object{"updatePatientProfile.__typename": "PatientNotFound"})

		// The token of c names its number; "1" is a's, though it was c's once.
		c := p.As(Token(t, auth.RolePatient, "3"))
		Want(t, c.Query(`{ a: patient(id: "1") { id } y: patient(id: "y") { id } x: patient(id: "x") { id } own: patient(id: "3") { id } }`, nil),
			Object{"a": nil, "y": nil, "x": nil, "own.id": "3"})
		d := p.As(Token(t, auth.RolePatient, "4"))
		Want(t, d.Query(`{ y: patient(id: "y") { id } }`, nil), Object{"y.id": "4"})
		for claim, number := range map[string]any{"y": "4", "x": nil, "none": nil} { // a token made before the number moved
			Want(t, p.As(Token(t, auth.RolePatient, claim)).Query(`query($id: ID!) { patient(id: $id) { id } }`, Object{"id": claim}), Object{"patient.id": number})
		}
		contact := Object{"input": Object{"patientId": "y", "emergencyContact": Object{"name": "Kim"}}}
		Want(t, d.Query(mutation, contact), Object{"updatePatientProfile.patient.id": "4"})
		Want(t, c.Query(mutation, contact), Object{"updatePatientProfile.__typename": "NotPermitted"})
		Want(t, d.Query(`{ own: patients(filter: {identifier: "y"}) { totalCount } other: patients(filter: {identifier: "1"}) { totalCount } }`, nil),
			Object{"own.totalCount": 1, "other.totalCount": 0})
	})
}

// What cannot be a number is refused alone; the patient is taken.
func TestUnusableNumbers(t *testing.T) {
	t.Parallel()
	OnEachDatabase(t, func(t *testing.T, databaseURL string) {
		for i, number := range []string{strings.Repeat("9", 65), "7\u00017", "7\n7", "\u200b"} {
			out, err := in(t, databaseURL, numbered(fmt.Sprint("a", i), "2026-01-01T00:00:00Z", "1", "usual "+numberSystem+" "+number))
			if err == nil || !strings.Contains(out, "1 new") || !strings.Contains(out, "1 bad lines") || strings.Contains(out, number) {
				t.Errorf("%q: %v\n%s", number, err, out)
			}
		}
		mustIn(t, databaseURL, numbered("b", "2026-01-01T00:00:00Z", "1", "usual "+numberSystem+"  "), numbered("c", "2026-01-01T00:00:00Z", "1", "usual "+numberSystem+"   7 "))
		p := StartWith(t, nobody, databaseURL)
		wantFound(p, map[string]string{"7": "c 7"})
		Want(t, p.Query(`{ patients(first: 9) { totalCount } long: patients(filter: {identifier: "`+strings.Repeat("9", 65)+`"}) { totalCount } }`, nil),
			Object{"patients.totalCount": 6, "long.totalCount": 1})
	})
}

func TestFilterByIdentifier(t *testing.T) {
	t.Parallel()
	OnEachDatabase(t, func(t *testing.T, databaseURL string) {
		mustIn(t, databaseURL,
			numbered("a", "2026-01-01T00:00:00Z", "1", "usual "+numberSystem+" Ab-1", "usual urn:insurance 77", "old urn:MRN 5|5"),
			numbered("b", "2026-01-01T00:00:00Z", "1", "usual "+numberSystem+" 77", "usual urn:insurance ÅX９", "usual  88"))
		p := StartWith(t, nobody, databaseURL)
		const query = `query($f: PatientFilter) { patients(filter: $f) { nodes { fhirId } } }`
		for text, want := range map[string]string{
			"aB-1": "a", "\u200b Ab-1\u00a0": "a", "77": "a b", "urn:insurance|77": "a", numberSystem + "|77": "b", "URN:insurance|77": "a",
			"5|5": "a", "urn:mrn|5|5": "a", "urn:mrn|5": "", "åx9": "b", "|88": "b", "|77": "", "88": "b", "urn:none|77": "", "7": "", "777": "", "%": "", strings.Repeat("x", 256): "",
		} {
			var ids []string
			for _, node := range p.Query(query, Object{"f": Object{"identifier": text}})["patients"].(map[string]any)["nodes"].([]any) {
				ids = append(ids, fmt.Sprint(node.(map[string]any)["fhirId"]))
			}
			if got := strings.Join(ids, " "); got != want && got != "b a" {
				t.Errorf("%q finds %q, want %q", text, got, want)
			}
		}
		Want(t, p.Query(query, Object{"f": Object{"fhirId": "a\u200b", "identifier": "77"}}), Object{"patients.nodes": []any{Object{"fhirId": "a"}}})
		Want(t, p.Query(query, Object{"f": Object{"fhirId": "A"}}), Object{"patients.nodes": []any{}})
		for _, filter := range []Object{{"identifier": ""}, {"identifier": "\u200b"}, {"identifier": "|"}, {"identifier": strings.Repeat("x", 257)}, {"fhirId": ""}, {"fhirId": strings.Repeat("x", 1<<16)}} {
			if answer := p.Post(Body(t, query, Object{"f": filter})); answer.ErrorCode() != "BAD_USER_INPUT" {
				t.Errorf("%.40v: %v", filter, answer)
			}
		}
		analyst := p.As(Token(t, auth.RoleAnalyst, ""))
		for _, filter := range []Object{{"identifier": "77"}, {"fhirId": "a"}} {
			if answer := analyst.Post(Body(t, query, Object{"f": filter})); answer.ErrorCode() != "BAD_USER_INPUT" {
				t.Errorf("an analyst filters by %v: %v", filter, answer)
			}
		}
	})
}

// A write by a former number goes to its patient, and a retry with the same words gets
// the same answer after the number has moved, but not after it became another's.
func TestWritesFollowANumberThatMoves(t *testing.T) {
	t.Parallel()
	OnEachDatabase(t, func(t *testing.T, databaseURL string) {
		_, base := StartFHIR(t, fhirsim.Options{}, numbered("a", "2026-01-01T00:00:00Z", "010-1111-1111", "usual "+numberSystem+" 1"),
			numbered("b", "2026-01-01T00:00:00Z", "010-2222-2222", "usual "+numberSystem+" 2"))
		at := func(id, number, updated string) string {
			return numbered(id, updated, "010-1111-1111", "usual "+numberSystem+" "+number)
		}
		mustIn(t, databaseURL, at("a", "1", "2026-01-01T00:00:00Z"), at("b", "2", "2026-01-01T00:00:00Z"))
		p := StartWith(t, base, databaseURL)
		s := &System{Product: p}
		ask := Object{"patientId": "1", "phone": "010-3333-3333", "idempotencyKey": "k"}
		first := s.Update(ask)
		Want(t, first, Object{"__typename": "UpdatePatientContactSuccess", "patient.id": "1"})

		const later = "2126-01-01T00:00:00Z"
		mustIn(t, databaseURL, at("a", "3", later))
		Want(t, s.Update(ask), Object{"operationId": first["operationId"], "patient.id": "3", "patient.phone": "010-3333-3333"})
		Want(t, p.Query(`query($id: ID!) { contactUpdate(operationId: $id) { patientId state } }`, Object{"id": first["operationId"]}),
			Object{"contactUpdate.patientId": "3", "contactUpdate.state": "APPLIED"})
		Want(t, s.Update(Object{"patientId": "1", "phone": "010-4444-4444"}), Object{"__typename": "UpdatePatientContactSuccess", "patient.id": "3"})

		mustIn(t, databaseURL, at("b", "1", later))
		Want(t, s.Update(ask), Object{"__typename": "InvalidInput", "code": "IDEMPOTENCY_KEY_REUSED"})
		Want(t, p.Query(`{ patient(id: "1") { fhirId phone } }`, nil), Object{"patient.fhirId": "b", "patient.phone": "010-1111-1111"})
	})
}

// A number goes to the record that claims it, from one that does not, or is not in use.
func TestWhoGivesANumberUp(t *testing.T) {
	t.Parallel()
	plain := func(id, updated string, more string, identifiers ...string) string {
		return strings.Replace(numbered(id, updated, "1", identifiers...), `"resourceType"`, more+`"resourceType"`, 1)
	}
	const d1, d2, d3 = "2026-08-01T00:00:00Z", "2026-08-02T00:00:00Z", "2026-08-03T00:00:00Z"
	n := "usual " + numberSystem + " "
	OnEachDatabase(t, func(t *testing.T, databaseURL string) {
		for _, file := range [][]string{
			{plain("a", d1, "", n+"N-1"), plain("dup", d1, "", n+"K-1"), plain("off", d1, "", n+"K-5"), plain("back", d2, "", "old "+numberSystem+" O-1"), plain("twice", d1, "", n+"T-1"), plain("twice", d2, "", "old "+numberSystem+" T-1", n+"T-2"), plain("x", d1, "", n+"X-1")},
			{plain("a", d2, ""), plain("b", d2, "", n+"N-1"), // taken from the one, given to the other
				plain("dup", d2, `"active":false,"link":[{"type":"replaced-by","other":{"reference":"Patient/good"}}],`, n+"K-1"), plain("good", d2, "", n+"K-1"),
				plain("off", d2, `"active":false,`, n+"K-5"), plain("on", d2, "", n+"K-5"),
				plain("back", d1, "", n+"O-1"), // an older line
			},
		} {
			if said, err := importWith(t, databaseURL, []string{fileOf(t, file)}, "PATIENT_ID_SYSTEM="+numberSystem); err != nil {
				t.Fatal(err, said)
			}
		}
		if said, err := importWith(t, databaseURL, []string{fileOf(t, []string{plain("y", d3, "", n+"X-1")})}, "PATIENT_ID_SYSTEM="+numberSystem); err == nil || !strings.Contains(said, "belongs to another patient") {
			t.Errorf("two living records claim one number: %s, %v", said, err)
		}
		p := StartWith(t, "http://127.0.0.1:1/fhir", databaseURL)
		for number, fhirID := range map[string]any{"N-1": "b", "K-1": "good", "K-5": "on", "T-2": "twice", "T-1": "twice", "X-1": "x", "O-1": "back"} {
			if got := p.Patient(number)["fhirId"]; got != fhirID {
				t.Errorf("%s is %v, want %v", number, got, fhirID)
			}
		}
		if got := p.Patient("O-1")["id"]; got == "O-1" {
			t.Error("an old file brought an old number back")
		}
	})
}

// fileOf is a file of these lines.
func fileOf(t *testing.T, lines []string) string {
	t.Helper()
	name := filepath.Join(t.TempDir(), "patients.ndjson")
	if err := os.WriteFile(name, []byte(strings.Join(lines, "\n")+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	return name
}

// A number that was pasted with blanks and invisible characters around it finds its
// patient, for reading and writing; one that holds them is itself.
func TestAPastedNumberFindsItsPatient(t *testing.T) {
	t.Parallel()
	OnEachDatabase(t, func(t *testing.T, databaseURL string) {
		odd := "\u200b7\u200b"
		lines := []string{
			numbered("a", "2026-01-01T00:00:00Z", "1", "usual "+numberSystem+" 70-1 b", "old "+numberSystem+" 69-1"),
			numbered("b", "2026-01-01T00:00:00Z", "2", "usual "+numberSystem+" 7"), numbered("c", "2026-01-01T00:00:00Z", "3", "usual "+numberSystem+" "+odd),
		}
		server, base := StartFHIR(t, fhirsim.Options{}, lines...)
		mustIn(t, databaseURL, lines...)
		p := StartWith(t, base, databaseURL)
		patient := func(p *Client, id string) any {
			t.Helper()
			found, _ := p.Query(`query($id: ID!) { patient(id: $id) { fhirId } }`, Object{"id": id})["patient"].(map[string]any)
			return found["fhirId"]
		}
		own, other := p.As(Token(t, auth.RolePatient, "70-1 b")), p.As(Token(t, auth.RolePatient, "7"))
		for id, want := range map[string]any{
			" 70-1 b": "a", "70-1 b\t\r\n": "a", "\ufeff70-1 b\u00a0": "a", "\u202a\u300069-1\u202c": "a", "7\u200b": "b", " 7 ": "b", odd: "c", "70-1\u200b b": nil, " ": nil, "\u200b": nil, "": nil,
			strings.Repeat(" ", 300) + "7": nil,
		} {
			if got := patient(p.Client, id); got != want {
				t.Errorf("%q finds %v, want %v", id, got, want)
			}
			if want != "a" {
				want = nil
			}
			if got := patient(own, id); got != want {
				t.Errorf("%q finds %v for the patient a, want %v", id, got, want)
			}
		}
		s := &System{Product: p, FHIR: server}
		Want(t, s.Update(Object{"patientId": "\u200b70-1 b\n", "phone": "010-3"}), Object{"__typename": "UpdatePatientContactSuccess", "patient.id": "70-1 b", "patient.phone": "010-3"})
		Want(t, s.As(Token(t, auth.RolePatient, "70-1 b")).Update(Object{"patientId": " 69-1", "phone": "010-4"}), Object{"__typename": "UpdatePatientContactSuccess", "patient.phone": "010-4"})
		Want(t, other.Update(Object{"patientId": " 70-1 b", "phone": "010-5"}), Object{"__typename": "NotPermitted"})
		Want(t, s.Update(Object{"patientId": odd, "phone": "010-6"}), Object{"__typename": "UpdatePatientContactSuccess", "patient.id": odd})
		Want(t, s.Update(Object{"patientId": "\u200b \n", "phone": "010-7"}), Object{"__typename": "InvalidInput"})
		Want(t, p.Query(`{ patient(id: "7") { phone } }`, nil), Object{"patient.phone": "2"})
		mutation := `mutation($input: UpdatePatientProfileInput!) { updatePatientProfile(input: $input) { __typename ... on UpdatePatientProfileSuccess { patient { id } } } }`
		Want(t, p.Query(mutation, Object{"input": Object{"patientId": "\u2003" + "7\r\n", "bloodType": "A+"}}), Object{"updatePatientProfile.patient.id": "7"})
	})
}
