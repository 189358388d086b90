package fhir

import (
	"slices"
	"strings"
	"testing"
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
		got, err := Missing(patientJSON("p", shown), patientJSON("p", sent), all, testNow)
		if err != nil || strings.Join(got, " ") != want {
			t.Errorf("%s: %v, want %q (%v)", shown, got, want, err)
		}
	}
	got, err := Missing(patientJSON("p", ""), patientJSON("p", sent), []string{FieldEmail}, testNow)
	if err != nil || !slices.Equal(got, []string{FieldEmail}) {
		t.Errorf("%v, %v", got, err)
	}
	if got, err := Missing(patientJSON("p", sent), patientJSON("p", ""), all, testNow); err != nil || len(got) != 3 {
		t.Errorf("what should be cleared is still shown: %v, %v", got, err)
	}
	_, err = Missing([]byte(`{`), patientJSON("p", sent), all, testNow)
	asError(t, err, Unusable)
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
