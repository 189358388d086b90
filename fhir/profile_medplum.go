package fhir

// medplum is Medplum's FHIR router: as strict as r4Strict, and without next links. The order of
// its histories is not to be trusted.
var medplum = &Profile{Name: "medplum", Versioning: VersionsAlways, pagesByOffset: true, methods: []method{byLastUpdated}, edit: editWhole}
