package fhir

import (
	"slices"
	"strings"
	"testing"
	"time"
)

func parsed(t *testing.T, rest string) Patient {
	t.Helper()
	p, err := ParsePatient(patientJSON("p1", rest), testNow)
	if err != nil {
		t.Fatalf("%s: %v", rest, err)
	}
	return p
}

func TestWhetherARecordIsActive(t *testing.T) {
	t.Parallel()
	for rest, inactive := range map[string]bool{
		``: false, `"active":true`: false, `"active":false`: true,
		`"active":null`: false, `"active":"false"`: false, `"active":0`: false, `"_active":{"id":"a"}`: false,
	} {
		if got := parsed(t, rest).Inactive; got != inactive {
			t.Errorf("%s: inactive %v", rest, got)
		}
	}
}

func TestWhetherAPatientIsDeceased(t *testing.T) {
	t.Parallel()
	for rest, want := range map[string]bool{
		``: false, `"deceasedBoolean":false`: false, `"deceasedBoolean":true`: true, `"deceasedBoolean":"true"`: false,
		`"deceasedDateTime":"2019"`: true, `"deceasedDateTime":"2019-04"`: true, `"deceasedDateTime":"2019-04-30"`: true,
		`"deceasedDateTime":"2019-04-30T23:59:00+02:00"`: true, `"deceasedDateTime":"2019-04-30T23:59:00"`: true,
		`"deceasedDateTime":""`: false, `"deceasedDateTime":"0000-00-00"`: false, `"deceasedDateTime":"no"`: false,
		`"deceasedDateTime":null`: false, `"deceasedDateTime":2019`: false, `"deceasedBoolean":false,"deceasedDateTime":"2019"`: true,
	} {
		if got := parsed(t, rest).Deceased; got != want {
			t.Errorf("%s: deceased %v", rest, got)
		}
	}
}

func TestWhomARecordWasMergedInto(t *testing.T) {
	t.Parallel()
	to := func(reference string) string {
		return `{"type":"replaced-by","other":{"reference":"` + reference + `"}}`
	}
	for links, want := range map[string]string{
		``: "", `{}`: "", `null`: "", `{"type":"replaces","other":{"reference":"Patient/a"}}`: "",
		`{"type":"seealso","other":{"reference":"Patient/a"}}`: "", `{"type":"refer","other":{"reference":"Patient/a"}}`: "",
		to("Patient/a"): "a", to("Patient/a/_history/7"): "a",
		to("https://emr.example/fhir/Patient/a"):            "https://emr.example/fhir/Patient/a",
		to("http://emr.example/fhir/Patient/a/_history/12"): "http://emr.example/fhir/Patient/a",
		// Merged, but nobody can say into whom.
		`{"type":"replaced-by"}`: Nobody, `{"type":"replaced-by","other":{"identifier":{"value":"1"}}}`: Nobody,
		`{"type":"replaced-by","other":null}`: Nobody, `{"type":"replaced-by","other":{"reference":1}}`: Nobody,
		to("urn:uuid:0c3151bd-1cbf-4d64-b04d-cd9187a4c6e0"): Nobody, to("#p1"): Nobody, to("#Patient/a"): Nobody, to(""): Nobody,
		to("RelatedPerson/a"): Nobody, to("Patient/"): Nobody, to("Patient?identifier=1"): Nobody, to("Patient/a b"): Nobody,
		to("Patient/" + strings.Repeat("a", 65)): Nobody, to("//emr.example/Patient/a"): Nobody, to("ftp://emr.example/Patient/a"): Nobody,
		to("https://u:p@emr.example/Patient/a"): Nobody, to("https://emr.example/?x=/Patient/a"): Nobody,
		to("https://emr.example/" + strings.Repeat("x", 5000) + "/Patient/a"): Nobody,
		// To itself it says nothing.
		to("Patient/p1"): "", to("Patient/p1/_history/1"): "", to("Patient/p1") + "," + to("Patient/a"): "a",
		// Of several the first that leads somewhere.
		to("Patient/a") + "," + to("Patient/b"): "a", to("#p1") + "," + to("Patient/b"): "b",
		`{"type":"replaces","other":{"reference":"Patient/z"}},` + to("Patient/b"): "b",
		to("https://mpi.example/Patient/a") + "," + to("Patient/b"):                "b",
		to("urn:oid:1") + "," + to("https://mpi.example/Patient/a"):                "https://mpi.example/Patient/a",
	} {
		if got := parsed(t, `"link":[`+links+`]`).ReplacedBy; got != want {
			t.Errorf("%s leads to %q, want %q", links, got, want)
		}
	}
	from := func(reference string) string {
		return `{"type":"replaces","other":{"reference":"` + reference + `"}}`
	}
	for links, want := range map[string][]string{
		to("Patient/a"): nil, from("Patient/a") + "," + to("Patient/b") + "," + from("Patient/c/_history/2"): {"a", "c"},
		from("https://emr.example/fhir/Patient/a"): {"https://emr.example/fhir/Patient/a"}, from("#p1") + "," + from("Patient/p1") + "," + from("Patient/a"): {"a"},
		`{"type":"replaces"},{"type":"replaces","other":null}`: nil,
	} {
		if got := parsed(t, `"link":[`+links+`]`).Replaces; !slices.Equal(got, want) {
			t.Errorf("%s: merged into it are %q, want %q", links, got, want)
		}
	}
	// More than any record has: the first count, and the patient stays usable.
	if got := parsed(t, `"link":[`+strings.TrimSuffix(strings.Repeat(from("Patient/"+strings.Repeat("a", 64))+",", 2000), ",")+`]`).Replaces; len(got) != 1024 {
		t.Errorf("of 2000 links %d are kept", len(got))
	}
	for _, rest := range []string{`"link":null`, `"link":{}`, `"link":"x"`} {
		if got := parsed(t, rest).ReplacedBy; got != "" {
			t.Errorf("%s leads to %q", rest, got)
		}
	}
}

// An id of another server may be somebody else's here.
func TestOnlyOurServersPatientsHaveALocalID(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ to, base, want string }{
		{"a", "https://emr.example/fhir", "a"}, {"a", "", "a"}, {Nobody, "https://emr.example/fhir", ""}, {"", "https://emr.example/fhir", ""},
		{"https://emr.example/fhir/Patient/a", "https://emr.example/fhir", "a"}, {"https://emr.example/fhir/Patient/a", "https://emr.example/fhir/", "a"},
		{"http://emr.example/fhir/Patient/a", "https://emr.example/fhir", "a"}, {"https://EMR.example:443/fhir/Patient/a", "https://emr.example/fhir", "a"},
		{"https://emr.example/fhir/Patient/a", "https://emr.example", ""}, {"https://emr.example/fhir/Patient/a", "https://emr.example/fhir2", ""},
		{"https://emr.example:8443/fhir/Patient/a", "https://emr.example/fhir", ""}, {"https://test.example/fhir/Patient/a", "https://emr.example/fhir", ""},
		{"https://emr.example/fhir/Patient/a", "", ""}, {"https://emr.example/Patient/a", "https://emr.example", "a"},
	} {
		if got := LocalID(c.to, c.base); got != c.want {
			t.Errorf("%q at %q is %q, want %q", c.to, c.base, got, c.want)
		}
	}
}

func TestWhomToCall(t *testing.T) {
	t.Parallel()
	contact := func(role, rest string) string {
		return `{"relationship":[{"coding":[{"system":"http://terminology.hl7.org/CodeSystem/v2-0131","code":"` + role + `"}]}],` + rest + `}`
	}
	const phone, person = `"telecom":[{"system":"phone","value":"1"}]`, `"name":{"text":"A"}`
	yesterday, tomorrow := testNow.AddDate(0, 0, -1).Format(time.DateOnly), testNow.AddDate(0, 0, 1).Format(time.DateOnly)
	for contacts, want := range map[string]*EmergencyContact{
		``: nil, `null`: nil, `{}`: nil, `{` + person + `,` + phone + `}`: nil,
		contact("N", person+","+phone): nil, contact("c", person+","+phone): nil, contact("E", person): nil,
		contact("C", person+","+phone): {Name: "A", Phone: "1"}, contact("EP", person+","+phone): {Name: "A", Phone: "1"},
		// The code is that of one table, however it is called.
		`{"relationship":[{"coding":[{"system":"http://hl7.org/fhir/v2/0131","code":"C"}]}],` + person + `}`:                        {Name: "A"},
		`{"relationship":[{"coding":[{"system":"urn:oid:2.16.840.1.113883.18.58","code":"EP"}]}],` + person + `}`:                   {Name: "A"},
		`{"relationship":[{"coding":[{"code":"C"}]}],` + person + `}`:                                                               {Name: "A"},
		`{"relationship":[{"coding":[{"code":"N"}]}],` + person + `}`:                                                               nil,
		`{"relationship":[{"coding":[{"system":"http://terminology.hl7.org/CodeSystem/v2-0131|2.9","code":"EP"}]}],` + person + `}`: {Name: "A"},
		`{"relationship":[{"coding":[{"system":"http://terminology.hl7.org/CodeSystem/v2-0063|2.9","code":"C"}]}],` + person + `}`:  nil,
		`{"relationship":[{"coding":[{"system":"http://terminology.hl7.org/CodeSystem/v2-0063","code":"C"}]}],` + person + `}`:      nil,
		// Names as they come.
		contact("C", `"name":{"family":"García","given":["Ana","M."]}`):       {Name: "Ana M. García"},
		contact("C", `"name":{"family":"김","given":["하늘"]},`+phone):           {Name: "김하늘", Phone: "1"},
		contact("C", `"name":{"text":" ","family":"García"}`):                 {Name: "García"},
		contact("C", `"organization":{"display":"Haus Abendfrieden"},`+phone): {Name: "Haus Abendfrieden", Phone: "1"},
		contact("C", phone):               {Name: "1", Phone: "1"},
		contact("C", `"gender":"female"`): nil, contact("C", `"name":"A"`): nil, contact("C", `"name":{"text":7}`): nil,
		// The phone by the patient's rules.
		contact("C", person+`,"telecom":[{"system":"email","value":"x@y.example"},{"system":"phone","value":"0","use":"old"},`+
			`{"system":"phone","value":"2","rank":2},{"system":"phone","value":"3","rank":1}]`): {Name: "A", Phone: "3"},
		// Not over, and begun.
		contact("C", person+`,"period":{"end":"`+yesterday+`"}`) + "," + contact("C", `"name":{"text":"B"}`): {Name: "B"},
		contact("C", person+`,"period":{"start":"`+tomorrow+`"}`):                                            nil,
		contact("C", person+`,"period":{"start":"`+yesterday+`","end":"`+tomorrow+`"}`):                      {Name: "A"},
		// The first who can be called.
		contact("C", person) + "," + contact("EP", `"name":{"text":"B"}`):           {Name: "A"},
		contact("C", person) + "," + contact("EP", `"name":{"text":"B"},`+phone):    {Name: "B", Phone: "1"},
		contact("C", person+","+phone) + "," + contact("C", `"name":{"text":"B"}`):  {Name: "A", Phone: "1"},
		contact("C", `"gender":"male"`) + "," + contact("C", `"name":{"text":"B"}`): {Name: "B"},
	} {
		got := parsed(t, `"contact":[`+contacts+`]`).Emergency
		if (got == nil) != (want == nil) || got != nil && *got != *want {
			t.Errorf("%s: %+v, want %+v", contacts, got, want)
		}
	}
}

func TestWhatAContactIsToThePatient(t *testing.T) {
	t.Parallel()
	const role = `"system":"http://terminology.hl7.org/CodeSystem/v2-0131","code":"C"`
	for relationship, want := range map[string]string{
		`{"coding":[{` + role + `}]}`:                                                                            "",
		`{"coding":[{` + role + `,"display":"Emergency Contact"}]}`:                                              "Emergency Contact",
		`{"coding":[{` + role + `}]},{"text":"vizinha"}`:                                                         "vizinha",
		`{"text":" 이웃 "},{"coding":[{` + role + `,"display":"Emergency Contact"}],"text":"긴급"}`:                  "이웃",
		`{"coding":[{` + role + `,"display":"Emergency Contact"}],"text":"Mother"}`:                              "Mother",
		`{"coding":[{` + role + `,"display":"Emergency Contact"},{"code":"SONC","display":"Son"}]}`:              "Son",
		`{"coding":[{"code":"SONC","display":"Son"}]},{"coding":[{` + role + `,"display":"Emergency Contact"}]}`: "Son",
		`{"coding":[{` + role + `}],"text":"Notfall"},{"coding":[{"code":"N"}]}`:                                 "Notfall",
		`{"coding":[{` + role + `}]},{"coding":null,"text":""},null,7`:                                           "",
	} {
		got := parsed(t, `"contact":[{"relationship":[`+relationship+`],"name":{"text":"A"}}]`).Emergency
		if got == nil || got.Relationship != want {
			t.Errorf("%s: %+v, want %q", relationship, got, want)
		}
	}
}

// A contact counts for what a record may show.
func TestAContactIsBounded(t *testing.T) {
	t.Parallel()
	long := `"contact":[{"relationship":[{"coding":[{"system":"http://hl7.org/fhir/v2/0131","code":"C"}]}],"name":{"text":"` + strings.Repeat("x", maxShown) + `"}}]`
	if _, err := ParsePatient(patientJSON("p1", long), testNow); err == nil {
		t.Error("64 KiB of a name are shown")
	}
}
