// Package writethrough owns the order of a contact write: FHIR first, the
// cache after, and in the cache only what FHIR showed. It also owns which
// values of a FHIR Patient the cache holds. It must not know GraphQL, HTTP
// servers or who the caller is: authorisation and validation come before it.
package writethrough
