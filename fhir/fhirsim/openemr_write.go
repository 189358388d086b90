package fhirsim

import (
	"fmt"
	"net/http"
	"slices"
	"strings"

	"github.com/google/uuid"
)

// assignment gives a column a value; a list of them is in the order in which
// OpenEMR names them in its UPDATE.
type assignment struct{ column, value string }

// crash is an error of PHP that nothing catches: its message.
type crash string

func (c crash) Error() string { return string(c) }

// put answers PUT Patient/{id}. The URL names the patient, whatever the body
// says, and there are no conditions. Write and read for the answer are two
// steps: another writer may come between them.
func (k *Clinic) put(c *call, f *Fault) answer {
	k.mu.Lock()
	refusal := k.write(c, f)
	k.mu.Unlock()
	if refusal != nil {
		return *refusal
	}
	if f.Overtaken != nil {
		f.Overtaken()
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	r := k.find(c.ID)
	if !r.alive() {
		return k.invalid(object{{"uuid", object{{"invalid or nonexisting value", " value " + c.ID}}}})
	}
	return k.json(http.StatusOK, k.resource(r.id, r.current()))
}

// write carries a PUT out as far as its UPDATE, or returns what it is refused
// with.
func (k *Clinic) write(c *call, f *Fault) *answer {
	r, body := k.find(c.ID), c.Body
	if f.Compete {
		k.compete(r)
	}
	if f.Store != nil && r.alive() {
		body = f.Store(encode(k.resource(r.id, r.current())), slices.Clone(body))
	}
	set, refusal := k.record(body)
	if refusal != nil {
		return refusal
	}
	errors := k.validate(set, false)
	if !r.alive() {
		errors = append(errors, property{"uuid", object{{c.ID, "UUID " + c.ID + " does not exist"}}})
	}
	if len(errors) > 0 {
		a := k.invalid(errors)
		return &a
	}
	set = slices.DeleteFunc(set, func(a assignment) bool {
		return slices.ContainsFunc(f.Drop, func(element string) bool { return slices.Contains(elementColumns[element], a.column) })
	})
	if f.RejectPhone != "" {
		for _, a := range set {
			if strings.HasPrefix(a.column, "phone_") && a.value != r.current()[a.column] {
				a := k.invalid(object{{a.column, object{{a.column, f.RejectPhone}}}})
				return &a
			}
		}
	}
	switch k.database {
	case DatabaseLocked:
		a := k.databaseLocked(set)
		return &a
	case DatabaseDies:
		k.database = DatabaseDown
		a := k.databaseDied()
		return &a
	}
	if !f.Ignore {
		k.update(r, set)
	}
	return nil
}

// create answers POST Patient.
func (k *Clinic) create(c *call, _ *Fault) answer {
	k.mu.Lock()
	defer k.mu.Unlock()
	set, refusal := k.record(c.Body)
	if refusal != nil {
		return *refusal
	}
	if errors := k.validate(set, true); len(errors) > 0 {
		return k.invalid(errors)
	}
	id := uuid.NewSHA1(versionSpace, fmt.Append(nil, "patient/", len(k.order)+1)).String()
	k.store(id, Columns{})
	r := k.find(id)
	k.update(r, set)
	return k.json(http.StatusCreated, object{{"pid", r.pid}, {"uuid", id}})
}

func (k *Clinic) invalid(errors object) answer {
	return k.json(http.StatusBadRequest, object{{"validationErrors", errors}})
}

// record takes a body apart into columns, or refuses it.
func (k *Clinic) record(body []byte) ([]assignment, *answer) {
	patient, p := parsePatient(body)
	if p != nil {
		a := k.json(http.StatusBadRequest, object{{"resourceType", "OperationOutcome"}, {"issue", []object{
			{{"severity", p.code}, {"code", "invalid"}, {"details", object{{"text", p.text}}}},
		}}})
		return nil, &a
	}
	set, err := k.columns(patient)
	if err != nil {
		a := k.error(http.StatusInternalServerError, err.Error(), 0)
		return nil, &a
	}
	return set, nil
}

// elementColumns are the columns that a PUT writes of an element.
var elementColumns = map[string][]string{
	"name":       {"lname", "fname", "mname", "title"},
	"address":    {"street", "postal_code", "city", "state"},
	"telecom":    {"phone_home", "phone_biz", "phone_cell", "email", "email_direct"},
	"birthDate":  {"DOB"},
	"gender":     {"sex"},
	"identifier": {"ss", "pubpid"},
}

// columns turns a Patient into the columns that OpenEMR would write. Where PHP
// fails over what it finds, err is a crash.
func (k *Clinic) columns(patient map[string]any) (set []assignment, err error) {
	if err := k.construct(patient); err != nil {
		return nil, err
	}
	put := func(column, value string) {
		if i := slices.IndexFunc(set, func(a assignment) bool { return a.column == column }); i >= 0 {
			set[i].value = value // the last one wins
			return
		}
		set = append(set, assignment{column, value})
	}
	putName(items(patient["name"]), put)
	if list := items(patient["address"]); len(list) > 0 {
		a, err := k.activeAddress(list)
		if err != nil {
			return nil, err
		}
		var lines []string
		for _, line := range items(at(a, "line")) {
			lines = append(lines, phpText(line))
		}
		put("street", strings.Join(lines, "\n"))
		put("postal_code", phpText(at(a, "postalCode")))
		put("city", phpText(at(a, "city")))
		put("state", phpText(at(a, "state")))
	}
	for _, t := range items(patient["telecom"]) {
		if column := telecomColumn(phpText(at(t, "system")), phpText(at(t, "use"))); column != "" {
			put(column, phpText(at(t, "value")))
		}
	}
	put("DOB", phpText(patient["birthDate"]))
	put("sex", phpText(patient["gender"]))
	if list := items(patient["extension"]); len(list) > 0 && k.version >= emr704 {
		return nil, crash("Call to a member function getUrl() on " + phpKind(list[0]))
	}
	if err := k.putIdentifiers(items(patient["identifier"]), put); err != nil {
		return nil, err
	}
	if first := nth(patient["generalPractitioner"], 0); first != nil {
		return nil, k.wrongType("parseReference", "reference", "Reference", first, [...]int{emr704: 860, emr800: 884, emr811: 889})
	}
	return set, nil
}

// phpKind is the type of a value as PHP's errors name it.
func phpKind(v any) string {
	switch kind := phpType(v); kind {
	case "NULL":
		return "null"
	case "integer":
		return "int"
	case "double":
		return "float"
	case "boolean":
		return "bool"
	default:
		return kind
	}
}

// wrongType is the crash over a value where a method wants an object.
func (k *Clinic) wrongType(method, argument, class string, v any, line [4]int) crash {
	return crash(fmt.Sprintf(`OpenEMR\Services\FHIR\UtilsService::%s(): Argument #1 ($%s) must be of type ?OpenEMR\FHIR\R4\FHIRElement\FHIR%s, %s given, called in /var/www/html/openemr/src/Services/FHIR/FhirPatientService.php on line %d`,
		method, argument, class, phpKind(v), line[k.version]))
}

// construct is where OpenEMR makes objects of the entries, which must be
// arrays, and so must what is a list in them.
func (k *Clinic) construct(patient map[string]any) error {
	for _, e := range []struct {
		element string
		lists   []string
		period  bool // made an object of its own, from 7.0.4 on
	}{
		{"telecom", nil, true}, {"address", []string{"line"}, true}, {"identifier", nil, false}, {"name", []string{"given", "prefix", "suffix"}, false},
	} {
		for _, entry := range items(patient[e.element]) {
			if err := mustBeArray(entry); err != nil {
				return err
			}
			for _, list := range append(e.lists, "extension") {
				if v := at(entry, list); v != nil && phpType(v) != "array" {
					return crash(notArray(list, v))
				}
			}
			if period := at(entry, "period"); e.period && k.version >= emr704 && !isEmpty(period) {
				if err := mustBeArray(period); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

func mustBeArray(v any) error {
	if v != nil && phpType(v) != "array" {
		return crash(`$data expected to be array of values, saw "` + phpType(v) + `"`)
	}
	return nil
}

// isEmpty is PHP's empty() for any value.
func isEmpty(v any) bool {
	return phpType(v) == "array" && len(items(v)) == 0 || empty(phpText(v))
}

// putName writes the first official name; any other name, or one without the
// parts, empties the columns. Without a prefix the title stays.
func putName(names []any, put func(column, value string)) {
	if len(names) == 0 {
		return
	}
	var official any
	if i := slices.IndexFunc(names, func(name any) bool { return phpText(at(name, "use")) == "official" }); i >= 0 {
		official = names[i]
	}
	put("lname", phpText(at(official, "family")))
	put("fname", phpText(nth(at(official, "given"), 0)))
	put("mname", phpText(nth(at(official, "given"), 1)))
	if prefix := nth(at(official, "prefix"), 0); prefix != nil {
		put("title", phpText(prefix))
	}
}

// activeAddress picks the address that is stored. 7.0.3 takes the last one and
// cannot read a period. Later ones take the first, unless one with a period is
// more recent: without an end, or with an end after that of the first.
func (k *Clinic) activeAddress(list []any) (any, error) {
	active := list[0]
	if k.version == emr703 {
		for _, a := range list {
			if at(a, "period") != nil {
				return nil, crash("period is an array")
			}
			active = a
		}
		return active, nil
	}
	latest := int64(0)
	for i, a := range list {
		period := at(a, "period")
		switch {
		case period == nil:
			continue
		case isEmpty(period):
			return nil, k.wrongType("getPeriodTimestamps", "period", "Period", period, [...]int{emr704: 783, emr800: 807, emr811: 812})
		}
		end := unixTime(at(period, "end"))
		if i == 0 {
			latest = end
		}
		if end == 0 {
			active = a
		} else if latest != 0 && end > latest {
			active, latest = a, end
		}
	}
	return active, nil
}

// unixTime is what PHP's strtotime makes of a FHIR dateTime; 0 where it is none.
func unixTime(v any) int64 {
	t, _, ok := period(phpText(v))
	if !ok {
		return 0
	}
	return t.Unix()
}

// telecomColumn is the column of a contact point; "" for one that is dropped.
// An email has one of two columns whatever its use is.
func telecomColumn(system, use string) string {
	switch {
	case system == "email" && use == "mobile":
		return "email_direct"
	case system == "email":
		return "email"
	case system != "phone":
		return ""
	}
	return map[string]string{"home": "phone_home", "work": "phone_biz", "mobile": "phone_cell"}[use]
}

// putIdentifiers writes the values of the types SS and PT. From 7.0.4 on any
// identifier that has a type must have a value.
func (k *Clinic) putIdentifiers(identifiers []any, put func(column, value string)) error {
	for _, identifier := range identifiers {
		for _, coding := range items(at(at(identifier, "type"), "coding")) {
			if err := mustBeArray(coding); err != nil {
				return err
			}
			value := at(identifier, "value")
			if phpType(value) != "string" && k.version >= emr704 {
				return crash("Call to a member function getValue() on " + phpKind(value))
			}
			if column := map[string]string{"SS": "ss", "PT": "pubpid"}[phpText(at(coding, "code"))]; column != "" && value != nil {
				put(column, phpText(value))
			}
		}
	}
	return nil
}
