package fhir

// r4 is any FHIR R4 server: a PUT replaces the record, and is guarded by If-Match
// where a version is shown.
var r4 = &Profile{Name: "r4", edit: editWhole}

// r4Strict is a server whose versions are always there, opaque and without order, and
// whose If-Match is kept (412).
var r4Strict = &Profile{Name: "r4-strict", Versioning: VersionsAlways, edit: editWhole}

// r4NoVersions is a server that says that it keeps no versions: another writer's
// change between our read and our PUT cannot be seen.
var r4NoVersions = &Profile{Name: "r4-no-versions", Versioning: VersionsNever, edit: editWhole}
