package fhir

import (
	"bytes"
	"encoding/json"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestMissing(t *testing.T) {
	t.Parallel()
	all := []string{FieldPhone, FieldEmail, FieldAddress}
	sent := `"telecom":[{"system":"phone","value":"1"},{"system":"email","value":"a@b"}],"address":[{"line":["1"],"city":"C"}]`
	for shown, want := range map[string]string{
		sent: "",
		`"address":[{"city":"C","line":["1"],"period":{"start":"2026"}}],"telecom":[{"value":"a@b","system":"email","id":"x"},{"use":"home","system":"phone","value":"1"}]`: "",
		strings.Replace(sent, `"1"`, `"2"`, 1):         "phone",
		strings.Replace(sent, `a@b`, `A@b`, 1):         "",
		strings.Replace(sent, `a@b`, `á@b`, 1):         "email",
		strings.Replace(sent, `"C"`, `" c."`, 1):       "",
		strings.Replace(sent, `"C"`, `"Ç"`, 1):         "address",
		strings.Replace(sent, `["1"]`, `["1","2"]`, 1): "address",
		`"x":1`: "phone email address",
		// The value is there, but another entry is the phone.
		strings.Replace(sent, `{"system"`, `{"system":"phone","value":"9","rank":1},{"system"`, 1): "phone",
	} {
		got := Missing(contactIn(t, patientJSON("p", shown)), contactIn(t, patientJSON("p", sent)), all, "")
		if strings.Join(got, " ") != want {
			t.Errorf("%s: %v, want %q", shown, got, want)
		}
	}
	full := contactIn(t, patientJSON("p", sent))
	for name, tt := range map[string]struct {
		have, want Contact
		fields     []string
		missing    []string
	}{
		"one field asked for":                     {Contact{}, full, []string{FieldEmail}, []string{FieldEmail}},
		"no field asked for":                      {Contact{}, full, nil, nil},
		"what should be cleared is still shown":   {full, Contact{}, all, all},
		"cleared, by an empty address":            {Contact{}, Contact{Address: &Address{Lines: []string{}}}, all, nil},
		"an empty address is still shown as some": {full, Contact{Phone: "1", Email: "a@b", Address: &Address{}}, all, []string{FieldAddress}},
		"an unknown field is never there":         {full, full, []string{"name"}, []string{"name"}},
	} {
		if got := Missing(tt.have, tt.want, tt.fields, ""); !slices.Equal(got, tt.missing) {
			t.Errorf("%s: %v, want %v", name, got, tt.missing)
		}
	}
}

// contactIn reads the contact of a body as of now.
func contactIn(t testing.TB, body []byte) Contact {
	t.Helper()
	c, err := ContactOf(body, testNow)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// TestContactAsJSON: the journal stores contacts and edits as JSON, so the
// form must stay and nothing may be lost.
func TestContactAsJSON(t *testing.T) {
	t.Parallel()
	address := Address{Text: "T", Lines: []string{"1", "2"}, City: "C", District: "D", State: "S", PostalCode: "P", Country: "K"}
	const addressJSON = `"address":{"text":"T","lines":["1","2"],"city":"C","district":"D","state":"S","postalCode":"P","country":"K"}`
	for want, value := range map[string]any{
		`{}`: Contact{},
		`{"phone":"010-1234-5678","email":"김@example.kr",` + addressJSON + `}`: Contact{Phone: "010-1234-5678", Email: "김@example.kr", Address: &address},
		`{"setPhone":true,"phone":"1","setEmail":true,"email":"a@b","setAddress":true,` + addressJSON + `}`: ContactEdit{
			SetPhone: true, Phone: "1", SetEmail: true, Email: "a@b", SetAddress: true, Address: &address},
		`{"setPhone":true,"setEmail":true,"setAddress":true}`: ContactEdit{SetPhone: true, SetEmail: true, SetAddress: true}, // all cleared
		`{"setAddress":true,"address":{}}`:                    ContactEdit{SetAddress: true, Address: &Address{}},
		`{"setEmail":true}`:                                   ContactEdit{SetEmail: true},
	} {
		got, err := json.Marshal(value)
		if err != nil || string(got) != want {
			t.Errorf("%s, want %s (%v)", got, want, err)
		}
		back := reflect.New(reflect.TypeOf(value))
		if err := json.Unmarshal(got, back.Interface()); err != nil {
			t.Errorf("%s: %v", got, err)
		}
		if diff := cmp.Diff(value, back.Elem().Interface()); diff != "" {
			t.Errorf("%s comes back as another: %s", got, diff)
		}
	}
}

// inputField maps one expression.
func inputField(sent []byte, expression string) []string {
	return InputFields(sent, []Issue{{Expression: []string{expression}}}, testNow)[0]
}

func TestInputFields(t *testing.T) {
	t.Parallel()
	sent := patientJSON("p", `"telecom":[{"system":"fax","value":"1"},{"system":"phone","value":"2","use":"work"},{"system":"phone","value":"3","use":"home"},`+
		`{"system":"email","value":"a@b"},{"system":"phone","value":"4","use":"mobile","period":{"end":"2020"}}],`+
		`"address":[{"use":"work","city":"A"},{"use":"home","city":"B"}]`)
	for expression, want := range map[string]string{
		"Patient.telecom[0].value":                               "", // a fax
		"Patient.telecom[1].value":                               "", // another phone
		"Patient.telecom[2].value":                               "phone",
		"Patient.telecom[2]":                                     "phone",
		"telecom[2].system":                                      "phone",
		"Patient.telecom[3].value":                               "email",
		"Patient.telecom[9].value":                               "",
		"Patient.telecom[99999999999999999999]":                  "",
		"Patient.telecom":                                        "", // both are there
		"Patient.telecom.where(system='phone').value":            "phone",
		"Patient.telecom.where(system = 'email' and use='home')": "email",
		"Patient.telecom.where(system='fax').value":              "",
		"Patient.address[1].city":                                "address city",
		"Patient.address[0].city":                                "",
		"Patient.address[1]":                                     "address",
		"Patient.address":                                        "address",
		"Patient.address.where(use='home').postalCode":           "address postalCode",
		"Patient.address[1].line[0]":                             "address lines",
		"Patient.address[1].text":                                "address text",
		"Patient.address[1].period":                              "address",
		"Patient.contact[0].telecom[0].value":                    "",
		"Patient.name[0].family":                                 "",
		"Patient":                                                "",
		"":                                                       "",
		"email":                                                  "email",
		"email_direct":                                           "email",
		"phone_home":                                             "phone",
		"phone_cell":                                             "phone",
		"phone_biz":                                              "phone",
		"street":                                                 "address lines",
		"postal_code":                                            "address postalCode",
		"city":                                                   "address city",
		"state":                                                  "address state",
		"DOB":                                                    "",
		"uuid":                                                   "",
	} {
		got := inputField(sent, expression)
		if strings.Join(got, " ") != want || (got == nil) != (want == "") {
			t.Errorf("%s: %v, want %q", expression, got, want)
		}
	}
	if got := inputField(patientJSON("p", `"telecom":[{"system":"phone","value":"1"}]`), "Patient.telecom"); !slices.Equal(got, []string{"phone"}) {
		t.Errorf("only a phone: %v", got)
	}
	began := patientJSON("p", `"address":[{"city":"A","period":{"start":"2099"}},{"city":"B","period":{"start":"2020","end":"2099"}}]`)
	if got := inputField(began, "Patient.address[1].city"); !slices.Equal(got, []string{"address", "city"}) {
		t.Errorf("an address that has begun: %v", got)
	}
	ends := patientJSON("p", `"telecom":[{"system":"phone","value":"1","use":"mobile","period":{"end":"2999"}},{"system":"phone","value":"2","use":"work"}]`)
	if got := inputField(ends, "Patient.telecom[0].value"); !slices.Equal(got, []string{"phone"}) {
		t.Errorf("a phone that will end: %v", got)
	}
	if got := inputField([]byte("{"), "Patient.telecom[0]"); got != nil {
		t.Errorf("no JSON: %v", got)
	}
}

func TestUntouched(t *testing.T) {
	t.Parallel()
	base := patientJSON("p", `"name":[{"family":"Kim"}],"telecom":[{"system":"phone","value":"bad","use":"work"},{"system":"phone","value":"3","use":"home"},`+
		`{"system":"email","value":"a@b"},{"system":"fax","value":"bad"},{"system":"email","value":"c@d","use":"old"}],`+
		`"address":[{"use":"work","city":"A"},{"use":"home","city":"B"}],"contact":[{"telecom":[{"system":"phone","value":"bad"}]}]`)
	phone, email := ContactEdit{SetPhone: true, Phone: "4"}, ContactEdit{SetEmail: true, Email: "e@f"}
	noPhone := ContactEdit{SetPhone: true}
	both := ContactEdit{SetPhone: true, Phone: "4", SetEmail: true}
	address := ContactEdit{SetAddress: true, Address: &Address{City: "C"}}
	for _, tt := range []struct {
		edit       ContactEdit
		expression string
		untouched  bool
	}{
		{phone, "Patient.telecom[1].value", false},
		{phone, "Patient.telecom[1]", false},
		{phone, "Patient.telecom[1].period.start", false}, // within the entry edited
		{phone, "Patient.telecom[0].value", true},         // another phone
		{phone, "Patient.telecom[2].value", true},         // the email
		{phone, "Patient.telecom[3]", true},
		{phone, "Patient.telecom[9].value", false}, // no such entry
		{phone, "Patient.telecom[99999999999999999999].value", false},
		{phone, "Patient.telecom", false},
		{phone, "Patient.telecom.value", false},
		{phone, "Patient.telecom.where(system='phone').value", false},
		{phone, "Patient.telecom.where(system = 'email' and use = 'home').value", true},
		{phone, "Patient.telecom.where(use='work').value", false},
		{phone, "Patient.telecom.where(system='email' or use='home').value", false},
		{phone, "Patient", false},
		{phone, "", false},
		{phone, "Patient.name[0]", true},
		{phone, "Patient.name[0].given[1]", true},
		{phone, "Patient.birthDate", true},   // absent before and after
		{phone, "Patient.deceased", true},    // a choice's name
		{phone, "Patient.deceased[x]", true}, // as the definition writes it
		{phone, "Patient.contact[0].telecom[0].value", true},
		{phone, "Patient.address", true},
		{phone, "Patient.address[1].city", true},
		{phone, "Patient.phone", false}, // no element of FHIR
		{phone, "Patient.telecomValue", false},
		{phone, "Patient.descendants()", false},
		{phone, "Patient.telecom.first().value", false},
		{phone, "/f:Patient/f:telecom[1]/f:value", false},
		{phone, "Person.name[0]", false},
		{phone, "Bundle.entry[0].resource", false},
		{email, "Patient.telecom[0].value", true},
		{email, "Patient.telecom[1].value", true},
		{email, "Patient.telecom[2].value", false},
		{email, "Patient.telecom[4].value", true}, // an old email
		{noPhone, "Patient.telecom[0].value", true},
		{noPhone, "Patient.telecom[1].value", true}, // the email moved up
		{noPhone, "Patient.telecom", false},
		{noPhone, "Patient.telecom.where(system='phone')", false},
		{both, "Patient.telecom[0].value", true},
		{both, "Patient.telecom[1].value", false},
		{both, "Patient.telecom[2].value", true}, // the fax moved up
		{address, "Patient.address[0].city", true},
		{address, "Patient.address[1].city", false},
		{address, "Patient.address[1].period", false},
		{address, "Patient.address", false},
		{address, "Patient.telecom", true}, // nothing of it was edited
		{address, "Patient.telecom[1].value", true},
		{phone, "phone_home", false}, // OpenEMR's columns
		{phone, "email", true},
		{address, "postal_code", false},
		{address, "phone_cell", true},
		{phone, "DOB", true},
		{address, "lname", true},
		{phone, "occupation", false}, // not known to us
		{phone, "uuid", false},
	} {
		sent, _, err := EditContact(base, tt.edit, testNow, "")
		if err != nil {
			t.Fatal(err)
		}
		issues := []Issue{{Severity: "error", Expression: []string{tt.expression}}}
		if got := Untouched(base, sent, issues, tt.edit.Fields()); got != tt.untouched {
			t.Errorf("%v, %s: %v in %s", tt.edit.Fields(), tt.expression, got, sent)
		}
	}
}

func TestUntouchedByAllErrors(t *testing.T) {
	t.Parallel()
	base := patientJSON("p", `"telecom":[{"system":"phone","value":"bad","use":"work"},{"system":"phone","value":"3","use":"home"}]`)
	fields := []string{FieldPhone}
	sent, _, err := EditContact(base, ContactEdit{SetPhone: true, Phone: "4"}, testNow, "")
	if err != nil {
		t.Fatal(err)
	}
	issue := func(severity string, expressions ...string) Issue {
		return Issue{Severity: severity, Expression: expressions}
	}
	other, ours := issue("error", "Patient.telecom[0]"), issue("error", "Patient.telecom[1]")
	for name, tt := range map[string]struct {
		issues []Issue
		want   bool
	}{
		"none":                          {nil, false},
		"no error":                      {[]Issue{issue("warning", "Patient.name")}, false},
		"one":                           {[]Issue{other}, true},
		"fatal":                         {[]Issue{issue("fatal", "Patient.name")}, true},
		"without severity":              {[]Issue{issue("", "Patient.name"), issue("", "Patient")}, false},
		"a warning does not count":      {[]Issue{other, issue("warning", "Patient.telecom[1]"), issue("information")}, true},
		"one of two is ours":            {[]Issue{other, ours}, false},
		"one of two names no element":   {[]Issue{other, issue("error")}, false},
		"two elements":                  {[]Issue{issue("error", "Patient.telecom[0]", "Patient.name")}, true},
		"two elements, one ours":        {[]Issue{issue("error", "Patient.telecom[0]", "Patient.telecom[1].value")}, false},
		"more than are read":            {slices.Repeat([]Issue{other}, maxIssues), false},
		"as many, but not all of error": {append(slices.Repeat([]Issue{other}, maxIssues-1), issue("warning")), true},
	} {
		if got := Untouched(base, sent, tt.issues, fields); got != tt.want {
			t.Errorf("%s: %v", name, got)
		}
	}
	if Untouched([]byte("{"), sent, []Issue{other}, fields) || Untouched(base, []byte("{"), []Issue{other}, fields) {
		t.Error("a body that is no JSON")
	}
	// The edit makes the second entry equal to the first.
	base = patientJSON("p", `"telecom":[{"system":"phone","value":"1","period":{"end":"2020"}},{"system":"phone","value":"2","period":{"end":"2020"}}]`)
	sent = bytes.Replace(base, []byte(`"2"`), []byte(`"1"`), 1)
	if Untouched(base, sent, []Issue{ours}, fields) || Untouched(base, sent, []Issue{other}, fields) {
		t.Error("nobody can tell the two entries apart")
	}
}

// TestLiveUntouched: a real server that validates phones complains about a
// work phone that came in past the validation, though another value is edited.
func TestLiveUntouched(t *testing.T) {
	t.Parallel()
	c, id := livePatient(t, "fhiruntouched", `"telecom":[{"system":"phone","value":"ext. desk","use":"work"},`+
		`{"system":"phone","value":"02-123-4567","use":"home"},{"system":"email","value":"a@example.org"}]`)
	read, err := c.Read(t.Context(), id)
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		edit      ContactEdit
		untouched bool
	}{
		{ContactEdit{SetEmail: true, Email: "b@example.org"}, true},
		{ContactEdit{SetPhone: true, Phone: "02-123-4568"}, true},
		{ContactEdit{SetPhone: true}, true}, // the bad one would be the phone, and was not changed
		{ContactEdit{SetAddress: true, Address: &Address{City: "Seoul"}}, true},
		{ContactEdit{SetPhone: true, Phone: "nonsense"}, false}, // both are bad now
	} {
		sent, _, err := EditContact(read.JSON, tt.edit, testNow, "")
		if err != nil {
			t.Fatal(err)
		}
		_, err = c.Update(t.Context(), id, sent, read.ETag)
		if err == nil {
			t.Skip("this server does not validate phones")
		}
		e := asError(t, err, Rejected)
		if got := Untouched(read.JSON, sent, e.Issues, tt.edit.Fields()); got != tt.untouched {
			t.Errorf("%v: %v, %+v", tt.edit.Fields(), got, e.Issues)
		}
	}
}
