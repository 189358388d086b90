package fhirsim

import (
	"bytes"
	"encoding/json"
	"fmt"
	"mime"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/tidwall/gjson"

	"patientgraph/jsonlimit"
)

// What one body may hold; real servers bound it too.
const (
	maxDepth  = 100
	maxValues = 50_000
)

// parseErrorPrefix starts HAPI's text about a body that it cannot take.
const parseErrorPrefix = "Failed to parse request body as JSON resource. Error was: "

// checkBody judges the body of a PUT before anything stored is looked at, in
// HAPI's order; nil when it may be stored.
func (s *Server) checkBody(c *call) *problem {
	body := bytes.TrimSpace(c.Body)
	media, _, _ := mime.ParseMediaType(c.Header.Get("Content-Type")) // "" is refused below
	switch {
	case !strings.HasSuffix(media, "json"):
		return &problem{status: http.StatusBadRequest, hapi: "HAPI-0449", text: fmt.Sprintf("Incorrect Content-Type header value of %q was provided in the request. A FHIR Content-Type is required for \"UPDATE\" operation", media)}
	case len(body) == 0:
		return &problem{status: http.StatusBadRequest, hapi: "HAPI-0450", text: parseErrorPrefix + "HAPI-1861: Failed to parse JSON encoded FHIR content: HAPI-1857: Did not find any content to parse"}
	case jsonlimit.Check(body, maxDepth, maxValues) != nil: // before anything that recurses or builds
		return s.malformed("HAPI-1861: Failed to parse JSON encoded FHIR content: nested too deeply, or too many values")
	case body[0] != '{':
		return &problem{status: http.StatusBadRequest, hapi: "HAPI-1971", text: "Unable to determine encoding (e.g. XML / JSON) on validation input. Is this a valid FHIR resource body?"}
	case !json.Valid(body):
		return s.malformed("HAPI-1861: Failed to parse JSON encoded FHIR content: Unexpected end-of-input")
	case !gjson.GetBytes(body, "resourceType").Exists():
		return s.malformed("HAPI-1838: Invalid JSON content detected, missing required element: 'resourceType'")
	}
	if s.habits.PhoneRejectStatus != http.StatusPreconditionFailed {
		if p := s.checkPhones(body); p != nil {
			return p
		}
	}
	if kind := gjson.GetBytes(body, "resourceType").String(); kind != "Patient" {
		return &problem{status: http.StatusBadRequest, hapi: "HAPI-0450", text: parseErrorPrefix + fmt.Sprintf("HAPI-1814: Incorrect resource type found, expected \"Patient\" but found %q", kind)}
	}
	if p := checkValues(body); p != nil {
		return p
	}
	return checkID(c.ID, gjson.GetBytes(body, "id").String())
}

// malformed refuses a body that is no FHIR JSON. HAPI's 500 comes from its
// request validation, which parses first.
func (s *Server) malformed(text string) *problem {
	if s.habits.MalformedStatus == http.StatusInternalServerError {
		return &problem{status: http.StatusInternalServerError, hapi: "HAPI-0331", text: "ca.uhn.fhir.parser.DataFormatException: " + text}
	}
	return &problem{status: http.StatusBadRequest, hapi: "HAPI-0450", text: parseErrorPrefix + text}
}

// validID is FHIR's id.
var validID = regexp.MustCompile(`^[A-Za-z0-9.-]{1,64}$`)

func checkID(urlID, bodyID string) *problem {
	switch {
	case urlID == "":
		return &problem{status: http.StatusBadRequest, hapi: "HAPI-0418", text: "Can not update resource, request URL must contain an ID element for update (PUT) operation (it must be of the form [base]/[resource type]/[id])"}
	case bodyID == "":
		return &problem{status: http.StatusBadRequest, hapi: "HAPI-0419", text: "Can not update resource, resource body must contain an ID element for update (PUT) operation"}
	case bodyID != urlID:
		return &problem{status: http.StatusBadRequest, hapi: "HAPI-0420", text: fmt.Sprintf("Can not update resource, resource body must contain an ID element which matches the request URL for update (PUT) operation - Resource body ID of %q does not match URL ID of %q", bodyID, urlID)}
	case !validID.MatchString(urlID):
		return &problem{status: http.StatusBadRequest, hapi: "HAPI-0521", text: "Can not process entity with ID[" + urlID + "], this is not a valid FHIR ID"}
	}
	return nil
}

// checkValues refuses, as HAPI's parser does, a birthDate, gender or active
// that cannot be one. The text repeats the value, as HAPI's does.
func checkValues(body []byte) *problem {
	check := func(element string, good bool, reason string) *problem {
		value := gjson.GetBytes(body, element)
		if good || !value.Exists() || value.Type == gjson.Null || value.String() == "" {
			return nil
		}
		return &problem{status: http.StatusBadRequest, hapi: "HAPI-0450", text: parseErrorPrefix + fmt.Sprintf("HAPI-1821: [element=%q] Invalid attribute value %q: "+reason, element, value.String(), value.String())}
	}
	value := func(element string) string { return gjson.GetBytes(body, element).String() }
	if p := check("birthDate", isDate(value("birthDate")), "Invalid date/time format: %q"); p != nil {
		return p
	}
	genders := []string{"male", "female", "other", "unknown"}
	if p := check("gender", slices.Contains(genders, value("gender")), "Unknown AdministrativeGender code '%s'"); p != nil {
		return p
	}
	return check("active", value("active") == "true" || value("active") == "false", "Invalid boolean string: '%s'")
}

func isDate(text string) bool {
	for _, layout := range []string{"2006", "2006-01", "2006-01-02", time.RFC3339} {
		if _, err := time.Parse(layout, text); err == nil {
			return true
		}
	}
	return false
}

// phoneFormat is the rule of the real HAPI that this server is compared with.
var phoneFormat = regexp.MustCompile(`^[+(]?[0-9][0-9 ().x/#-]{4,30}$`)

const invalidPhone = "Invalid phone format"

// telecoms returns the telecom entries; HAPI takes a lone object for a list.
func telecoms(body []byte) []gjson.Result {
	return gjson.GetBytes(body, "telecom").Array()
}

// phones are the telecom values of system phone, by their index.
func phones(body []byte) map[int]string {
	found := map[int]string{}
	for i, t := range telecoms(body) {
		if value := t.Get("value").String(); t.Get("system").Str == "phone" && value != "" {
			found[i] = value
		}
	}
	return found
}

func (s *Server) checkPhones(body []byte) *problem {
	if !s.habits.ValidatePhone {
		return nil
	}
	given := phones(body)
	for i := range telecoms(body) {
		if value, ok := given[i]; ok && !phoneFormat.MatchString(value) {
			return s.badPhone(i, invalidPhone)
		}
	}
	return nil
}

// badPhone refuses the phone of one telecom entry. Validation of the
// repository (412) gives more issues, of which the last is the error.
func (s *Server) badPhone(index int, reason string) *problem {
	entry := fmt.Sprintf("Patient.telecom[%d]", index)
	if s.habits.PhoneRejectStatus != http.StatusPreconditionFailed {
		return &problem{status: http.StatusUnprocessableEntity, text: reason, element: entry + ".value"}
	}
	note := func(severity, text, element string) issue {
		return issue{Severity: severity, Code: "processing", Diagnostics: text, Location: []string{element, "Line[1] Col[80]"}, Expression: []string{element}}
	}
	return &problem{
		status: http.StatusPreconditionFailed, text: "Constraint failed: phone-1: '" + reason + "'", element: entry, location: "Line[1] Col[160]",
		before: []issue{
			note("information", "Unknown extension http://hl7.org/fhir/us/core/StructureDefinition/us-core-race", "Patient.extension[0]"),
			note("warning", "None of the codings provided are in the value set 'IdentifierType' (http://hl7.org/fhir/ValueSet/identifier-type|4.0.1)", "Patient.identifier[0].type"),
		},
	}
}

// patientElements are the elements of an R4 Patient.
var patientElements = []string{
	"resourceType", "id", "meta", "implicitRules", "language", "text", "contained", "extension", "modifierExtension",
	"identifier", "active", "name", "telecom", "gender", "birthDate", "deceasedBoolean", "deceasedDateTime", "address",
	"maritalStatus", "multipleBirthBoolean", "multipleBirthInteger", "photo", "contact", "communication",
	"generalPractitioner", "managingOrganization", "link",
}

// known reports whether FHIR defines an element of Patient (or its _companion).
func known(element string) bool {
	return slices.Contains(patientElements, strings.TrimPrefix(element, "_"))
}
