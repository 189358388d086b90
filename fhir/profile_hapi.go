package fhir

// hapi is HAPI FHIR JPA: a PUT replaces the record; without If-Match it would create a
// patient that is gone, and overwrite one that others have changed.
var hapi = &Profile{Name: "hapi", Versioning: VersionsAlways, edit: editWhole}
