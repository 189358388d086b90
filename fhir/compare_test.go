package fhir

import (
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
		strings.Replace(sent, `a@b`, `A@b`, 1):         "email",
		strings.Replace(sent, `"C"`, `"c"`, 1):         "address",
		strings.Replace(sent, `["1"]`, `["1","2"]`, 1): "address",
		`"x":1`: "phone email address",
		// The value is there, but another entry is the phone.
		strings.Replace(sent, `{"system"`, `{"system":"phone","value":"9","rank":1},{"system"`, 1): "phone",
	} {
		got := Missing(contactIn(t, patientJSON("p", shown)), contactIn(t, patientJSON("p", sent)), all)
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
		if got := Missing(tt.have, tt.want, tt.fields); !slices.Equal(got, tt.missing) {
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

func TestInputField(t *testing.T) {
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
		got := InputField(sent, expression)
		if strings.Join(got, " ") != want || (got == nil) != (want == "") {
			t.Errorf("%s: %v, want %q", expression, got, want)
		}
	}
	if got := InputField(patientJSON("p", `"telecom":[{"system":"phone","value":"1"}]`), "Patient.telecom"); !slices.Equal(got, []string{"phone"}) {
		t.Errorf("only a phone: %v", got)
	}
	ends := patientJSON("p", `"telecom":[{"system":"phone","value":"1","use":"mobile","period":{"end":"2999"}},{"system":"phone","value":"2","use":"work"}]`)
	if got := InputField(ends, "Patient.telecom[0].value"); !slices.Equal(got, []string{"phone"}) {
		t.Errorf("a phone that will end: %v", got)
	}
	if got := InputField([]byte("{"), "Patient.telecom[0]"); got != nil {
		t.Errorf("no JSON: %v", got)
	}
}
