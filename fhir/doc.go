// Package fhir owns everything PatientGraph knows about FHIR R4 servers and
// Patient resources: the HTTP client, the sorting of answers into outcomes,
// the lossless edit of a Patient's contact and the reading of a Patient into
// plain values. It must not know GraphQL, the cache, or who the caller is.
package fhir
