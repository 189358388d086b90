package fhir

import (
	"net/url"
	"strings"
	"time"

	"github.com/tidwall/gjson"
)

// Nobody stands for a patient whom no reference leads to.
const Nobody = "?"

// maxReference bounds a reference that is kept.
const maxReference = 2_000

// replacedBy reads whom a Patient was merged into (R4 patient#link, replaced-by): a
// FHIR id, the URL of a Patient (LocalID says whether it is on our server), or Nobody
// where the link cannot be followed; "" when it was not merged. Of several links the
// first that names an id counts. A link to the Patient itself says nothing.
func replacedBy(doc gjson.Result) string {
	found := ""
	for _, to := range linksTo(doc, "replaced-by") {
		switch {
		case IsID(to):
			return to
		case found == "" || found == Nobody:
			found = to
		}
	}
	return found
}

// maxReplaced bounds the links of those who were merged into a Patient. Real ones have
// a few.
const maxReplaced = 64 << 10 // bytes

// replaces reads who was merged into a Patient (R4 patient#link, replaces), each as
// replacedBy. A server may say it on this side alone: the other record may be gone.
func replaces(doc gjson.Result) (list []string) {
	size := 0
	for _, from := range linksTo(doc, "replaces") {
		if size += len(from); size > maxReplaced {
			break
		}
		if from != Nobody {
			list = append(list, strings.Clone(from))
		}
	}
	return list
}

// linksTo lists the Patients that links of a type lead to, but for the Patient itself.
func linksTo(doc gjson.Result, kind string) (list []string) {
	self := str(doc, "id")
	for _, link := range elements(member(doc, "link")) {
		if str(link, "type") != kind {
			continue
		}
		if to := referredPatient(str(member(link, "other"), "reference")); to != self || self == "" {
			list = append(list, to)
		}
	}
	return list
}

// referredPatient is what a reference says of a Patient: its id, or its URL where that is
// absolute; both without the version. Logical and contained ones, and those to what is
// no Patient, lead to Nobody.
func referredPatient(reference string) string {
	reference, _, _ = strings.Cut(reference, "/_history/")
	base, id := cutPatient(reference)
	if base == "" && IsID(id) {
		return id
	}
	u, err := url.Parse(base)
	if err != nil || !IsID(id) || len(reference) > maxReference || u.Scheme != "http" && u.Scheme != "https" ||
		u.Host == "" || u.User != nil || u.RawQuery != "" || u.Fragment != "" || !strings.HasSuffix(base, "/") {
		return Nobody
	}
	return reference
}

// cutPatient divides "https://emr/fhir/Patient/7" before and behind "Patient/".
func cutPatient(reference string) (base, id string) {
	i := strings.LastIndex(reference, "Patient/")
	if i < 0 {
		return "", ""
	}
	return reference[:i], reference[i+len("Patient/"):]
}

// LocalID returns the id on the server at base of the patient that Patient.ReplacedBy
// names; "" when it is on no server or on another one. A server behind a proxy may
// write http where its base is https.
func LocalID(replacedBy, base string) string {
	if IsID(replacedBy) {
		return replacedBy
	}
	there, id := cutPatient(replacedBy)
	u, err := url.Parse(there)
	ours, baseErr := url.Parse(base)
	if err != nil || baseErr != nil || !IsID(id) || host(u) != host(ours) || strings.TrimRight(u.Path, "/") != strings.TrimRight(ours.Path, "/") {
		return ""
	}
	return id
}

func host(u *url.URL) string {
	port := u.Port()
	if port == "80" || port == "443" {
		port = ""
	}
	return strings.ToLower(u.Hostname()) + ":" + port
}

// deceased reads Patient.deceased[x]. A time, be it only a year, says so too.
func deceased(doc gjson.Result) bool {
	if member(doc, "deceasedBoolean").Type == gjson.True {
		return true
	}
	day, _, _ := strings.Cut(str(doc, "deceasedDateTime"), "T") // the time is not shown
	_, _, isDate := bounds(day, time.UTC)
	return isDate
}
