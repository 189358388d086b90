// Package mirror owns filling the cache with patients that FHIR has. It must
// not know GraphQL or who the caller is, and it never writes to FHIR.
package mirror
