package fhirsim

import (
	"strings"
	"time"

	"github.com/tidwall/gjson"
)

// OpenEMRIdentifierSystem is the identifier.system of the clinic's own number, which
// OpenEMR shows as the code system of the kinds of identifiers.
const OpenEMRIdentifierSystem = "http://terminology.hl7.org/CodeSystem/v2-0203"

const (
	usCore       = "http://hl7.org/fhir/us/core/StructureDefinition/"
	absentReason = "http://terminology.hl7.org/CodeSystem/data-absent-reason"
	raceCodes    = "urn:oid:2.16.840.1.113883.6.238"
)

// resource makes the Patient of a row, its members in OpenEMR's order.
func (k *Clinic) resource(id string, c Columns) object {
	meta := object{{"versionId", "1"}, {"lastUpdated", k.moment(c["last_updated"]).Format(timeSeconds)}}
	if k.version >= emr704 {
		profile := usCore + "us-core-patient"
		meta = append(meta, property{"profile", []string{profile, profile + "|3.1.1", profile + "|8.0.0"}})
	}
	o := object{{"id", id}, {"meta", meta}, {"resourceType", "Patient"}}
	add := func(key string, list []object) {
		if len(list) > 0 {
			o = append(o, property{key, list})
		}
	}
	narrative := ""
	if !empty(c["fname"]) {
		narrative = c["fname"]
	}
	if !empty(c["lname"]) {
		narrative += " " + c["lname"]
	}
	if narrative != "" {
		o = append(o, property{"text", object{{"status", "generated"}, {"div", `<div xmlns="http://www.w3.org/1999/xhtml"> <p>` + narrative + "</p></div>"}}})
	}
	add("extension", k.extensions(c))
	add("identifier", identifiers(c))
	o = append(o, property{"active", true}, property{"name", []object{humanName(c)}})
	add("telecom", contactPoints(c))
	gender, _ := k.gender(c["sex"])
	o = append(o, property{"gender", gender})
	if birth, entered := c["DOB"]; entered && birth != "" {
		o = append(o, property{"birthDate", birth})
	}
	if died := c["deceased_date"]; empty(died) {
		o = append(o, property{"deceasedBoolean", false})
	} else {
		o = append(o, property{"deceasedDateTime", k.moment(died).Format(timeSeconds)})
	}
	add("address", k.addresses(c))
	add("communication", k.communication(c["language"]))
	return o
}

// timeSeconds and timeMillis are PHP's DATE_ATOM and RFC3339_EXTENDED.
const (
	timeSeconds = "2006-01-02T15:04:05-07:00"
	timeMillis  = "2006-01-02T15:04:05.000-07:00"
)

// moment reads a stored wall-clock time in the clinic's zone of now.
func (k *Clinic) moment(stored string) time.Time {
	t, _ := time.ParseInLocation(wallClock, stored, k.zone) // what cannot be read shows as year 1
	return t
}

// gender is a stored sex as FHIR's gender and as US Core's birth sex. Until
// 7.0.4 only the very words of the clinic's list have a birth sex; later ones
// know the words in any case, and take for other what is not in the list.
func (k *Clinic) gender(sex string) (gender, birthSex string) {
	gender = strings.ToLower(sex)
	is := func(word string) bool {
		return sex == word || k.version >= emr800 && strings.EqualFold(sex, word)
	}
	switch {
	case is("Male"):
		return gender, "M"
	case is("Female"):
		return gender, "F"
	case k.version >= emr800 && sex == "UNK":
		return "unknown", "UNK"
	case k.version >= emr800 && sex != "":
		return "other", "UNK"
	}
	return gender, "UNK"
}

// races and ethnicities are what the clinic's lists have of US Core's codes.
var (
	races = map[string][2]string{
		"white": {"2106-3", "White"}, "Asian": {"2028-9", "Asian"}, "black_or_afri_amer": {"2054-5", "Black or African American"},
		"amer_ind_or_alaska_native": {"1002-5", "American Indian or Alaska Native"}, "native_hawai_or_pac_island": {"2076-8", "Native Hawaiian or Other Pacific Islander"},
	}
	ethnicities = map[string][2]string{"hisp_or_latin": {"2135-2", "Hispanic or Latino"}, "not_hisp_or_latin": {"2186-5", "Not Hispanic or Latino"}}
)

func coding(system, code, display string) object {
	return object{{"system", system}, {"code", code}, {"display", display}}
}

// category is the extension of a race or an ethnicity.
func category(name, system string, entry [2]string) object {
	return object{
		{"extension", []object{
			{{"valueCoding", coding(system, entry[0], entry[1])}, {"url", "ombCategory"}},
			{{"valueString", entry[1]}, {"url", "text"}},
		}},
		{"url", usCore + name},
	}
}

func (k *Clinic) extensions(c Columns) []object {
	_, birthSex := k.gender(c["sex"])
	list := []object{{{"valueCode", birthSex}, {"url", usCore + "us-core-birthsex"}}}
	if entry, known := races[c["race"]]; known {
		list = append(list, category("us-core-race", raceCodes, entry))
	} else {
		list = append(list, category("us-core-race", "http://terminology.hl7.org/CodeSystem/v3-NullFlavor", [2]string{"UNK", "Unknown"}))
	}
	if entry, known := ethnicities[c["ethnicity"]]; known {
		list = append(list, category("us-core-ethnicity", raceCodes, entry))
	}
	if k.version >= emr704 { // columns of these two are not kept here: never entered
		list = append(list,
			object{{"valueCoding", coding("DataAbsentReason", "unknown", "Unknown")}, {"url", usCore + "us-core-sex"}},
			object{{"valueCoding", coding(absentReason, "unknown", "Unknown")}, {"url", usCore + "us-core-interpreter-needed"}})
	}
	return list
}

func identifiers(c Columns) []object {
	var list []object
	add := func(code, system, value string) {
		if !empty(value) {
			kind := object{{"coding", []object{{{"system", OpenEMRIdentifierSystem}, {"code", code}}}}}
			list = append(list, object{{"use", "official"}, {"type", kind}, {"system", system}, {"value", value}})
		}
	}
	add("SS", "http://hl7.org/fhir/sid/us-ssn", c["ss"])
	add("PT", OpenEMRIdentifierSystem, c["pubpid"])
	return list
}

func humanName(c Columns) object {
	name := object{{"use", "official"}}
	if !empty(c["lname"]) {
		name = append(name, property{"family", c["lname"]})
	}
	add := func(key string, columns ...string) {
		var list []string
		for _, column := range columns {
			if !empty(c[column]) {
				list = append(list, c[column])
			}
		}
		if len(list) > 0 {
			name = append(name, property{key, list})
		}
	}
	add("given", "fname", "mname")
	add("prefix", "title")
	add("suffix", "suffix")
	return name
}

// telecomColumns are the columns of telecom in the order of a GET.
var telecomColumns = []struct{ column, system, use string }{
	{"phone_home", "phone", "home"}, {"phone_biz", "phone", "work"}, {"phone_cell", "phone", "mobile"},
	{"email", "email", "home"}, {"email_direct", "email", "mobile"},
}

func contactPoints(c Columns) []object {
	var list []object
	for _, t := range telecomColumns {
		if !empty(c[t.column]) {
			list = append(list, object{{"system", t.system}, {"value", c[t.column]}, {"use", t.use}})
		}
	}
	return list
}

// addresses is the one address of the row. Its period starts when the row was
// last written, or, where that is not known, a year before the GET.
func (k *Clinic) addresses(c Columns) []object {
	a, any := object{{"use", "home"}, {"type", "both"}}, false
	var lines []string
	for _, column := range []string{"street", "street_line_2"} {
		if !empty(c[column]) {
			lines = append(lines, c[column])
			any = any || column == "street"
		}
	}
	if len(lines) > 0 {
		a = append(a, property{"line", lines})
	}
	for _, m := range []struct{ key, column string }{
		{"city", "city"}, {"district", "county"}, {"state", "state"}, {"postalCode", "postal_code"}, {"country", "country_code"},
	} {
		if !empty(c[m.column]) {
			a, any = append(a, property{m.key, c[m.column]}), true
		}
	}
	if !any {
		return nil
	}
	start := k.now().In(k.zone).AddDate(-1, 0, 0)
	if date, known := c["date"]; known {
		start = k.moment(date)
	}
	return []object{append(a, property{"period", object{{"start", start.Format(timeMillis)}}})}
}

// communication is the patient's language. Of the clinic's list only English
// is kept here. 7.0.3 looks it up in any case of its letters, and leaves out
// what it does not find.
func (k *Clinic) communication(language string) []object {
	switch {
	case language == "English", k.version == emr703 && strings.EqualFold(language, "English"):
		return []object{{{"language", object{{"coding", []object{coding("urn:ietf:bcp:47", "en", "English")}}, {"text", "English"}}}}}
	case k.version == emr703:
		return nil
	}
	return []object{{{"language", object{{"coding", []object{coding(absentReason, "unknown", "Unknown")}}}}}}
}

// columnsOf is what a clinic types in for a FHIR Patient: what has no column
// is lost.
func (k *Clinic) columnsOf(patient gjson.Result) Columns {
	c := Columns{}
	set := func(column, value string) {
		if value != "" && c[column] == "" {
			c[column] = value
		}
	}
	name := patient.Get("name.0")
	if official := patient.Get(`name.#(use=="official")`); official.Exists() {
		name = official
	}
	set("lname", name.Get("family").Str)
	set("fname", name.Get("given.0").Str)
	set("mname", name.Get("given.1").Str)
	set("title", name.Get("prefix.0").Str)
	set("suffix", name.Get("suffix.0").Str)
	sex := map[string]string{"male": "Male", "female": "Female", "unknown": "UNK"} // the words of the clinic's list
	if gender := patient.Get("gender").Str; sex[gender] != "" {
		set("sex", sex[gender])
	} else {
		set("sex", gender)
	}
	if died, _, ok := period(patient.Get("deceasedDateTime").Str); ok {
		set("deceased_date", died.In(k.zone).Format(wallClock))
	}
	if patient.Get("communication.0.language.coding.0.code").Str == "en" {
		set("language", "English")
	}
	set("DOB", patient.Get("birthDate").Str)
	for _, entry := range telecoms([]byte(patient.Raw)) {
		for _, t := range telecomColumns {
			if entry.Get("system").Str == t.system && entry.Get("use").Str == t.use {
				set(t.column, entry.Get("value").Str)
			}
		}
	}
	address := patient.Get("address.0")
	set("street", address.Get("line.0").Str)
	set("street_line_2", address.Get("line.1").Str)
	set("city", address.Get("city").Str)
	set("county", address.Get("district").Str)
	set("state", address.Get("state").Str)
	set("postal_code", address.Get("postalCode").Str)
	set("country_code", address.Get("country").Str)
	for _, identifier := range patient.Get("identifier").Array() {
		column := "pubpid"
		if identifier.Get("type.coding.0.code").Str == "SS" {
			column = "ss"
		}
		set(column, identifier.Get("value").Str)
	}
	return c
}
