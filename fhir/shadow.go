package fhir

import (
	"slices"
	"strings"
	"time"

	"github.com/tidwall/gjson"
)

// valueExtensions are the extensions of an Address or ContactPoint that describe
// its value, not the entry (what it is for, when to call): with another value they
// would be wrong. What is not here stays, and Doubts names it.
var valueExtensions = map[string]bool{
	// https://hl7.org/fhir/R4/extension-geolocation.html
	"http://hl7.org/fhir/StructureDefinition/geolocation": true,
	// https://hl7.org/fhir/R4/contactpoint-profiles.html: the parts of a number
	"http://hl7.org/fhir/StructureDefinition/contactpoint-area":      true,
	"http://hl7.org/fhir/StructureDefinition/contactpoint-country":   true,
	"http://hl7.org/fhir/StructureDefinition/contactpoint-extension": true,
	"http://hl7.org/fhir/StructureDefinition/contactpoint-local":     true,
	// https://hl7.org/fhir/R4/extension-data-absent-reason.html: a value contradicts it
	"http://hl7.org/fhir/StructureDefinition/data-absent-reason": true,
	// https://hl7.org/fhir/R4/iso21090-profiles.html: the number as a URI, and how sure the value is
	"http://hl7.org/fhir/StructureDefinition/iso21090-TEL-address":     true,
	"http://hl7.org/fhir/StructureDefinition/iso21090-nullFlavor":      true,
	"http://hl7.org/fhir/StructureDefinition/iso21090-uncertainty":     true,
	"http://hl7.org/fhir/StructureDefinition/iso21090-uncertaintyType": true,
	// hapi-fhir-server, IAddressValidator (address-error: in earlier releases) and IValidator
	"http://hapifhir.org/StructureDefinition/ext-validation-address-geo-accuracy": true,
	"http://hapifhir.org/StructureDefinition/ext-validation-address-has-error":    true,
	"http://hapifhir.org/StructureDefinition/ext-validation-address-quality":      true,
	"http://hapifhir.org/StructureDefinition/ext-validation-address-verification": true,
	"http://hapifhir.org/StructureDefinition/ext-validation-address-error":        true,
	"http://hapifhir.org/StructureDefinition/ext-validation-field-has-error":      true,
	// https://build.fhir.org/ig/HL7/fhir-us-ndh: how an element was verified
	"http://hl7.org/fhir/us/ndh/StructureDefinition/base-ext-verification-status": true,
	// github.com/bcgov/MOH-HCIM-FHIR, BCClientRegistryAddress
	"http://hlth.gov.bc.ca/fhir/client/StructureDefinition/bc-validation-status-extension": true,
	// github.com/HL7NZ/nhi, NhiAddress and NzAddress
	"http://hl7.org.nz/fhir/StructureDefinition/not-validated-address-reason": true,
	"http://hl7.org.nz/fhir/StructureDefinition/nhi-address-derived":          true,
	"http://hl7.org.nz/fhir/StructureDefinition/nhi-nz-geocode":               true,
	"http://hl7.org.nz/fhir/StructureDefinition/nz-address-id":                true,
	"http://hl7.org.nz/fhir/StructureDefinition/building-name":                true,
	"http://hl7.org.nz/fhir/StructureDefinition/domicile-code":                true,
	"http://hl7.org.nz/fhir/StructureDefinition/suburb":                       true,
	// https://build.fhir.org/ig/hl7au/au-fhir-base/StructureDefinition-address-identifier.html
	"http://hl7.org.au/fhir/StructureDefinition/address-identifier": true,
	// UK Core: the key in the Postcode Address File
	"http://fhir.hl7.org.uk/StructureDefinition/Extension-UKCore-AddressKey": true,
	// https://hl7.org/fhir/R4/iso21090-profiles.html: parts within a line, on the Address itself by mistake
	"http://hl7.org/fhir/StructureDefinition/iso21090-ADXP-*": true,
	// CDC ReportStream: the fields of the HL7 v2 XAD and XTN that it was made of
	"http://reportstream.cdc.gov/fhir/StructureDefinition/xad-address":       true,
	"http://reportstream.cdc.gov/fhir/StructureDefinition/xtn-contact-point": true,
}

// describesValue looks an extension up, by http or https and in any version
// (canonical "url|version").
func describesValue(url string) bool {
	url, _, _ = strings.Cut(url, "|")
	if rest, ok := strings.CutPrefix(url, "https:"); ok {
		url = "http:" + rest
	}
	const part = "iso21090-ADXP-"
	if i := strings.Index(url, part); i >= 0 {
		url = url[:i+len(part)] + "*"
	}
	return valueExtensions[url]
}

// dropShadow takes off an entry (an Address or ContactPoint) what described its
// old value: the extensions that do so, and the day since when it held, which
// becomes today. unknown are the URLs of the extensions that stay.
func dropShadow(entry []byte, today time.Time) (cleared []byte, unknown []string) {
	list := elements(member(gjson.ParseBytes(entry), "extension"))
	kept := make([]string, 0, len(list))
	for _, extension := range list {
		if url := str(extension, "url"); !describesValue(url) {
			kept = append(kept, extension.Raw)
			unknown = append(unknown, url)
		}
	}
	switch {
	case len(kept) == len(list):
	case len(kept) == 0:
		entry = removeMember(entry, gjson.ParseBytes(entry), "extension")
	default:
		entry = setMember(entry, gjson.ParseBytes(entry), "extension", "["+strings.Join(kept, ",")+"]")
	}
	return startToday(entry, today), unknown
}

// startToday sets the period's start to a day, if it has one.
func startToday(entry []byte, today time.Time) []byte {
	period := member(gjson.ParseBytes(entry), "period")
	day := today.Format(time.DateOnly)
	if start := str(period, "start"); start == "" || start == day {
		return entry
	}
	changed := setMember([]byte(period.Raw), gjson.Parse(period.Raw), "start", quote(day))
	changed = removeMember(changed, gjson.ParseBytes(changed), "_start")
	return replaceValue(entry, period, string(changed))
}

// Doubts names what an edit left as it was although it may describe an old value.
type Doubts struct {
	Extensions []string // URLs of extensions of the edited entries that are not known here
	Narrative  bool     // text shows an old value, and a person may have written it
}

const (
	maxDoubts   = 20  // extensions that are named
	maxDoubtURL = 256 // bytes of a URL that is named
)

func (d *Doubts) add(urls []string) {
	for _, url := range urls {
		odd := func(r rune) bool { return r <= ' ' || r > '~' || r == '?' || r == '@' }
		if url == "" || len(url) > maxDoubtURL || strings.ContainsFunc(url, odd) {
			url = "(no URL of a definition)" // it may be anything, also patient data
		}
		if len(d.Extensions) < maxDoubts && !slices.Contains(d.Extensions, url) {
			d.Extensions = append(d.Extensions, url)
		}
	}
}
