package e2e_test

import (
	"fmt"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/vektah/gqlparser/v2/ast"

	. "patientgraph/app/apptest"
	"patientgraph/db/dbtest"
	"patientgraph/fhir/fhirsim"
	"patientgraph/internal/wait"
)

// The records of the ward. Those that were merged away show what a living one cannot:
// replacedBy, not active, deceased.
const (
	ownNumber   = "W-1"
	ownMerged   = "W-2"
	childNumber = "W-3" // of the carer
	otherNumber = "W-4"
	otherMerged = "W-5"
	linked      = "W-6" // was here before it was on the FHIR server
)

var wardFHIRIDs = map[string]string{ownNumber: "w1", ownMerged: "w2", childNumber: "w3", otherNumber: "w4", otherMerged: "w5", linked: "w6"}

// ward is a product with patients that have everything.
type ward struct {
	*Product
	fhir    *fhirsim.Server
	updates []wardUpdate // of every caller
	streams []wardStream
	first   string // cursor of the first record in the default order
	last    string // and of the last
}

// wardUpdate is the first update of a caller and a record that ended in one way.
type wardUpdate struct{ id, by, number, end string }

type wardStream struct {
	of     caller
	number string
	*Stream
}

func wardPatient(number, more string) string {
	return fmt.Sprintf(`{"resourceType":"Patient","id":%q,"identifier":[{"system":%q,"value":%q},{"system":"urn:insurance","value":"INS-77"}],
		"name":[{"use":"official","text":"Amara Okoro","family":"Okoro","given":["Amara"]}],"gender":"female","birthDate":"1990-05-17",
		"telecom":[{"system":"phone","value":"010-1111-2222","use":"mobile"},{"system":"email","value":"amara@example.org"}],
		"address":[{"use":"home","text":"1 Main St, Seoul","line":["1 Main St"],"city":"Seoul","district":"Jung","state":"Seoul","postalCode":"04524","country":"KR"}]%s}`,
		wardFHIRIDs[number], fhirsim.DemoIdentifierSystem, number, more)
}

func startWard(t *testing.T) *ward {
	t.Helper()
	merged := func(into string) string {
		return `,"active":false,"deceasedBoolean":true,"link":[{"type":"replaced-by","other":{"reference":"Patient/` + into + `"}}]`
	}
	database := dbtest.SQLite(t)
	MustImport(t, database, strings.ReplaceAll(strings.NewReplacer(`"id":"w6",`, "", "010-1111-2222", "010-7777-2222", "amara@", "before@", "1 Main St", "2 Side St").Replace(wardPatient(linked, "")), "\n", ""))
	server, base := StartFHIR(t, fhirsim.Options{},
		wardPatient(ownNumber, ""), wardPatient(ownMerged, merged("w1")), wardPatient(childNumber, ""),
		wardPatient(otherNumber, ""), wardPatient(otherMerged, merged("w4")), wardPatient(linked, ""))
	w := &ward{fhir: server, Product: StartWith(t, base, database, "SYNC_INTERVAL=1s")}
	wait.Until(t, "the mirror follows", func() bool {
		return w.Query(`{ mirror { state } }`, nil).At("mirror", "state") == "FOLLOWING"
	})
	for number := range wardFHIRIDs {
		Want(t, updateProfile(w.Client, Object{"patientId": number, "allergies": []string{"latex"}, "bloodType": "A+",
			"emergencyContact": Object{"name": "Ngozi", "relationship": "aunt", "phone": "010-3333"}}), Object{"__typename": "UpdatePatientProfileSuccess"})
	}
	operation := regexp.MustCompile(`"patient":"` + linked + `","operation":"([^"]+)"`).FindStringSubmatch(w.Log.String())
	if operation == nil {
		t.Fatalf("nobody was linked:\n%s", w.Log)
	}
	w.updates = append(w.updates, wardUpdate{operation[1], "", linked, ""})
	page := w.Query(`{ patients { pageInfo { startCursor endCursor } } }`, nil)
	w.first, w.last = page.At("patients", "pageInfo", "startCursor").(string), page.At("patients", "pageInfo", "endCursor").(string)
	return w
}

// searchSamples has a value for each argument of patients and each member of the filter:
// one that an own and another record match, or with the FHIR id of each.
var searchSamples = map[string]string{
	"first": "100", "last": "100", "after": `"FIRST"`, "before": `"LAST"`,
	"filter": `{}`, "orderBy": "NAME_ASC",
	"PatientFilter.name":            `"Okoro"`,
	"PatientFilter.phone":           `"010-1111-2222"`,
	"PatientFilter.fhirId":          `"FHIRID"`,
	"PatientFilter.identifier":      `"INS-77"`,
	"PatientFilter.birthDate":       `"1990"`,
	"PatientFilter.gender":          `FEMALE`,
	"PatientFilter.syncState":       `SYNCED`,
	"PatientFilter.updatedSince":    `"2020-01-01T00:00:00Z"`,
	"PatientFilter.changedAfter":    `""`,
	"PatientFilter.includeInactive": `true`,
}

// inputSamples has for each member of a mutation's input what is sent beside inputBases.
var inputSamples = map[string]string{
	"UpdatePatientContactInput.patientId":        `phone: "010-2000-0001"`,
	"UpdatePatientContactInput.phone":            `phone: "010-2000-0002"`,
	"UpdatePatientContactInput.email":            `email: "new@example.org"`,
	"UpdatePatientContactInput.address":          `address: {text: "3 New St", lines: ["3 New St"], city: "Busan", district: "Haeundae", state: "Busan", postalCode: "48094", country: "KR"}`,
	"UpdatePatientContactInput.expectedVersion":  `phone: "010-2000-0003", expectedVersion: "1"`,
	"UpdatePatientContactInput.idempotencyKey":   `phone: "010-2000-0004", idempotencyKey: "RECORD"`,
	"AddressInput.text":                          `address: {text: "4 New St"}`,
	"AddressInput.lines":                         `address: {lines: ["4 New St"]}`,
	"AddressInput.city":                          `address: {city: "Busan"}`,
	"AddressInput.district":                      `address: {district: "Haeundae"}`,
	"AddressInput.state":                         `address: {state: "Busan"}`,
	"AddressInput.postalCode":                    `address: {postalCode: "48094"}`,
	"AddressInput.country":                       `address: {country: "KR"}`,
	"UpdatePatientProfileInput.patientId":        `allergies: ["dust"]`,
	"UpdatePatientProfileInput.emergencyContact": `emergencyContact: {name: "Ngozi", relationship: "aunt", phone: "010-4444"}`,
	"UpdatePatientProfileInput.allergies":        `allergies: ["latex"]`,
	"UpdatePatientProfileInput.bloodType":        `bloodType: "O-"`,
	"UpdatePatientProfileInput.expectedVersion":  `bloodType: "O-", expectedVersion: "1"`,
	"EmergencyContactInput.name":                 `emergencyContact: {name: "Ngozi", relationship: "aunt", phone: "010-4444"}`,
	"EmergencyContactInput.relationship":         `emergencyContact: {name: "Ngozi", relationship: "aunt", phone: "010-4444"}`,
	"EmergencyContactInput.phone":                `emergencyContact: {name: "Ngozi", relationship: "aunt", phone: "010-4444"}`,
}

// readAll asks for everything as a caller.
func (table *rolesTable) readAll(w *ward, c caller) {
	for _, field := range table.schema.Query.Fields {
		if len(field.Arguments) == 0 && !strings.HasPrefix(field.Name, "__") {
			value, code := table.ask(w.Product, c, "", "Query", field.Name, "")
			table.note("Query."+field.Name, c, "", answered(value, code))
		}
		for number := range wardFHIRIDs {
			table.askBy(w, c, field, "id", number, number)
		}
	}
	table.search(w, c, "Query.patients", "")
	arguments := table.schema.Query.Fields.ForName("patients").Arguments
	for _, argument := range arguments {
		if sample, known := searchSamples[argument.Name]; known {
			table.search(w, c, "Query.patients("+argument.Name+":)", argument.Name+": "+sample)
		}
	}
	for _, member := range table.schema.Types["PatientFilter"].Fields {
		coordinate := "PatientFilter." + member.Name
		if sample, known := searchSamples[coordinate]; known {
			table.search(w, c, coordinate, "filter: {"+member.Name+": "+sample+"}")
		}
	}
	for _, order := range table.schema.Types["PatientOrder"].EnumValues {
		table.search(w, c, "PatientOrder."+order.Name, "orderBy: "+order.Name)
	}
}

// askBy asks by the one argument that a field has, if that is its name.
func (table *rolesTable) askBy(w *ward, c caller, field *ast.FieldDefinition, argument, id, number string) {
	if len(field.Arguments) != 1 || field.Arguments[0].Name != argument {
		return
	}
	value, code := table.ask(w.Product, c, c.whose(number), "Query", field.Name, fmt.Sprintf("(%s: %q)", argument, id))
	for _, coordinate := range []string{"Query." + field.Name, "Query." + field.Name + "(" + argument + ":)"} {
		table.note(coordinate, c, c.whose(number), answered(value, code))
	}
}

// askAgain asks as a caller what became of the updates of all.
func (table *rolesTable) askAgain(w *ward, c caller) {
	for _, update := range w.updates {
		for _, field := range table.schema.Query.Fields {
			table.askBy(w, c, field, "operationId", update.id, update.number)
			if field.Name == "node" {
				table.askBy(w, c, field, "id", update.id, update.number)
			}
		}
	}
}

// answered is the cell of an operation.
func answered(value any, code string) string {
	if code != "" {
		return code
	}
	return cellOf("", "", value)
}

// search lists patients and notes whose were found.
func (table *rolesTable) search(w *ward, c caller, coordinate, arguments string) {
	found := map[string]string{"own": "none", "other": "none"}
	for _, number := range []string{ownNumber, otherNumber} {
		asked := strings.NewReplacer("FIRST", w.first, "LAST", w.last, "FHIRID", wardFHIRIDs[number]).Replace(arguments)
		if asked != "" {
			asked = "(" + asked + ")"
		}
		value, code := table.ask(w.Product, c, "", "Query", "patients", asked)
		if code != "" {
			found = map[string]string{"own": code, "other": code}
			break
		}
		connection := Object(value.(map[string]any))
		for _, node := range connection["nodes"].([]any) {
			found[c.whose(node.(map[string]any)["id"].(string))] = "found"
		}
		if asked == "("+arguments+")" || asked == "" { // it names no record
			break
		}
	}
	for class, cell := range found {
		table.note(coordinate, c, class, cell)
	}
}

// members are the members of an input and of the inputs in it.
func (table *rolesTable) members(input string) (list []string) {
	for _, member := range table.schema.Types[input].Fields {
		list = append(list, input+"."+member.Name)
		if inner := table.schema.Types[member.Type.Name()]; inner.Kind == ast.InputObject {
			list = append(list, table.members(inner.Name)...)
		}
	}
	return list
}

// writeAll makes every change as a caller, and has it end in every way.
func (table *rolesTable) writeAll(w *ward, c caller) {
	own, other := ownNumber, otherNumber
	if c.name == "carer" {
		own = childNumber
	}
	change := func(mutation, number, input string, coordinates ...string) {
		value, code := table.ask(w.Product, c, c.whose(number), "Mutation", mutation, fmt.Sprintf("(input: {patientId: %q, %s})", number, strings.ReplaceAll(input, "RECORD", number)))
		result, _ := value.(map[string]any)
		for _, coordinate := range coordinates {
			if code == "" {
				code = result["__typename"].(string)
			}
			table.note(coordinate, c, c.whose(number), strings.TrimPrefix(strings.TrimPrefix(code, "UpdatePatientContact"), "UpdatePatientProfile"))
		}
		if id, begun := result["operationId"].(string); begun && mutation == "updatePatientContact" {
			end, _ := result["__typename"].(string)
			if !slices.ContainsFunc(w.updates, func(u wardUpdate) bool { return u.by == c.name && u.number == number && u.end == end }) {
				w.updates = append(w.updates, wardUpdate{id, c.name, number, end})
			}
		}
	}
	for _, number := range []string{own, other} {
		for mutation, input := range map[string]string{"updatePatientContact": "UpdatePatientContactInput", "updatePatientProfile": "UpdatePatientProfileInput"} {
			for _, coordinate := range table.members(input) {
				if sample, known := inputSamples[coordinate]; known {
					also := []string{coordinate}
					if strings.HasSuffix(coordinate, ".patientId") {
						also = append(also, "Mutation."+mutation, "Mutation."+mutation+"(input:)")
					}
					change(mutation, number, sample, also...)
				}
			}
		}
		change("updatePatientContact", number, `phone: "", email: "x"`)
		change("updatePatientContact", number, `phone: "invalid-phone"`)
		w.fhir.SetFault("", fhirsim.Fault{Status: http.StatusServiceUnavailable, Header: http.Header{"Retry-After": {"7"}}})
		change("updatePatientContact", number, `phone: "010-2000-0009"`)
		w.fhir.ClearFaults()
	}
	change("updatePatientContact", "W-99", `phone: "010-2000-0009"`)
	change("updatePatientContact", ownMerged, `phone: "010-2000-0009"`)
}

// listen subscribes as a caller to a record of each class.
func (table *rolesTable) listen(w *ward, c caller) {
	if c.claims == nil {
		return // told by Query: there is no stream without a token
	}
	client := w.As(tokenOf(table.t, c))
	for _, number := range []string{ownNumber, otherNumber} {
		w.streams = append(w.streams, wardStream{c, number, client.Subscribe(fmt.Sprintf(`subscription { patientChanged(id: %q)%s }`, number, table.selection("Patient")))})
	}
}

// hear notes what the subscribers were told, and what those are who ask how the updates
// of an admin and their own ended.
func (table *rolesTable) hear(w *ward) {
	note := func(c caller, number, field, argument, typename string, s *Stream) {
		event, ended := s.Next()
		if ended {
			table.t.Errorf("%s hears nothing of %s", c.name, number)
		}
		table.wantNoIdentifiers(c, event)
		value := event.At("data", field)
		table.walk(c, c.whose(number), typename, value)
		for _, coordinate := range []string{"Subscription." + field, "Subscription." + field + "(" + argument + ":)"} {
			table.note(coordinate, c, c.whose(number), answered(value, event.ErrorCode()))
		}
		s.Leave()
	}
	for _, s := range w.streams {
		note(s.of, s.number, "patientChanged", "id", "Patient", s.Stream)
	}
	for _, c := range callers() {
		for field, argument := range map[string]string{"patientChanged": "id", "contactUpdateSettled": "operationId"} {
			if c.claims == nil {
				_, code := table.ask(w.Product, c, "", "Subscription", field, fmt.Sprintf("(%s: %q)", argument, ownNumber))
				table.note("Subscription."+field, c, "", code)
				table.note("Subscription."+field+"("+argument+":)", c, "", code)
			}
		}
		if c.claims == nil {
			continue
		}
		for _, update := range w.updates {
			if update.end == "UpdatePatientContactSuccess" && (update.by == "admin" || update.by == c.name) {
				note(c, update.number, "contactUpdateSettled", "operationId", "ContactUpdate",
					w.As(tokenOf(table.t, c)).Subscribe(fmt.Sprintf(`subscription { contactUpdateSettled(operationId: %q)%s }`, update.id, table.selection("ContactUpdate"))))
			}
		}
	}
}
