package fhirsim

import (
	"bytes"
	"encoding/json"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/tidwall/gjson"

	"patientgraph/jsonlimit"
)

// resourceName is what may be the name of one of OpenEMR's classes for FHIR
// resources.
var resourceName = regexp.MustCompile(`^[A-Z][A-Za-z]+$`)

// anyResource are the elements that every resource with a narrative has.
var anyResource = []string{"id", "meta", "implicitRules", "language", "text", "contained", "extension", "modifierExtension"}

// patientLists are the elements that PHP must be able to go through.
var patientLists = []string{"identifier", "name", "telecom", "address", "photo", "contact", "communication", "generalPractitioner", "link",
	"contained", "extension", "modifierExtension"}

// parsePatient reads a body and refuses what OpenEMR's check of a resource
// refuses; of the problem code is the severity. A body that is no JSON object
// gets the same text as one without resourceType.
func parsePatient(body []byte) (map[string]any, *problem) {
	missing := &problem{code: "error", text: "resourceType Not Found"}
	var patient map[string]any
	if jsonlimit.Check(body, maxDepth, maxValues) != nil || !utf8.Valid(body) {
		return nil, missing
	}
	d := json.NewDecoder(bytes.NewReader(body))
	d.UseNumber()
	if !json.Valid(body) || d.Decode(&patient) != nil || empty(phpText(patient["resourceType"])) {
		return nil, missing
	}
	kind, elements := phpText(patient["resourceType"]), anyResource
	switch {
	case kind == "Patient":
		elements = patientElements
	case !resourceName.MatchString(kind):
		return nil, &problem{code: "fatal", text: missing.text}
	}
	for _, element := range patientLists {
		if v := patient[element]; v != nil && phpType(v) != "array" && slices.Contains(elements, element) {
			return nil, &problem{code: "fatal", text: notArray(element, v)}
		}
	}
	var unknown *problem
	gjson.ParseBytes(body).ForEach(func(key, _ gjson.Result) bool {
		if key.Str != "resourceType" && !slices.Contains(elements, key.Str) {
			unknown = &problem{code: "error", text: "Invalid content " + key.Str + " Found"}
		}
		return unknown == nil
	})
	return patient, unknown
}

func notArray(element string, v any) string {
	return `"` + element + `" must be array of objects or null, ` + phpType(v) + " seen."
}

// emailFormat is the rule of PHP's FILTER_VALIDATE_EMAIL with Unicode, but for
// quoted local parts and addresses in brackets; see also validEmail.
var emailFormat = regexp.MustCompile(`(?i)^[!#-'*+/-9=?^-~\pL\pN-]+(\.[!#-'*+/-9=?^-~\pL\pN-]+)*@([a-z0-9]+(-+[a-z0-9]+)*\.)+[a-z][a-z0-9]*(-+[a-z0-9]+)*$`)

func validEmail(text string) bool {
	local, domain, _ := strings.Cut(text, "@")
	long := slices.ContainsFunc(strings.Split(domain, "."), func(label string) bool { return len(label) > 63 })
	return utf8.RuneCountInString(text) <= 254 && utf8.RuneCountInString(local) <= 64 && !long && emailFormat.MatchString(text)
}

// validate returns what OpenEMR's rules say against columns, in its words,
// which repeat a bad email until 8.0.0. An update may leave columns out.
func (k *Clinic) validate(set []assignment, creates bool) object {
	var errors object
	given := func(column string) (string, bool) {
		i := slices.IndexFunc(set, func(a assignment) bool { return a.column == column })
		if i < 0 {
			return "", false
		}
		return set[i].value, true
	}
	fail := func(column, rule, text string) { errors = append(errors, property{column, object{{rule, text}}}) }
	for _, rule := range []struct {
		column, name string
		min, max     int // bytes, of a text
	}{{"fname", "First Name", 1, 255}, {"lname", "Last Name", 2, 255}, {"sex", "Gender", 4, 30}, {"DOB", "Date of Birth", 0, 0}} {
		switch value, ok := given(rule.column); {
		case !ok && creates:
			fail(rule.column, "Required::NON_EXISTENT_KEY", rule.name+" must be provided, but does not exist")
		case !ok:
		case value == "":
			fail(rule.column, "NotEmpty::EMPTY_VALUE", rule.name+" must not be empty")
		case rule.column == "DOB":
			if !isDay(value) {
				fail(rule.column, "DateTime::INVALID_VALUE", rule.name+" must be a valid date")
			}
		case len(value) > rule.max:
			fail(rule.column, "LengthBetween::TOO_LONG", fmt.Sprintf("%s must be %d characters or shorter", rule.name, rule.max))
		case len(value) < rule.min:
			fail(rule.column, "LengthBetween::TOO_SHORT", fmt.Sprintf("%s must be %d characters or longer", rule.name, rule.min))
		}
	}
	if value, _ := given("email"); value != "" && !validEmail(value) {
		text := "Email " + value + " is not a valid email"
		if k.version >= emr811 {
			text = "Email is not a valid email"
		}
		fail("email", "email", text)
	}
	if value, _ := given("email_direct"); k.version >= emr811 && value != "" && !validEmail(value) {
		fail("email_direct", "email_direct", "Trusted Email is not a valid email")
	}
	return errors
}

func isDay(text string) bool {
	_, err := time.Parse(time.DateOnly, text)
	return err == nil
}
