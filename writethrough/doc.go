// Package writethrough owns the write protocol: the FHIR server first, the
// cache after, and in the cache only what the FHIR server showed; a journal
// that says before a write leaves that it leaves; and the reconciler, which
// finds out what became of writes that a crash or a lost answer left open. It
// also owns which values of a FHIR Patient the cache holds. It must not know
// GraphQL, HTTP servers or who the caller is: authorisation and validation
// come before it.
package writethrough
