package fhir

// medplum is Medplum's FHIR router: as strict as r4Strict, and without next links.
var medplum = &Profile{Name: "medplum", Versioning: VersionsAlways, pagesByOffset: true, edit: editWhole}
